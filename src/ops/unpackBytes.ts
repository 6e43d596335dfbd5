import shader from "../../shaders/unpack_bytes.wgsl";
import { type DType, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(Math.ceil(size! / 4), WIDTH!));

/**
 * Bytes (u8) as numbers from 0 to 1, value / 255, in f32: images as bytes take a quarter of the memory.
 *
 * @throws ShapeError where `x` is not of bytes
 */
export function unpackBytes(s: Scheduler, x: Tensor<DType>, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("unpackBytes", s, { x });
  if (x.dtype !== "u8") throw new ShapeError(`unpackBytes: ${x} is ${x.dtype}, needs u8`);
  if (options.out) assertShape("unpackBytes", "out", options.out, x.shape);
  const out = options.out ?? s.tensor(x.shape, { label: x.label });
  s.run(kernel, { x, out }, { size: x.size });
  return out;
}
