import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  type OptionRules,
  optionRules,
  Program,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import { scaleByPower, slice } from "../ops/index.js";
import { checkCall, Resident, resident, type Source, withSource } from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { congruences, leastOfPairs } from "./congruence.js";
import { coreConsistency } from "./coreConsistency.js";
import { degeneracy } from "./cpCorrection.js";
import { type CpDecomposition, cpOfRanks } from "./cpGaussNewton.js";
import type { HeldOut } from "./heldOut.js";
import { seedAt } from "./iterate.js";
import { TensorScope } from "./tensorScope.js";

export interface RankProfileOptions {
  /** the highest rank that is tried, 8 by default; a rank that is enough for any tensor of the shape is not exceeded */
  most?: number;
  /** how many random starts each model has, 4 by default; with 1 nothing is told of their agreement */
  starts?: number;
  seed?: number;
  /** most iterations of a model, 500 by default */
  sweeps?: number;
  /** when a model has converged, as in {@link cp}; 1e-6 by default */
  tolerance?: number;
  /**
   * the share of the known entries that is held out, at random by the seed: further models, of the other entries, predict them, and a rank that does
   * not predict better than a lower one has an objection. 0.1 is usual; by default nothing is held out
   */
  holdout?: number;
  /** called before every model and at the end */
  onProgress?: (progress: RankProgress) => void;
  /** stops after the iterations in flight; the promise rejects with the signal's reason */
  signal?: AbortSignal;
}

/** How far a rank profile is. */
export interface RankProgress {
  /** the part of the work that is done, 0 to 1, if a model's work grows as its rank */
  done: number;
  /** the rank that is being looked at */
  rank: number;
  /** what the model in work is of: all data, one of their halves, or what is not held out */
  of: "all" | "half" | "holdout";
}

/** What a CP model of one rank is like. */
export interface RankFit {
  rank: number;
  /** ‖X − X̂‖ / ‖X‖ of the best start */
  relativeError: number;
  /** explained variance, 1 − ‖X − X̂‖² / ‖X‖² */
  explained: number;
  /**
   * Core consistency in per cent (CORCONDIA, Bro & Kiers 2003): 100 where the data have no use for other products of the factors' columns than those
   * of the model, around 0 and below where there are too many terms. Null where a mode has fewer entries than there are terms: it says nothing
   * there
   */
  coreConsistency: number | null;
  /** how many of the starts ended at the same model as the best one, itself included */
  agreeing: number;
  starts: number;
  /**
   * Split-half agreement (Harshman & De Sarbo 1984): models of the even and of the odd indices of the longest mode, their terms paired, and of the
   * pair that is least alike the product of the cosines in the other modes; 0 to 1. Null where x is no single tensor of the GPU's, or too short
   * to be halved
   */
  splitHalf: number | null;
  /** ‖X − X̂‖ / ‖X‖ over the entries that were held out, of a model of the others; null where none were */
  heldOut: number | null;
  /** Σ‖terms‖² / ‖X̂‖², 1 where the terms are orthogonal; it is large where they cancel, see {@link degeneracy} */
  degeneracy: number;
  /** the lowest congruence of two terms, the product of the cosines of all modes: near −1 they cancel. 0 for one term */
  congruence: number;
  /** iterations on the whole tensor */
  iterations: number;
  converged: boolean;
  /** what speaks against this many terms, in words; empty where nothing does */
  objections: string[];
}

/** CP models of rank 1 and up, and which of them the data support. */
export interface RankProfile {
  /** by rank, from 1 */
  ranks: RankFit[];
  /** the highest rank without objections; null where every one has some */
  suggestion: number | null;
  /** why, in a sentence or two */
  reason: string;
  /** the mode that was halved; null where none was */
  halved: number | null;
  seed: number;
}

const NAME = "rankProfile";
const rules: OptionRules<RankProfileOptions> = {
  most: optionRules.positive,
  starts: optionRules.positive,
  seed: optionRules.seed,
  sweeps: optionRules.positive,
  tolerance: optionRules.atLeastZero,
  holdout: optionRules.fraction,
  onProgress: optionRules.callback,
  signal: optionRules.signal,
};

/** the least core consistency (Bro & Kiers take 80 to 90 % for a model that holds), split-half agreement and congruence without objection */
const CONSISTENT = 80;
const ALIKE = 0.9;
const CANCELS = -0.9;
/** a lower rank with this relative error has left nothing to explain that f32 could tell */
const EXACT = 1e-5;
/** a rank predicts better than a lower one where its error is at most this part of that */
const BETTER = 0.99;

