import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  isList,
  type OptionRules,
  oneOf,
  optionRules,
  type Program,
  type Schedule,
  ShapeError,
  sizeOf,
  TenfoldError,
  type Tensor,
  type TensorData,
} from "../gpu/index.js";
import { appendRow, GAUSS_NEWTON, GaussNewtonState, isSmallForGaussNewton, sharedModels } from "../ops/index.js";
import {
  checkCall,
  type Difference,
  Resident,
  resident,
  type Source,
  TensorReader,
  withSource,
} from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { type CheckpointOptions, checkpointRules, refuseCheckpoint } from "./checkpointOptions.js";
import type { CpOptions } from "./cp.js";
import { constraintsRule, isConstrained, nonnegativeRule, restoreKruskal } from "./cpModels.js";
import {
  agreeing,
  beginModels,
  type Core,
  EXACT,
  GEVD_ENTRIES,
  type GevdTold,
  type KnownFactors,
  type Model,
  normaliseColumns,
  runTogether,
  type SharedModel,
  type StartsProgress,
  type Task,
  toldOf,
} from "./cpStarts.js";
import {
  type Decomposition,
  iterate,
  Problem,
  relativeResidual,
  type Scope,
  type StoppingOptions,
  type SweepMethod,
  seedAt,
  stoppingRules,
  type Told,
  type Trace,
  takesMasked,
} from "./iterate.js";
import { TensorScope } from "./tensorScope.js";

export interface CpGaussNewtonOptions extends StoppingOptions, CheckpointOptions {
  /** R, the number of rank-one terms */
  rank: number;
  /**
   * of the first start: random numbers; the leading left singular vectors of every unfolding (random beyond their number); the generalised
   * eigenvalues of two mixtures of slices, which give an exact model at once; or these factors, I_n×R each, row-major, as those of an earlier
   * result: the norms of their columns do not matter.
   *
   * `gevd` (Sanchez & Kowalski 1990; De Lathauwer, De Moor & Vandewalle 2004) needs two modes, or groups of modes, with R entries, more than one
   * entry beside them, and no fixed modes; else the first start is random. It is the default where it can be had for nothing: the starts run on a
   * core, or on a tensor of up to 2^18 entries.
   */
  initialize?: "random" | "hosvd" | "gevd" | readonly TensorData[];
  /**
   * how many starts there are; the best is the result. All but the first are random, and of starts on the core of an HOSVD all but the fourth, which
   * is of the leading singular vectors. By default 1 from factors, else 4, and where fewer than 3 of them end at the best one's model, four more, and
   * once more four: not where that model is exact, nor where each start is a run on the whole tensor by itself
   */
  starts?: number;
  seed?: number;
  /**
   * factors that stay as they are, by mode, I_n×R each, row-major: `{ 0: spectra }`. Their columns are brought to norm 1, and no more; term r of
   * the result has their column r, so its weights need not fall. At least one mode must be left free
   */
  fixed?: Readonly<Record<number, TensorData>>;
  /**
   * `auto`, the default: where the tensor is large beside what the rank needs, the starts run on the core of its HOSVD, and the best of them
   * goes on with the whole tensor. `none`: all starts run on the whole tensor
   */
  compression?: "auto" | "none";
  /**
   * called after each iteration of the starts that run before the model of the whole tensor does (a batch late); `onIteration` tells of that
   * model alone. Not called where every start is a model of the whole tensor by itself
   */
  onStarts?: (progress: StartsProgress) => void;
  /**
   * factors of all modes (`true`), or of these, have no negative entry, and no weight is negative: the same as `nonnegative` among `constraints`.
   * Constrained factors are found by alternating updates, as `cpALS` with the same options, non-negative ones by hierarchical alternating
   * least squares: from one start after the other, on the whole tensor; `gevd` counts as random then
   */
  nonnegative?: boolean | readonly number[];
  /** of modes by number, as `constraints` of `cpALS`; modes in `fixed` may not be among them */
  constraints?: CpOptions["constraints"];
}

