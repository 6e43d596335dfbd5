import shader from "../../shaders/unit_residual.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ n }, { WIDTH }) => grid1d(n! * n!, WIDTH!));

/** (I − G) / 2 for an n×n matrix: half of what a Gram matrix lacks to the identity. */
export function unitResidual(s: Scheduler, g: Tensor): Tensor {
  assertCall("unitResidual", s, { g });
  const n = g.shape[0]!;
  assertShape("unitResidual", "the matrix", g, [n, n]);
  const out = s.tensor([n, n], { label: "unit residual" });
  s.run(kernel, { g, out }, { n });
  return out;
}
