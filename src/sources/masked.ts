import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  formatShape,
  holds,
  type OptionRules,
  type Program,
  type Scheduler,
  ShapeError,
  TenfoldError,
  Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  accumulateKnown,
  copy,
  fill,
  hadamard,
  kruskalDifference,
  kruskalResidual,
  type MttkrpOptions,
  markMissing,
  matmul,
  mttkrp,
  scale,
  scaleByPower,
  sumOfSquares,
  toFloat,
} from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { exponentOf, look } from "./facts.js";
import { overModes } from "./overModes.js";
import { TensorReader } from "./resident.js";
import { checkCall, type Difference, type Model, type ProjectOptions, type Source } from "./source.js";

export interface MaskedOptions {
  /**
   * which entries are known: those that are not NaN, by default; or numbers of X's shape, as an array or a tensor, 0 where an entry is missing.
   * What X has there does not matter
   */
  mask?: "nan" | TensorData | Tensor<DType>;
}

const rules: OptionRules<MaskedOptions> = {
  mask: {
    needs: '"nan", or numbers of the shape of x, 0 where an entry is missing',
    is: (v) => v === "nan" || typeof v === "object",
  },
};

/** A slice of X of which nothing is known: an index of a mode. */
export interface UnknownSlice {
  mode: number;
  index: number;
}

/** X at every entry, for the verbs: what was read of X, and a model that is to be added to it where there is one. */
interface Filled {
  reader: TensorReader;
  /** its weights are negative: X̂ is subtracted */
  model: KruskalTensor | null;
}

/**
 * A tensor with missing entries. The loss counts known entries alone, each 1/p times where p is the part that is known: so it is, where entries
 * are missing at random, that of the full tensor, and so are its derivatives. The verbs take missing entries for what the model has there, once
 * `refresh` was recorded, and for 0 before.
 *
 * After `refresh` with a Kruskal tensor X̂, X with its missing entries is X̂ + E, where E is X − X̂ at known entries and 0 at the others. E is
 * stored, by the pass over X that a residual takes; MTTKRPs of X̂ follow from factors. Of other models, the whole of X is stored.
 */
export class Masked implements Source {
  readonly #weight: number;
  /** E, or X with its missing entries */
  #stored: Tensor | null = null;
  /** the model of the last `refresh` that was recorded; null where it was no Kruskal tensor */
  #model: KruskalTensor | null = null;
  /** copies of models, by rank */
  readonly #models = new Map<number, KruskalTensor>();

  /** @internal */
  constructor(
    /** X, with missing entries as `markMissing` marks them */
    readonly x: Tensor,
    readonly exponent: number,
    /** Σ of the squares of known entries, divided by the part of X that is known */
    readonly squaredNorm: number,
    readonly largest: number,
    /** how many entries are known */
    readonly known: number,
    /** slices of which nothing is known: their rows of factors are 0 */
    readonly unknownSlices: readonly UnknownSlice[],
  ) {
    this.#weight = x.size / known;
  }

  get engine(): Engine {
    return this.x.engine;
  }

  get shape(): readonly number[] {
    return this.x.shape;
  }

  get order(): number {
    return this.x.order;
  }

  get size(): number {
    return this.x.size;
  }

  get isZero(): boolean {
    return this.largest === 0;
  }

  readonly refreshTells = true;

