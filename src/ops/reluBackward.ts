import shader from "../../shaders/relu_backward.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(Math.ceil(size! / 4), WIDTH!));

/** Gradient of relu: `dy` where relu's output `y` is positive, else 0. */
export function reluBackward(s: Scheduler, y: Tensor, dy: Tensor, { out }: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("reluBackward", s, { y, dy });
  assertShape("reluBackward", "dy", dy, y.shape);
  const dx = out ?? s.tensor(y.shape, { label: "relu gradient" });
  s.run(kernel, { y, dy, dx }, { size: y.size });
  return dx;
}
