import shader from "../../shaders/unimodal_columns.wgsl?late";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

export interface UnimodalColumnsOptions {
  /** I×R: where the passes begin */
  factor: Tensor;
  /** passes over the columns, 3 by default */
  passes?: number | undefined;
  out?: Tensor | undefined;
}

/**
 * Least squares with unimodal columns: Y (I×R) whose columns rise to one peak and fall after it, without negative entries, lowering
 * ½·tr(Y·V·Yᵀ) − tr(B·Yᵀ) for V = `normal` (R×R) and B = `right` (I×R), column after column, each by its unimodal regression (Bro & Sidiropoulos
 * 1998). One dispatch of one workgroup.
 */
export function unimodalColumns(
  s: Scheduler,
  normal: Tensor,
  right: Tensor,
  { factor, passes = 3, out }: UnimodalColumnsOptions,
): Tensor {
  assertCall("unimodalColumns", s, { normal, right });
  const rank = normal.shape[0]!;
  assertShape("unimodalColumns", "the matrix", normal, [rank, rank]);
  if (right.order !== 2 || right.shape[1] !== rank)
    throw new ShapeError(`unimodalColumns: ${right} needs ${rank} columns`);
  assertShape("unimodalColumns", "factor", factor, right.shape);
  if (out) assertShape("unimodalColumns", "out", out, right.shape);
  const result = out ?? s.tensor(right.shape, { label: "unimodal factor" });
  const rows = right.shape[0]!;
  const work = s.tensor([11, rows], { label: "unimodal work" });
  s.run(
    kernel.with({ WIDTH: setting(s.engine, "soleWorkgroup") }),
    { right, normal, factor, work, out: result },
    { rows, rank, passes },
  );
  s.release(work);
  return result;
}
