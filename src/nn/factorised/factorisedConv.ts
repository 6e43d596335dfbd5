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
import { type Padding, paddingsOf, prefersTucker2, type Side, tucker2Conv2d } from "../../ops/index.js";
import { KruskalTensor } from "../../tensors/index.js";
import { activatedProduct } from "../activated.js";
import { Chain } from "../chain.js";
import { Conv2d, imageOptions } from "../convolution.js";
import type { Pass } from "../layer.js";
import { layerKind } from "../layerKind.js";
import { assertEngine, dataRules, layerRules } from "../layerRules.js";
import { channelCp } from "./channelCp.js";
import { remembered } from "./fitMemory.js";
import {
  composeKernels,
  type DenseKernel,
  patchCovariance,
  timesChannels,
  timesChannelsInverse,
} from "./hostKernels.js";
import { choleskyFactor, type Values } from "./hostMatrices.js";
import { Features, targetOf } from "./lastKernel.js";
import { Products } from "./products.js";
import { biasBoundOf, type FactorisedOptions, factorisedRules, gainOf, varianceStart } from "./source.js";
import { type DataAware, splitMatrix } from "./svdLinear.js";

type Extents = readonly [vertical: number, horizontal: number];

/** The geometry of a convolution of samples channels×height×width. A number stands for both directions. */
export interface ConvolutionShape {
  /** input channels */
  inputs: number;
  /** output channels */
  outputs: number;
  kernel: number | Extents;
  /** 1 by default */
  stride?: number | Extents;
  /** zeros on each side, 0 by default; for each direction a number or [before, after]; or `same`: as many as give ⌈extent ÷ stride⌉ outputs */
  padding?: Padding;
  /** 1 by default */
  dilation?: number | Extents;
}

/** The numbers of a convolution without groups. */
export interface ConvolutionWeights extends ConvolutionShape {
  /** outputs×inputs×height×width */
  weight: Float32Array;
  /** one an output channel; none by default */
  bias?: Float32Array | null;
  /** none by default */
  activation?: FactorisedOptions["activation"];
}

/** The convolution that a fit decomposes: a `Conv2d` without groups, or the numbers of one. */
export type ConvolutionSource = Conv2d | ConvolutionWeights;

const both = (value: number | Extents): Extents => (typeof value === "number" ? [value, value] : value);

/** One convolution of a chain. */
interface Part {
  inputs: number;
  outputs: number;
  groups?: number;
  /** directions in which this convolution has the kernel's extent, stride, padding and dilation; it has one tap in the others */
  takes: "none" | "vertical" | "horizontal" | "both";
}

interface ChainOptions extends ConvolutionShape, FactorisedOptions {
  /** start values of every convolution's weight; random ones by default */
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
  ...factorisedRules,
  weights: layerRules.valueLists,
};
const rankRules: OptionRules<RankOptions> = { ...chainRules, rank: required(optionRules.positive) };

/**
 * A convolution as a chain of smaller ones. One of them has the stride, padding and dilation, or one has their vertical and
 * another their horizontal part. The last one has bias and activation. Random start values of every convolution but the last
 * keep the variance of its inputs; those of the last follow `start`.
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
    const geometry = [kernel, stride, dilation].map(both) as [Extents, Extents, Extents];
    const sides = paddingsOf(padding === "same" ? 0 : padding, 2) as [Side, Side];
    const convolutions = parts.map(({ takes, groups = 1, ...part }, index) => {
      if (!(Number.isInteger(part.inputs) && part.inputs >= 1 && Number.isInteger(part.outputs) && part.outputs >= 1))
        throw new ShapeError(`${method}: ${part.inputs}→${part.outputs} channels, ranks need positive whole numbers`);
      const [vertical, horizontal] = [
        takes === "vertical" || takes === "both",
        takes === "horizontal" || takes === "both",
      ];
      // [kernel, stride, dilation] of this part: 1 in directions that it does not take
      const partGeometry = geometry.map((pair): Extents => [vertical ? pair[0] : 1, horizontal ? pair[1] : 1]) as [
        Extents,
        Extents,
        Extents,
      ];
      const last = index === parts.length - 1;
      const terms = (part.inputs / groups) * partGeometry[0][0] * partGeometry[0][1];
      const denseTerms = inputs * geometry[0][0] * geometry[0][1];
      return new Conv2d({
        ...part,
        groups,
        kernel: partGeometry[0],
        stride: partGeometry[1],
        // in a direction of one tap and stride 1, "same" adds nothing
        padding: padding === "same" ? padding : [vertical ? sides[0] : 0, horizontal ? sides[1] : 0],
        dilation: partGeometry[2],
        bias: last ? bias : false,
        activation: last ? activation : "none",
        weight: weights?.[index],
        start: last ? varianceStart(terms, gainOf(start), biasBoundOf(start, denseTerms)) : varianceStart(terms),
      });
    });
    super(`${title} ${inputs}→${outputs} ${formatShape(geometry[0])}`, convolutions);
    this.shape = {
      ...{ inputs, outputs, kernel: geometry[0], stride: geometry[1], dilation: geometry[2] },
      padding: padding === "same" ? padding : sides,
    };
    this.convolutions = convolutions;
  }

  /** The dense kernel that the chain stands for, outputs×inputs×height×width. */
  async toDense(): Promise<Float32Array> {
    return Float32Array.from((await composeKernels(await this.kernels())).weight);
  }

  /** The kernels of the convolutions in their order, read back. */
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

