import shader from "../../shaders/unit_residual.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { add } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ n }, { WIDTH }) => grid1d(n! * n!, WIDTH!));

/** (I − G) / 2 for a Gram matrix. */
function unitResidual(s: Scheduler, g: Tensor): Tensor {
  const n = g.shape[0]!;
  const out = s.tensor([n, n], { label: "unit residual" });
  s.run(kernel, { g, out }, { n });
  s.release(g);
  return out;
}

/**
 * Nearly orthonormal columns made so to rounding: X + X·(I − XᵀX) / 2, a step of Newton and Schulz towards the polar factor,
 * which squares what is lacking (Higham 2008, section 8.3).
 */
export function polishColumns(s: Scheduler, x: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("polishColumns", s, { x });
  const half = unitResidual(s, matmul(s, x, x, { transposeA: true, careful: true }));
  const step = matmul(s, x, half);
  const out = add(s, x, step, options);
  s.release(half, step);
  return out;
}

/** The same for rows. */
export function polishRows(s: Scheduler, x: Tensor): Tensor {
  assertCall("polishRows", s, { x });
  const half = unitResidual(s, matmul(s, x, x, { transposeB: true, careful: true }));
  const step = matmul(s, half, x);
  const out = add(s, x, step);
  s.release(half, step);
  return out;
}
