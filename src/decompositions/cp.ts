import {
  checkOptions,
  dispose,
  type Engine,
  type OptionRules,
  oneOf,
  optionRules,
  type Schedule,
  type Scheduler,
  ShapeError,
  TenfoldError,
  type Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  add,
  alsNormalize,
  alsUpdate,
  appendRow,
  canonicalizeColumns,
  copy,
  fill,
  fusesAls,
  gram,
  hadamard,
  innerProduct,
  kruskalDifference,
  kruskalResidual,
  matmul,
  mttkrp,
  mttkrpFromPartial,
  normalizeColumns,
  partialMttkrp,
  pasteColumns,
  scale,
  scaleColumns,
  slice,
  solveSymmetric,
  subtract,
  sumOfSquares,
  type UnnormalizedFactor,
  uniform,
} from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import {
  type Convergence,
  type Decomposition,
  iterate,
  type Kind,
  type Method,
  Problem,
  type Scope,
  type StoppingOptions,
  seedAt,
  stoppingRules,
  type Told,
  type Trace,
  zeroResult,
} from "./iterate.js";
import { checkCall, type Prepared, prepare, restoreValues } from "./prepare.js";
import { identityColumns, subspaceOf } from "./subspace.js";

export interface CpOptions extends StoppingOptions {
  /** R, the number of rank-one terms */
  rank: number;
  /** uniform random factors, or the leading left singular vectors of every unfolding (random beyond their number) */
  initialize?: "random" | "hosvd";
  /** runs this many starts, all but the first of them random, and keeps the best; 1 by default */
  starts?: number;
  seed?: number;
  /** how the R×R normal equations are solved; the pseudo-inverse copes with collinear columns */
  solver?: "cholesky" | "pseudoInverse";
  /** added to the diagonal for Cholesky, times the mean of the diagonal: shrinks terms that cancel each other; 0 by default */
  ridge?: number;
}

const rules: OptionRules<CpOptions> = {
  rank: { ...optionRules.positive, required: true },
  initialize: oneOf("random", "hosvd"),
  starts: optionRules.positive,
  seed: optionRules.seed,
  solver: oneOf("cholesky", "pseudoInverse"),
  ridge: optionRules.atLeastZero,
  ...stoppingRules,
};

function check(engine: Engine, x: Tensor, options: CpOptions): void {
  checkCall(engine, "cpALS", x);
  const rank: unknown = options?.rank;
  if (typeof rank === "number" && !optionRules.positive.is(rank))
    throw new ShapeError(`cpALS: rank ${rank}, needs a positive whole number`);
  checkOptions("cpALS", options, rules);
  if (x.order < 2) throw new ShapeError(`cpALS: ${x} has order ${x.order}, needs at least 2`);
}

/** weight of the proximal term: what keeps updates defined in f32 where terms are collinear, and loses nothing at the end */
const PROXIMAL = 1e-6;
/**
 * Relative error below which sweeps correct the factors by the residual. MTTKRPs of X are rounded at 1e-7·‖X‖, of which an update by a
 * nearly singular V makes 1e-7/(2√PROXIMAL) = 5e-5·‖X‖: a hundredth of errors of 0.01 in square, and more than small errors are.
 */
const CORRECTING = 0.01;
/** singular values of an unfolding below this part of the largest are those of rounding errors */
const SEEN = 1e-5;
/** parts of a trace row, each at an aligned offset: ⟨X, X̂⟩; ‖X̂‖² (fused: and Σ‖terms‖²); ‖X − X̂‖² if computed; Σ‖terms‖² */
const SCALAR = 64;

/**
 * CP by alternating least squares (Carroll & Chang 1970, Harshman 1970; Kolda & Bader 2009, figure 3.3). The sweep is a
 * dimension tree (Phan, Tichavský & Cichocki 2013): it reads a tensor of any order twice. Columns have norm 1, weights
 * fall, and in every factor but the last a column's entry of largest magnitude is positive. X̂ is never stored. Once the
 * error is below 0.01, though, sweeps keep the difference X − X̂, one more tensor of X's size, to the end of the run.
 */
