import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  type OptionRules,
  oneOf,
  optionRules,
  type Program,
  type Schedule,
  type Scheduler,
  ShapeError,
  TenfoldError,
  type Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  add,
  appendRow,
  columnParts,
  copy,
  fill,
  gram,
  innerProduct,
  MOST_MATRICES,
  map,
  normalizeColumns,
  prefersUnitColumns,
  scaleColumns,
  sumOfSquares,
  unitColumns,
} from "../ops/index.js";
import { checkCall, overModes, type Resident, resident, type Source, withSource } from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { canonicalKruskal } from "./canonicalKruskal.js";
import { type CheckpointOptions, checkpointRules, refuseCheckpoint } from "./checkpointOptions.js";
import type { CpConstraint } from "./cpConstraints.js";
import { constraintsRule, isConstrained, nonnegativeRule, restoreKruskal } from "./cpModels.js";
import { type CorrectingSweeps, type CpUpdate, type FusedUpdate, hadamardProduct, leastSquares } from "./cpUpdates.js";
import {
  type Convergence,
  type Decomposition,
  iterate,
  Problem,
  type Scope,
  type StoppingOptions,
  type SweepKind,
  type SweepMethod,
  seedAt,
  stoppingRules,
  type Told,
  type Trace,
  takesMasked,
  zeroResult,
} from "./iterate.js";
import type { StackedFactors } from "./stack.js";
import { withStartFactor } from "./startFactor.js";
import { TensorScope } from "./tensorScope.js";
import { zeroKruskal } from "./zeroKruskal.js";

export interface CpOptions extends StoppingOptions, CheckpointOptions {
  /** R, the number of rank-one terms */
  rank: number;
  /** uniform random factors, or the leading left singular vectors of every unfolding (random beyond their number) */
  initialize?: "random" | "hosvd";
  /** runs this many starts, all but the first of them random, and keeps the best; 1 by default */
  starts?: number;
  seed?: number;
  /** how the R×R normal equations are solved; the pseudo-inverse copes with collinear columns */
  solver?: "cholesky" | "pseudoInverse";
  /**
   * `nesterov`, the default: each sweep begins a little further than the last one ended, and what made the error larger is taken back (Mitchell,
   * Ye & De Sterck 2020; Ang, Cohen, Gillis & Hien 2021). Every sweep then takes its error from the residual, a third read of X, and the errors
   * told are those of the best factors so far (of tensors with missing entries, of the best ones with which a sweep began). `none`: sweeps as Kolda & Bader 2009 have them; so are those of tensors of more than 8 modes
   */
  acceleration?: "nesterov" | "none";
  /**
   * added to the diagonal for Cholesky, times the mean of the diagonal: shrinks terms that cancel each other; 0 by default. Modes that are
   * `nonnegative` have none
   */
  ridge?: number;
  /**
   * factors of all modes (`true`), or of these, have no negative entry, and no weight is negative: by hierarchical alternating least squares
   * (Cichocki & Phan 2009). X may have negative entries
   */
  nonnegative?: boolean | readonly number[];
  /**
   * of modes by number, as in `{ 0: "unimodal", 2: "orthogonal" }`: `nonnegative`; `unimodal`, columns without negative entries that rise to
   * one peak and fall after it; `orthogonal`, orthonormal columns; `{ fixed: factor }`, a factor that stays, I_n×R, but that its columns get
   * norm 1. Where a factor is fixed, terms keep the order of its columns.
   *
   * One mode may have a penalty, of its factor times the weights, Â; what is lowered is then ½‖X − X̂‖² and the penalty together:
   * `{ smooth: λ, nonnegative }`, ½·λ·Σ of squared second differences down the columns of Â; `{ sparse: λ, nonnegative }`, λ·‖X‖·Σ|â|, so that an entry is 0
   * whose term would not explain λ of ‖X‖. The other modes take no ridge then, and may not be unimodal
   */
  constraints?: Readonly<Record<number, CpConstraint>>;
}

