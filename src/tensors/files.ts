import {
  checkOptions,
  type Engine,
  formatShape,
  type OptionRules,
  oneOf,
  shown,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import {
  checkBytes,
  FormatError,
  type NumericArray,
  readNpz,
  readSafetensors,
  writeNpz,
  writeSafetensors,
} from "../io/index.js";
import { BlockTermTensor } from "./blockTerm.js";
import { CoupledTensor } from "./coupled.js";
import { isDecomposed, KINDS, type SavedTensor } from "./kinds.js";
import { KruskalTensor } from "./kruskal.js";
import { NonnegativeFactors } from "./nonnegativeFactors.js";
import { Parafac2Tensor } from "./parafac2Tensor.js";
import { TensorRing } from "./tensorRing.js";
import { TensorTrain } from "./tensorTrain.js";
import { TuckerTensor } from "./tucker.js";

export interface SaveTensorOptions {
  /** "npz" (the default), which `numpy.load` opens, or "safetensors" */
  format?: "npz" | "safetensors";
}

const rules: OptionRules<SaveTensorOptions> = { format: oneOf("npz", "safetensors") };

/** The results that files hold, by the names that they have there. */
const SAVED = {
  ...KINDS,
  parafac2: Parafac2Tensor,
  coupled: CoupledTensor,
  nonnegativeFactors: NonnegativeFactors,
} as const;

const isSaved = (x: unknown): x is SavedTensor =>
  isDecomposed(x) || Object.values(SAVED).some((Kind) => x instanceof Kind);

/** The tensors of a result by the names that they have in a file. */
export function namedTensors(x: SavedTensor): [name: string, tensor: Tensor][] {
  if (x instanceof Parafac2Tensor) {
    const [a, b, c] = x.factors;
    return [["weights", x.weights], ["a", a], ["b", b], ["c", c], ...numbered("projection_", x.projections)];
  }
  if (x instanceof NonnegativeFactors)
    return [
      ["w", x.w],
      ["h", x.h],
    ];
  if (x instanceof CoupledTensor)
    return [
      ...[...x.factors].map(([mode, factor], at): [string, Tensor] => [`mode_${at}_${mode}`, factor]),
      ...x.models.map(({ weights }, at): [string, Tensor] => [`set_${at}_weights`, weights]),
    ];
  if (x instanceof KruskalTensor) return [["weights", x.weights], ...numbered("factor_", x.factors)];
  if (x instanceof TuckerTensor) return [["core", x.core], ...numbered("factor_", x.factors)];
  if (x instanceof TensorTrain) return numbered("core_", x.cores);
  if (x instanceof TensorRing) return numbered("ring_core_", x.cores);
  return x.blocks.flatMap((block, g) =>
    namedTensors(block).map(([name, tensor]): [string, Tensor] => [`block_${g}_${name}`, tensor]),
  );
}

/** The name of the one part of a result, or of each of its blocks, that carries the scale of X: times 2, all of the result is times 2. */
export function scaledParts(x: SavedTensor): string[] {
  if (x instanceof Parafac2Tensor || x instanceof KruskalTensor) return ["weights"];
  if (x instanceof NonnegativeFactors) return ["h"];
  if (x instanceof TuckerTensor) return ["core"];
  if (x instanceof TensorTrain) return [`core_${x.cores.length - 1}`];
  if (x instanceof TensorRing) return [`ring_core_${x.cores.length - 1}`];
  if (x instanceof CoupledTensor) return x.models.map((_, at) => `set_${at}_weights`);
  return x.blocks.map((_, g) => `block_${g}_core`);
}

const numbered = (prefix: string, tensors: readonly (Tensor | null)[]): [string, Tensor][] =>
  tensors.flatMap((tensor, at): [string, Tensor][] => (tensor ? [[`${prefix}${at}`, tensor]] : []));

/** What a file holds beside tensors: of coupled tensors the modes of every data set, by their numbers. */
function placesOf(x: SavedTensor): [name: string, array: NumericArray][] {
  if (!(x instanceof CoupledTensor)) return [];
  const factors = [...x.factors.values()];
  return x.models.map((model, at) => {
    const data = Int32Array.from(model.factors, (factor) => factors.indexOf(factor));
    return [`set_${at}_modes`, { shape: [data.length], data }];
  });
}

/**
 * A decomposed tensor as the bytes of a file. The arrays are named `weights` and `factor_0`, `factor_1`, … (Kruskal); `core` and `factor_0`, …
 * (Tucker; a mode without a factor has none); `core_0`, … (train); `ring_core_0`, … (ring); `block_0_core`, `block_0_factor_0`, … (block
 * terms): what TensorLy's CPTensor, TuckerTensor, TTTensor and TRTensor are made of, in f32. A `Parafac2Tensor` has `weights`, `a`, `b`, `c`,
 * `projection_0`, …; `NonnegativeFactors` have `w` and `h`; a `CoupledTensor` has `mode_0_NAME`, … (the factors, with the names of their modes), and of
 * each data set `set_0_weights`, … and `set_0_modes`, … (i32: the numbers of its modes).
 */
export async function saveTensor(x: SavedTensor, options: SaveTensorOptions = {}): Promise<Uint8Array> {
  if (!isSaved(x))
    throw new TenfoldError(
      `saveTensor: ${shown(x)}, needs a decomposed tensor: a KruskalTensor (as of cp(engine, x, …).tensor), TuckerTensor, TensorTrain, TensorRing, BlockTermTensor, Parafac2Tensor, CoupledTensor or NonnegativeFactors; writeNpy writes plain arrays`,
    );
  checkOptions("saveTensor", options, rules);
  const list = namedTensors(x);
  const values = await x.engine.read(list.map(([, tensor]) => tensor));
  const arrays = list.map(([name, { shape }], at): [string, NumericArray] => [name, { shape, data: values[at]! }]);
  arrays.push(...placesOf(x));
  if (options.format !== "safetensors") return writeNpz(arrays);
  const kind = Object.entries(SAVED).find(([, Kind]) => x instanceof Kind)![0];
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
export async function loadTensor(engine: Engine, bytes: Uint8Array, name = "file"): Promise<SavedTensor> {
  checkBytes("loadTensor", bytes, 2);
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

  load(): SavedTensor {
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

  #kind(): SavedTensor {
    const { arrays } = this;
    if (arrays.has("projection_0")) {
      const factors = [this.#take("a"), this.#take("b"), this.#take("c")] as const;
      return new Parafac2Tensor(this.#take("weights").reshape([-1]), factors, this.#list("projection_"));
    }
    if (arrays.has("set_0_weights")) return this.#coupled();
    if (arrays.has("w") && arrays.has("h")) return new NonnegativeFactors(this.#take("w"), this.#take("h"));
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
        `has the arrays ${[...arrays.keys()].slice(0, 8).join(", ") || "(none)"}, needs weights and factor_0, core and factor_0, core_0, ring_core_0, block_0_core, projection_0, w and h, or set_0_weights`,
      );
    const factors = this.#list("factor_");
    const rank = factors[0]!.shape[1] ?? 1;
    const weights = arrays.has("weights")
      ? this.#take("weights").reshape([-1])
      : this.#keep(this.engine.tensor([rank], new Float32Array(rank).fill(1), { label: "weights" }));
    return new KruskalTensor(weights, factors);
  }

  #coupled(): CoupledTensor {
    const names: string[] = [];
    for (const key of this.arrays.keys()) {
      const [, number, mode] = /^mode_(\d+)_(.*)$/s.exec(key) ?? [];
      if (number !== undefined) names[Number(number)] = mode!;
    }
    const factors = new Map<string, Tensor>();
    for (let at = 0; at < names.length; at++) {
      const mode = names[at];
      if (mode === undefined) this.#fail(`has no factor of mode ${at}, and one of mode ${names.length - 1}`);
      if (factors.has(mode)) this.#fail(`has two modes with the name "${mode}"`);
      factors.set(mode, this.#take(`mode_${at}_${mode}`));
    }
    const parts: { modes: string[]; weights: Tensor }[] = [];
    while (this.arrays.has(`set_${parts.length}_weights`)) {
      const prefix = `set_${parts.length}_`;
      const modes = Array.from(this.#takeArray(`${prefix}modes`).data as ArrayLike<number>, (at) => {
        const mode = names[at];
        if (mode === undefined) this.#fail(`array "${prefix}modes" names mode ${at}, there are ${names.length}`);
        return mode;
      });
      parts.push({ modes, weights: this.#take(`${prefix}weights`).reshape([-1]) });
    }
    const result = new CoupledTensor(factors, parts);
    const unused = names.find((mode) => !parts.some(({ modes }) => modes.includes(mode)));
    if (unused !== undefined) this.#fail(`mode "${unused}" belongs to no data set`);
    return result;
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

  #takeArray(key: string): NumericArray {
    const array = this.arrays.get(key);
    if (!array) this.#fail(`has no array "${key}", which its others need`);
    this.#left.delete(key);
    return array;
  }

  #take(key: string): Tensor {
    const { shape, data } = this.#takeArray(key);
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
