import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  formatShape,
  isList,
  type OptionRules,
  optionRules,
  Program,
  type Replay,
  type Schedule,
  type Scheduler,
  ShapeError,
  sizeOf,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import {
  appendRow,
  canonicalizeColumns,
  copy,
  fill,
  matmul,
  modeProduct,
  multiply,
  normal,
  orthogonalise,
  pasteColumns,
  slice,
  sumOfSquares,
} from "../ops/index.js";
import {
  checkCall,
  liesInSlabs,
  type Reader,
  Resident,
  restore,
  type Source,
  TensorReader,
  withSource,
} from "../sources/index.js";
import { TuckerTensor } from "../tensors/index.js";
import { type Checkpoint, type CheckpointOptions, checkpointRules, refuseCheckpoint } from "./checkpointOptions.js";
import { identityColumns } from "./identityColumns.js";
import {
  type Convergence,
  type Decomposition,
  iterate,
  ROW,
  type Run,
  relativeResidual,
  type Scope,
  type StoppingOptions,
  SWEEPS_A_BATCH,
  type SweepMethod,
  seedAt,
  stoppingRules,
  type Trace,
  takesMasked,
  zeroResult,
} from "./iterate.js";
import { basisColumns, measuredLoss, oneFactor, recordHosvd, subspaceOf, subspaceStep, vectorsOf } from "./subspace.js";
import { TensorScope, together } from "./tensorScope.js";
import { Allowance, keepPromise, rankWithin } from "./truncation.js";
import { unfoldingSvd } from "./unfoldingSvd.js";
import type { WideCore } from "./wideCore.js";

export interface TuckerOptions extends StoppingOptions, CheckpointOptions {
  /**
   * R_1…R_N; null or a full rank (R_n = I_n) leaves that mode alone. One number stands for all modes, lowered where a mode has no room for
   * it. With `modes` it is one rank for each of these
   */
  ranks?: number | readonly (number | null)[];
  /**
   * instead of ranks: ‖X − X̂‖ ≤ relativeError · ‖X‖ is promised. Each mode (of `modes`) may lose an equal part of what those before it leave of
   * that in square; the ranks are the smallest that do, from all singular values of the unfoldings. What all leave, `stHosvd` and `tuckerHOOI` spend
   * on smaller ranks of the core
   */
  relativeError?: number;
  /** the modes that are decomposed, the others are left alone (partial Tucker); all by default */
  modes?: readonly number[];
  /**
   * where iteration begins: "hosvd", the sequentially truncated HOSVD (the default); "random"; or the factors of a Tucker tensor, of an
   * earlier result or of a similar tensor, with the ranks asked for. Of `tuckerHOOI` by ranks alone; the others do not iterate
   */
  initialize?: "hosvd" | "random" | TuckerTensor;
  /** of the random start of the subspace iterations */
  seed?: number;
}

const rules: OptionRules<TuckerOptions> = {
  ranks: {
    needs: `${optionRules.ranks.needs}, where null leaves a mode alone`,
    is: (value) => optionRules.ranks.is(isList(value) ? Array.from(value, (rank) => rank ?? 1) : value),
  },
  relativeError: optionRules.fraction,
  modes: {
    needs: "a list of different modes, as in [0, 2]",
    is: (value) =>
      isList(value) &&
      value.length > 0 &&
      value.every((mode) => optionRules.count.is(mode)) &&
      new Set(value).size === value.length,
  },
  initialize: {
    needs: '"hosvd", "random" or a TuckerTensor',
    is: (value) => value === "hosvd" || value === "random" || value instanceof TuckerTensor,
  },
  seed: optionRules.seed,
  ...checkpointRules,
  ...stoppingRules,
};

/** the smallest relative error that f32 can promise */
const LEAST_ERROR = 5e-7;

/** The options, checked: ranks that fit X, or an error. */
interface Asked {
  /** null where an error is asked for */
  ranks: number[] | null;
  relativeError: number | undefined;
  /** the modes that may be decomposed */
  modes: readonly number[];
  initialize: "hosvd" | "random" | TuckerTensor;
  seed: number;
  stopping: StoppingOptions;
  checkpoint: Checkpoint | undefined;
}

function check(name: string, engine: Engine, x: Tensor<DType> | Source, options: TuckerOptions): Asked {
  checkCall(engine, name, x);
  checkOptions(name, options, rules, takesMasked);
  const { ranks, relativeError, modes: asked, initialize = "hosvd", seed = 0, checkpoint, ...stopping } = options;
  if ((ranks === undefined) === (relativeError === undefined))
    throw new TenfoldError(`${name}: give either ranks (one a mode, or one number for all) or relativeError`);
  if (relativeError !== undefined && relativeError < LEAST_ERROR)
    throw new TenfoldError(
      `${name}: relativeError ${relativeError} cannot be promised in f32, the least is ${LEAST_ERROR}; ask for that, or give ranks`,
    );
  const modes = asked ?? x.shape.map((_, mode) => mode);
  const missing = modes.find((mode) => mode >= x.order);
  if (missing !== undefined) throw new ShapeError(`${name}: mode ${missing} of ${x}, needs 0 to ${x.order - 1}`);
  const fitting = ranks === undefined ? null : multilinearRanks(name, x, ranks, asked);
  if (initialize !== "hosvd" && (name !== "tuckerHOOI" || !fitting))
    throw new TenfoldError(
      `${name}: initialize is an option of tuckerHOOI by ranks; nothing else iterates from a start`,
      {
        code: "OPTION",
      },
    );
  if (name !== "tuckerHOOI" || !fitting)
    refuseCheckpoint(name, checkpoint, fitting ? "here" : "with relativeError", "take tuckerHOOI with ranks");
  if (initialize instanceof TuckerTensor) checkStart(name, initialize, x, fitting!);
  return { ranks: fitting, relativeError, modes, initialize, seed, stopping, checkpoint };
}

