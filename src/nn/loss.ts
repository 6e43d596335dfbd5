import { checkOptions, optionRules, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import {
  addToCurve,
  type Curve,
  scale,
  softCrossEntropy,
  softmaxCrossEntropy,
  subtract,
  sumOfSquares,
} from "../ops/index.js";

/** What training makes smaller. */
export interface Loss {
  readonly name: string;
  /** what the samples come with: a class each (`labels`), or values of the shape of the network's outputs (`targets`) */
  readonly needs: "labels" | "targets";
  /** the softmax cross-entropy by which kernels that do whole training steps can train (`steps: "fused"`) */
  readonly fused?: "single" | "double";
  /** whether the second column counts right answers */
  readonly hasAccuracy: boolean;
  /**
   * Records the gradient of the mean loss of a batch's outputs. Adds the sum of the losses of its samples to `told.column`, and
   * the number of right answers to the column after it.
   *
   * @param targets labels [rows], u32, or targets rows×…, as the loss needs
   */
  record(s: Scheduler, outputs: Tensor, targets: Tensor | Tensor<"u32">, told: Curve): Tensor;
}

/** The softmax cross-entropy of logits and classes. Right answers are those whose logit is largest. */
export const crossEntropy = (): Loss => ({
  name: "crossEntropy",
  needs: "labels",
  fused: "single",
  hasAccuracy: true,
  record: (s, outputs, labels, told) => softmaxCrossEntropy(s, outputs, labels as Tensor<"u32">, told),
});

/**
 * The mean squared difference of outputs and targets: over a sample's elements, then over samples. With a larger network's
 * features as targets it is distillation of features. There are no right answers: accuracies are NaN.
 */
export const meanSquaredError = (): Loss => ({
  name: "meanSquaredError",
  needs: "targets",
  hasAccuracy: false,
  record(s, outputs, targets, told) {
    if (outputs.size !== targets.size)
      throw new ShapeError(`meanSquaredError: outputs ${outputs} and targets ${targets}, needs the same shape`);
    const difference = subtract(s, outputs, (targets as Tensor).reshape(outputs.shape));
    const total = sumOfSquares(s, difference);
    addToCurve(s, total, told, outputs.shape[0]! / outputs.size);
    const gradient = scale(s, difference, { alpha: 2 / outputs.size });
    s.release(total, difference);
    return gradient;
  },
});

/**
 * Distillation of a larger network's answers, whose logits are the targets (Hinton, Vinyals & Dean 2015): the divergence of both
 * softmaxes at a temperature T, times T². Right answers are those of the larger network.
 *
 * @param options.temperature T, 4 by default: the larger, the more the unlikely classes count
 * @throws TenfoldError where an option is unfit
 */
export function distillation(options: { temperature?: number } = {}): Loss {
  checkOptions("distillation", options, { temperature: optionRules.aboveZero });
  const { temperature = 4 } = options;
  return {
    name: "distillation",
    needs: "targets",
    hasAccuracy: true,
    record: (s, outputs, targets, told) => softCrossEntropy(s, outputs, targets as Tensor, told, { temperature }),
  };
}