/** The options that every factorised convolution has, as JSON. */
function optionsOfChain({ shape, convolutions }: FactorisedConv): Record<string, unknown> {
  const last = convolutions.at(-1)!;
  return { ...shape, bias: last.bias !== null, activation: last.activation };
}

export interface RankOptions extends ChainOptions {
  /** the rank, K, M or R in the class' formula */
  rank: number;
}

/**
 * A convolution by separable filters that all outputs share (Jaderberg, Vedaldi & Zisserman 2014, scheme 2): D×1, S→K channels,
 * then 1×D, K→T channels. K·D·(S + T) weights. One SVD gives the best approximation of a kernel (Tai, Xiao, Zhang, Wang & E 2016).
 */
export class SpatialConv extends FactorisedConv {
  readonly rank: number;

  constructor(options: RankOptions) {
    checkOptions("SpatialConv", options, rankRules);
    const { rank, ...chain } = options;
    super("jaderberg2", `Spatial (${rank})`, chain, [
      { inputs: chain.inputs, outputs: rank, takes: "vertical" },
      { inputs: rank, outputs: chain.outputs, takes: "horizontal" },
    ]);
    this.rank = rank;
  }
}

export const spatialConvKind = /* @__PURE__ */ layerKind(
  "spatialConv",
  SpatialConv,
  (layer) => ({ ...optionsOfChain(layer), rank: layer.rank }),
  (f) => new SpatialConv({ ...imageOptions(f), rank: f.count("rank") }),
);

/**
 * A convolution by M separable filters for every input channel (Jaderberg, Vedaldi & Zisserman 2014, scheme 1): depthwise D×1,
 * depthwise 1×D, then 1×1 from the S·M maps to the T outputs. S·M·(2D + T) weights.
 */
export class SeparableBasisConv extends FactorisedConv {
  readonly rank: number;

  constructor(options: RankOptions) {
    checkOptions("SeparableBasisConv", options, rankRules);
    const { rank, ...chain } = options;
    const { inputs, outputs } = chain;
    super("jaderberg1", `Separable basis (${rank})`, chain, [
      { inputs, outputs: inputs * rank, groups: inputs, takes: "vertical" },
      { inputs: inputs * rank, outputs: inputs * rank, groups: inputs * rank, takes: "horizontal" },
      { inputs: inputs * rank, outputs, takes: "none" },
    ]);
    this.rank = rank;
  }
}

export const separableBasisConvKind = /* @__PURE__ */ layerKind(
  "separableBasisConv",
  SeparableBasisConv,
  (layer) => ({ ...optionsOfChain(layer), rank: layer.rank }),
  (f) => new SeparableBasisConv({ ...imageOptions(f), rank: f.count("rank") }),
);

/**
 * A convolution whose kernel is a Kruskal tensor (Lebedev, Ganin, Rakhuba, Oseledets & Lempitsky 2015): 1×1 S→R, depthwise D×1,
 * depthwise 1×D, 1×1 R→T. R(S + 2D + T) weights.
 */
export class CpConv extends FactorisedConv {
  readonly rank: number;

