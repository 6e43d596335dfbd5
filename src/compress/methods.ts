import { evbmf, truncatedSvd } from "../decompositions/index.js";
import type { Engine } from "../gpu/index.js";
import type { FitMemory } from "../nn/factorised/fitMemory.js";
import { GroupedConv } from "../nn/factorised/groupedConv.js";
import { singularValues } from "../nn/factorised/hostMatrices.js";
import { product } from "../nn/factorised/source.js";
import {
  blockTermConv,
  Conv2d,
  cpConv,
  type FactorisedConv,
  type Layer,
  Linear,
  separableBasisConv,
  spatialConv,
  svdLinear,
  TensorTrainLinear,
  tensorRingLinear,
  ttLinear,
  tucker2Conv,
} from "../nn/index.js";

/** A layer that stands for a dense weight or a convolution kernel. */
export type Factorised = Layer & { toDense(): Promise<Float32Array> };

/**
 * The ranks that a factorised layer has, in the form of a choice of ranks. They are one number where one was asked for and all
 * cores have the same rank. Fits lower ranks to what the layer can have, so they may be smaller than `asked`.
 */
export function ranksTaken(layer: Factorised, asked: readonly number[]): readonly number[] {
  const { rank, ranks } = layer as { rank?: unknown; ranks?: unknown };
  const all = layer instanceof TensorTrainLinear ? layer.ranks.slice(1, -1) : (ranks ?? [rank]);
  if (!Array.isArray(all) || !all.length || !all.every(Number.isInteger)) return asked;
  return asked.length === 1 && all.every((rank) => rank === all[0]) ? [all[0]] : all;
}

/** What a fit takes besides the layer and the ranks. */
export interface FitContext {
  engine: Engine;
  /** E[x·xᵀ] of the vectors x that the rows of the weight are multiplied with; null for a fit of the weight alone */
  covariance: Float64Array | null;
  seed: number;
  /** @internal what fits of the same layer share */
  memory?: FitMemory | undefined;
}

/** How one layer is decomposed by one method. */
export interface Decomposer {
  /** the largest ranks that are worth trying; `shares` are shares of these */
  readonly full: readonly number[];
  /** for layers where one rank stands for all cores: the number of ranks, which a choice may also list one by one */
  readonly cores?: number;
  /** @internal fits of decomposers with this name are the same ones for a layer, whichever method they belong to */
  readonly shared?: string;
  /** The ranks that EVBMF finds in the layer's unfoldings (Nakajima et al. 2013); 0 for an unfolding that is nothing but noise. */
  evbmf?(engine: Engine): Promise<number[]>;
  fit(context: FitContext, ranks: readonly number[]): Promise<Factorised>;
}

/** A way to decompose layers. */
export interface Method {
  readonly name: string;
  /** the name in full, with the paper */
  readonly title: string;
  /** what the method saves most: weights where it decomposes dense layers, multiplications where it decomposes convolutions */
  readonly saves: "weights" | "multiplications";
  /** how a layer is decomposed; null for layers that the method does not decompose */
  of(layer: Layer): Decomposer | null;
  /** why the method does not decompose a layer, for reports */
  why?(layer: Layer): string;
}

/** largest smaller side of a matrix that has a full SVD on the GPU */
const LARGEST_SVD = 1024;
/** largest rank of a larger matrix: a subspace iteration carries eight columns more than the rank, and takes a full SVD of them */
const MOST_SVD_RANK = LARGEST_SVD - 8;

/** The rank that EVBMF finds in a rows×columns matrix, from all of its singular values. */
export async function evbmfRank(engine: Engine, values: Float32Array, rows: number, columns: number): Promise<number> {
  // in f64 on the host, because the Gram matrix squares the condition number, which leaves half of the digits
  if (Math.min(rows, columns) > LARGEST_SVD) return evbmf(singularValues(values, rows, columns), rows, columns).rank;
  using a = engine.tensor([rows, columns], values);
  using decomposition = await truncatedSvd(engine, a, { rank: Math.min(rows, columns) });
  return evbmf(await decomposition.values.read(), rows, columns).rank;
}

