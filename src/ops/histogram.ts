import shader from "../../shaders/histogram.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

/** Bins of {@link histogram}: 2¹⁴. */
export const HISTOGRAM_BINS = 16_384;
/** leading bits of a magnitude: 8 of the exponent, 5 of the mantissa */
const MAGNITUDES = HISTOGRAM_BINS / 2;
const SHIFT = 18;
/** entries of an invocation, and workgroups at most */
const [RUN, MOST_WORKGROUPS] = [32, 1024];

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => [
  Math.min(MOST_WORKGROUPS, Math.ceil(size! / (WIDTH! * RUN))),
]);

/**
 * Counts the entries of an f32 tensor by their sign and magnitude, and adds that to `counts` ([{@link HISTOGRAM_BINS}], u32): read them with
 * {@link histogramBins}.
 */
export function histogram(s: Scheduler, x: Tensor, counts: Tensor<"u32">): Tensor<"u32"> {
  assertCall("histogram", s, { x, counts });
  if (x.dtype !== "f32") throw new ShapeError(`histogram: ${x} is ${x.dtype}, needs f32`);
  if (counts.dtype !== "u32") throw new ShapeError(`histogram: counts are ${counts.dtype}, needs u32`);
  assertShape("histogram", "counts", counts, [HISTOGRAM_BINS]);
  s.run(kernel, { x: bitsOf(x), counts }, { size: x.size });
  return counts;
}

/** How many numbers lie between two, the least included; magnitudes below 2⁻¹³¹ count as 0, whose bin has no width. */
export interface HistogramBin {
  from: number;
  to: number;
  count: number;
}

/** The bins of {@link histogram} in which there are numbers, from the least to the largest; NaN and infinities are left out. */
export function histogramBins(counts: ArrayLike<number>): HistogramBin[] {
  // an exponent of 255 stands for NaN and infinity
  const finite = MAGNITUDES - 2 ** (23 - SHIFT);
  const edges = new Float32Array(Uint32Array.from({ length: finite }, (_, at) => at << SHIFT).buffer);
  const edgeOf = (at: number): number => (at < finite ? edges[at]! : 2 ** 128);
  const bins: HistogramBin[] = [];
  const put = (from: number, to: number, count: number): void => {
    if (count) bins.push({ from, to, count });
  };
  for (let at = finite - 1; at > 0; at--) put(-edgeOf(at + 1), -edgeOf(at), counts[MAGNITUDES + at]!);
  put(0, 0, counts[0]! + counts[MAGNITUDES]!);
  for (let at = 1; at < finite; at++) put(edgeOf(at), edgeOf(at + 1), counts[at]!);
  return bins;
}
