import { expect } from "vitest";
import {
  type ArrayOf,
  type DType,
  Engine,
  type EngineOptions,
  type Scheduler,
  type Tensor,
  type TypedArray,
} from "../src/gpu/index.js";
import { openEngine } from "../src/node/index.js";
import { requestAdapter } from "../src/node/open.js";

let shared: Promise<Engine> | undefined;

/**
 * One engine for all tests of a process, or of a page: a pipeline is compiled once for all files that run there. Nothing may
 * change or lose it; what it has allocated, counted and compiled is compared with what was before.
 */
export function testEngine(): Promise<Engine> {
  shared ??= openEngine();
  return shared;
}

/** Another engine on the device of `testEngine`: with its own options, memory and counters, and the pipelines that are there. */
export const siblingEngine = async (options?: EngineOptions): Promise<Engine> =>
  new Engine((await testEngine()).device, options);

/** An engine with a device of its own, for a test that changes or loses it. */
export const freshEngine = (options?: EngineOptions): Promise<Engine> => openEngine(options);

let plain: Promise<Engine> | undefined;

/** An engine whose device has no optional features, one for all tests of a process: it gets the kernels made for GPUs. */
export function plainEngine(): Promise<Engine> {
  plain ??= requestAdapter().then(async ({ adapter }) => new Engine(await adapter.requestDevice()));
  return plain;
}

/** Records, runs once and reads what `record` returns. */
export async function evaluate<D extends DType>(
  engine: Engine,
  record: (s: Scheduler) => Tensor<D>,
): Promise<ArrayOf[D]>;
export async function evaluate<D extends DType>(
  engine: Engine,
  record: (s: Scheduler) => Tensor<D>[],
): Promise<ArrayOf[D][]>;
export async function evaluate(
  engine: Engine,
  record: (s: Scheduler) => Tensor<DType> | Tensor<DType>[],
): Promise<TypedArray | TypedArray[]> {
  const s = engine.scheduler("test");
  const result = record(s);
  const schedule = await s.compile();
  try {
    engine.submit(schedule);
    return await engine.read(result as Tensor<DType>[]);
  } finally {
    schedule.destroy();
  }
}

/** Largest |actual − expected| over the largest |expected|. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]!));
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= worst)) worst = difference; // NaN sticks
  }
  return worst / (scale || 1);
}

/** Asserts that f32 results agree with f64 ones to `tolerance` of the largest value. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(relativeError(actual, expected)).toBeLessThan(tolerance);
}
