import { blockTermALS, cpALS, cpErrorPreserving, tuckerHOOI } from "../../decompositions/index.js";
import {
  checkOptions,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  shown,
  TenfoldError,
  type Tensor,
} from "../../gpu/index.js";
import { prefersTucker2, tucker2Conv2d } from "../../ops/index.js";
import { Chain } from "../chain.js";
import { Conv2d } from "../convolution.js";
import type { Pass } from "../layer.js";
import { assertEngine, dataRules, layerRules } from "../layerRules.js";
import { channelCp } from "./channelCp.js";
import {
  composeKernels,
  type DenseKernel,
  outputError,
  patchCovariance,
  refitLast,
  termEnergy,
  timesChannels,
  timesChannelsInverse,
} from "./hostKernels.js";
import { choleskyFactor, type Values } from "./hostMatrices.js";
import { biasBoundOf, type FactorisedOptions, gainOf, startOf } from "./source.js";
import { type DataAware, splitMatrix } from "./svdLinear.js";

type Extents = readonly [vertical: number, horizontal: number];

/** What a convolution's numbers mean: NCHW, weight outputs×inputs×height×width. */
export interface ConvolutionShape {
  inputs: number;
  outputs: number;
  kernel: number | Extents;
  stride?: number | Extents;
  padding?: number | Extents | "same";
  dilation?: number | Extents;
}

/** A convolution's numbers, without groups. */
export interface ConvolutionWeights extends ConvolutionShape {
  weight: Float32Array;
  bias?: Float32Array | null;
  activation?: FactorisedOptions["activation"];
}

/** What a convolution is decomposed from: a layer of a network, or its numbers. */
export type ConvolutionSource = Conv2d | ConvolutionWeights;

const both = (value: number | Extents): Extents => (typeof value === "number" ? [value, value] : value);

/** One convolution of a chain. */
interface Part {
  inputs: number;
  outputs: number;
  groups?: number;
  /** which directions of the kernel, stride, padding and dilation are its own */
  takes: "none" | "vertical" | "horizontal" | "both";
}

interface ChainOptions extends ConvolutionShape, FactorisedOptions {
  /** start values of every convolution; random ones where they are not given */
  weights?: readonly Float32Array[] | undefined;
}

/** @internal */
export const chainRules: OptionRules<ChainOptions> = {
  inputs: required(optionRules.positive),
  outputs: required(optionRules.positive),
  kernel: required(layerRules.pair),
  stride: layerRules.pair,
  padding: layerRules.padding2d,
  dilation: layerRules.pair,
  bias: layerRules.bias,
  activation: layerRules.activation,
  start: layerRules.factorStart,
  weights: layerRules.valueLists,
};
const rankRules: OptionRules<RankOptions> = { ...chainRules, rank: required(optionRules.positive) };

/**
 * A convolution as a chain of smaller ones. Stride, padding and dilation belong to one of them, or their vertical and
 * horizontal parts to one each; bias and activation to the last. From scratch every one but the last keeps the variance.
 */
export class FactorisedConv extends Chain {
  readonly shape: Required<ConvolutionShape>;
  readonly convolutions: readonly Conv2d[];

  constructor(
    readonly method: string,
    title: string,
    { weights, bias = true, activation = "none", start = "uniform", ...shape }: ChainOptions,
    parts: readonly Part[],
  ) {
    const { inputs, outputs, kernel, stride = 1, padding = 0, dilation = 1 } = shape;
    const whole = [kernel, stride, padding === "same" ? 0 : padding, dilation].map(both) as [
      Extents,
      Extents,
      Extents,
      Extents,
    ];
    const convolutions = parts.map(({ takes, groups = 1, ...part }, index) => {
      if (!(Number.isInteger(part.inputs) && part.inputs >= 1 && Number.isInteger(part.outputs) && part.outputs >= 1))
        throw new ShapeError(`${method}: ${part.inputs}→${part.outputs} channels, ranks need positive whole numbers`);
      const [vertical, horizontal] = [
        takes === "vertical" || takes === "both",
        takes === "horizontal" || takes === "both",
      ];
      const own = whole.map((pair, which): Extents => {
        const unused = which === 2 ? 0 : 1;
        return [vertical ? pair[0] : unused, horizontal ? pair[1] : unused];
      }) as [Extents, Extents, Extents, Extents];
      const last = index === parts.length - 1;
      const terms = (part.inputs / groups) * own[0][0] * own[0][1];
      const denseTerms = inputs * whole[0][0] * whole[0][1];
      return new Conv2d({
        ...part,
        groups,
        kernel: own[0],
        stride: own[1],
        // a part of one tap and stride 1 has none by that
        padding: padding === "same" ? padding : own[2],
        dilation: own[3],
        bias: last ? bias : false,
        activation: last ? activation : "none",
        weight: weights?.[index],
        start: last ? startOf(terms, gainOf(start), biasBoundOf(start, denseTerms)) : startOf(terms),
      });
    });
    super(`${title} ${inputs}→${outputs} ${formatShape(whole[0])}`, convolutions);
    this.shape = {
      ...{ inputs, outputs, kernel: whole[0], stride: whole[1], dilation: whole[3] },
      padding: padding === "same" ? padding : whole[2],
    };
    this.convolutions = convolutions;
  }