/**
 * How many components data have: CP models of rank 1, 2, …, each with its error and with what tells whether the data support it. Nobody can prove
 * a number; the suggestion is the highest rank that nothing speaks against:
 *
 * - its core consistency is 80 % or more;
 * - at least half of the starts end at the same model;
 * - models of both halves of the data agree to 0.9 or more;
 * - no two terms cancel (congruence −0.9 or less);
 * - no lower rank is exact already (relative error below 1e-5);
 * - with `holdout`: entries that were held out are predicted better than by 0 and by any lower rank, by 1 % of the error or more (cross-validation,
 *   Bro, Kjeldahl, Smilde & Kiers 2008).
 *
 * What cannot be told (core consistency where a mode has fewer entries than terms, halves of data that are not one tensor) does not count. In noise
 * every rank has objections. Three models a rank: of all data, and of each half. The starts of all ranks run side by side, on one core where x is
 * large beside it; where there is room, so do the models that go on from them. A profile holds x twice; with `holdout` three times, and it has a
 * fourth model a rank. Of x in slabs nothing of its size is held, and `holdout` takes the memory of one more slab. Of x with missing entries there are no halves, and for the core consistency they count as the model has them.
 *
 * @param x order 3 to 8
 * @throws TenfoldError for `holdout` of a source on other machines, and where it leaves out no entry, or all of them
 * @throws ShapeError for order 2 and less, where a model's terms can be rotated, and for more than 8 modes
 * @throws TenfoldError for NaN and infinity: how many, and where the first is
 */
export async function rankProfile(
  engine: Engine,
  x: Tensor<DType> | Source,
  options: RankProfileOptions = {},
): Promise<RankProfile> {
  checkCall(engine, NAME, x);
  checkOptions(NAME, options, rules);
  if (x.shape.length < 3)
    throw new ShapeError(
      `${NAME}: ${x} has order ${x.shape.length}, needs 3 to 8: the terms of a matrix can be rotated, so that halves and starts tell nothing of their number; look at its singular values (svd, evbmf)`,
    );
  if (x.shape.length > 8) throw new ShapeError(`${NAME}: ${x} has order ${x.shape.length}, needs 3 to 8`);
  return await withSource(engine, NAME, x, (source) => profile(source, options));
}

async function profile(source: Source, options: RankProfileOptions): Promise<RankProfile> {
  const { most = 8, seed = 0, starts = 4, onProgress, signal } = options;
  signal?.throwIfAborted();
  if (source.isZero)
    return { ranks: [], suggestion: null, reason: "every entry is 0: there is nothing to explain", halved: null, seed };
  using scope = new TensorScope(source.engine);
  const halves = await halvesOf(source, scope);
  const last = Math.min(most, enoughFor(source.shape));
  const { holdout } = options;
  const heldOut =
    holdout === undefined
      ? null
      : scope.keep(await (await import("./heldOut.js")).HeldOut.create(NAME, source, holdout, seed));
  /** a model of all data, two of halves that cost half as much each, and one of what is not held out */
  const parts = heldOut ? 3 : 2;
  const total = (parts * last * (last + 1)) / 2;
  const tellOf = (rank: number) => (part: number, of: RankProgress["of"]) =>
    onProgress?.({ done: ((parts * rank * (rank - 1)) / 2 + rank * part) / total, rank, of });
  tellOf(1)(0, "all");
  const all = await modelsOf(source, last, options, seed);
  const lastOfHalves = halves ? Math.min(last, enoughFor(halves.even.shape)) : 0;
  // other starts for each half: the same ones could end alike where the data decide little
  const ofHalves = lastOfHalves
    ? [
        await modelsOf(halves!.even, lastOfHalves, options, seedAt(seed, starts)),
        await modelsOf(halves!.odd, lastOfHalves, options, seedAt(seed, 2 * starts)),
      ]
    : null;
  const predict = heldOut && (await modelsOf(heldOut.others, last, options, seedAt(seed, 3 * starts)));
  const ranks: RankFit[] = [];
  for (let rank = 1; rank <= last; rank++) {
    const tell = tellOf(rank);
    if (rank > 1) tell(0, "all");
    const fit = await fitOf(source, await all(rank), options);
    tell(1, "half");
    const splitHalf = ofHalves && rank <= lastOfHalves ? await agreement(halves!.mode, ofHalves, rank, tell) : null;
    if (heldOut) tell(2, "holdout");
    const row = { ...fit, splitHalf, heldOut: heldOut && (await predictionError(heldOut, await predict!(rank))) };
    ranks.push({ ...row, objections: objectionsTo(row, ranks, halves?.mode ?? null) });
  }
  onProgress?.({ done: 1, rank: last, of: "all" });
  const { suggestion, reason } = suggest(ranks, halves?.mode ?? null);
  return { ranks, suggestion, reason, halved: halves?.mode ?? null, seed };
}

