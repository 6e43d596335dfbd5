/** A tensor on several machines, as solvers read it: each verb sends factors out and gets a sum back. */
import { dispose, type Engine, formatShape, type Program, sizeOf, TenfoldError, type Tensor } from "../gpu/index.js";
import { copy, type MttkrpOptions } from "../ops/index.js";
import { KruskalTensor, TuckerTensor } from "../tensors/index.js";
import { exponentOf } from "./facts.js";
import type { UnknownSlice } from "./masked.js";
import { ModelCopy } from "./modelCopy.js";
import { timesPower } from "./scale.js";
import type { HostArray, ShardAnswer, ShardRequest, Shards } from "./shards.js";
import type { Difference, Model, Passes, ProjectOptions, Reader, Source } from "./source.js";

/** What a verb asks beside its arrays. */
type Question = Omit<ShardRequest, "arrays" | "exponent" | "weight">;

/** Arrays that are sent, by name; null is left out. */
type Inputs = Record<string, Tensor | null>;

/** Where an answer's array is written, or the shape of a temporary for it. */
type Outputs = Record<string, Tensor | readonly number[]>;

/** Verbs of x, or of x − x̂: steps of the host in which factors go out, and the blocks' answers come back as one. */
abstract class RemoteReader implements Reader {
  abstract readonly engine: Engine;
  abstract readonly shape: readonly number[];
  readonly isRemote = true;

  get order(): number {
    return this.shape.length;
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  /** Records a question: it is asked when everything recorded before has run. */
  abstract remote(p: Program, question: Question, inputs: Inputs, outputs: Outputs): Record<string, Tensor>;

  mttkrp(p: Program, factors: readonly Tensor[], mode: number, { out }: MttkrpOptions = {}): Tensor {
    const product = out ?? [this.shape[mode]!, factors[0]!.shape[1]!];
    const others = factors.map((factor, other) => (other === mode ? null : factor));
    return this.remote(p, { verb: "mttkrp", mode }, factorInputs(others), { product }).product!;
  }

  partialMttkrp(p: Program, factors: readonly Tensor[], keep: readonly [start: number, stop: number]): Tensor {
    const [start, stop] = keep;
    const product = [...this.shape.slice(start, stop), factors[0]!.shape[1]!];
    const others = factors.map((factor, mode) => (mode >= start && mode < stop ? null : factor));
    return this.remote(p, { verb: "partialMttkrp", keep }, factorInputs(others), { product }).product!;
  }

  project(p: Program, factors: readonly (Tensor | null)[], { skip, out }: ProjectOptions = {}): Tensor {
    const some = factors.map((factor, mode) => (mode === skip ? null : factor));
    const product = out ?? this.shape.map((extent, mode) => some[mode]?.shape[1] ?? extent);
    return this.remote(p, { verb: "project" }, factorInputs(some), { product }).product!;
  }

  unfoldedProduct(p: Program, y: Tensor, mode: number): Tensor {
    const product = [this.shape[mode]!, y.shape[mode]!];
    const inputs = { [mode === 0 ? "y" : "rows of y"]: y };
    return this.remote(p, { verb: "unfoldedProduct", mode }, inputs, { product }).product!;
  }

  residual(p: Program, model: Model, { out }: { out?: Tensor } = {}): Tensor {
    return this.remote(p, { verb: "residual" }, modelInputs("model", model), { squared: out ?? [1] }).squared!;
  }

  tensor(operation: string): Tensor {
    throw new TenfoldError(
      `${operation}: ${this} lies on several machines, and this takes one tensor of the GPU's; take cp, cpALS, or tuckerHOOI, stHosvd or hosvd by ranks`,
    );
  }
}

/** A factor of mode 0 is one of which each machine has use for its own rows alone. */
const nameOf = (prefix: string, mode: number): string => (mode === 0 ? `rows of ${prefix} 0` : `${prefix} ${mode}`);

const factorInputs = (factors: readonly (Tensor | null)[]): Inputs =>
  Object.fromEntries(factors.map((factor, mode) => [nameOf("factor", mode), factor]));

function modelInputs(prefix: string, model: Model): Inputs {
  const named = (factors: readonly (Tensor | null)[]) =>
    Object.fromEntries(factors.map((factor, mode) => [nameOf(prefix, mode), factor]));
  if (model instanceof KruskalTensor) return { [`${prefix} weights`]: model.weights, ...named(model.factors) };
  if (model instanceof TuckerTensor)
    return { [`${model.factors[0] ? "" : "rows of "}${prefix} core`]: model.core, ...named(model.factors) };
  throw new TenfoldError("a tensor on several machines is compared with Kruskal and Tucker tensors only");
}

/** A tensor on several machines. */
export class Sharded extends RemoteReader implements Source {
  exponent = 0;
  squaredNorm = 0;
  largest = 0;
  known: number | undefined;
  unknownSlices: readonly UnknownSlice[] = [];
  /** how many questions were asked: each is one pass over x */
  questions = 0;
  readonly passes: Passes = {
    products: (p, factors, out) => {
      const outputs = Object.fromEntries(factors.map((_, mode) => [`product ${mode}`, out(mode)]));
      this.remote(p, { verb: "products" }, factorInputs(factors), outputs);
    },
    projections: (p, bases, out) => {
      const outputs = Object.fromEntries([...out].map(([mode, tensor]) => [`projected ${mode}`, tensor]));
      this.remote(p, { verb: "projections", modes: [...out.keys()] }, factorInputs(bases), outputs);
    },
    core: (p, bases, out) => {
      this.remote(p, { verb: "core" }, factorInputs(bases), { core: out.core, lost: out.lost });
    },
  };

