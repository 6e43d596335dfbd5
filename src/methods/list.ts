import {
  blockTermALS,
  type CpGaussNewtonOptions,
  cp,
  cpALS,
  type Decomposition,
  hosvd,
  nmf,
  nonnegativeTucker,
  parafac2,
  stHosvd,
  tensorRingALS,
  tensorRingSVD,
  truncatedSvd,
  ttSVD,
  tuckerHOOI,
} from "../decompositions/index.js";
import type { Engine } from "../gpu/index.js";
import { Masked } from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { type Asked, type Method, type Solution, type Task, tensorOf, type Watch } from "./method.js";

const ANY_ORDER = { least: 2, most: 8, otherwise: "give the array two to eight modes" };
const product = (numbers: readonly number[]): number => numbers.reduce((a, b) => a * b, 1);
const ofModes = { count: (order: number) => order, of: ["mode", "modes"] as const };
const listed = (ranks: readonly number[]): string => `rank${ranks.length === 1 ? "" : "s"} ${ranks.join(", ")}`;

/** What `asked` and the algorithm's defaults say together, and how solvers are watched. */
function settle({ algorithm, asked, watch }: Task) {
  const { init, ...settings } = { seed: 0, ...algorithm.defaults, ...asked };
  const { onProgress, onStarts, ...stepwise } = watch;
  const { sweeps, tolerance } = settings;
  return {
    ...settings,
    init,
    /** of solvers that go by steps */
    stopping: { ...stepwise, ...(sweeps !== undefined && { sweeps }), ...(tolerance !== undefined && { tolerance }) },
    onStarts,
    /** of those that do not */
    direct: { signal: watch.signal, ...(onProgress && { onProgress }) } satisfies Partial<Watch>,
  };
}

/** Ranks, or the error that finds them, as solvers take them. */
const size = ({ ranks, error }: Asked): { ranks: number | readonly number[] } | { relativeError: number } =>
  ranks ? { ranks: ranks.length === 1 ? ranks[0]! : ranks } : { relativeError: error! };

const ranksOf = ({ ranks }: Asked): number | readonly number[] => (ranks!.length === 1 ? ranks![0]! : ranks!);

/** What a solver that goes by steps came to. */
const stepped = <T extends Solution["tensor"]>(
  title: string,
  ranks: readonly number[],
  result: Decomposition<T> & Pick<Solution, "starts">,
): Solution => ({
  title: `${title}, ${listed(ranks)}`,
  ranks,
  tensor: result.tensor,
  relativeError: result.relativeError,
  course: result,
  ...(result.starts && { starts: result.starts }),
  // no model without negative entries follows those of X
  remarks: result.negativePart
    ? [
        [
          "negative part",
          `${result.negativePart.toPrecision(3)}: the relative error of max(X, 0), the least that is possible`,
        ],
      ]
    : [],
});

