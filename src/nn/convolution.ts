import {
  checkOption,
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
  averagePool2d,
  averagePool2dGradient,
  batchNorm,
  batchNormGradient,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  conv3d,
  conv3dInputGradient,
  conv3dSize,
  conv3dWeightGradient,
  formatPadding,
  maxPool2d,
  maxPool2dGradient,
  outputExtent,
  type Padding,
  type Pair,
  paddingsOf,
  pair,
  poolGeometry,
  type Side,
  type Triple,
  triple,
} from "../ops/index.js";
import { ConvolutionLayer, convolutionRules, groupedRules } from "./convolutionLayer.js";
import { type BackwardOptions, type Counts, type Layer, Parameter, type Pass } from "./layer.js";
import { type Fields, layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";
import type { NormalStart } from "./startValues.js";

export interface Conv2dOptions {
  /** channels of a sample */
  inputs: number;
  /** channels of a sample's output */
  outputs: number;
  /** one extent, or [height, width] */
  kernel: Pair;
  stride?: Pair | undefined;
  /** zeros on each side, 0 by default; for each direction a number or [before, after]; or `same`: as many as give ⌈extent ÷ stride⌉ outputs */
  padding?: Padding | undefined;
  dilation?: Pair | undefined;
  /** a divisor of both channel counts: outputs of a group see the inputs of that group only; 1 by default */
  groups?: number | undefined;
  /** whether the layer has a bias (true by default), or the bias' start values, one an output channel */
  bias?: boolean | Float32Array;
  /** start values, outputs×(inputs/groups)×height×width; random ones by default */
  weight?: Float32Array | undefined;
  /** applied in the same kernel as the convolution */
  activation?: Activation;
  /** as in `LinearOptions`, where (inputs/groups)·height·width stands for the inputs */
  start?: "uniform" | "he" | NormalStart;
}

const conv2dRules: OptionRules<Conv2dOptions> = {
  ...groupedRules,
  kernel: required(layerRules.pair),
  stride: layerRules.pair,
  padding: layerRules.padding2d,
  dilation: layerRules.pair,
};

/** The padding of images in full. */
const bothSides = (padding: Padding | undefined): readonly [Side, Side] | "same" =>
  padding === "same" ? padding : (paddingsOf(padding, 2) as unknown as readonly [Side, Side]);

/**
 * Convolution of samples channels×height×width with a weight outputs×(inputs/groups)×height×width, then bias and activation.
 * Both layouts (NCHW, OIHW) are those of PyTorch and of safetensors files.
 *
 * @throws TenfoldError where an option is none or unfit, ShapeError where `groups` does not divide the channels
 */
export class Conv2d extends ConvolutionLayer {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [Side, Side] | "same";
  readonly dilation: readonly [number, number];

  constructor(options: Conv2dOptions) {
    checkOptions("Conv2d", options, conv2dRules);
    const kernel = pair(options.kernel, 1);
    super("Conv2d", options, kernel);
    this.kernel = kernel;
    this.stride = pair(options.stride, 1);
    this.padding = bothSides(options.padding);
    this.dilation = pair(options.dilation, 1);
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== 3 || input[0] !== this.inputs)
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)}, expected ${this.inputs}×height×width`,
      );
    const { kernel, stride, padding, dilation } = this;
    const size = [0, 1].map((at) =>
      outputExtent(
        input[at + 1]!,
        kernel[at]!,
        stride[at]!,
        padding === "same" ? padding : padding[at]!,
        dilation[at]!,
      ),
    );
    if (!size.every((extent) => extent >= 1)) {
      const reach = kernel.map((extent, at) => dilation[at]! * (extent - 1) + 1);
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)} with padding ${formatPadding(padding)} are smaller than the kernel's reach, ${formatShape(reach)}; take a smaller kernel or dilation, or padding "same"`,
      );
    }
    return [this.outputs, ...size];
  }

  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    const { stride, padding, dilation, groups } = this;
    const options = { stride, padding, dilation, groups, bias: this.bias?.value };
    return this.activated(s, x, pass, (activation) => conv2d(s, x, this.weight.value, { ...options, activation }));
  }

  backward(s: Scheduler, dy: Tensor, wanted: BackwardOptions): Tensor | null {
    const { stride, padding, dilation, groups, kernel, weight } = this;
    const options = { stride, padding, dilation, groups };
    const sizeOfImage = (x: Tensor) => x.shape.slice(2) as [number, number];
    return this.gradients(
      s,
      dy,
      wanted,
      (dz, x) => conv2dWeightGradient(s, x, dz, { ...options, kernel, out: weight.gradient }),
      (dz, x) => conv2dInputGradient(s, dz, weight.value, { ...options, inputSize: sizeOfImage(x) }),
    );
  }
}

