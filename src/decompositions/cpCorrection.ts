import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  Program,
  ShapeError,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import {
  appendRow,
  boundedNorm,
  copy,
  gram,
  multiply,
  normalizeColumns,
  scaleByPower,
  scaleColumns,
  sumOfSquares,
} from "../ops/index.js";
import { checkCall, overModes, type Resident, resident, type Source, withSource } from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { boundedNormByNewton, type Ridge } from "./boundedNormByNewton.js";
import { restoreKruskal } from "./cpModels.js";
import { hadamardProduct } from "./cpUpdates.js";
import {
  type Decomposition,
  iterate,
  type Scope,
  type StoppingOptions,
  type SweepKind,
  type SweepMethod,
  stoppingRules,
  type Told,
  type Trace,
} from "./iterate.js";
import { TensorScope } from "./tensorScope.js";
import { zeroKruskal } from "./zeroKruskal.js";

/**
 * Σ_r ‖λ_r a_r ∘ b_r ∘ …‖² / ‖X̂‖²: how much the rank-one terms cancel each other. 1 where they are orthogonal; it grows without
 * bound as a CP decomposition degenerates (Krijnen, Dijkstra & Stegeman 2008), and with it what a small change of a factor
 * does to X̂ (Phan et al. 2020).
 */
export async function degeneracy(engine: Engine, tensor: KruskalTensor): Promise<number> {
  using full = engine.tensor(tensor.shape, null, { label: "the full tensor" });
  await engine.run((s) => void tensor.full(s, full), "degeneracy");
  using source = await resident(engine, "degeneracy", full);
  const [weights, ...factors] = await engine.read([tensor.weights, ...tensor.factors]);
  const { rank } = tensor;
  let terms = 0;
  for (let r = 0; r < rank; r++) {
    let product = weights![r]! ** 2;
    for (const factor of factors) {
      let length = 0;
      for (let i = r; i < factor.length; i += rank) length += factor[i]! ** 2;
      product *= length;
    }
    terms += product;
  }
  if (source.isZero) return terms ? Number.POSITIVE_INFINITY : 1;
  return terms / (source.squaredNorm * 4 ** source.exponent);
}

export interface CorrectionOptions extends StoppingOptions {
  /** the error to stay within, ‖X − X̂‖ / ‖X‖; 0.01 % more than that of the start by default */
  relativeError?: number;
}

export interface Correction extends Decomposition<KruskalTensor> {
  /** √(Σ‖terms‖²) / ‖X‖ after each sweep: falls */
  norms: number[];
}

const rules: OptionRules<CorrectionOptions> = { relativeError: optionRules.fraction, ...stoppingRules };

/**
 * Of all CP decompositions that are as near to X, one whose rank-one terms are small: minimises Σ‖λ_r a_r ∘ b_r ∘ …‖² while
 * ‖X − X̂‖ stays within its bound, a factor at a time with the columns of the others at norm 1 (error preserving correction,
 * Phan, Tichavský & Cichocki 2019). Kernels corrected so keep their accuracy when they are quantised or trained on, where
 * those of plain CP diverge (Phan et al. 2020). `errors` are those of each sweep; `tolerance` is of `norms`.
 *
 * @throws TenfoldError for a bound that the start is not within, or that f32 cannot keep
 */
export async function cpErrorPreserving(
  engine: Engine,
  x: Tensor<DType> | Source,
  start: KruskalTensor,
  options: CorrectionOptions = {},
): Promise<Correction> {
  checkCall(engine, NAME, x);
  if (!(start instanceof KruskalTensor))
    throw new TenfoldError(`${NAME}: the third argument is no KruskalTensor, needs the tensor of a cpALS result`);
  checkOptions(NAME, options, rules);
  if (formatShape(start.shape) !== formatShape(x.shape))
    throw new ShapeError(`${NAME}: a start of shape ${formatShape(start.shape)} for ${x}`);
  if (x.order < 2) throw new ShapeError(`${NAME}: ${x} has order ${x.order}, needs at least 2`);
  const { relativeError, ...stopping } = options;
  if (relativeError !== undefined && relativeError < LEAST_ERROR)
    throw new TenfoldError(
      `${NAME}: relativeError ${relativeError} cannot be kept in f32, the least is ${LEAST_ERROR}; allow that much`,
    );
  return await withSource(engine, NAME, x, (source) => correct(source, start, relativeError, stopping));
}

