import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  formatShape,
  holds,
  type OptionRules,
  type Program,
  ShapeError,
  TenfoldError,
  Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  accumulateWhere,
  bitWords,
  fill,
  map,
  mttkrp,
  packBits,
  scaleByPower,
  sumOfSquares,
  toFloat,
} from "../ops/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import { exponentOf, look } from "./facts.js";
import { overModes } from "./overModes.js";
import { TensorReader } from "./resident.js";
import { timesPower } from "./scale.js";
import { checkCall, type Difference, type Model, type Source } from "./source.js";

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

/**
 * A tensor with missing entries. The loss counts known entries alone, each 1/p times where p is the part that is known: so it is, where entries
 * are missing at random, that of the full tensor, and so are its derivatives. The entries that are missing hold what the model has there, once
 * `refresh` was recorded, and 0 before.
 */
export class Masked extends TensorReader implements Source {
  /** @internal */
  constructor(
    /** known entries, and in place of the others those of a model */
    x: Tensor,
    /** a bit an entry: whether it is known */
    readonly bits: Tensor<"u32">,
    readonly exponent: number,
    /** Σ of the squares of known entries, divided by the part of X that is known */
    readonly squaredNorm: number,
    readonly largest: number,
    /** how many entries are known */
    readonly known: number,
    /** slices of which nothing is known: their rows of factors are 0 */
    readonly unknownSlices: readonly UnknownSlice[],
  ) {
    super(x);
  }

  get isZero(): boolean {
    return this.largest === 0;
  }

  /** the weight of a known entry */
  get #weight(): number {
    return this.size / this.known;
  }

  refresh({ s }: Program, model: Model): void {
    const full = model.full(s, s.tensor(this.shape, { label: "model" }));
    accumulateWhere(s, full, this.x, this.bits, { where: false, alpha: 1, beta: 0, gamma: 1 });
    s.release(full);
  }

  override residual(p: Program, model: Model, options: { out?: Tensor } = {}): Tensor {
    const difference = p.s.tensor(this.shape, { label: "difference" });
    this.recordDifference(p, model, difference);
    const squared = this.sumOfDifference(p, difference, options.out);
    p.s.release(difference);
    return squared;
  }

  /** @internal Records x − x̂ times the weight, and 0 at missing entries. */
  recordDifference({ s }: Program, model: Model, out: Tensor): void {
    const weight = this.#weight;
    model.full(s, out);
    accumulateWhere(s, this.x, out, this.bits, { where: true, alpha: weight, beta: -weight, gamma: 0 });
  }

  /** @internal Records Σ of the weighted squares of x − x̂, from what `recordDifference` wrote. */
  sumOfDifference({ s }: Program, difference: Tensor, out?: Tensor): Tensor {
    const squares = sumOfSquares(s, difference);
    const sum = map(s, squares, "identity", { alpha: 1 / this.#weight, ...(out && { out }) });
    s.release(squares);
    return sum;
  }

  difference(): Difference {
    const difference = this.engine.tensor(this.shape, null, { label: "difference" });
    difference.storage.tally = this.x.storage.tally;
    return new MaskedDifference(this, difference);
  }

  override tensor(operation: string): Tensor {
    throw new TenfoldError(
      `${operation}: ${this} has entries that are missing, and this takes all of them; take cp, cpALS or tuckerHOOI`,
    );
  }

  [dispose](): void {
    this.x.destroy();
    this.bits.destroy();
  }

  override toString(): string {
    return `a tensor ${formatShape(this.shape)} with ${this.known} entries known`;
  }
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
    this.refresh(p, model);
    this.squaredNorm(p, { out: out.squaredNorm });
    overModes(p, this, model.factors, { out: out.product });
  }

  destroy(): void {
    this.x.destroy();
  }
}

/**
 * A source of a tensor of which some entries are missing, for `cp`, `cpALS` and `tuckerHOOI`. Errors are those of known entries, and the model
 * predicts the others. `cp` goes by known entries alone: take it where many are missing. `cpALS` and `tuckerHOOI` go by expectation maximisation,
 * which fills missing entries with the model's after every sweep, and crawls where most are missing (Kiers 1997; Tomasi & Bro 2005).
 *
 * Of a slice without any known entry nothing can be told: its row of a factor is 0, and `unknownSlices` names it. The source has a copy of x
 * (whose missing entries are overwritten), and a bit an entry; x remains the caller's. Free it with `using`, or call its `[Symbol.dispose]`.
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
  const uploaded = mask === "nan" || mask instanceof Tensor ? null : engine.tensor(x.shape, mask, { label: "mask" });
  const bits = engine.tensor([bitWords(x.size)], null, { dtype: "u32", label: "known" });
  const copy = engine.tensor(x.shape, null, { label: x.label });
  try {
    const { known, unknownSlices } = await findKnown(
      x,
      copy,
      bits,
      mask === "nan" ? null : (mask instanceof Tensor ? mask : uploaded)!,
    );
    if (known === 0) throw new TenfoldError(`masked: no entry of ${x} is known, needs some`);
    const { largest, squaredNorm } = await look(engine, "masked", { name: String(x), shape: x.shape }, (_, see) =>
      see(copy, 0),
    );
    const exponent = exponentOf(largest);
    const facts = { x: copy, largest, squaredNorm };
    if (exponent) Object.assign(facts, await scaledDown(copy, exponent, largest));
    return new Masked(
      facts.x,
      bits,
      exponent,
      (facts.squaredNorm * x.size) / known,
      facts.largest,
      known,
      unknownSlices,
    );
  } catch (error) {
    bits.destroy();
    copy.destroy();
    throw error;
  } finally {
    uploaded?.destroy();
  }
}

async function scaledDown(
  x: Tensor,
  exponent: number,
  largest: number,
): Promise<{ x: Tensor; largest: number; squaredNorm: number }> {
  const { engine } = x;
  const scaled = engine.tensor(x.shape, null, { label: x.label });
  using norm = engine.tensor([1], null, { label: "squared norm" });
  try {
    await engine.run((s) => {
      scaleByPower(s, x, -exponent, { out: scaled });
      sumOfSquares(s, scaled, { out: norm });
    }, "masked scaling");
    const squaredNorm = (await engine.read(norm))[0]!;
    x.destroy();
    return { x: scaled, largest: timesPower(largest, -exponent), squaredNorm };
  } catch (error) {
    scaled.destroy();
    throw error;
  }
}

/** Writes the bits of known entries, and x with 0 at the others into `copy`. Counts what is known of every slice. */
async function findKnown(
  x: Tensor<DType>,
  copy: Tensor,
  bits: Tensor<"u32">,
  mask: Tensor<DType> | null,
): Promise<{ known: number; unknownSlices: UnknownSlice[] }> {
  const { engine, shape } = x;
  const counts = shape.map((extent) => engine.tensor([extent, 1], null, { label: "known of slices" }));
  try {
    await engine.run((s) => {
      const numbers = mask ?? x;
      const tested = holds(numbers, "f32") ? numbers : toFloat(s, numbers);
      packBits(s, tested, { test: mask ? "notZero" : "notNaN", out: bits });
      if (tested !== numbers) s.release(tested);
      const floats = holds(x, "f32") ? x : toFloat(s, x);
      accumulateWhere(s, floats, copy, bits, { where: true, alpha: 1, beta: 0, gamma: 0 });
      if (floats !== x) s.release(floats);
      // known entries as ones
      const ones = s.tensor(shape, { label: "known" });
      fill(s, ones, 1);
      accumulateWhere(s, copy, ones, bits, { where: false, alpha: 0, beta: 0, gamma: 1 });
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
