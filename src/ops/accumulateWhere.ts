import shader from "../../shaders/accumulate_where.wgsl?late";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitWords } from "./packBits.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

export interface WhereOptions {
  /** whether the entries are meant whose bit is set */
  where: boolean;
  /** factors there: of x, and of what `out` held */
  alpha: number;
  beta: number;
  /** the factor of `out` elsewhere */
  gamma: number;
}

/**
 * out ← alpha·x + beta·out at entries whose bit is as `where` says, and gamma·out elsewhere, in place. `bits` are those of `packBits`. What a
 * factor of 0 stands before may be NaN.
 */
export function accumulateWhere(
  s: Scheduler,
  x: Tensor,
  out: Tensor,
  bits: Tensor<"u32">,
  { where, alpha, beta, gamma }: WhereOptions,
): Tensor {
  assertCall("accumulateWhere", s, { x, out, bits });
  assertShape("accumulateWhere", "out", out, x.shape);
  if (bits.size !== bitWords(x.size))
    throw new ShapeError(`accumulateWhere: ${bits} for ${x}, needs ${bitWords(x.size)} words`);
  s.run(kernel.with({ WHERE: where ? 1 : 0 }), { bits, x, out }, { size: x.size, alpha, beta, gamma });
  return out;
}
