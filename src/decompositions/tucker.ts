import {
  checkOptions,
  dispose,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
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
  jacobiSvd,
  matmul,
  modeProduct,
  multiply,
  normal,
  orthogonalise,
  pasteColumns,
  permute,
  slice,
  squaredDistance,
  sumOfSquares,
} from "../ops/index.js";
import { TuckerTensor } from "../tensors/index.js";
import {
  type Convergence,
  type Decomposition,
  iterate,
  type Method,
  ROW,
  relativeResidual,
  type Scope,
  type StoppingOptions,
  SWEEPS_A_BATCH,
  seedAt,
  stoppingRules,
  type Trace,
  together,
  zeroResult,
} from "./iterate.js";
import { checkCall, type Prepared, prepare, restore } from "./prepare.js";
import { basisColumns, identityColumns, lostBy, subspaceOf, subspaceStep } from "./subspace.js";
import { keepPromise, keptWithin } from "./truncation.js";
import { unfoldingSvd } from "./unfoldingSvd.js";

export interface TuckerOptions extends StoppingOptions {
  /**
   * R_1…R_N; a full rank (R_n = I_n) leaves that mode alone. One number stands for all modes, lowered where a mode has no room for it
   */
  ranks?: number | readonly number[];
  /**
   * instead of ranks: ‖X − X̂‖ ≤ relativeError · ‖X‖ is promised. Each of the N modes may lose 1/N of that in square; the ranks are the
   * smallest that do, from all singular values of the unfoldings
   */
  relativeError?: number;
  /** of the random start of the subspace iterations */
  seed?: number;
}

const rules: OptionRules<TuckerOptions> = {
  ranks: optionRules.ranks,
  relativeError: optionRules.fraction,
  seed: optionRules.seed,
  ...stoppingRules,
};

/** what f32 can promise at least */
const LEAST_ERROR = 5e-7;

/** What is asked for, checked: ranks that fit X, or an error. */
interface Asked {
  /** null where an error is asked for */
  ranks: number[] | null;
  relativeError: number | undefined;
  seed: number;
  stopping: StoppingOptions;
}

function check(name: string, engine: Engine, x: Tensor, options: TuckerOptions): Asked {
  checkCall(engine, name, x);
  checkOptions(name, options, rules);
  const { ranks, relativeError, seed = 0, ...stopping } = options;
  if ((ranks === undefined) === (relativeError === undefined))
    throw new TenfoldError(`${name}: give either ranks (one a mode, or one number for all) or relativeError`);
  if (relativeError !== undefined && relativeError < LEAST_ERROR)
    throw new TenfoldError(
      `${name}: relativeError ${relativeError} cannot be promised in f32, the least is ${LEAST_ERROR}; ask for that, or give ranks`,
    );
  const fitting = ranks === undefined ? null : multilinearRanks(name, x, ranks);
  return { ranks: fitting, relativeError, seed, stopping };
}

/** One rank a mode, checked, or one number for all modes, lowered where a mode has no room for it. */
export const multilinearRanks = (name: string, x: Tensor, ranks: number | readonly number[]): number[] =>
  typeof ranks === "number" ? ranksForAll(x.shape, ranks) : assertRanks(name, x, Array.from(ranks));

/** One rank for all modes, lowered to what a mode has and what the other ranks leave to it. */
function ranksForAll(shape: readonly number[], rank: number): number[] {
  const ranks = shape.map((extent) => Math.min(rank, extent));
  for (let changed = true; changed; ) {
    changed = false;
    ranks.forEach((own, mode) => {
      const rest = sizeOf(ranks) / own;
      // a mode left alone needs no room
      if (own <= rest || own === shape[mode]) return;
      ranks[mode] = rest;
      changed = true;
    });
  }
  return ranks;
}

