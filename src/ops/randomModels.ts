import shader from "../../shaders/random_fill.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

/** @internal Fills a tensor with random numbers. */
export const randomKernel = new Kernel(shader, ({ size, models }, { WIDTH }) =>
  grid1d(models! * Math.ceil(size! / 4), WIDTH!),
);

/** @internal The params of a seed and a stream. */
export const seeded = (seed: number, stream: number) => ({
  seed_low: seed >>> 0,
  seed_high: Math.floor(seed / 2 ** 32),
  stream,
});

/**
 * Random factors (rows×R each) of several models side by side, rows×(models·R), in one dispatch: that of model k is what `uniform`, or for odd k
 * `normal`, makes of seed + k, modulo 2³².
 */
export function randomModels(
  s: Scheduler,
  shape: readonly [rows: number, columns: number],
  models: number,
  options: { seed: number; stream: number; out?: Tensor | undefined },
): Tensor {
  assertCall("randomModels", s);
  const [rows, columns] = shape;
  const { seed, stream } = options;
  if (options.out) assertShape("randomModels", "out", options.out, [rows, models * columns]);
  const out = options.out ?? s.tensor([rows, models * columns], { label: "random models" });
  const unused = s.tensor([1], { dtype: "u32", label: "no step" });
  const size = rows * columns;
  const numbers = { ...seeded(seed >>> 0, stream), size, scale: 1, shift: 0, models, columns };
  s.run(randomKernel.with({ BY_MODELS: true }), { replay: unused, out }, numbers);
  s.release(unused);
  return out;
}
