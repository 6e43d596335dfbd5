import shader from "../../shaders/fill.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

/** Sets every element of `out` to `value`. */
export function fill(s: Scheduler, out: Tensor, value: number): Tensor {
  s.run(kernel, { out }, { size: out.size, value });
  return out;
}