const rules: OptionRules<CpGaussNewtonOptions> = {
  rank: { ...optionRules.positive, elsewhere: "ncomponents components", required: true },
  initialize: {
    needs: 'one of "random", "hosvd", "gevd", or a list of factors, one a mode',
    is: (value) => value === "random" || value === "hosvd" || value === "gevd" || isList(value),
  },
  starts: { ...optionRules.positive, elsewhere: "ninit nstarts restarts" },
  seed: optionRules.seed,
  fixed: {
    needs: "an object with a factor for every fixed mode, as in { 0: factor }",
    is: (value) => typeof value === "object" && value !== null && !isList(value),
  },
  compression: oneOf("auto", "none"),
  onStarts: optionRules.callback,
  nonnegative: nonnegativeRule,
  constraints: constraintsRule,
  ...checkpointRules,
  ...stoppingRules,
};

/** What the starts of a CP model came to. */
export interface CpStarts {
  /** relative errors that the starts ended at, best first: of what the HOSVD leaves of the tensor and its core's model, where it was compressed */
  errors: number[];
  /** how many starts found the best one's model: every term with its counterpart at a congruence of 0.99 or more; the best one counts */
  agreeing: number;
  /** of the first start, where it is by generalised eigenvalues */
  gevd?: GevdTold;
}

/** A CP model and how it was reached. */
export interface CpDecomposition extends Decomposition<KruskalTensor> {
  starts: CpStarts;
}

/** a core is worth its HOSVD where it has at most this part of X's entries */
const COMPRESSED = 1 / 8;
/** a core has so many columns a mode more where it has at most this part of X's entries then */
const WIDE_EXTRA = 8;
const WIDE = 1 / 16;
/** starts where the caller says nothing; as many more are run, and once more, until so many of all of them end at the best one's model */
const STARTS = 4;
const MOST_STARTS = 12;
const ENOUGH_ALIKE = 3;
/** a start whose loss is larger than another's by less than this part found as good a model, if not the same: terms of matrices can be rotated */
const SAME_LOSS = 1e-5;
/** the most iterations of the starts, and of a run, where the caller says nothing */
const ITERATIONS = 500;
/** by default, generalised eigenvalues are looked at up to this rank */
const GEVD_RANK = 32;
/** where the error is below this, an iteration may be the last one, and no start finds a model that is better by anything that matters */
const NEARLY_EXACT = 20 * EXACT;

/**
 * CP by damped Gauss-Newton (Sorber, Van Barel & De Lathauwer 2013), from several starts. An iteration goes for all factors at once, so it does
 * not creep where terms are collinear, as alternating least squares does, and ends at the best model from nearly every start. It reads X once and
 * the difference X − X̂, which it keeps (one more tensor of X's size), twice. In the result columns have norm 1, weights fall, and in every
 * factor but the last a column's entry of largest magnitude is positive.
 *
 * Starts run side by side, on the core of the HOSVD where X is large beside it, else on X where it is small; the best of them goes on alone with
 * the whole tensor. `errors`, `sweeps` and `onIteration` are of that; `sweeps` (at most 500 by default) limits the iterations of the starts and
 * those of it, each for themselves. A tensor that is large and has no small core takes one start after the other, and `sweep` begins at 1 in each.
 *
 * `tolerance` (1e-6 by default): converged when the next step is foreseen to lower the squared error by less than this part of it, or by less
 * than f32 can tell, three iterations on end, or by less than a thousandth of it once.
 *
 * @throws ShapeError where x has fewer than 2 or more than 8 modes, or a factor has not the shape that x and the rank need
 */
export async function cp(
  engine: Engine,
  x: Tensor<DType> | Source,
  options: CpGaussNewtonOptions,
): Promise<CpDecomposition> {
  checkCall(engine, "cp", x);
  const rank: unknown = options?.rank;
  if (typeof rank === "number" && !optionRules.positive.is(rank))
    throw new ShapeError(`cp: rank ${rank}, needs a positive whole number`);
  checkOptions("cp", options, rules, takesMasked);
  if (x.order < 2 || x.order > 8) throw new ShapeError(`cp: ${x} has order ${x.order}, needs 2 to 8`);
  const { initialize = "random", fixed: byMode = {} } = options;
  const isKnown = typeof initialize !== "string" || Object.keys(byMode).length > 0;
  const known = isKnown && (await import("./cpKnownFactors.js")).knownFactors(x.shape, options);
  const { factors, fixed }: KnownFactors = known || { factors: null, fixed: new Map() };
  if (isConstrained(options)) {
    refuseCheckpoint("cp", options.checkpoint, "with constraints", "take factors without any");
    return await withSource(engine, "cp", x, (source) => solveConstrained(source, options, factors, fixed), {
      byVerbs: true,
    });
  }
  return await withSource(
    engine,
    "cp",
    x,
    async (source) => {
      const solve = async (x: Source, asked: CpGaussNewtonOptions, columns: KnownFactors["fixed"]) => {
        const begun = factors?.map((factor, mode) => columns.get(mode) ?? factor) ?? null;
        return await (await startAll("cp", x, asked, [options.rank], begun, columns))(0);
      };
      if (!fixed.size) return await solve(source, options, fixed);
      return await (await import("./cpFixedColumns.js")).inFixedColumns(source, options, fixed, solve);
    },
    { byVerbs: true },
  );
}

