import type { Engine, Schedule, Tensor } from "../gpu/index.js";

/** What `onIteration` is told after each sweep (a batch of sweeps late). */
export interface Iteration {
  /** from 1 */
  sweep: number;
  /** ‖X − X̂‖ / ‖X‖ */
  relativeError: number;
}

export interface StoppingOptions {
  /** most sweeps, 100 by default */
  sweeps?: number;
  /** stops when the relative error changes by less than this in a sweep; 1e-6 by default, 0 runs all sweeps */
  tolerance?: number;
  onIteration?: (iteration: Iteration) => void;
  /** stops after the batch in flight; what is done so far is the result, with `aborted` set */
  signal?: AbortSignal;
  /** 1 to 4 (the default); fewer leave the GPU to others in between, so that a page still draws */
  sweepsPerSubmit?: number;
}

export interface Convergence {
  /** relative error after each sweep */
  errors: number[];
  sweeps: number;
  converged: boolean;
  aborted: boolean;
}

/** A decomposition and how it was reached. */
export interface Decomposition<T> extends Convergence {
  tensor: T;
  /** ‖X − X̂‖ / ‖X‖ of the result, from the residual itself */
  relativeError: number;
  /** 1 − relative error, sweep by sweep */
  fits: number[];
}

export interface Sweep {
  /** one sweep; its last dispatch appends a row to `trace` */
  schedule: Schedule;
  /** a ring of rows, as many as sweeps in a batch */
  trace: Tensor;
  /** the relative error that a row of the trace tells */
  errorOf: (row: Float32Array) => number;
  /** names the method in errors: `cpALS` */
  name: string;
  /** the same sweep with a costlier but exact error, taken from where the relative error falls `below` a bound */
  precise?: { schedule: Schedule; below: number };
}

/** sweeps in one submit: enough to hide the read behind the next batch, few enough to overshoot little */
export const SWEEPS_A_BATCH = 4;

/**
 * Replays a sweep until it converges. The trace of a batch is read while the next batch runs, so the GPU never waits for
 * the host; a run therefore goes on for up to one batch after its rule is met. The number of sweeps follows from the
 * numbers alone, never from timing.
 */
export async function converge(
  engine: Engine,
  { schedule, trace, errorOf, name, precise }: Sweep,
  { sweeps = 100, tolerance = 1e-6, onIteration, signal, sweepsPerSubmit = SWEEPS_A_BATCH }: StoppingOptions = {},
): Promise<Convergence> {
  const ring = trace.shape[0]!;
  const batch = Math.max(1, Math.min(ring, sweepsPerSubmit));
  const columns = trace.shape[1]!;
  const errors: number[] = [];
  let submitted = 0;
  let converged = false;
  let late: { count: number; rows: Promise<Float32Array> } | null = null;
  const take = async (read: { count: number; rows: Promise<Float32Array> }): Promise<void> => {
    const rows = await read.rows;
    for (let row = 0; row < read.count; row++) {
      const at = (errors.length % ring) * columns;
      const relativeError = errorOf(rows.subarray(at, at + columns));
      if (!Number.isFinite(relativeError))
        throw new ConvergenceError(
          `${name}: sweep ${errors.length + 1} gave ${relativeError}; the data may hold NaN or infinity, or a factor collapsed (try a larger ridge, a smaller rank or another start)`,
        );
      const before = errors.at(-1);
      errors.push(relativeError);
      onIteration?.({ sweep: errors.length, relativeError });
      if (before !== undefined && Math.abs(before - relativeError) < tolerance) converged = true;
    }
  };
  while (submitted < sweeps && !converged && !signal?.aborted) {
    const count = Math.min(batch, sweeps - submitted);
    const exact = precise && (errors.at(-1) ?? Number.POSITIVE_INFINITY) < precise.below;
    engine.submit(exact ? precise.schedule : schedule, count);
    submitted += count;
    const rows = engine.read(trace) as Promise<Float32Array>;
    rows.catch(() => {}); // awaited a batch later
    const previous = late;
    late = { count, rows };
    if (previous) await take(previous);
  }
  if (late) await take(late);
  return { errors, sweeps: submitted, converged, aborted: !converged && submitted < sweeps && !!signal?.aborted };
}

/** A solver left the finite numbers; names the method and the sweep. */
export class ConvergenceError extends Error {
  override name = "ConvergenceError";
}