  refresh({ s }: Program, model: Model, { squaredNorm }: { squaredNorm?: Tensor | undefined } = {}): void {
    const { x } = this;
    this.#stored ??= this.#tensorLike("known entries, and a model's");
    if (model instanceof KruskalTensor) {
      this.#model = this.#copyOf(s, model);
      const squares = squaredNorm && s.tensor([1], { label: "squared norm" });
      const missing = { scale: 1 };
      kruskalDifference(s, x, model.weights, model.factors, { out: this.#stored, squaredNorm: squares, missing });
      if (squares) this.#weighted(s, squares, squaredNorm, this.#weight);
      return;
    }
    this.#model = null;
    model.full(s, this.#stored);
    accumulateKnown(s, x, this.#stored, { alpha: 1, beta: 0, gamma: 1 });
  }

  /** Records a copy of a model, with negative weights: what the factors are as they were when E was made. */
  #copyOf(s: Scheduler, { weights, factors, rank }: KruskalTensor): KruskalTensor {
    const { engine } = this;
    let model = this.#models.get(rank);
    if (!model) {
      const like = ({ shape, label }: Tensor): Tensor => engine.tensor(shape, null, { label });
      model = new KruskalTensor(like(weights), factors.map(like));
      this.#models.set(rank, model);
    }
    scale(s, weights, { alpha: -1, out: model.weights });
    for (const [mode, factor] of factors.entries()) copy(s, factor, { out: model.factors[mode]! });
    return model;
  }

  mttkrp(p: Program, factors: readonly Tensor[], mode: number, options: MttkrpOptions = {}): Tensor {
    return this.#read(p, ({ reader, model }) => {
      if (!model) return reader.mttkrp(p, factors, mode, options);
      const product = reader.mttkrp(p, factors, mode);
      return this.#plusModel(p, model, product, factors, [mode, mode + 1], options.out);
    });
  }

  partialMttkrp(p: Program, factors: readonly Tensor[], keep: readonly [start: number, stop: number]): Tensor {
    return this.#read(p, ({ reader, model }) => {
      const product = reader.partialMttkrp(p, factors, keep);
      return model ? this.#plusModel(p, model, product, factors, keep) : product;
    });
  }

  /**
   * Records a product of E plus that of X̂: Σ_r λ_r Π_n â⁽ⁿ⁾ᵣ over the modes that are kept, times Π (Aᵀ·Â)[·, r] over the others, is a Kruskal
   * tensor of the product's shape. The product is released.
   */
  #plusModel(
    { s }: Program,
    { weights, factors }: KruskalTensor,
    product: Tensor,
    others: readonly Tensor[],
    [start, stop]: readonly [start: number, stop: number],
    out?: Tensor,
  ): Tensor {
    let across: Tensor | null = null;
    for (const [mode, factor] of factors.entries()) {
      if (mode >= start && mode < stop) continue;
      const products = matmul(s, others[mode]!, factor, { transposeA: true });
      const next: Tensor = across ? hadamard(s, across, products) : products;
      if (across) s.release(across, products);
      across = next;
    }
    const sum = kruskalDifference(s, product, weights, [...factors.slice(start, stop), across!], out ? { out } : {});
    s.release(product, across!);
    return sum;
  }

  project(p: Program, factors: readonly (Tensor | null)[], options: ProjectOptions = {}): Tensor {
    return this.#readWhole(p, (reader) => reader.project(p, factors, options));
  }

  unfoldedProduct(p: Program, y: Tensor, mode: number): Tensor {
    return this.#readWhole(p, (reader) => reader.unfoldedProduct(p, y, mode));
  }

  /** Lends what is stored of X; known entries and zeros where nothing was refreshed yet. */
  #read(p: Program, use: (filled: Filled) => Tensor): Tensor {
    if (this.#stored) return use({ reader: new TensorReader(this.#stored), model: this.#model });
    const zeros = knownEntries(p.s, this.x);
    const result = use({ reader: new TensorReader(zeros), model: null });
    p.s.release(zeros);
    return result;
  }

  /** Lends X with its missing entries, as one tensor. */
  #readWhole(p: Program, use: (reader: TensorReader) => Tensor): Tensor {
    return this.#read(p, ({ reader, model }) => {
      if (!model) return use(reader);
      const filled = kruskalDifference(p.s, reader.x, model.weights, model.factors);
      const result = use(new TensorReader(filled));
      p.s.release(filled);
      return result;
    });
  }

  residual(p: Program, model: Model, { out }: { out?: Tensor } = {}): Tensor {
    const { s } = p;
    if (model instanceof KruskalTensor) {
      const squares = kruskalResidual(s, this.x, model.weights, model.factors, { missing: { scale: 1 } });
      return this.#weighted(s, squares, out, this.#weight);
    }
    const difference = s.tensor(this.shape, { label: "difference" });
    this.recordDifference(p, model, difference);
    const squared = this.sumOfDifference(p, difference, out);
    s.release(difference);
    return squared;
  }

  /** Records a number of squares times a weight; they are released. */
  #weighted(s: Scheduler, squares: Tensor, out: Tensor | undefined, alpha: number): Tensor {
    const sum = scale(s, squares, { alpha, ...(out && { out }) });
    s.release(squares);
    return sum;
  }

  /** @internal Records x − x̂ times the weight, and 0 at missing entries; Σ of the weighted squares too where there is room for it. */
  recordDifference({ s }: Program, model: Model, out: Tensor, squaredNorm?: Tensor): void {
    const weight = this.#weight;
    if (model instanceof KruskalTensor) {
      const squares = squaredNorm && s.tensor([1], { label: "squared norm" });
      kruskalDifference(s, this.x, model.weights, model.factors, {
        out,
        squaredNorm: squares,
        missing: { scale: weight },
      });
      if (squares) this.#weighted(s, squares, squaredNorm, weight);
      return;
    }
    model.full(s, out);
    accumulateKnown(s, this.x, out, { alpha: weight, beta: -weight, gamma: 0 });
  }

  /** @internal Records Σ of the weighted squares of x − x̂, from what `recordDifference` wrote. */
  sumOfDifference({ s }: Program, difference: Tensor, out?: Tensor): Tensor {
    return this.#weighted(s, sumOfSquares(s, difference), out, 1 / this.#weight);
  }

  difference(): Difference {
    return new MaskedDifference(this, this.#tensorLike("difference"));
  }

  #tensorLike(label: string): Tensor {
    const tensor = this.engine.tensor(this.shape, null, { label });
    tensor.storage.tally = this.x.storage.tally;
    return tensor;
  }

  tensor(operation: string): Tensor {
    throw new TenfoldError(
      `${operation}: ${this} has entries that are missing, and this takes all of them; take cp, cpALS, tuckerHOOI or parafac2`,
    );
  }

  [dispose](): void {
    this.x.destroy();
    this.#stored?.destroy();
    for (const model of this.#models.values()) model.destroy();
  }

  toString(): string {
    return `a tensor ${formatShape(this.shape)} with ${this.known} entries known`;
  }
}

