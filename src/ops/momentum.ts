import shader from "../../shaders/momentum.wgsl?late";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

/** What `state` of {@link momentum} is before the first step. */
export const MOMENTUM_START = [0.5, 1, 3e38, 0] as const;

export interface Momentum {
  /** what the method made of `next` */
  fresh: Tensor;
  /** [1], its error */
  error: Tensor;
  /** the best so far, written where `fresh` is better */
  accepted: Tensor;
  /** written: from what the method goes on; may be shorter than `fresh`, whose further elements are accepted and not extrapolated */
  next: Tensor;
  /** four numbers, {@link MOMENTUM_START} at first: β, its bound, the error of `accepted`, refusals in a row */
  state: Tensor;
  /** entries of `next` from here to there are set to 0 where they are negative */
  clip?: readonly [start: number, stop: number] | undefined;
  /** `fresh` has a matrix from here to there whose columns count as many times as the weights ([R]) say */
  scaled?: { weights: Tensor; range: readonly [start: number, stop: number] } | undefined;
}

/**
 * Extrapolates the steps of a method that lowers an error, and takes a step back where that made it worse (Ang & Gillis 2019), without a
 * word from the host: one dispatch of one workgroup.
 */
export function momentum(s: Scheduler, { fresh, error, accepted, next, state, clip = [0, 0], scaled }: Momentum): void {
  assertCall("momentum", s, { fresh, error, accepted, next, state });
  assertShape("momentum", "accepted", accepted, fresh.shape);
  if (next.size > fresh.size) throw new ShapeError(`momentum: next is ${next}, fresh only ${fresh}`);
  assertShape("momentum", "error", error, [1]);
  assertShape("momentum", "state", state, [MOMENTUM_START.length]);
  const [start, stop] = clip;
  if (!(start >= 0 && stop >= start && stop <= next.size))
    throw new ShapeError(`momentum: clip ${start} to ${stop} of ${next}`);
  const [scaledStart, scaledStop] = scaled?.range ?? [0, 0];
  if (!(scaledStart >= 0 && scaledStop >= scaledStart && scaledStop <= fresh.size))
    throw new ShapeError(`momentum: scaled ${scaledStart} to ${scaledStop} of ${fresh}`);
  const weights = scaled?.weights ?? s.tensor([1], { label: "no weights" });
  s.run(
    kernel.with({ WIDTH: setting(s.engine, "soleWorkgroup") }),
    { fresh, error, accepted, next, state, weights },
    {
      size: fresh.size,
      further: next.size,
      clip_start: start,
      clip_end: stop,
      scaled_start: scaledStart,
      scaled_end: scaledStop,
      rank: weights.size,
    },
  );
  if (!scaled) s.release(weights);
}