  /** The dense kernel that it stands for, outputs×inputs×height×width. */
  async toDense(): Promise<Float32Array> {
    return Float32Array.from(composeKernels(await this.kernels()).weight);
  }

  /** Every convolution's kernel as it is. */
  async kernels(): Promise<DenseKernel[]> {
    return Promise.all(
      this.convolutions.map(async ({ weight, inputs, outputs, groups }) => ({
        weight: await weight.read(),
        inputs,
        outputs,
        groups,
        size: weight.shape.slice(2) as [number, number],
      })),
    );
  }
}

export interface RankOptions extends ChainOptions {
  rank: number;
}

/**
 * A convolution by separable filters that outputs share (Jaderberg, Vedaldi & Zisserman 2014, scheme 2): D×1, inputs→K,
 * then 1×D, K→outputs. K·D·(S + T) weights. The best one is one SVD (Tai, Xiao, Zhang, Wang & E 2016).
 */
export class SpatialConv extends FactorisedConv {
  readonly rank: number;

  constructor(given: RankOptions) {
    checkOptions("SpatialConv", given, rankRules);
    const { rank, ...options } = given;
    super("jaderberg2", `Spatial (${rank})`, options, [
      { inputs: options.inputs, outputs: rank, takes: "vertical" },
      { inputs: rank, outputs: options.outputs, takes: "horizontal" },
    ]);
    this.rank = rank;
  }
}

/**
 * A convolution by M separable filters for every input channel (Jaderberg, Vedaldi & Zisserman 2014, scheme 1): depthwise D×1
 * and 1×D, then 1×1 from the S·M maps to the outputs. S·M·(2D + T) weights.
 */
export class SeparableBasisConv extends FactorisedConv {
  readonly rank: number;

  constructor(given: RankOptions) {
    checkOptions("SeparableBasisConv", given, rankRules);
    const { rank, ...options } = given;
    const { inputs, outputs } = options;
    super("jaderberg1", `Separable basis (${rank})`, options, [
      { inputs, outputs: inputs * rank, groups: inputs, takes: "vertical" },
      { inputs: inputs * rank, outputs: inputs * rank, groups: inputs * rank, takes: "horizontal" },
      { inputs: inputs * rank, outputs, takes: "none" },
    ]);
    this.rank = rank;
  }
}

/**
 * A convolution whose kernel is a Kruskal tensor (Lebedev, Ganin, Rakhuba, Oseledets & Lempitsky 2015): 1×1 S→R, depthwise D×1,
 * depthwise 1×D, 1×1 R→T. R(S + 2D + T) weights.
 */
export class CpConv extends FactorisedConv {
  readonly rank: number;

  constructor(given: RankOptions) {
    checkOptions("CpConv", given, rankRules);
    const { rank, ...options } = given;
    super("cp", `CP (${rank})`, options, [
      { inputs: options.inputs, outputs: rank, takes: "none" },
      { inputs: rank, outputs: rank, groups: rank, takes: "vertical" },
      { inputs: rank, outputs: rank, groups: rank, takes: "horizontal" },
      { inputs: rank, outputs: options.outputs, takes: "none" },
    ]);
    this.rank = rank;
  }
}

export interface Tucker2ConvOptions extends ChainOptions {
  /** R₃ of the input channels, R₄ of the output channels */
  ranks: readonly [inputs: number, outputs: number];
}