export async function cpALS(engine: Engine, x: Tensor, options: CpOptions): Promise<Decomposition<KruskalTensor>> {
  check(engine, x, options);
  const { rank, initialize = "random", starts, seed = 0, solver, ridge, ...stopping } = options;
  return await iterate<KruskalTensor>(engine, x, {
    name: "cpALS",
    stopping,
    starts,
    seed,
    zero: () => zeroKruskal(engine, x.shape, rank),
    begin(scope) {
      const problem = new CpProblem(scope, options);
      const start = async (index: number): Promise<undefined> => {
        await problem.initialize(index ? "random" : initialize, seedAt(seed, index), stopping.signal);
      };
      return Object.assign(problem, { start });
    },
  });
}

/** The Kruskal tensor of a tensor of zeros. */
export function zeroKruskal(engine: Engine, shape: readonly number[], rank: number): KruskalTensor {
  const factors = shape.map((extent, mode) => identityColumns(engine, extent, rank, `factor ${mode}`));
  return new KruskalTensor(engine.tensor([rank], new Float32Array(rank), { label: "weights" }), factors);
}

/** What a {@link CpSolver} is created with: it has one start at a time, so there are no `starts`. */
export type CpSolverOptions = Omit<CpOptions, "starts">;

/**
 * The tensors and the recorded sweep of one CP problem, for those who step it themselves: `initialize`, then replay
 * `sweep` with `engine.submit` or inside a frame of one's own with `sweep.encode`, look at `factors` at any time, `finish`.
 * What `initialize` and `solve` are not given is as in the options that it was created with.
 */
export class CpSolver {
  readonly #prepared: Prepared;
  readonly #problem: Problem<KruskalTensor>;
  readonly #cp: CpProblem;
  /** after the last sweep of `solve`, where it goes on */
  #error: number | undefined;
  #hasStart = false;

  private constructor(
    readonly x: Tensor,
    readonly options: CpSolverOptions,
    prepared: Prepared,
    problem: Problem<KruskalTensor>,
  ) {
    this.#prepared = prepared;
    this.#problem = problem;
    this.#cp = problem.method as CpProblem;
  }

  /** Checks X and the options, allocates, and compiles the sweeps. */
  static async create(x: Tensor, options: CpSolverOptions): Promise<CpSolver> {
    check(x?.engine, x, options);
    if ((options as CpOptions).starts !== undefined)
      throw new TenfoldError(
        "CpSolver: starts is an option of cpALS; a solver has one start at a time: call initialize with another seed, and solve again",
      );
    const prepared = await prepare(x.engine, "cpALS", x);
    try {
      const begin = (scope: Scope) => new CpProblem(scope, options);
      return new CpSolver(x, options, prepared, await Problem.create(x.engine, prepared, "cpALS", begin));
    } catch (error) {
      prepared[dispose]();
      throw error;
    }
  }

  get engine(): Engine {
    return this.x.engine;
  }

  /** I_n×R each, columns of norm 1 after a sweep */
  get factors(): readonly Tensor[] {
    return this.#cp.factors;
  }

  /** λ of the last sweep, [R], times 2^−`exponent` */
  get weights(): Tensor {
    return this.#cp.weights;
  }

  /** X was multiplied by 2^−exponent, 0 where its entries are neither very large nor very small; results are of X */
  get exponent(): number {
    return this.#prepared.exponent;
  }

  /** One sweep over all modes; reads the tensor twice. */
  get sweep(): Schedule {
    return this.#problem.cheapSweep!;
  }

  /** The same with the residual itself, a third read of the tensor. */
  get preciseSweep(): Schedule {
    return this.#problem.preciseSweep;
  }

  /** ‖X‖², times 2^(−2·`exponent`) */
  get squaredNorm(): number {
    return this.#prepared.squaredNorm;
  }

  /** Writes start factors: uniform random, or singular vectors of the unfoldings. By default as the solver's options have it. */
  initialize(
    how: "random" | "hosvd" = this.options.initialize ?? "random",
    seed = this.options.seed ?? 0,
  ): Promise<void> {
    return this.#initialize(how, seed, this.options.signal);
  }

  /** Starts from these factors instead, I_n×R each, row-major: those of an earlier result, or of a similar tensor. */
  start(given: readonly TensorData[]): Promise<void> {
    return this.#begin(this.#cp.startFrom(given));
  }

