/** The decompositions that the page offers: a row each. */
import {
  type BlockTermTensor,
  blockTermALS,
  cp,
  cpALS,
  type Decomposition,
  type Engine,
  hosvd,
  KruskalTensor,
  type Masked,
  nmf,
  nonnegativeTucker,
  permute,
  type StoppingOptions,
  stHosvd,
  type Tensor,
  type TensorRing,
  type TensorTrain,
  type TuckerTensor,
  tensorRingALS,
  truncatedSvd,
  ttSVD,
  tuckerHOOI,
} from "../../../src/index.js";

export type AnyTensor = KruskalTensor | TuckerTensor | TensorTrain | TensorRing | BlockTermTensor;

/** What is set for a method. */
export interface MethodSettings {
  rank: number;
  /** one for all modes, or one each, as the user wrote them */
  ranks: readonly number[];
  blocks: number;
  starts: number;
  seed: number;
  sweeps: number;
}

/** A control that a method needs. */
export type Field = "rank" | "ranks" | "blocks" | "starts" | "seed" | "sweeps";

/** How a run ended. */
export interface Outcome {
  tensor: AnyTensor;
  relativeError: number;
  errors: readonly number[];
  converged: boolean;
  stalled: boolean;
  aborted: boolean;
  starts: { errors: readonly number[]; agreeing: number } | null;
}

export interface Method {
  id: string;
  title: string;
  note: string;
  fields: readonly Field[];
  /** how many ranks there are for a tensor of this order, where there are any */
  rankCount: (order: number) => number;
  leastOrder: number;
  /** no more modes than this */
  mostOrder?: number;
  /** whether entries may be missing */
  takesMissing?: true;
  /** whether nothing of the result is negative, so that negative entries are lost */
  isNonnegative?: true;
  /** the most memory of the GPU that it takes, in tensors of X's size, more or less */
  memory: number;
  /** `x` has missing entries only for methods that take them */
  run(engine: Engine, x: Tensor | Masked, settings: MethodSettings, stopping: StoppingOptions): Promise<Outcome>;
}

/** One number stands for all modes; the library lowers it where a mode has no room for it. */
const ranksOf = ({ ranks }: MethodSettings): number | readonly number[] => (ranks.length === 1 ? ranks[0]! : ranks);

const swept = ({ tensor, relativeError, errors, converged, stalled, aborted }: Decomposition<AnyTensor>): Outcome => ({
  ...{ tensor, relativeError, errors, converged, stalled, aborted },
  starts: null,
});
/** What has no sweeps is done when it is done. */
const direct = (tensor: AnyTensor, relativeError: number): Outcome => ({
  ...{ tensor, relativeError, errors: [], converged: true, stalled: false, aborted: false },
  starts: null,
});

const ofModes = (order: number): number => order;

/** What the Tucker decompositions that take no iterations have in common. */
const withoutSweeps = (solver: typeof hosvd | typeof stHosvd): Omit<Method, "id" | "title" | "note"> => ({
  fields: ["ranks", "seed"],
  rankCount: ofModes,
  leastOrder: 2,
  memory: 3,
  run: async (engine, x, settings, { signal }) =>
    swept({
      ...(await solver(engine, x as Tensor, { signal, ranks: ranksOf(settings), seed: settings.seed })),
      errors: [],
    }),
});

