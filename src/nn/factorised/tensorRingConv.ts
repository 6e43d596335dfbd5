import { checkOptions, type Engine, type OptionRules, type Scheduler, type Tensor } from "../../gpu/index.js";
import {
  type Activation,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  matmul,
  permute,
} from "../../ops/index.js";
import { Activated } from "../activated.js";
import { Conv2d, imageOptions } from "../convolution.js";
import { convolutionBiasGradient } from "../convolutionLayer.js";
import { type Counts, type Layer, Parameter, type Pass } from "../layer.js";
import { layerKind } from "../layerKind.js";
import { assertEngine, layerRules } from "../layerRules.js";
import { uniformValues } from "../startValues.js";
import { asTrainCores, type Merged, mergeBackward, mergeCores, mergeValues, ringCores, ringRanks } from "./cores.js";
import { type ConvolutionShape, type ConvolutionSource, chainRules, convolutionWeights } from "./factorisedConv.js";
import { matrixProduct, permuteValues } from "./hostMatrices.js";
import { fitRing, ringFitRules } from "./ringFit.js";
import { assertModes, biasBoundOf, coreRules, type FactorisedOptions, modesOptions, product } from "./source.js";

export interface TensorRingConvOptions extends ConvolutionShape, FactorisedOptions {
  /** modes of the input channels; they multiply to `inputs` */
  inputModes: readonly number[];
  /** modes of the output channels; they multiply to `outputs` */
  outputModes: readonly number[];
  /**
   * r_1, r_2, … for the cores of the input modes, the output modes and the kernel's places, or one number for all; core k is
   * r_k×extent×r_{k+1}
   */
  ranks: number | readonly number[];
  /** start values of every core; random ones by default */
  cores?: readonly Float32Array[];
}

const { weights: _, ...shapeRules } = chainRules;
const ringConvRules: OptionRules<TensorRingConvOptions> = {
  ...shapeRules,
  ...coreRules,
};

/**
 * A convolution whose kernel is a tensor ring (Wang, Sun, Eriksson, Wang & Aggarwal 2018). Its modes are those of the input
 * channels, those of the output channels, and one mode for the D·D places of the kernel. Every batch puts the kernel together
 * from the cores and convolves with it: there are fewer weights than in the kernel, but no fewer multiplications.
 *
 * @throws TenfoldError where an option is unfit, ShapeError where modes, ranks or cores do not fit
 */