const rules: OptionRules<CpOptions> = {
  rank: { ...optionRules.positive, required: true },
  initialize: oneOf("random", "hosvd"),
  starts: { ...optionRules.positive, elsewhere: "ninit nstarts restarts" },
  seed: optionRules.seed,
  solver: oneOf("cholesky", "pseudoInverse"),
  acceleration: oneOf("nesterov", "none"),
  ridge: optionRules.atLeastZero,
  nonnegative: nonnegativeRule,
  constraints: constraintsRule,
  ...checkpointRules,
  ...stoppingRules,
};

function check(engine: Engine, x: Tensor<DType> | Source, options: CpOptions): void {
  checkCall(engine, "cpALS", x);
  const rank: unknown = options?.rank;
  if (typeof rank === "number" && !optionRules.positive.is(rank))
    throw new ShapeError(`cpALS: rank ${rank}, needs a positive whole number`);
  checkOptions("cpALS", options, rules, takesMasked);
  if (x.order < 2) throw new ShapeError(`cpALS: ${x} has order ${x.order}, needs at least 2`);
}

/**
 * Relative error below which sweeps correct the factors by the residual. An MTTKRP of X is rounded by 1e-7·‖X‖. Where V is nearly singular,
 * an update with the proximal term ρ = 1e-6 turns that into 1e-7/(2√ρ) = 5e-5 of ‖X‖, which smaller errors than 0.01 would feel.
 */
const CORRECTING = 0.01;
/**
 * Numbers of a trace row lie this far apart, where views may begin: ⟨X, X̂⟩; ‖X̂‖² (of fused sweeps with Σ‖terms‖² behind it); ‖X − X̂‖²
 * where it is computed; Σ‖terms‖² (not of fused sweeps).
 */
const SCALAR = 64;

/**
 * CP by alternating least squares (Carroll & Chang 1970, Harshman 1970; Kolda & Bader 2009, figure 3.3). The sweep is a
 * dimension tree (Phan, Tichavský & Cichocki 2013): it reads a tensor of any order twice. Columns have norm 1, weights
 * fall, and in every factor but the last a column's entry of largest magnitude is positive. X̂ is never stored. Once the
 * error is below 0.01, though, sweeps keep the difference X − X̂, one more tensor of X's size, to the end of the run. Sweeps are extrapolated
 * (`acceleration`): where components are collinear, plain ones need about ten times as many.
 */
export async function cpALS(
  engine: Engine,
  x: Tensor<DType> | Source,
  options: CpOptions,
): Promise<Decomposition<KruskalTensor>> {
  check(engine, x, options);
  if (isConstrained(options))
    refuseCheckpoint("cpALS", options.checkpoint, "with constraints", "take factors without any");
  const update = await updateOf("cpALS", x, options);
  return await withSource(engine, "cpALS", x, (source) => byUpdate("cpALS", source, options, update), {
    byVerbs: true,
  });
}

type MakeMethod = (
  name: string,
  scope: Scope,
  rank: number,
  update: CpUpdate,
) => SweepMethod<KruskalTensor> &
  Pick<CpProblem, "initialize" | "startFrom"> & {
    /** the error of a start, where it is known */
    startError?: number | undefined;
  };

/** Sweeps, extrapolated or not. */
async function methodOf({ order }: Source, acceleration: CpOptions["acceleration"] = "nesterov"): Promise<MakeMethod> {
  if (acceleration === "none" || order > MOST_MATRICES) return plainMethod;
  const { ExtrapolatedCp } = await import("./extrapolatedCp.js");
  return (name, scope, rank, of) =>
    new ExtrapolatedCp(name, scope, rank, of, (stacked) => new CpProblem(name, scope, rank, of, stacked));
}

const plainMethod: MakeMethod = (...parameters) => new CpProblem(...parameters);

/** Sweeps of an update. Tells how much of X is negative, where no factor is. */
async function byUpdate(
  name: string,
  source: Source,
  options: UpdateOptions,
  update: CpUpdate,
): Promise<Decomposition<KruskalTensor>> {
  const result = await cpByUpdates(name, source, options, update, await methodOf(source, options.acceleration));
  if (update.oneSigned?.size !== source.order) return result;
  using tensorScope = new TensorScope(source.engine);
  tensorScope.keep(result.tensor);
  const negativePart = await (await import("./cpNonnegative.js")).negativePart(source);
  return tensorScope.handOut(negativePart === undefined ? result : { ...result, negativePart });
}

