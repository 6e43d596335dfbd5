import shader from "../../shaders/soft_cross_entropy.wgsl?late";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import type { Curve } from "./softmaxCrossEntropy.js";

const kernel = new Kernel(shader, () => [1]);

/**
 * Gradient of the mean divergence of `logits` (rows×classes) from a teacher's logits `targets`, both divided by a temperature
 * T: T²·KL(softmax(targets/T) ‖ softmax(logits/T)), whose gradients are of the same size for every T (Hinton, Vinyals & Dean
 * 2015). The loss, and how often both have the same largest logit, are added up on the GPU, see {@link Curve}.
 */
export function softCrossEntropy(
  s: Scheduler,
  logits: Tensor,
  targets: Tensor,
  { curve, column, state }: Curve,
  { temperature = 1, out }: { temperature?: number; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("softCrossEntropy", s, { logits, targets });
  const [rows, classes] = logits.shape as [number, number];
  if (logits.order !== 2) throw new ShapeError(`softCrossEntropy: ${logits}, needs rows×classes`);
  assertShape("softCrossEntropy", "targets", targets, [rows, classes]);
  const curveColumns = curve.shape[1]!;
  if (column + 2 > curveColumns)
    throw new ShapeError(`softCrossEntropy: columns ${column} and ${column + 1} of ${curve}`);
  const gradient = out ?? s.tensor(logits.shape, { label: "logits gradient" });
  s.run(
    kernel,
    { logits, targets, state, gradient, curve },
    { rows, classes, curve_columns: curveColumns, curve_column: column, temperature },
  );
  return gradient;
}