const tucker2Rules: OptionRules<Tucker2ConvOptions> = { ...chainRules, ranks: required(layerRules.twoRanks) };

/**
 * A convolution whose kernel is a Tucker tensor in both channel modes (Kim, Park, Yoo, Choi, Yang & Shin 2016): 1×1 S→R₃, D×D
 * R₃→R₄, 1×1 R₄→T. S·R₃ + D²·R₃·R₄ + T·R₄ weights. A mode of full rank, such as a first layer's single input channel, has no
 * 1×1 (Tucker-1): the D×D takes or gives all its channels.
 */
export class Tucker2Conv extends FactorisedConv {
  readonly ranks: readonly [inputs: number, outputs: number];

  constructor(given: Tucker2ConvOptions) {
    checkOptions("Tucker2Conv", given, tucker2Rules);
    const { ranks, ...options } = given;
    const { inputs, outputs } = options;
    super("tucker2", `Tucker-2 (${ranks.join(", ")})`, options, [
      ...(ranks[0] === inputs ? [] : [{ inputs, outputs: ranks[0], takes: "none" } as const]),
      { inputs: ranks[0], outputs: ranks[1], takes: "both" },
      ...(ranks[1] === outputs ? [] : [{ inputs: ranks[1], outputs, takes: "none" } as const]),
    ]);
    this.ranks = ranks;
  }

  /** For little work outside training all three are one dispatch. */
  override forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    if (this.convolutions.length < 3) return super.forward(s, x, pass);
    const [first, core, last] = this.convolutions as [Conv2d, Conv2d, Conv2d];
    const weights = { first: first.weight.value, core: core.weight.value, last: last.weight.value };
    this.outputShape(x.shape.slice(1));
    if (pass.training || !prefersTucker2(x, weights, core)) return super.forward(s, x, pass);
    const { stride, padding, dilation } = core;
    const { bias, activation } = last;
    return tucker2Conv2d(s, x, weights, { stride, padding, dilation, bias: bias?.value, activation });
  }
}

export interface BlockTermConvOptions extends ChainOptions {
  /** G */
  blocks: number;
  /** s of the input channels, t of the output channels, in every block */
  ranks: readonly [inputs: number, outputs: number];
}

const blockTermRules: OptionRules<BlockTermConvOptions> = {
  ...chainRules,
  blocks: required(optionRules.positive),
  ranks: required(layerRules.twoRanks),
};

/**
 * A convolution whose kernel is a sum of G Tucker-2 blocks (Wang & Cheng 2016): 1×1 S→G·s, D×D in G groups, 1×1 G·t→T.
 * G(S·s + D²·s·t + t·T) weights.
 */
export class BlockTermConv extends FactorisedConv {
  readonly blocks: number;
  readonly ranks: readonly [inputs: number, outputs: number];

  constructor(given: BlockTermConvOptions) {
    checkOptions("BlockTermConv", given, blockTermRules);
    const { blocks, ranks, ...options } = given;
    super("btd", `Block term (${blocks} of ${ranks.join(", ")})`, options, [
      { inputs: options.inputs, outputs: blocks * ranks[0], takes: "none" },
      { inputs: blocks * ranks[0], outputs: blocks * ranks[1], groups: blocks, takes: "both" },
      { inputs: blocks * ranks[1], outputs: options.outputs, takes: "none" },
    ]);
    this.blocks = blocks;
    this.ranks = ranks;
  }
}

/** @internal The numbers of a convolution, read back where it is a layer. */
export async function convolutionWeights(source: ConvolutionSource) {
  if (!(source instanceof Conv2d) && !(source?.weight instanceof Float32Array))
    throw new TenfoldError(
      `convolution weights: given ${shown(source)}, needs a Conv2d, or { inputs, outputs, kernel, weight }`,
    );
  if (source instanceof Conv2d && source.groups !== 1)
    throw new ShapeError(`${source.name}: has ${source.groups} groups, decompositions take one`);
  const weight = source instanceof Conv2d ? await source.weight.read() : source.weight;
  const bias = source instanceof Conv2d ? ((await source.bias?.read()) ?? null) : (source.bias ?? null);
  const { inputs, outputs, stride = 1, padding = 0, dilation = 1, activation = "none" } = source;
  const kernel = both(source.kernel);
  const extents = [outputs, inputs, ...kernel] as [number, number, number, number];
  if (weight.length !== extents.reduce((a, b) => a * b, 1))
    throw new ShapeError(`convolution weights: ${weight.length} numbers, needs ${formatShape(extents)}`);
  const shape = { inputs, outputs, kernel, stride, padding, dilation };
  return { weight, extents, options: { ...shape, bias: bias ?? false, activation } };
}

