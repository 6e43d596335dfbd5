import shader from "../../shaders/pack_bits.wgsl?late";
import { type DType, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(Math.ceil(size! / 32), WIDTH!));

/** Words that one bit an entry takes. */
export const bitWords = (size: number): number => Math.ceil(size / 32);

/**
 * One bit for each entry of an f32 tensor, 32 a word, the first in the lowest bit: whether it is not 0, or is not NaN (infinity is not).
 *
 * @throws ShapeError where `x` is not f32
 */
export function packBits(
  s: Scheduler,
  x: Tensor<DType>,
  { test, out }: { test: "notZero" | "notNaN"; out?: Tensor<"u32"> | undefined },
): Tensor<"u32"> {
  assertCall("packBits", s, { x });
  if (x.dtype !== "f32") throw new ShapeError(`packBits: ${x} is ${x.dtype}, needs f32`);
  if (out) assertShape("packBits", "out", out, [bitWords(x.size)]);
  const bits = out ?? s.tensor([bitWords(x.size)], { dtype: "u32", label: "bits" });
  s.run(kernel.with({ TEST: test === "notNaN" ? 1 : 0 }), { x: bitsOf(x), out: bits }, { size: x.size });
  return bits;
}
