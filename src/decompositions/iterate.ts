import {
  type DType,
  dispose,
  type Engine,
  type OptionRules,
  optionRules,
  Program,
  Replay,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { copy } from "../ops/index.js";
import type { Model, Source } from "../sources/index.js";
import type { Keeper } from "./checkpoint.js";
import type { Checkpoint, SavingOfStart, ToldSweep } from "./checkpointOptions.js";
import { StoppingRule } from "./stopping.js";
import { TensorScope, together } from "./tensorScope.js";

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
  sweeps: { ...optionRules.positive, elsewhere: "nitermax maxiter maxiterations iterations" },
  tolerance: optionRules.atLeastZero,
  onIteration: { ...optionRules.callback, elsewhere: "callback verbose" },
  signal: optionRules.signal,
  sweepsPerSubmit: {
    needs: `a whole number from 1 to ${SWEEPS_A_BATCH}`,
    is: (value) => optionRules.positive.is(value) && (value as number) <= SWEEPS_A_BATCH,
  },
};

/** What solvers that take tensors with missing entries have in place of an option for them. */
export const takesMasked = { mask: "give masked(engine, x, { mask }) in place of x" };

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
  /**
   * ‖min(X, 0)‖ / ‖X‖, where all factors are asked to be `nonnegative` and X is one tensor: no such model has a smaller relative error
   */
  negativePart?: number;
  /** how many entries of X are known, where others are missing: the errors are of these */
  known?: number;
}

/** A solver left the finite numbers; names the method and the sweep. */
export class ConvergenceError extends TenfoldError {
  override name = "ConvergenceError";
  override readonly code = "CONVERGENCE";
}

/** the tolerance where the caller says none */
const TOLERANCE = 1e-6;
/** Relative errors of this and more are told from norms. Below, cancellation in the norms may make them wrong by more than 1e-6. */
export const CANCELLATION = 0.3;
/** the next sweeps are cheap only where the last error from norms was at least this many times CANCELLATION */
const NEAR = 1.25;

/** A row of numbers that sweeps tell, each where a view may begin: the first from norms, the second ‖X − X̂‖². */
export const ROW = { columns: 128, norms: 0, residual: 64 } as const;

/** Where sweeps leave their numbers on the GPU: a ring of rows, and how many rows were written so far ([1], u32). */
export interface Trace {
  rows: Tensor;
  counter: Tensor<"u32">;
}

/**
 * Kinds of sweeps. A `cheap` sweep tells its error from norms. A `precise` sweep changes the state in the same way, and tells the error from
 * the residual as well. A `correcting` sweep goes by the residual, not by X: near a fit of 1, rounding in sums over X is larger than the step.
 */
export type SweepKind = "cheap" | "precise" | "correcting";

/** The relative errors that a row of the trace tells. */
export interface Told {
  /** √(‖X‖² − ‖X̂‖²) / ‖X‖ or the like: it takes no pass over X, and its digits cancel near a fit of 1 */
  fromNorms?: number;
  /** how much larger than ‖X‖² the numbers are that cancel in `fromNorms`, 1 by default */
  amplification?: number;
  /** ‖X − X̂‖ / ‖X‖ from the difference itself; that of a precise sweep */
  fromResidual?: number;
  /** for a method that minimises something else than the error: that, relative to ‖X‖. The stopping rule goes by it */
  objective?: number;
  /** for a method that foresees how much of the error its next step takes off, as a part of it: the stopping rule goes by that instead */
  foreseen?: number;
  /** nothing is left to be done: where there is a tolerance, the run has converged */
  isOver?: boolean;
}

/** A sweep that is recorded and ready to be replayed. */
export interface Sweep {
  /** names the method in errors: `cpALS` */
  name: string;
  /** one sweep, its error from the residual itself; its last dispatch appends a row to the trace */
  precise: Replay;
  /** the same sweep, without the residual: an error from norms is told where it is {@link CANCELLATION} or more */
  cheap?: Replay | undefined;
  trace: Trace;
  errorOf: (row: Float32Array, kind: SweepKind) => Told;
  /** sweeps for small errors, if there are any: compiled when they are first needed */
  correcting?: { below: number; open(): Promise<{ enter: Replay; sweep: Replay }> } | undefined;
  traits?: SweepTraits;
}