const CP: Method = {
  name: "cp",
  title: "CP",
  summary: "a sum of rank-one terms (PARAFAC, CANDECOMP)",
  algorithms: [
    {
      name: "gauss-newton",
      note: "A sum of rank-one terms, each a column a mode: the components. By damped Gauss-Newton from several starts (Sorber, Van Barel & De Lathauwer 2013).",
      steps: "iterations",
      takes: [
        ...(["rank", "starts", "sweeps", "tolerance", "init", "fixed", "nonnegative", "seed"] as const),
        ...(["memory", "missing", "checkpoint"] as const),
      ],
      defaults: { starts: 4, sweeps: 500 },
      inits: ["random", "hosvd", "gevd"],
      startsFromFactors: true,
    },
    {
      name: "als",
      note: "A sum of rank-one terms, one factor after the other by alternating least squares (Kolda & Bader 2009, section 3.4). Less memory; it may creep where components are alike.",
      steps: "sweeps",
      takes: [
        ...(["rank", "starts", "sweeps", "tolerance", "init", "nonnegative", "seed"] as const),
        ...(["memory", "missing", "checkpoint"] as const),
      ],
      defaults: { starts: 1, sweeps: 100, init: "random" },
      inits: ["random", "hosvd"],
    },
  ],
  needs: [["rank"]],
  apart: [
    ["nonnegative", "fixed"],
    ["nonnegative", "checkpoint"],
  ],
  order: ANY_ORDER,
  // any tensor is a sum of as many rank-one terms as it has fibres along its longest mode
  mostRank: (shape) => product(shape) / Math.max(...shape),
  saves: [
    "weights (R) and factor_0, factor_1, … (extent×R) with columns of length 1:",
    "numpy.einsum('r,ir,jr,kr->ijk', weights, factor_0, factor_1, factor_2)",
  ],
  examples: [
    "X.npy --rank 10",
    "X.npy --method cp --rank 10 --out result.npz",
    "X.npy --rank 10 --starts 16",
    "X.npy --rank 10 --init result.npz --out better.npz",
    "X.npy --rank 3 --fixed 0:spectra.npy",
    "X.npy --rank 10 --nonnegative",
    "X.npy --rank 10 --algorithm als --init hosvd --tolerance 0",
  ],
  async run(engine, x, task) {
    const { rank, init, fixed, starts, seed, nonnegative = false, stopping, onStarts } = settle(task);
    const common = { rank: rank!, seed, nonnegative, ...stopping };
    if (task.algorithm.name === "als") {
      const initialize = init as "random" | "hosvd";
      return stepped("CP", [rank!], await cpALS(engine, x, { ...common, starts: starts!, initialize }));
    }
    const initialize = init as CpGaussNewtonOptions["initialize"];
    const { starts: asked } = task.asked;
    // how many there are where nobody says, `cp` knows: factors are one start, and there are more where no two agree
    const result = await cp(engine, x, {
      ...common,
      ...(initialize && { initialize }),
      ...(asked !== undefined && { starts: asked }),
      ...(fixed && { fixed }),
      ...(onStarts && { onStarts }),
    });
    return stepped("CP", [rank!], result);
  },
};

const TUCKER: Method = {
  name: "tucker",
  title: "Tucker",
  summary: "a core and a factor a mode",
  algorithms: [
    {
      name: "hooi",
      note: "A small core times a matrix with orthonormal columns in every mode, by higher-order orthogonal iteration (Kolda & Bader 2009, section 4.2). A rank as large as its mode leaves that mode alone.",
      steps: "sweeps",
      takes: ["ranks", "error", "sweeps", "tolerance", "seed", "memory", "missing", "checkpoint"],
      defaults: { sweeps: 100 },
    },
    {
      name: "hosvd",
      note: "Tucker without iterations, by the leading singular vectors of every unfolding (De Lathauwer, De Moor & Vandewalle 2000): quick, and nearly as good.",
      steps: null,
      takes: ["ranks", "error", "seed", "memory"],
      defaults: {},
    },
    {
      name: "st-hosvd",
      note: "Tucker without iterations, each mode reduced before the next is looked at (Vannieuwenhoven, Vandebril & Meerbergen 2012): the quickest.",
      steps: null,
      takes: ["ranks", "error", "seed", "memory"],
      defaults: {},
    },
    {
      name: "hals",
      note: "Tucker without a negative entry in core or factors, by hierarchical alternating least squares (Phan & Cichocki 2011).",
      steps: "sweeps",
      takes: ["ranks", "starts", "sweeps", "tolerance", "seed", "nonnegative"],
      defaults: { starts: 1, sweeps: 200 },
      isNonnegative: true,
    },
  ],
  needs: [["ranks", "error"]],
  apart: [
    ["checkpoint", "error"],
    ["checkpoint", "missing"],
  ],
  order: ANY_ORDER,
  places: { ...ofModes, isBounded: true },
  saves: [
    "core (R0×R1×…) and factor_0, … (extent×rank) with orthonormal columns:",
    "numpy.einsum('abc,ia,jb,kc->ijk', core, factor_0, factor_1, factor_2)",
  ],
  examples: [
    "X.npy --method tucker --ranks 15,10,10 --out result.npz",
    "X.npy --method tucker --error 0.01",
    "X.npy --method tucker --ranks 5,5,5 --nonnegative",
  ],
  async run(engine, x, task) {
    const { starts, seed, stopping, direct } = settle(task);
    const { name } = task.algorithm;
    if (name === "hosvd" || name === "st-hosvd") {
      const solver = name === "hosvd" ? hosvd : stHosvd;
      const { tensor, relativeError } = await solver(engine, x, {
        ...size(task.asked),
        seed,
        signal: direct.signal,
      });
      const ranks = [...tensor.core.shape];
      return { title: `Tucker, ${listed(ranks)}`, ranks, tensor, relativeError, remarks: [] };
    }
    const result =
      name === "hals"
        ? await nonnegativeTucker(engine, x, { ranks: ranksOf(task.asked), starts: starts!, seed, ...stopping })
        : await tuckerHOOI(engine, x, { ...size(task.asked), seed, ...stopping });
    return stepped("Tucker", [...result.tensor.core.shape], result);
  },
};