function checkStart(name: string, start: TuckerTensor, x: Shaped, ranks: readonly number[]): void {
  const isFitting =
    formatShape(start.shape) === formatShape(x.shape) && formatShape(start.ranks) === formatShape(ranks);
  if (!isFitting)
    throw new ShapeError(
      `${name}: initialize has shape ${formatShape(start.shape)} and ranks ${formatShape(start.ranks)}, needs ${formatShape(x.shape)} and ${formatShape(ranks)}`,
    );
}

/** What has a shape, and a name for errors. */
type Shaped = Pick<Tensor<DType> | Source, "shape" | "order" | "toString">;

/**
 * One rank a mode, checked, or one number for all modes, lowered where a mode has no room for it. A mode that is left alone has its extent. With
 * `modes`, ranks are those of these modes.
 */
export function multilinearRanks(
  name: string,
  x: Shaped,
  ranks: number | readonly (number | null)[],
  modes?: readonly number[],
): number[] {
  const { shape } = x;
  if (typeof ranks === "number") return ranksForAll(shape, ranks, modes ?? shape.map((_, mode) => mode));
  const count = modes?.length ?? shape.length;
  if (ranks.length !== count)
    throw new ShapeError(
      `${name}: ${ranks.length} ranks for ${x}, needs one for each of ${modes ? `the ${count} modes listed` : `its ${count} modes`}`,
    );
  const places = modes ?? shape.map((_, mode) => mode);
  return assertRanks(
    name,
    x,
    shape.map((extent, mode) => ranks[places.indexOf(mode)] ?? extent),
  );
}

/** One rank for some modes, lowered to what a mode has and what the other ranks leave to it. */
function ranksForAll(shape: readonly number[], rank: number, modes: readonly number[]): number[] {
  const ranks = shape.map((extent, mode) => (modes.includes(mode) ? Math.min(rank, extent) : extent));
  for (let changed = true; changed; ) {
    changed = false;
    ranks.forEach((lowered, mode) => {
      const rest = sizeOf(ranks) / lowered;
      // a mode of full rank is left alone: no rotation limits its rank
      if (lowered <= rest || lowered === shape[mode]) return;
      ranks[mode] = rest;
      changed = true;
    });
  }
  return ranks;
}

function assertRanks(name: string, x: Shaped, ranks: number[]): number[] {
  ranks.forEach((rank, mode) => {
    if (rank > x.shape[mode]!)
      throw new ShapeError(`${name}: rank ${rank} for mode ${mode} of ${x}, needs 1 to ${x.shape[mode]}`);
  });
  for (const mode of truncatedModes(x, ranks)) {
    const rest = sizeOf(ranks) / ranks[mode]!;
    if (ranks[mode]! > rest)
      throw new ShapeError(
        `${name}: rank ${ranks[mode]} for mode ${mode} is more than the ${rest} that ranks ${formatShape(ranks)} leave to it`,
      );
  }
  return ranks;
}

const truncatedModes = (x: Pick<Shaped, "shape">, ranks: readonly number[]): number[] =>
  x.shape.map((_, mode) => mode).filter((mode) => ranks[mode]! < x.shape[mode]!);

/**
 * The higher-order SVD: the leading left singular vectors of every unfolding of X itself (De Lathauwer, De Moor &
 * Vandewalle 2000; Kolda & Bader 2009, figure 4.3). `errors` are those of X truncated in the modes done so far. Of X in slabs they are the singular
 * vectors of its core, as `stHosvd` makes one: the whole of X is read four times, not some times a mode.
 */
export const hosvd = (
  engine: Engine,
  x: Tensor<DType> | Source,
  options: TuckerOptions,
): Promise<Decomposition<TuckerTensor>> => decompose("hosvd", engine, x, options);

/**
 * The sequentially truncated HOSVD: every mode is reduced before the next is looked at, largest reduction first, or in order where an
 * error is asked for (Vannieuwenhoven, Vandebril & Meerbergen 2012). As good as the HOSVD in practice, and much cheaper. `errors` are
 * those of X truncated in the modes done so far.
 *
 * X in slabs is read four times, whatever its order, where the core and a few more columns a mode fit into the memory of a slab: it is projected on
 * bases of these columns (by sketches, refined twice), and truncated there. The error is that of X all the same, and ranks by an error are those
 * that the projected tensor needs, a few passes more for each time that it has to be larger.
 */
export const stHosvd = (
  engine: Engine,
  x: Tensor<DType> | Source,
  options: TuckerOptions,
): Promise<Decomposition<TuckerTensor>> => decompose("stHosvd", engine, x, options);