/** What is special about the sweeps of a method. */
interface SweepTraits {
  /** the tensors that a sweep reads from the sweep before and writes; needed where there is more than one kind of sweep */
  state?: readonly Tensor[];
  /** false where nobody reads the errors: they are from norms then, however small */
  isTold?: boolean;
  /** below this error any sweep may be the last: each is submitted once the error of the sweep before it is known */
  singleBelow?: number;
  /** whether the first sweeps may be the last, too, as the start is near the end */
  beginsNear?: boolean;
  /** what may help where the numbers are no longer finite: `try a larger ridge` */
  advice?: string;
  /** when it is over, where more is known than of any sweep */
  ruleOf?: (tolerance: number) => StoppingRule;
}

interface Batch {
  /** how many rows were written before this batch, and how many by it */
  first: number;
  count: number;
  kind: SweepKind;
  /** which copy of the state is the one before this batch */
  slot: number;
  rows: Promise<Float32Array>;
}

/**
 * Replays a sweep until it is over. The trace of a batch is read while the next batch runs, so the GPU never waits for the host; a run
 * therefore goes on for up to one batch after its rule is met. Where the sweeps in flight may be the last, none are submitted until they are told. The
 * number of sweeps follows from the numbers alone, never from timing.
 *
 * Sweeps are precise until the error is known to be large, and cheap from there on. Where a cheap error turns out to be below
 * {@link CANCELLATION}, its batch is undone (a copy of the state from before it is restored) and run again with precise sweeps. After the
 * first error below `correcting.below` all sweeps are correcting ones; sweeps that were submitted after it are undone. So the numbers do
 * not depend on how sweeps fall into batches. `expected` is the error of the start, where it is known.
 */
