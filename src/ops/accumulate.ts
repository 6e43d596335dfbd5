import shader from "../../shaders/accumulate.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

/**
 * out ← alpha·x + beta·out, in place: `out` gains x without a second tensor of its size. With beta −1 it becomes x − out: the
 * residual, if `out` was a model of x. Both factors are 1 by default.
 */
export function accumulate(
  s: Scheduler,
  x: Tensor,
  out: Tensor,
  { alpha = 1, beta = 1 }: { alpha?: number; beta?: number } = {},
): Tensor {
  assertCall("accumulate", s, { x, out });
  assertShape("accumulate", "out", out, x.shape);
  const vectors = x.size % 4 === 0;
  s.run(
    kernel.with({ scalar: vectors ? "vec4f" : "f32" }),
    { x, out },
    { size: vectors ? x.size / 4 : x.size, alpha, beta },
  );
  return out;
}