/**
 * Runs the starts of models of several ranks, side by side where there is room for that. Each of the models is finished when it is asked for, by its
 * place in `ranks`. An abort of the starts throws the signal's reason.
 */
export async function cpOfRanks(
  name: string,
  source: Source,
  ranks: readonly number[],
  options: Omit<CpGaussNewtonOptions, "rank" | "initialize" | "fixed" | "compression" | "checkpoint">,
): Promise<(at: number) => Promise<CpDecomposition>> {
  const finish = await startAll(name, source, options, ranks, null, new Map(), finishTogether);
  options.signal?.throwIfAborted();
  return finish;
}

/** One start after the other, by alternating updates. */
async function solveConstrained(
  source: Source,
  options: CpGaussNewtonOptions,
  factors: readonly Float32Array[] | null,
  fixed: ReadonlyMap<number, Float32Array>,
): Promise<CpDecomposition> {
  const { runConstrained } = await import("./cpConstrainedStarts.js");
  const { initialize, starts = factors ? 1 : STARTS, seed = 0, sweeps = ITERATIONS } = options;
  const first = factors ?? (initialize === "hosvd" ? "hosvd" : "random");
  return await runConstrained("cp", source, { ...options, starts, seed, sweeps, initialize: first }, fixed);
}

/**
 * Runs the starts of models of these ranks; the result finishes one of them, by its place in `ranks`: by `together`,
 * where that gives a way to finish all of them.
 */
