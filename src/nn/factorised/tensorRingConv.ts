import { tensorRingALS, tensorRingSVD } from "../../decompositions/index.js";
import {
  checkOptions,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../../gpu/index.js";
import {
  type Activation,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  fill,
  matmul,
  normal,
  permute,
  reluBackward,
  sum,
  uniform,
} from "../../ops/index.js";
import { Conv2d } from "../convolution.js";
import { type Counts, type Layer, Parameter, type Pass } from "../layer.js";
import { assertEngine, layerRules } from "../layerRules.js";
import { type ConvolutionShape, type ConvolutionSource, chainRules, convolutionWeights } from "./factorisedConv.js";
import { multiply, permuteValues } from "./hostMatrices.js";
import { type Merged, mergeBackward, mergeCores, mergeValues } from "./merge.js";
import { assertModes, biasBoundOf, type FactorisedOptions, gainOf } from "./source.js";

export interface TensorRingConvOptions extends ConvolutionShape, FactorisedOptions {
  /** multiplying to the input channels */
  inputModes: readonly number[];
  /** multiplying to the output channels */
  outputModes: readonly number[];
  /** one for every core (inputs, outputs, the kernel's places), core k being r_k×extent×r_{k+1}; or one for all */
  ranks: number | readonly number[];
  /** start values; random ones where they are not given */
  cores?: readonly Float32Array[];
}

const { weights: _, ...shapeRules } = chainRules;
const ringConvRules: OptionRules<TensorRingConvOptions> = {
  ...shapeRules,
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ranks: required(optionRules.ranks),
  cores: layerRules.valueLists,
};

/**
 * A convolution whose kernel is a tensor ring over its input channels, output channels and the D·D places of the kernel as one
 * mode (Wang, Sun, Eriksson, Wang & Aggarwal 2018). The cores are put together once a batch, and the kernel convolves as any
 * other: few weights, no fewer multiplications.
 */
export class TensorRingConv implements Layer {
  readonly method = "tensorRing";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  /** r_1, …, in the order of the cores */
  readonly ranks: readonly number[];
  readonly factors: readonly Parameter[];
  readonly bias: Parameter | null;
  readonly activation: Activation;
  /** shape, checks and counts of the convolution that it is */
  readonly convolution: Conv2d;
  #kept: {
    x: Tensor;
    y: Tensor;
    weight: Tensor;
    chain: Tensor;
    places: Tensor;
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
    const own = typeof ranks === "number" ? new Array<number>(d).fill(ranks) : ranks;
    if (own.length !== d || own.some((rank) => !(Number.isInteger(rank) && rank >= 1)))
      throw new ShapeError(`TensorRingConv: ranks ${own.join(", ")}, needs ${d} positive whole numbers`);
    this.inputModes = inputModes;
    this.outputModes = outputModes;
    this.ranks = own;
    this.activation = activation;
    this.name = `Tensor ring ${this.convolution.name} (${own.join(", ")})`;
    this.factors = extents.map((extent, k) => {
      const size = [own[k]!, extent, own[(k + 1) % d]!];
      const count = size.reduce((a, b) => a * b, 1);
      if (cores && cores[k]?.length !== count)
        throw new ShapeError(`${this.name}: core ${k} has ${cores[k]?.length} numbers, needs ${formatShape(size)}`);
      const summed = k < inputModes.length || k === d - 1;
      const deviation = Math.sqrt((k === d - 1 ? gainOf(start) : 1) / (own[k]! * (summed ? extent : 1)));
      const initialize = (s: Scheduler, out: Tensor, seed: number) =>
        void normal(s, out.shape, { seed, deviation, out });
      return new Parameter(`core${k}`, size, cores?.[k] ?? initialize);
    });
    const bound = biasBoundOf(start, shape.inputs * height * width);
    const initialize = (s: Scheduler, out: Tensor, seed: number): void => {
      if (bound) uniform(s, out.shape, { seed, low: -bound, high: bound, out });
      else fill(s, out, 0);
    };
    this.bias = bias ? new Parameter("bias", [shape.outputs], bias === true ? initialize : bias) : null;
  }

  get parameters(): readonly Parameter[] {
    return this.bias ? [...this.factors, this.bias] : this.factors;
  }

  outputShape(input: readonly number[]): number[] {
    return this.convolution.outputShape(input);
  }

  get #channels(): [inputs: number, outputs: number, places: number] {
    const { inputs, outputs, kernel } = this.convolution;
    return [inputs, outputs, kernel[0] * kernel[1]];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    const [inputs, outputs, places] = this.#channels;
    const cores = this.factors.slice(0, -1).map(({ value }) => {
      const [left, extent, right] = value.shape as [number, number, number];
      return value.reshape([left, extent, 1, right]);
    });
    const merged = mergeCores(s, cores, training);
    const [first, , , last] = merged.full.shape as [number, number, number, number];
    // the open chain r_1×(S·T)×r_d as (S·T)×(r_1·r_d), and what closes it as (r_1·r_d)×D²
    const chain = permute(s, merged.full.reshape([first, inputs * outputs, last]), [1, 0, 2]);
    s.release(merged.full);
    const closing = permute(s, this.factors.at(-1)!.value, [2, 0, 1]);
    const product = matmul(s, chain.reshape([-1, first * last]), closing.reshape([first * last, places]));
    const weight = permute(s, product.reshape([inputs, outputs, places]), [1, 0, 2]);
    s.release(product);
    const { stride, padding, dilation, kernel } = this.convolution;
    const y = conv2d(s, x, weight.reshape([outputs, inputs, ...kernel]), {
      stride,
      padding,
      dilation,
      activation: this.activation,
      bias: this.bias?.value,
    });
    if (training) this.#kept = { x, y, weight, chain, places: closing, merged, cores };
    else s.release(weight, chain, closing);
    return y;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const { x, y, weight, chain, places: closing, merged, cores } = this.#kept!;
    this.#kept = null;
    const [inputs, outputs, places] = this.#channels;
    const { stride, padding, dilation, kernel } = this.convolution;
    const options = { stride, padding, dilation };
    const before = this.activation === "relu" ? reluBackward(s, y, dy) : dy;
    if (this.bias) {
      const planes = sum(s, before.reshape([x.shape[0]! * outputs, -1]), { axis: 1 });
      sum(s, planes.reshape([x.shape[0]!, outputs]), { axis: 0, out: this.bias.gradient });
      s.release(planes);
    }
    const dense = weight.reshape([outputs, inputs, ...kernel]);
    const inputSize = x.shape.slice(2) as [number, number];
    const dx = inputGradient ? conv2dInputGradient(s, before, dense, { ...options, inputSize }) : null;
    const dWeight = conv2dWeightGradient(s, x, before, { ...options, kernel });
    if (before !== dy) s.release(before);
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

  /** Numbers of all cores; multiplications of the convolution that they are put together to. */
  counts(input: readonly number[]): Counts {
    const { multiplications } = this.convolution.counts(input);
    const weights = this.factors.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0);
    return { weights, biases: this.bias ? this.convolution.outputs : 0, multiplications };
  }

  /** The dense kernel that it stands for, outputs×inputs×height×width. */
  async toDense(): Promise<Float32Array> {
    const [inputs, outputs, places] = this.#channels;
    const cores = await Promise.all(this.factors.map((factor) => factor.read()));
    const shapes = this.factors.map(({ shape: [left, extent, right] }) => [left!, extent!, 1, right!]);
    const open = mergeValues(cores.slice(0, -1), shapes.slice(0, -1));
    const [rank, , , first] = shapes.at(-1) as [number, number, number, number];
    const chain = permuteValues(open, [first, inputs * outputs, rank], [1, 0, 2]);
    const closing = permuteValues(cores.at(-1)!, [rank, places, first], [2, 0, 1]);
    const product = multiply(chain, closing, inputs * outputs, first * rank, places);
    return Float32Array.from(permuteValues(product, [inputs, outputs, places], [1, 0, 2]));
  }

  /** A plain convolution of the same outputs, its kernel put together once and for all instead of for every batch. */
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