export async function converge(
  engine: Engine,
  { name, precise, cheap, correcting, trace, errorOf, traits = {} }: Sweep,
  { sweeps = 100, tolerance = TOLERANCE, onIteration, signal, sweepsPerSubmit = SWEEPS_A_BATCH }: StoppingOptions = {},
  expected?: number,
  saving?: SavingOfStart,
): Promise<Convergence> {
  const { state = [], isTold = true, singleBelow = 0, beginsNear = false, advice, ruleOf } = traits;
  const [ring, columns] = trace.rows.shape as [number, number];
  // a sweep with host steps waits for the host anyway, so its error may as well be read at once
  const batch = precise.hasSteps || cheap?.hasSteps ? 1 : Math.max(1, Math.min(ring, sweepsPerSubmit));
  const rule = ruleOf?.(tolerance) ?? new StoppingRule(tolerance);
  const errors: number[] = [];
  const objectives: number[] = [];
  /** the latest error from norms, divided by its amplification */
  let margin = expected ?? 0;
  const corrects = (error: number) => correcting !== undefined && error < correcting.below;
  let isCorrecting = expected !== undefined && corrects(expected);
  const kindOfNext = (): SweepKind => {
    if (isCorrecting) return "correcting";
    return cheap && !(isTold && margin < NEAR * CANCELLATION) ? "cheap" : "precise";
  };
  using memory = new Memory(engine, state);
  let submitted = 0;
  let written = 0;
  let late: Batch | null = null;
  /** whether sweeps that are not told yet may be the last ones */
  let isNear = beginsNear;
  const told: ToldSweep[] = [];
  const note = (sweep: ToldSweep): void => {
    const { relativeError, objective, foreseen, isOver, amplification } = sweep;
    told.push(sweep);
    isNear = foreseen !== undefined && foreseen < tolerance;
    errors.push(relativeError);
    if (objective !== undefined) objectives.push(objective);
    if (foreseen !== undefined) rule.foresee(foreseen);
    else rule.tell(objective ?? relativeError, objective === undefined ? amplification : 0);
    if (isOver) rule.end();
  };

  /**
   * The errors of a batch, up to and with the first from which sweeps correct. Not known (and none) where an error from norms cancels and
   * there is none from the residual.
   */
  const take = async ({ first, kind, count, rows }: Batch): Promise<{ sweepErrors: ToldSweep[]; isKnown: boolean }> => {
    const values = await rows;
    const sweepErrors: ToldSweep[] = [];
    for (let index = 0; index < count; index++) {
      const at = ((first + index) % ring) * columns;
      const row = values.subarray(at, at + columns);
      const { fromNorms, amplification = 1, fromResidual, objective, foreseen, isOver = false } = errorOf(row, kind);
      const takesNorms = fromNorms !== undefined && !(isTold && fromNorms < CANCELLATION * amplification);
      margin = (fromNorms ?? 0) / amplification;
      const relativeError = takesNorms ? fromNorms : fromResidual;
      if (relativeError === undefined) return { sweepErrors: [], isKnown: false };
      if (!Number.isFinite(relativeError))
        throw new ConvergenceError(
          `${name}: the error after sweep ${errors.length + index + 1} is ${relativeError}: f32 overflowed or a factor collapsed; try ${advice ? `${advice}, ` : ""}a smaller rank or another start`,
        );
      sweepErrors.push({
        relativeError,
        objective,
        foreseen,
        isOver,
        amplification: takesNorms ? Math.max(1, amplification) : 0,
      });
      if (kind !== "correcting" && corrects(relativeError)) break;
    }
    return { sweepErrors, isKnown: true };
  };
  const isOver = () =>
    // the first batch always runs: without it there is no result
    submitted >= sweeps || rule.converged || rule.stalled || (submitted > 0 && !!signal?.aborted);
  const waitsForTold = () => (tolerance > 0 && isNear) || isSingle();
  const isSingle = () => tolerance > 0 && (errors.at(-1) ?? expected ?? Number.POSITIVE_INFINITY) < singleBelow;

  /**
   * Tells the errors of a batch. Returns null, or, where the state has to be brought back to that of the last error told, which sweep of
   * the batch that was.
   */
  const tell = async (read: Batch, isAhead: boolean): Promise<number | null> => {
    const { sweepErrors, isKnown } = await take(read);
    for (const sweep of sweepErrors) {
      note(sweep);
      onIteration?.({ sweep: errors.length, relativeError: sweep.relativeError });
    }
    if (!isKnown) margin = 0; // sweeps are precise until the error is known to be large
    const begins = !isCorrecting && sweepErrors.length > 0 && corrects(errors.at(-1)!);
    isCorrecting ||= begins;
    return !isKnown || (begins && (isAhead || sweepErrors.length < read.count)) ? sweepErrors.length : null;
  };
  /** Brings the state to what it was after the first `again` sweeps of a batch. */
  const bringBack = async (read: Batch, again: number): Promise<void> => {
    await Replay.runAll([
      [memory.restore[read.slot]!, 1],
      [read.kind === "cheap" ? cheap! : precise, again],
    ]);
    written += again;
    submitted = errors.length;
  };
  let entered = false;
  const submit = async (turn: number): Promise<Batch> => {
    const count = isSingle() ? 1 : Math.min(batch, sweeps - submitted);
    const kind = kindOfNext();
    const slot = turn % 2;
    if (kind === "correcting") {
      const { enter, sweep } = await correcting!.open();
      await Replay.runAll([
        [enter, entered ? 0 : 1],
        [sweep, count],
      ]);
      entered = true;
    } else {
      const sweep = kind === "cheap" ? cheap! : precise;
      const mayTurnBack = isTold && (kind === "cheap" || correcting !== undefined);
      if (mayTurnBack) await memory.open();
      await Replay.runAll([...(mayTurnBack ? [[memory.save[slot]!, 1] as const] : []), [sweep, count]]);
    }
    const rows = engine.read(trace.rows) as Promise<Float32Array>;
    rows.catch(() => {}); // awaited a batch later
    const next = { first: written, count, kind, slot, rows };
    submitted += count;
    written += count;
    return next;
  };

  if (saving?.resumed) {
    for (const sweep of saving.resumed.told) note(sweep);
    ({ margin, isCorrecting } = saving.resumed);
    submitted = errors.length;
    written = submitted;
  }
  /** how many sweeps are kept */
  let saved = submitted;
  const save = async (): Promise<void> => {
    await saving?.save({ told, margin, isCorrecting });
    saved = submitted;
  };
  engine.write(trace.counter, [written]);
  for (let turn = 0; ; turn++) {
    const pauses = submitted > saved && (saving?.isDue() ?? false);
    const waits: boolean = pauses || isOver() || (late !== null && waitsForTold());
    let next: Batch | null = waits ? null : await submit(turn).catch((error) => failAfter(late, error));
    if (!next && !late && !pauses) break;
    const readAhead = next;
    const again = late && (await tell(late, next !== null).catch((error) => failAfter(readAhead, error)));
    if (late && again !== null) {
      await next?.rows;
      await bringBack(late, again);
      next = null;
    }
    late = next;
    // nothing is under way: the state is that after the last sweep that was told
    if (pauses) await save();
  }
  if (submitted > saved) await save();
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

/** Throws the error once the batch is read: a read under way holds memory. */
async function failAfter(batch: Batch | null, error: unknown): Promise<never> {
  await batch?.rows.catch(() => {});
  throw error;
}

/** Two copies of a solver's state, saved and restored on the GPU. */
class Memory {
  readonly #scope: TensorScope;
  readonly save: Replay[] = [];
  readonly restore: Replay[] = [];

  constructor(
    readonly engine: Engine,
    readonly state: readonly Tensor[],
  ) {
    this.#scope = new TensorScope(engine);
  }

  /** Allocates the copies, the first time. */
  async open(): Promise<void> {
    const { engine, state } = this;
    while (this.restore.length < 2) {
      const copies = state.map(({ shape, label }) => this.#scope.allocate(shape, `${label} before`));
      for (const [list, from, to] of [
        [this.save, state, copies],
        [this.restore, copies, state],
      ] as const) {
        const record = ({ s }: Program): void => {
          from.forEach((tensor, index) => void copy(s, tensor, { out: to[index]! }));
        };
        list.push(this.#scope.keep(await Program.compiled(engine, record, "state")));
      }
    }
  }

  [dispose](): void {
    this.#scope.destroy();
  }
}

/** What a solver works with: X, and tensors that are freed when it ends. */
export interface Scope {
  readonly engine: Engine;
  /** X, scaled and checked */
  readonly source: Source;
  /** A tensor that lives as long as the run. */
  readonly allocate: <D extends DType = "f32">(shape: readonly number[], label: string, dtype?: D) => Tensor<D>;
  /** Frees this, too, when the run ends. */
  readonly keep: <T extends { destroy(): void }>(item: T) => T;
}

/** A solver, as `iterate` drives it. Everything here is about the scaled x, except `restore`. */
export interface SweepMethod<T> extends SweepTraits {
  /** Puts the state where start number `index` begins. Returns the error there, where it is known. */
  start?(index: number): Promise<number | undefined>;
  /** how many numbers a row of the trace has */
  columns: number;
  /** whether `record` has a cheap form, which needs `state` */
  hasCheap?: boolean;
  /** X̂ of the present state, for sources that change with it */
  model?: Model;
  /** where such a source writes ‖x − x̂‖² of that state, [1], if it tells it for nothing (`refreshTells`) */
  startSquares?: Tensor | undefined;
  /** whether sweeps go by x − x̂ alone, so that entries that are missing need no values */
  goesByDifference?: boolean;
  /** whether x is taken as it is, although it changes with a model: for a start */
  takesAsIs?: boolean;
  /** Records one sweep; it ends by appending a row of `columns` numbers to the trace. */
  record(p: Program, trace: Trace, isPrecise: boolean): void;
  /** the errors that a row tells; of precise and correcting sweeps, also the error from the residual */
  errorOf(row: Float32Array, kind: SweepKind): Told;
  /** correcting sweeps, taken once the error is below `below`; `open` allocates what they need, once */
  correcting?: {
    below: number;
    open(): Promise<{
      /** Records what the first correcting sweep needs. */
      enter(p: Program): void;
      record(p: Program, trace: Trace): void;
    }>;
  };
  /** Copies the result out. */
  finish(): Promise<T>;
  /** Records ‖x − x̂‖² of a result, [1]. */
  residual(p: Program, tensor: T, out: Tensor): void;
  /** The result of x as that of X = 2^exponent · x; called where the exponent is not 0. Throws where it leaves f32. */
  restore(tensor: T, exponent: number): Promise<T>;
}

/** seed + place; after the last seed, 2³² − 1, comes 0. */
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
  /** where the state is kept, and what it has to agree in: all options that change the numbers */
  saving?: { checkpoint: Checkpoint; options: Record<string, unknown> } | undefined;
  /** the decomposition of a tensor of zeros */
  zero(): T | Promise<T>;
  begin(scope: Scope): Promise<SweepMethod<T>> | SweepMethod<T>;
}

/**
 * The one driver of all solvers that go by sweeps. It answers a zero tensor, records the sweep once and replays it (`converge`), runs the
 * starts and keeps the best (`aborted` where not all of them could end), measures the residual of the result, gives it X's scale back,
 * and frees everything but the result on every path. A solver is what one sweep records, the error that it tells, and how the result is
 * copied out. The source is left to whoever made it.
 */
export async function iterate<T extends { destroy(): void }>(source: Source, run: Run<T>): Promise<Decomposition<T>> {
  const { name, stopping, starts = 1, seed, saving } = run;
  const { tolerance = TOLERANCE } = stopping;
  if (source.isZero) return zeroResult(await run.zero(), seed);
  using problem = await Problem.create(source, name, run.begin);
  const keeper = saving && (await problem.keeper(saving.checkpoint, { starts, tolerance, ...saving.options }));
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
        const saving = keeper?.begin(start);
        if (saving === null) continue;
        const result = await problem.solve(stopping, expected, saving);
        isCut = result.aborted;
        if (best && minimised(best) <= minimised(result)) result.tensor.destroy();
        else {
          best?.tensor.destroy();
          best = seed === undefined ? result : { ...result, seed: seedAt(seed, start) };
        }
      } catch (error) {
        // a start that collapses is not the best one; the others may be good
        if (!(error instanceof ConvergenceError)) throw error;
        failure ??= error;
        await keeper?.save(start, null);
      }
    }
    if (!best)
      throw failure ?? new ConvergenceError(`${name}: every start of the checkpoint had collapsed; try another seed`);
    if (isCut) best = { ...best, aborted: true, converged: false, stalled: false };
    return await problem.restored(best);
  } catch (error) {
    best?.tensor.destroy();
    throw error;
  }
}