/**
 * A kernel's parts, found in the kernel itself or, with a covariance of the inputs, by what the outputs become: both the
 * kernel and the kernel whitened over its input channels are decomposed, the last convolution of each is solved for anew with
 * the others fixed, and the one whose outputs are nearer is taken. So it is never further off than the plain one.
 *
 * @param find parts of a kernel
 * @param options.grouped the first part does not take all input channels, and the kernel is not whitened
 * @param options.bounded no candidate's terms are larger than those of the plain one
 */
async function fitted(
  { weight, extents }: { weight: Float32Array; extents: readonly [number, number, number, number] },
  { covariance, ridge = 1e-6 }: DataAware,
  find: (kernel: Float32Array) => Promise<DenseKernel[]>,
  { grouped = false, bounded = false }: { grouped?: boolean; bounded?: boolean } = {},
): Promise<Float32Array[]> {
  const numbers = (parts: readonly DenseKernel[]) => parts.map((part) => Float32Array.from(part.weight));
  const plain = await find(weight);
  if (!covariance) return numbers(plain);
  const [outputs, inputs, height, width] = extents;
  const patches = patchCovariance(covariance, inputs, height * width);
  const target: DenseKernel = { weight, inputs, outputs, groups: 1, size: [height, width] };
  const bound = bounded ? termEnergy(plain) : undefined;
  const candidates = [plain, refitLast(plain, target, patches, ridge, bound)];
  if (!grouped) {
    const channels = channelCovariance(covariance, inputs, height * width);
    const root = choleskyFactor(channels, inputs, ridge);
    const whitened = await find(Float32Array.from(timesChannels(target, root).weight));
    const first = timesChannelsInverse(whitened[0]!, root);
    candidates.push(refitLast([first, ...whitened.slice(1)], target, patches, ridge, bound));
  }
  const errors = candidates.map((parts) => outputError(target, composeKernels(parts), patches));
  return numbers(candidates[errors.indexOf(Math.min(...errors))]!);
}

/** Of the channels, averaged over a patch's places, from either kind of covariance. */
function channelCovariance(covariance: Values, inputs: number, places: number): Float64Array {
  if (covariance.length === inputs * inputs) return Float64Array.from(covariance);
  const out = new Float64Array(inputs * inputs);
  const side = inputs * places;
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < inputs; j++)
      for (let p = 0; p < places; p++)
        out[i * inputs + j]! += covariance[(i * places + p) * side + j * places + p]! / places;
  return out;
}

export interface ConvolutionFit extends DataAware {
  seed?: number;
}

/**
 * A trained convolution by Jaderberg's scheme 2, from one SVD of the (T·D)×(S·D) matrix of its kernel. With the inputs'
 * covariance it is fitted to the layer's outputs instead of its filters.
 *
 * @param covariance E[x·xᵀ] of the input channels (S×S) or of whole patches (S·D·D, as a weight's columns)
 */
export async function spatialConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: ConvolutionFit & { rank: number },
): Promise<SpatialConv> {
  assertEngine("spatialConv", engine);
  checkOptions("spatialConv", fit, { ...dataRules, rank: required(optionRules.positive) });
  const { rank, seed = 0, ...aware } = fit;
  const own = await convolutionWeights(source);
  const [outputs, inputs, height, width] = own.extents;
  const weights = await fitted(own, aware, async (kernel) => {
    // rows (t, x), columns (s, y)
    const matrix = new Float32Array(kernel.length);
    for (let t = 0; t < outputs; t++)
      for (let s = 0; s < inputs; s++)
        for (let y = 0; y < height; y++)
          for (let x = 0; x < width; x++)
            matrix[((t * width + x) * inputs + s) * height + y] = kernel[((t * inputs + s) * height + y) * width + x]!;
    const { left, right } = await splitMatrix(engine, matrix, [outputs * width, inputs * height], rank, null, seed);
    const horizontal = new Float32Array(outputs * rank * width);
    for (let t = 0; t < outputs; t++)
      for (let x = 0; x < width; x++)
        for (let k = 0; k < rank; k++) horizontal[(t * rank + k) * width + x] = left[(t * width + x) * rank + k]!;
    return [
      { weight: right, inputs, outputs: rank, groups: 1, size: [height, 1] },
      { weight: horizontal, inputs: rank, outputs, groups: 1, size: [1, width] },
    ];
  });
  return new SpatialConv({ ...own.options, rank, weights });
}

