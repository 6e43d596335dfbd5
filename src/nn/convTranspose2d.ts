import {
  checkOptions,
  formatShape,
  type OptionRules,
  required,
  type Scheduler,
  ShapeError,
  sizeOf,
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
import { ConvolutionLayer, groupedRules } from "./convolutionLayer.js";
import type { BackwardOptions, Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";
import type { NormalStart } from "./startValues.js";

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
export class ConvTranspose2d extends ConvolutionLayer {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [Side, Side];
  readonly outputPadding: readonly [number, number];
  readonly dilation: readonly [number, number];

  constructor(options: ConvTranspose2dOptions) {
    checkOptions("ConvTranspose2d", options, transposeRules);
    const kernel = pair(options.kernel, 1);
    super("ConvTranspose2d", options, kernel, { isTransposed: true });
    this.kernel = kernel;
    this.stride = pair(options.stride, 1);
    this.padding = paddingsOf(options.padding, 2) as unknown as readonly [Side, Side];
    this.outputPadding = pair(options.outputPadding, 0);
    this.dilation = pair(options.dilation, 1);
    if (this.outputPadding.some((extent, at) => extent >= this.stride[at]!))
      throw new ShapeError(
        `${this.name}: output padding ${formatShape(this.outputPadding)}, needs less than the stride, ${formatShape(this.stride)}`,
      );
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

  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    const [, ...size] = this.outputShape(x.shape.slice(1)) as [number, number, number];
    const { stride, padding, dilation, groups } = this;
    const options = { stride, padding, dilation, groups, inputSize: size, bias: this.bias?.value };
    return this.activated(s, x, pass, (activation) =>
      conv2dInputGradient(s, x, this.weight.value, { ...options, activation }),
    );
  }

  backward(s: Scheduler, dy: Tensor, wanted: BackwardOptions): Tensor | null {
    const { stride, padding, dilation, groups, kernel, weight } = this;
    const options = { stride, padding, dilation, groups };
    return this.gradients(
      s,
      dy,
      wanted,
      (dz, x) => conv2dWeightGradient(s, dz, x, { ...options, kernel, out: weight.gradient }),
      (dz) => conv2d(s, dz, weight.value, options),
    );
  }

  /** Those of the input. */
  protected override positions(input: readonly number[]): number {
    this.outputShape(input);
    return sizeOf(input.slice(1));
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
