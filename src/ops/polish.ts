import shader from "../../shaders/unit_residual.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { carefulGram } from "./carefulGram.js";
import { add, subtract } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ n }, { WIDTH }) => grid1d(n! * n!, WIDTH!));

/** (I − G) / 2 for a Gram matrix G, which is released; with `TRIANGLE` the upper triangular E with E + Eᵀ = I − G. */
function unitResidual(s: Scheduler, g: Tensor, TRIANGLE = false): Tensor {
  const n = g.shape[0]!;
  const out = s.tensor([n, n], { label: "unit residual" });
  s.run(kernel.with({ TRIANGLE }), { g, out }, { n });
  s.release(g);
  return out;
}

/**
 * Nearly orthonormal columns made so to rounding: X + X·(I − XᵀX) / 2, a step of Newton and Schulz towards the polar factor,
 * which squares the distance from orthonormality (Higham 2008, section 8.3).
 */
export function polishColumns(s: Scheduler, x: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("polishColumns", s, { x });
  const half = unitResidual(s, carefulGram(s, x));
  const step = matmul(s, x, half);
  const out = add(s, x, step, options);
  s.release(half, step);
  return out;
}

/** {@link polishColumns} for rows that are nearly orthonormal. */
export function polishRows(s: Scheduler, x: Tensor): Tensor {
  assertCall("polishRows", s, { x });
  const half = unitResidual(s, matmul(s, x, x, { transposeB: true, careful: true }));
  const step = matmul(s, half, x);
  const out = add(s, x, step);
  s.release(half, step);
  return out;
}

/**
 * The factors of A = Q·R with Q's nearly orthonormal columns made so to rounding: Q·(I + E) and (I − E)·R for the upper triangular E
 * with E + Eᵀ = I − QᵀQ, so that R stays triangular and Q·R stays the same.
 */
export function polishQr(s: Scheduler, q: Tensor, r: Tensor): { q: Tensor; r: Tensor } {
  assertCall("polishQr", s, { q, r });
  const lack = unitResidual(s, carefulGram(s, q), true);
  const [stepQ, stepR] = [matmul(s, q, lack), matmul(s, lack, r)];
  const polished = { q: add(s, q, stepQ), r: subtract(s, r, stepR) };
  s.release(lack, stepQ, stepR);
  return polished;
}