  constructor(options: RankOptions) {
    checkOptions("CpConv", options, rankRules);
    const { rank, ...chain } = options;
    super("cp", `CP (${rank})`, chain, [
      { inputs: chain.inputs, outputs: rank, takes: "none" },
      { inputs: rank, outputs: rank, groups: rank, takes: "vertical" },
      { inputs: rank, outputs: rank, groups: rank, takes: "horizontal" },
      { inputs: rank, outputs: chain.outputs, takes: "none" },
    ]);
    this.rank = rank;
  }
}

export const cpConvKind = /* @__PURE__ */ layerKind(
  "cpConv",
  CpConv,
  (layer) => ({ ...optionsOfChain(layer), rank: layer.rank }),
  (f) => new CpConv({ ...imageOptions(f), rank: f.count("rank") }),
);

export interface Tucker2ConvOptions extends ChainOptions {
  /** R₃, the rank of the input channels, and R₄, that of the output channels */
  ranks: readonly [inputs: number, outputs: number];
}

const tucker2Rules: OptionRules<Tucker2ConvOptions> = { ...chainRules, ranks: required(layerRules.twoRanks) };

/**
 * A convolution whose kernel is a Tucker tensor in both channel modes (Kim, Park, Yoo, Choi, Yang & Shin 2016): 1×1 S→R₃, D×D
 * R₃→R₄, 1×1 R₄→T. S·R₃ + D²·R₃·R₄ + T·R₄ weights. There is no 1×1 convolution for a channel mode of full rank, such as the
 * single input channel of a first layer: the D×D convolution then takes or gives all channels (Tucker-1).
 */
export class Tucker2Conv extends FactorisedConv {
  readonly ranks: readonly [inputs: number, outputs: number];

  constructor(options: Tucker2ConvOptions) {
    checkOptions("Tucker2Conv", options, tucker2Rules);
    const { ranks, ...chain } = options;
    const { inputs, outputs } = chain;
    super("tucker2", `Tucker-2 (${ranks.join(", ")})`, chain, [
      ...(ranks[0] === inputs ? [] : [{ inputs, outputs: ranks[0], takes: "none" } as const]),
      { inputs: ranks[0], outputs: ranks[1], takes: "both" },
      ...(ranks[1] === outputs ? [] : [{ inputs: ranks[1], outputs, takes: "none" } as const]),
    ]);
    this.ranks = ranks;
  }

  /** Outside training the three convolutions are one dispatch where that is faster on the adapter. */
  override forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    if (this.convolutions.length < 3) return super.forward(s, x, pass);
    const [first, core, last] = this.convolutions as [Conv2d, Conv2d, Conv2d];
    const weights = { first: first.weight.value, core: core.weight.value, last: last.weight.value };
    this.outputShape(x.shape.slice(1));
    if (pass.training || !prefersTucker2(x, weights, core)) return super.forward(s, x, pass);
    const { stride, padding, dilation } = core;
    const options = { stride, padding, dilation, bias: last.bias?.value };
    return activatedProduct(s, last.activation, (activation) =>
      tucker2Conv2d(s, x, weights, { ...options, activation }),
    );
  }
}

export const tucker2ConvKind = /* @__PURE__ */ layerKind(
  "tucker2Conv",
  Tucker2Conv,
  (layer) => ({ ...optionsOfChain(layer), ranks: layer.ranks }),
  (f) => new Tucker2Conv({ ...imageOptions(f), ranks: f.pair("ranks") }),
);

export interface BlockTermConvOptions extends ChainOptions {
  /** G, the number of blocks */
  blocks: number;
  /** s and t, the ranks of the input and of the output channels in every block */
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

  constructor(options: BlockTermConvOptions) {
    checkOptions("BlockTermConv", options, blockTermRules);
    const { blocks, ranks, ...chain } = options;
    super("btd", `Block term (${blocks} of ${ranks.join(", ")})`, chain, [
      { inputs: chain.inputs, outputs: blocks * ranks[0], takes: "none" },
      { inputs: blocks * ranks[0], outputs: blocks * ranks[1], groups: blocks, takes: "both" },
      { inputs: blocks * ranks[1], outputs: chain.outputs, takes: "none" },
    ]);
    this.blocks = blocks;
    this.ranks = ranks;
  }
}

