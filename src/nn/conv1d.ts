import {
  checkOptions,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import {
  type Activation,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  formatPadding,
  outputExtent,
  type Side,
} from "../ops/index.js";
import { ConvolutionLayer, groupedRules } from "./convolutionLayer.js";
import type { BackwardOptions, Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";
import type { NormalStart } from "./startValues.js";

export interface Conv1dOptions {
  /** channels of a sample */
  inputs: number;
  /** channels of a sample's output */
  outputs: number;
  kernel: number;
  /** 1 by default */
  stride?: number;
  /** zeros on each side, 0 by default; [before, after]; or `same`: as many as give ⌈length ÷ stride⌉ outputs */
  padding?: Side | "same";
  /** 1 by default */
  dilation?: number;
  /** a divisor of both channel counts: outputs of a group see the inputs of that group only; 1 by default */
  groups?: number;
  /** whether the layer has a bias (true by default), or the bias' start values, one an output channel */
  bias?: boolean | Float32Array;
  /** start values, outputs×(inputs/groups)×kernel; random ones by default */
  weight?: Float32Array | undefined;
  /** applied in the same kernel as the convolution */
  activation?: Activation;
  /** as in `LinearOptions`, where (inputs/groups)·kernel stands for the inputs */
  start?: "uniform" | "he" | NormalStart;
}

const conv1dRules: OptionRules<Conv1dOptions> = {
  ...groupedRules,
  kernel: required(optionRules.positive),
  stride: optionRules.positive,
  padding: layerRules.padding1d,
  dilation: optionRules.positive,
};

/**
 * Convolution of samples channels×length with a weight outputs×(inputs/groups)×kernel, then bias and activation, in PyTorch's
 * layout: a convolution of images of height 1.
 *
 * @throws TenfoldError where an option is none or unfit, ShapeError where `groups` does not divide the channels
 */
export class Conv1d extends ConvolutionLayer {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: Side | "same";
  readonly dilation: number;

  constructor(options: Conv1dOptions) {
    checkOptions("Conv1d", options, conv1dRules);
    super("Conv1d", options, [options.kernel]);
    this.kernel = options.kernel;
    this.stride = options.stride ?? 1;
    this.padding = options.padding ?? 0;
    this.dilation = options.dilation ?? 1;
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== 2 || input[0] !== this.inputs)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)}, expected ${this.inputs}×length`);
    const { kernel, stride, padding, dilation } = this;
    const length = outputExtent(input[1]!, kernel, stride, padding, dilation);
    if (!(length >= 1))
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)} with padding ${formatPadding(padding === "same" ? padding : [padding])} are shorter than the kernel's reach, ${dilation * (kernel - 1) + 1}; take a smaller kernel or dilation, or padding "same"`,
      );
    return [this.outputs, length];
  }

  /** The layer as a convolution of images of height 1. */
  get #flat() {
    const { stride, padding, dilation, groups } = this;
    return {
      stride: [1, stride],
      padding: padding === "same" ? padding : ([0, padding] as const),
      dilation: [1, dilation],
      groups,
    } as const;
  }

  /** The weight as that of images of height 1. */
  #kernelOf(weight: Tensor): Tensor {
    const [outputs, inputs, kernel] = this.weight.shape as [number, number, number];
    return weight.reshape([outputs, inputs, 1, kernel]);
  }

  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    const sample = this.outputShape(x.shape.slice(1));
    const [batch, channels, length] = x.shape as [number, number, number];
    const image = x.reshape([batch, channels, 1, length]);
    const y = this.activated(s, image, pass, (activation) =>
      conv2d(s, image, this.#kernelOf(this.weight.value), { ...this.#flat, bias: this.bias?.value, activation }),
    );
    return y.reshape([batch, ...sample]);
  }

  backward(s: Scheduler, dy: Tensor, wanted: BackwardOptions): Tensor | null {
    const [batch, channels, length] = dy.shape as [number, number, number];
    const dyImage = dy.reshape([batch, channels, 1, length]);
    const kernel = [1, this.kernel] as const;
    const sizeOfImage = (x: Tensor) => x.shape.slice(2) as [number, number];
    const dx = this.gradients(
      s,
      dyImage,
      wanted,
      (dz, x) => conv2dWeightGradient(s, x, dz, { ...this.#flat, kernel, out: this.#kernelOf(this.weight.gradient) }),
      (dz, x) =>
        conv2dInputGradient(s, dz, this.#kernelOf(this.weight.value), { ...this.#flat, inputSize: sizeOfImage(x) }),
    );
    return dx?.reshape([batch, this.inputs, -1]) ?? null;
  }
}

export const conv1dKind = /* @__PURE__ */ layerKind(
  "conv1d",
  Conv1d,
  ({ inputs, outputs, kernel, stride, padding, dilation, groups, bias, activation }) => ({
    ...{ inputs, outputs, kernel, stride, dilation, groups, bias: bias !== null, activation },
    padding: padding === "same" ? padding : [padding],
  }),
  (f) => {
    const padding = f.padding1d();
    return new Conv1d({
      inputs: f.count("inputs"),
      outputs: f.count("outputs"),
      kernel: f.count("kernel"),
      stride: f.count("stride"),
      padding: padding === "same" ? padding : padding[0],
      dilation: f.count("dilation"),
      groups: f.count("groups"),
      ...f.output(),
    });
  },
);