/** Any tensor of this shape is a sum of so many rank-one terms: one for each fibre along its longest mode. */
const enoughFor = (shape: readonly number[]): number =>
  shape.reduce((product, extent) => product * extent, 1) / Math.max(...shape);

/** Finishes the model of a rank; an abort throws the signal's reason. */
type Models = (rank: number) => Promise<CpDecomposition>;

/** The models of rank 1 to `last`, whose starts run side by side. */
async function modelsOf(
  source: Source,
  last: number,
  { starts = 4, sweeps, tolerance, signal }: RankProfileOptions,
  seed: number,
): Promise<Models> {
  const ranks = Array.from({ length: last }, (_, at) => at + 1);
  const finish = await cpOfRanks(NAME, source, ranks, {
    starts,
    seed,
    ...(sweeps && { sweeps }),
    ...(tolerance !== undefined && { tolerance }),
    ...(signal && { signal }),
  });
  return async (rank) => {
    const result = await finish(rank - 1);
    if (signal?.aborted) result.tensor.destroy();
    signal?.throwIfAborted();
    return result;
  };
}

type WholeFit = Omit<RankFit, "splitHalf" | "heldOut" | "objections">;

async function fitOf(source: Source, result: CpDecomposition, { starts = 4 }: RankProfileOptions): Promise<WholeFit> {
  const { engine } = source;
  using tensor = result.tensor;
  const { rank } = tensor;
  const [weights, ...factors] = (await engine.read([tensor.weights, ...tensor.factors])) as Float32Array[];
  const congruence = congruences(factors, factors, rank);
  const { relativeError, sweeps: iterations, converged } = result;
  return {
    rank,
    relativeError,
    explained: 1 - relativeError ** 2,
    coreConsistency: await consistencyOf(source, tensor, weights!, factors),
    agreeing: result.starts.agreeing,
    starts,
    degeneracy: await degeneracy(engine, tensor),
    congruence: congruence.reduce((least, value) => Math.min(least, value), 0),
    iterations,
    converged,
  };
}

/** The core consistency of a model. Entries that are missing count as the model has them. */
async function consistencyOf(
  source: Source,
  model: KruskalTensor,
  weights: Float32Array,
  factors: readonly Float32Array[],
): Promise<number | null> {
  if (source.known !== undefined)
    await Program.run(
      source.engine,
      (p) => {
        const scaled = scaleByPower(p.s, model.weights, -source.exponent);
        source.refresh!(p, new KruskalTensor(scaled, [...model.factors]));
        p.s.release(scaled);
      },
      "missing entries",
    );
  return await coreConsistency(source, weights, factors);
}

async function predictionError(heldOut: HeldOut, result: CpDecomposition): Promise<number> {
  using model = result.tensor;
  return await heldOut.errorOf(model);
}

/** The even and the odd indices of the longest mode; of an odd extent the last index is in neither. */
interface Halves {
  mode: number;
  even: Resident;
  odd: Resident;
}

async function halvesOf(source: Source, scope: TensorScope): Promise<Halves | null> {
  const { engine, shape } = source;
  const extent = Math.max(...shape);
  if (!(source instanceof Resident) || extent < 4) return null;
  const mode = shape.indexOf(extent);
  const [before, after] = [shape.slice(0, mode), shape.slice(mode + 1)];
  const sizeOf = (extents: readonly number[]) => extents.reduce((product, length) => product * length, 1);
  const half = Math.floor(extent / 2);
  const paired = [sizeOf(before), half, 2, sizeOf(after)];
  const halves = ["even", "odd"].map((name) =>
    scope.allocate([...before, half, ...after], `${name} indices of mode ${mode}`),
  );
  await engine.run((s) => {
    const x = source.tensor(NAME).reshape([sizeOf(before), extent, sizeOf(after)]);
    const cut = extent % 2 ? slice(s, x, [0, 0, 0], [paired[0]!, 2 * half, paired[3]!]) : x;
    for (const [parity, out] of halves.entries())
      slice(s, cut.reshape(paired), [0, 0, parity, 0], [paired[0]!, half, 1, paired[3]!], {
        out: out.reshape([paired[0]!, half, 1, paired[3]!]),
      });
    if (cut !== x) s.release(cut);
  }, "halves");
  const sourceOf = async (half: Tensor) => {
    const made = await resident(engine, NAME, half);
    return scope.keep({ made, destroy: () => made[dispose]() }).made;
  };
  return { mode, even: await sourceOf(halves[0]!), odd: await sourceOf(halves[1]!) };
}