export const blockTermConvKind = /* @__PURE__ */ layerKind(
  "blockTermConv",
  BlockTermConv,
  (layer) => ({ ...optionsOfChain(layer), blocks: layer.blocks, ranks: layer.ranks }),
  (f) => new BlockTermConv({ ...imageOptions(f), blocks: f.count("blocks"), ranks: f.pair("ranks") }),
);

/**
 * @internal The numbers of a convolution, read back where they lie on the GPU.
 *
 * @throws TenfoldError where the source is no convolution, ShapeError where it has groups or its numbers do not fit its extents
 */
export async function convolutionWeights(source: ConvolutionSource) {
  if (!(source instanceof Conv2d) && !(source?.weight instanceof Float32Array))
    throw new TenfoldError(
      `convolution weights: given ${shown(source)}, needs a Conv2d, or { inputs, outputs, kernel, weight }`,
    );
  if (source instanceof Conv2d && source.groups !== 1)
    throw new ShapeError(
      `${source.name}: has ${source.groups} groups, needs 1: only convolutions without groups are decomposed`,
    );
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
 * The weights of the parts that a kernel is decomposed into. Without a covariance these are the parts of the kernel. With a
 * covariance of the inputs, the candidate whose outputs are nearest is taken, so its outputs are never further off than those of
 * the plain parts. The candidates are:
 *
 * 1. the parts of the kernel;
 * 2. the same with the last part replaced by the least squares solution for the outputs;
 * 3. the parts of the kernel whitened over its input channels, with the last part replaced likewise.
 *
 * @param name of the fit in its memory
 * @param decompose gives the parts of a kernel, which may be whitened
 * @param options.grouped true where the first part has groups: whitening mixes the channels, so there is no candidate 3
 * @param options.bounded true where no candidate's {@link Features.termEnergy} may be larger than that of the parts of the kernel
 */
async function fittedWeights(
  engine: Engine,
  { weight, extents }: { weight: Float32Array; extents: readonly [number, number, number, number] },
  name: string,
  fit: DataAware,
  decompose: (kernel: Float32Array, isWhitened: boolean) => Promise<DenseKernel[]>,
  { grouped = false, bounded = false }: { grouped?: boolean; bounded?: boolean } = {},
): Promise<Float32Array[]> {
  const numbers = (parts: readonly DenseKernel[]) => parts.map((part) => Float32Array.from(part.weight));
  const { covariance, ridge = 1e-6, memory } = fit;
  const plain = await remembered(memory, name, fit, () => decompose(weight, false));
  if (!covariance) return numbers(plain);
  const [outputs, inputs, height, width] = extents;
  const patches = patchCovariance(covariance, inputs, height * width);
  // a chain of one convolution is the convolution itself
  if (plain.length === 1) return [weight];
  const kernel: DenseKernel = { weight, inputs, outputs, groups: 1, size: [height, width] };
  using products = new Products(engine);
  const target = await targetOf(kernel, patches, products, memory);
  let [best, least] = [plain, Number.POSITIVE_INFINITY];
  const consider = async (parts: readonly DenseKernel[], features: Features, last: Values): Promise<void> => {
    const error = await features.error(last);
    if (error < least) [best, least] = [[...parts.slice(0, -1), { ...parts.at(-1)!, weight: last }], error];
  };
  const features = await Features.of(plain, target, products);
  const bound = bounded ? features.termEnergy() : undefined;
  await consider(plain, features, plain.at(-1)!.weight);
  await consider(plain, features, await features.refit(ridge, bound));
  if (!grouped) {
    const channels = channelCovariance(covariance, inputs, height * width);
    const root = choleskyFactor(channels, inputs, ridge);
    const [first, ...others] = await decompose(Float32Array.from(timesChannels(kernel, root).weight), true);
    const parts = [timesChannelsInverse(first!, root), ...others];
    const features = await Features.of(parts, target, products);
    await consider(parts, features, await features.refit(ridge, bound));
  }
  return numbers(best);
}

/** The covariance of the channels, inputs². A covariance of patches is averaged over the places of a patch. */
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
  /** seed of random starts and of the SVD, 0 by default */
  seed?: number;
}