function assertRanks(name: string, x: Tensor, ranks: number[]): number[] {
  if (ranks.length !== x.order)
    throw new ShapeError(`${name}: ${ranks.length} ranks for ${x}, needs one for each of its ${x.order} modes`);
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

const truncatedModes = (x: Tensor, ranks: readonly number[]): number[] =>
  x.shape.map((_, mode) => mode).filter((mode) => ranks[mode]! < x.shape[mode]!);

/**
 * The higher-order SVD: the leading left singular vectors of every unfolding of X itself (De Lathauwer, De Moor &
 * Vandewalle 2000; Kolda & Bader 2009, figure 4.3). `errors` are those of X truncated in the modes done so far.
 */
export const hosvd = (engine: Engine, x: Tensor, options: TuckerOptions): Promise<Decomposition<TuckerTensor>> =>
  decompose("hosvd", engine, x, options);

/**
 * The sequentially truncated HOSVD: every mode is reduced before the next is looked at, largest reduction first, or in order where an
 * error is asked for (Vannieuwenhoven, Vandebril & Meerbergen 2012). As good as the HOSVD in practice, and much cheaper. `errors` are
 * those of X truncated in the modes done so far.
 */
export const stHosvd = (engine: Engine, x: Tensor, options: TuckerOptions): Promise<Decomposition<TuckerTensor>> =>
  decompose("stHosvd", engine, x, options);

/**
 * The best Tucker approximation of given ranks by higher-order orthogonal iteration (De Lathauwer, De Moor & Vandewalle
 * 2000; Kolda & Bader 2009, figure 4.4), started from the sequentially truncated HOSVD. A mode's update is one step of
 * subspace iteration from where it stands, with a few columns more than its rank. Modes of full rank are left alone.
 */
export const tuckerHOOI = (engine: Engine, x: Tensor, options: TuckerOptions): Promise<Decomposition<TuckerTensor>> =>
  decompose("tuckerHOOI", engine, x, options);

async function decompose(
  name: "hosvd" | "stHosvd" | "tuckerHOOI",
  engine: Engine,
  x: Tensor,
  options: TuckerOptions,
): Promise<Decomposition<TuckerTensor>> {
  const { ranks: given, relativeError, seed, stopping } = check(name, engine, x, options);
  using prepared = await prepare(engine, name, x);
  if (prepared.isZero) return zeroResult(zeroTucker(engine, x.shape, given ?? x.shape.map(() => 1)), seed);
  let start: Start | null = null;
  try {
    const sequential = name !== "hosvd";
    if (given) {
      // with one truncated mode (or none) the truncated SVD is the optimum
      const iterates = name === "tuckerHOOI" && truncatedModes(x, given).length > 1;
      const how = iterates ? { sweeps: 2, tolerance: 0, signal: stopping.signal } : stopping;
      start = await truncatedFactors(engine, prepared, given, seed, how, { sequential, isTold: !iterates });
      if (iterates) return await refine(engine, prepared, start, given, seed, stopping);
      return await finish(name, engine, prepared, start.factors, given, seed, start);
    }
    const attempt = async (error: number) => {
      start?.destroy();
      start = await factorsWithin(engine, prepared, error, sequential, stopping.signal);
      const { factors } = start;
      const ranks = x.shape.map((extent, mode) => factors[mode]?.shape[1] ?? extent);
      const iterates = name === "tuckerHOOI" && truncatedModes(x, ranks).length > 1;
      const result = iterates
        ? await refine(engine, prepared, start, ranks, seed, stopping)
        : await finish(name, engine, prepared, factors, ranks, seed, start);
      return { result, relativeError: result.relativeError, destroy: () => result.tensor.destroy() };
    };
    return (await keepPromise(name, relativeError!, attempt, stopping.signal)).result;
  } finally {
    start?.destroy();
  }
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
  /** of all factors so far */
  relativeError = 0;
  errors: number[] = [];
  sweeps = 0;
  converged = true;
  stalled = false;
  aborted = false;

  constructor(x: Tensor) {
    this.factors = x.shape.map(() => null);
  }

  destroy(): void {
    this.factors.forEach((factor, mode) => {
      factor?.destroy();
      this.factors[mode] = null;
    });
  }
}

/** X as the modes done so far leave it: what is X × P, in the small, and what it lost of ‖X‖². */
class Remaining {
  lost = 0;
  readonly #engine: Engine;
  constructor(
    engine: Engine,
    readonly given: Prepared,
    public tensor = given.x,
  ) {
    this.#engine = engine;
  }

  /** Truncates a mode. */
  async reduce(factor: Tensor, mode: number): Promise<void> {
    const shape = this.tensor.shape.map((extent, k) => (k === mode ? factor.shape[1]! : extent));
    const reduced = this.#engine.tensor(shape, null, { label: "truncated tensor" });
    try {
      await this.#engine.run((s) => {
        modeProduct(s, this.tensor, factor, mode, { transpose: true, out: reduced });
      }, "truncate");
    } catch (error) {
      reduced.destroy();
      throw error;
    }
    this[dispose]();
    this.tensor = reduced;
  }

  [dispose](): void {
    if (this.tensor !== this.given.x) this.tensor.destroy();
    this.tensor = this.given.x;
  }
}

