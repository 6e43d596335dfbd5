import shader from "../../shaders/cp_sweeps.wgsl?late";
import { type Engine, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

/** columns that an invocation holds a matrix of */
const MOST_RANK = 32;

/** Whether sweeps over a tensor of this shape are one dispatch, {@link cpSweeps}. */
export const fusesSweeps = (engine: Engine, shape: readonly number[], rank: number): boolean =>
  shape.length === 3 &&
  rank <= MOST_RANK &&
  shape.reduce((product, extent) => product * extent, rank) <= setting(engine, "fuseSweeps");

export interface CpSweeps {
  /** I×K×J */
  x: Tensor;
  /** a tensor that has A (I×R), B (K×R) and C (J×R), columns of any norm, and where each of them begins */
  begin: Tensor;
  starts: readonly [a: number, b: number, c: number];
  /** of the size of `begin`, written: A, B and C after the sweeps, at the same places, columns of norm 1 */
  factors: Tensor;
  /** [R], written: the weights of the model */
  weights: Tensor;
  sweeps: number;
  /** how much an update holds on to the factor as it was, in units of the mean diagonal of its normal equations */
  proximal: number;
}

/**
 * Sweeps of alternating least squares for a CP model of a tensor of order 3 (Kolda & Bader 2009, figure 3.3), all of them by one workgroup: for
 * tensors so small that dispatches would take longer than their work ({@link fusesSweeps}). A proximal term keeps updates defined where terms are collinear.
 */
export function cpSweeps(s: Scheduler, operands: CpSweeps): void {
  assertCall("cpSweeps", s);
  const { x, begin, starts, factors, weights, sweeps, proximal } = operands;
  const rank = weights.size;
  if (x.order !== 3 || rank > MOST_RANK)
    throw new ShapeError(`cpSweeps: ${x} and rank ${rank}, needs order 3 and a rank of at most ${MOST_RANK}`);
  assertShape("cpSweeps", "factors", factors, begin.shape);
  assertShape("cpSweeps", "weights", weights, [rank]);
  const [i, k, j] = x.shape as [number, number, number];
  for (const [mode, start] of starts.entries())
    if (!(start >= 0 && start + x.shape[mode]! * rank <= begin.size))
      throw new ShapeError(`cpSweeps: factor ${mode}, ${x.shape[mode]}×${rank}, from ${start} of ${begin}`);
  const WIDTH = setting(s.engine, "soleWorkgroup");
  const PAD = 4 * Math.ceil(rank / 4);
  const quads = Math.ceil(j / 4);
  const splits = splitsOf(i * k, (quads * PAD) / 4, WIDTH);
  const rows = i + k + j + 3 * PAD + 2 + 4 * Math.ceil((i * k) / 4) + 4 * splits * quads;
  const work = s.tensor([rows, PAD], { label: "sweeps" });
  s.run(
    kernel.with({ WIDTH, PAD }),
    { x, begin, factors, weights, work },
    {
      ...{ rank, sweeps, splits, proximal },
      ...{ extent_0: i, extent_1: k, extent_2: j },
      ...{ start_0: starts[0], start_1: starts[1], start_2: starts[2] },
    },
  );
  s.release(work);
}

/** In how many parts sums of so many terms are cut, so that invocations, of which each makes one of `sums`, take about as long as each other. */
function splitsOf(terms: number, sums: number, width: number): number {
  const most = Math.min(terms, 2 * width);
  let best = 1;
  let least = Number.POSITIVE_INFINITY;
  for (let splits = 1; splits <= most; splits++) {
    const time = Math.ceil((sums * splits) / width) * Math.ceil(terms / splits);
    if (time < least) [best, least] = [splits, time];
  }
  return best;
}
