import type { Tensor } from "../gpu/index.js";
import type { Loss } from "../nn/index.js";
import { softmaxCrossEntropy } from "../ops/index.js";

/**
 * The loss of the thesis whose experiments stand here: the softmax is applied a second time before the cross-entropy. Training by
 * it fails, which the experiments show.
 */
export const doubleSoftmax = (): Loss => ({
  name: "doubleSoftmax",
  needs: "labels",
  fused: "double",
  hasAccuracy: true,
  record: (s, outputs, labels, told) =>
    softmaxCrossEntropy(s, outputs, labels as Tensor<"u32">, told, { double: true }),
});