/**
 * A trained convolution by Jaderberg's scheme 2, from one SVD of the (T·D)×(S·D) matrix of its kernel. With a covariance of the
 * inputs it is fitted to the layer's outputs instead of its filters.
 *
 * @param fit.covariance E[x·xᵀ] of the input channels (S×S), or of patches in the order of a weight's columns ((S·D·D)×(S·D·D))
 * @throws TenfoldError where an argument is unfit, ShapeError where the convolution has groups or the covariance another size
 */
export async function spatialConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: ConvolutionFit & { rank: number },
): Promise<SpatialConv> {
  assertEngine("spatialConv", engine);
  checkOptions("spatialConv", fit, { ...dataRules, rank: required(optionRules.positive) });
  const { rank, seed = 0, ridge, memory } = fit;
  const dense = await convolutionWeights(source);
  const [outputs, inputs, height, width] = dense.extents;
  const weights = await fittedWeights(engine, dense, "spatialConv", fit, async (kernel, isWhitened) => {
    // rows (t, x), columns (s, y)
    const matrix = new Float32Array(kernel.length);
    for (let t = 0; t < outputs; t++)
      for (let s = 0; s < inputs; s++)
        for (let y = 0; y < height; y++)
          for (let x = 0; x < width; x++)
            matrix[((t * width + x) * inputs + s) * height + y] = kernel[((t * inputs + s) * height + y) * width + x]!;
    const sides = [outputs * width, inputs * height] as const;
    const name = `spatialConv ${isWhitened ? `whitened ${ridge}` : "plain"}`;
    const { left, right } = await splitMatrix(engine, matrix, sides, rank, { root: null, seed, memory, name });
    const horizontal = new Float32Array(outputs * rank * width);
    for (let t = 0; t < outputs; t++)
      for (let x = 0; x < width; x++)
        for (let k = 0; k < rank; k++) horizontal[(t * rank + k) * width + x] = left[(t * width + x) * rank + k]!;
    return [
      { weight: right, inputs, outputs: rank, groups: 1, size: [height, 1] },
      { weight: horizontal, inputs: rank, outputs, groups: 1, size: [1, width] },
    ];
  });
  return new SpatialConv({ ...dense.options, rank, weights });
}

/**
 * A trained convolution by Jaderberg's scheme 1: for every input channel, a CP decomposition with M terms of its T×D×D filters.
 * M = D² is exact. At most 100 sweeps by default.
 *
 * @throws TenfoldError where an argument is unfit, ShapeError where the convolution has groups or the covariance another size
 */