async function startAll(
  name: string,
  source: Source,
  options: Omit<CpGaussNewtonOptions, "rank">,
  ranks: readonly number[],
  factors: readonly Float32Array[] | null,
  fixed: ReadonlyMap<number, Float32Array>,
  together?: typeof finishTogether,
): Promise<(at: number) => Promise<CpDecomposition>> {
  const { engine } = source;
  const { initialize, starts = factors ? 1 : STARTS, seed = 0, sweeps = ITERATIONS, tolerance = 1e-6 } = options;
  const { onIteration, onStarts, signal, sweepsPerSubmit, checkpoint, compression = "auto" } = options;
  if (source.refresh && source.known === undefined)
    throw new TenfoldError(`${name}: ${source} changes with the model, take cpALS for it`);
  const unit = 2 ** Math.round(Math.log2(source.squaredNorm || 1) / 2);
  const rank = Math.max(...ranks);
  const seen = { squaredNorm: source.squaredNorm, missed: 0 };
  const stopping = { sweeps, tolerance, signal, sweepsPerSubmit };
  const task: Task = { rank, fixed, unit, seed, seen, onStarts, stopping };
  /** the task of one rank, on the whole tensor */
  const reported = ranks.map((only): Task => {
    const aloud = { ...stopping, onIteration, sweepsPerSubmit: sweepsPerSubmit ?? 2 };
    return { ...task, rank: only, seen, stopping: aloud };
  });
  if (source.isZero)
    return async (at) => ({ ...(await runEach(source, reported[at]!, [])).best, starts: { errors: [0], agreeing: 1 } });
  using tensorScope = new TensorScope(engine);
  // factors that a caller has are near the end, or the start of a series of one's own: they see the whole tensor
  const isWhole = source.known === undefined;
  const core = isWhole && !(factors && starts === 1) ? await coreOf(source, task, compression, tensorScope) : null;
  const reduced = core ? core.source : source;
  if (core) task.seen = { ...seen, missed: core.relativeError };
  const begun: { task: Task; begin: Float32Array[][]; gevd?: GevdTold | undefined }[] = [];
  const isKnown = factors !== null || initialize === "hosvd";
  const first = isKnown ? (await import("./cpKnownFactors.js")).knownStart(factors) : null;
  const zeroRows = source.unknownSlices?.length ? (await import("./cpKnownFactors.js")).zeroRows : null;
  for (const only of ranks) {
    const narrow = { ...task, rank: only };
    const begin = await beginModels(reduced, core, narrow, { from: 0, starts }, first);
    const isTried = initialize === "gevd" || (initialize === undefined && mayTakeGevd(reduced, narrow));
    const start = isTried ? await gevdOf(source, reduced, narrow, begin[0]!, tensorScope) : null;
    if (start) begin[0] = start.factors;
    zeroRows?.(begin, source, narrow);
    begun.push({ task: narrow, begin, gevd: start?.told });
  }
  const late = checkpoint && (await import("./stages.js"));
  const saving = late && {
    checkpoint,
    options: late.optionsOfStarts({ rank, initialize, seed, compression }, factors, fixed),
  };
  const startsOf = (models: readonly Model[], at: number): CpStarts => {
    const { gevd, task } = begun[at]!;
    return { ...toldStarts(models, task), ...(gevd && { gevd }) };
  };
  const count = starts * ranks.length;
  const isShared =
    reduced instanceof Resident && sharedModels(engine, reduced.size, rank) >= 2 && (core !== null || count > 1);
  if (!core && !isShared)
    return async (at) => {
      const { best, models } = await runEach(source, { ...reported[at]!, saving }, begun[at]!.begin);
      return { ...best, starts: startsOf(models, at) };
    };
  const stages = saving && (await late!.Stages.open(name, reduced, saving, { starts, sweeps, tolerance }));
  /** Runs starts of one model after the other, or all side by side. */
  const run = async (
    task: Task,
    begin: Float32Array[][],
    from: number,
  ): Promise<{ models: Model[]; isCut: boolean }> => {
    if (isShared) return await runTogether(reduced.tensor(name), task, begin, from, stages);
    const { best, models } = await runEach(reduced, { ...task, saving: stages?.saving(`starts from ${from}`) }, begin);
    best.tensor.destroy();
    return { models: models.map((model) => ({ ...model, start: from + model.start })), isCut: best.aborted };
  };
  let isCut = false;
  const groups: Model[][] = ranks.map(() => []);
  const portions = isShared ? [{ task, begin: begun.flatMap(({ begin }) => begin) }] : begun;
  for (const [at, portion] of portions.entries()) {
    if (isCut) break;
    const ended = await run(portion.task, portion.begin, at * starts);
    for (const model of ended.models)
      groups[Math.floor(model.start / starts)]!.push({ ...model, start: model.start % starts });
    isCut = ended.isCut;
  }
  if (options.starts === undefined && !factors && ranks.length === 1)
    for (let from = starts; from < MOST_STARTS && !isCut && isLonely(groups[0]!, task); from += starts) {
      const begin = await beginModels(reduced, core, task, { from, starts }, null);
      zeroRows?.(begin, source, task);
      const more = await run(task, begin, from);
      groups[0]!.push(...more.models);
      isCut = more.isCut;
    }
  const chosen: { from: readonly Float32Array[]; start: number; told: CpStarts }[] = [];
  for (const [at, models] of groups.entries()) {
    const best = models.sort((a, b) => a.loss - b.loss)[0];
    // an abort left none
    if (!best) break;
    const from = core ? await core.widen(best.factors, ranks[at]!) : best.factors;
    chosen.push({ from, start: best.start, told: startsOf(models, at) });
  }
  const finishOne = together?.(
    source,
    { ...task, seen, onStarts: undefined },
    chosen.map((choice) => choice.from),
  );
  return async (at) => {
    const { from, start, told } = chosen[at]!;
    // the model that an abort left is not the best one: it is not kept
    const last = {
      ...reported[at]!,
      seed: seedAt(seed, start),
      saving: isCut ? undefined : stages?.saving("the best", { bestStart: start }),
    };
    if (finishOne) return { ...(await finishOne(last, at)), starts: told };
    const result = (await runEach(source, last, [from], told.errors[0])).best;
    return { ...result, ...(isCut && { aborted: true, converged: false, stalled: false }), starts: told };
  };
}