  /** @internal */
  constructor(
    readonly engine: Engine,
    readonly shards: Shards,
  ) {
    super();
  }

  get shape(): readonly number[] {
    return this.shards.shape;
  }

  get isZero(): boolean {
    return this.largest === 0;
  }

  /** entries of the largest block: cores that are not larger travel */
  get slabSize(): number {
    return (this.size / this.shape[0]!) * this.shards.blockRows;
  }

  override remote(p: Program, question: Question, inputs: Inputs, outputs: Outputs): Record<string, Tensor> {
    const { engine } = this;
    // steps of the host read and write what shares its memory with no temporary
    const sent = Object.entries(inputs)
      .filter((entry): entry is [string, Tensor] => entry[1] !== null)
      .map(([name, tensor]) => [name, copy(p.s, tensor, { out: p.tensor(tensor.shape, { label: name }) })] as const);
    const results = Object.entries(outputs).map(([name, to]) => {
      const shape = "engine" in to ? to.shape : to;
      return { name, to: "engine" in to ? to : null, tensor: p.tensor(shape, { label: `${name} of shards` }) };
    });
    p.step(async (signal) => {
      const values = sent.length ? await engine.read(sent.map(([, tensor]) => tensor)) : [];
      const arrays = Object.fromEntries(
        sent.map(([name, { shape }], index): [string, HostArray] => [name, { shape, data: values[index]! }]),
      );
      const answer = await this.ask({ ...question, arrays }, signal);
      for (const { name, tensor } of results) {
        const array = answer.arrays[name];
        if (array?.data.length !== tensor.size)
          throw new TenfoldError(
            `${question.verb}: the machines answered ${array ? formatShape(array.shape) : "nothing"} for ${name}, needs ${formatShape(tensor.shape)}`,
          );
        engine.write(tensor, array.data);
      }
    });
    return Object.fromEntries(
      results.map(({ name, to, tensor }) => [name, copy(p.s, tensor, to ? { out: to } : {})] as const),
    );
  }

  /** Asks all blocks about x. */
  ask(question: Omit<ShardRequest, "exponent" | "weight">, signal?: AbortSignal): Promise<ShardAnswer> {
    const { exponent, known } = this;
    this.questions++;
    return this.shards.ask({ ...question, exponent, weight: known === undefined ? 1 : this.size / known }, signal);
  }

  /** @internal Has every block looked at, to know the facts. */
  async look(operation: string, signal?: AbortSignal): Promise<void> {
    const facts = async () => (await this.ask({ verb: "facts", arrays: {} }, signal)).arrays;
    const seen = await facts();
    const notFinite = seen.notFinite!.data[0]!;
    if (notFinite) {
      const [flat, kind] = seen.first!.data as unknown as [number, number];
      const first = { index: flat, kind: kind ? "infinity" : "NaN", shape: this.shape };
      throw (await import("./notFinite.js")).notFiniteError(operation, String(this), notFinite, first);
    }
    if (this.shards.missing) {
      const counts = this.shape.map((_, mode) => seen[`known ${mode}`]!.data as Float32Array);
      const known = counts[0]!.reduce((sum, count) => sum + count, 0);
      if (!known) throw new TenfoldError(`${operation}: no entry of ${this} is known, needs some`, { code: "ENTRIES" });
      this.unknownSlices = counts.flatMap((ofMode, mode) =>
        [...ofMode.keys()].filter((index) => ofMode[index] === 0).map((index) => ({ mode, index })),
      );
      this.known = known;
    }
    const largest = seen.largest!.data[0]!;
    this.exponent = exponentOf(largest);
    this.largest = timesPower(largest, -this.exponent);
    const scaled = this.exponent ? await facts() : seen;
    this.squaredNorm = scaled.squaredNorm!.data[0]! * (this.known === undefined ? 1 : this.size / this.known);
  }

