import shader from "../../shaders/to_float.wgsl?late";
import { type DType, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf, readingOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

/**
 * Integers, bytes or 16-bit floats as f32 of the same value (a byte from 0 to 255; `unpackBytes` gives 0 to 1), rounded to nearest.
 *
 * @throws ShapeError where `x` is f32 already
 */
export function toFloat(s: Scheduler, x: Tensor<DType>, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("toFloat", s, { x });
  if (x.dtype === "f32") throw new ShapeError(`toFloat: ${x} is f32 already`);
  if (options.out) assertShape("toFloat", "out", options.out, x.shape);
  const out = options.out ?? s.tensor(x.shape, { label: x.label });
  const inVectors = x.size % 4 === 0;
  s.run(
    kernel.with(readingOf(x, inVectors)),
    { x: bitsOf(x), out: bitsOf(out) },
    { size: inVectors ? x.size / 4 : x.size },
  );
  return out;
}