const TENSOR_TRAIN: Method = {
  name: "tensor-train",
  title: "Tensor train",
  summary: "a core a mode, each multiplied with the next, by TT-SVD",
  algorithms: [
    {
      name: "svd",
      note: "A chain of cores, one a mode, by successive singular value decompositions (Oseledets 2011). For tensors of many modes, to compress them. Ranks lie between modes.",
      steps: null,
      takes: ["ranks", "error", "seed", "memory"],
      defaults: {},
    },
  ],
  needs: [["ranks", "error"]],
  order: ANY_ORDER,
  places: {
    count: (order) => order - 1,
    of: ["pair of neighbouring modes", "pairs of neighbouring modes"],
    isBounded: false,
  },
  saves: [
    "core_0, core_1, … (rank before×extent×rank after; 1 at both ends):",
    "numpy.einsum('aib,bjc,ckd->ijk', core_0, core_1, core_2)",
  ],
  examples: ["X.npy --method tensor-train --error 1e-3", "X.npy --method tensor-train --ranks 8,8 --out train.npz"],
  async run(engine, x, task) {
    const { seed, direct } = settle(task);
    const { tensor, relativeError } = await ttSVD(engine, x, { ...size(task.asked), seed, ...direct });
    const ranks = tensor.ranks.slice(1, -1);
    return { title: `tensor train, ${listed(ranks)}`, ranks, tensor, relativeError, remarks: [] };
  },
};

const TENSOR_RING: Method = {
  name: "tensor-ring",
  title: "Tensor ring",
  summary: "a train whose last core is multiplied with the first",
  algorithms: [
    {
      name: "svd",
      note: "A chain of cores that closes to a ring, by successive singular value decompositions (Zhao et al. 2016).",
      steps: null,
      takes: ["ranks", "error", "seed", "memory"],
      defaults: {},
    },
    {
      name: "als",
      note: "A chain of cores that closes to a ring, by alternating least squares (Zhao et al. 2016).",
      steps: "sweeps",
      takes: ["ranks", "sweeps", "tolerance", "seed", "memory"],
      defaults: { sweeps: 100 },
    },
  ],
  needs: [["ranks", "error"]],
  order: ANY_ORDER,
  places: { ...ofModes, isBounded: false },
  saves: [
    "ring_core_0, ring_core_1, … (rank before×extent×rank after):",
    "numpy.einsum('aib,bjc,cka->ijk', ring_core_0, ring_core_1, ring_core_2)",
  ],
  examples: ["X.npy --method tensor-ring --ranks 4", "X.npy --method tensor-ring --ranks 4,4,4 --algorithm als"],
  async run(engine, x, task) {
    const { seed, stopping, direct } = settle(task);
    const course =
      task.algorithm.name === "als"
        ? await tensorRingALS(engine, x, { ranks: ranksOf(task.asked), seed, ...stopping })
        : null;
    const { tensor, relativeError } =
      course ?? (await tensorRingSVD(engine, x, { ...size(task.asked), seed, ...direct }));
    const ranks = [...tensor.ranks];
    return {
      title: `tensor ring, ${listed(ranks)}`,
      ranks,
      tensor,
      relativeError,
      ...(course && { course }),
      remarks: [],
    };
  },
};

