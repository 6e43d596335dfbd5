import {
  type DType,
  dispose,
  type Engine,
  type OptionRules,
  optionRules,
  type Schedule,
  type Scheduler,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { copy } from "../ops/index.js";
import { type Prepared, prepare } from "./prepare.js";
import { StoppingRule } from "./stopping.js";

/** What `onIteration` is told after each sweep (a batch of sweeps late). */
export interface Iteration {
  /** from 1 in each start, where there are several */
  sweep: number;
  /** ‖X − X̂‖ / ‖X‖ */
  relativeError: number;
}

export interface StoppingOptions {
  /** most sweeps, 100 by default */
  sweeps?: number;
  /**
   * converged when the relative error changes by less than this in a sweep, three sweeps on end (up to 64 where the noise of f32 hides
   * the change in fewer); 1e-6 by default, 0 runs all sweeps. Less than f32 can tell is never met: such a run ends as `stalled`
   */
  tolerance?: number;
  onIteration?: (iteration: Iteration) => void;
  /**
   * stops after the batch in flight; what is done so far is the result, with `aborted` set. Where there is no result yet, as in the
   * singular value decompositions from which a solver takes its ranks or its start, the promise rejects with the signal's reason
   */
  signal?: AbortSignal;
  /** 1 to 4 (the default); fewer leave the GPU to others in between, so that a page still draws */
  sweepsPerSubmit?: number;
}

/** sweeps in one submit: enough to hide the read behind the next batch, few enough to overshoot little */
export const SWEEPS_A_BATCH = 4;

/** What {@link StoppingOptions} may be. */
export const stoppingRules: OptionRules<StoppingOptions> = {
  sweeps: optionRules.positive,
  tolerance: optionRules.atLeastZero,
  onIteration: optionRules.callback,
  signal: optionRules.signal,
  sweepsPerSubmit: {
    needs: `a whole number from 1 to ${SWEEPS_A_BATCH}`,
    is: (value) => optionRules.positive.is(value) && (value as number) <= SWEEPS_A_BATCH,
  },
};

/** How a run went. Out of sweeps it is neither converged, stalled nor aborted. */
export interface Convergence {
  /** ‖X − X̂‖ / ‖X‖ after each sweep, to 1e-6 */
  errors: number[];
  sweeps: number;
  /** the relative error changes by less than `tolerance` in a sweep */
  converged: boolean;
  /** the error falls by less than f32 can tell, and `tolerance` asks for more */
  stalled: boolean;
  aborted: boolean;
  /** @internal what the stopping rule went by, where that is not the error */
  objectives?: number[];
}

/** A decomposition and how it was reached. */
export interface Decomposition<T> extends Convergence {
  tensor: T;
  /** ‖X − X̂‖ / ‖X‖ of the result, from the residual itself */
  relativeError: number;
  /** 1 − relative error, sweep by sweep */
  fits: number[];
  /** of the start that the result comes from, where a solver starts from random numbers */
  seed?: number;
}

/** A solver left the finite numbers; names the method and the sweep. */
export class ConvergenceError extends TenfoldError {
  override name = "ConvergenceError";
  override readonly code = "CONVERGENCE";
}

/** Relative errors from norms are told from here up: below, their cancellation may make them wrong by more than 1e-6. */
export const CANCELLATION = 0.3;
/** errors from norms are not counted on where the last was less than this many times that */
const NEAR = 1.25;

/** A row of numbers that sweeps tell, each where a view may begin: the first from norms, the second ‖X − X̂‖². */
export const ROW = { columns: 128, norms: 0, residual: 64 } as const;

/** Rows that sweeps leave in GPU memory: a ring, and how many there were ([1], u32). */
export interface Trace {
  rows: Tensor;
  counter: Tensor;
}

/**
 * Kinds of sweeps: `cheap` ones tell an error from norms; `precise` ones do the same to the state and tell the error from the residual,
 * too; `correcting` ones keep the residual and correct the state by it, where sums over X itself would lose the step in rounding.
 */
export type Kind = "cheap" | "precise" | "correcting";

/** The relative errors that a row of the trace tells. */
export interface Told {
  /** √(‖X‖² − ‖X̂‖²) / ‖X‖ or the like, which costs nothing and cancels near a fit of 1 */
  fromNorms?: number;
  /** how much larger than ‖X‖² the numbers are that cancel in that, 1 by default */
  amplification?: number;
  /** ‖X − X̂‖ / ‖X‖ from the difference itself; that of a precise sweep */
  fromResidual?: number;
  /** what the sweeps make small where that is not the error, beside ‖X‖: the stopping rule goes by it */
  objective?: number;
}

/** A sweep that is recorded and ready to be replayed. */
export interface Sweep {
  /** names the method in errors: `cpALS` */
  name: string;
  /** one sweep, its error from the residual itself; its last dispatch appends a row to the trace */
  precise: Schedule;
  /** the same sweep, without the residual: an error from norms is told where it is {@link CANCELLATION} or more */
  cheap?: Schedule | undefined;
  trace: Trace;
  errorOf: (row: Float32Array, kind: Kind) => Told;
  /** sweeps for small errors, if there are any: compiled when they are first needed */
  correcting?: { below: number; open(): Promise<{ enter: Schedule; sweep: Schedule }> } | undefined;
  /** what a sweep takes over from the one before and changes; needed where there is more than one kind */
  state?: readonly Tensor[] | undefined;
  /** false where nobody is told the errors: they are from norms then, however small */
  isTold?: boolean | undefined;
  /** what may help where the numbers are no longer finite: `try a larger ridge` */
  advice?: string | undefined;
}

/** An error that is told, and how much what it was computed from cancels; 0 for the residual. */
interface TrueError {
  relativeError: number;
  /** what the stopping rule goes by, where that is not the error */
  objective: number | undefined;
  amplification: number;
}

interface Batch {
  /** rows told before, and rows of this batch */
  first: number;
  count: number;
  kind: Kind;
  /** of the state before it */
  slot: number;
  rows: Promise<Float32Array>;
}

/**
 * Replays a sweep until it is over. The trace of a batch is read while the next batch runs, so the GPU never waits for the host; a run
 * therefore goes on for up to one batch after its rule is met. The number of sweeps follows from the numbers alone, never from timing.
 *
 * Sweeps compute the residual itself until the error is known to be large, from which they are cheap. Where a cheap error turns out to be
 * below {@link CANCELLATION}, its batch is taken back (the state before it was kept) and run again with the residual. From the first
 * error below that of correcting sweeps on, sweeps are those, for the rest of the run; what was submitted beyond is taken back. So
 * the numbers do not depend on how sweeps fall into batches. `expected` is the error that the start has, where it is known.
 */
export async function converge(
  engine: Engine,
  { name, precise, cheap, correcting, trace, errorOf, state = [], isTold = true, advice }: Sweep,
  { sweeps = 100, tolerance = 1e-6, onIteration, signal, sweepsPerSubmit = SWEEPS_A_BATCH }: StoppingOptions = {},
  expected?: number,
): Promise<Convergence> {
  const [ring, columns] = trace.rows.shape as [number, number];
  const batch = Math.max(1, Math.min(ring, sweepsPerSubmit));
  const rule = new StoppingRule(tolerance);
  const errors: number[] = [];
  const objectives: number[] = [];
  /** how large the latest error from norms is beside its noise */
  let margin = expected ?? 0;
  const corrects = (error: number) => correcting !== undefined && error < correcting.below;
  let isCorrecting = expected !== undefined && corrects(expected);
  const kindOfNext = (): Kind => {
    if (isCorrecting) return "correcting";
    return cheap && !(isTold && margin < NEAR * CANCELLATION) ? "cheap" : "precise";
  };
  using memory = new Memory(engine, state);
  let submitted = 0;
  let written = 0;
  let late: Batch | null = null;

  /**
   * The errors of a batch: up to the first that is not known, or with the first from which sweeps correct. Which of two errors is told
   * follows from the numbers alone.
   */
  const take = async ({ first, kind, count, rows }: Batch): Promise<{ found: TrueError[]; isKnown: boolean }> => {
    const values = await rows;
    const found: TrueError[] = [];
    for (let index = 0; index < count; index++) {
      const at = ((first + index) % ring) * columns;
      const row = values.subarray(at, at + columns);
      const { fromNorms, amplification = 1, fromResidual, objective } = errorOf(row, kind);
      const takesNorms = fromNorms !== undefined && !(isTold && fromNorms < CANCELLATION * amplification);
      margin = (fromNorms ?? 0) / amplification;
      const relativeError = takesNorms ? fromNorms : fromResidual;
      if (relativeError === undefined) return { found: [], isKnown: false };
      if (!Number.isFinite(relativeError))
        throw new ConvergenceError(
          `${name}: the error after sweep ${errors.length + index + 1} is ${relativeError}: f32 overflowed or a factor collapsed; try ${advice ? `${advice}, ` : ""}a smaller rank or another start`,
        );
      found.push({ relativeError, objective, amplification: takesNorms ? Math.max(1, amplification) : 0 });
      if (kind !== "correcting" && corrects(relativeError)) break;
    }
    return { found, isKnown: true };
  };
  const isOver = () =>
    // a first batch always runs: before it there is nothing to show
    submitted >= sweeps || rule.converged || rule.stalled || (submitted > 0 && !!signal?.aborted);

  /**
   * Tells the errors of a batch. Where the state is ahead of them and has to be brought back to the last that was told: after how many
   * sweeps of the batch that was.
   */
  const tell = async (read: Batch, isAhead: boolean): Promise<number | null> => {
    const { found, isKnown } = await take(read);
    for (const { relativeError, objective, amplification } of found) {
      errors.push(relativeError);
      if (objective !== undefined) objectives.push(objective);
      rule.tell(objective ?? relativeError, objective === undefined ? amplification : 0);
      onIteration?.({ sweep: errors.length, relativeError });
    }
    if (!isKnown) margin = 0; // precise from here on, until it is known to be large
    const begins = !isCorrecting && found.length > 0 && corrects(errors.at(-1)!);
    isCorrecting ||= begins;
    return !isKnown || (begins && (isAhead || found.length < read.count)) ? found.length : null;
  };
  /** Brings the state to what it was after the first `again` sweeps of a batch. */
  const bringBack = (read: Batch, again: number): void => {
    engine.submit(memory.restore[read.slot]!);
    engine.submit(read.kind === "cheap" ? cheap! : precise, again);
    written += again;
    submitted = errors.length;
  };
  let entered = false;
  const submit = async (turn: number): Promise<Batch> => {
    const count = Math.min(batch, sweeps - submitted);
    const kind = kindOfNext();
    const slot = turn % 2;
    if (kind === "correcting") {
      const { enter, sweep } = await correcting!.open();
      engine.submit(
        entered
          ? [[sweep, count]]
          : [
              [enter, 1],
              [sweep, count],
            ],
      );
      entered = true;
    } else {
      const schedule = kind === "cheap" ? cheap! : precise;
      const mayTurnBack = isTold && (kind === "cheap" || correcting !== undefined);
      if (mayTurnBack) await memory.open();
      engine.submit(
        mayTurnBack
          ? [
              [memory.save[slot]!, 1],
              [schedule, count],
            ]
          : [[schedule, count]],
      );
    }
    const rows = engine.read(trace.rows) as Promise<Float32Array>;
    rows.catch(() => {}); // awaited a batch later
    const next = { first: written, count, kind, slot, rows };
    submitted += count;
    written += count;
    return next;
  };

  engine.write(trace.counter, [0]);
  for (let turn = 0; ; turn++) {
    let next: Batch | null = isOver() ? null : await submit(turn);
    if (!next && !late) break;
    const readAhead = next?.rows;
    const again =
      late &&
      (await tell(late, next !== null).catch(async (error: unknown) => {
        // what is being read holds memory until it is there
        await readAhead?.catch(() => {});
        throw error;
      }));
    if (late && again !== null) {
      await next?.rows;
      bringBack(late, again);
      next = null;
    }
    late = next;
  }
  const { converged, stalled } = rule;
  return {
    errors,
    sweeps: submitted,
    converged,
    stalled,
    aborted: !converged && !stalled && submitted < sweeps && !!signal?.aborted,
    ...(objectives.length ? { objectives } : {}),
  };
}

/** Two copies of a solver's state, saved and restored on the GPU. */
class Memory {
  readonly #owned: { destroy(): void }[] = [];
  readonly save: Schedule[] = [];
  readonly restore: Schedule[] = [];

  constructor(
    readonly engine: Engine,
    readonly state: readonly Tensor[],
  ) {}

  /** Allocates the copies, the first time. */
  async open(): Promise<void> {
    const { engine, state } = this;
    while (this.restore.length < 2) {
      const copies = state.map((tensor) => engine.tensor(tensor.shape, null, { label: `${tensor.label} before` }));
      this.#owned.push(...copies);
      for (const [list, from, to] of [
        [this.save, state, copies],
        [this.restore, copies, state],
      ] as const) {
        using s = engine.scheduler("state");
        from.forEach((tensor, index) => {
          copy(s, tensor, { out: to[index]! });
        });
        const schedule = await s.compile();
        this.#owned.push(schedule);
        list.push(schedule);
      }
    }
  }

  [dispose](): void {
    for (const item of this.#owned.splice(0)) item.destroy();
  }
}

/** What a solver works with: X, and tensors that are freed when it ends. */
export interface Scope {
  readonly engine: Engine;
  /** X, scaled and checked */
  readonly given: Prepared;
  /** A tensor that lives as long as the run. */
  readonly own: (shape: readonly number[], label: string, dtype?: DType) => Tensor;
  /** Frees this, too, when the run ends. */
  readonly keep: <T extends { destroy(): void }>(item: T) => T;
}

/** A solver, as `iterate` drives it. All of it is about the scaled x, but for `restore`. */
export interface Method<T> {
  /** Puts the state where start number `index` begins. Returns the error there, where it is known. */
  start?(index: number): Promise<number | undefined>;
  /** how many numbers a sweep tells */
  columns: number;
  /** whether there is a sweep whose error is from norms; `state` is what it changes then */
  hasCheap?: boolean;
  state?: readonly Tensor[];
  /** Records one sweep; it ends by appending a row of `columns` numbers to the trace. */
  record(s: Scheduler, trace: Trace, isPrecise: boolean): void;
  /** what a row tells: precise and correcting sweeps, the error from the residual */
  errorOf(row: Float32Array, kind: Kind): Told;
  /** sweeps that correct the state by the residual, from an error on; `open` allocates what they need, once */
  correcting?: {
    below: number;
    open(): {
      /** Records what the first of them needs. */
      enter(s: Scheduler): void;
      record(s: Scheduler, trace: Trace): void;
    };
  };
  /** false where nobody is told the errors: they are from norms then, however small */
  isTold?: boolean;
  advice?: string;
  /** Copies the result out. */
  finish(): Promise<T>;
  /** Records ‖x − x̂‖² of a result, [1]. */
  residual(s: Scheduler, tensor: T, out: Tensor): void;
  /** The result of x as that of X = 2^exponent · x; called where the exponent is not 0. Throws where it leaves f32. */
  restore(tensor: T, exponent: number): Promise<T>;
}

/** The seed that many places after one; after the last, 2³² − 1, comes 0. */
export const seedAt = (seed: number, place: number): number => (seed + place) >>> 0;

/** What `iterate` is asked for. */
export interface Run<T> {
  /** names the solver in errors */
  name: string;
  stopping: StoppingOptions;
  /** how many starts there are, the best of which is kept; 1 by default */
  starts?: number | undefined;
  /** of the first start; that of start i is `seedAt(seed, i)` */
  seed?: number | undefined;
  /** the decomposition of a tensor of zeros */
  zero(): T | Promise<T>;
  begin(scope: Scope): Promise<Method<T>> | Method<T>;
}

/**
 * The one driver of all solvers that go by sweeps. It prepares X (`prepare`), answers a zero tensor, records the sweep once and replays
 * it (`converge`), runs the starts and keeps the best (`aborted` where not all of them could end), measures the residual of the result, gives it X's scale back, and frees
 * everything but the result on every path. A solver is what one sweep records, the error that it tells, and how the result is
 * copied out. X may be prepared already; it is then left to whoever did.
 */
export async function iterate<T extends { destroy(): void }>(
  engine: Engine,
  x: Tensor | Prepared,
  run: Run<T>,
): Promise<Decomposition<T>> {
  const { name, stopping, starts = 1, seed } = run;
  if ("squaredNorm" in x) return solve(x);
  using prepared = await prepare(engine, name, x);
  return await solve(prepared);

  async function solve(given: Prepared): Promise<Decomposition<T>> {
    if (given.isZero) return zeroResult(await run.zero(), seed);
    using problem = await Problem.create(engine, given, name, run.begin);
    let best: Decomposition<T> | null = null;
    let isCut = false;
    let failure: ConvergenceError | null = null;
    try {
      for (let start = 0; start < starts && !isCut; start++) {
        if (start && stopping.signal?.aborted) {
          isCut = true;
          break;
        }
        try {
          const expected = await problem.method.start?.(start);
          const result = await problem.solve(stopping, expected);
          isCut = result.aborted;
          if (best && best.relativeError <= result.relativeError) result.tensor.destroy();
          else {
            best?.tensor.destroy();
            best = seed === undefined ? result : { ...result, seed: seedAt(seed, start) };
          }
        } catch (error) {
          // a start that collapses is not the best one; the others may be good
          if (!(error instanceof ConvergenceError)) throw error;
          failure ??= error;
        }
      }
      if (!best) throw failure;
      if (isCut) best = { ...best, aborted: true, converged: false, stalled: false };
      return await problem.restored(best);
    } catch (error) {
      best?.tensor.destroy();
      throw error;
    }
  }
}

/** The results of all, or the first error once none is under way any more: what the others made is known by then. */
export async function together<T extends readonly unknown[]>(
  tasks: readonly [...T],
): Promise<{
  -readonly [K in keyof T]: Awaited<T[K]>;
}> {
  await Promise.allSettled(tasks);
  return await Promise.all(tasks);
}

/** A method with its tensors and its recorded sweeps, for one X. */
export class Problem<T extends { destroy(): void }> {
  readonly #scope: OwningScope;
  method!: Method<T>;
  #sweep!: Sweep;
  #correcting: { enter: Schedule; sweep: Schedule } | null = null;

  private constructor(
    readonly engine: Engine,
    readonly given: Prepared,
    readonly name: string,
  ) {
    this.#scope = new OwningScope(engine, given);
  }

  /** Allocates what the method needs and compiles its sweeps. */
  static async create<T extends { destroy(): void }>(
    engine: Engine,
    given: Prepared,
    name: string,
    begin: Run<T>["begin"],
  ): Promise<Problem<T>> {
    const problem = new Problem<T>(engine, given, name);
    try {
      const scope = problem.#scope;
      const method = await begin(scope);
      const { columns, hasCheap = false, state, isTold, advice } = method;
      const trace: Trace = {
        rows: scope.own([SWEEPS_A_BATCH, columns], "trace"),
        counter: scope.own([1], "counter", "u32"),
      };
      const compile = async (isPrecise: boolean): Promise<Schedule> => {
        using s = engine.scheduler(`${name} sweep${hasCheap && isPrecise ? " with residual" : ""}`);
        method.record(s, trace, isPrecise);
        return scope.keep(await s.compile());
      };
      const [precise, cheap] = await together([compile(true), hasCheap ? compile(false) : undefined]);
      const errorOf = (row: Float32Array, kind: Kind) => method.errorOf(row, kind);
      const correcting = method.correcting && {
        below: method.correcting.below,
        open: () => problem.#openCorrecting(scope, method.correcting!, trace),
      };
      problem.method = method;
      problem.#sweep = { name, precise, cheap, correcting, trace, errorOf, state, isTold, advice };
      return problem;
    } catch (error) {
      problem.destroy();
      throw error;
    }
  }

  /** Compiles the correcting sweeps, the first time. */
  async #openCorrecting(
    scope: Scope,
    { open }: NonNullable<Method<T>["correcting"]>,
    trace: Trace,
  ): Promise<{ enter: Schedule; sweep: Schedule }> {
    if (!this.#correcting) {
      const recorder = open();
      const compile = async (label: string, record: (s: Scheduler) => void): Promise<Schedule> => {
        using s = this.engine.scheduler(`${this.name} ${label}`);
        record(s);
        return scope.keep(await s.compile());
      };
      this.#correcting = {
        enter: await compile("residual", (s) => recorder.enter(s)),
        sweep: await compile("correcting sweep", (s) => recorder.record(s, trace)),
      };
    }
    return this.#correcting;
  }

  /** A sweep whose error is from norms, where there is one. */
  get cheapSweep(): Schedule | undefined {
    return this.#sweep.cheap;
  }

  /** A sweep whose error is from the residual itself. */
  get preciseSweep(): Schedule {
    return this.#sweep.precise;
  }

  /** Sweeps from where the state is until the run is over. The result is of the scaled x. */
  async solve(stopping: StoppingOptions, expected?: number): Promise<Decomposition<T>> {
    return this.result(await converge(this.engine, this.#sweep, stopping, expected));
  }

  /** The present state as a result, of the scaled x. */
  async result(convergence: Convergence): Promise<Decomposition<T>> {
    const { engine, given, method } = this;
    const tensor = await method.finish();
    try {
      const relativeError = await relativeResidual(engine, given, (s, out) => method.residual(s, tensor, out));
      return { tensor, relativeError, fits: convergence.errors.map((error) => 1 - error), ...convergence };
    } catch (error) {
      tensor.destroy();
      throw error;
    }
  }

  /** The result as that of X. */
  async restored(result: Decomposition<T>): Promise<Decomposition<T>> {
    const { exponent } = this.given;
    return exponent ? { ...result, tensor: await this.method.restore(result.tensor, exponent) } : result;
  }

  destroy(): void {
    this.#scope[dispose]();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** The answer for a tensor of zeros. */
export const zeroResult = <T>(tensor: T, seed?: number): Decomposition<T> => ({
  tensor,
  relativeError: 0,
  errors: [],
  fits: [],
  sweeps: 0,
  converged: true,
  stalled: false,
  aborted: false,
  ...(seed === undefined ? {} : { seed }),
});

/** ‖x − x̂‖ / ‖x‖ from a recorded ‖x − x̂‖². */
export async function relativeResidual(
  engine: Engine,
  { squaredNorm }: Prepared,
  record: (s: Scheduler, out: Tensor) => void,
): Promise<number> {
  using squared = engine.tensor([1], null, { label: "residual" });
  await engine.run((s) => record(s, squared), "residual");
  return Math.sqrt((await engine.read(squared))[0]! / squaredNorm);
}

class OwningScope implements Scope {
  readonly #owned: { destroy(): void }[] = [];

  constructor(
    readonly engine: Engine,
    readonly given: Prepared,
  ) {}

  readonly own = (shape: readonly number[], label: string, dtype: DType = "f32"): Tensor =>
    this.keep(this.engine.tensor(shape, null, { dtype, label }));

  readonly keep = <T extends { destroy(): void }>(item: T): T => {
    this.#owned.push(item);
    return item;
  };

  [dispose](): void {
    for (const item of this.#owned.splice(0).reverse()) item.destroy();
  }
}