/** Models of the whole tensor that run side by side, once one of them is asked for by its place; null where there is no room for that. */
function finishTogether(
  source: Source,
  task: Task,
  begin: readonly (readonly Float32Array[])[],
): ((last: Task, at: number) => Promise<Decomposition<KruskalTensor>>) | null {
  const hasRoom = source instanceof Resident && sharedModels(source.engine, source.size, task.rank) >= begin.length;
  if (!hasRoom || begin.length === 1) return null;
  let running: ReturnType<typeof runTogether> | null = null;
  return async (last, at) => {
    running ??= runTogether(source.tensor("cp"), task, begin);
    const { models } = await running;
    task.stopping.signal?.throwIfAborted();
    return await decomposition(source, last, models[at]!);
  };
}

/** A model that ran beside others, of the whole tensor, as a result. */
async function decomposition(
  source: Source,
  { rank, unit, fixed, seed }: Task,
  { factors, iterations, converged }: SharedModel,
): Promise<Decomposition<KruskalTensor>> {
  const { engine, exponent } = source;
  using result = new TensorScope(engine);
  const tensor = result.keep(resultOf(engine, factors, { rank, unit, fixed }));
  const relativeError = await relativeResidual(source, (p, out) => void source.residual(p, tensor, { out }));
  const restored = exponent ? await restoreKruskal("cp", tensor, exponent) : tensor;
  return result.handOut({
    tensor: restored,
    relativeError,
    errors: [relativeError],
    fits: [1 - relativeError],
    sweeps: iterations,
    converged,
    stalled: false,
    aborted: false,
    seed,
  });
}

/**
 * The model of factors in units: columns of norm 1, and weights that fall, the products of their norms. In every free factor but the last a column's
 * entry of largest magnitude is positive. Fixed factors have columns of norm 1 already and stay as they are, and so does the order of terms then.
 */
function resultOf(
  engine: Engine,
  factors: readonly Float32Array[],
  { rank, unit, fixed }: Pick<Task, "rank" | "unit" | "fixed">,
): KruskalTensor {
  const free = [...factors.keys()].filter((mode) => !fixed.has(mode));
  const weights = new Float64Array(rank).fill(unit);
  const normalised = factors.map((factor, mode) => {
    if (fixed.has(mode)) return factor;
    const { columns, norms } = normaliseColumns(factor, rank);
    for (let r = 0; r < rank; r++) weights[r]! *= norms[r]!;
    return columns;
  });
  const order = [...weights.keys()];
  if (!fixed.size) order.sort((a, b) => weights[b]! - weights[a]! || a - b);
  const flips = new Array<number>(rank).fill(1);
  for (const mode of free.slice(0, -1))
    for (const [r, sign] of signsOf(normalised[mode]!, rank).entries()) {
      flips[r]! *= sign;
      scaleColumn(normalised[mode]!, rank, r, sign);
    }
  for (const [r, sign] of flips.entries()) scaleColumn(normalised[free.at(-1)!]!, rank, r, sign);
  const inOrder = (values: Float32Array): Float32Array =>
    values.map((_, at) => values[at - (at % rank) + order[at % rank]!]!);
  using tensorScope = new TensorScope(engine);
  const tensors = normalised.map((columns, mode) =>
    tensorScope.keep(engine.tensor([columns.length / rank, rank], inOrder(columns), { label: `factor ${mode}` })),
  );
  const sorted = Float32Array.from(order, (r) => weights[r]!);
  const weightsTensor = tensorScope.keep(engine.tensor([rank], sorted, { label: "weights" }));
  return tensorScope.handOut(new KruskalTensor(weightsTensor, tensors));
}

/** Of each column the sign of its entry of largest magnitude, 1 where it is 0. A later entry must be clearly larger, so that rounding does not decide. */
function signsOf(factor: Float32Array, rank: number): number[] {
  const peaks = new Array<number>(rank).fill(0);
  for (let at = 0, r = 0; at < factor.length; at++, r = r + 1 === rank ? 0 : r + 1)
    if (Math.abs(factor[at]!) > 1.0001 * Math.abs(peaks[r]!)) peaks[r] = factor[at]!;
  return peaks.map((peak) => (peak < 0 ? -1 : 1));
}

function scaleColumn(factor: Float32Array, rank: number, column: number, by: number): void {
  if (by !== 1) for (let at = column; at < factor.length; at += rank) factor[at]! *= by;
}

/** Whether generalised eigenvalues of what the starts run on are looked at where the caller says nothing: where the host may read it. */
const mayTakeGevd = (reduced: Source, { rank, fixed }: Task): boolean =>
  reduced instanceof Resident && reduced.size <= GEVD_ENTRIES && rank <= GEVD_RANK && !fixed.size && reduced.order > 2;