/** The options of a convolution of images, from a file. For kinds. */
export const imageOptions = (f: Fields) => ({
  inputs: f.count("inputs"),
  outputs: f.count("outputs"),
  kernel: f.pair("kernel"),
  stride: f.pair("stride"),
  padding: f.padding2d(),
  dilation: f.pair("dilation"),
  ...f.output(),
});

export const conv2dKind = /* @__PURE__ */ layerKind(
  "conv2d",
  Conv2d,
  ({ inputs, outputs, kernel, stride, padding, dilation, groups, bias, activation }) => ({
    ...{ inputs, outputs, kernel, stride, padding, dilation, groups, bias: bias !== null, activation },
  }),
  (f) => new Conv2d({ ...imageOptions(f), groups: f.count("groups") }),
);

export interface Pool2dOptions {
  /** the kernel's extents by default, so that windows lie side by side */
  stride?: Pair | undefined;
  /**
   * elements added on each side, at most half a window, 0 by default; or `same`: as many as give ⌈extent ÷ stride⌉ windows.
   * In a mean they count as zeros; the largest element is never one of them
   */
  padding?: Padding | undefined;
}

const pool2dRules: OptionRules<Pool2dOptions> = { stride: layerRules.pair, padding: layerRules.padding2d };

/** Checks, shapes and counts of max and average pooling. */
abstract class Pool2d implements Layer {
  readonly name: string;
  readonly parameters = [];
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [Side, Side] | "same";
  protected input: Tensor | null = null;