/** The update that the options ask for. What they seldom ask for is loaded when they do. */
async function updateOf(
  name: string,
  x: Pick<Source, "shape" | "order" | "toString">,
  { rank, solver, ridge, nonnegative, constraints }: Pick<CpOptions, "rank" | "solver" | "ridge" | keyof Constrained>,
): Promise<CpUpdate> {
  const plain =
    solver === "pseudoInverse" ? (await import("./cpPseudoInverse.js")).byPseudoInverse : leastSquares(ridge);
  if (!isConstrained({ nonnegative, constraints })) return plain;
  const { constrained, constraintsOf } = await import("./cpConstraints.js");
  const asked = constraintsOf(name, x, rank, { nonnegative, constraints });
  return constrained(name, x, rank, asked, plain);
}

/** What constrains factors. */
export type Constrained = Pick<CpOptions, "nonnegative" | "constraints">;

/** CP with constrained factors, as `cpALS` does it, by the name of who asks. */
export async function cpConstrained(
  name: string,
  source: Source,
  options: UpdateOptions & Constrained,
): Promise<Decomposition<KruskalTensor>> {
  return await byUpdate(name, source, options, await updateOf(name, source, options));
}

/** What alternating updates are asked for; the first start may be of factors, I_n×R each. */
type UpdateOptions = Omit<CpOptions, "initialize" | keyof Constrained> & {
  initialize?: "random" | "hosvd" | readonly TensorData[];
};

/** CP by alternating updates, whatever they are: one factor after the other is made anew from its MTTKRP. */
export function cpByUpdates(
  name: string,
  source: Source,
  options: UpdateOptions,
  update: CpUpdate,
  method = plainMethod,
): Promise<Decomposition<KruskalTensor>> {
  const {
    rank,
    initialize = "random",
    starts,
    seed = 0,
    acceleration = "nesterov",
    checkpoint,
    solver = "cholesky",
    ridge = 0,
    signal,
  } = options;
  const within = update.within?.(source, options, (...inner) => cpByUpdates(name, ...inner, method));
  return (
    within ??
    iterate<KruskalTensor>(source, {
      name,
      stopping: options,
      starts,
      seed,
      saving: checkpoint && { checkpoint, options: { rank, initialize, seed, solver, ridge, acceleration } },
      zero: () => zeroKruskal(source.engine, source.shape, rank),
      begin(scope) {
        const problem = method(name, scope, rank, update);
        const start = async (index: number): Promise<number | undefined> => {
          const how = index ? "random" : initialize;
          await (typeof how === "string"
            ? problem.initialize(how, seedAt(seed, index), signal)
            : problem.startFrom(how));
          return problem.startError;
        };
        return Object.assign(problem, { start });
      },
    })
  );
}

/** What a {@link CpSolver} is created with: it has one start at a time, so there are no `starts`. */
export type CpSolverOptions = Omit<CpOptions, "starts" | "checkpoint" | "acceleration">;

/**
 * The tensors and the recorded sweep of one CP problem, for those who step it themselves; sweeps are not extrapolated. `initialize`, then replay
 * `sweep` with `engine.submit` or inside a frame of one's own with `sweep.encode`, look at `factors` at any time, `finish`.
 * Options that `initialize` and `solve` are called without are those that the solver was created with.
 */
export class CpSolver {
  readonly #source: Resident;
  readonly #problem: Problem<KruskalTensor>;
  readonly #cp: CpProblem;
  /** the error after the last sweep of `solve`, from which the next `solve` goes on */
  #error: number | undefined;
  #hasStart = false;

