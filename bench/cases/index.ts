import type { Case } from "../case.js";
import type { Goal } from "../goals.js";
import { convolutionCase, tucker2Case } from "./convolution.js";
import {
  choleskyCase,
  eigenCase,
  fullEigenCase,
  fullQrCase,
  fullSvdCase,
  orthogonaliseCase,
  svdCase,
} from "./linearAlgebra.js";
import { gramCase, lowRankCase, matmulCase, modeProductCase, mttkrpCase } from "./products.js";
import { cpSweepCase, gaussNewtonCase, hooiSweepCase } from "./sweeps.js";
import { cpToErrorCase } from "./toError.js";
import { lenetCase, trainingCase } from "./training.js";

/** A goal for software adapters: the other libraries run on the same machine there. */
const software = (limit: number, against: "best peer" | "jax-js" | "ml-matrix" = "best peer"): Goal => ({
  against,
  limit,
  on: "software",
});
/** A share of the floor that the probes set. */
const byFloor = (limit: number): Goal => ({ against: "floor", limit, on: "GPU" });
const BY_FMA: Goal = { against: "FMA probe", limit: 0.7, on: "GPU" };
const byTensorly = (limit: number): Goal => ({ against: "TensorLy on CUDA", limit, on: "GPU" });
const BY_TORCH: Goal = { against: "torch on CUDA", limit: 1, on: "GPU" };
/** of products that a large GPU is to be kept busy with */
const LARGE = [byFloor(0.85), byTensorly(1)];
/** The wall time may be at most 1.25 times the kernels' time; dispatches that wait for JavaScript or for each other exceed it. */
const BY_KERNELS: Goal = { against: "its kernels", limit: 1.25 };