/** What a method minimises, of a result: its error, where it tells no other objective. */
export const minimised = ({ objectives, relativeError }: Decomposition<unknown>): number =>
  objectives?.at(-1) ?? relativeError;

/** A method with its tensors and its recorded sweeps, for one X. */
export class Problem<T extends { destroy(): void }> {
  readonly #scope: RunScope;
  method!: SweepMethod<T>;
  #sweep!: Sweep;
  #correcting: { enter: Replay; sweep: Replay } | null = null;

  private constructor(
    readonly source: Source,
    readonly name: string,
  ) {
    this.#scope = new RunScope(source);
  }

  /** Allocates what the method needs and compiles its sweeps. */
  static async create<T extends { destroy(): void }>(
    source: Source,
    name: string,
    begin: Run<T>["begin"],
  ): Promise<Problem<T>> {
    const problem = new Problem<T>(source, name);
    try {
      const scope = problem.#scope;
      const method = await begin(scope);
      const isExact = source.known !== undefined && method.goesByDifference;
      const changes = source.refresh !== undefined && !isExact && !method.takesAsIs;
      // errors from norms take ‖x‖² as it was, and x changes with the model
      const hasCheap = !changes && (method.hasCheap ?? false);
      const trace: Trace = {
        rows: scope.allocate([SWEEPS_A_BATCH, method.columns], "trace"),
        counter: scope.allocate([1], "counter", "u32"),
      };
      const compile = async (isPrecise: boolean): Promise<Replay> => {
        const record = (p: Program): void => {
          if (changes) {
            if (!method.model) throw new TenfoldError(`${name}: ${source} changes with the model, take cpALS for it`);
            source.refresh!(p, method.model, { squaredNorm: method.startSquares });
          }
          method.record(p, trace, isPrecise);
        };
        const label = `${name} sweep${hasCheap && isPrecise ? " with residual" : ""}`;
        return scope.keep(await Program.compiled(source.engine, record, label));
      };
      const [precise, cheap] = await together([compile(true), hasCheap ? compile(false) : undefined]);
      const errorOf = (row: Float32Array, kind: SweepKind): Told => {
        const told = method.errorOf(row, kind);
        if (!changes) return told;
        const { fromNorms, ...others } = told;
        return others;
      };
      const correcting =
        method.correcting && !changes
          ? {
              below: method.correcting.below,
              open: () => problem.#openCorrecting(scope, method.correcting!, trace),
            }
          : undefined;
      problem.method = method;
      problem.#sweep = { name, precise, cheap, correcting, trace, errorOf, traits: method };
      return problem;
    } catch (error) {
      problem.destroy();
      throw error;
    }
  }