export interface TensorRingConvFit {
  /** [inputs] by default */
  inputModes?: readonly number[];
  /** [outputs] by default */
  outputModes?: readonly number[];
  /** found by alternating least squares from the start that TR-SVD gives */
  ranks?: number | readonly number[];
  /** instead of ranks: the kernel's, kept by TR-SVD */
  relativeError?: number;
  /** of the alternating least squares, 30 by default; 0 leaves what TR-SVD gives */
  sweeps?: number;
  seed?: number;
}

const ringConvFitRules: OptionRules<TensorRingConvFit> = {
  inputModes: layerRules.modes,
  outputModes: layerRules.modes,
  ranks: optionRules.ranks,
  relativeError: optionRules.share,
  sweeps: optionRules.count,
  seed: optionRules.count,
};

/** A trained convolution as a tensor ring. */
export async function tensorRingConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: TensorRingConvFit,
): Promise<TensorRingConv> {
  assertEngine("tensorRingConv", engine);
  checkOptions("tensorRingConv", fit, ringConvFitRules);
  const { ranks, relativeError, sweeps = 30, seed = 0, ...modes } = fit;
  const { weight, extents, options } = await convolutionWeights(source);
  const [outputs, inputs, height, width] = extents;
  const { inputModes = [inputs], outputModes = [outputs] } = modes;
  assertModes("tensorRingConv: inputs", inputModes, inputs);
  assertModes("tensorRingConv: outputs", outputModes, outputs);
  const places = height * width;
  using x = engine.tensor(
    [...inputModes, ...outputModes, places],
    permuteValues(weight, [outputs, inputs, places], [1, 0, 2]),
  );
  const { tensor } =
    ranks !== undefined && sweeps > 0
      ? await tensorRingALS(engine, x, { ranks, sweeps, seed, tolerance: 1e-5 })
      : await tensorRingSVD(engine, x, {
          seed,
          ...(ranks !== undefined && { ranks }),
          ...(relativeError !== undefined && { relativeError }),
        });
  const cores = (await engine.read([...tensor.cores])) as Float32Array[];
  const found = tensor.ranks;
  tensor.destroy();
  return new TensorRingConv({ ...options, inputModes, outputModes, ranks: found, cores });
}