/** How alike the terms of both halves' models are in the modes that were not halved. */
async function agreement(
  halved: number,
  models: readonly Models[],
  rank: number,
  tell: (part: number, of: RankProgress["of"]) => void,
): Promise<number> {
  const factors: Float32Array[][] = [];
  for (const [index, finish] of models.entries()) {
    const { tensor } = await finish(rank);
    using model = tensor;
    factors.push((await model.engine.read(model.factors.filter((_, at) => at !== halved))) as Float32Array[]);
    if (index === 0) tell(1.5, "half");
  }
  // the sign of a term may lie in the mode that was halved
  const congruence = congruences(factors[0]!, factors[1]!, rank).map(Math.abs);
  return leastOfPairs(congruence, rank);
}

// ---- what is made of it

function objectionsTo(fit: Omit<RankFit, "objections">, lower: readonly RankFit[], halved: number | null): string[] {
  const { coreConsistency, agreeing, starts, splitHalf, heldOut, congruence } = fit;
  const objections: string[] = [];
  const exact = lower.find(({ relativeError }) => relativeError < EXACT);
  if (exact) objections.push(`rank ${exact.rank} leaves nothing to explain`);
  if (coreConsistency !== null && coreConsistency < CONSISTENT)
    objections.push(`core consistency is ${consistencyText(coreConsistency)}, below ${CONSISTENT} %`);
  if (2 * agreeing < starts) objections.push(`${agreeing} of ${starts} starts agree, less than half`);
  if (splitHalf !== null && splitHalf < ALIKE)
    objections.push(`halves of mode ${halved} agree to ${splitHalf.toFixed(2)}, below ${ALIKE}`);
  const best = lower.reduce((least, fit) => Math.min(least, fit.heldOut ?? 1), 1);
  if (heldOut !== null && !exact && heldOut > BETTER * best)
    objections.push(
      `entries that were held out are predicted with an error of ${heldOut.toPrecision(3)}, ${best < 1 ? `by a lower rank with ${best.toPrecision(3)}` : "no better than by 0"}`,
    );
  if (congruence <= CANCELS) objections.push(`two terms cancel, with a congruence of ${congruence.toFixed(2)}`);
  return objections;
}

const consistencyText = (value: number): string =>
  `${value < -999 ? "below −999" : Math.round(value)} %`.replace("-", "−");

/** The highest rank without objections, and why. */
export function suggest(ranks: readonly RankFit[], halved: number | null): Pick<RankProfile, "suggestion" | "reason"> {
  const chosen = ranks.findLast(({ objections }) => objections.length === 0);
  const last = ranks.at(-1)!.rank;
  const against = ({ rank, objections }: RankFit): string => `rank ${rank}: ${objections.join("; ")}`;
  if (!chosen)
    return {
      suggestion: null,
      reason: `every rank from 1 to ${last} has objections, as in noise. ${sentence(against(ranks[0]!))}`,
    };
  const { rank, coreConsistency, agreeing, starts, splitHalf, heldOut } = chosen;
  const support = [
    coreConsistency === null ? null : `core consistency is ${consistencyText(coreConsistency)}`,
    starts > 1 ? `${agreeing} of ${starts} starts agree` : null,
    splitHalf === null ? null : `halves of mode ${halved} agree to ${splitHalf.toFixed(2)}`,
    heldOut === null ? null : `held-out entries are predicted with an error of ${heldOut.toPrecision(3)}`,
    "no terms cancel",
  ].filter((reason) => reason !== null);
  const next = ranks[rank];
  const limit = next ? ` ${sentence(against(next))}` : " Higher ranks were not tried.";
  return {
    suggestion: rank,
    reason: `rank ${rank} is the highest up to ${last} without objections: ${support.join(", ")}.${limit}`,
  };
}

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}.`;