  difference(): Difference {
    return new RemoteDifference(this);
  }

  [dispose](): void {}

  override toString(): string {
    return `a tensor ${formatShape(this.shape)} on several machines${this.shards.missing ? " with missing entries" : ""}`;
  }
}

/** Verbs that read every entry of x. */
const READS_ALL: ReadonlySet<Question["verb"]> = new Set([
  "mttkrp",
  "partialMttkrp",
  "project",
  "unfoldedProduct",
  "products",
  "projections",
  "core",
]);

/**
 * A tensor on several machines with missing entries: verbs take them for what the model of the last `refresh` has there, with which each machine
 * fills its blocks whenever it reads them, and for 0 before.
 */
class ShardedWithMissing extends Sharded {
  readonly refreshTells = true;
  /** the model of the last `refresh`, as it is sent */
  #fill: Inputs = {};
  readonly #copies = new Map<string, Tensor>();

  refresh(p: Program, model: Model, { squaredNorm }: { squaredNorm?: Tensor | undefined } = {}): void {
    const copies = Object.entries(modelInputs("fill", model)).map(
      ([name, tensor]) => [name, tensor && copy(p.s, tensor, { out: this.#copyOf(name, tensor.shape) })] as const,
    );
    this.#fill = Object.fromEntries(copies);
    if (squaredNorm) this.residual(p, model, { out: squaredNorm });
  }

  #copyOf(name: string, shape: readonly number[]): Tensor {
    const key = `${name} ${formatShape(shape)}`;
    const tensor = this.#copies.get(key) ?? this.engine.tensor(shape, null, { label: name });
    this.#copies.set(key, tensor);
    return tensor;
  }

  override remote(p: Program, question: Question, inputs: Inputs, outputs: Outputs): Record<string, Tensor> {
    const readsAll = READS_ALL.has(question.verb) && !question.isDifference;
    return super.remote(p, question, readsAll ? { ...inputs, ...this.#fill } : inputs, outputs);
  }

  override [dispose](): void {
    for (const tensor of this.#copies.values()) tensor.destroy();
    this.#copies.clear();
    this.#fill = {};
  }
}

/** x − x̂ of a Kruskal tensor, which every machine makes anew of its blocks: nothing of x's size travels, or is kept. */
class RemoteDifference extends RemoteReader implements Difference {
  readonly #copy = new ModelCopy("a tensor on several machines");

  constructor(readonly source: Sharded) {
    super();
  }

  get engine(): Engine {
    return this.source.engine;
  }

  get shape(): readonly number[] {
    return this.source.shape;
  }

  override remote(p: Program, question: Question, inputs: Inputs, outputs: Outputs): Record<string, Tensor> {
    const { model } = this.#copy;
    const minus = modelInputs("minus", model);
    return this.source.remote(p, { ...question, isDifference: true }, { ...inputs, ...minus }, outputs);
  }

  refresh({ s }: Program, model: Model): void {
    this.#copy.refresh(this.engine, s, model);
  }

  squaredNorm(p: Program, { out }: { out?: Tensor } = {}): Tensor {
    return this.source.residual(p, this.#copy.model, out ? { out } : {});
  }

  evaluate(p: Program, model: KruskalTensor, out: { squaredNorm: Tensor; product: (mode: number) => Tensor }): void {
    const products = model.factors.map((_, mode) => [`product ${mode}`, out.product(mode)] as const);
    const outputs = { squared: out.squaredNorm, ...Object.fromEntries(products) };
    this.source.remote(p, { verb: "evaluate" }, modelInputs("model", model), outputs);
  }

  destroy(): void {
    this.#copy.destroy();
  }

  override toString(): string {
    return `the difference of ${this.source}`;
  }
}

/**
 * A source of a tensor whose rows are with other processes or machines. `shards` carries questions there and sums back. Has every block looked at
 * once, to know the facts, and once more where they are to be scaled.
 *
 * @throws TenfoldError for NaN and infinity: how many, and where the first is; where entries are missing, if no entry is known
 */
export async function sharded(engine: Engine, shards: Shards, signal?: AbortSignal): Promise<Sharded> {
  const source = shards.missing ? new ShardedWithMissing(engine, shards) : new Sharded(engine, shards);
  await source.look("sharded", signal);
  return source;
}
