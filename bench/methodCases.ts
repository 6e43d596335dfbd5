/** tenfold's side of `bench/methods.ts`: for each case that bench/peers/tensorly_methods.py has data for, the call that users would make. */
import {
  cmtf,
  cp,
  cpALS,
  hosvd,
  nmf,
  nonnegativeTucker,
  parafac2,
  stHosvd,
  tensorRingALS,
  tensorRingSVD,
  truncatedSvd,
  ttCross,
  ttMatrix,
  ttSVD,
  tuckerHOOI,
} from "../src/decompositions/index.js";
import type { Engine, Tensor } from "../src/gpu/index.js";
import { masked } from "../src/sources/index.js";
import type { KruskalTensor, TensorRing, TensorTrain, TuckerTensor } from "../src/tensors/index.js";

/** What a call came to. */
export interface Solved {
  relativeError: number;
  /** after every iteration; none of methods without iterations */
  errors: readonly number[];
  /** the model, in the order of the form that the script expects; null for a Tucker factor that is left alone */
  parts: readonly (Tensor | null)[];
  destroy(): void;
}

export interface MethodCase {
  /** the script's name of the case */
  data: string;
  /** what is called, with the option that matters; several calls may share data */
  call: string;
  /** iterations of TensorLy's run, at whose end its error is taken */
  long: number;
  /** iterations in which tenfold may get there */
  most: number;
  /** ways to call it: where each of them starts. The fastest is timed, as it is of TensorLy's */
  ways: Readonly<Record<string, Solve>>;
}

type Solve = (engine: Engine, tensors: readonly Tensor[], sweeps: number) => Promise<Solved>;

interface Told<T> {
  tensor: T;
  relativeError: number;
  errors?: readonly number[];
}

const solved = <T extends { destroy(): void }>(
  { tensor, relativeError, errors = [] }: Told<T>,
  partsOf: (tensor: T) => readonly (Tensor | null)[],
): Solved => ({ relativeError, errors, parts: partsOf(tensor), destroy: () => tensor.destroy() });

const kruskal = (told: Told<KruskalTensor>): Solved => solved(told, ({ weights, factors }) => [weights, ...factors]);
const tucker = (told: Told<TuckerTensor>): Solved => solved(told, ({ core, factors }) => [core, ...factors]);
const chain = (told: Told<TensorTrain | TensorRing>): Solved => solved(told, ({ cores }) => cores);

/** iterations of TensorLy's run, where a case says nothing else */
const LONG = 16;

/** A case of a call that goes by iterations, and of one that does not. */
const iterative = (
  data: string,
  call: string,
  ways: MethodCase["ways"],
  { long = LONG, most = 3 * long }: { long?: number; most?: number } = {},
): MethodCase => ({ data, call, long, most, ways });
const direct = (data: string, call: string, solve: (engine: Engine, x: Tensor) => Promise<Solved>): MethodCase => ({
  ...{ data, call, long: 1, most: 1 },
  ways: { "": (engine, [x]) => solve(engine, x!) },
});

/** A way for each of these starts. */
const starts = <T extends string>(
  names: readonly T[],
  solve: (engine: Engine, tensors: readonly Tensor[], options: Options<T>) => Promise<Solved>,
): MethodCase["ways"] =>
  Object.fromEntries(
    names.map((initialize): [string, Solve] => [
      `${initialize} start`,
      (engine, tensors, sweeps) => solve(engine, tensors, { initialize, sweeps, tolerance: 0 }),
    ]),
  );

/** Iterations are all that end a run. */
interface Options<T extends string> {
  initialize: T;
  sweeps: number;
  tolerance: 0;
}
const none = { tolerance: 0 };

const ALS_STARTS = ["random", "hosvd"] as const;

const cpCase = (data: string, rank: number, limits?: { long: number; most: number }): MethodCase[] => [
  iterative(
    data,
    "cp",
    {
      // as it starts by itself, four times
      "": async (engine, [x], sweeps) => kruskal(await cp(engine, x!, { rank, sweeps, ...none })),
      "one start": async (engine, [x], sweeps) => kruskal(await cp(engine, x!, { rank, starts: 1, sweeps, ...none })),
    },
    limits,
  ),
  iterative(
    data,
    "cpALS",
    starts(ALS_STARTS, async (engine, [x], options) => kruskal(await cpALS(engine, x!, { rank, ...options }))),
    limits,
  ),
];

const nonnegativeCase = (data: string, rank: number): MethodCase =>
  iterative(
    data,
    "cpALS, nonnegative",
    starts(ALS_STARTS, async (engine, [x], options) =>
      kruskal(await cpALS(engine, x!, { rank, nonnegative: true, ...options })),
    ),
  );