async function correct(
  source: Source,
  start: KruskalTensor,
  relativeError: number | undefined,
  stopping: StoppingOptions,
): Promise<Correction> {
  if (source.refresh) throw new TenfoldError(`${NAME}: ${source} changes with the model, take cp or cpALS for it`);
  // rounding in terms that cancel may make a run miss its bound: it is then run again with a part of the bound
  for (let attempt = 0; ; attempt++) {
    const share = SHARES[attempt]!;
    let allowed = 0;
    const { objectives: norms = [], ...result } = await iterate<KruskalTensor>(source, {
      name: NAME,
      stopping,
      zero: () => zeroKruskal(source.engine, source.shape, start.rank),
      async begin(scope) {
        const correction = new CorrectionMethod(scope, start.rank);
        allowed = await correction.place(start, relativeError, share);
        return correction;
      },
    });
    if (source.isZero || result.relativeError <= allowed) return { ...result, norms };
    result.tensor.destroy();
    // a run that was aborted misses its bound for that alone
    stopping.signal?.throwIfAborted();
    if (attempt === SHARES.length - 1)
      throw new TenfoldError(
        `${NAME}: an error of ${allowed} cannot be kept in f32 by terms whose norms add up to ${norms.at(-1)!.toPrecision(3)} times that of X; it came to ${result.relativeError}. Allow a larger relativeError, or begin from a start of smaller terms`,
      );
  }
}

const NAME = "cpErrorPreserving";
/** numbers of a row lie this far apart, where views may begin */
const SCALAR = 64;
/** the smallest relative error that f32 can keep */
const LEAST_ERROR = 5e-7;
/** parts of the bound that runs aim at, one after the other, until one stays within the bound */
const SHARES = [1, 0.9, 0.5, 0.2];
/** by default the bound is the error of the start times this */
const DEFAULT_ROOM = 1.0001;
/** runs aim at this part of the bound, because of rounding */
const MARGIN = 0.999;

/** Terms up to which eigenvectors are recorded: one dispatch. Beyond, they would be thousands. */
const MOST_RECORDED = 128;
/** shares of mean diagonals: smaller than most bounds allow, since a search rises fast */
const FIRST_RIDGE = 1e-5;

/** The correction as a method of `iterate`. */
class CorrectionMethod implements SweepMethod<KruskalTensor> {
  readonly columns = 3 * SCALAR;
  readonly hasCheap = true;
  readonly state: readonly Tensor[];
  readonly model: KruskalTensor;
  readonly #grams: readonly Tensor[];
  /** of each mode, where its search for the next one begins */
  readonly #ridges: readonly Ridge[];
  /** the row of a sweep: Σ‖terms‖², ‖x − x̂‖² as the updates leave it, and from the difference itself where that is computed */
  readonly #row: Tensor;
  /** largest ‖x − x̂‖² */
  #bound = 0;
  /** the relative error that sweeps come to, divided by how much larger than ‖X‖² the terms are that cancel */
  #expected = 0;

  constructor(
    readonly scope: Scope,
    rank: number,
  ) {
    const { allocate, source } = scope;
    const factors = source.shape.map((extent, mode) => allocate([extent, rank], `factor ${mode}`));
    this.model = new KruskalTensor(allocate([rank], "weights"), factors);
    this.#grams = factors.map((_, mode) => allocate([rank, rank], `gram ${mode}`));
    this.#ridges = factors.map(() => ({ share: FIRST_RIDGE }));
    this.#row = allocate([this.columns], "sweep values");
    this.state = [...factors, this.model.weights, ...this.#grams, this.#row];
  }

  #scalar(index: number): Tensor {
    return this.#row.rows(index * SCALAR, index * SCALAR + 1);
  }

