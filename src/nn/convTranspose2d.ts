import {
  checkOptions,
  formatShape,
  type OptionRules,
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
  type Pair,
  paddingsOf,
  pair,
  type Side,
} from "../ops/index.js";
import { Activated } from "./activated.js";
import { convolutionBiasGradient, groupedName, groupedRules } from "./convolution.js";
import { type Counts, type Layer, Parameter, type Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";
import { type NormalStart, startRecorders } from "./startValues.js";

export interface ConvTranspose2dOptions {
  /** channels of a sample */
  inputs: number;
  /** channels of a sample's output */
  outputs: number;
  /** one extent, or [height, width] */
  kernel: Pair;
  /** 1 by default */
  stride?: Pair;
  /** rows and columns that are cut off each side of the output, 0 by default; for each direction a number or [before, after] */
  padding?: number | readonly [vertical: Side, horizontal: Side];
  /** rows and columns that are added after the output, less than the stride; 0 by default */
  outputPadding?: Pair;
  /** 1 by default */
  dilation?: Pair;
  /** a divisor of both channel counts: outputs of a group see the inputs of that group only; 1 by default */
  groups?: number;
  /** whether the layer has a bias (true by default), or the bias' start values, one an output channel */
  bias?: boolean | Float32Array;
  /** start values, inputs×(outputs/groups)×height×width; random ones by default */
  weight?: Float32Array | undefined;
  /** applied in the same kernel as the convolution */
  activation?: Activation;
  /** as in `LinearOptions`, where (outputs/groups)·height·width stands for the inputs, as in PyTorch */
  start?: "uniform" | "he" | NormalStart;
}

const transposeRules: OptionRules<ConvTranspose2dOptions> = {
  ...groupedRules,
  kernel: required(layerRules.pair),
  stride: layerRules.pair,
  padding: layerRules.cuts2d,
  outputPadding: layerRules.pairFromZero,
  dilation: layerRules.pair,
};

/**
 * Transposed convolution, which enlarges samples channels×height×width: the adjoint of the convolution with the same weight,
 * inputs×(outputs/groups)×height×width in PyTorch's layout; then bias and activation. An output has the extent
 * (extent − 1)·stride + dilation·(kernel − 1) + 1 + outputPadding − padding on both sides.
 *
 * @throws TenfoldError where an option is none or unfit, ShapeError where `groups` does not divide the channels
 */
export class ConvTranspose2d implements Layer {
  readonly name: string;
  readonly inputs: number;
  readonly outputs: number;
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [Side, Side];
  readonly outputPadding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly activation: Activation;
  readonly #activated: Activated;
  #input: Tensor | null = null;

  constructor(options: ConvTranspose2dOptions) {
    checkOptions("ConvTranspose2d", options, transposeRules);
    const { inputs, outputs, groups = 1, bias = true, activation = "none", start = "uniform", weight } = options;
    this.inputs = inputs;
    this.outputs = outputs;
    this.groups = groups;
    this.kernel = pair(options.kernel, 1);
    this.stride = pair(options.stride, 1);
    this.padding = paddingsOf(options.padding, 2) as unknown as readonly [Side, Side];
    this.outputPadding = pair(options.outputPadding, 0);
    this.dilation = pair(options.dilation, 1);
    this.activation = activation;
    this.#activated = new Activated(activation);
    this.name = groupedName("ConvTranspose2d", this, this.kernel);
    if (this.outputPadding.some((extent, at) => extent >= this.stride[at]!))
      throw new ShapeError(
        `${this.name}: output padding ${formatShape(this.outputPadding)}, needs less than the stride, ${formatShape(this.stride)}`,
      );
    const random = startRecorders((outputs / groups) * this.kernel[0] * this.kernel[1], start);
    this.weight = new Parameter("weight", [inputs, outputs / groups, ...this.kernel], weight ?? random.weight);
    this.bias = bias ? new Parameter("bias", [outputs], bias === true ? random.bias : bias) : null;
  }

  get parameters(): readonly Parameter[] {
    return this.bias ? [this.weight, this.bias] : [this.weight];
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== 3 || input[0] !== this.inputs)
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)}, expected ${this.inputs}×height×width`,
      );
    const size = [0, 1].map((at) => {
      const cut = this.padding[at]!;
      const cuts = typeof cut === "number" ? 2 * cut : cut[0] + cut[1];
      const reach = this.dilation[at]! * (this.kernel[at]! - 1) + 1;
      return (input[at + 1]! - 1) * this.stride[at]! + reach + this.outputPadding[at]! - cuts;
    });
    if (!size.every((extent) => extent >= 1))
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)} would become ${formatShape(size)}; take less padding`,
      );
    return [this.outputs, ...size];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    const [, ...size] = this.outputShape(x.shape.slice(1)) as [number, number, number];
    const { stride, padding, dilation, groups } = this;
    const options = { stride, padding, dilation, groups, inputSize: size, bias: this.bias?.value };
    if (training) this.#input = x;
    return this.#activated.forward(s, training, (activation) =>
      conv2dInputGradient(s, x, this.weight.value, { ...options, activation }),
    );
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const { stride, padding, dilation, groups, kernel } = this;
    const options = { stride, padding, dilation, groups };
    const x = this.#input!;
    return this.#activated.backward(s, dy, (dz) => {
      conv2dWeightGradient(s, dz, x, { ...options, kernel, out: this.weight.gradient });
      if (this.bias) convolutionBiasGradient(s, dz, this.bias.gradient);
      return inputGradient ? conv2d(s, dz, this.weight.value, options) : null;
    });
  }

  /** S·T·KH·KW/groups weights, and as many multiplications for every position of the input. */
  counts(input: readonly number[]): Counts {
    this.outputShape(input);
    const weights = this.weight.shape.reduce((a, b) => a * b, 1);
    const multiplications = weights * input[1]! * input[2]!;
    return { weights, biases: this.bias ? this.outputs : 0, multiplications };
  }
}

export const convTranspose2dKind = /* @__PURE__ */ layerKind(
  "convTranspose2d",
  ConvTranspose2d,
  ({ inputs, outputs, kernel, stride, padding, outputPadding, dilation, groups, bias, activation }) => ({
    ...{ inputs, outputs, kernel, stride, padding, outputPadding, dilation, groups, bias: bias !== null, activation },
  }),
  (f) =>
    new ConvTranspose2d({
      inputs: f.count("inputs"),
      outputs: f.count("outputs"),
      kernel: f.pair("kernel"),
      stride: f.pair("stride"),
      padding: f.padding2d() as [Side, Side],
      outputPadding: f.counts("outputPadding", 0) as [number, number],
      dilation: f.pair("dilation"),
      groups: f.count("groups"),
      ...f.output(),
    }),
);
