import { type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { cholesky } from "./cholesky.js";
import { matmul } from "./matmul.js";
import { assertCall, assertShape } from "./shapes.js";

/** `solveSymmetric` by Cholesky: a program that solves so alone carries no kernels of eigenvalues. */
export function solveCholesky(
  s: Scheduler,
  a: Tensor,
  b: Tensor,
  { ridge = 0, out }: { ridge?: number | undefined; out?: Tensor | undefined } = {},
): Tensor {
  assertSystem("solveCholesky", s, a, b);
  const { r, inverse } = cholesky(s, a, { ridge });
  s.release(r);
  const half = matmul(s, b, inverse);
  const solved = matmul(s, half, inverse, { transposeB: true, out });
  s.release(half, inverse);
  return solved;
}

/** Throws where A is not n×n, or B has not n columns. */
export function assertSystem(operation: string, s: Scheduler, a: Tensor, b: Tensor): void {
  assertCall(operation, s, { a, b });
  const n = a.shape[0]!;
  assertShape(operation, "the matrix", a, [n, n]);
  if (b.order !== 2 || b.shape[1] !== n) throw new ShapeError(`${operation}: ${b} needs ${n} columns`);
}