export async function separableBasisConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: ConvolutionFit & { rank: number; sweeps?: number },
): Promise<SeparableBasisConv> {
  assertEngine("separableBasisConv", engine);
  const rules = { ...dataRules, rank: required(optionRules.positive), sweeps: optionRules.count };
  checkOptions("separableBasisConv", fit, rules);
  const { rank, seed = 0, sweeps = 100 } = fit;
  const dense = await convolutionWeights(source);
  const [outputs, inputs, height, width] = dense.extents;
  const decompose = async (kernel: Float32Array): Promise<DenseKernel[]> => {
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
  return new SeparableBasisConv({
    ...dense.options,
    rank,
    weights: await fittedWeights(engine, dense, "separableBasisConv", fit, decompose, { grouped: true }),
  });
}

/** Settings of fits by alternating least squares. */
export interface AlternatingFit extends ConvolutionFit {
  /** number of starts, of which the best is taken */
  starts?: number;
  /** most sweeps of a start */
  sweeps?: number;
  /** a start ends when a sweep changes the kernel's relative error by less than this; 1e-6 by default */
  tolerance?: number;
  /** ridge of the solver's normal equations, as a share of their mean diagonal (`ridge` is that of the covariance) */
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
   * makes the terms as small as an error of this many times that of plain CP allows (Phan et al. 2020), because fine-tuning
   * large terms that cancel diverges. true stands for 1.01; false, the default, for plain CP. A fit with a covariance has terms
   * no larger
   */
  correct?: boolean | number;
  /** most sweeps of that, as many as `sweeps` by default */
  correctionSweeps?: number;
}

const cpConvRules: OptionRules<CpConvFit> = {
  ...alternatingRules,
  rank: required(optionRules.positive),
  correct: {
    needs: "true, false or a number, 1 or more",
    is: (value) => typeof value === "boolean" || (typeof value === "number" && value >= 1 && Number.isFinite(value)),
  },
  correctionSweeps: optionRules.count,
};

/**
 * A trained convolution by CP of its kernel, plain or with small terms. By default 3 random starts of at most 120 sweeps, and a
 * `solverRidge` of 1e-5.
 *
 * @throws TenfoldError where an argument is unfit, ShapeError where the convolution has groups or the covariance another size
 */
export async function cpConv(engine: Engine, source: ConvolutionSource, fit: CpConvFit): Promise<CpConv> {
  assertEngine("cpConv", engine);
  checkOptions("cpConv", fit, cpConvRules);
  const { rank, correct = false, starts = 3, sweeps = 120, tolerance = 1e-6, solverRidge = 1e-5, seed = 0 } = fit;
  const { correctionSweeps = sweeps } = fit;
  const dense = await convolutionWeights(source);
  const [outputs, inputs, height, width] = dense.extents;
  const decompose = async (kernel: Float32Array, isWhitened: boolean): Promise<DenseKernel[]> => {
    using x = engine.tensor(dense.extents, kernel);
    // plain CP is what its correction begins with
    const { correct: _, correctionSweeps: __, ...plainFit } = fit;
    const plain = await remembered(fit.memory, `cp ${isWhitened ? "whitened" : "plain"}`, plainFit, async () => {
      // extrapolated sweeps go further towards large terms that nearly cancel, which training cannot hold
      const plainSweeps = { acceleration: "none", ridge: solverRidge } as const;
      const result = await cpALS(engine, x, { rank, starts, sweeps, seed, tolerance, ...plainSweeps });
      return { relativeError: result.relativeError, numbers: await readKruskal(engine, result.tensor) };
    });
    let { numbers } = plain;
    if (correct) {
      const factor = correct === true ? 1.01 : correct;
      const relativeError = Math.min(Math.max(plain.relativeError * factor, 5e-3), 0.999);
      const [weights, ...others] = numbers;
      const columns = others.map((values) => engine.tensor([values.length / rank, rank], values));
      const start = new KruskalTensor(engine.tensor([rank], weights!), columns);
      const stopping = { sweeps: correctionSweeps, tolerance: 1e-5 };
      const corrected = await cpErrorPreserving(engine, x, start, { relativeError, ...stopping });
      start.destroy();
      numbers = await readKruskal(engine, corrected.tensor);
    }
    const [lambda, ...factors] = numbers;
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
  const weights = await fittedWeights(engine, dense, "cpConv", fit, decompose, { bounded: Boolean(correct) });
  balanceTerms(weights, rank);
  return new CpConv({ ...dense.options, rank, weights });
}

/** λ and the factors, read back; the tensor is destroyed. */
async function readKruskal(engine: Engine, tensor: KruskalTensor): Promise<Float32Array[]> {
  const numbers = await engine.read([tensor.weights, ...tensor.factors]);
  tensor.destroy();
  return numbers;
}

/** Scales the four vectors of every CP term, in place, so that all have the same length and their product stays. */
function balanceTerms(weights: readonly Float32Array[], rank: number): void {
  const last = weights.length - 1;
  for (let r = 0; r < rank; r++) {
    // term r is column r of the last weight, which is outputs×rank, and row r of the others
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
  /** R₃ and R₄, the ranks of the input and of the output channels; lowered to what the kernel can have */
  ranks: readonly [inputs: number, outputs: number];
  /** most sweeps of HOOI, 50 by default */
  sweeps?: number;
  /** sweeps end when one changes the kernel's relative error by less than this; 1e-6 by default */
  tolerance?: number;
}

/** The ranks of the channels, each lowered to at most its channels and to the other rank times the kernel's places. */
const channelRanks = (ranks: readonly [number, number], inputs: number, outputs: number, places: number) => {
  const first = Math.min(ranks[0], inputs, ranks[1] * places);
  return [first, Math.min(ranks[1], outputs, first * places)] as const;
};

/**
 * A trained convolution by Tucker-2 of its kernel, by higher-order orthogonal iteration (HOOI).
 *
 * @throws TenfoldError where an argument is unfit, ShapeError where the convolution has groups or the covariance another size
 */
export async function tucker2Conv(
  engine: Engine,
  source: ConvolutionSource,
  fit: Tucker2ConvFit,
): Promise<Tucker2Conv> {
  assertEngine("tucker2Conv", engine);
  const rules = {
    ...{ ...dataRules, ranks: required(layerRules.twoRanks) },
    ...{ sweeps: optionRules.count, tolerance: optionRules.atLeastZero },
  };
  checkOptions("tucker2Conv", fit, rules);
  const { ranks, sweeps = 50, tolerance, seed = 0 } = fit;
  const dense = await convolutionWeights(source);
  const [outputs, inputs, height, width] = dense.extents;
  const lowered = channelRanks(ranks, inputs, outputs, height * width);
  const weights = await fittedWeights(engine, dense, "tucker2Conv", fit, async (kernel) => {
    using x = engine.tensor(dense.extents, kernel);
    const options = { sweeps, seed, ...(tolerance !== undefined && { tolerance }) };
    const { tensor } = await tuckerHOOI(engine, x, { ranks: [lowered[1], lowered[0], height, width], ...options });
    const parts = await tuckerParts(engine, tensor, outputs, inputs);
    tensor.destroy();
    const kernels: DenseKernel[] = [
      { weight: transposed(parts.inputs, lowered[0]), inputs, outputs: lowered[0], groups: 1, size: [1, 1] },
      { weight: parts.core, inputs: lowered[0], outputs: lowered[1], groups: 1, size: [height, width] },
      { weight: parts.outputs, inputs: lowered[1], outputs, groups: 1, size: [1, 1] },
    ];
    // a channel mode of full rank has the identity as its factor, and needs no 1×1 convolution
    return kernels.slice(lowered[0] === inputs ? 1 : 0, lowered[1] === outputs ? 2 : 3);
  });
  return new Tucker2Conv({ ...dense.options, ranks: lowered, weights });
}

/** @internal The core and the channel factors of a Tucker-2 tensor, read back; identities for the factors of full rank. */
export async function tuckerParts(
  engine: Engine,
  tensor: Awaited<ReturnType<typeof tuckerHOOI>>["tensor"],
  outputs: number,
  inputs: number,
) {
  const read = async (mode: number, extent: number): Promise<Float32Array> => {
    const factor = tensor.factors[mode];
    if (factor) return await engine.read(factor);
    return Float32Array.from({ length: extent * extent }, (_, e) => (e % (extent + 1) === 0 ? 1 : 0));
  };
  return {
    core: await engine.read(tensor.core),
    outputs: await read(0, outputs),
    inputs: await read(1, inputs),
  };
}

/** @internal A rows×columns matrix as columns×rows. */
export const transposed = (values: Float32Array, columns: number): Float32Array => {
  const rows = values.length / columns;
  return Float32Array.from(values, (_, e) => values[(e % rows) * columns + Math.floor(e / rows)]!);
};

export interface BlockTermConvFit extends AlternatingFit {
  /** G, the number of blocks */
  blocks: number;
  /** s and t, the ranks of the input and of the output channels in every block; lowered to what the kernel can have */
  ranks: readonly [inputs: number, outputs: number];
}

/**
 * A trained convolution by the block term decomposition of its kernel. By default one start, each of whose blocks begins with what
 * the blocks before it leave over, of at most 60 sweeps, and a `solverRidge` of 1e-6.
 *
 * @throws TenfoldError where an argument is unfit, ShapeError where the convolution has groups or the covariance another size
 */
export async function blockTermConv(
  engine: Engine,
  source: ConvolutionSource,
  fit: BlockTermConvFit,
): Promise<BlockTermConv> {
  assertEngine("blockTermConv", engine);
  const rules = { ...alternatingRules, blocks: required(optionRules.positive), ranks: required(layerRules.twoRanks) };
  checkOptions("blockTermConv", fit, rules);
  const { blocks, ranks, starts = 1, sweeps = 60, tolerance = 1e-6, solverRidge = 1e-6, seed = 0 } = fit;
  const dense = await convolutionWeights(source);
  const [outputs, inputs, height, width] = dense.extents;
  const lowered = channelRanks(ranks, inputs, outputs, height * width);
  const [s, t] = lowered;
  const weights = await fittedWeights(engine, dense, "blockTermConv", fit, async (kernel) => {
    using x = engine.tensor(dense.extents, kernel);
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
  return new BlockTermConv({ ...dense.options, blocks, ranks: lowered, weights });
}