/** Factors of the truncated modes, each by subspace iteration on X or on what earlier modes left of it. */
async function truncatedFactors(
  engine: Engine,
  given: Prepared,
  ranks: readonly number[],
  seed: number,
  stopping: StoppingOptions,
  { sequential, isTold }: { sequential: boolean; isTold: boolean },
): Promise<Start> {
  const { x, squaredNorm } = given;
  const start = new Start(x);
  const { onIteration } = stopping;
  const inOrder = truncatedModes(x, ranks).sort((a, b) => ranks[a]! / x.shape[a]! - ranks[b]! / x.shape[b]!);
  using remaining = new Remaining(engine, given);
  try {
    for (const mode of inOrder) {
      const done = start.sweeps;
      const source = sequential ? { ...given, x: remaining.tensor, [dispose]: () => {} } : given;
      const { lost } = remaining;
      const task = { mode, rank: ranks[mode]!, seed, remaining: remaining.tensor, lost, isTold };
      const { tensor, ...how } = await subspaceOf(engine, source, task, {
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
      if (mode !== inOrder.at(-1)) await remaining.reduce(tensor.vectors, mode);
    }
    return start;
  } catch (error) {
    start.destroy();
    throw error;
  }
}

/** The smallest factors whose modes lose at most `relativeError`/√N of ‖X‖ each, from whole SVDs of the unfoldings. */
async function factorsWithin(
  engine: Engine,
  given: Prepared,
  relativeError: number,
  sequential: boolean,
  signal: AbortSignal | undefined,
): Promise<Start> {
  const { x, squaredNorm } = given;
  const start = new Start(x);
  const budget = (relativeError ** 2 * squaredNorm) / x.order;
  using remaining = new Remaining(engine, given);
  try {
    for (let mode = 0; mode < x.order; mode++) {
      const source = sequential ? remaining.tensor : x;
      using found = await unfoldingSvd(engine, source, mode, signal);
      const lossOf = async (rank: number, from: Tensor): Promise<number> => {
        using u = await found.leading(rank);
        return await lossBy(engine, from, u, mode);
      };
      const rank = await keptWithin(found.values, budget, squaredNorm, (kept) => lossOf(kept, source));
      if (rank === x.shape[mode]) continue;
      const factor = await found.leading(rank);
      start.factors[mode] = factor;
      remaining.lost += await lossBy(engine, remaining.tensor, factor, mode);
      start.relativeError = Math.sqrt(remaining.lost / squaredNorm);
      start.errors.push(start.relativeError);
      start.sweeps++;
      await remaining.reduce(factor, mode);
    }
    for (let mode = 0; mode < x.order; mode++) {
      const { shape, size } = remaining.tensor;
      const room = size / shape[mode]!;
      if (shape[mode]! <= room) continue;
      // the core's unfolding has no more than this rank: nothing is lost
      using found = await unfoldingSvd(engine, remaining.tensor, mode, signal);
      const turn = await found.leading(room);
      const factor = start.factors[mode];
      if (factor) {
        using within = turn;
        const narrow = engine.tensor([x.shape[mode]!, room], null, { label: `factor ${mode}` });
        start.factors[mode] = narrow;
        await engine.run((s) => matmul(s, factor, within, { out: narrow }), "narrower factor");
        await remaining.reduce(within, mode);
        factor.destroy();
      } else {
        start.factors[mode] = turn;
        await remaining.reduce(turn, mode);
      }
    }
    return start;
  } catch (error) {
    start.destroy();
    throw error;
  }
}

/** ‖Y − Y ×ₙ UUᵀ‖² */
async function lossBy(engine: Engine, y: Tensor, u: Tensor, mode: number): Promise<number> {
  using lost = engine.tensor([1], null, { label: "lost" });
  await engine.run((s) => copy(s, lostBy(s, y, u, mode), { out: lost }), "loss");
  return (await engine.read(lost))[0]!;
}

/** Sweeps of HOOI from a start. */
function refine(
  engine: Engine,
  given: Prepared,
  start: Start,
  ranks: readonly number[],
  seed: number,
  stopping: StoppingOptions,
): Promise<Decomposition<TuckerTensor>> {
  return iterate<TuckerTensor>(engine, given, {
    name: "tuckerHOOI",
    stopping,
    seed,
    zero: () => zeroTucker(engine, given.x.shape, ranks),
    begin: (scope) => hooiMethod(scope, start.factors, seed, start.relativeError),
  });
}

/** HOOI as a method of `iterate`; `factors` are updated in place and remain their owner's. */
async function hooiMethod(
  { engine, own, given: { x, squaredNorm } }: Pick<Scope, "engine" | "own" | "given">,
  factors: readonly (Tensor | null)[],
  seed: number,
  expected: number,
): Promise<Method<TuckerTensor>> {
  const bases = await basesOf(engine, x, factors, seed, own);
  const ranks = x.shape.map((extent, mode) => factors[mode]?.shape[1] ?? extent);
  return {
    columns: ROW.columns,
    hasCheap: true,
    state: [...bases.values(), ...factors.filter((factor) => factor !== null)],
    start: async () => expected,
    record: (s, trace, isPrecise) => recordHooi(s, x, factors, bases, trace, isPrecise),
    errorOf: (row, kind) => ({
      fromNorms: Math.sqrt(1 - Math.min(1, row[ROW.norms]! / squaredNorm)),
      ...(kind === "precise" ? { fromResidual: Math.sqrt(row[ROW.residual]! / squaredNorm) } : {}),
    }),
    finish: () => canonical(engine, x, factors, ranks),
    residual: (s, tensor, out) => recordResidual(s, x, tensor, out),
    restore: (tensor, exponent) => restoreTucker(engine, "tuckerHOOI", tensor, exponent),
  };
}

/** Orthonormal bases of a few columns more than the factors, which they begin with. */
async function basesOf(
  engine: Engine,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  seed: number,
  own: Scope["own"],
): Promise<Map<number, Tensor>> {
  const rankOf = (mode: number) => factors[mode]?.shape[1] ?? x.shape[mode]!;
  const bases = new Map<number, Tensor>();
  factors.forEach((factor, mode) => {
    if (!factor) return;
    const projected = x.shape.map((extent, k) => (k === mode ? extent : Math.min(extent, rankOf(k))));
    const columns = basisColumns(projected, mode, rankOf(mode));
    bases.set(mode, own([x.shape[mode]!, columns], `basis ${mode}`));
  });
  await engine.run((s) => {
    for (const [mode, basis] of bases) widen(s, factors[mode]!, basis, seedAt(seed, mode));
  }, "HOOI start");
  return bases;
}

function recordHooi(
  s: Scheduler,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  bases: ReadonlyMap<number, Tensor>,
  trace: Trace,
  isPrecise: boolean,
): void {
  const modes = [...bases.keys()];
  let core = x;
  for (const mode of modes) {
    const factor = factors[mode]!;
    const basis = bases.get(mode)!;
    const projected = projectOthers(s, x, factors, modes, mode);
    subspaceStep(s, projected, basis, mode);
    slice(s, basis, [0, 0], [x.shape[mode]!, factor.shape[1]!], { out: factor });
    if (mode === modes.at(-1)) core = modeProduct(s, projected, factor, mode, { transpose: true });
    if (projected !== x) s.release(projected);
  }
  const told = s.tensor([ROW.columns], { label: "errors" });
  sumOfSquares(s, core, { out: told.rows(ROW.norms, ROW.norms + 1) });
  if (isPrecise) recordResidual(s, x, new TuckerTensor(core, factors), told.rows(ROW.residual, ROW.residual + 1));
  if (core !== x) s.release(core);
  appendRow(s, told, trace.rows, trace.counter);
  s.release(told);
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
 * those who step it themselves, with `engine.submit` or inside a frame of their own. The factors remain the caller's. X is taken as it
 * is: entries whose squares leave f32 are not for it.
 */
export async function hooiSweep(
  engine: Engine,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  seed = 0,
): Promise<HooiSweep> {
  const owned: { destroy(): void }[] = [];
  const destroy = () => {
    for (const item of owned.splice(0)) item.destroy();
  };
  const own: Scope["own"] = (shape, label, dtype = "f32") => {
    const tensor = engine.tensor(shape, null, { dtype, label });
    owned.push(tensor);
    return tensor;
  };
  try {
    const bases = await basesOf(engine, x, factors, seed, own);
    const trace = { rows: own([SWEEPS_A_BATCH, ROW.columns], "trace"), counter: own([1], "counter", "u32") };
    const compile = async (isPrecise: boolean): Promise<Schedule> => {
      using s = engine.scheduler("HOOI sweep");
      recordHooi(s, x, factors, bases, trace, isPrecise);
      const schedule = await s.compile();
      owned.push(schedule);
      return schedule;
    };
    const [schedule, preciseSchedule] = await together([compile(false), compile(true)]);
    return { schedule, preciseSchedule, trace: trace.rows, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** Records X times the transposed factors of all truncated modes but one, largest reduction first. */
function projectOthers(
  s: Scheduler,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  modes: readonly number[],
  skip: number,
): Tensor {
  const reduction = (mode: number) => factors[mode]!.shape[1]! / factors[mode]!.shape[0]!;
  const others = modes.filter((mode) => mode !== skip).sort((a, b) => reduction(a) - reduction(b));
  let product = x;
  for (const mode of others) {
    const next = modeProduct(s, product, factors[mode]!, mode, { transpose: true });
    if (product !== x) s.release(product);
    product = next;
  }
  return product;
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
 * norm (the HOSVD's all-orthogonality), and signed so that its entry of largest magnitude in a column is positive.
 */
async function canonical(
  engine: Engine,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  ranks: readonly number[],
): Promise<TuckerTensor> {
  const core = engine.tensor(ranks, null, { label: "core" });
  const turnedFactors = factors.map(
    (factor, mode) => factor && engine.tensor(factor.shape, null, { label: `factor ${mode}` }),
  );
  const tensor = new TuckerTensor(core, turnedFactors);
  const orders = new Map<number, Tensor>();
  try {
    const modes = ranks.map((_, mode) => mode).filter((mode) => factors[mode]);
    // the order is that of the singular values already
    for (const mode of modes)
      orders.set(
        mode,
        engine.tensor(
          [ranks[mode]!],
          Uint32Array.from({ length: ranks[mode]! }, (_, r) => r),
        ),
      );
    await engine.run((s) => {
      let current = projectOthers(s, x, factors, modes, -1);
      for (const mode of modes) {
        const rank = ranks[mode]!;
        const axes = ranks.map((_, axis) => axis).filter((axis) => axis !== mode);
        const tall = permute(s, current, [...axes, mode]);
        const { u, values, v } = jacobiSvd(s, tall.reshape([-1, rank]));
        s.release(tall, u, values);
        const rotated = matmul(s, factors[mode]!, v);
        const signs = s.tensor([rank], { label: "signs" });
        fill(s, signs, 1);
        canonicalizeColumns(s, rotated, orders.get(mode)!, signs, { out: turnedFactors[mode]! });
        const turned = modeProduct(s, current, v, mode, { transpose: true });
        s.release(rotated, v);
        if (current !== x) s.release(current);
        current = multiply(s, turned, signs.reshape(ranks.map((extent, axis) => (axis === mode ? extent : 1))));
        s.release(turned, signs);
      }
      copy(s, current, { out: core });
      if (current !== x) s.release(current);
    }, "Tucker core");
    return tensor;
  } catch (error) {
    tensor.destroy();
    throw error;
  } finally {
    for (const order of orders.values()) order.destroy();
  }
}

/** The result of factors that are final but for rotation and signs. */
async function finish(
  name: string,
  engine: Engine,
  given: Prepared,
  factors: readonly (Tensor | null)[],
  ranks: readonly number[],
  seed: number,
  { errors, sweeps, converged, stalled, aborted }: Convergence,
): Promise<Decomposition<TuckerTensor>> {
  const tensor = await canonical(engine, given.x, factors, ranks);
  try {
    const relativeError = await relativeResidual(engine, given, (s, out) => recordResidual(s, given.x, tensor, out));
    const fits = errors.map((error) => 1 - error);
    const restored = await restoreTucker(engine, name, tensor, given.exponent);
    return { tensor: restored, relativeError, errors, fits, sweeps, converged, stalled, aborted, seed };
  } catch (error) {
    tensor.destroy();
    throw error;
  }
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

/** Records ‖X − X̂‖² from the difference itself, not from norms that cancel. */
function recordResidual(s: Scheduler, x: Tensor, tensor: TuckerTensor, out: Tensor): void {
  if (tensor.factors.every((factor) => factor === null)) {
    fill(s, out, 0);
    return;
  }
  const full = tensor.full(s);
  squaredDistance(s, x, full, { out });
  s.release(full);
}
