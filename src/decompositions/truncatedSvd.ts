import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  type OptionRules,
  optionRules,
  ShapeError,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { kruskalResidual, polishColumns, signColumns, slice } from "../ops/index.js";
import { checkCall, type Resident, resident, restore } from "../sources/index.js";
import { identityColumns } from "./identityColumns.js";
import { relativeResidual } from "./iterate.js";
import { isSettled, leadingPairs, shrinkOf, type ToldPairs } from "./leadingPairs.js";
import { type LinalgOptions, linalgRules, SvdFactors, svd } from "./linalg.js";
import { MOST_ITERATED, measuredLoss } from "./subspace.js";
import { TensorScope } from "./tensorScope.js";
import { keepPromise, rankWithin } from "./truncation.js";

export interface TruncatedSvdOptions extends LinalgOptions {
  /** singular values kept, at most min(m, n) */
  rank?: number;
  /** instead of a rank: the smallest that keeps ‖A − Â‖ ≤ relativeError · ‖A‖; what f32 cannot promise is refused */
  relativeError?: number;
  /** of the random start, where a subspace iteration finds the leading vectors */
  seed?: number;
}

const rules: OptionRules<TruncatedSvdOptions> = {
  ...linalgRules,
  rank: optionRules.positive,
  relativeError: optionRules.fraction,
  seed: optionRules.seed,
};

/** A ≈ U·diag(values)·Vᵀ. Its tensors are the caller's. */
export class TruncatedSvd {
  constructor(
    /** m×rank, orthonormal columns, the entry of largest magnitude in each positive */
    readonly u: Tensor,
    /** [rank], falling */
    readonly values: Tensor,
    /** n×rank, orthonormal columns */
    readonly v: Tensor,
    /** ‖A − Â‖ / ‖A‖, from the difference itself */
    readonly relativeError: number,
  ) {}

  get rank(): number {
    return this.values.size;
  }