export class TensorRingConv implements Layer {
  readonly method = "tensorRing";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  /** r_1, r_2, … in the order of the cores */
  readonly ranks: readonly number[];
  readonly factors: readonly Parameter[];
  readonly bias: Parameter | null;
  readonly activation: Activation;
  readonly #activated: Activated;
  /** a convolution of the same shape, for checks of samples and for counts; its weight is not used */
  readonly convolution: Conv2d;
  /** tensors of the training pass recorded last, for its backward pass; names as in {@link forward} */
  #recorded: {
    x: Tensor;
    weight: Tensor;
    chain: Tensor;
    closing: Tensor;
    merged: Merged;
    cores: Tensor[];
  } | null = null;

  constructor(options: TensorRingConvOptions) {
    checkOptions("TensorRingConv", options, ringConvRules);
    const { inputModes, outputModes, ranks, cores, ...rest } = options;
    const { bias = true, activation = "none", start = "uniform", ...shape } = rest;
    assertModes("TensorRingConv: inputs", inputModes, shape.inputs);
    assertModes("TensorRingConv: outputs", outputModes, shape.outputs);
    this.convolution = new Conv2d({ ...shape, bias: Boolean(bias) });
    const [height, width] = this.convolution.kernel;
    const extents = [...inputModes, ...outputModes, height * width];
    const d = extents.length;
    const r = ringRanks("TensorRingConv", ranks, d);
    this.inputModes = inputModes;
    this.outputModes = outputModes;
    this.ranks = r;
    this.activation = activation;
    this.#activated = new Activated(activation);
    this.name = `Tensor ring ${this.convolution.name} (${r.join(", ")})`;
    // an output sums over the input modes and the places, not over the output modes
    const isSummed = (k: number) => k < inputModes.length || k === d - 1;
    this.factors = ringCores(this.name, extents, r, { cores, start }, isSummed);
    const random = uniformValues(biasBoundOf(start, shape.inputs * height * width));
    this.bias = bias ? new Parameter("bias", [shape.outputs], bias === true ? random : bias) : null;
  }

  get parameters(): readonly Parameter[] {
    return this.bias ? [...this.factors, this.bias] : this.factors;
  }

  outputShape(input: readonly number[]): number[] {
    return this.convolution.outputShape(input);
  }

  get #extents(): [inputs: number, outputs: number, places: number] {
    const { inputs, outputs, kernel } = this.convolution;
    return [inputs, outputs, kernel[0] * kernel[1]];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    const [inputs, outputs, places] = this.#extents;
    const cores = asTrainCores(this.factors.slice(0, -1));
    const merged = mergeCores(s, cores, training);
    const [first, , , last] = merged.full.shape as [number, number, number, number];
    // the merged cores r_1×(S·T)×r_d as (S·T)×(r_1·r_d), and the last core, which closes the ring, as (r_1·r_d)×D²
    const chain = permute(s, merged.full.reshape([first, inputs * outputs, last]), [1, 0, 2]);
    s.release(merged.full);
    const closing = permute(s, this.factors.at(-1)!.value, [2, 0, 1]);
    const kernelMatrix = matmul(s, chain.reshape([-1, first * last]), closing.reshape([first * last, places]));
    const weight = permute(s, kernelMatrix.reshape([inputs, outputs, places]), [1, 0, 2]);
    s.release(kernelMatrix);
    const { stride, padding, dilation, kernel } = this.convolution;
    const dense = weight.reshape([outputs, inputs, ...kernel]);
    const options = { stride, padding, dilation, bias: this.bias?.value };
    const y = this.#activated.forward(s, training, (activation) => conv2d(s, x, dense, { ...options, activation }));
    if (training) this.#recorded = { x, weight, chain, closing, merged, cores };
    else s.release(weight, chain, closing);
    return y;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const { x, weight, chain, closing, merged, cores } = this.#recorded!;
    this.#recorded = null;
    const [inputs, outputs, places] = this.#extents;
    const { stride, padding, dilation, kernel } = this.convolution;
    const options = { stride, padding, dilation };
    const [dx, dWeight] = this.#activated.backward(s, dy, (dz) => {
      if (this.bias) convolutionBiasGradient(s, dz, this.bias.gradient);
      const dense = weight.reshape([outputs, inputs, ...kernel]);
      const inputSize = x.shape.slice(2) as [number, number];
      return [
        inputGradient ? conv2dInputGradient(s, dz, dense, { ...options, inputSize }) : null,
        conv2dWeightGradient(s, x, dz, { ...options, kernel }),
      ] as const;
    });
    const dProduct = permute(s, dWeight.reshape([outputs, inputs, places]), [1, 0, 2]);
    s.release(dWeight, weight);
    const flat = dProduct.reshape([inputs * outputs, places]);
    const last = this.factors.at(-1)!;
    const [rank, , first] = last.value.shape as [number, number, number];
    const dClosing = matmul(s, chain.reshape([-1, first * rank]), flat, { transposeA: true });
    permute(s, dClosing.reshape([first, rank, places]), [1, 2, 0], { out: last.gradient });
    const dChain = matmul(s, flat, closing.reshape([first * rank, places]), { transposeB: true });
    s.release(dProduct, dClosing, chain, closing);
    const dFull = permute(s, dChain.reshape([inputs * outputs, first, rank]), [1, 0, 2]);
    s.release(dChain);
    const gradients = cores.map((core, k) => this.factors[k]!.gradient.reshape(core.shape));
    mergeBackward(s, cores, gradients, merged, dFull.reshape([first, inputs * outputs, 1, rank]));
    return dx;
  }

  /** Weights: the numbers of all cores. Multiplications: those of the convolution, without putting the kernel together. */
  counts(input: readonly number[]): Counts {
    const { multiplications } = this.convolution.counts(input);
    const weights = this.factors.reduce((total, { shape }) => total + product(shape), 0);
    return { weights, biases: this.bias ? this.convolution.outputs : 0, multiplications };
  }

  /** The dense kernel that the ring stands for, outputs×inputs×height×width. */
  async toDense(): Promise<Float32Array> {
    const [inputs, outputs, places] = this.#extents;
    const cores = await Promise.all(this.factors.map((factor) => factor.read()));
    const shapes = this.factors.map(({ shape: [left, extent, right] }) => [left!, extent!, 1, right!]);
    const open = mergeValues(cores.slice(0, -1), shapes.slice(0, -1));
    const [rank, , , first] = shapes.at(-1) as [number, number, number, number];
    const chain = permuteValues(open, [first, inputs * outputs, rank], [1, 0, 2]);
    const closing = permuteValues(cores.at(-1)!, [rank, places, first], [2, 0, 1]);
    const kernelMatrix = matrixProduct(chain, closing, inputs * outputs, first * rank, places);
    return Float32Array.from(permuteValues(kernelMatrix, [inputs, outputs, places], [1, 0, 2]));
  }

  /** A `Conv2d` with the same outputs, whose kernel is put together once instead of for every batch. */
  async toConv2d(): Promise<Conv2d> {
    const { inputs, outputs, kernel, stride, padding, dilation } = this.convolution;
    return new Conv2d({
      ...{ inputs, outputs, kernel, stride, padding, dilation },
      weight: await this.toDense(),
      bias: (await this.bias?.read()) ?? false,
      activation: this.activation,
    });
  }
}