const knownCase = (data: string, rank: number): MethodCase[] => {
  const solve =
    (starts: number): Solve =>
    async (engine, [x, known], sweeps) =>
      kruskal(await cp(engine, x!, { rank, starts, fixed: { 0: await known!.read() }, sweeps, ...none }));
  return [
    iterative(data, "cp, fixed", { "": solve(4), "one start": solve(1) }),
    iterative(
      data,
      "cpALS, fixed",
      starts(ALS_STARTS, async (engine, [x, known], options) => {
        const constraints = { 0: { fixed: await known!.read() } };
        return kruskal(await cpALS(engine, x!, { rank, constraints, ...options }));
      }),
    ),
  ];
};

/** TensorLy creeps where entries are missing. */
const MASKED = { long: 40, most: 80 };

const maskedCase = (data: string, rank: number): MethodCase[] => [
  iterative(
    data,
    "cp, masked",
    Object.fromEntries(
      [4, 1].map((starts): [string, Solve] => [
        starts === 1 ? "one start" : "",
        async (engine, [x, mask], sweeps) => {
          using source = await masked(engine, x!, { mask: mask! });
          return kruskal(await cp(engine, source, { rank, starts, sweeps, ...none }));
        },
      ]),
    ),
    MASKED,
  ),
  iterative(
    data,
    "cpALS, masked",
    starts(ALS_STARTS, async (engine, [x, mask], options) => {
      using source = await masked(engine, x!, { mask: mask! });
      return kruskal(await cpALS(engine, source, { rank, ...options }));
    }),
    MASKED,
  ),
];

const slicesCase = (data: string, nonnegative?: readonly number[]): MethodCase =>
  iterative(
    data,
    nonnegative ? "parafac2, nonnegative" : "parafac2",
    starts(["svd", "random"], async (engine, slices, options) =>
      solved(
        await parafac2(engine, slices, { rank: 10, ...options, ...(nonnegative && { nonnegative }) }),
        ({ weights, factors, projections }) => [weights, ...factors, ...projections],
      ),
    ),
  );

const coupledCase = (data: string, rank: number): MethodCase =>
  iterative(
    data,
    "cmtf",
    starts(ALS_STARTS, async (engine, [x, y], options) => {
      const sets = [
        { x: x!, modes: ["a", "b", "c"] },
        { x: y!, modes: ["a", "d"] },
      ];
      return solved(await cmtf(engine, sets, { rank, ...options }), ({ models }) =>
        models.flatMap(({ weights, factors }) => [weights, ...factors]),
      );
    }),
  );

const hosvdCase = (data: string, ranks: number): MethodCase[] => [
  direct(data, "hosvd", async (engine, x) => tucker(await hosvd(engine, x, { ranks }))),
  direct(data, "stHosvd", async (engine, x) => tucker(await stHosvd(engine, x, { ranks }))),
];

const hooiCase = (data: string, ranks: number): MethodCase =>
  iterative(data, "tuckerHOOI", {
    "": async (engine, [x], sweeps) => tucker(await tuckerHOOI(engine, x!, { ranks, sweeps, ...none })),
  });

const nonnegativeTuckerCase = (data: string, ranks: readonly number[]): MethodCase =>
  iterative(
    data,
    "nonnegativeTucker",
    starts(["random", "svd"], async (engine, [x], options) =>
      tucker(await nonnegativeTucker(engine, x!, { ranks, ...options })),
    ),
  );

const trainCase = (data: string, ranks: number): MethodCase =>
  direct(data, "ttSVD", async (engine, x) => chain(await ttSVD(engine, x, { ranks })));

const trainMatrixCase = (data: string, modes: readonly number[], ranks: number): MethodCase =>
  direct(data, "ttMatrix", async (engine, x) =>
    solved(await ttMatrix(engine, x, { rowModes: modes, columnModes: modes, ranks }), ({ cores }) => cores),
  );

const ringCase = (data: string, ranks: number): MethodCase =>
  direct(data, "tensorRingSVD", async (engine, x) => chain(await tensorRingSVD(engine, x, { ranks })));

const ringAlsCase = (data: string, ranks: number): MethodCase =>
  iterative(data, "tensorRingALS", {
    "": async (engine, [x], sweeps) => chain(await tensorRingALS(engine, x!, { ranks, sweeps, ...none })),
  });