  private constructor(
    readonly x: Tensor,
    readonly options: CpSolverOptions,
    source: Resident,
    problem: Problem<KruskalTensor>,
  ) {
    this.#source = source;
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
    refuseCheckpoint("CpSolver", (options as CpOptions).checkpoint, "here", "take cpALS");
    const update = await updateOf("CpSolver", x, options);
    const source = await resident(x.engine, "cpALS", x);
    try {
      const begin = (scope: Scope) => new CpProblem("cpALS", scope, options.rank, update);
      return new CpSolver(x, options, source, await Problem.create(source, "cpALS", begin));
    } catch (error) {
      source[dispose]();
      throw error;
    }
  }

  get engine(): Engine {
    return this.x.engine;
  }

  /** I_n×R each, columns of norm 1 after a sweep */
  get factors(): readonly Tensor[] {
    return this.#cp.model.factors;
  }

  /** λ of the last sweep, [R], times 2^−`exponent` */
  get weights(): Tensor {
    return this.#cp.model.weights;
  }

  /** X was multiplied by 2^−exponent, 0 where its entries are neither very large nor very small; results are of X */
  get exponent(): number {
    return this.#source.exponent;
  }

  /** One sweep over all modes; reads the tensor twice. */
  get sweep(): Schedule {
    return this.#problem.cheapSweep!.schedule;
  }

  /** The same sweep with ‖X − X̂‖² computed from the differences, a third read of the tensor. */
  get preciseSweep(): Schedule {
    return this.#problem.preciseSweep.schedule;
  }

  /** ‖X‖², times 2^(−2·`exponent`) */
  get squaredNorm(): number {
    return this.#source.squaredNorm;
  }

  /** Writes start factors: uniform random, or singular vectors of the unfoldings. By default as the solver's options have it. */
  initialize(
    how: "random" | "hosvd" = this.options.initialize ?? "random",
    seed = this.options.seed ?? 0,
  ): Promise<void> {
    return this.#begin(this.#cp.initialize(how, seed, this.options.signal));
  }

  /** Starts from these factors instead, I_n×R each, row-major: those of an earlier result, or of a similar tensor. */
  start(factors: readonly TensorData[]): Promise<void> {
    return this.#begin(this.#cp.startFrom(factors));
  }