  constructor(kind: string, kernel: Pair, options: Pool2dOptions) {
    checkOption(kind, "kernel", kernel, layerRules.pair);
    checkOptions(kind, options, pool2dRules);
    const { stride, padding } = options;
    this.kernel = pair(kernel, 1);
    this.name = `${kind} ${formatShape(this.kernel)}`;
    this.stride = pair(stride ?? kernel, 1);
    this.padding = bothSides(padding);
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== 3)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)}, expected channels×height×width`);
    const { out_height, out_width } = poolGeometry(this.name, input, this);
    return [input[0]!, out_height, out_width];
  }

  abstract forward(s: Scheduler, x: Tensor, pass: Pass): Tensor;
  abstract backward(s: Scheduler, dy: Tensor, options: { inputGradient: boolean }): Tensor | null;

  counts(): Counts {
    return { weights: 0, biases: 0, multiplications: 0 };
  }
}

/** The largest element of every window of every channel. Samples are channels×height×width. */
export class MaxPool2d extends Pool2d {
  constructor(kernel: Pair, options: Pool2dOptions = {}) {
    super("MaxPool2d", kernel, options);
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    if (training) this.input = x;
    return maxPool2d(s, x, this);
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    return inputGradient ? maxPool2dGradient(s, this.input!, dy, this) : null;
  }
}

export const maxPool2dKind = /* @__PURE__ */ layerKind(
  "maxPool2d",
  MaxPool2d,
  ({ kernel, stride, padding }) => ({ kernel, stride, padding }),
  (f) => new MaxPool2d(f.pair("kernel"), { stride: f.pair("stride"), padding: f.padding2d() }),
);

/** The mean of every window of every channel; the zeros of the padding count. Samples are channels×height×width. */
export class AveragePool2d extends Pool2d {
  constructor(kernel: Pair, options: Pool2dOptions = {}) {
    super("AveragePool2d", kernel, options);
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    if (training) this.input = x;
    return averagePool2d(s, x, this);
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    return inputGradient ? averagePool2dGradient(s, this.input!, dy, this) : null;
  }
}

export const averagePool2dKind = /* @__PURE__ */ layerKind(
  "averagePool2d",
  AveragePool2d,
  ({ kernel, stride, padding }) => ({ kernel, stride, padding }),
  (f) => new AveragePool2d(f.pair("kernel"), { stride: f.pair("stride"), padding: f.padding2d() }),
);

/**
 * Batch normalisation of every channel of samples channels×…, images or vectors (Ioffe & Szegedy 2015). Training normalises
 * by the batch's moments and moves the running moments towards them. Outside training the running moments are used; they
 * are the layer's state.
 */
export class BatchNorm implements Layer {
  readonly name: string;
  readonly weight: Parameter;
  readonly bias: Parameter;
  /** running moments, 2×channels: means and variances */
  readonly running: Parameter;
  readonly momentum: number;
  readonly epsilon: number;
  #input: Tensor | null = null;
  #moments: Tensor | null = null;

  /**
   * @param options.momentum share of the batch's moments in the new running moments, 0.1 by default
   * @param options.epsilon is added to variances, 1e-5 by default
   */
  constructor(
    readonly channels: number,
    options: { momentum?: number; epsilon?: number } = {},
  ) {
    checkOption("BatchNorm", "channels", channels, optionRules.positive);
    checkOptions("BatchNorm", options, { momentum: optionRules.share, epsilon: optionRules.atLeastZero });
    const { momentum = 0.1, epsilon = 1e-5 } = options;
    this.name = `BatchNorm ${channels}`;
    this.momentum = momentum;
    this.epsilon = epsilon;
    this.weight = new Parameter("weight", [channels], new Float32Array(channels).fill(1));
    this.bias = new Parameter("bias", [channels], new Float32Array(channels));
    const start = new Float32Array(2 * channels).fill(1, channels);
    this.running = new Parameter("running", [2, channels], start);
  }

  get parameters(): readonly Parameter[] {
    return [this.weight, this.bias];
  }

  get state(): readonly Parameter[] {
    return [this.running];
  }

  outputShape(input: readonly number[]): number[] {
    if (input[0] !== this.channels)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)}, expected ${this.channels}×…`);
    return [...input];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    const tensors = { weight: this.weight.value, bias: this.bias.value, running: this.running.value };
    const { out, moments } = batchNorm(s, x, tensors, { training, momentum: this.momentum, epsilon: this.epsilon });
    if (training) [this.#input, this.#moments] = [x, moments];
    else s.release(moments);
    return out;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const moments = this.#moments!;
    const out = { weight: this.weight.gradient, bias: this.bias.gradient };
    const dx = batchNormGradient(s, this.#input!, dy, { weight: this.weight.value, moments }, { inputGradient, out });
    s.release(moments);
    return dx;
  }

  /** A weight and a bias a channel, one multiplication an element. */
  counts(input: readonly number[]): Counts {
    const size = this.outputShape(input).reduce((a, b) => a * b, 1);
    return { weights: this.channels, biases: this.channels, multiplications: size };
  }
}

export const batchNormKind = /* @__PURE__ */ layerKind(
  "batchNorm",
  BatchNorm,
  ({ channels, momentum, epsilon }) => ({ channels, momentum, epsilon }),
  (f) => new BatchNorm(f.count("channels"), { momentum: f.share("momentum"), epsilon: f.atLeastZero("epsilon") }),
);