/**
 * A trained convolution by Jaderberg's scheme 1: for every input channel the outputs×D×D filters get a CP decomposition of M
 * terms; M = D² is exact.
 */
export async function separableBasisConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: ConvolutionFit & { rank: number; sweeps?: number },
): Promise<SeparableBasisConv> {
  assertEngine("separableBasisConv", engine);
  const rules = { ...dataRules, rank: required(optionRules.positive), sweeps: optionRules.count };
  checkOptions("separableBasisConv", fit, rules);
  const { rank, seed = 0, sweeps = 100, ...aware } = fit;
  const own = await convolutionWeights(source);
  const [outputs, inputs, height, width] = own.extents;
  const find = async (kernel: Float32Array): Promise<DenseKernel[]> => {
    const maps = inputs * rank;
    const [vertical, horizontal, last] = [maps * height, maps * width, outputs * maps].map(
      (n) => new Float32Array(n),
    ) as [Float32Array, Float32Array, Float32Array];
    for (let s = 0; s < inputs; s++) {
      const filters = new Float64Array(outputs * height * width);
      for (let t = 0; t < outputs; t++)
        for (let p = 0; p < height * width; p++)
          filters[t * height * width + p] = kernel[(t * inputs + s) * height * width + p]!;
      const { a, b, c } = channelCp(filters, [outputs, height, width], rank, { seed: seed + s, sweeps });
      for (let m = 0; m < rank; m++) {
        const map = s * rank + m;
        for (let t = 0; t < outputs; t++) last[t * maps + map] = a[t * rank + m]!;
        for (let y = 0; y < height; y++) vertical[map * height + y] = b[y * rank + m]!;
        for (let x = 0; x < width; x++) horizontal[map * width + x] = c[x * rank + m]!;
      }
    }
    return [
      { weight: vertical, inputs, outputs: maps, groups: inputs, size: [height, 1] },
      { weight: horizontal, inputs: maps, outputs: maps, groups: maps, size: [1, width] },
      { weight: last, inputs: maps, outputs, groups: 1, size: [1, 1] },
    ];
  };
  return new SeparableBasisConv({ ...own.options, rank, weights: await fitted(own, aware, find, { grouped: true }) });
}

/** How kernels are decomposed by alternating least squares. */
export interface AlternatingFit extends ConvolutionFit {
  /** starts, of which the best is kept */
  starts?: number;
  sweeps?: number;
  /** stops when the kernel's relative error changes by less than this in a sweep; 1e-6 by default */
  tolerance?: number;
  /** of the solver's normal equations, times the mean of their diagonal (`ridge` is that of the covariance) */
  solverRidge?: number;
}

const alternatingRules: OptionRules<AlternatingFit> = {
  ...dataRules,
  starts: optionRules.positive,
  sweeps: optionRules.count,
  tolerance: optionRules.atLeastZero,
  solverRidge: optionRules.atLeastZero,
};

export interface CpConvFit extends AlternatingFit {
  rank: number;
  /**
   * Makes the terms as small as they can be at this many times the error of plain CP (Phan et al. 2020), so that fine-tuning
   * stays finite; true is 1.01. With a covariance the terms stay as small
   */
  correct?: boolean | number;
}

const cpConvRules: OptionRules<CpConvFit> = {
  ...alternatingRules,
  rank: required(optionRules.positive),
  correct: {
    needs: "true, false or a number, 1 or more",
    is: (value) => typeof value === "boolean" || (typeof value === "number" && value >= 1 && Number.isFinite(value)),
  },
};

/**
 * A trained convolution by CP of its kernel, plain or with small terms: 3 random starts and 120 sweeps by default, a
 * `solverRidge` of 1e-5.
 */