/** The first start by generalised eigenvalues; null where there are none. */
async function gevdOf(
  source: Source,
  reduced: Source,
  task: Task,
  random: readonly Float32Array[],
  tensorScope: TensorScope,
): Promise<{ factors: Float32Array[]; told: GevdTold } | null> {
  if (task.fixed.size || source.order < 3 || source.known !== undefined) return null;
  const { gevdStart } = await import("./cpGevdStart.js");
  return await gevdStart(source, reduced, task, coreRanks(source, task), random, tensorScope);
}

/** Gauss-Newton from one start after the other; the best result, and the models of all. */
async function runEach(
  source: Source,
  task: Task,
  begin: readonly (readonly Float32Array[])[],
  expected?: number,
): Promise<{ best: Decomposition<KruskalTensor>; models: Model[] }> {
  const models: Model[] = [];
  const best = await iterate<KruskalTensor>(source, {
    name: "cp",
    stopping: task.stopping,
    starts: begin.length,
    seed: task.seed,
    saving: task.saving,
    zero: async () => (await import("./cpZero.js")).zeroModel(source, task),
    begin: (scope) => new GaussNewtonMethod(scope, task, begin, models, expected),
  });
  return { best, models };
}

/** Whether so few starts found the best one's model, or its error, that there may be a better one. */
function isLonely(models: readonly Model[], { rank, unit, seen }: Task): boolean {
  const sorted = [...models].sort((a, b) => a.loss - b.loss);
  const best = sorted[0];
  if (!best || (2 * best.loss * unit ** 2) / seen.squaredNorm < NEARLY_EXACT ** 2) return false;
  const asGood = sorted.filter(({ loss }) => loss <= (1 + SAME_LOSS) * best.loss).length;
  return asGood < ENOUGH_ALIKE && agreeing(sorted, rank) < ENOUGH_ALIKE;
}

/** What the starts came to. */
function toldStarts(models: readonly Model[], { rank, unit, seen }: Task): CpStarts {
  const sorted = [...models].sort((a, b) => a.loss - b.loss);
  return {
    errors: sorted.map(({ loss }) => Math.sqrt(seen.missed ** 2 + (2 * loss * unit ** 2) / seen.squaredNorm)),
    agreeing: agreeing(sorted, rank),
  };
}

/**
 * Extents of a core that holds a model of this rank, and what noise moves it by; fixed modes stay whole. The wider core misses less of noise, and
 * is taken where it is small beside x, but of one tensor alone: of slabs it may be found in few passes only where it fits into the memory of one.
 */
function coreRanks(source: Source, { rank, fixed }: Task): number[] {
  const { shape, size } = source;
  const withExtra = (extra: number): number[] =>
    shape.map((extent, mode) =>
      fixed.has(mode) ? extent : Math.min(extent, size / extent, Math.ceil(1.5 * rank) + extra),
    );
  const wide = withExtra(WIDE_EXTRA);
  return source instanceof TensorReader && sizeOf(wide) <= WIDE * size ? wide : withExtra(2);
}

/** The HOSVD of x with a core that is small beside it; null where there is none. */
async function coreOf(
  source: Source,
  task: Task,
  compression: "auto" | "none",
  tensorScope: TensorScope,
): Promise<Core | null> {
  const ranks = coreRanks(source, task);
  if (compression === "none" || sizeOf(ranks) > COMPRESSED * source.size) return null;
  const { coreOfHosvd } = await import("./cpCompression.js");
  return await coreOfHosvd(source, ranks, task, tensorScope);
}

/** Gauss-Newton for one model at a time as a method of `iterate`. */
class GaussNewtonMethod implements SweepMethod<KruskalTensor> {
  readonly columns = GAUSS_NEWTON.perModel;
  readonly singleBelow = NEARLY_EXACT;
  readonly goesByDifference = true;
  readonly beginsNear: boolean;
  readonly state: readonly Tensor[];
  readonly #state: GaussNewtonState;
  readonly #difference: Difference | null;
  readonly #differences: Tensor | null;
  /** X̂ of the trial factors, and of those accepted last */
  readonly #trial: KruskalTensor;
  readonly #accepted: KruskalTensor;
  /** which start is running */
  #start = 0;

