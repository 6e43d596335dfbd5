import shader from "../../shaders/unit_columns_step.wgsl?late";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

export interface UnitColumnsStepOptions {
  /** A, I×R with columns of norm 1: where the passes begin. Columns whose weight is 0 are left here, as the result cannot tell them */
  factor: Tensor;
  /** λ, [R] */
  weights: Tensor;
  /** whether no entry may be negative */
  nonnegative?: boolean | undefined;
  /** passes over the columns, 3 by default */
  passes?: number | undefined;
  out?: Tensor | undefined;
}

/**
 * Least squares for columns of norm 1: A·diag(λ) that lowers ½·‖X₍ₙ₎ − A·diag(λ)·Kᵀ‖² for V = `normal` (R×R) = KᵀK and B = `right` (I×R) = X₍ₙ₎·K, while
 * the weights stay, column after column: each becomes the best one of norm 1. One dispatch of one workgroup.
 */
export function unitColumnsStep(
  s: Scheduler,
  normal: Tensor,
  right: Tensor,
  { factor, weights, nonnegative = false, passes = 3, out }: UnitColumnsStepOptions,
): Tensor {
  assertCall("unitColumnsStep", s, { normal, right });
  const rank = normal.shape[0]!;
  assertShape("unitColumnsStep", "the matrix", normal, [rank, rank]);
  if (right.order !== 2 || right.shape[1] !== rank)
    throw new ShapeError(`unitColumnsStep: ${right} needs ${rank} columns`);
  assertShape("unitColumnsStep", "factor", factor, right.shape);
  assertShape("unitColumnsStep", "weights", weights, [rank]);
  if (out) assertShape("unitColumnsStep", "out", out, right.shape);
  const result = out ?? s.tensor(right.shape, { label: "columns of norm 1" });
  s.run(
    kernel.with({ WIDTH: setting(s.engine, "soleWorkgroup"), NONNEGATIVE: nonnegative }),
    { right, normal, factor, weights, out: result },
    { rows: right.shape[0]!, rank, passes },
  );
  return result;
}