/** All cases, in the order of the table. `slim` makes every extent small, for a run that only checks. */
export function cases({ slim = false } = {}): Case[] {
  const size = (extent: number, most = 36): number => (slim ? Math.min(extent, most - (extent % 5)) : extent);
  const shape = (...extents: number[]): number[] => extents.map((extent) => size(extent, 20));
  const samples = (count: number, batch: number): number => (slim ? 3 * batch : count);
  const cube = shape(256, 256, 256);
  // 512 MiB, more than one binding has where limits are the least
  const wide = slim ? [19, 18, 17] : [512, 512, 512];
  const order4 = shape(100, 100, 100, 20);
  const modes = (extents: readonly number[]): number[] => extents.map((_, mode) => mode);
  // at slim sizes, too, too large for training in one workgroup, so that the kernels of single layers run
  const layered = slim ? { ...dense, inputs: 131, hidden: 67 } : dense;
  const list: Case[] = [
    ...[256, 512, 1024, 2048].map((n) =>
      matmulCase(size(n), size(n), size(n), n === 512 || n === 1024 ? [software(0.8)] : []),
    ),
    { ...matmulCase(size(4096), size(4096), size(4096), [BY_FMA]), large: true },
    matmulCase(size(30000, 500), size(784, 90), 16, [software(0.6), byFloor(0.7)]),
    matmulCase(size(4096), size(4096), 16, [software(0.6), byFloor(0.7)]),
    gramCase(size(30000, 500), 16, [byFloor(0.7)]),
    gramCase(size(4096, 200), size(256)),
    // LeNet's first dense layer, for one image and for a hundred
    ...[1, 100].map((rows) => lowRankCase(rows, size(400, 90), size(17, 9), size(120, 40))),
    ...modes(cube).map((mode) => modeProductCase(cube, size(32), mode, [software(0.7), byFloor(0.7), byTensorly(1)])),
    ...modes(wide).map((mode) => ({ ...modeProductCase(wide, size(32), mode, LARGE), large: true })),
    ...modes(wide).map((mode) => ({ ...mttkrpCase(wide, 16, mode, LARGE), large: true })),
    ...modes([60, 50, 40, 30]).map((mode) => modeProductCase(shape(60, 50, 40, 30), size(16), mode)),
    ...[shape(128, 128, 128), cube].flatMap((extents, large) =>
      [10, 16, 32, 64].flatMap((rank) =>
        modes(extents).map((mode) =>
          mttkrpCase(extents, rank, mode, large && rank === 16 ? [software(0.6), byFloor(0.7), byTensorly(1)] : []),
        ),
      ),
    ),
    ...[10, 16, 32, 64].flatMap((rank) => modes(order4).map((mode) => mttkrpCase(order4, rank, mode))),
    cpSweepCase(shape(200, 200, 200), slim ? 4 : 16, [software(0.5, "jax-js"), byTensorly(1 / 6)]),
    cpSweepCase(slim ? [40, 14, 15] : [6000, 28, 28], slim ? 3 : 10, [byTensorly(0.2)]),
    // small tensors take another path, at slim sizes too
    gaussNewtonCase(shape(18, 60, 30), 3, 4),
    gaussNewtonCase(slim ? [36, 34, 30] : [200, 200, 200], slim ? 4 : 16, 13),
    // what a user waits for: a model as good as asked for, from a tensor and a rank
    ...(
      [
        ["exact", slim ? [12, 13, 14] : [100, 100, 100], slim ? 3 : 10, null, 1e-3, 171, 193],
        ["collinear 0.9", slim ? [9, 10, 11] : [37, 53, 71], slim ? 3 : 5, 0.9, 0, 251, 257],
        ["collinear 0.9", slim ? [5, 6, 7, 4] : [11, 13, 17, 19], slim ? 2 : 4, 0.9, 0, 211, 239],
        ["noisy", slim ? [9, 12, 10] : [18, 60, 30], slim ? 2 : 3, null, 0.1, 21, 335],
      ] as const
    ).map(([kind, extents, rank, cosine, noise, reads, dispatches]) =>
      cpToErrorCase(kind, extents, rank, cosine, noise, {
        counts: toleratedCounts(reads, dispatches),
        sweeps: slim ? 60 : 2000,
      }),
    ),
    hooiSweepCase(shape(200, 200, 200), slim ? [4, 4, 4] : [16, 16, 16], [byTensorly(0.2)]),
    hooiSweepCase(slim ? [40, 14, 15] : [6000, 28, 28], slim ? [3, 3, 3] : [10, 10, 10], [byTensorly(0.2)]),
    // above 128 several workgroups work on the matrix, at slim sizes too
    ...[16, 32, 64, 128, 256].map((n) => eigenCase(n > 128 && slim ? 130 : size(n))),
    ...[16, 32, 64, 128, 256].map((n) => svdCase(n > 128 && slim ? 130 : size(n))),
    ...[16, 32, 64, 128, 256].map((n) => choleskyCase(size(n), size(1000, 200))),
    ...(
      [
        [30000, 16],
        [4096, 64],
        [1000, 256],
      ] as const
    ).map(([m, n]) => orthogonaliseCase(size(m, 300), size(n, 24))),
    // entire factorisations as users call them; 1024 is only measured by --cases, because ml-matrix takes 15 s for an SVD, and 2048 is for GPUs
    ...[128, 256, 512, 1024, 2048].flatMap((n) => {
      const goals = n >= 256 ? [software(n === 256 ? 1 : 0.5, "ml-matrix"), BY_TORCH] : [];
      // a side above 48, which is reduced by reflections, at slim sizes too
      const side = n > 128 && slim ? 66 : size(n);
      return [fullSvdCase, fullEigenCase].map((make) => ({ ...make(side, goals), large: n > 512 }));
    }),
    fullQrCase(slim ? 70 : 512, slim ? 66 : 512),
    fullQrCase(size(30000, 500), 16),
    convolutionCase(
      { batch: slim ? 2 : 8, inputs: size(64, 9), outputs: size(64, 9), size: size(32, 9), kernel: 3 },
      "conv2d 3×3 64→64, 32×32, batch 8",
      [software(0.8)],
    ),
    convolutionCase(
      { batch: slim ? 3 : 100, inputs: 1, outputs: 6, size: size(28, 9), kernel: 5 },
      "conv2d 5×5 1→6, 28×28, batch 100",
    ),
    convolutionCase(
      { batch: slim ? 2 : 8, inputs: size(256, 9), outputs: size(64, 9), size: size(28, 9), kernel: 1 },
      "conv2d 1×1 256→64, 28×28, batch 8",
    ),
    // LeNet's second convolution, for one image and for a hundred
    ...[1, 100].map((batch) =>
      tucker2Case(
        {
          batch: slim ? Math.min(batch, 3) : batch,
          inputs: 6,
          outputs: 16,
          size: size(14, 9),
          kernel: 5,
          ranks: [3, 8],
        },
        `Tucker-2 5×5 6→3→8→16, 14×14, batch ${batch}`,
      ),
    ),
    trainingCase("training step 784-128-10", { ...layered, samples: samples(16 * 128, 128) }, [
      software(0.5, "jax-js"),
      BY_KERNELS,
    ]),
    trainingCase("epoch 784-128-10, 6400 images", { ...layered, samples: samples(6400, 128) }, [software(0.4)]),
    ...(
      [
        [784, 3, 3, 8400],
        [3, 5, 3, 8400],
        [784, 10, 10, 28000],
        [15, 15, 10, 28000],
      ] as const
    ).map(([inputs, hidden, classes, count]) =>
      trainingCase(
        `epoch ${inputs}-${hidden}-${classes}, ${count} images`,
        {
          inputs: size(inputs),
          pixels: inputs === 784,
          hidden,
          classes,
          bias: false,
          samples: samples(count, 100),
          batch: 100,
          rate: 0.01,
          seed: 90,
        },
        [software(0.1)],
      ),
    ),
    lenetCase("LeNet, 1000 images", {
      samples: samples(1000, slim ? 4 : 100),
      batch: slim ? 4 : 100,
      rate: 0.002,
      seed: 95,
    }),
  ];
  return list;
}

/**
 * What `cp` may take to an error at slim sizes: a third more than it took on lavapipe, as the number of iterations differs between adapters
 * by some.
 */
const toleratedCounts = (reads: number, dispatches: number): Case["counts"] => ({
  reads: Math.ceil((4 * reads) / 3),
  dispatches: Math.ceil((4 * dispatches) / 3),
  submits: 40,
  readbacks: 32,
});

const dense = { inputs: 784, hidden: 128, classes: 10, pixels: true, bias: true, batch: 128, rate: 0.001, seed: 80 };