const svdCase = (data: string, rank: number): MethodCase =>
  direct(data, "truncatedSvd", async (engine, x) => {
    const result = await truncatedSvd(engine, x, { rank });
    const { values, u, v, relativeError } = result;
    return { relativeError, errors: [], parts: [values, u, v], destroy: () => result.destroy() };
  });

const nmfCase = (data: string, rank: number): MethodCase =>
  iterative(
    data,
    "nmf",
    starts(["nndsvd", "random"], async (engine, [x], options) =>
      solved(await nmf(engine, x!, { rank, ...options }), ({ w, h }) => [w, h]),
    ),
    { long: 60, most: 120 },
  );

/** In the order of README's table. */
export const METHOD_CASES: readonly MethodCase[] = [
  ...cpCase("CP 100³ R10", 10),
  ...cpCase("CP 200³ R16", 16),
  ...cpCase("CP, 7 of 10 columns alike, 60³ R10", 10, { long: 200, most: 400 }),
  iterative("non-negative CP 100³ R10", "cp, nonnegative", {
    "": async (engine, [x], sweeps) => kruskal(await cp(engine, x!, { rank: 10, nonnegative: true, sweeps, ...none })),
    "one start": async (engine, [x], sweeps) =>
      kruskal(await cp(engine, x!, { rank: 10, nonnegative: true, starts: 1, sweeps, ...none })),
  }),
  nonnegativeCase("non-negative CP 100³ R10", 10),
  nonnegativeCase("non-negative CP 200³ R16", 16),
  iterative(
    "unimodal CP 100×60×60 R4",
    "cpALS, unimodal",
    starts(ALS_STARTS, async (engine, [x], options) =>
      kruskal(await cpALS(engine, x!, { rank: 4, constraints: { 0: "unimodal" }, ...options })),
    ),
  ),
  ...knownCase("CP with a known factor 100³ R10", 10),
  ...maskedCase("CP, a fifth missing, 100³ R10", 10),
  slicesCase("PARAFAC2 50 slices of 60–140×40 R10"),
  slicesCase("PARAFAC2 200 slices of 100–300×60 R10"),
  slicesCase("PARAFAC2, A non-negative, 50 slices of 60–140×40 R10", [0]),
  coupledCase("coupled 60³ and 60×100 R5", 5),
  coupledCase("coupled 120×100×80 and 120×300 R8", 8),
  ...hosvdCase("HOSVD 60³ → 8³", 8),
  ...hosvdCase("HOSVD 200³ → 16³", 16),
  hooiCase("Tucker 60³ → 8³", 8),
  hooiCase("Tucker 200³ → 16³", 16),
  iterative("Tucker, a fifth missing, 60³ → 8³", "tuckerHOOI, masked", {
    "": async (engine, [x, mask], sweeps) => {
      using source = await masked(engine, x!, { mask: mask! });
      return tucker(await tuckerHOOI(engine, source, { ranks: 8, sweeps, ...none }));
    },
  }),
  iterative("Tucker of two modes 1000×64×64 → 10×10", "tuckerHOOI, modes", {
    "": async (engine, [x], sweeps) =>
      tucker(await tuckerHOOI(engine, x!, { ranks: [10, 10], modes: [1, 2], sweeps, ...none })),
  }),
  nonnegativeTuckerCase("non-negative Tucker 100³ → 10³", [10, 10, 10]),
  nonnegativeTuckerCase("non-negative Tucker 200×150×100 → 12×10×8", [12, 10, 8]),
  trainCase("tensor train 20⁴, ranks 8", 8),
  trainCase("tensor train 12⁶, ranks 10", 10),
  trainCase("tensor train 200³, ranks 16", 16),
  trainMatrixCase("train of a matrix 512², modes 8, ranks 16", [8, 8, 8], 16),
  trainMatrixCase("train of a matrix 2197², modes 13, ranks 16", [13, 13, 13], 16),
  direct("train from few entries 30⁴, ranks 6", "ttCross", async (engine, x) =>
    chain(await ttCross(engine, x, { relativeError: 1e-4, maxRank: 6 })),
  ),
  ringCase("tensor ring 20⁴, ranks 4", 4),
  ringCase("tensor ring 50⁴, ranks 4", 4),
  ringAlsCase("tensor ring by ALS 20⁴, ranks 4", 4),
  ringAlsCase("tensor ring by ALS 40⁴, ranks 4", 4),
  svdCase("truncated SVD 500×300 R20", 20),
  svdCase("truncated SVD 2000×1000 R20", 20),
  nmfCase("NMF 500×300 R10", 10),
  nmfCase("NMF 2000×1000 R20", 20),
];