export async function cpConv(engine: Engine, source: ConvolutionSource, fit: CpConvFit): Promise<CpConv> {
  assertEngine("cpConv", engine);
  checkOptions("cpConv", fit, cpConvRules);
  const { rank, correct = false, starts = 3, sweeps = 120, tolerance = 1e-6, solverRidge = 1e-5, ...rest } = fit;
  const { seed = 0, ...aware } = rest;
  const own = await convolutionWeights(source);
  const [outputs, inputs, height, width] = own.extents;
  const find = async (kernel: Float32Array): Promise<DenseKernel[]> => {
    using x = engine.tensor(own.extents, kernel);
    const plain = await cpALS(engine, x, { rank, starts, sweeps, seed, tolerance, ridge: solverRidge });
    let { tensor } = plain;
    if (correct) {
      const factor = correct === true ? 1.01 : correct;
      const relativeError = Math.min(Math.max(plain.relativeError * factor, 5e-3), 0.999);
      const corrected = await cpErrorPreserving(engine, x, tensor, { relativeError, sweeps, tolerance: 1e-5 });
      tensor.destroy();
      tensor = corrected.tensor;
    }
    const [lambda, ...factors] = (await engine.read([tensor.weights, ...tensor.factors])) as Float32Array[];
    tensor.destroy();
    const turned = (mode: number) => transposed(factors[mode]!, rank);
    return [
      { weight: turned(1), inputs, outputs: rank, groups: 1, size: [1, 1] },
      { weight: turned(2), inputs: rank, outputs: rank, groups: rank, size: [height, 1] },
      { weight: turned(3), inputs: rank, outputs: rank, groups: rank, size: [1, width] },
      {
        weight: factors[0]!.map((value, e) => value * lambda![e % rank]!),
        inputs: rank,
        outputs,
        groups: 1,
        size: [1, 1],
      },
    ];
  };
  const weights = await fitted(own, aware, find, { bounded: Boolean(correct) });
  balanceTerms(weights, rank);
  return new CpConv({ ...own.options, rank, weights });
}

/** Shares the length of every CP term out evenly over its four vectors. */
function balanceTerms(weights: readonly Float32Array[], rank: number): void {
  const last = weights.length - 1;
  for (let r = 0; r < rank; r++) {
    // of the last, outputs×rank, a column; of the others a row
    const places = weights.map((weight, part) =>
      Array.from({ length: weight.length / rank }, (_, i) =>
        part === last ? i * rank + r : (r * weight.length) / rank + i,
      ),
    );
    const lengths = weights.map((weight, part) => Math.hypot(...places[part]!.map((at) => weight[at]!)));
    const even = lengths.reduce((a, b) => a * b, 1) ** (1 / weights.length);
    weights.forEach((weight, part) => {
      const scale = even ? even / lengths[part]! : 0;
      for (const at of places[part]!) weight[at]! *= scale;
    });
  }
}

export interface Tucker2ConvFit extends ConvolutionFit {
  /** R₃ of the input channels, R₄ of the output channels; one that the other cannot fill is lowered */
  ranks: readonly [inputs: number, outputs: number];
  sweeps?: number;
}

/** Channel ranks lowered to what the other one and the kernel leave. */
const channelRanks = (ranks: readonly [number, number], inputs: number, outputs: number, places: number) => {
  const first = Math.min(ranks[0], inputs, ranks[1] * places);
  return [first, Math.min(ranks[1], outputs, first * places)] as const;
};

/** A trained convolution by Tucker-2 of its kernel (HOOI). */
export async function tucker2Conv(
  engine: Engine,
  source: ConvolutionSource,
  fit: Tucker2ConvFit,
): Promise<Tucker2Conv> {
  assertEngine("tucker2Conv", engine);
  const rules = { ...dataRules, ranks: required(layerRules.twoRanks), sweeps: optionRules.count };
  checkOptions("tucker2Conv", fit, rules);
  const { ranks, sweeps = 50, seed = 0, ...aware } = fit;
  const own = await convolutionWeights(source);
  const [outputs, inputs, height, width] = own.extents;
  const lowered = channelRanks(ranks, inputs, outputs, height * width);
  const weights = await fitted(own, aware, async (kernel) => {
    using x = engine.tensor(own.extents, kernel);
    const { tensor } = await tuckerHOOI(engine, x, { ranks: [lowered[1], lowered[0], height, width], sweeps, seed });
    const parts = await tuckerParts(engine, tensor, outputs, inputs);
    tensor.destroy();
    const found: DenseKernel[] = [
      { weight: transposed(parts.inputs, lowered[0]), inputs, outputs: lowered[0], groups: 1, size: [1, 1] },
      { weight: parts.core, inputs: lowered[0], outputs: lowered[1], groups: 1, size: [height, width] },
      { weight: parts.outputs, inputs: lowered[1], outputs, groups: 1, size: [1, 1] },
    ];
    // of a mode of full rank the factor is the identity
    return found.slice(lowered[0] === inputs ? 1 : 0, lowered[1] === outputs ? 2 : 3);
  });
  return new Tucker2Conv({ ...own.options, ranks: lowered, weights });
}

