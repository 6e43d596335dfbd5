import shader from "../../shaders/softmax.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertMode, assertShape, threeNumbers } from "./shapes.js";
import { lanesOfRow } from "./tiles.js";

const kernel = new Kernel(shader, ({ before, after }, { WIDTH, LANES }) => grid1d(before! * after!, WIDTH! / LANES!));

interface SoftmaxOptions {
  /** the mode whose elements add up to 1; the last one by default */
  axis?: number | undefined;
  out?: Tensor | undefined;
}

function record(name: string, s: Scheduler, x: Tensor, dy: Tensor, options: SoftmaxOptions, BACKWARD: boolean): Tensor {
  const { axis = x.order - 1 } = options;
  assertMode(name, x, axis);
  if (options.out) assertShape(name, "out", options.out, x.shape);
  const out = options.out ?? s.tensor(x.shape, { label: name });
  const [before, extent, after] = threeNumbers(x.shape, axis);
  s.run(kernel.with({ BACKWARD, LANES: lanesOfRow(extent) }), { x, dy, out }, { before, extent, after });
  return out;
}

/** exp(x) ÷ Σ exp(x) along one mode, without overflow. */
export function softmax(s: Scheduler, x: Tensor, options: SoftmaxOptions = {}): Tensor {
  assertCall("softmax", s, { x });
  return record("softmax", s, x, x, options, false);
}

/**
 * Gradient of the softmax' input.
 *
 * @param y the softmax
 * @param dy the gradient of it
 */
export function softmaxGradient(s: Scheduler, y: Tensor, dy: Tensor, options: SoftmaxOptions = {}): Tensor {
  assertCall("softmaxGradient", s, { y, dy });
  assertShape("softmaxGradient", "dy", dy, y.shape);
  return record("softmaxGradient", s, y, dy, options, true);
}
