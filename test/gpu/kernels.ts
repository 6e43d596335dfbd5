/** Small kernels that the engine's tests run; they go through the same loader as the library's. */
import { type Engine, Kernel, type Schedule, type Scheduler, type Tensor } from "../../src/gpu/index.js";
import affineShader from "./shaders/affine.wgsl";
import incrementShader from "./shaders/increment.wgsl";
import widenShader from "./shaders/widen.wgsl";

export { affineShader };

/** out = FACTOR·x + offset */
export const affine = new Kernel(affineShader, ({ count }, { SIZE }) => [Math.ceil(count! / SIZE!)]);
/** x += amount */
export const increment = new Kernel(incrementShader, ({ count }) => [Math.ceil(count! / 64)]);
/** bytes to words */
export const widen = new Kernel(widenShader, ({ count }) => [Math.ceil(count! / 64)]);

/** x + offset into a new temporary, or into `out` */
export function shifted(s: Scheduler, x: Tensor, offset: number, out: Tensor = s.tensor(x.shape)): Tensor {
  s.run(affine, { x, out }, { count: x.size, offset });
  return out;
}

/** x += amount, recorded `dispatches` times */
export async function incrementing(engine: Engine, x: Tensor, amount = 1, dispatches = 1): Promise<Schedule> {
  const s = engine.scheduler("increments");
  for (let i = 0; i < dispatches; i++) s.run(increment, { x }, { count: x.size, amount });
  return s.compile();
}

/** A new device with default limits and no features, as a host program may have. */
export async function plainDevice(): Promise<GPUDevice> {
  const { requestAdapter } = await import("../../src/node/open.js");
  const { adapter } = await requestAdapter();
  return adapter.requestDevice({ label: "host" });
}
