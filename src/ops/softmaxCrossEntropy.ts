import shader from "../../shaders/softmax_cross_entropy.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

export interface Curve {
  /** epochs×columns; the sum of losses and the right answers are added to two columns of the present epoch's row */
  curve: Tensor;
  column: number;
  /** [step, epoch, …], u32 */
  state: Tensor<"u32">;
}

/**
 * Gradient of the mean softmax cross-entropy of `logits` (rows×classes) for `labels` ([rows], u32): rows×classes. Loss and
 * right answers are added up on the GPU, see {@link Curve}. With `double`, the softmax is applied twice, as in the thesis.
 */
export function softmaxCrossEntropy(
  s: Scheduler,
  logits: Tensor,
  labels: Tensor<"u32">,
  { curve, column, state }: Curve,
  { double = false, out }: { double?: boolean; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("softmaxCrossEntropy", s, { logits, labels });
  const [rows, classes] = logits.shape as [number, number];
  if (logits.order !== 2 || labels.dtype !== "u32")
    throw new ShapeError(`softmaxCrossEntropy: ${logits} with ${labels}, needs rows×classes and u32 labels`);
  assertShape("softmaxCrossEntropy", "labels", labels, [rows]);
  const curveColumns = curve.shape[1]!;
  if (column + 2 > curveColumns)
    throw new ShapeError(`softmaxCrossEntropy: columns ${column} and ${column + 1} of ${curve}`);
  const gradient = out ?? s.tensor(logits.shape, { label: "logits gradient" });
  s.run(
    kernel.with({ DOUBLE: double }),
    { logits, labels, state, gradient, curve },
    { rows, classes, curve_columns: curveColumns, curve_column: column },
  );
  return gradient;
}
