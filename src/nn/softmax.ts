import { checkOptions, formatShape, optionRules, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { softmax, softmaxGradient } from "../ops/index.js";
import type { Counts, Layer, Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";

/**
 * exp(x) ÷ Σ exp(x) along one mode of a sample, as for the weights of attention. The loss of classes has its own softmax: a classifier
 * that `crossEntropy` trains needs none at its end.
 */
export class Softmax implements Layer {
  readonly name = "Softmax";
  readonly parameters = [];
  /** the mode of a sample whose elements add up to 1; null: the last one */
  readonly axis: number | null;
  #output: Tensor | null = null;

  /** @param options.axis the mode of a sample whose elements add up to 1; the last one by default */
  constructor(options: { axis?: number } = {}) {
    checkOptions("Softmax", options, { axis: optionRules.count });
    this.axis = options.axis ?? null;
  }

  outputShape(input: readonly number[]): number[] {
    if (!(input.length > (this.axis ?? 0)))
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)} have no mode ${this.axis ?? 0}`);
    return [...input];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    const y = softmax(s, x, { axis: this.#modeOf(x) });
    if (training) this.#output = y;
    return y;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    return inputGradient ? softmaxGradient(s, this.#output!, dy, { axis: this.#modeOf(dy) }) : null;
  }

  #modeOf({ order }: Tensor): number {
    return this.axis === null ? order - 1 : this.axis + 1;
  }

  counts(): Counts {
    return { weights: 0, biases: 0, multiplications: 0 };
  }
}

export const softmaxKind = /* @__PURE__ */ layerKind(
  "softmax",
  Softmax,
  ({ axis }) => ({ ...(axis !== null && { axis }) }),
  (f) => new Softmax(f.has("axis") ? { axis: f.index("axis") } : {}),
);