  /**
   * Puts the start in place, columns at norm 1, and bounds the error by `share` of the allowed one. Returns the relative error that is
   * allowed.
   */
  async place(start: KruskalTensor, relativeError: number | undefined, share: number): Promise<number> {
    const { engine, source } = this.scope;
    const { weights, factors } = this.model;
    const parts: Resident[] = [];
    try {
      for (const part of [start.weights, ...start.factors]) parts.push(await resident(engine, `${NAME}'s start`, part));
      const exponent = parts.reduce((sum, part) => sum + part.exponent, -source.exponent);
      const record = (p: Program): void => {
        const { s } = p;
        let lengths: Tensor = parts[0]!.x;
        factors.forEach((factor, mode) => {
          const { norms } = normalizeColumns(s, parts[mode + 1]!.x, { out: factor });
          lengths = multiply(s, lengths, norms);
          gram(s, factor, { out: this.#grams[mode]! });
        });
        scaleByPower(s, lengths, exponent, { out: weights });
        sumOfSquares(s, weights, { out: this.#scalar(0) });
        source.residual(p, this.model, { out: this.#scalar(1) });
      };
      await Program.run(engine, record, "correction start");
    } finally {
      for (const part of parts) part[dispose]();
    }
    const [terms, squared] = await engine.read([this.#scalar(0), this.#scalar(1)]);
    const error = Math.sqrt(squared![0]! / source.squaredNorm);
    const allowed = relativeError ?? Math.max(error * DEFAULT_ROOM, LEAST_ERROR);
    if (!(error <= allowed))
      throw new TenfoldError(
        `${NAME}: the start has a relative error of ${error}, more than the ${relativeError} allowed`,
      );
    // where the start is near its bound, the aim is halfway between the two: there may be no model below the start's error
    const aim = share < 1 ? share * allowed : Math.max(MARGIN * allowed, (error + allowed) / 2);
    this.#bound = aim ** 2 * source.squaredNorm;
    this.#expected = aim / Math.max(1, terms![0]! / source.squaredNorm);
    return allowed;
  }

  start(): Promise<number> {
    return Promise.resolve(this.#expected);
  }

  record(p: Program, { rows, counter }: Trace, isPrecise: boolean): void {
    const { s } = p;
    const { weights, factors } = this.model;
    const { source } = this.scope;
    const { squaredNorm } = source;
    overModes(p, source, factors, {}, (product, mode) => {
      const others = this.#grams.filter((_, other) => other !== mode);
      const { product: combined, isTemporary } = hadamardProduct(s, others);
      const normals = combined!;
      const from = isPrecise ? scaleColumns(s, factors[mode]!, weights) : null;
      const options = { bound: this.#bound, ...(from ? { from } : { squaredNorm }), residual: this.#scalar(1) };
      const solved =
        normals.shape[0]! > MOST_RECORDED
          ? boundedNormByNewton(p, normals, product, options, this.#ridges[mode]!)
          : boundedNorm(s, normals, product, options);
      if (isTemporary) s.release(normals);
      if (from) s.release(from);
      normalizeColumns(s, solved, { out: factors[mode]!, norms: weights });
      s.release(solved);
      gram(s, factors[mode]!, { out: this.#grams[mode]! });
    });
    sumOfSquares(s, weights, { out: this.#scalar(0) });
    if (isPrecise) source.residual(p, this.model, { out: this.#scalar(2) });
    appendRow(s, this.#row, rows, counter);
    if (!isPrecise) return;
    // the next sweep goes on from the computed residual, not from the one that updates added up
    const residual = copy(s, this.#scalar(2));
    copy(s, residual, { out: this.#scalar(1) });
    s.release(residual);
  }

  errorOf(row: Float32Array, kind: SweepKind): Told {
    const [terms, updated, residual] = [0, 1, 2].map(
      (index) => row[index * SCALAR]! / this.scope.source.squaredNorm,
    ) as [number, number, number];
    const errors = { fromNorms: Math.sqrt(updated), amplification: Math.max(1, terms), objective: Math.sqrt(terms) };
    return kind === "precise" ? { ...errors, fromResidual: Math.sqrt(residual) } : errors;
  }

  async finish(): Promise<KruskalTensor> {
    const { engine } = this.scope;
    const { weights, factors } = this.model;
    using tensorScope = new TensorScope(engine);
    const copyOf = ({ shape, label }: Tensor) => tensorScope.allocate(shape, label);
    const tensor = new KruskalTensor(copyOf(weights), factors.map(copyOf));
    await engine.run((s) => {
      copy(s, weights, { out: tensor.weights });
      for (const [mode, factor] of factors.entries()) copy(s, factor, { out: tensor.factors[mode]! });
    }, "correction result");
    return tensorScope.handOut(tensor);
  }

  residual(p: Program, tensor: KruskalTensor, out: Tensor): void {
    this.scope.source.residual(p, tensor, { out });
  }

  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
    return restoreKruskal(NAME, tensor, exponent);
  }
}
