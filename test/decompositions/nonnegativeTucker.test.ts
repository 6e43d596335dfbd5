/** Tucker decompositions without negative entries: optimality in f64, the errors told, and data of every kind. */
import { describe, expect, it } from "vitest";
import { nonnegativeTucker } from "../../src/decompositions/index.js";
import type { Engine } from "../../src/gpu/index.js";
import { slabs } from "../../src/sources/index.js";
import type { TuckerTensor } from "../../src/tensors/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { modeProduct, norm } from "./planted.js";

function planted(shape: readonly number[], ranks: readonly number[], noise: number, seed: number): Float32Array {
  const size = ranks.reduce((product, rank) => product * rank, 1);
  let data: Float64Array = Float64Array.from(randomArray(size, seed), (value) => Math.max(0, value + 0.3));
  const current = [...ranks];
  for (const [mode, extent] of shape.entries()) {
    const factor = randomArray(extent * ranks[mode]!, seed + 1 + mode).map((value) => Math.max(0, value + 0.2));
    data = modeProduct(data, current, factor, extent, mode);
    current[mode] = extent;
  }
  const errors = randomArray(data.length, seed + 50);
  const scale = (noise * norm(data)) / norm(errors);
  return Float32Array.from(data, (value, at) => value + scale * errors[at]!);
}

async function numbersOf(engine: Engine, { core, factors }: TuckerTensor) {
  const [g, ...all] = await engine.read([core, ...factors.map((factor) => factor!)]);
  return { core: g!, factors: all };
}

const transposed = (x: ArrayLike<number>, columns: number): Float64Array =>
  Float64Array.from({ length: x.length }, (_, at) => {
    const rows = x.length / columns;
    return x[(at % rows) * columns + Math.floor(at / rows)]!;
  });

/** X − X̂, and how negative a gradient of ½‖X − X̂‖² is where an entry is 0, or how far from 0 elsewhere, relative to ‖X‖; in the core, in factors. */
function judged(
  x: Float32Array,
  shape: readonly number[],
  { core, factors }: { core: Float32Array; factors: Float32Array[] },
  isConstrained: (part: number) => boolean,
) {
  const ranks = factors.map((factor, mode) => factor.length / shape[mode]!);
  const full = (from: ArrayLike<number>, skip = -1) => {
    let data: Float64Array = Float64Array.from(from);
    let current = [...ranks];
    for (const [mode, factor] of factors.entries()) {
      if (mode === skip) continue;
      data = modeProduct(data, current, factor, shape[mode]!, mode);
      current = current.map((extent, k) => (k === mode ? shape[mode]! : extent));
    }
    return data;
  };
  const model = full(core);
  const rest = Float64Array.from(x, (value, at) => model[at]! - value);
  const size = norm(x);
  const wrongOf = (values: Float32Array, gradient: ArrayLike<number>, part: number) =>
    values.reduce((worst, value, at) => {
      const slope = gradient[at]!;
      return Math.max(worst, (isConstrained(part) && value === 0 ? Math.max(0, -slope) : Math.abs(slope)) / size);
    }, 0);
  let inner: Float64Array = rest;
  const current = [...shape];
  for (const [mode, factor] of factors.entries()) {
    inner = modeProduct(inner, current, transposed(factor, ranks[mode]!), ranks[mode]!, mode);
    current[mode] = ranks[mode]!;
  }
  const scale = norm(core);
  const wrong = [wrongOf(core, inner, 0)];
  for (const [mode, extent] of shape.entries()) {
    const others = full(core, mode);
    const rank = ranks[mode]!;
    const after = shape.slice(mode + 1).reduce((product, extent) => product * extent, 1);
    const gradient = new Float64Array(extent * rank);
    for (let at = 0; at < rest.length; at++) {
      const [before, i, a] = [Math.floor(at / after / extent), Math.floor(at / after) % extent, at % after];
      for (let r = 0; r < rank; r++) gradient[i * rank + r]! += rest[at]! * others[(before * rank + r) * after + a]!;
    }
    wrong.push(wrongOf(factors[mode]!, gradient, mode + 1) / scale);
  }
  return { error: norm(rest) / size, wrong: Math.max(...wrong) };
}

