import { type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { randomKernel, seeded } from "./randomModels.js";
import { assertCall, assertShape } from "./shapes.js";

export interface RandomOptions {
  /** a whole number below 2⁵³; the same seed gives the same numbers on every adapter */
  seed?: number;
  /** different streams of one seed are independent of each other */
  stream?: number;
  /** [1], u32: a number in GPU memory that is mixed in, so that replays of a schedule differ */
  step?: Tensor<"u32">;
  out?: Tensor | undefined;
}

function record(
  s: Scheduler,
  name: string,
  distribution: number,
  shape: readonly number[],
  { seed = 0, stream = 0, step, out: target }: RandomOptions,
  scale: number,
  shift: number,
): Tensor {
  assertCall(name, s);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ShapeError(`${name}: seed ${seed}, needs a whole number from 0`);
  if (target) assertShape(name, "out", target, shape);
  const out = target ?? s.tensor(shape, { label: name });
  const unused = step ? null : s.tensor([1], { dtype: "u32", label: "no step" });
  s.run(
    randomKernel.with({ DISTRIBUTION: distribution, STEPPED: !!step }),
    { replay: step ?? unused!, out },
    { ...seeded(seed, stream), size: out.size, scale, shift, models: 1, columns: 1 },
  );
  if (unused) s.release(unused);
  return out;
}

/** Uniform numbers on [low, high), by Philox4x32-10. */
export const uniform = (
  s: Scheduler,
  shape: readonly number[],
  { low = 0, high = 1, ...options }: RandomOptions & { low?: number; high?: number } = {},
): Tensor => record(s, "uniform", 0, shape, options, high - low, low);

/** Normal numbers by Box and Muller's method on Philox4x32-10. */
export const normal = (
  s: Scheduler,
  shape: readonly number[],
  { mean = 0, deviation = 1, ...options }: RandomOptions & { mean?: number; deviation?: number } = {},
): Tensor => record(s, "normal", 1, shape, options, deviation, mean);