  #initialize(how: "random" | "hosvd" = "random", seed = 0, signal?: AbortSignal): Promise<void> {
    return this.#begin(this.#cp.initialize(how, seed, signal));
  }

  async #begin(start: Promise<void>): Promise<void> {
    this.#error = undefined;
    await start;
    this.#hasStart = true;
  }

  /**
   * Sweeps from the present factors until the stopping rule is met; from those of `initialize` where there was no start yet. What is not
   * given is as in the solver's options.
   */
  async solve(stopping: StoppingOptions = {}): Promise<Decomposition<KruskalTensor>> {
    checkOptions("solve", stopping, stoppingRules);
    if (this.#prepared.isZero) return this.#zero();
    const { initialize, seed, sweeps, tolerance, onIteration, signal, sweepsPerSubmit } = this.options;
    const all = { sweeps, tolerance, onIteration, signal, sweepsPerSubmit, ...stopping };
    if (!this.#hasStart) await this.#initialize(initialize, seed, all.signal);
    const result = await this.#problem.solve(all, this.#error);
    this.#error = result.errors.at(-1);
    return this.#restored(result);
  }

  /** Copies the result out in canonical order and signs; only the R weights are looked at by the host. */
  async finish(convergence: Convergence): Promise<Decomposition<KruskalTensor>> {
    if (this.#prepared.isZero) return this.#zero();
    return this.#restored(await this.#problem.result(convergence));
  }

  #zero(): Decomposition<KruskalTensor> {
    return zeroResult(zeroKruskal(this.engine, this.x.shape, this.options.rank));
  }

  async #restored(result: Decomposition<KruskalTensor>): Promise<Decomposition<KruskalTensor>> {
    try {
      return await this.#problem.restored(result);
    } catch (error) {
      result.tensor.destroy();
      throw error;
    }
  }

  destroy(): void {
    this.#problem.destroy();
    this.#prepared[dispose]();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** CP-ALS as a method of `iterate`: its tensors, what a sweep records, its error, its result. */
class CpProblem implements Method<KruskalTensor> {
  readonly columns: number;
  readonly hasCheap = true;
  readonly advice: string;
  readonly state: readonly Tensor[];
  readonly factors: readonly Tensor[];
  /** λ of the last sweep, [R] */
  readonly weights: Tensor;
  /** R×R Gram matrices of the factors, each from the beginning of a row, and room for R norms */
  readonly #grams: Tensor;
  readonly #values: Tensor;
  readonly #own: Scope["own"];
  readonly given: Prepared;

  constructor(
    { own, given }: Scope,
    readonly options: CpOptions,
  ) {
    this.given = given;
    this.#own = own;
    const { rank, solver = "cholesky" } = options;
    this.advice = solver === "cholesky" ? "a larger ridge" : "the solver cholesky";
    const { x } = given;
    this.factors = x.shape.map((extent, mode) => own([extent, rank], `factor ${mode}`));
    // rows begin where a binding may
    this.#grams = own([x.order, 64 * Math.ceil((rank ** 2 + rank) / 64)], "grams");
    this.weights = own([rank], "weights");
    this.columns = (this.#isFused ? 3 : 4) * SCALAR;
    this.#values = own([this.columns], "sweep values");
    this.state = [...this.factors, this.#grams, this.weights];
  }

  get x(): Tensor {
    return this.given.x;
  }

  get engine(): Engine {
    return this.x.engine;
  }

  /** An abort while singular vectors are looked for throws the signal's reason. */
  async initialize(how: "random" | "hosvd", seed: number, signal?: AbortSignal): Promise<void> {
    const { engine, x, factors, given } = this;
    for (let mode = 0; mode < x.order; mode++) {
      const factor = factors[mode]!;
      const extent = x.shape[mode]!;
      const rank = Math.min(this.options.rank, extent, x.size / extent);
      const task = { mode, rank, seed, isTold: false };
      using found =
        how === "hosvd"
          ? (await subspaceOf(engine, given, task, { sweeps: 12, tolerance: 1e-4, signal })).tensor
          : null;
      if (found) signal?.throwIfAborted();
      // vectors beyond the rank of the unfolding are orthogonal to all of X, and an update would leave nothing of them
      const values = found ? await engine.read(found.values) : [];
      const known = values.filter((value) => value > SEEN * values[0]!).length;
      await engine.run((s) => {
        const start = uniform(s, factor.shape, { seed, stream: mode });
        if (found) {
          const vectors = slice(s, found.vectors, [0, 0], [extent, known]);
          pasteColumns(s, vectors, start);
          s.release(vectors);
        }
        this.#begin(s, mode, start);
        s.release(start);
      }, "CP start");
    }
  }

  /** Records a start factor: its columns are brought to norm 1, and the model counts as zero. */
  #begin(s: Scheduler, mode: number, start: Tensor): void {
    const { out, norms } = normalizeColumns(s, start);
    copy(s, out, { out: this.factors[mode]! });
    s.release(out, norms);
    gram(s, this.factors[mode]!, { out: this.#gramOf(mode) });
    if (mode === 0) fill(s, this.weights, 0);
  }

  async startFrom(given: readonly TensorData[]): Promise<void> {
    const { engine, factors } = this;
    if (given.length !== factors.length)
      throw new ShapeError(`start: ${given.length} factors for ${this.x}, needs ${factors.length}`);
    factors.forEach((factor, mode) => {
      engine.write(factor, given[mode]!);
    });
    await engine.run((s) => {
      for (const [mode, factor] of factors.entries()) this.#begin(s, mode, factor);
    }, "CP start");
  }

  record(s: Scheduler, { rows, counter }: Trace, precise: boolean): void {
    const { x, factors, weights } = this;
    const fused = this.#isFused;
    const grams = this.#grams;
    let previous: UnnormalizedFactor | undefined;
    overModes(s, x, factors, { unsummed: fused }, (product, mode, partialFrom) => {
      if (!fused) return this.#update(s, product, mode);
      // the mode before the partial result's was not normalised when that was made
      const unscaled = partialFrom ? partialFrom - 1 : undefined;
      const ridge = this.options.ridge ?? 0;
      const factor = factors[mode]!;
      previous = alsUpdate(s, { product, grams, mode, factor, previous, unscaled, ridge, proximal: PROXIMAL, weights });
    });
    if (previous) {
      const trace = precise ? undefined : { rows, counter };
      alsNormalize(s, { previous, grams, weights, values: this.#values, trace });
    }
    if (precise) kruskalResidual(s, x, weights, factors, { out: this.#scalar(2) });
    if (precise || !fused) appendRow(s, this.#values, rows, counter);
  }

  #scalar(index: number): Tensor {
    return this.#values.rows(index * SCALAR, index * SCALAR + 1);
  }

  /** whether an update is the one dispatch of `alsUpdate` */
  get #isFused(): boolean {
    const { rank, solver = "cholesky" } = this.options;
    return solver === "cholesky" && fusesAls(this.engine, rank);
  }

  #gramOf(mode: number): Tensor {
    const { rank } = this.options;
    const [modes, stride] = this.#grams.shape as [number, number];
    const start = mode * stride;
    return this.#grams
      .reshape([modes * stride])
      .rows(start, start + rank ** 2)
      .reshape([rank, rank]);
  }

  /** The Hadamard product of some Gram matrices; null for none. What is a temporary is the caller's to release. */
  #hadamardOf(s: Scheduler, modes: readonly number[]): { product: Tensor | null; isTemporary: boolean } {
    let product: Tensor | null = null;
    modes.forEach((mode, index) => {
      const own = this.#gramOf(mode);
      const next: Tensor = product ? hadamard(s, product, own) : own;
      if (product && index > 1) s.release(product);
      product = next;
    });
    return { product, isTemporary: modes.length > 1 };
  }

  /** A⁽ⁿ⁾ = (M + ρA₀)(V + ρI)⁻¹ with V the Hadamard product of the other Gram matrices; then columns to norm 1. */
  #update(s: Scheduler, product: Tensor, mode: number): void {
    const { options, weights } = this;
    const { solver: method = "cholesky", ridge = 0 } = options;
    const factor = this.factors[mode]!;
    const last = mode === this.x.order - 1;
    const { product: normal, isTemporary } = this.#hadamardOf(s, othersOf(this.factors, mode));
    let solved: Tensor;
    if (method === "cholesky") {
      const kept = scaleColumns(s, factor, weights);
      const near = scale(s, kept, { alpha: PROXIMAL });
      const right = add(s, product, near);
      s.release(kept, near);
      solved = solveSymmetric(s, normal!, right, { method, ridge: ridge + PROXIMAL });
      s.release(right);
    } else solved = solveSymmetric(s, normal!, product, { method });
    if (last) {
      const own = gram(s, solved);
      innerProduct(s, product, solved, { out: this.#scalar(0) });
      innerProduct(s, normal!, own, { out: this.#scalar(1) });
      s.release(own);
    }
    if (isTemporary) s.release(normal!);
    normalizeColumns(s, solved, { out: factor, norms: weights });
    if (last) sumOfSquares(s, weights, { out: this.#scalar(3) });
    s.release(solved);
    gram(s, factor, { out: this.#gramOf(mode) });
  }

  /** Sweeps that keep E = X − X̂ and correct the factors by it. */
  readonly correcting = {
    below: CORRECTING,
    open: () => {
      const difference = this.#own(this.x.shape, "difference");
      return {
        enter: (s: Scheduler) => {
          kruskalDifference(s, this.x, this.weights, this.factors, { out: difference });
        },
        record: (s: Scheduler, { rows, counter }: Trace) => {
          this.#correct(s, difference);
          kruskalDifference(s, this.x, this.weights, this.factors, { out: difference });
          sumOfSquares(s, difference, { out: this.#scalar(2) });
          appendRow(s, this.#values, rows, counter);
        },
      };
    },
  };

  /**
   * One sweep by A ← A + (G − ridge·A)(V + (ridge + ρ)I)⁻¹, G the MTTKRP of what X̂ leaves of X. The MTTKRP is taken of E, the difference
   * when the sweep began. The steps Δ that factors of earlier modes have taken since are seen from the R×R side: of the change of X̂
   * to now, the MTTKRP is A₀·(P ⊛ T), T the Hadamard product of the Gram matrices of later modes, and P grows mode by mode:
   * P ← P ⊛ (A₀ᵀA₁) + Q ⊛ (ΔᵀA₁), where A₀ and A₁ are the mode's factor before and after, and Q the product of the Gram
   * matrices after. So every number is as small as the step that it makes, and rounding is relative to that.
   */
  #correct(s: Scheduler, difference: Tensor): void {
    const { factors, weights, options } = this;
    const { solver: method = "cholesky", ridge = 0 } = options;
    let change: Tensor | null = null;
    const modes = factors.map((_, mode) => mode);
    overModes(s, difference, factors, {}, (product, mode) => {
      const factor = factors[mode]!;
      const later = this.#hadamardOf(s, modes.slice(mode + 1));
      const earlier = this.#hadamardOf(s, modes.slice(0, mode));
      const [T, Q] = [later.product, earlier.product];
      const normal = T && Q ? hadamard(s, Q, T) : (T ?? Q)!;
      let gradient = product;
      const replace = (next: Tensor): void => {
        if (gradient !== product) s.release(gradient);
        gradient = next;
      };
      if (change) {
        const seen = T ? hadamard(s, change, T) : change;
        const moved = matmul(s, factor, seen);
        replace(subtract(s, gradient, moved));
        s.release(moved);
        if (seen !== change) s.release(seen);
      }
      const kept = scaleColumns(s, factor, weights);
      if (ridge && method === "cholesky") {
        const shrink = scale(s, kept, { alpha: ridge });
        replace(subtract(s, gradient, shrink));
        s.release(shrink);
      }
      const step = solveSymmetric(
        s,
        normal,
        gradient,
        method === "cholesky" ? { method, ridge: ridge + PROXIMAL } : { method },
      );
      if (T && Q) s.release(normal);
      replace(product);
      const next = add(s, kept, step);
      s.release(kept);
      const { out: turned, norms } = normalizeColumns(s, next);
      s.release(next);
      if (T) {
        const moved = matmul(s, step, turned, { transposeA: true });
        const own = Q ? hadamard(s, Q, moved) : moved;
        if (change) {
          const across = matmul(s, factor, turned, { transposeA: true });
          const carried = hadamard(s, change, across);
          const sum = add(s, carried, own);
          s.release(across, carried, own, change);
          change = sum;
        } else change = own;
        if (Q) s.release(moved);
      }
      s.release(step);
      if (later.isTemporary) s.release(T!);
      if (earlier.isTemporary) s.release(Q!);
      copy(s, turned, { out: factor });
      copy(s, norms, { out: weights });
      s.release(turned, norms);
      gram(s, factor, { out: this.#gramOf(mode) });
    });
    if (change) s.release(change);
  }

  errorOf(row: Float32Array, kind: Kind): Told {
    const { squaredNorm } = this.given;
    const places = [0, SCALAR, this.#isFused ? SCALAR + 1 : 3 * SCALAR, 2 * SCALAR];
    const [inner, model, terms, residual] = places.map((at) => row[at]! / squaredNorm) as [
      number,
      number,
      number,
      number,
    ];
    if (kind === "correcting") return { fromResidual: Math.sqrt(residual) };
    const squared = 1 - 2 * inner + model;
    // NaN stays
    const fromNorms = Math.sqrt(squared < 0 ? 0 : squared);
    // terms that cancel each other bring rounding errors of their own size
    const amplification = Math.max(1, terms);
    return { fromNorms, amplification, ...(kind === "precise" ? { fromResidual: Math.sqrt(residual) } : {}) };
  }

  /** Copies the factors out in canonical order and signs; only the R weights are looked at by the host. */
  async finish(): Promise<KruskalTensor> {
    const { engine, factors, options } = this;
    const { rank } = options;
    const weights = (await engine.read(this.weights)) as Float32Array;
    const order = Uint32Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]! || a - b);
    const sorted = engine.tensor(
      [rank],
      Float32Array.from(order, (r) => weights[r]!),
      { label: "weights" },
    );
    const results = factors.map((factor, mode) => engine.tensor(factor.shape, null, { label: `factor ${mode}` }));
    const tensor = new KruskalTensor(sorted, results);
    using orderTensor = engine.tensor([rank], order, { label: "order" });
    try {
      await engine.run((s) => {
        const flips = s.tensor([rank], { label: "flips" });
        fill(s, flips, 1);
        factors.forEach((factor, mode) => {
          const apply = mode === factors.length - 1;
          canonicalizeColumns(s, factor, orderTensor, flips, { apply, out: results[mode]! });
        });
      }, "CP result");
      return tensor;
    } catch (error) {
      tensor.destroy();
      throw error;
    }
  }

  residual(s: Scheduler, { weights, factors }: KruskalTensor, out: Tensor): void {
    kruskalResidual(s, this.x, weights, factors, { out });
  }

  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
    return restoreKruskal("cpALS", tensor, exponent);
  }
}

/** Gives a Kruskal tensor's weights the scale of X = 2^exponent · x. */
export async function restoreKruskal(
  name: string,
  { engine, weights, factors }: KruskalTensor,
  exponent: number,
): Promise<KruskalTensor> {
  const values = restoreValues(name, "weights", await engine.read(weights), exponent);
  const restored = engine.tensor(weights.shape, values, { label: "weights" });
  weights.destroy();
  return new KruskalTensor(restored, factors);
}

/**
 * Records a sweep over all modes: `update` is given each mode's MTTKRP with the factors as they are then, and may change the factor of
 * that mode. Reads X twice, by way of two partial results. `partialFrom` is the first mode of the second one, for modes after it.
 */
export function overModes(
  s: Scheduler,
  x: Tensor,
  factors: readonly Tensor[],
  { unsummed = false }: { unsummed?: boolean },
  update: (product: Tensor, mode: number, partialFrom?: number) => void,
): void {
  const split = splitModes(x.shape);
  for (const [start, stop] of [[0, split] as const, [split, x.order] as const]) {
    const whole = stop - start === x.order;
    const single = stop - start === 1;
    const partial = single || whole ? null : partialMttkrp(s, x, factors, [start, stop]);
    for (let mode = start; mode < stop; mode++) {
      const product = partial
        ? mttkrpFromPartial(s, partial, factors.slice(start, stop), [start, stop], mode, { unsummed })
        : mttkrp(s, x, factors, mode, { unsummed });
      update(product, mode, partial && start > 0 && mode > start ? start : undefined);
      s.release(product);
    }
    if (partial) s.release(partial);
  }
}

const othersOf = (factors: readonly Tensor[], mode: number): number[] =>
  factors.map((_, other) => other).filter((other) => other !== mode);

/** Where the dimension tree cuts the modes in two: the cut whose larger half is smallest. */
export function splitModes(shape: readonly number[]): number {
  let best = 1;
  let bestSize = Number.POSITIVE_INFINITY;
  for (let cut = 1; cut < shape.length; cut++) {
    const left = shape.slice(0, cut).reduce((product, extent) => product * extent, 1);
    const right = shape.slice(cut).reduce((product, extent) => product * extent, 1);
    const size = Math.max(left, right);
    if (size < bestSize) [best, bestSize] = [cut, size];
  }
  return best;
}