export const tensorRingConvKind = /* @__PURE__ */ layerKind(
  "tensorRingConv",
  TensorRingConv,
  ({ convolution: { inputs, outputs, kernel, stride, padding, dilation }, ...layer }) => ({
    ...{ inputs, outputs, kernel, stride, padding, dilation },
    ...{ inputModes: layer.inputModes, outputModes: layer.outputModes, ranks: layer.ranks },
    ...{ bias: layer.bias !== null, activation: layer.activation },
  }),
  (f) => new TensorRingConv({ ...imageOptions(f), ...modesOptions(f) }),
);

export interface TensorRingConvFit {
  /** [inputs] by default */
  inputModes?: readonly number[];
  /** [outputs] by default */
  outputModes?: readonly number[];
  /** ranks of the cores, or one number for all: the fit is TR-SVD, then alternating least squares from its result */
  ranks?: number | readonly number[];
  /** in place of `ranks`: relative error of the kernel, ‖W − Ŵ‖ ÷ ‖W‖, up to which TR-SVD chooses the ranks */
  relativeError?: number;
  /** most sweeps of alternating least squares, 30 by default; 0 for TR-SVD alone */
  sweeps?: number;
  /** seed of the SVDs' starts, 0 by default */
  seed?: number;
}

const ringConvFitRules: OptionRules<TensorRingConvFit> = {
  inputModes: layerRules.modes,
  outputModes: layerRules.modes,
  ...ringFitRules,
};

/**
 * A trained convolution as a tensor ring, fitted to its kernel.
 *
 * @throws TenfoldError where an argument is unfit, ShapeError where the convolution has groups or the modes do not fit it
 */
export async function tensorRingConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: TensorRingConvFit,
): Promise<TensorRingConv> {
  assertEngine("tensorRingConv", engine);
  checkOptions("tensorRingConv", fit, ringConvFitRules);
  const { weight, extents, options } = await convolutionWeights(source);
  const [outputs, inputs, height, width] = extents;
  const { inputModes = [inputs], outputModes = [outputs] } = fit;
  assertModes("tensorRingConv: inputs", inputModes, inputs);
  assertModes("tensorRingConv: outputs", outputModes, outputs);
  const places = height * width;
  using x = engine.tensor(
    [...inputModes, ...outputModes, places],
    permuteValues(weight, [outputs, inputs, places], [1, 0, 2]),
  );
  const { ranks, cores } = await fitRing(engine, x, fit);
  return new TensorRingConv({ ...options, inputModes, outputModes, ranks, cores });
}
