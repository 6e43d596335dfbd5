import { type Engine, type Scheduler, sizeOf, type Tensor } from "../gpu/index.js";
import {
  appendRow,
  copy,
  jacobiSvd,
  matmul,
  modeProduct,
  normal,
  orthogonalise,
  permute,
  slice,
  sum,
  sumOfSquares,
  symmetricEigen,
  unfoldedProduct,
} from "../ops/index.js";
import { type Convergence, converge, type StoppingOptions, SWEEPS_A_BATCH } from "./converge.js";

/**
 * Columns carried beyond the rank. Subspace iteration converges like (σ_{p+1}/σ_r)² a step, so a few more columns than
 * asked for save most of the steps where singular values decay slowly (Halko, Martinsson & Tropp 2011, section 4.5).
 */
export function basisColumns(shape: readonly number[], mode: number, rank: number): number {
  const rest = sizeOf(shape) / shape[mode]!;
  return Math.min(shape[mode]!, rest, Math.max(rank + 8, Math.min(Math.ceil(1.5 * rank), 128)));
}

/**
 * Records one step of subspace iteration on X₍ₙ₎X₍ₙ₎ᵀ: `basis` (I_n×p, orthonormal columns, overwritten) turns towards the
 * leading left singular vectors, ordered by Ritz value. Neither the unfolding nor an I_n×I_n matrix is formed.
 * Reads `x` twice. Returns the sum of the first `rank` Ritz values of the basis as it was, ‖X ×ₙ Uᵀ‖² as a [1] tensor.
 */
export function subspaceStep(s: Scheduler, x: Tensor, basis: Tensor, mode: number, rank: number): Tensor {
  const projected = modeProduct(s, x, basis, mode, { transpose: true });
  const ritz = unfoldedProduct(s, projected, projected, mode);
  const { values, vectors } = symmetricEigen(s, ritz);
  const image = unfoldedProduct(s, x, projected, mode);
  s.release(projected, ritz);
  const ordered = matmul(s, image, vectors);
  s.release(image, vectors);
  const { q, r } = orthogonalise(s, ordered);
  s.release(ordered, r);
  copy(s, q, { out: basis });
  s.release(q);
  const leading = slice(s, values, [0], [rank]);
  s.release(values);
  const energy = sum(s, leading);
  s.release(leading);
  return energy.reshape([1]);
}

/**
 * Records the rotation of `basis` within its span to the left singular vectors of X₍ₙ₎ seen from it, and keeps the first
 * `rank`: through a thin SVD (orthogonalisation and one-sided Jacobi) of the projected unfolding, not its Gram matrix.
 */
export function leadingVectors(s: Scheduler, x: Tensor, basis: Tensor, mode: number, rank: number, out: Tensor): void {
  const projected = modeProduct(s, x, basis, mode, { transpose: true });
  const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== mode);
  const tall = permute(s, projected, [...axes, mode]);
  s.release(projected);
  const columns = basis.shape[1]!;
  const { u, values, v } = jacobiSvd(s, tall.reshape([-1, columns]));
  s.release(tall, u, values);
  const rotated = matmul(s, basis, v);
  s.release(v);
  slice(s, rotated, [0, 0], [basis.shape[0]!, rank], { out });
  s.release(rotated);
}

/** ‖X‖² */
export async function squaredNormOf(engine: Engine, x: Tensor): Promise<number> {
  using result = engine.tensor([1], null, { label: "squared norm" });
  await engine.run((s) => {
    sumOfSquares(s, x, { out: result });
  }, "squared norm");
  return (await engine.read(result))[0]!;
}

export interface SubspaceOptions extends StoppingOptions {
  /** of the random start */
  seed?: number;
}

/**
 * The `rank` leading left singular vectors of the mode-n unfolding, I_n×rank, by randomised subspace iteration. `errors` of
 * the convergence are ‖X − X ×ₙ UUᵀ‖ / ‖X‖.
 */
export async function leadingSubspace(
  engine: Engine,
  x: Tensor,
  mode: number,
  rank: number,
  { seed = 0, ...stopping }: SubspaceOptions = {},
): Promise<{ vectors: Tensor } & Convergence> {
  const squaredNorm = await squaredNormOf(engine, x);
  const columns = basisColumns(x.shape, mode, rank);
  using basis = engine.tensor([x.shape[mode]!, columns], null, { label: "basis" });
  using trace = engine.tensor([SWEEPS_A_BATCH, 1], null, { label: "trace" });
  using counter = engine.tensor([1], null, { dtype: "u32", label: "counter" });
  await engine.run((s) => {
    const random = normal(s, basis.shape, { seed, stream: mode });
    const { q, r } = orthogonalise(s, random);
    copy(s, q, { out: basis });
    s.release(random, q, r);
  }, "subspace start");
  const recording = engine.scheduler("subspace step");
  appendRow(recording, subspaceStep(recording, x, basis, mode, rank), trace, counter);
  using schedule = await recording.compile();
  const errorOf = (row: Float32Array) => Math.sqrt(Math.max(0, 1 - row[0]! / squaredNorm));
  const convergence = await converge(engine, { schedule, trace, errorOf, name: "leadingSubspace" }, stopping);
  const vectors = engine.tensor([x.shape[mode]!, rank], null, { label: `factor ${mode}` });
  await engine.run((s) => leadingVectors(s, x, basis, mode, rank, vectors), "leading vectors");
  return { vectors, ...convergence };
}