/**
 * The best Tucker approximation of given ranks by higher-order orthogonal iteration (De Lathauwer, De Moor & Vandewalle
 * 2000; Kolda & Bader 2009, figure 4.4), started from the sequentially truncated HOSVD. A mode's update is one step of
 * subspace iteration from its present basis, which has a few columns more than a rank up to 120. Modes of full rank are left alone. Of X in slabs iteration
 * begins on a core, and ends with a few sweeps on X, each of which reads it twice.
 */
export const tuckerHOOI = (
  engine: Engine,
  x: Tensor<DType> | Source,
  options: TuckerOptions,
): Promise<Decomposition<TuckerTensor>> => decompose("tuckerHOOI", engine, x, options);

async function decompose(
  name: "hosvd" | "stHosvd" | "tuckerHOOI",
  engine: Engine,
  x: Tensor<DType> | Source,
  options: TuckerOptions,
): Promise<Decomposition<TuckerTensor>> {
  const asked = check(name, engine, x, options);
  const solve = (source: Source): Promise<Decomposition<TuckerTensor>> => {
    if (source.isZero) {
      const ranks = asked.ranks ?? source.shape.map((extent, mode) => (asked.modes.includes(mode) ? 1 : extent));
      return Promise.resolve(zeroResult(zeroTucker(engine, source.shape, ranks), asked.seed));
    }
    return asked.ranks ? byRanks(name, source, asked, asked.ranks) : byError(name, source, asked, asked.relativeError!);
  };
  // by an error, unfoldings are taken apart
  return await withSource(engine, name, x, solve, { byVerbs: asked.ranks !== null });
}

/** x by the sequentially truncated HOSVD: for solvers that go on with the core. Of the scaled x, not of X. */
export interface Compressed {
  tensor: TuckerTensor;
  /** ‖x − x̂‖ / ‖x‖ */
  relativeError: number;
}

/**
 * Two steps of subspace iteration a mode: of an exact model they miss nothing, and what they miss of others is for iterations on all of x to find.
 * Throws the signal's reason where it is aborted.
 */
export async function compressed(
  name: string,
  source: Source,
  ranks: readonly number[],
  seed: number,
  signal: AbortSignal | undefined,
): Promise<Compressed> {
  using tensorScope = new TensorScope(source.engine);
  const start = tensorScope.keep(
    await truncatedFactors(source, ranks, seed, { signal }, { sequential: true, isTold: false }),
  );
  signal?.throwIfAborted();
  const { core, factors, relativeError } = start;
  if (!core) return { tensor: await canonical(name, source, factors, ranks), relativeError };
  return tensorScope.handOut({ tensor: new TuckerTensor(core, factors), relativeError });
}

async function byRanks(
  name: string,
  source: Source,
  { initialize, seed, stopping, checkpoint }: Asked,
  ranks: readonly number[],
): Promise<Decomposition<TuckerTensor>> {
  // with one truncated mode (or none) the truncated SVD is the optimum
  const iterates = name === "tuckerHOOI" && truncatedModes(source, ranks).length > (source.refresh ? 0 : 1);
  if (!iterates) refuseCheckpoint(name, checkpoint, "where one mode at most is truncated", "that needs no sweeps");
  if (source.refresh) refuseCheckpoint(name, checkpoint, "where entries are missing", "take cp or cpALS");
  const saving = checkpoint && {
    checkpoint,
    options: { ranks, initialize: await nameOfStart(initialize), seed },
  };
  if (iterates && initialize !== "hosvd") {
    using start = await startFrom(source, initialize, ranks, seed);
    return await refine(source, start, ranks, seed, stopping, saving);
  }
  using start = await truncatedFactors(source, ranks, seed, stopping, {
    sequential: name !== "hosvd",
    isTold: !iterates,
    isRefined: iterates,
  });
  if (iterates) return await refine(source, start, ranks, seed, stopping, saving);
  return await finish(name, source, start, ranks, seed);
}

/** Names a start, so that a checkpoint tells it from others. */
async function nameOfStart(initialize: Asked["initialize"]): Promise<string> {
  if (typeof initialize === "string") return initialize;
  const { digestOfArrays } = await import("./checkpoint.js");
  const factors = initialize.factors.filter((factor) => factor !== null);
  return `factors ${digestOfArrays(await Promise.all(factors.map((factor) => initialize.core.engine.read(factor))))}`;
}

/** Orthonormal factors of the truncated modes: random ones, or those that span the columns of a start's. */
async function startFrom(
  { engine, shape }: Source,
  initialize: "random" | TuckerTensor,
  ranks: readonly number[],
  seed: number,
): Promise<Start> {
  const start = new Start(shape);
  try {
    for (const mode of truncatedModes({ shape }, ranks))
      start.factors[mode] = engine.tensor([shape[mode]!, ranks[mode]!], null, { label: `factor ${mode}` });
    await engine.run((s) => {
      start.factors.forEach((out, mode) => {
        if (!out) return;
        const columns =
          initialize === "random"
            ? normal(s, out.shape, { seed: seedAt(seed, mode), stream: mode })
            : initialize.factors[mode]!;
        const { q } = orthogonalise(s, columns);
        copy(s, q, { out });
      });
    }, "HOOI start");
    return start;
  } catch (error) {
    start.destroy();
    throw error;
  }
}

