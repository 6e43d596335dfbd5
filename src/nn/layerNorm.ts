import {
  checkOption,
  checkOptions,
  formatShape,
  type OptionRules,
  optionRules,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import { layerNorm, layerNormGradient } from "../ops/index.js";
import { type Counts, type Layer, Parameter, type Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";

export interface LayerNormOptions {
  /** added to variances, 1e-5 by default */
  epsilon?: number;
  /** whether there is a bias (true by default), or its start values; zeros otherwise */
  bias?: boolean | Float32Array;
  /** start values of the weight; ones by default */
  weight?: Float32Array | undefined;
}

const layerNormRules: OptionRules<LayerNormOptions> = {
  epsilon: optionRules.atLeastZero,
  bias: layerRules.bias,
  weight: layerRules.values,
};

/**
 * Layer normalisation (Ba, Kiros & Hinton 2016): y = weight·(x − mean) ÷ √(variance + ε) + bias, with the mean and the biased variance over
 * the last modes of a sample. There are as many weights as elements in these modes.
 *
 * @throws TenfoldError where an extent or option is unfit
 */
export class LayerNorm implements Layer {
  readonly name: string;
  /** extents of the modes that are normalised together */
  readonly shape: readonly number[];
  readonly epsilon: number;
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  #input: Tensor | null = null;

  /** @param shape extents of the last modes of a sample, or the extent of the last one */
  constructor(shape: number | readonly number[], options: LayerNormOptions = {}) {
    this.shape = typeof shape === "number" ? [shape] : shape;
    checkOption("LayerNorm", "shape", this.shape, layerRules.modes);
    checkOptions("LayerNorm", options, layerNormRules);
    const { epsilon = 1e-5, weight, bias = true } = options;
    this.name = `LayerNorm ${formatShape(this.shape)}`;
    this.epsilon = epsilon;
    const size = sizeOf(this.shape);
    this.weight = new Parameter("weight", this.shape, weight ?? new Float32Array(size).fill(1));
    this.bias = bias ? new Parameter("bias", this.shape, bias === true ? new Float32Array(size) : bias) : null;
  }

  get parameters(): readonly Parameter[] {
    return this.bias ? [this.weight, this.bias] : [this.weight];
  }

  outputShape(input: readonly number[]): number[] {
    const inner = input.slice(-this.shape.length);
    if (formatShape(inner) !== formatShape(this.shape))
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)}, expected …×${formatShape(this.shape)}`,
      );
    return [...input];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    if (training) this.#input = x;
    return layerNorm(s, x, { weight: this.weight.value, bias: this.bias?.value }, { epsilon: this.epsilon });
  }

  backward(s: Scheduler, dy: Tensor): Tensor {
    const out = { weight: this.weight.gradient, bias: this.bias?.gradient };
    return layerNormGradient(s, this.#input!, dy, { weight: this.weight.value, out }, { epsilon: this.epsilon });
  }

  /** A multiplication an element. */
  counts(input: readonly number[]): Counts {
    const weights = sizeOf(this.shape);
    return { weights, biases: this.bias ? weights : 0, multiplications: sizeOf(input) };
  }
}

export const layerNormKind = /* @__PURE__ */ layerKind(
  "layerNorm",
  LayerNorm,
  ({ shape, epsilon, bias }) => ({ shape, epsilon, bias: bias !== null }),
  (f) => new LayerNorm(f.counts("shape"), { epsilon: f.atLeastZero("epsilon"), bias: f.flag("bias") }),
);
