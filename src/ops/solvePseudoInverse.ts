import type { Scheduler, Tensor } from "../gpu/index.js";
import { cutOff } from "./cutOff.js";
import { safeDivide } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { assertSystem } from "./solveCholesky.js";
import { symmetricEigen } from "./symmetricEigen.js";

/** `solveSymmetric` by the pseudo-inverse. */
export function solvePseudoInverse(
  s: Scheduler,
  a: Tensor,
  b: Tensor,
  { rcond = 1e-6, out }: { rcond?: number | undefined; out?: Tensor | undefined } = {},
): Tensor {
  assertSystem("solvePseudoInverse", s, a, b);
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
