import shader from "../../shaders/cut_off.wgsl";
import { Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

/** The values ([n]) with those below `rcond` of the largest magnitude set to 0: what a pseudo-inverse leaves out. */
export function cutOff(s: Scheduler, values: Tensor, rcond: number): Tensor {
  assertCall("cutOff", s, { values });
  const out = s.tensor(values.shape, { label: "values above the cut-off" });
  s.run(
    kernel.with({ WIDTH: Math.min(64, setting(s.engine, "soleWorkgroup")) }),
    { values, out },
    { n: values.size, rcond },
  );
  return out;
}
