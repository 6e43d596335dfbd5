import { type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { cholesky } from "./cholesky.js";
import { cutOff } from "./cutOff.js";
import { safeDivide } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { assertCall, assertShape } from "./shapes.js";
import { symmetricEigen } from "./symmetricEigen.js";

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
  { method = "cholesky", ridge = 0, rcond = 1e-6, out }: SolveOptions = {},
): Tensor {
  assertCall("solveSymmetric", s, { a, b });
  const n = a.shape[0]!;
  assertShape("solveSymmetric", "the matrix", a, [n, n]);
  if (b.order !== 2 || b.shape[1] !== n) throw new ShapeError(`solveSymmetric: ${b} needs ${n} columns`);
  if (method === "cholesky") {
    const { r, inverse } = cholesky(s, a, { ridge });
    s.release(r);
    const half = matmul(s, b, inverse);
    const solved = matmul(s, half, inverse, { transposeB: true, out });
    s.release(half, inverse);
    return solved;
  }
  const { values, vectors } = symmetricEigen(s, a);
  const rotated = matmul(s, b, vectors);
  const divisors = cutOff(s, values, rcond);
  s.release(values);
  const scaled = safeDivide(s, rotated, divisors);
  s.release(rotated, divisors);
  const solved = matmul(s, scaled, vectors, { transposeB: true, out });
  s.release(scaled, vectors);
  return solved;
}
