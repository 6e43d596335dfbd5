import shader from "../../shaders/hals.wgsl?late";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ rows }, { WIDTH }) => grid1d(rows!, WIDTH!));

/** Columns that an invocation holds. */
const MOST_HALS_RANK = 1024;
/** a row has converged when a pass changes it by less than this part of what the first pass changed, in square */
export const HALS_TOLERANCE = 1e-8;

export interface HalsOptions {
  /** I×R, no entry negative: where the passes begin */
  factor: Tensor;
  /** the most passes over the columns; 30 by default */
  passes?: number | undefined;
  /** finds the step Y ≥ −factor from a gradient B, to be added to the factor, in place of Y ≥ 0 from B */
  step?: boolean | undefined;
  /** adds this times Σ|Y| to what is minimised (coordinate descent, Friedman et al. 2007); not with `step` */
  shrink?: number | undefined;
  /** with `shrink`: Y and `factor` may have negative entries */
  signed?: boolean | undefined;
  out?: Tensor | undefined;
}

/**
 * Least squares without negative entries: Y ≥ 0 (I×R) that minimises ½·tr(Y·V·Yᵀ) − tr(B·Yᵀ), for V = `normal` (R×R) and B = `right`
 * (I×R), by hierarchical alternating least squares (Cichocki & Phan 2009; Gillis & Glineur 2012), in one dispatch.
 *
 * @throws ShapeError for more than 1024 columns
 */
export function hals(
  s: Scheduler,
  normal: Tensor,
  right: Tensor,
  { factor, passes = 30, step = false, shrink, signed = false, out }: HalsOptions,
): Tensor {
  assertCall("hals", s, { normal, right });
  const rank = normal.shape[0]!;
  assertShape("hals", "the matrix", normal, [rank, rank]);
  if (right.order !== 2 || right.shape[1] !== rank) throw new ShapeError(`hals: ${right} needs ${rank} columns`);
  assertShape("hals", "factor", factor, right.shape);
  if (out) assertShape("hals", "out", out, right.shape);
  if (rank > MOST_HALS_RANK) throw new ShapeError(`hals: ${rank} columns, needs at most ${MOST_HALS_RANK}`);
  if (step && shrink !== undefined) throw new ShapeError("hals: step and shrink, needs one of them");
  const result = out ?? s.tensor(right.shape, { label: "non-negative factor" });
  const PAD = Math.max(4, 2 ** Math.ceil(Math.log2(rank)));
  s.run(
    kernel.with({ PAD, STEP: step, SHRINK: shrink !== undefined, SIGNED: signed }),
    { right, normal, factor, out: result },
    { rows: right.shape[0]!, rank, passes, tolerance: HALS_TOLERANCE, threshold: shrink ?? 0 },
  );
  return result;
}