/** `count` factors of n in ascending order, near to each other in size. Some are 1 where n has too few factors. */
export function balancedModes(n: number, count: number): number[] {
  if (count === 1) return [n];
  const wanted = n ** (1 / count);
  let best = 1;
  for (let factor = 1; factor <= n; factor++)
    if (n % factor === 0 && Math.abs(Math.log(factor / wanted)) < Math.abs(Math.log(best / wanted))) best = factor;
  return [best, ...balancedModes(n / best, count - 1)].sort((a, b) => a - b);
}

// ---- dense layers

/** The context as options of a fit. */
const aware = ({ covariance, seed, memory }: FitContext) => ({ seed, memory, ...(covariance && { covariance }) });

/** The largest rank of a rows×columns matrix that a truncated SVD can have. */
const matrixRank = (rows: number, columns: number): number => {
  const side = Math.min(rows, columns);
  return side > LARGEST_SVD ? MOST_SVD_RANK : side;
};

const svd = (layer: Linear): Decomposer => ({
  shared: "svd",
  full: [matrixRank(layer.inputs, layer.outputs)],
  evbmf: async (engine) => [await evbmfRank(engine, await layer.weight.read(), layer.outputs, layer.inputs)],
  fit: (context, [rank]) => svdLinear(context.engine, layer, { rank: rank!, ...aware(context) }),
});

/** largest ranks of tensor trains and tensor rings that are worth trying for a dense layer */
const MOST_TRAIN_RANK = 40;
const MOST_RING_RANK = 16;

/** Modes of a dense layer's inputs and outputs: three of each where both sides are 60 or more, else two. */
function modesOf(layer: Linear): { inputModes: number[]; outputModes: number[] } {
  const count = Math.min(layer.inputs, layer.outputs) >= 60 ? 3 : 2;
  return { inputModes: balancedModes(layer.inputs, count), outputModes: balancedModes(layer.outputs, count) };
}

/** A list of one rank as the one rank of all cores; a longer list as the ranks of the cores. */
const forAll = (ranks: readonly number[]): number | readonly number[] => (ranks.length === 1 ? ranks[0]! : ranks);

function tensorTrain(layer: Linear): Decomposer {
  const modes = modesOf(layer);
  const sizes = modes.inputModes.map((m, k) => m * modes.outputModes[k]!);
  const cuts = sizes.slice(1).map((_, k) => Math.min(product(sizes.slice(0, k + 1)), product(sizes.slice(k + 1))));
  return {
    full: [Math.min(MOST_TRAIN_RANK, Math.max(...cuts))],
    cores: cuts.length,
    fit: (context, ranks) => ttLinear(context.engine, layer, { ...modes, ranks: forAll(ranks), ...aware(context) }),
  };
}

function tensorRing(layer: Linear): Decomposer {
  const modes = modesOf(layer);
  return {
    full: [Math.min(MOST_RING_RANK, Math.floor(Math.sqrt(Math.min(layer.inputs, layer.outputs))))],
    cores: modes.inputModes.length + modes.outputModes.length,
    fit: (context, ranks) =>
      tensorRingLinear(context.engine, layer, { ...modes, ranks: forAll(ranks), sweeps: 10, ...aware(context) }),
  };
}

// ---- convolutions

/** tolerance of alternating fits, looser than their default, because many are tried and fine-tuning follows */
const TOLERANCE = 1e-5;
/** most multiplications of an alternating fit: those of a layer of 512→512 channels would take many minutes for their last per cents */
const MOST_WORK = 2e11;
/** sweeps that every fit, and every correction of one, may take */
const LEAST_SWEEPS = 20;
const LEAST_CORRECTIONS = 8;

/** How many sweeps a fit may take, of which each takes so many multiplications. */
const sweepsWithin = (most: number, least: number, multiplications: number): number =>
  Math.min(most, Math.max(least, Math.floor(MOST_WORK / multiplications)));