async function byError(
  name: string,
  source: Source,
  { modes, seed, stopping }: Asked,
  relativeError: number,
): Promise<Decomposition<TuckerTensor>> {
  const attempt = async (error: number) => {
    const within = { relativeError: error, modes, seed, signal: stopping.signal };
    using start = await factorsWithin(name, source, within, name !== "hosvd");
    const ranks = source.shape.map((extent, mode) => start.factors[mode]?.shape[1] ?? extent);
    const iterates = name === "tuckerHOOI" && truncatedModes(source, ranks).length > 1;
    const result = iterates
      ? await refine(source, start, ranks, seed, stopping)
      : await finish(name, source, start, ranks, seed);
    return { result, relativeError: result.relativeError, destroy: () => result.tensor.destroy() };
  };
  return (await keepPromise(name, relativeError, attempt, stopping.signal)).result;
}

/** The Tucker tensor of a tensor of zeros. */
export function zeroTucker(engine: Engine, shape: readonly number[], ranks: readonly number[]): TuckerTensor {
  const core = engine.tensor(ranks, new Float32Array(sizeOf(ranks)), { label: "core" });
  const factors = shape.map((extent, mode) =>
    ranks[mode] === extent ? null : identityColumns(engine, extent, ranks[mode]!, `factor ${mode}`),
  );
  return new TuckerTensor(core, factors);
}

/** Factors of the truncated modes, and how they were reached. */
class Start implements Convergence {
  readonly factors: (Tensor | null)[];
  /** X ×ₙ Aₙᵀ over the truncated modes, where it is known */
  core: Tensor | null = null;
  /** of X truncated in all modes that have a factor so far */
  relativeError = 0;
  errors: number[] = [];
  sweeps = 0;
  converged = true;
  stalled = false;
  aborted = false;

  constructor(shape: readonly number[]) {
    this.factors = shape.map(() => null);
  }

  destroy(): void {
    this.factors.forEach((factor, mode) => {
      factor?.destroy();
      this.factors[mode] = null;
    });
    this.core?.destroy();
    this.core = null;
  }

  [dispose](): void {
    this.destroy();
  }
}

/** X ×ₙ Aₙᵀ over the modes truncated so far: X itself at first, then ever smaller tensors. */
class Remaining {
  #reduced: Tensor | null = null;
  #source: Source;

  constructor(
    readonly original: Source,
    /** ‖X‖² − ‖remaining tensor‖² */
    public lost = 0,
  ) {
    this.#source = original;
  }

  /** Has the norm of X itself, so that errors are relative to X. */
  get source(): Source {
    return this.#source;
  }