  async #begin(start: Promise<void>): Promise<void> {
    this.#error = undefined;
    await start;
    this.#hasStart = true;
  }

  /**
   * Sweeps from the present factors until the stopping rule is met, after `initialize` where there was no start yet. The solver's options
   * hold where `stopping` says nothing else.
   */
  async solve(stopping: StoppingOptions = {}): Promise<Decomposition<KruskalTensor>> {
    checkOptions("solve", stopping, stoppingRules);
    if (this.#source.isZero) return this.#zero();
    const { initialize = "random", seed = 0, sweeps, tolerance, onIteration, signal, sweepsPerSubmit } = this.options;
    const all = { sweeps, tolerance, onIteration, signal, sweepsPerSubmit, ...stopping };
    if (!this.#hasStart) await this.#begin(this.#cp.initialize(initialize, seed, all.signal));
    const result = await this.#problem.solve(all, this.#error);
    this.#error = result.errors.at(-1);
    return this.#restored(result);
  }

  /** Copies the result out in canonical order and signs; only the R weights are looked at by the host. */
  async finish(convergence: Convergence): Promise<Decomposition<KruskalTensor>> {
    if (this.#source.isZero) return this.#zero();
    return this.#restored(await this.#problem.result(convergence));
  }

  #zero(): Decomposition<KruskalTensor> {
    return zeroResult(zeroKruskal(this.engine, this.x.shape, this.options.rank));
  }

  async #restored(result: Decomposition<KruskalTensor>): Promise<Decomposition<KruskalTensor>> {
    using tensorScope = new TensorScope(this.engine);
    tensorScope.keep(result.tensor);
    return tensorScope.handOut(await this.#problem.restored(result));
  }

  destroy(): void {
    this.#problem.destroy();
    this.#source[dispose]();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** CP by alternating updates as a method of `iterate`: its tensors, what a sweep records, its error, its result. */
export class CpProblem implements SweepMethod<KruskalTensor> {
  readonly columns: number;
  readonly hasCheap = true;
  readonly advice: string;
  readonly state: readonly Tensor[];
  /** factors with columns of norm 1, and λ of the last sweep */
  readonly model: KruskalTensor;
  /** a row a mode: the R×R Gram matrix of its factor, and room for R norms */
  readonly #grams: Tensor;
  readonly #values: Tensor;
  readonly #scope: Scope;
  /** where a mode's update is one dispatch */
  readonly #fused: FusedUpdate | null;

  readonly update: CpUpdate;

  constructor(
    readonly name: string,
    scope: Scope,
    rank: number,
    update: CpUpdate,
    /** where the factors lie; by default each for itself */
    private readonly stacked?: StackedFactors,
  ) {
    this.#scope = scope;
    const { allocate, engine, source } = scope;
    this.advice = update.advice;
    this.update = update.begin?.(scope) ?? update;
    this.#fused = update.fused?.(engine, rank) ?? null;
    const factors = source.shape.map((extent, mode) =>
      stacked ? stacked.stack.of(stacked.tensor, mode) : allocate([extent, rank], `factor ${mode}`),
    );
    // rows begin where a binding may
    this.#grams = allocate([source.order, 64 * Math.ceil((rank ** 2 + rank) / 64)], "grams");
    this.model = new KruskalTensor(allocate([rank], "weights"), factors);
    this.columns = (this.#fused && !this.#fused.tellsError ? 3 : 4) * SCALAR;
    this.#values = allocate([this.columns], "sweep values");
    this.state = [...factors, this.#grams, this.model.weights];
    this.correcting = update.correct && this.#correctingSweeps(update.correct);
  }

  async initialize(how: "random" | "hosvd", seed: number, signal?: AbortSignal): Promise<void> {
    const { source } = this.#scope;
    for (const mode of this.model.factors.keys()) {
      const task = { mode, rank: this.model.rank, seed, signal };
      await withStartFactor(source, how, task, (s, start) => this.#begin(s, mode, start));
    }
    await this.#prepare();
  }

  /** Changes the start factors to ones that the constraints allow. */
  async #prepare(): Promise<void> {
    const { prepare } = this.update;
    if (!prepare) return;
    const { engine } = this.#scope;
    const { factors, rank } = this.model;
    const values = await engine.read([...factors]);
    for (const [mode, factor] of factors.entries()) {
      prepare(values[mode]!, rank, mode);
      engine.write(factor, values[mode]!);
    }
    await engine.run((s) => {
      for (const [mode, factor] of factors.entries()) this.#begin(s, mode, factor);
    }, "CP start");
  }

  /** Records a start factor: its columns are brought to norm 1, and the model counts as zero. */
  #begin(s: Scheduler, mode: number, start: Tensor): void {
    s.release(this.place(s, mode, start));
    if (mode === 0) fill(s, this.model.weights, 0);
  }

  /**
   * Records the factors of these modes in a stack in place of the model's, which lie in one like it: columns of norm 1, and the product of what their
   * norms were as the weights.
   */
  placeAll(s: Scheduler, tensor: Tensor, modes: readonly number[]): void {
    const { stack, tensor: factors } = this.stacked!;
    const { weights, rank } = this.model;
    if (!prefersUnitColumns(rank)) {
      const norms = modes.map((mode) => this.place(s, mode, stack.of(tensor, mode)));
      const { product, isTemporary } = hadamardProduct(s, norms);
      copy(s, product!, { out: weights });
      s.release(...norms, ...(isTemporary ? [product!] : []));
      return;
    }
    const matrices = modes.map((mode) => ({ rows: stack.shapes[mode]![0]!, start: stack.rangeOf([mode])[0] }));
    const parts = columnParts(s, tensor, matrices, rank);
    unitColumns(s, { stack: tensor, matrices, parts, factors, grams: this.#grams, modes, weights });
  }

  /** Records a factor in place of a mode's: its columns are brought to norm 1. Returns what their norms were; the weights stay. */
  place(s: Scheduler, mode: number, start: Tensor): Tensor {
    const factor = this.model.factors[mode]!;
    const { out, norms } = normalizeColumns(s, start);
    copy(s, out, { out: factor });
    s.release(out);
    gram(s, factor, { out: this.#gramOf(mode) });
    return norms;
  }

  async startFrom(start: readonly TensorData[]): Promise<void> {
    const { engine, source } = this.#scope;
    const { factors } = this.model;
    if (start.length !== factors.length)
      throw new ShapeError(`start: ${start.length} factors for ${source}, needs ${factors.length}`);
    factors.forEach((factor, mode) => {
      engine.write(factor, start[mode]!);
    });
    await engine.run((s) => {
      for (const [mode, factor] of factors.entries()) this.#begin(s, mode, factor);
    }, "CP start");
    await this.#prepare();
  }

  /** Records a sweep, and what it tells where there is a trace. */
  record(p: Program, trace: Trace | null, isPrecise: boolean): void {
    const { weights, factors } = this.model;
    const { source } = this.#scope;
    const { squaredNorm } = source;
    const sweep = this.#fused?.begin({ weights, factors, grams: this.#grams, squaredNorm });
    overModes(p, source, factors, { unsummed: sweep !== undefined }, (product, mode, partialFrom) => {
      if (sweep) sweep.record(p, product, mode, partialFrom);
      else this.#update(p, product, mode);
    });
    sweep?.finish(p, this.#values, isPrecise || !trace ? undefined : trace);
    if (isPrecise) source.residual(p, this.model, { out: this.#scalar(2) });
    if (trace && (isPrecise || !sweep)) appendRow(p.s, this.#values, trace.rows, trace.counter);
  }

  /**
   * Records ‖x − x̂‖² after a sweep, [1]: of a precise one from the residual, else ‖x‖² − 2·⟨x, x̂⟩ + ‖x̂‖². It is written into `out` where it has no
   * place of its own.
   */
  recordError(s: Scheduler, isPrecise: boolean, out: Tensor): Tensor {
    if (isPrecise) return this.#scalar(2);
    if (this.#fused?.tellsError) return this.#scalar(3);
    const rest = map(s, this.#scalar(0), "identity", { alpha: -2, beta: this.#scope.source.squaredNorm });
    add(s, rest, this.#scalar(1), { out });
    s.release(rest);
    return out;
  }

  /** Records twice what the updates lower besides ½‖x − x̂‖², [1]; null where that is nothing. */
  recordPenalty(s: Scheduler): Tensor | null {
    const { weights, factors } = this.model;
    return this.update.penalty?.(s, { factors, weights, squaredNorm: this.#scope.source.squaredNorm }) ?? null;
  }

  /** whether the error from norms is one small number less than ‖x‖², and not three that cancel */
  get tellsError(): boolean {
    return this.#fused?.tellsError ?? false;
  }

  #scalar(index: number): Tensor {
    return this.#values.rows(index * SCALAR, index * SCALAR + 1);
  }

  #gramOf(mode: number): Tensor {
    const { rank } = this.model;
    const [modes, stride] = this.#grams.shape as [number, number];
    const start = mode * stride;
    return this.#grams
      .reshape([modes * stride])
      .rows(start, start + rank ** 2)
      .reshape([rank, rank]);
  }

  #hadamardOf(s: Scheduler, modes: readonly number[]): ReturnType<typeof hadamardProduct> {
    return hadamardProduct(
      s,
      modes.map((mode) => this.#gramOf(mode)),
    );
  }

  /** Records a mode's update; then its columns are brought to norm 1. */
  #update(p: Program, product: Tensor, mode: number): void {
    const { s } = p;
    const { weights, factors } = this.model;
    const factor = factors[mode]!;
    const isLast = mode === factors.length - 1;
    const { product: combined, isTemporary } = this.#hadamardOf(s, othersOf(factors, mode));
    const normal = combined!;
    const isFixed = this.update.fixed?.has(mode);
    const solved = isFixed
      ? scaleColumns(s, factor, weights)
      : this.update.record(p, { mode, product, normal, factor, weights, squaredNorm: this.#scope.source.squaredNorm });
    if (isLast) {
      const products = gram(s, solved);
      innerProduct(s, product, solved, { out: this.#scalar(0) });
      innerProduct(s, normal, products, { out: this.#scalar(1) });
      s.release(products);
    }
    if (isTemporary) s.release(normal);
    if (!isFixed && this.update.keepsDirections && prefersUnitColumns(weights.size)) {
      const matrices = [{ rows: factor.shape[0]!, start: 0 }];
      const parts = columnParts(s, solved, matrices, weights.size);
      const shared = { factors: factor, grams: this.#grams, modes: [mode], weights, keep: true };
      unitColumns(s, { stack: solved, matrices, parts, ...shared });
    } else {
      if (!isFixed) this.#normalise(s, solved, factor);
      gram(s, factor, { out: this.#gramOf(mode) });
    }
    if (isLast) sumOfSquares(s, weights, { out: this.#scalar(3) });
    s.release(solved);
  }

  /** Writes a mode's new factor and the weights: columns of norm 1, and their norms. */
  #normalise(s: Scheduler, solved: Tensor, factor: Tensor): void {
    const { weights } = this.model;
    if (!this.update.keepsDirections) return void normalizeColumns(s, solved, { out: factor, norms: weights });
    const { out: turned } = normalizeColumns(s, solved, { norms: weights });
    const isZero = map(s, weights, "sign", { alpha: -1, beta: 1 });
    const zeroColumns = scaleColumns(s, factor, isZero);
    add(s, turned, zeroColumns, { out: factor });
    s.release(turned, isZero, zeroColumns);
  }

  /** Sweeps that keep E = X − X̂ and correct the factors by it. */
  readonly correcting: CorrectingSweeps | undefined;

  #correctingSweeps(correct: NonNullable<CpUpdate["correct"]>): CorrectingSweeps {
    const { source, keep } = this.#scope;
    return {
      below: CORRECTING,
      open: async () => {
        const { correctingSweep } = await import("./cpCorrectingSweep.js");
        const difference = keep(source.difference());
        const sweep = {
          model: this.model,
          difference,
          correct,
          hadamardOf: this.#hadamardOf.bind(this),
          normalise: this.#normalise.bind(this),
          gramOf: this.#gramOf.bind(this),
        };
        return {
          enter: (p) => difference.refresh(p, this.model),
          record: (p, trace) => {
            correctingSweep(p, sweep);
            // without a trace the model is about to be moved, and the difference made anew
            if (!trace) return void source.residual(p, this.model, { out: this.#scalar(2) });
            difference.refresh(p, this.model);
            difference.squaredNorm(p, { out: this.#scalar(2) });
            appendRow(p.s, this.#values, trace.rows, trace.counter);
          },
        };
      },
    };
  }

  errorOf(row: Float32Array, kind: SweepKind): Told {
    const { squaredNorm } = this.#scope.source;
    const places = [0, SCALAR, this.#fused ? SCALAR + 1 : 3 * SCALAR, 2 * SCALAR];
    const [inner, model, terms, residual] = places.map((at) => row[at]! / squaredNorm) as [
      number,
      number,
      number,
      number,
    ];
    if (kind === "correcting") return { fromResidual: Math.sqrt(residual) };
    const squared = 1 - 2 * inner + model;
    // NaN fails the comparison, and stays
    const fromNorms = Math.sqrt(squared < 0 ? 0 : squared);
    // terms that cancel each other bring rounding errors of their own size
    const amplification = Math.max(1, terms);
    return { fromNorms, amplification, ...(kind === "precise" ? { fromResidual: Math.sqrt(residual) } : {}) };
  }

  finish(): Promise<KruskalTensor> {
    return canonicalKruskal(this.model, this.update);
  }

  residual(p: Program, tensor: KruskalTensor, out: Tensor): void {
    this.#scope.source.residual(p, tensor, { out });
  }

  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
    return restoreKruskal(this.name, tensor, exponent);
  }
}

const othersOf = (factors: readonly Tensor[], mode: number): number[] =>
  factors.map((_, other) => other).filter((other) => other !== mode);