export const METHODS: readonly Method[] = [
  {
    id: "cp",
    title: "CP (PARAFAC, CANDECOMP)",
    takesMissing: true,
    note: "A sum of rank-one terms, each a column a mode: the components. By damped Gauss-Newton from several starts (Sorber, Van Barel & De Lathauwer 2013).",
    fields: ["rank", "starts", "seed", "sweeps"],
    rankCount: () => 0,
    leastOrder: 2,
    memory: 3,
    async run(engine, x, { rank, starts, seed, sweeps }, stopping) {
      const result = await cp(engine, x, { ...stopping, rank, starts, seed, sweeps });
      return { ...swept(result), starts: result.starts };
    },
  },
  {
    id: "cpALS",
    title: "CP by alternating least squares (CP-ALS)",
    takesMissing: true,
    note: "The same model, one factor after the other (Kolda & Bader 2009, section 3.4). Less memory; it may creep where components are alike.",
    fields: ["rank", "starts", "seed", "sweeps"],
    rankCount: () => 0,
    leastOrder: 2,
    memory: 3,
    run: async (engine, x, { rank, starts, seed, sweeps }, stopping) =>
      swept(await cpALS(engine, x, { ...stopping, rank, starts, seed, sweeps })),
  },
  {
    id: "cpNonnegative",
    title: "Nonnegative CP (NTF)",
    takesMissing: true,
    isNonnegative: true,
    note: "CP without a negative entry, for amounts, spectra and counts: its components add up and never cancel. By damped Gauss-Newton with active sets.",
    fields: ["rank", "starts", "seed", "sweeps"],
    rankCount: () => 0,
    leastOrder: 2,
    memory: 3,
    async run(engine, x, { rank, starts, seed, sweeps }, stopping) {
      const result = await cp(engine, x, { ...stopping, rank, starts, seed, sweeps, nonnegative: true });
      return { ...swept(result), starts: result.starts };
    },
  },
  {
    id: "tucker",
    title: "Tucker (HOOI)",
    takesMissing: true,
    note: "A small core times a matrix with orthonormal columns in every mode, by higher-order orthogonal iteration (Kolda & Bader 2009, section 4.2). A rank as large as its mode leaves that mode alone.",
    fields: ["ranks", "seed", "sweeps"],
    rankCount: ofModes,
    leastOrder: 2,
    memory: 3,
    run: async (engine, x, settings, stopping) =>
      swept(
        await tuckerHOOI(engine, x, {
          ...stopping,
          ranks: ranksOf(settings),
          seed: settings.seed,
          sweeps: settings.sweeps,
        }),
      ),
  },
  {
    id: "hosvd",
    title: "Tucker without iterations (HOSVD)",
    note: "The leading singular vectors of every unfolding (De Lathauwer, De Moor & Vandewalle 2000): quick, and nearly as good.",
    ...withoutSweeps(hosvd),
  },
  {
    id: "stHosvd",
    title: "Tucker, mode after mode (ST-HOSVD)",
    note: "Each mode is reduced before the next is looked at (Vannieuwenhoven, Vandebril & Meerbergen 2012): the quickest.",
    ...withoutSweeps(stHosvd),
  },
  {
    id: "nonnegativeTucker",
    title: "Nonnegative Tucker (NTD)",
    isNonnegative: true,
    note: "Tucker without a negative entry in core or factors, by hierarchical alternating least squares (Phan & Cichocki 2011).",
    fields: ["ranks", "starts", "seed", "sweeps"],
    rankCount: ofModes,
    leastOrder: 2,
    memory: 3,
    run: async (engine, x, settings, stopping) => {
      const { starts, seed, sweeps } = settings;
      return swept(await nonnegativeTucker(engine, x, { ...stopping, ranks: ranksOf(settings), starts, seed, sweeps }));
    },
  },
  {
    id: "train",
    title: "Tensor train",
    note: "A chain of cores, one a mode, by successive singular value decompositions (Oseledets 2011). For tensors of many modes, to compress them. Ranks lie between modes.",
    fields: ["ranks", "seed"],
    rankCount: (order) => order - 1,
    leastOrder: 2,
    memory: 3,
    async run(engine, x, settings, { signal }) {
      const { tensor, relativeError } = await ttSVD(engine, x as Tensor, {
        signal,
        ranks: ranksOf(settings),
        seed: settings.seed,
      });
      return direct(tensor, relativeError);
    },
  },
  {
    id: "ring",
    title: "Tensor ring",
    note: "A chain of cores that closes to a ring, by alternating least squares (Zhao et al. 2016).",
    fields: ["ranks", "seed", "sweeps"],
    rankCount: ofModes,
    leastOrder: 2,
    memory: 3,
    run: async (engine, x, settings, stopping) =>
      swept(
        await tensorRingALS(engine, x, {
          ...stopping,
          ranks: ranksOf(settings),
          seed: settings.seed,
          sweeps: settings.sweeps,
        }),
      ),
  },
  {
    id: "blocks",
    title: "Block terms",
    note: "A sum of small Tucker models (De Lathauwer & Nion 2008): components that are more than one column a mode.",
    fields: ["blocks", "ranks", "starts", "seed", "sweeps"],
    rankCount: ofModes,
    leastOrder: 3,
    memory: 3,
    run: async (engine, x, settings, stopping) => {
      const { blocks, starts, seed, sweeps } = settings;
      return swept(
        await blockTermALS(engine, x, { ...stopping, blocks, ranks: ranksOf(settings), starts, seed, sweeps }),
      );
    },
  },
  {
    id: "svd",
    title: "SVD of a matrix (PCA without centring)",
    note: "The leading singular values and vectors: the best approximation of a matrix of this rank (Eckart & Young 1936).",
    fields: ["rank", "seed"],
    rankCount: () => 0,
    leastOrder: 2,
    mostOrder: 2,
    memory: 3,
    async run(engine, x, { rank, seed }, { signal }) {
      const most = Math.min(rank, ...x.shape);
      const { u, values, v, relativeError } = await truncatedSvd(engine, x as Tensor, { rank: most, seed, signal });
      return direct(new KruskalTensor(values, [u, v]), relativeError);
    },
  },
  {
    id: "nmf",
    title: "Nonnegative matrix factorisation (NMF)",
    isNonnegative: true,
    note: "A matrix as W·H without a negative entry (Lee & Seung 1999), by accelerated hierarchical alternating least squares (Gillis & Glineur 2012).",
    fields: ["rank", "starts", "seed", "sweeps"],
    rankCount: () => 0,
    leastOrder: 2,
    mostOrder: 2,
    memory: 3,
    async run(engine, x, { rank, starts, seed, sweeps }, stopping) {
      const result = await nmf(engine, x as Tensor, { ...stopping, rank, starts, seed, sweeps });
      const { w, h } = result.tensor;
      const weights = engine.tensor([h.shape[0]!], new Float32Array(h.shape[0]!).fill(1));
      const columns = engine.tensor([h.shape[1]!, h.shape[0]!], null);
      await engine.run((s) => void permute(s, h, [1, 0], { out: columns }), "H turned");
      h.destroy();
      return swept({ ...result, tensor: new KruskalTensor(weights, [w, columns]) });
    },
  },
];

export const methodOf = (id: string): Method => METHODS.find((method) => method.id === id) ?? METHODS[0]!;