const BLOCK_TERM: Method = {
  name: "block-term",
  title: "Block terms",
  summary: "a sum of Tucker tensors, its blocks, by alternating least squares",
  algorithms: [
    {
      name: "als",
      note: "A sum of small Tucker models (De Lathauwer & Nion 2008): components that are more than one column a mode.",
      steps: "sweeps",
      takes: ["blocks", "ranks", "starts", "sweeps", "tolerance", "seed", "memory"],
      defaults: { starts: 1, sweeps: 100 },
    },
  ],
  needs: [["blocks"], ["ranks"]],
  order: { ...ANY_ORDER, least: 3, otherwise: "give it a shape with more modes, or take tucker" },
  places: { ...ofModes, isBounded: true },
  saves: [
    "of each block g: block_g_core and block_g_factor_0, …; X is about the sum of",
    "numpy.einsum('abc,ia,jb,kc->ijk', block_0_core, block_0_factor_0, …)",
  ],
  examples: ["X.npy --method block-term --blocks 3 --ranks 2,2,2"],
  async run(engine, x, task) {
    const { blocks, starts, seed, stopping } = settle(task);
    const ranks = ranksOf(task.asked);
    const result = await blockTermALS(engine, x, { blocks: blocks!, ranks, starts: starts!, seed, ...stopping });
    return stepped(`${blocks} block terms`, [...result.tensor.blocks[0]!.core.shape], result);
  },
};

const SVD: Method = {
  name: "svd",
  title: "SVD",
  summary: "of a matrix: its leading singular values and vectors",
  algorithms: [
    {
      name: "svd",
      note: "The leading singular values and vectors of a matrix: the best approximation of this rank (Eckart & Young 1936). PCA without centring.",
      steps: null,
      takes: ["rank", "error", "seed"],
      defaults: {},
    },
  ],
  needs: [["rank", "error"]],
  order: { least: 2, most: 2, otherwise: "for tensors there are cp and tucker" },
  mostRank: (shape) => Math.min(...shape),
  names: { factor_0: "u", weights: "values", factor_1: "v" },
  saves: ["u (m×R), values (R) and v (n×R):", "u @ numpy.diag(values) @ v.T"],
  examples: ["A.npy --method svd --rank 5 --out svd.npz"],
  async run(engine, x, task) {
    const { seed, direct } = settle(task);
    const { rank, error } = task.asked;
    const asked = rank === undefined ? { relativeError: error! } : { rank };
    const result = await truncatedSvd(engine, tensorOf("svd", x), { ...asked, seed, ...direct });
    const { u, values, v, relativeError } = result;
    const [largest, ...others] = await engine.read(values);
    const smallest = others.at(-1) ?? largest!;
    return {
      title: `SVD, rank ${result.rank}`,
      ranks: [result.rank],
      tensor: new KruskalTensor(values, [u, v]),
      relativeError,
      remarks: smallest
        ? [["condition", `${(largest! / smallest).toPrecision(3)}: largest singular value by smallest`]]
        : [],
    };
  },
};

