import shader from "../../shaders/fill.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

/** Sets every element of `out` to `value`. */
export function fill(s: Scheduler, out: Tensor, value: number): Tensor {
  assertCall("fill", s, { out });
  const vectors = out.size % 4 === 0;
  s.run(
    kernel.with({ scalar: vectors ? "vec4f" : "f32" }),
    { out },
    { size: vectors ? out.size / 4 : out.size, value },
  );
  return out;
}