/** Multiplications of a sweep of CP: products of the kernel with the other factors for each of four, and the equations of each. */
const cpSweep = ({ inputs, outputs, kernel }: Conv2d, rank: number): number =>
  4 * rank * (inputs * outputs * product(kernel) + rank ** 2);

/** Tucker-2. The ranks are those of the unfoldings along the input channels and along the output channels. */
const tucker2 = (layer: Conv2d): Decomposer => ({
  full: [layer.inputs, layer.outputs],
  async evbmf(engine) {
    const weight = await layer.weight.read();
    const taps = product(layer.kernel);
    const { inputs, outputs } = layer;
    const byInput = new Float32Array(weight.length);
    for (let o = 0; o < outputs; o++)
      for (let c = 0; c < inputs; c++)
        for (let k = 0; k < taps; k++) byInput[(c * outputs + o) * taps + k] = weight[(o * inputs + c) * taps + k]!;
    // a single channel has rank 1: a matrix of one row gives no estimate of the noise
    return [
      inputs === 1 ? 1 : await evbmfRank(engine, byInput, inputs, outputs * taps),
      outputs === 1 ? 1 : await evbmfRank(engine, weight, outputs, inputs * taps),
    ];
  },
  fit: (context, ranks) =>
    tucker2Conv(context.engine, layer, { ranks: [ranks[0]!, ranks[1]!], tolerance: TOLERANCE, ...aware(context) }),
});

const spatial = (layer: Conv2d): Decomposer => ({
  full: [matrixRank(layer.inputs * layer.kernel[0], layer.outputs * layer.kernel[1])],
  fit: (context, [rank]) => spatialConv(context.engine, layer, { rank: rank!, ...aware(context) }),
});

/** A 1×1 kernel is a matrix, so its separable filters are the two factors of an SVD. */
const pointwise = (layer: Conv2d): Decomposer => ({
  ...spatial(layer),
  shared: "pointwise",
  evbmf: async (engine) => [await evbmfRank(engine, await layer.weight.read(), layer.outputs, layer.inputs)],
});

const separableBasis = (layer: Conv2d): Decomposer => ({
  full: [product(layer.kernel)],
  fit: (context, [rank]) => separableBasisConv(context.engine, layer, { rank: rank!, ...aware(context) }),
});

const cp =
  (correct: boolean) =>
  (layer: Conv2d): Decomposer => ({
    // the rank at which CP has as many weights as the kernel
    full: [
      Math.ceil(
        (layer.inputs * layer.outputs * product(layer.kernel)) /
          (layer.inputs + layer.outputs + layer.kernel[0] + layer.kernel[1]),
      ),
    ],
    fit: (context, [rank]) =>
      cpConv(context.engine, layer, {
        rank: rank!,
        correct,
        starts: 1,
        sweeps: sweepsWithin(60, LEAST_SWEEPS, cpSweep(layer, rank!)),
        // beside the sweep, ten cubes of the rank for each of four factors: eigenvectors, or the ridges that are tried
        correctionSweeps: sweepsWithin(60, LEAST_CORRECTIONS, cpSweep(layer, rank!) + 40 * rank! ** 3),
        tolerance: TOLERANCE,
        ...aware(context),
      }),
  });

const BLOCKS = 2;

function blockTerm(layer: Conv2d): Decomposer {
  // a single channel has one block, because two blocks would need a channel each
  const blocks = Math.min(BLOCKS, layer.inputs, layer.outputs);
  return {
    full: [Math.ceil(layer.inputs / blocks), Math.ceil(layer.outputs / blocks)],
    fit: (context, ranks) =>
      blockTermConv(context.engine, layer, {
        blocks,
        ranks: [ranks[0]!, ranks[1]!],
        sweeps: 30,
        tolerance: TOLERANCE,
        ...aware(context),
      }),
  };
}

/**
 * A convolution with groups, each of which is decomposed as a convolution of its own, with the same ranks.
 *
 * @param decomposerOf how a convolution without groups is decomposed
 */