/** Core and channel factors of a Tucker-2 tensor, identities where a mode was left alone. */
async function tuckerParts(
  engine: Engine,
  tensor: Awaited<ReturnType<typeof tuckerHOOI>>["tensor"],
  outputs: number,
  inputs: number,
) {
  const read = async (mode: number, extent: number): Promise<Float32Array> => {
    const factor = tensor.factors[mode];
    if (factor) return (await engine.read(factor)) as Float32Array;
    return Float32Array.from({ length: extent * extent }, (_, e) => (e % (extent + 1) === 0 ? 1 : 0));
  };
  return {
    core: (await engine.read(tensor.core)) as Float32Array,
    outputs: await read(0, outputs),
    inputs: await read(1, inputs),
  };
}

/** rows×columns as columns×rows */
const transposed = (values: Float32Array, columns: number): Float32Array => {
  const rows = values.length / columns;
  return Float32Array.from(values, (_, e) => values[(e % rows) * columns + Math.floor(e / rows)]!);
};

export interface BlockTermConvFit extends AlternatingFit {
  blocks: number;
  /** s of the input channels, t of the output channels, in every block; one that the other cannot fill is lowered */
  ranks: readonly [inputs: number, outputs: number];
}

/**
 * A trained convolution by the block term decomposition of its kernel: 1 start (of residuals) and 60 sweeps by default, a
 * `solverRidge` of 1e-6.
 */
export async function blockTermConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: BlockTermConvFit,
): Promise<BlockTermConv> {
  assertEngine("blockTermConv", engine);
  const rules = { ...alternatingRules, blocks: required(optionRules.positive), ranks: required(layerRules.twoRanks) };
  checkOptions("blockTermConv", fit, rules);
  const { blocks, ranks, starts = 1, sweeps = 60, tolerance = 1e-6, solverRidge = 1e-6, seed = 0, ...aware } = fit;
  const own = await convolutionWeights(source);
  const [outputs, inputs, height, width] = own.extents;
  const lowered = channelRanks(ranks, inputs, outputs, height * width);
  const [s, t] = lowered;
  const weights = await fitted(own, aware, async (kernel) => {
    using x = engine.tensor(own.extents, kernel);
    const { tensor } = await blockTermALS(engine, x, {
      blocks,
      ranks: [t, s, height, width],
      starts,
      sweeps,
      seed,
      tolerance,
      ridge: solverRidge,
    });
    const first = new Float32Array(blocks * s * inputs);
    const middle = new Float32Array(blocks * t * s * height * width);
    const last = new Float32Array(outputs * blocks * t);
    for (const [g, block] of tensor.blocks.entries()) {
      const parts = await tuckerParts(engine, block, outputs, inputs);
      first.set(transposed(parts.inputs, s), g * s * inputs);
      middle.set(parts.core, g * parts.core.length);
      for (let o = 0; o < outputs; o++)
        for (let j = 0; j < t; j++) last[o * blocks * t + g * t + j] = parts.outputs[o * t + j]!;
    }
    tensor.destroy();
    return [
      { weight: first, inputs, outputs: blocks * s, groups: 1, size: [1, 1] },
      { weight: middle, inputs: blocks * s, outputs: blocks * t, groups: blocks, size: [height, width] },
      { weight: last, inputs: blocks * t, outputs, groups: 1, size: [1, 1] },
    ];
  });
  return new BlockTermConv({ ...own.options, blocks, ranks: lowered, weights });
}
