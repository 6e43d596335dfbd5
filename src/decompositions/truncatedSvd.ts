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
import { matmul, polishColumns, scaleColumns, signColumns, slice, squaredDistance } from "../ops/index.js";
import { checkCall, type Resident, resident, restore } from "../sources/index.js";
import { identityColumns } from "./identityColumns.js";
import { relativeResidual } from "./iterate.js";
import { type LinalgOptions, linalgRules, SvdFactors, svd } from "./linalg.js";
import { leadingSubspace, MOST_ITERATED, measuredLoss } from "./subspace.js";
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

/** matrices whose shorter side is at most this have all singular values computed, whatever the rank */
export const MOST_FACTORISED = 1024;

/**
 * The best approximation of a matrix by one of low rank (Eckart & Young 1936), from its SVD (see `svd`). Where the shorter side
 * is beyond 1024 and the rank at most 85, a subspace iteration finds the space of the leading vectors (Halko,
 * Martinsson & Tropp 2011): the error is then within 0.1 % of the best, and singular values are the more exact the faster they fall.
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
  const factorises = rank === undefined || most <= MOST_FACTORISED || rank > MOST_ITERATED;
  using factors = await (factorises ? svd(engine, x, others) : leading(engine, x, rank, seed, others));
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

/** The leading singular triplets by a subspace iteration, whose space the SVD of its projection then turns. */
async function leading(
  engine: Engine,
  x: Tensor,
  rank: number,
  seed: number,
  options: LinalgOptions,
): Promise<SvdFactors> {
  const { signal } = options;
  using space = (await leadingSubspace(engine, x, 0, rank, { seed, tolerance: 1e-7, sweeps: 40, signal })).vectors;
  signal?.throwIfAborted();
  using projected = engine.tensor([rank, x.shape[1]!], null, { label: "projection" });
  await engine.run((s) => void matmul(s, space, x, { transposeA: true, out: projected }), "projection");
  const inner = await svd(engine, projected, options);
  using small = inner.u;
  using scope = new TensorScope(engine);
  const [values, v] = [scope.keep(inner.values), scope.keep(inner.v)];
  const u = scope.allocate([x.shape[0]!, rank], "U");
  await engine.run((s) => {
    polishColumns(s, matmul(s, space, small), { out: u });
    signColumns(s, u, v);
  }, "singular vectors");
  return scope.handOut(new SvdFactors(u, values, v));
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
    const full = matmul(s, scaleColumns(s, u, values), v, { transposeB: true });
    squaredDistance(s, x, full, { out });
  });
  return scope.handOut(new TruncatedSvd(u, values, v, relativeError));
}
