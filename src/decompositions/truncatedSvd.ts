import { dispose, type Engine, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";
import { copy, jacobiSvd, matmul, scaleColumns, slice, squaredDistance } from "../ops/index.js";
import { leadingSubspace, squaredNormOf } from "./subspace.js";

export interface TruncatedSvdOptions {
  /** singular values kept, at most min(m, n) */
  rank?: number;
  /** instead of a rank: the smallest that keeps ‖A − Â‖ ≤ relativeError · ‖A‖ */
  relativeError?: number;
  /** of the random start, where a subspace iteration finds the leading vectors */
  seed?: number;
}

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

/** sides up to this many are rotated whole; beyond, a subspace iteration finds the leading vectors first */
const WHOLE = 256;

/**
 * The best approximation of a matrix by one of low rank (Eckart & Young 1936). One-sided Jacobi rotations, no Gram matrix:
 * singular values of 1e-6 of the largest keep their digits. Where the rank is less than a quarter of a large matrix, a
 * subspace iteration finds the space of the leading vectors (Halko, Martinsson & Tropp 2011) and the rotations run in it.
 *
 * @throws ShapeError where a rank is not 1 to min(m, n), or an error bound is asked of a side beyond 1024
 */
export async function truncatedSvd(
  engine: Engine,
  a: Tensor,
  { rank, relativeError, seed = 0 }: TruncatedSvdOptions,
): Promise<TruncatedSvd> {
  if (a.order !== 2) throw new ShapeError(`truncatedSvd: ${a}, needs a matrix`);
  if ((rank === undefined) === (relativeError === undefined))
    throw new TenfoldError("truncatedSvd: give either rank or relativeError");
  const [m, n] = a.shape as [number, number];
  const most = Math.min(m, n);
  if (rank !== undefined && !(Number.isInteger(rank) && rank >= 1 && rank <= most))
    throw new ShapeError(`truncatedSvd: rank ${rank} of ${a}, needs 1 to ${most}`);
  if (relativeError !== undefined && !(relativeError > 0 && relativeError < 1))
    throw new TenfoldError(`truncatedSvd: relativeError ${relativeError}, needs a number between 0 and 1`);
  const squaredNorm = await squaredNormOf(engine, a);
  const small = rank !== undefined && most > WHOLE && (rank * 4 <= most || most > 1024);
  const space = small
    ? (await leadingSubspace(engine, a, 0, rank, { seed, tolerance: 1e-7, sweeps: 40 })).vectors
    : null;
  const found = space ? rank! : most;
  using u = engine.tensor([m, found], null, { label: "U" });
  using values = engine.tensor([found], null, { label: "singular values" });
  using v = engine.tensor([n, found], null, { label: "V" });
  try {
    await engine.run((s) => {
      const projected = space ? matmul(s, space, a, { transposeA: true }) : a;
      const whole = jacobiSvd(s, projected);
      if (space) matmul(s, space, whole.u, { out: u });
      else copy(s, whole.u, { out: u });
      copy(s, whole.values, { out: values });
      copy(s, whole.v, { out: v });
    }, "truncated SVD");
  } finally {
    space?.destroy();
  }
  const kept = rank ?? keptWithin(await engine.read(values), (0.999 * relativeError!) ** 2 * squaredNorm);
  const result = [engine.tensor([m, kept]), engine.tensor([kept]), engine.tensor([n, kept])] as const;
  using residual = engine.tensor([1], null, { label: "residual" });
  await engine.run((s) => {
    slice(s, u, [0, 0], [m, kept], { out: result[0] });
    slice(s, values, [0], [kept], { out: result[1] });
    slice(s, v, [0, 0], [n, kept], { out: result[2] });
    const scaled = scaleColumns(s, result[0], result[1]);
    const full = matmul(s, scaled, result[2], { transposeB: true });
    squaredDistance(s, a, full, { out: residual });
  }, "truncated SVD residual");
  const squared = (await engine.read(residual))[0]!;
  return new TruncatedSvd(...result, squaredNorm ? Math.sqrt(squared / squaredNorm) : 0);
}

/** The fewest leading values whose others stay within `budget` in square. */
function keptWithin(values: ArrayLike<number>, budget: number): number {
  let kept = values.length;
  let cut = 0;
  while (kept > 1 && cut + values[kept - 1]! ** 2 <= budget) cut += values[--kept]! ** 2;
  return kept;
}