describe.each([
  [[9, 8, 7], [3, 2, 3], 0.2],
  [[6, 1, 5], [2, 1, 2], 0.3],
  [[8, 7], [3, 3], 0.2],
  [[5, 4, 3, 4], [2, 2, 3, 2], 0.2],
] as const)("%j by ranks %j, noise %f", (shape, ranks, noise) => {
  it("ends where no entry can be moved to lower the error", async () => {
    const engine = await testEngine();
    const data = planted(shape, ranks, noise, 4);
    using x = engine.tensor([...shape], data);
    for (const initialize of ["svd", "random"] as const) {
      const options = { ranks, initialize, sweeps: 400, tolerance: 0 };
      const { tensor, relativeError, errors, negativePart } = await nonnegativeTucker(engine, x, options);
      using _ = tensor;
      const numbers = await numbersOf(engine, tensor);
      expect(Math.min(...numbers.core, ...numbers.factors.flatMap((factor) => [...factor]))).toBeGreaterThanOrEqual(0);
      const { error, wrong } = judged(data, [...shape], numbers, () => true);
      expect(Math.abs(relativeError - error)).toBeLessThan(2e-6);
      expect(wrong).toBeLessThan(2e-3);
      expect(Math.abs(errors.at(-1)! - relativeError)).toBeLessThan(1e-6);
      expect(negativePart).toBeCloseTo(norm(data.map((value) => Math.min(0, value))) / norm(data), 6);
      for (const [at, error] of errors.entries()) expect(error).toBeLessThanOrEqual((errors[at - 1] ?? 2) + 1e-6);
    }
  });

  it("leaves the modes and the core free that it is not to constrain", async () => {
    const engine = await testEngine();
    const size = ([...shape] as number[]).reduce((product, extent) => product * extent, 1);
    const data = randomArray(size, 9);
    using x = engine.tensor([...shape], data);
    const options = { ranks, nonnegative: [0], nonnegativeCore: false, sweeps: 200, tolerance: 0 };
    const { tensor, relativeError, negativePart } = await nonnegativeTucker(engine, x, options);
    using _ = tensor;
    const numbers = await numbersOf(engine, tensor);
    expect(Math.min(...numbers.factors[0]!)).toBeGreaterThanOrEqual(0);
    const { error, wrong } = judged(data, [...shape], numbers, (part) => part === 1);
    expect(Math.abs(relativeError - error)).toBeLessThan(2e-6);
    expect(wrong).toBeLessThan(2e-2);
    expect(negativePart).toBeUndefined();
  });
});

it("finds an exact model, at any scale, from slabs too", async () => {
  const engine = await testEngine();
  const shape = [8, 8, 8];
  const data = planted(shape, [2, 3, 2], 0, 6);
  const options = { ranks: [2, 3, 2], sweeps: 300, initialize: "random", seed: 2 } as const;
  const results: number[] = [];
  for (const scale of [1, 1e-12, 1e12]) {
    using x = engine.tensor(
      shape,
      data.map((value) => value * scale),
    );
    const { live } = engine.memory();
    const { tensor, relativeError } = await nonnegativeTucker(engine, x, options);
    tensor.destroy();
    expect(engine.memory().live).toBe(live);
    results.push(relativeError);
  }
  using x = engine.tensor(shape, data);
  using source = await slabs(engine, [x.rows(0, 3), x.rows(3, 8)]);
  const { tensor, relativeError } = await nonnegativeTucker(engine, source, options);
  tensor.destroy();
  for (const error of [...results, relativeError]) expect(error).toBeLessThan(5e-3);
});

it("keeps its components where X is noise, from every start", async () => {
  const engine = await testEngine();
  const shape = [12, 11, 10];
  for (const seed of [1, 2, 3]) {
    // about normal
    const sums = [0, 1, 2, 3].map((part) => randomArray(1320, 7 * seed + 40 * part));
    using x = engine.tensor(
      shape,
      sums[0]!.map((_, at) => sums.reduce((sum, values) => sum + values[at]!, 0)),
    );
    for (const start of [{}, ...[0, 1, 2].map((other) => ({ initialize: "random", seed: other }) as const)]) {
      const options = { ranks: 3, sweeps: 300, tolerance: 1e-8 };
      const { tensor, relativeError } = await nonnegativeTucker(engine, x, { ...options, ...start });
      // TensorLy's ends are from 0.952 to 0.972 for such tensors
      expect(relativeError, JSON.stringify([seed, start])).toBeLessThan(0.975);
      tensor.destroy();
    }
  }
});

it("refuses ranks and modes that are not there", async () => {
  const engine = await testEngine();
  using x = engine.tensor([4, 3, 2]);
  await expect(nonnegativeTucker(engine, x, { ranks: [5, 3, 2] })).rejects.toThrow(
    "nonnegativeTucker: rank 5 for mode 0",
  );
  await expect(nonnegativeTucker(engine, x, { ranks: 2, nonnegative: [4] })).rejects.toThrow("nonnegative has mode 4");
  const { tensor, relativeError } = await nonnegativeTucker(engine, x, { ranks: 2 });
  expect(relativeError).toBe(0);
  tensor.destroy();
});