  constructor(
    readonly scope: Scope,
    readonly task: Task,
    readonly begin: readonly (readonly Float32Array[])[],
    /** takes the model of each start that ends */
    readonly models: Model[],
    /** the relative error that the starts are told to have */
    readonly expected?: number,
  ) {
    const { source, engine, keep, allocate } = scope;
    const { rank, unit, fixed } = task;
    this.beginsNear = expected !== undefined;
    const isSmall = source instanceof Resident && isSmallForGaussNewton(engine, source.size, rank);
    const parts = isSmall ? source.shape[0]! : 1;
    this.#state = keep(new GaussNewtonState(engine, source.shape, rank, parts, { unit, fixed: [...fixed.keys()] }));
    this.state = this.#state.tensors;
    this.#difference = isSmall ? null : keep(source.difference());
    this.#differences = isSmall ? allocate([1, ...source.shape], "difference") : null;
    if (isSmall) this.#differences!.storage.tally = source.x.storage.tally;
    const weights = allocate([rank], "units");
    engine.write(weights, new Float32Array(rank).fill(unit));
    const modelOf = (stacked: Tensor) =>
      new KruskalTensor(
        weights,
        source.shape.map((_, mode) => this.#state.rowsOf(stacked, mode)),
      );
    this.#trial = modelOf(this.#state.trial);
    this.#accepted = modelOf(this.#state.accepted);
  }

  get trial(): readonly Tensor[] {
    return this.#trial.factors;
  }

  get numbers(): Tensor {
    return this.#state.scalars;
  }

  async start(index: number): Promise<number | undefined> {
    this.#start = index;
    this.#state.reset();
    for (const [mode, factor] of this.begin[index]!.entries())
      this.scope.engine.write(this.#trial.factors[mode]!, factor);
    return this.expected;
  }

  record(p: Program, { rows, counter }: Trace): void {
    const { source } = this.scope;
    const state = this.#state;
    if (this.#difference) {
      this.#difference.evaluate(p, this.#trial, {
        squaredNorm: state.losses.reshape([1]),
        product: (mode) => state.rowsOf(state.trialDescent, mode),
      });
    } else state.evaluate(p.s, source.tensor("cp"), this.#differences!);
    state.step(p.s);
    appendRow(p.s, state.scalars.reshape([state.scalars.size]), rows, counter);
  }

  errorOf(row: Float32Array): Told {
    return toldOf(row, 0, this.scope.source.squaredNorm, this.task.unit);
  }

  async finish(): Promise<KruskalTensor> {
    const { engine } = this.scope;
    const [scalars, ...values] = (await engine.read([
      this.#state.scalars,
      ...this.#accepted.factors,
    ])) as Float32Array[];
    this.models.push({ start: this.#start, factors: values, loss: scalars![GAUSS_NEWTON.loss]! });
    return resultOf(engine, values, this.task);
  }

  residual(p: Program, tensor: KruskalTensor, out: Tensor): void {
    this.scope.source.residual(p, tensor, { out });
  }

  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
    return restoreKruskal("cp", tensor, exponent);
  }
}

/** One iteration of Gauss-Newton on a tensor, from factors that change with it, recorded for whoever replays it. */
export interface GaussNewtonIteration {
  readonly schedule: Schedule;
  /** I_n×R each: factors that are tried next */
  readonly trial: readonly Tensor[];
  /** eight numbers: see GAUSS_NEWTON */
  readonly numbers: Tensor;
  destroy(): void;
}

/** Records an iteration of Gauss-Newton for measurements and tests of single iterations; `cp` runs them until they have converged. */
export async function gaussNewtonIteration(
  engine: Engine,
  x: Tensor,
  start: readonly Float32Array[],
): Promise<GaussNewtonIteration> {
  const source = await resident(engine, "cp", x);
  const rank = start[0]!.length / x.shape[0]!;
  const seen = { squaredNorm: source.squaredNorm, missed: 0 };
  const task: Task = { rank, fixed: new Map(), unit: 1, seed: 0, seen, stopping: { tolerance: 0 } };
  try {
    const problem = await Problem.create(source, "cp", (scope) => new GaussNewtonMethod(scope, task, [start], []));
    const method = problem.method as GaussNewtonMethod;
    await method.start(0);
    const destroy = (): void => {
      problem.destroy();
      source[dispose]();
    };
    return { schedule: problem.preciseSweep.schedule, trial: method.trial, numbers: method.numbers, destroy };
  } catch (error) {
    source[dispose]();
    throw error;
  }
}