export interface Conv3dOptions {
  /** channels of a sample */
  inputs: number;
  /** channels of a sample's output */
  outputs: number;
  /** one extent, or [depth, height, width] */
  kernel: Triple;
  stride?: Triple | undefined;
  /** zeros on each side, 0 by default; for each direction a number or [before, after]; or `same`: as many as give ⌈extent ÷ stride⌉ outputs */
  padding?: number | readonly [Side, Side, Side] | "same" | undefined;
  dilation?: Triple | undefined;
  /** whether the layer has a bias (true by default), or the bias' start values, one an output channel */
  bias?: boolean | Float32Array;
  /** start values, outputs×inputs×depth×height×width; random ones by default */
  weight?: Float32Array | undefined;
  /** applied in the same kernel as the convolution */
  activation?: Activation;
  /** as in `LinearOptions`, where inputs·depth·height·width stands for the inputs */
  start?: "uniform" | "he" | NormalStart;
}

/** @internal */
export const conv3dRules: OptionRules<Conv3dOptions> = {
  ...convolutionRules,
  kernel: required(layerRules.triple),
  stride: layerRules.triple,
  padding: layerRules.padding3d,
  dilation: layerRules.triple,
};

/**
 * Convolution of samples channels×depth×height×width, videos or volumes, then bias and activation.
 *
 * @throws TenfoldError where an option is none or unfit
 */
export class Conv3d extends ConvolutionLayer {
  readonly kernel: readonly [number, number, number];
  readonly stride: readonly [number, number, number];
  readonly padding: readonly [Side, Side, Side] | "same";
  readonly dilation: readonly [number, number, number];

  constructor(options: Conv3dOptions) {
    checkOptions("Conv3d", options, conv3dRules);
    const kernel = triple(options.kernel, 1);
    super("Conv3d", options, kernel);
    this.kernel = kernel;
    this.stride = triple(options.stride, 1);
    this.padding =
      options.padding === "same" ? "same" : (paddingsOf(options.padding, 3) as unknown as readonly [Side, Side, Side]);
    this.dilation = triple(options.dilation, 1);
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== 4 || input[0] !== this.inputs)
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)}, expected ${this.inputs}×depth×height×width`,
      );
    return [this.outputs, ...conv3dSize(this.name, [1, ...input], this.weight.shape, this)];
  }

  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    const { stride, padding, dilation } = this;
    const options = { stride, padding, dilation, bias: this.bias?.value };
    return this.activated(s, x, pass, (activation) => conv3d(s, x, this.weight.value, { ...options, activation }));
  }

  backward(s: Scheduler, dy: Tensor, wanted: BackwardOptions): Tensor | null {
    const { stride, padding, dilation, kernel, weight } = this;
    const options = { stride, padding, dilation };
    return this.gradients(
      s,
      dy,
      wanted,
      (dz, x) => conv3dWeightGradient(s, x, dz, { ...options, kernel, out: weight.gradient }),
      (dz, x) => conv3dInputGradient(s, dz, weight.value, { ...options, inputShape: x.shape }),
    );
  }
}

/** The options of a convolution of volumes, from a file. For kinds. */
export const volumeOptions = (f: Fields) => ({
  inputs: f.count("inputs"),
  outputs: f.count("outputs"),
  kernel: f.triple("kernel"),
  stride: f.triple("stride"),
  padding: f.padding3d(),
  dilation: f.triple("dilation"),
  ...f.output(),
});

export const conv3dKind = /* @__PURE__ */ layerKind(
  "conv3d",
  Conv3d,
  ({ inputs, outputs, kernel, stride, padding, dilation, bias, activation }) => ({
    ...{ inputs, outputs, kernel, stride, padding, dilation, bias: bias !== null, activation },
  }),
  (f) => new Conv3d(volumeOptions(f)),
);
