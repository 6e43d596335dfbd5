import type { Scheduler, Tensor } from "../gpu/index.js";
import { assertSystem, solveCholesky } from "./solveCholesky.js";
import { solvePseudoInverse } from "./solvePseudoInverse.js";

export interface SolveOptions {
  /** Cholesky for positive definite matrices; the pseudo-inverse, from eigenvalues, for singular ones */
  method?: "cholesky" | "pseudoInverse";
  /** Cholesky only: added to the diagonal, times its mean */
  ridge?: number;
  /** pseudo-inverse only: eigenvalues below this share of the largest count as zero, 1e-6 by default */
  rcond?: number;
  out?: Tensor | undefined;
}

/** X = B·A⁻¹ for a symmetric A (n×n) and B (m×n): it solves for every row of B, as an ALS update does. */
export function solveSymmetric(
  s: Scheduler,
  a: Tensor,
  b: Tensor,
  { method = "cholesky", ridge, rcond, out }: SolveOptions = {},
): Tensor {
  assertSystem("solveSymmetric", s, a, b);
  return method === "cholesky" ? solveCholesky(s, a, b, { ridge, out }) : solvePseudoInverse(s, a, b, { rcond, out });
}
