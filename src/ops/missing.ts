/** Tensors of which entries are missing: those hold the largest number of f32. */
import accumulateShader from "../../shaders/accumulate_known.wgsl?late";
import markShader from "../../shaders/mark_missing.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { bitsOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

const marking = new Kernel(markShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));
const accumulating = new Kernel(accumulateShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

/**
 * x, with the largest number of f32 where an entry is missing: where the mask is 0, or where x is NaN without one. Known entries of that number
 * become the next smaller one. What x has at missing entries does not matter.
 */
export function markMissing(
  s: Scheduler,
  x: Tensor,
  { mask, out }: { mask?: Tensor | undefined; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("markMissing", s, mask ? { x, mask } : { x });
  if (mask) assertShape("markMissing", "mask", mask, x.shape);
  if (out) assertShape("markMissing", "out", out, x.shape);
  const marked = out ?? s.tensor(x.shape, { label: "known entries" });
  const bits = bitsOf(x);
  const bindings = { x: bits, mask: mask ? bitsOf(mask) : bits, out: bitsOf(marked) };
  s.run(marking.with({ BY_MASK: mask !== undefined }), bindings, { size: x.size });
  return marked;
}

/**
 * out ← alpha·x + beta·out where an entry of x is known, and gamma·out where it is missing, as `markMissing` marks it; in place. What a factor of 0
 * stands before may be NaN.
 */
export function accumulateKnown(
  s: Scheduler,
  x: Tensor,
  out: Tensor,
  { alpha, beta, gamma }: { alpha: number; beta: number; gamma: number },
): Tensor {
  assertCall("accumulateKnown", s, { x, out });
  assertShape("accumulateKnown", "out", out, x.shape);
  s.run(accumulating, { x: bitsOf(x), out }, { size: x.size, alpha, beta, gamma });
  return out;
}