function grouped(layer: Conv2d, decomposerOf: (layer: Conv2d) => Decomposer | null): Decomposer | null {
  const { groups, kernel, stride, padding, dilation, activation } = layer;
  const [inputs, outputs] = [layer.inputs / groups, layer.outputs / groups];
  const shape = { inputs, outputs, kernel, stride, padding, dilation, activation };
  const one = decomposerOf(new Conv2d(shape));
  return (
    one && {
      full: one.full,
      // a memory is of one weight, and each group has another
      async fit({ covariance, memory: _, ...context }, ranks) {
        const weight = await layer.weight.read();
        const bias = await layer.bias?.read();
        const [size, width] = [weight.length / groups, inputs * product(kernel)];
        const parts: FactorisedConv[] = [];
        for (let group = 0; group < groups; group++) {
          const part = new Conv2d({
            ...shape,
            weight: weight.slice(group * size, (group + 1) * size),
            bias: bias?.slice(group * outputs, (group + 1) * outputs) ?? false,
          });
          const block = covariance && diagonalBlock(covariance, groups * width, group * width, width);
          parts.push((await decomposerOf(part)!.fit({ ...context, covariance: block }, ranks)) as FactorisedConv);
        }
        return Object.assign(await GroupedConv.of(parts), { ranks: ranksTaken(parts[0]!, ranks) });
      },
    }
  );
}

/** A block on the diagonal of an n×n matrix. Null where it is 0, because such a covariance weighs nothing. */
function diagonalBlock(matrix: Float64Array, n: number, from: number, width: number): Float64Array | null {
  const block = new Float64Array(width * width);
  for (let i = 0; i < width; i++)
    block.set(matrix.subarray((from + i) * n + from, (from + i) * n + from + width), i * width);
  return block.some((value) => value !== 0) ? block : null;
}

const NEITHER = () => null;

const isDepthwise = ({ groups, inputs }: Conv2d): boolean => groups > 1 && groups === inputs;

function method(
  name: string,
  title: string,
  dense: (layer: Linear) => Decomposer | null,
  convolution: (layer: Conv2d) => Decomposer | null,
): Method {
  return {
    name,
    title,
    saves: convolution === NEITHER ? "weights" : "multiplications",
    of(layer) {
      if (layer instanceof Linear) return dense(layer);
      if (!(layer instanceof Conv2d) || isDepthwise(layer)) return null;
      // dense layers and 1×1 kernels are matrices alike
      const decomposerOf = product(layer.kernel) === 1 && dense === svd ? pointwise : convolution;
      return layer.groups > 1 ? grouped(layer, decomposerOf) : decomposerOf(layer);
    },
    why(layer) {
      if (!layer.parameters.length) return "it has no weights";
      if (!(layer instanceof Conv2d)) return "only layers of Linear and Conv2d are decomposed";
      if (isDepthwise(layer)) return "it is depthwise: each of its groups has one channel, which is little already";
      return dense === svd ? `${name} is for dense layers and 1×1 kernels` : `${name} is for dense layers`;
    },
  };
}

/** All methods. A method for convolutions decomposes dense layers by the SVD. */
export const METHODS: readonly Method[] = [
  method("svd", "SVD of dense layers (Denton et al. 2014)", svd, NEITHER),
  method("tt", "Tensor train (Novikov et al. 2015)", tensorTrain, NEITHER),
  method("ring", "Tensor ring (Wang et al. 2018)", tensorRing, NEITHER),
  method("jaderberg1", "Separable basis (Jaderberg et al. 2014, scheme 1)", svd, separableBasis),
  method("jaderberg2", "Separable filters (Jaderberg et al. 2014, scheme 2)", svd, spatial),
  method("cp", "CP (Lebedev et al. 2015)", svd, cp(false)),
  method("cp-corrected", "CP, bounded sensitivity (Phan et al. 2020)", svd, cp(true)),
  method("btd", "Block terms (Wang & Cheng 2016)", svd, blockTerm),
  method("tucker2", "Tucker-2 (Kim et al. 2016)", svd, tucker2),
];