const NMF: Method = {
  name: "nmf",
  title: "NMF",
  summary: "of a matrix: W·H without negative entries",
  algorithms: [
    {
      name: "hals",
      note: "A matrix as W·H without a negative entry (Lee & Seung 1999), by accelerated hierarchical alternating least squares (Gillis & Glineur 2012).",
      steps: "sweeps",
      takes: ["rank", "starts", "sweeps", "tolerance", "init", "seed"],
      defaults: { starts: 1, sweeps: 200, init: "nndsvd" },
      inits: ["nndsvd", "random"],
      isNonnegative: true,
    },
  ],
  needs: [["rank"]],
  order: { least: 2, most: 2, otherwise: "for tensors there is cp without negative entries" },
  saves: ["w (m×R) and h (R×n): w @ h"],
  examples: ["A.npy --method nmf --rank 5 --out nmf.npz"],
  async run(engine, x, task) {
    const { rank, init, starts, seed, stopping } = settle(task);
    const initialize = init as "nndsvd" | "random";
    const options = { rank: rank!, initialize, starts: starts!, seed, ...stopping };
    return stepped("NMF", [rank!], await nmf(engine, tensorOf("nmf", x), options));
  },
};

const PARAFAC2: Method = {
  name: "parafac2",
  title: "PARAFAC2",
  summary: "of slices X[k]: projections, and A, B, C for all of them",
  algorithms: [
    {
      name: "als",
      note: "Slices of one kind whose first mode may differ in length, as runs of a machine (Harshman 1972; Kiers, ten Berge & Bro 1999): A has a row a slice, C is common, and B is turned to each slice.",
      steps: "iterations",
      takes: ["rank", "starts", "sweeps", "tolerance", "init", "seed", "nonnegative", "missing", "checkpoint"],
      defaults: { starts: 1, sweeps: 500, init: "svd" },
      inits: ["svd", "random"],
    },
  ],
  needs: [["rank"]],
  order: { least: 3, most: 3, otherwise: "it takes K×I×J, slices of mode 0, or matrices that are the slices" },
  mostRank: (shape) => Math.min(shape[1]!, shape[2]!),
  saves: [
    "weights (R), a (K×R), b (R×R), c (J×R), projection_0, projection_1, … (I×R):",
    "projection_0 @ b @ numpy.diag(weights * a[0]) @ c.T",
    "Of a file of several matrices, they are the slices, by name (run2, run10).",
  ],
  examples: [
    "X.npy --method parafac2 --rank 3 --out parafac2.npz",
    "slices.npz --method parafac2 --rank 3",
    "runs.mat:run* --method parafac2 --rank 3",
  ],
  run: (engine, x, task) =>
    slicewise(engine, x instanceof Masked ? x : tensorOf("parafac2", x), (k) => String(k), task),
  runSlices: (engine, slices, task) =>
    slicewise(
      engine,
      slices.map(({ x }) => x),
      (k) => slices[k]!.name,
      task,
    ),
};

async function slicewise(
  engine: Engine,
  slices: Parameters<typeof parafac2>[1],
  nameOf: (k: number) => string,
  task: Task,
): Promise<Solution> {
  const { rank, init, starts, seed, nonnegative = false, stopping } = settle(task);
  const initialize = init as "svd" | "random";
  const options = { rank: rank!, initialize, starts: starts!, seed, nonnegative, ...stopping };
  const result = await parafac2(engine, slices, options);
  const { sliceErrors } = result;
  const worst = sliceErrors.indexOf(Math.max(...sliceErrors));
  return {
    ...stepped("PARAFAC2", [rank!], result),
    remarks: [["worst slice", `${nameOf(worst)}, with an error of ${sliceErrors[worst]!.toPrecision(3)}`]],
  };
}

/** The methods that a command or a page offers, in this order. A method that is added is a row here, and its test. */
export const METHODS: readonly Method[] = [CP, TUCKER, TENSOR_TRAIN, TENSOR_RING, BLOCK_TERM, SVD, NMF, PARAFAC2];