  /** Truncates a mode. */
  async reduce(factor: Tensor, mode: number): Promise<void> {
    const { engine, shape } = this.#source;
    using tensorScope = new TensorScope(engine);
    const reduced = shape.map((extent, k) => (k === mode ? factor.shape[1]! : extent));
    const out = tensorScope.allocate(reduced, "truncated tensor");
    const factors = shape.map((_, other) => (other === mode ? factor : null));
    await Program.run(engine, (p) => void this.#source.project(p, factors, { out }), "truncate");
    this.become(tensorScope.handOut(out));
  }

  /** Takes the tensor that is left once a mode is truncated. */
  become(reduced: Tensor): void {
    this[dispose]();
    this.#reduced = reduced;
    this.#source = new Resident(reduced, this.original);
  }

  /** The tensor that is left, which is the caller's; null where no mode was truncated. */
  take(): Tensor | null {
    const reduced = this.#reduced;
    this.#reduced = null;
    return reduced;
  }

  [dispose](): void {
    this.#reduced?.destroy();
    this.#reduced = null;
    this.#source = this.original;
  }
}

/** Factors of the truncated modes, each by subspace iteration on X or on what earlier modes left of it. Slabs are read a few times for all modes. */
async function truncatedFactors(
  source: Source,
  ranks: readonly number[],
  seed: number,
  stopping: StoppingOptions,
  how: { sequential: boolean; isTold: boolean; isRefined?: boolean },
): Promise<Start> {
  // of a tensor that changes with the model, a core is a start and no result
  const mayTakeCore = liesInSlabs(source) && !(how.isTold && source.refresh);
  if (!mayTakeCore) return await truncated(source, ranks, seed, stopping, how);
  const { REFINEMENTS, wideCore } = await import("./wideCore.js");
  const refinements = how.isTold ? REFINEMENTS : 1;
  const wide = await wideCore(source, ranks, { seed, refinements, signal: stopping.signal });
  if (!wide) return await truncated(source, ranks, seed, stopping, how);
  return await ofCore(wide, async (core) => {
    const start = await truncated(core, ranks, seed, stopping, { ...how, lost: wide.lost });
    if (how.isRefined) await refineOnCore(core, start, ranks, seed, stopping);
    return start;
  });
}

/** Replaces a start's factors by those that HOOI finds on the core: sweeps there read nothing of X. */
async function refineOnCore(
  core: Resident,
  start: Start,
  ranks: readonly number[],
  seed: number,
  { sweeps, tolerance, signal }: StoppingOptions,
): Promise<void> {
  if (truncatedModes(core, ranks).length < 2) return;
  const { tensor } = await refine(core, start, ranks, seed, { sweeps, tolerance, signal });
  tensor.core.destroy();
  for (const [mode, factor] of tensor.factors.entries()) {
    start.factors[mode]?.destroy();
    start.factors[mode] = factor;
  }
  // that of other factors
  start.core?.destroy();
  start.core = null;
}

/** The factors that are found on the core of slabs, as those of the slabs. The core is freed. */
async function ofCore(wide: WideCore, find: (core: Resident) => Promise<Start>): Promise<Start> {
  using tensorScope = new TensorScope(wide.core.engine);
  tensorScope.keep(wide);
  const start = await find(wide.core);
  try {
    await inBases(start.factors, wide.bases);
    return start;
  } catch (error) {
    start.destroy();
    throw error;
  }
}

/** Puts factors of the tensor that has a core in these bases in place of those of the core, which are freed. */
export async function inBases(factors: (Tensor | null)[], bases: readonly (Tensor | null)[]): Promise<void> {
  for (const [mode, basis] of bases.entries()) {
    if (!basis) continue;
    const { engine } = basis;
    const factor = factors[mode];
    using tensorScope = new TensorScope(engine);
    const wide = tensorScope.allocate([basis.shape[0]!, (factor ?? basis).shape[1]!], `factor ${mode}`);
    await engine.run(
      (s) => void (factor ? matmul(s, basis, factor, { out: wide }) : copy(s, basis, { out: wide })),
      "factors of slabs",
    );
    factors[mode] = tensorScope.handOut(wide);
    factor?.destroy();
  }
}

async function truncated(
  source: Source,
  ranks: readonly number[],
  seed: number,
  stopping: StoppingOptions,
  { sequential, isTold, lost = 0 }: { sequential: boolean; isTold: boolean; lost?: number },
): Promise<Start> {
  const { shape, squaredNorm } = source;
  const inOrder = truncatedModes(source, ranks).sort((a, b) => ranks[a]! / shape[a]! - ranks[b]! / shape[b]!);
  if (sequential && !isTold) return await untold(source, ranks, seed, inOrder, lost, stopping.signal);
  const start = new Start(shape);
  start.relativeError = Math.sqrt(lost / squaredNorm);
  const { onIteration } = stopping;
  using remaining = new Remaining(source, lost);
  try {
    for (const mode of inOrder) {
      const done = start.sweeps;
      const task = {
        ...{ mode, rank: ranks[mode]!, seed },
        ...{ remaining: remaining.source, lost: remaining.lost, reduces: sequential || mode === inOrder[0] },
      };
      const { tensor, ...how } = await subspaceOf(sequential ? remaining.source : source, task, {
        ...stopping,
        onIteration: onIteration && (({ sweep, relativeError }) => onIteration({ sweep: done + sweep, relativeError })),
      });
      tensor.values.destroy();
      start.factors[mode] = tensor.vectors;
      start.errors.push(...how.errors);
      start.sweeps += how.sweeps;
      start.converged &&= how.converged;
      start.stalled ||= how.stalled;
      start.aborted ||= how.aborted;
      start.relativeError = how.relativeError;
      remaining.lost = how.relativeError ** 2 * squaredNorm;
      if (tensor.reduced) remaining.become(tensor.reduced);
      else await remaining.reduce(tensor.vectors, mode);
    }
    start.core = remaining.take();
    return start;
  } catch (error) {
    start.destroy();
    throw error;
  }
}

/** steps of subspace iteration a mode of a start */
const STEPS = 2;

/** Factors for a start, in one recording, of which one number is read. */
async function untold(
  source: Source,
  ranks: readonly number[],
  seed: number,
  inOrder: readonly number[],
  lost: number,
  signal: AbortSignal | undefined,
): Promise<Start> {
  const { engine, shape, squaredNorm } = source;
  using tensorScope = new TensorScope(engine);
  const start = tensorScope.keep(new Start(shape));
  if (inOrder.length) {
    using loss = engine.tensor([1], null, { label: "loss" });
    for (const mode of inOrder)
      start.factors[mode] = engine.tensor([shape[mode]!, ranks[mode]!], null, { label: `factor ${mode}` });
    const core = engine.tensor(ranks, null, { label: "core" });
    start.core = core;
    const { factors } = start;
    const record = (p: Program): void =>
      recordHosvd(p, source, { modes: inOrder, seed, steps: STEPS }, { factors, core, loss });
    await Program.run(engine, record, "HOSVD start", { signal });
    lost += (await engine.read(loss))[0]!;
  }
  start.relativeError = Math.sqrt(lost / squaredNorm);
  start.sweeps = STEPS * inOrder.length;
  return tensorScope.handOut(start);
}

/** What {@link factorsWithin} is asked for. */
interface Within {
  relativeError: number;
  modes: readonly number[];
  seed: number;
  signal: AbortSignal | undefined;
}

/** The smallest factors of some modes that lose at most `relativeError` of ‖X‖ together, from all singular values of the unfoldings: of slabs, from those of a core. */
async function factorsWithin(name: string, source: Source, within: Within, sequential: boolean): Promise<Start> {
  if (!liesInSlabs(source) || source.refresh) return await smallest(name, source, within, sequential);
  const { coreWithin } = await import("./wideCore.js");
  const wide = await coreWithin(source, within, within);
  if (!wide) return await smallest(name, source, within, sequential);
  return await ofCore(wide, (core) => smallest(name, core, within, sequential, wide.lost));
}

async function smallest(
  name: string,
  source: Source,
  { relativeError, modes, signal }: Within,
  sequential: boolean,
  lost = 0,
): Promise<Start> {
  const { engine, shape, squaredNorm } = source;
  const start = new Start(shape);
  start.relativeError = Math.sqrt(lost / squaredNorm);
  const allowance = new Allowance(relativeError ** 2 * squaredNorm - lost, modes.length);
  const inOrder = [...modes].sort((a, b) => a - b);
  using remaining = new Remaining(source, lost);
  const lose = (loss: number): void => {
    allowance.spend(loss);
    remaining.lost += loss;
    start.relativeError = Math.sqrt(remaining.lost / squaredNorm);
    start.errors.push(start.relativeError);
    start.sweeps++;
  };
  try {
    for (const mode of inOrder) {
      const from = sequential ? remaining.source : source;
      using unfolding = await unfoldingSvd(engine, from.tensor(name), mode, signal);
      const lossOf = (rank: number) => measuredLoss(from, unfolding.vectors, mode, rank);
      const { rank } = await rankWithin(unfolding.values, allowance.next(), squaredNorm, lossOf);
      if (rank === shape[mode]) continue;
      const factor = await unfolding.leading(rank);
      start.factors[mode] = factor;
      lose(await measuredLoss(remaining.source, factor, mode, rank));
      await remaining.reduce(factor, mode);
    }
    for (const mode of inOrder) {
      const { source: core } = remaining;
      const room = core.size / core.shape[mode]!;
      // the factors of an HOSVD are those of X itself; the last mode could spend all that there was
      const spends = sequential && mode !== inOrder.at(-1);
      if (core.shape[mode]! <= room && !spends) continue;
      // the core's unfolding has at most `room` columns, so its rank is no more, and nothing is lost by that
      using unfolding = await unfoldingSvd(engine, core.tensor(name), mode, signal);
      const lossOf = (rank: number) => measuredLoss(core, unfolding.vectors, mode, rank);
      const { rank } = spends
        ? await rankWithin(unfolding.values, allowance.left, squaredNorm, lossOf)
        : { rank: unfolding.values.length };
      if (rank === core.shape[mode]) continue;
      const turn = await unfolding.leading(rank);
      const factor = start.factors[mode];
      if (factor) {
        using within = turn;
        const narrow = engine.tensor([shape[mode]!, rank], null, { label: `factor ${mode}` });
        start.factors[mode] = narrow;
        await engine.run((s) => matmul(s, factor, within, { out: narrow }), "narrower factor");
        if (rank < room) lose(await measuredLoss(core, within, mode, rank));
        await remaining.reduce(within, mode);
        factor.destroy();
      } else {
        start.factors[mode] = turn;
        if (rank < room) lose(await measuredLoss(core, turn, mode, rank));
        await remaining.reduce(turn, mode);
      }
    }
    start.core = remaining.take();
    return start;
  } catch (error) {
    start.destroy();
    throw error;
  }
}

/** Sweeps of HOOI from a start. */
function refine(
  source: Source,
  start: Start,
  ranks: readonly number[],
  seed: number,
  stopping: StoppingOptions,
  saving?: Run<TuckerTensor>["saving"],
): Promise<Decomposition<TuckerTensor>> {
  return iterate<TuckerTensor>(source, {
    name: "tuckerHOOI",
    stopping,
    seed,
    saving,
    zero: () => zeroTucker(source.engine, source.shape, ranks),
    begin: (scope) => hooiMethod(scope, start.factors, seed, start.relativeError),
  });
}

/** HOOI as a method of `iterate`. `factors` are updated in place, and freed by the caller. */
async function hooiMethod(
  { allocate, source }: Scope,
  factors: readonly (Tensor | null)[],
  seed: number,
  expected: number,
): Promise<SweepMethod<TuckerTensor>> {
  const { engine, shape, squaredNorm } = source;
  const bases = await basesOf(engine, shape, factors, seed, allocate);
  const ranks = shape.map((extent, mode) => factors[mode]?.shape[1] ?? extent);
  const model = source.refresh ? new TuckerTensor(allocate(ranks, "core"), factors) : undefined;
  // of known entries: once `refresh` is recorded, missing ones are what a model has there
  if (model) await Program.run(engine, (p) => void source.project(p, factors, { out: model.core }), "HOOI start");
  return {
    columns: ROW.columns,
    hasCheap: true,
    ...(model && { model }),
    state: [...bases.values(), ...factors.filter((factor) => factor !== null)],
    async start() {
      return model ? undefined : expected;
    },
    record: (p, trace, isPrecise) => recordHooi(p, source, factors, bases, trace, isPrecise, model?.core),
    errorOf: (row, kind) => ({
      fromNorms: Math.sqrt(1 - Math.min(1, row[ROW.norms]! / squaredNorm)),
      ...(kind === "precise" ? { fromResidual: Math.sqrt(row[ROW.residual]! / squaredNorm) } : {}),
    }),
    finish: () => canonical("tuckerHOOI", source, factors, ranks),
    residual: (p, tensor, out) => recordResidual(p, source, tensor, out),
    restore: (tensor, exponent) => restoreTucker(engine, "tuckerHOOI", tensor, exponent),
  };
}

/**
 * Columns up to which a basis is wider than its factor. The columns of a wider one have to be put in order, whose eigenvectors take one dispatch up to
 * here, and thousands beyond: ten times as long as the rest of a sweep. There the few columns more would be a small part of all.
 */
const MOST_ORDERED = 128;

/** Orthonormal bases of a few columns more than the factors, up to `MOST_ORDERED`, which begin with the factors. */
async function basesOf(
  engine: Engine,
  shape: readonly number[],
  factors: readonly (Tensor | null)[],
  seed: number,
  allocate: Scope["allocate"],
): Promise<Map<number, Tensor>> {
  const rankOf = (mode: number) => factors[mode]?.shape[1] ?? shape[mode]!;
  const bases = new Map<number, Tensor>();
  factors.forEach((factor, mode) => {
    if (!factor) return;
    const projected = shape.map((extent, k) => (k === mode ? extent : Math.min(extent, rankOf(k))));
    const wide = basisColumns(projected, mode, rankOf(mode));
    const columns = wide <= MOST_ORDERED ? wide : rankOf(mode);
    bases.set(mode, allocate([shape[mode]!, columns], `basis ${mode}`));
  });
  await engine.run((s) => {
    for (const [mode, basis] of bases) widen(s, factors[mode]!, basis, seedAt(seed, mode));
  }, "HOOI start");
  return bases;
}

type MaybeInSlabs = Reader & Pick<Source, "slabSize">;

/**
 * Modes that a sweep updates one after the other, in groups, each of which shares x projected on the factors of the others: a dimension tree of
 * two branches, so that x is read twice whatever its order. Each mode is a group of its own where what is shared would be large, or would travel.
 */
function groupsOf(x: MaybeInSlabs, factors: readonly (Tensor | null)[], modes: readonly number[]): number[][] {
  const sharedBy = (group: readonly number[]): number =>
    sizeOf(x.shape.map((extent, mode) => (group.includes(mode) ? extent : (factors[mode]?.shape[1] ?? extent))));
  const most = (x.slabSize ?? x.size) / 2;
  let best = modes.map((mode) => [mode]);
  let bestSize = x.isRemote ? 0 : most;
  for (let cut = 1; modes.length > 2 && cut < modes.length; cut++) {
    const groups = [modes.slice(0, cut), modes.slice(cut)];
    const size = Math.max(...groups.filter((group) => group.length > 1).map(sharedBy));
    if (size <= bestSize) [best, bestSize] = [groups, size];
  }
  return best;
}

function recordHooi(
  p: Program,
  x: MaybeInSlabs,
  factors: readonly (Tensor | null)[],
  bases: ReadonlyMap<number, Tensor>,
  trace: Trace,
  isPrecise: boolean,
  /** where the core is to be left */
  out?: Tensor,
): void {
  const { s } = p;
  const modes = [...bases.keys()];
  let core = null as Tensor | null;
  /** x, or what is left of it, projected on the factors of these modes, if any, and then lent */
  const withProjected = (reader: Reader, others: readonly number[], use: (projected: Reader) => void): void => {
    if (!others.length) {
      use(reader);
      return;
    }
    const some = factors.map((factor, mode) => (others.includes(mode) ? factor : null));
    const projected = reader.project(p, some);
    use(new TensorReader(projected));
    s.release(projected);
  };
  for (const group of groupsOf(x, factors, modes)) {
    const others = modes.filter((mode) => !group.includes(mode));
    withProjected(x, others, (shared) => {
      for (const mode of group) {
        const rest = group.filter((other) => other !== mode);
        withProjected(shared, rest, (reader) => {
          const factor = factors[mode]!;
          const basis = bases.get(mode)!;
          subspaceStep(p, reader, basis, mode, { ordered: basis.shape[1]! > factor.shape[1]! });
          slice(s, basis, [0, 0], factor.shape, { out: factor });
          if (mode === modes.at(-1)) core = reader.project(p, oneFactor(reader, factor, mode));
        });
      }
    });
  }
  const model = new TuckerTensor(core ?? x.tensor("hooiSweep", s), factors);
  const row = s.tensor([ROW.columns], { label: "errors" });
  sumOfSquares(s, model.core, { out: row.rows(ROW.norms, ROW.norms + 1) });
  if (isPrecise) recordResidual(p, x, model, row.rows(ROW.residual, ROW.residual + 1));
  if (core && out) copy(s, core, { out });
  if (core) s.release(core);
  appendRow(s, row, trace.rows, trace.counter);
  s.release(row);
}

/** A recorded sweep of HOOI, for those who step it themselves. */
export interface HooiSweep {
  /** its last dispatch appends a row to `trace` that begins with ‖core‖² */
  schedule: Schedule;
  /** the same sweep with ‖X − X̂‖², number 64 of its row, from the difference itself: where the fit is near 1, norms cancel */
  preciseSchedule: Schedule;
  /** a ring of rows */
  trace: Tensor;
  destroy(): void;
}

/**
 * Records one HOOI sweep that updates `factors` (I_n×R_n with orthonormal columns; null leaves a mode alone) in place: for
 * those who step it themselves, with `engine.submit` or inside a frame of their own. The factors remain the caller's. X is not
 * scaled: squares of its entries have to stay in the range of f32.
 */
export async function hooiSweep(
  engine: Engine,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  seed = 0,
): Promise<HooiSweep> {
  using tensorScope = new TensorScope(engine);
  const { allocate } = tensorScope;
  const bases = await basesOf(engine, x.shape, factors, seed, allocate);
  const trace = { rows: allocate([SWEEPS_A_BATCH, ROW.columns], "trace"), counter: allocate([1], "counter", "u32") };
  const compile = async (isPrecise: boolean): Promise<Replay> => {
    const record = (p: Program) => recordHooi(p, new TensorReader(x), factors, bases, trace, isPrecise);
    return tensorScope.keep(await Program.compiled(engine, record, "HOOI sweep"));
  };
  const [cheap, precise] = await together([compile(false), compile(true)]);
  const sweep = tensorScope.move();
  return {
    schedule: cheap.schedule,
    preciseSchedule: precise.schedule,
    trace: trace.rows,
    destroy: () => sweep.destroy(),
  };
}

/** Writes an orthonormal basis whose first columns span `factor` and whose others are random. */
function widen(s: Scheduler, factor: Tensor, basis: Tensor, seed: number): void {
  const [rows, columns] = basis.shape as [number, number];
  const wide = normal(s, [rows, columns], { seed, stream: 1 });
  pasteColumns(s, factor, wide);
  const { q, r } = orthogonalise(s, wide);
  copy(s, q, { out: basis });
  s.release(wide, q, r);
}

/**
 * Core, rotation and signs: every factor is rotated so that the core's slices along its mode are orthogonal and fall in
 * norm (the HOSVD's all-orthogonality), and signed so that its entry of largest magnitude in a column is positive. `known` is the core
 * before, where there is one already.
 */
async function canonical(
  name: string,
  source: Source,
  factors: readonly (Tensor | null)[],
  ranks: readonly number[],
  known: Tensor | null = null,
): Promise<TuckerTensor> {
  const { engine } = source;
  using tensorScope = new TensorScope(engine);
  using orders = new TensorScope(engine);
  const core = tensorScope.allocate(ranks, "core");
  const turnedFactors = factors.map((factor, mode) => factor && tensorScope.allocate(factor.shape, `factor ${mode}`));
  const modes = [...factors.keys()].filter((mode) => factors[mode]);
  // the order is that of the singular values already
  const orderOf = new Map(
    modes.map((mode) => {
      const places = Uint32Array.from({ length: ranks[mode]! }, (_, r) => r);
      return [mode, orders.keep(engine.tensor([ranks[mode]!], places))];
    }),
  );
  const record = (p: Program): void => {
    const { s } = p;
    if (!modes.length) return void copy(s, source.tensor(name, s), { out: core });
    let current = known ?? source.project(p, factors);
    for (const mode of modes) {
      const rank = ranks[mode]!;
      const { values, v } = vectorsOf(s, current, mode);
      s.release(values);
      const rotated = matmul(s, factors[mode]!, v);
      const signs = s.tensor([rank], { label: "signs" });
      fill(s, signs, 1);
      canonicalizeColumns(s, rotated, orderOf.get(mode)!, signs, { out: turnedFactors[mode]! });
      const turned = modeProduct(s, current, v, mode, { transpose: true });
      s.release(rotated, v);
      if (current !== known) s.release(current);
      current = multiply(s, turned, signs.reshape(ranks.map((extent, axis) => (axis === mode ? extent : 1))));
      s.release(turned, signs);
    }
    copy(s, current, { out: core });
    s.release(current);
  };
  await Program.run(engine, record, "Tucker core");
  return tensorScope.handOut(new TuckerTensor(core, turnedFactors));
}

/** The canonical Tucker tensor of final factors, of the scaled x, and its error: of slabs, which are not read for it, the sum of what modes lose. */
async function measured(name: string, source: Source, start: Start, ranks: readonly number[]): Promise<Compressed> {
  using tensorScope = new TensorScope(source.engine);
  const tensor = tensorScope.keep(await canonical(name, source, start.factors, ranks, start.core));
  if (liesInSlabs(source)) return tensorScope.handOut({ tensor, relativeError: start.relativeError });
  const relativeError = await relativeResidual(source, (p, out) => recordResidual(p, source, tensor, out));
  return tensorScope.handOut({ tensor, relativeError });
}

/** The result of factors that are final but for rotation and signs. */
async function finish(
  name: string,
  source: Source,
  start: Start,
  ranks: readonly number[],
  seed: number,
): Promise<Decomposition<TuckerTensor>> {
  const { errors, sweeps, converged, stalled, aborted } = start;
  using tensorScope = new TensorScope(source.engine);
  const { tensor, relativeError } = await measured(name, source, start, ranks);
  tensorScope.keep(tensor);
  const fits = errors.map((error) => 1 - error);
  const restored = await restoreTucker(source.engine, name, tensor, source.exponent);
  return tensorScope.handOut({
    tensor: restored,
    relativeError,
    errors,
    fits,
    sweeps,
    converged,
    stalled,
    aborted,
    seed,
  });
}

async function restoreTucker(
  engine: Engine,
  name: string,
  tensor: TuckerTensor,
  exponent: number,
): Promise<TuckerTensor> {
  const core = await restore(engine, name, "core", tensor.core, exponent);
  return core === tensor.core ? tensor : new TuckerTensor(core, tensor.factors);
}

/** Records ‖X − X̂‖²: 0 where no mode is truncated, as the core is X then. */
function recordResidual(p: Program, x: Reader, tensor: TuckerTensor, out: Tensor): void {
  if (tensor.factors.every((factor) => factor === null)) fill(p.s, out, 0);
  else x.residual(p, tensor, { out });
}
