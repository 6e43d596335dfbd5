/** Tensors of which entries are missing: those hold the largest number of f32. */
import accumulateShader from "../../shaders/accumulate_known.wgsl?late";
import holdOutShader from "../../shaders/hold_out.wgsl?late";
import markShader from "../../shaders/mark_missing.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { bitsOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

const marking = new Kernel(markShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));
const parting = new Kernel(holdOutShader, ({ size, skip }, { WIDTH }) =>
  grid1d(Math.ceil((size! + skip!) / 4), WIDTH!),
);
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

export interface HoldOut {
  /** entries whose number is below are held out */
  share: number;
  /** whether `out` has those that are held out, or the others */
  side: "held out" | "others";
  seed: number;
  stream: number;
  /** the place of x[0] among all entries, where x is a part of a tensor; 0 by default */
  first?: number;
  out?: Tensor | undefined;
}

/**
 * x, with the largest number of f32, as {@link markMissing} marks it, where an entry is on the other side: sides are drawn by the numbers that `uniform`
 * has of the seed and the stream, so that a tensor's parts are parted as the tensor. What is missing in x is missing on both sides.
 */
export function holdOut(s: Scheduler, x: Tensor, { share, side, seed, stream, first = 0, out }: HoldOut): Tensor {
  assertCall("holdOut", s, { x });
  if (out) assertShape("holdOut", "out", out, x.shape);
  const marked = out ?? s.tensor(x.shape, { label: side });
  const four = Math.floor(first / 4);
  s.run(
    parting.with({ ABOVE: side === "others" }),
    { x: bitsOf(x), out: bitsOf(marked) },
    {
      ...{ size: x.size, skip: first % 4, share, stream },
      ...{ group_low: four % 2 ** 32, group_high: Math.floor(four / 2 ** 32) },
      ...{ seed_low: seed >>> 0, seed_high: Math.floor(seed / 2 ** 32) },
    },
  );
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