  /** Compiles the correcting sweeps, the first time. */
  async #openCorrecting(
    scope: Scope,
    { open }: NonNullable<SweepMethod<T>["correcting"]>,
    trace: Trace,
  ): Promise<{ enter: Replay; sweep: Replay }> {
    if (!this.#correcting) {
      const recorder = await open();
      const compile = async (label: string, record: (p: Program) => void): Promise<Replay> =>
        scope.keep(await Program.compiled(this.source.engine, record, `${this.name} ${label}`));
      this.#correcting = {
        enter: await compile("residual", (p) => recorder.enter(p)),
        sweep: await compile("correcting", (p) => recorder.record(p, trace)),
      };
    }
    return this.#correcting;
  }

  /** A sweep whose error is from norms, where there is one. */
  get cheapSweep(): Replay | undefined {
    return this.#sweep.cheap;
  }

  /** A sweep whose error is from the residual itself. */
  get preciseSweep(): Replay {
    return this.#sweep.precise;
  }

  /** Sweeps from where the state is until the run is over. The result is of the scaled x. */
  async solve(stopping: StoppingOptions, expected?: number, saving?: SavingOfStart): Promise<Decomposition<T>> {
    return this.result(await converge(this.source.engine, this.#sweep, stopping, expected, saving));
  }

  /** Keeps the state of starts by a checkpoint. */
  async keeper(checkpoint: Checkpoint, options: Record<string, unknown>): Promise<Keeper> {
    const { Keeper } = await import("./checkpoint.js");
    return await Keeper.open(checkpoint, this.name, this.source, options, this.method.state ?? []);
  }

  /** The present state as a result, of the scaled x. */
  async result(convergence: Convergence): Promise<Decomposition<T>> {
    const { source, method } = this;
    using tensorScope = new TensorScope(source.engine);
    const tensor = tensorScope.keep(await method.finish());
    const relativeError = await relativeResidual(source, (p, out) => method.residual(p, tensor, out));
    return tensorScope.handOut({
      ...convergence,
      ...(source.known !== undefined && { known: source.known }),
      tensor,
      relativeError,
      fits: convergence.errors.map((error) => 1 - error),
    });
  }

  /** The result as that of X. */
  async restored(result: Decomposition<T>): Promise<Decomposition<T>> {
    const { exponent } = this.source;
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
  { engine, squaredNorm }: Source,
  record: (p: Program, out: Tensor) => void,
): Promise<number> {
  using squared = engine.tensor([1], null, { label: "residual" });
  await Program.run(engine, (p) => record(p, squared), "residual");
  return Math.sqrt((await engine.read(squared))[0]! / squaredNorm);
}

class RunScope extends TensorScope implements Scope {
  constructor(readonly source: Source) {
    super(source.engine);
  }
}
