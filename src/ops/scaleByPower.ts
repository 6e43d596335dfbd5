import shader from "../../shaders/scale_by_power.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

/**
 * 2^exponent · x, exactly, also where x or the result is smaller than the least normal f32 (2⁻¹²⁶), which the arithmetic of many GPUs
 * takes for zero. Results beyond f32 become infinite.
 */
export function scaleByPower(
  s: Scheduler,
  x: Tensor,
  exponent: number,
  options: { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("scaleByPower", s, { x });
  if (x.dtype !== "f32") throw new ShapeError(`scaleByPower: ${x} is ${x.dtype}, needs f32`);
  if (!(Number.isInteger(exponent) && Math.abs(exponent) <= 1024))
    throw new ShapeError(`scaleByPower: exponent ${exponent}, needs a whole number from -1024 to 1024`);
  if (options.out) assertShape("scaleByPower", "out", options.out, x.shape);
  const out = options.out ?? s.tensor(x.shape, { label: x.label });
  s.run(kernel, { x: bitsOf(x), out: bitsOf(out) }, { size: x.size, exponent });
  return out;
}