  destroy(): void {
    for (const tensor of [this.u, this.values, this.v]) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** matrices whose shorter side is at most this have all singular values computed, unless a few sweeps find the leading ones as well */
export const MOST_FACTORISED = 1024;
/** of such a matrix a rank is low up to this part of its shorter side */
const LOW = 1 / 8;
/** sweeps in which leading vectors of such a matrix are looked for: singular values that fall slowly take more of them than it is worth */
const FEW_SWEEPS = 8;
/** left and right vectors may miss each other by this part of the largest singular value, as those of all singular values do */
const EXACT = 5e-6;
/** smaller singular values, as parts of the largest, have more digits from the SVD of all than from products with the matrix */
const LARGE = 1e-3;

/**
 * The best approximation of a matrix by one of low rank (Eckart & Young 1936), from its SVD (see `svd`). A rank of at most 85, and an eighth of the
 * shorter side, is first looked for by a subspace iteration (Halko, Martinsson & Tropp 2011), which takes a few sweeps where singular values fall. Its
 * vectors are taken where left and right ones belong to each other as well as those of the SVD do (‖Aᵀ·u − σ·v‖ ≤ 5e-6·σ₁, by how far the last sweep
 * turned u) and σ_r is not below σ₁/1000, else all singular values are computed, at once where a few sweeps more would not lead there. Beyond a shorter side of 1024 they are taken as they are after 40 sweeps at most: the error is then within 0.1 %
 * of the best, and singular values are the more exact the faster they fall.
 *
 * @throws ShapeError where a rank is not 1 to min(m, n)
 * @throws TenfoldError where A holds NaN or infinity, or f32 cannot keep the promised error (the least that it can is said)
 */
export async function truncatedSvd(
  engine: Engine,
  a: Tensor<DType>,
  options: TruncatedSvdOptions,
): Promise<TruncatedSvd> {
  checkCall(engine, "truncatedSvd", a);
  checkOptions("truncatedSvd", options, rules);
  const { rank, relativeError, seed = 0, ...others } = options;
  if (a.order !== 2) throw new ShapeError(`truncatedSvd: ${a}, needs a matrix`);
  if ((rank === undefined) === (relativeError === undefined))
    throw new TenfoldError("truncatedSvd: give either rank or relativeError");
  const [m, n] = a.shape as [number, number];
  const most = Math.min(m, n);
  if (rank !== undefined && rank > most) throw new ShapeError(`truncatedSvd: rank ${rank} of ${a}, needs 1 to ${most}`);
  using source = await resident(engine, "truncatedSvd", a);
  const { x, squaredNorm } = source;
  if (source.isZero) {
    const [u, v] = [m, n].map((rows) => identityColumns(engine, rows, rank ?? 1, "vectors")) as [Tensor, Tensor];
    return new TruncatedSvd(u, engine.tensor([rank ?? 1], null, { label: "singular values" }), v, 0);
  }
  using factors = (await leading(engine, x, rank, seed, others)) ?? (await svd(engine, x, others));
  const attempt = async (error: number): Promise<TruncatedSvd> => {
    const lossOf = (count: number) => measuredLoss(source, factors.u, 0, count);
    const values = await engine.read(factors.values);
    const { rank } = await rankWithin(values, error ** 2 * squaredNorm, squaredNorm, lossOf);
    return await cut(source, factors, rank);
  };
  using scope = new TensorScope(engine);
  const { u, values, v, ...result } = scope.keep(
    rank === undefined ? await keepPromise("truncatedSvd", relativeError!, attempt) : await cut(source, factors, rank),
  );
  const restored = await restore(engine, "truncatedSvd", "singular values", values, source.exponent);
  return scope.handOut(new TruncatedSvd(u, restored, v, result.relativeError));
}

/** The leading singular triplets by a subspace iteration; null where the SVD of all is as fast, or needed. */
async function leading(
  engine: Engine,
  x: Tensor,
  rank: number | undefined,
  seed: number,
  { signal, onProgress }: LinalgOptions,
): Promise<SvdFactors | null> {
  const most = Math.min(...x.shape);
  const isLarge = most > MOST_FACTORISED;
  if (rank === undefined || rank > MOST_ITERATED || (!isLarge && rank > LOW * most)) return null;
  const sweeps = isLarge ? 40 : FEW_SWEEPS;
  using pairs = await leadingPairs(engine, x, {
    ...{ rank, seed, unseen: 2, sweeps, signal },
    judge(told) {
      onProgress?.(0.9 * (told.sweeps / sweeps));
      if (isExact(told)) return "enough";
      if (isExact(told, sweeps - told.sweeps)) return "go on";
      // of large matrices an error that has settled is enough
      if (!isLarge) return "give up";
      return isSettled(told) ? "enough" : "go on";
    },
  });
  if (!pairs) return null;
  using scope = new TensorScope(engine);
  const u = scope.allocate([x.shape[0]!, rank], "U");
  const values = scope.allocate([rank], "singular values");
  const v = scope.allocate([x.shape[1]!, rank], "V");
  await engine.run((s) => {
    polishColumns(s, pairs.left, { out: u });
    slice(s, pairs.values, [0], [rank], { out: values });
    const right = pairs.right(s);
    polishColumns(s, right, { out: v });
    signColumns(s, u, v);
  }, "singular vectors");
  onProgress?.(1);
  return scope.handOut(new SvdFactors(u, values, v));
}

/**
 * Whether singular triplets are as good as those of the SVD of all, or may be after so many sweeps more. A·v = σ·u holds as it is. By how much Aᵀ·u
 * misses σ·v is how far the last sweep turned u, made smaller by the product with A between the two.
 */
function isExact({ values, turned }: ToldPairs, more = 0): boolean {
  const [largest, last] = [values[0]!, values[turned.length - 1]!];
  const missed = Math.max(...turned.map((sine, k) => values[k]! * Math.sqrt(sine)));
  return missed * shrinkOf(values, turned.length) ** (1 + 2 * more) <= EXACT * largest && last >= LARGE * largest;
}

/** The first `rank` triplets and their error, of the scaled x. */
async function cut(source: Resident, factors: SvdFactors, rank: number): Promise<TruncatedSvd> {
  const { engine, x } = source;
  const [m, n] = x.shape as [number, number];
  using scope = new TensorScope(engine);
  const u = scope.allocate([m, rank], "U");
  const values = scope.allocate([rank], "singular values");
  const v = scope.allocate([n, rank], "V");
  const relativeError = await relativeResidual(source, ({ s }, out) => {
    slice(s, factors.u, [0, 0], [m, rank], { out: u });
    slice(s, factors.values, [0], [rank], { out: values });
    slice(s, factors.v, [0, 0], [n, rank], { out: v });
    kruskalResidual(s, x, values, [u, v], { out });
  });
  return scope.handOut(new TruncatedSvd(u, values, v, relativeError));
}
