import shader from "../../shaders/dropout.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(Math.ceil(size! / 4), WIDTH!));

export interface DropoutOptions {
  /** probability that an element becomes 0 */
  rate: number;
  seed?: number;
  /** separates the layers of a network */
  stream?: number;
  /** [step, epoch, steps so far, …], u32: the mask changes with the third */
  state: Tensor<"u32">;
  out?: Tensor | undefined;
}

/**
 * Inverted dropout (Srivastava et al. 2014). It is also its gradient: applied to dy with the same seed, stream and state, it drops
 * the same elements.
 */
export function dropout(s: Scheduler, x: Tensor, { rate, seed = 0, stream = 0, state, out }: DropoutOptions): Tensor {
  assertCall("dropout", s, { x });
  if (!(rate >= 0 && rate < 1)) throw new ShapeError(`dropout: rate ${rate}, needs 0 ≤ rate < 1`);
  const result = out ?? s.tensor(x.shape, { label: "dropout" });
  const seeds = { seed_low: seed >>> 0, seed_high: Math.floor(seed / 2 ** 32) };
  s.run(kernel, { x, state, out: result }, { size: x.size, rate, stream, ...seeds });
  return result;
}
