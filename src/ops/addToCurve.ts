import shader from "../../shaders/add_to_curve.wgsl?late";
import { Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import type { Curve } from "./softmaxCrossEntropy.js";

const kernel = new Kernel(shader, () => [1]);

/** Adds alpha · `total` ([1]) to a column of the present epoch's row, see {@link Curve}. */
export function addToCurve(s: Scheduler, total: Tensor, { curve, column, state }: Curve, alpha = 1): void {
  assertCall("addToCurve", s, { total, curve });
  assertShape("addToCurve", "total", total, [1]);
  s.run(kernel, { total, state, curve }, { curve_columns: curve.shape[1]!, curve_column: column, alpha });
}