/** Records a marked tensor times 2^power, as marked as it was. */
export function scaleMarked(s: Scheduler, x: Tensor, power: number, out: Tensor): void {
  const known = knownEntries(s, x);
  const scaled = scaleByPower(s, known, power);
  const ones = onesWhereKnown(s, x);
  markMissing(s, scaled, { mask: ones, out });
  s.release(known, scaled, ones);
}

/** A copy of known entries, with 0 at the others. */
export function knownEntries(s: Scheduler, x: Tensor, out = s.tensor(x.shape, { label: "known entries" })): Tensor {
  return accumulateKnown(s, x, out, { alpha: 1, beta: 0, gamma: 0 });
}

/** A tensor that holds the weighted x − x̂ at known entries, and 0 at the others. */
class MaskedDifference extends TensorReader implements Difference {
  constructor(
    readonly source: Masked,
    difference: Tensor,
  ) {
    super(difference);
  }

  refresh(p: Program, model: Model): void {
    this.source.recordDifference(p, model, this.x);
  }

  squaredNorm(p: Program, { out }: { out?: Tensor } = {}): Tensor {
    return this.source.sumOfDifference(p, this.x, out);
  }

  evaluate(p: Program, model: KruskalTensor, out: { squaredNorm: Tensor; product: (mode: number) => Tensor }): void {
    this.source.recordDifference(p, model, this.x, out.squaredNorm);
    overModes(p, this, model.factors, { out: out.product });
  }

  destroy(): void {
    this.x.destroy();
  }
}

/**
 * A source of a tensor of which some entries are missing, for `cp`, `cpALS`, `tuckerHOOI` and `parafac2`. Errors are those of known entries, and the model
 * predicts the others. `cp` goes by known entries alone: take it where many are missing. `cpALS`, `tuckerHOOI` and `parafac2` go by expectation maximisation,
 * which fills missing entries with the model's after every sweep, and crawls where most are missing (Kiers 1997; Tomasi & Bro 2005).
 *
 * Of a slice without any known entry nothing can be told: its row of a factor is 0, and `unknownSlices` names it. The source has a copy of x, and
 * one more for solvers that go by expectation maximisation; x remains the caller's. Free it with `using`, or call its `[Symbol.dispose]`.
 *
 * @example
 * ```ts
 * using x = await masked(engine, engine.tensor([50, 40, 30], numbersWithNaN));
 * const { tensor } = await cp(engine, x, { rank: 3 });
 * const predicted = await engine.run((s) => tensor.full(s, out));
 * ```
 * @throws ShapeError where the mask has another shape than x
 * @throws TenfoldError for known entries that are NaN or infinite, and where no entry is known
 */
