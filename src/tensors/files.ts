import {
  checkOption,
  checkOptions,
  type Engine,
  formatShape,
  instanceOf,
  type OptionRules,
  oneOf,
  shown,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { FormatError, type NumericArray, readNpz, readSafetensors, writeNpz, writeSafetensors } from "../io/index.js";
import { BlockTermTensor } from "./blockTerm.js";
import { type DecomposedTensor, isDecomposed, KINDS } from "./kinds.js";
import { KruskalTensor } from "./kruskal.js";
import { TensorRing } from "./tensorRing.js";
import { TensorTrain } from "./tensorTrain.js";
import { TuckerTensor } from "./tucker.js";

export interface SaveTensorOptions {
  /** "npz" (the default), which `numpy.load` opens, or "safetensors" */
  format?: "npz" | "safetensors";
}

const rules: OptionRules<SaveTensorOptions> = { format: oneOf("npz", "safetensors") };

/** The tensors of a decomposed tensor by the names that they have in a file. */
function named(x: DecomposedTensor): [name: string, tensor: Tensor][] {
  if (x instanceof KruskalTensor) return [["weights", x.weights], ...numbered("factor_", x.factors)];
  if (x instanceof TuckerTensor) return [["core", x.core], ...numbered("factor_", x.factors)];
  if (x instanceof TensorTrain) return numbered("core_", x.cores);
  if (x instanceof TensorRing) return numbered("ring_core_", x.cores);
  return x.blocks.flatMap((block, g) =>
    named(block).map(([name, tensor]): [string, Tensor] => [`block_${g}_${name}`, tensor]),
  );
}

const numbered = (prefix: string, tensors: readonly (Tensor | null)[]): [string, Tensor][] =>
  tensors.flatMap((tensor, at): [string, Tensor][] => (tensor ? [[`${prefix}${at}`, tensor]] : []));

/**
 * A decomposed tensor as the bytes of a file. The arrays are named `weights` and `factor_0`, `factor_1`, … (Kruskal); `core` and `factor_0`, …
 * (Tucker; a mode without a factor has none); `core_0`, … (train); `ring_core_0`, … (ring); `block_0_core`, `block_0_factor_0`, … (block
 * terms): what TensorLy's CPTensor, TuckerTensor, TTTensor and TRTensor are made of, in f32.
 */
export async function saveTensor(x: DecomposedTensor, options: SaveTensorOptions = {}): Promise<Uint8Array> {
  if (!isDecomposed(x))
    throw new TenfoldError(
      `saveTensor: ${shown(x)}, needs a decomposed tensor as of cpALS(engine, x, …).tensor; writeNpy writes plain arrays`,
    );
  checkOptions("saveTensor", options, rules);
  const list = named(x);
  const values = await x.engine.read(list.map(([, tensor]) => tensor));
  const arrays = list.map(([name, { shape }], at): [string, NumericArray] => [name, { shape, data: values[at]! }]);
  if (options.format !== "safetensors") return writeNpz(arrays);
  const kind = Object.entries(KINDS).find(([, Kind]) => x instanceof Kind)![0];
  return writeSafetensors(arrays, { tenfold: JSON.stringify({ kind }) });
}

/**
 * The decomposed tensor of a file that `saveTensor` wrote, or that another program wrote with the same names. `.npz` and `.safetensors` are told
 * apart by their first bytes, the kind by the names. Numbers of other types become f32. Factors without `weights` and without `core` make a
 * Kruskal tensor whose weights are 1. Other arrays are an error.
 *
 * @param name how errors call the file
 * @throws FormatError where the file is damaged, or its arrays do not make a decomposed tensor: it says which one
 */
export async function loadTensor(engine: Engine, bytes: Uint8Array, name = "file"): Promise<DecomposedTensor> {
  checkOption("loadTensor", "the file", bytes, instanceOf(Uint8Array, "its bytes in a Uint8Array"));
  const isZip = bytes[0] === 0x50 && bytes[1] === 0x4b;
  const arrays = isZip ? readNpz(bytes, name) : readSafetensors(bytes, name).tensors;
  for (const key of arrays.skipped.keys()) arrays.get(key); // throws, with the reason
  return new Loader(engine, name, arrays).load();
}

/** Makes tensors of a file's arrays, and frees them where they do not fit together. */
class Loader {
  readonly #made: Tensor[] = [];
  readonly #left: Set<string>;

  constructor(
    readonly engine: Engine,
    readonly file: string,
    readonly arrays: ReadonlyMap<string, NumericArray>,
  ) {
    this.#left = new Set(arrays.keys());
  }

  load(): DecomposedTensor {
    try {
      const result = this.#kind();
      const [other] = this.#left;
      if (other !== undefined) this.#fail(`array "${other}" belongs to no decomposed tensor of the others' kind`);
      return result;
    } catch (error) {
      for (const tensor of this.#made) tensor.destroy();
      if (error instanceof FormatError || !(error instanceof TenfoldError)) throw error;
      throw new FormatError(this.file, error.message, { cause: error });
    }
  }

  #fail(problem: string): never {
    throw new FormatError(this.file, problem);
  }

  #kind(): DecomposedTensor {
    const { arrays } = this;
    if (arrays.has("core")) return this.#tucker("");
    if (arrays.has("block_0_core")) {
      const blocks: TuckerTensor[] = [];
      while (arrays.has(`block_${blocks.length}_core`)) blocks.push(this.#tucker(`block_${blocks.length}_`));
      return new BlockTermTensor(blocks);
    }
    if (arrays.has("core_0")) return new TensorTrain(this.#list("core_"));
    if (arrays.has("ring_core_0")) return new TensorRing(this.#list("ring_core_"));
    if (!arrays.has("factor_0"))
      this.#fail(
        `has the arrays ${[...arrays.keys()].slice(0, 8).join(", ") || "(none)"}, needs weights and factor_0, core and factor_0, core_0, ring_core_0 or block_0_core`,
      );
    const factors = this.#list("factor_");
    const rank = factors[0]!.shape[1] ?? 1;
    const weights = arrays.has("weights")
      ? this.#take("weights").reshape([-1])
      : this.#keep(this.engine.tensor([rank], new Float32Array(rank).fill(1), { label: "weights" }));
    return new KruskalTensor(weights, factors);
  }

  #tucker(prefix: string): TuckerTensor {
    const core = this.#take(`${prefix}core`);
    const factors = core.shape.map((_, mode) => {
      const key = `${prefix}factor_${mode}`;
      if (!this.arrays.has(key)) return null;
      const factor = this.#take(key);
      if (factor.order !== 2) this.#fail(`array "${key}" is ${formatShape(factor.shape)}, needs a matrix`);
      return factor;
    });
    return new TuckerTensor(core, factors);
  }

  #list(prefix: string): Tensor[] {
    const list: Tensor[] = [];
    while (this.arrays.has(`${prefix}${list.length}`)) list.push(this.#take(`${prefix}${list.length}`));
    return list;
  }

  #take(key: string): Tensor {
    this.#left.delete(key);
    const { shape, data } = this.arrays.get(key)!;
    if (data.length === 0) this.#fail(`array "${key}" is ${formatShape(shape)}, without an entry`);
    const values = data instanceof Float32Array ? data : Float32Array.from(data as ArrayLike<number>);
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at >= 0) this.#fail(`array "${key}" holds ${data[at]} at ${at}, which is not finite in f32`);
    return this.#keep(this.engine.tensor(shape.length ? shape : [1], values, { label: key.replaceAll("_", " ") }));
  }

  #keep(tensor: Tensor): Tensor {
    this.#made.push(tensor);
    return tensor;
  }
}