export async function masked(engine: Engine, x: Tensor<DType>, options: MaskedOptions = {}): Promise<Masked> {
  checkCall(engine, "masked", x);
  if (x.order < 2) throw new ShapeError(`masked: ${x} has order ${x.order}, needs 2 or more`);
  if (!(x instanceof Tensor)) throw new TenfoldError("masked: the second argument is a source, needs a tensor");
  checkOptions("masked", options, rules);
  const { mask = "nan" } = options;
  if (mask instanceof Tensor && formatShape(mask.shape) !== formatShape(x.shape))
    throw new ShapeError(`masked: a mask ${formatShape(mask.shape)} for ${x}, needs its shape`);
  if (mask === "nan" && !holds(x, "f32"))
    throw new TenfoldError(`masked: ${x} is ${x.dtype}, which has no NaN; give a mask`);
  const numbers = mask === "nan" || mask instanceof Tensor ? null : engine.tensor(x.shape, mask, { label: "mask" });
  const marked = engine.tensor(x.shape, null, { label: x.label });
  // known entries, and 0 at the others
  const filled = engine.tensor(x.shape, null, { label: x.label });
  try {
    const { known, unknownSlices } = await findKnown(
      x,
      { marked, filled },
      mask === "nan" ? null : (numbers ?? (mask as Tensor)),
    );
    if (known === 0) throw new TenfoldError(`masked: no entry of ${x} is known, needs some`, { code: "ENTRIES" });
    let { largest, squaredNorm } = await look(engine, "masked", { name: String(x), shape: x.shape }, (_, see) =>
      see(filled, 0),
    );
    const exponent = exponentOf(largest);
    if (exponent) {
      const { scaleDown } = await import("./scaleDown.js");
      using scaled = engine.tensor(x.shape, null, { label: x.label });
      ({ largest, squaredNorm } = await scaleDown("masked", filled, scaled, { exponent, largest }));
      await engine.run((s) => {
        const ones = onesWhereKnown(s, marked);
        markMissing(s, scaled, { mask: ones, out: marked });
        s.release(ones);
      }, "masked scaling");
    }
    return new Masked(marked, exponent, (squaredNorm * x.size) / known, largest, known, unknownSlices);
  } catch (error) {
    marked.destroy();
    throw error;
  } finally {
    filled.destroy();
    numbers?.destroy();
  }
}

/** 1 at known entries, and 0 at the others. */
function onesWhereKnown(s: Scheduler, x: Tensor): Tensor {
  const ones = fill(s, s.tensor(x.shape, { label: "known" }), 1);
  return accumulateKnown(s, x, ones, { alpha: 0, beta: 1, gamma: 0 });
}

/** Writes x with its missing entries marked, and with 0 there. Counts what is known of every slice. */
async function findKnown(
  x: Tensor<DType>,
  { marked, filled }: { marked: Tensor; filled: Tensor },
  mask: Tensor<DType> | null,
): Promise<{ known: number; unknownSlices: UnknownSlice[] }> {
  const { engine, shape } = x;
  const counts = shape.map((extent) => engine.tensor([extent, 1], null, { label: "known of slices" }));
  try {
    await engine.run((s) => {
      const floatsOf = (tensor: Tensor<DType>): Tensor => (holds(tensor, "f32") ? tensor : toFloat(s, tensor));
      const floats = floatsOf(x);
      const tested = mask && floatsOf(mask);
      markMissing(s, floats, { ...(tested && { mask: tested }), out: marked });
      if (tested && tested !== mask) s.release(tested);
      if (floats !== x) s.release(floats);
      knownEntries(s, marked, filled);
      const ones = onesWhereKnown(s, marked);
      const vectors = shape.map((extent) => fill(s, s.tensor([extent, 1], { label: "ones" }), 1));
      for (const [mode, count] of counts.entries()) mttkrp(s, ones, vectors, mode, { out: count });
      s.release(ones, ...vectors);
    }, "masked");
    const values = await engine.read(counts);
    const unknownSlices = values.flatMap((ofMode, mode) =>
      [...ofMode.keys()].filter((index) => ofMode[index] === 0).map((index) => ({ mode, index })),
    );
    return { known: values[0]!.reduce((sum, count) => sum + count, 0), unknownSlices };
  } finally {
    for (const count of counts) count.destroy();
  }
}
