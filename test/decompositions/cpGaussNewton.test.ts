/** CP by Gauss-Newton: that it gets there, with default options; what it reads and leaves; its options. */
import { describe, expect, it, vi } from "vitest";
import { type CpGaussNewtonOptions, cp, cpALS, type StartsProgress } from "../../src/decompositions/index.js";
import type { DType, Engine, Tensor } from "../../src/gpu/index.js";
import { type HostSlab, slabs } from "../../src/sources/index.js";
import { evaluate, siblingEngine, testEngine } from "../engine.js";
import normals from "../fixtures/normal.json" with { type: "json" };
import { randomArray } from "../reference.js";
import { collinearCp, distance, EXACT, exactCp, kruskal, plantedCp } from "./planted.js";
import { readsWhile } from "./watched.js";

/** Runs with default options but for these; the error of the result in f64, and how it was reached. */
async function solved(engine: Engine, data: Float32Array, shape: readonly number[], options: CpGaussNewtonOptions) {
  using x = engine.tensor(shape, data);
  const result = await cp(engine, x, options);
  const { tensor } = result;
  const error = distance(data, await evaluate(engine, (s) => tensor.full(s)));
  expect(Math.abs(result.relativeError - error)).toBeLessThan(1e-6);
  expect(result.errors.at(-1)).toBeCloseTo(error, 6);
  expect(result.fits).toEqual(result.errors.map((told) => 1 - told));
  tensor.destroy();
  return { ...result, error };
}

const SEEDS = [0, 1, 2];

describe("cp with default options ends at", () => {
  it("the exact model of normal factors, on which most random starts of ALS fail, and most starts agree", async () => {
    const engine = await testEngine();
    const shape = [30, 40, 50];
    const factors = [normals.slice(0, 120), normals.slice(120, 280), normals.slice(280)];
    const data = Float32Array.from(kruskal(factors, shape, 4));
    for (const seed of SEEDS) {
      const { error, starts, converged } = await solved(engine, data, shape, { rank: 4, seed });
      expect(error).toBeLessThan(1e-5);
      // a start that trails far behind those that have ended is given up
      expect(starts.agreeing).toBeGreaterThanOrEqual(3);
      expect(starts.errors).toHaveLength(4);
      expect(converged).toBe(true);
    }
  });

  // all of them: test/slow
  it.each(EXACT.filter(({ count, rank }) => count === rank % 4))(
    "an exact model: $kind factors, rank $rank",
    async (which) => {
      const engine = await testEngine();
      const { data, shape } = exactCp(which);
      expect((await solved(engine, data, shape, { rank: which.rank })).error).toBeLessThan(1e-5);
    },
  );

  it.each([
    { shape: [37, 53, 71], rank: 5, cosine: 0.95 },
    { shape: [11, 13, 17, 19], rank: 4, cosine: 0.9 },
  ])("collinear terms of $shape, rank $rank, in few reads", async ({ shape, rank, cosine }) => {
    const engine = await testEngine();
    const data = collinearCp(shape, rank, cosine, 1);
    using x = engine.tensor(shape, data);
    for (const seed of SEEDS) {
      let error = 1;
      // of X and of the difference, and of anything else that is as large
      const isLarge = ({ size }: Tensor<DType>) => size >= x.size;
      const reads = await readsWhile(engine, isLarge, async () => {
        const { tensor, relativeError } = await cp(engine, x, { rank, seed });
        error = relativeError;
        tensor.destroy();
      });
      expect(error).toBeLessThan(5e-6);
      expect(reads).toBeLessThan(150);
    }
  });

  it("terms that overlap, where ALS stops on noise", async () => {
    const engine = await testEngine();
    const shape = [12, 40, 25];
    const data = Float32Array.from({ length: 12000 }, (_, at) => {
      const [i, j, k] = [Math.floor(at / 1000), Math.floor(at / 25) % 40, at % 25];
      let sum = 0;
      for (let r = 0; r < 3; r++)
        sum +=
          (1.2 + Math.sin(3 * i * (r + 1) + r)) *
          Math.exp(-((j - 20 - 6 * r) ** 2) / 98) *
          Math.exp(-((k - 10 - 2.5 * r) ** 2) / 32);
      return sum;
    });
    for (const seed of SEEDS) expect((await solved(engine, data, shape, { rank: 3, seed })).error).toBeLessThan(1e-5);
  });

  it.each([
    [16, 6.83275e-4],
    [10, 6.6446e-4],
  ])("small terms beside a large mean, %i³", async (n, right) => {
    const engine = await testEngine();
    const shape = [n, n, n];
    const data = Float32Array.from({ length: n ** 3 }, (_, at) => {
      const [i, j, k] = [Math.floor(at / n ** 2), Math.floor(at / n) % n, at % n];
      return 1000 + Math.sin(12.9898 * i + 78.233 * j + 37.719 * k + 1.3 * i * j + 0.7 * j * k + 2.1 * i * k);
    });
    for (const seed of SEEDS)
      expect((await solved(engine, data, shape, { rank: 3, seed })).error).toBeLessThan(right * 1.001);
  });
});

describe("cp of", () => {
  it.each([
    { what: "a matrix", shape: [9, 12], rank: 3, planted: 3 },
    { what: "order 4", shape: [6, 7, 5, 8], rank: 3, planted: 3 },
    { what: "order 5", shape: [4, 5, 3, 4, 6], rank: 2, planted: 2 },
    { what: "a rank above every extent", shape: [4, 5, 4], rank: 6, planted: 6 },
    { what: "rank 1", shape: [8, 9, 10], rank: 1, planted: 1 },
    { what: "a mode of one entry", shape: [6, 1, 8], rank: 2, planted: 2 },
    { what: "a rank above that of the tensor", shape: [7, 8, 9], rank: 4, planted: 2 },
    { what: "a long first mode", shape: [3000, 4, 4], rank: 2, planted: 2 },
    { what: "a long last mode", shape: [4, 4, 3000], rank: 2, planted: 2 },
  ])("$what is exact", async ({ shape, rank, planted }) => {
    const engine = await testEngine();
    const { error } = await solved(engine, plantedCp(shape, planted, 0, 3).data, shape, { rank });
    expect(error).toBeLessThan(1e-5);
  });

  it("a constant tensor has one term, and nothing beside it", async () => {
    const engine = await testEngine();
    const data = new Float32Array(210).fill(-3);
    const { error } = await solved(engine, data, [7, 6, 5], { rank: 2 });
    expect(error).toBeLessThan(1e-6);
  });

  it("noise is what ALS finds, or better", async () => {
    const engine = await testEngine();
    const { data, shape, noiseError } = plantedCp([14, 13, 12], 3, 0.3, 6);
    using x = engine.tensor(shape, data);
    const als = await cpALS(engine, x, { rank: 3, starts: 3, sweeps: 300 });
    als.tensor.destroy();
    const { error, starts } = await solved(engine, data, shape, { rank: 3 });
    expect(error).toBeLessThan(als.relativeError * (1 + 1e-5));
    expect(error).toBeLessThan(noiseError);
    expect(starts.errors).toEqual([...starts.errors].sort((a, b) => a - b));
  });

  it("a result is in canonical order, and the same for the same seed", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([9, 8, 7], 3, 0.1, 8);
    using x = engine.tensor(shape, data);
    const results = [await cp(engine, x, { rank: 3, seed: 5 }), await cp(engine, x, { rank: 3, seed: 5 })];
    const numbers = [];
    for (const { tensor } of results) {
      numbers.push(await engine.read([tensor.weights, ...tensor.factors]));
      tensor.destroy();
    }
    expect(numbers[1]).toEqual(numbers[0]);
    expect(results[1]!.errors).toEqual(results[0]!.errors);
    const [weights, ...factors] = numbers[0]! as Float32Array[];
    expect([...weights!]).toEqual([...weights!].sort((a, b) => b - a));
    expect(weights!.every((weight) => weight > 0)).toBe(true);
    for (const [mode, factor] of factors.entries())
      for (let r = 0; r < 3; r++) {
        const column = [...factor.filter((_, at) => at % 3 === r)];
        expect(Math.hypot(...column)).toBeCloseTo(1, 5);
        const largest = column.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
        if (mode < 2) expect(largest).toBeGreaterThan(0);
      }
  });
});

describe("an iteration of cp", () => {
  /** Dispatches, reads of X, submits and readbacks that more iterations of one start take, each. */
  async function perIteration(
    shape: number[],
    rank: number,
    isCounted = (x: Tensor, { storage }: Tensor<DType>) => storage === x.storage,
  ) {
    const engine = await testEngine();
    using x = engine.tensor(shape, plantedCp(shape, rank, 0.3, 2).data);
    const run = async (sweeps: number) => {
      const before = { ...engine.counters };
      const reads = await readsWhile(
        engine,
        (tensor) => isCounted(x, tensor),
        async () => {
          const options = { rank, starts: 1, compression: "none", sweeps, tolerance: 0, sweepsPerSubmit: 4 } as const;
          (await cp(engine, x, options)).tensor.destroy();
        },
      );
      const { dispatches, submits, readbacks } = engine.counters;
      return [dispatches - before.dispatches, reads, submits - before.submits, readbacks - before.readbacks] as const;
    };
    const [short, long] = [await run(4), await run(12)];
    return long.map((count, at) => (count - short[at]!) / 8);
  }

  it("is four dispatches on a small tensor, one of which reads it, and is read back every fourth time", async () => {
    expect(await perIteration([18, 60, 30], 3)).toEqual([4, 1, 1 / 4, 1 / 4]);
  });

  it("reads a large tensor once; the difference is read twice", async () => {
    const [dispatches, reads, submits, readbacks] = await perIteration([40, 36, 38], 3);
    expect(dispatches).toBeLessThanOrEqual(13);
    expect([reads, submits, readbacks]).toEqual([1, 1 / 4, 1 / 4]);
    const ofDifference = await perIteration([40, 36, 38], 3, (_, { label }) => label === "difference");
    expect(ofDifference[1]).toBe(2);
  });

  it("of several starts shares its dispatches", async () => {
    const engine = await testEngine();
    using x = engine.tensor([9, 8, 7], plantedCp([9, 8, 7], 3, 0.3, 2).data);
    const dispatchesOf = async (starts: number, sweeps: number) => {
      const before = engine.counters.dispatches;
      (await cp(engine, x, { rank: 3, starts, sweeps, tolerance: 0 })).tensor.destroy();
      return engine.counters.dispatches - before;
    };
    // 8 more iterations of the starts, and 8 more of the best
    for (const starts of [2, 16]) expect((await dispatchesOf(starts, 12)) - (await dispatchesOf(starts, 4))).toBe(64);
  });
});

describe("cp starts", () => {
  it.each([
    { what: "on the core", shape: [40, 38, 36] },
    { what: "on the whole tensor", shape: [9, 8, 7] },
  ])("$what share every read of the tensor", async ({ shape }) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, plantedCp(shape, 3, 0.3, 2).data);
    const isX = ({ storage }: Tensor<DType>) => storage === x.storage;
    const readsOf = (starts: number) =>
      readsWhile(engine, isX, async () => {
        (await cp(engine, x, { rank: 3, starts, sweeps: 8, tolerance: 0 })).tensor.destroy();
      });
    expect(await readsOf(16)).toBe(await readsOf(2));
  });

  it("from factors of an earlier result are there at once, whatever their columns' norms", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([12, 11, 10], 3, 0.2, 8);
    using x = engine.tensor(shape, data);
    const first = await cp(engine, x, { rank: 3 });
    const factors = (await engine.read([...first.tensor.factors])) as Float32Array[];
    first.tensor.destroy();
    const scaled = factors.map((factor, mode) => Array.from(factor, (value) => value * [1, -50, 0.01][mode]!));
    const again = await cp(engine, x, { rank: 3, initialize: scaled });
    again.tensor.destroy();
    expect(again.starts).toEqual({ errors: [expect.closeTo(first.relativeError, 6)], agreeing: 1 });
    expect(again.errors[0]).toBeCloseTo(first.relativeError, 4);
    expect(again.sweeps).toBeLessThan(12);
    expect(again.relativeError).toBeCloseTo(first.relativeError, 6);
  });

  it.each([
    { compression: "auto", shape: [40, 38, 36] },
    { compression: "none", shape: [12, 11, 10] },
  ] as const)("from factors and random ones beside them, compression $compression", async ({ compression, shape }) => {
    const engine = await testEngine();
    const { data, factors } = plantedCp([...shape], 3, 0.2, 8);
    const options = { rank: 3, initialize: factors, starts: 3, compression };
    const { starts, seed } = await solved(engine, data, shape, options);
    expect(starts.errors).toHaveLength(3);
    expect(starts.agreeing).toBe(3);
    expect([0, 1, 2]).toContain(seed);
  });

  it.each([
    { what: "on the core", shape: [40, 38, 36], rank: 3 },
    { what: "on the whole tensor", shape: [9, 8, 7], rank: 3 },
    { what: "of a rank above an extent", shape: [12, 3, 11], rank: 4 },
  ])("from singular vectors $what", async ({ shape, rank }) => {
    const engine = await testEngine();
    const { data } = plantedCp(shape, rank, 0, 8);
    for (const starts of [1, 2]) {
      const { error } = await solved(engine, data, shape, { rank, initialize: "hosvd", starts });
      expect(error).toBeLessThan(1e-5);
    }
  });

  it("one after the other, where the tensor is large and has no small core", async () => {
    const engine = await testEngine();
    const shape = [100, 90, 80];
    const { data } = plantedCp(shape, 2, 0.3, 4);
    const begun: number[] = [];
    const onIteration = ({ sweep }: { sweep: number }) => void (sweep === 1 && begun.push(sweep));
    const options = { rank: 2, starts: 2, compression: "none", onIteration } as const;
    const { live } = engine.memory();
    const { starts } = await solved(engine, data, shape, options);
    expect(begun).toHaveLength(2);
    expect(starts.agreeing).toBe(2);
    const compressed = await solved(engine, data, shape, { rank: 2, starts: 2 });
    expect(compressed.error).toBeCloseTo(starts.errors[0]!, 6);
    expect(engine.memory().live).toBe(live);
  });

  it.each([
    { what: "on the core", shape: [28, 26, 24], forced: undefined },
    { what: "on the core, one after the other", shape: [28, 26, 24], forced: { gaussNewtonShared: 1 } },
    { what: "on the whole tensor", shape: [9, 8, 7], forced: undefined },
  ])("$what are more where few agree and nobody says how many", async ({ shape, forced }) => {
    const engine = await siblingEngine(forced && { variants: forced });
    const clear = plantedCp(shape, 2, 0.2, 3).data;
    expect((await solved(engine, clear, shape, { rank: 2 })).starts.errors).toHaveLength(4);
    // terms of noise: few starts find the same ones
    const noisy = plantedCp(shape, 2, 2, 5).data;
    const four = await solved(engine, noisy, shape, { rank: 6, starts: 4 });
    expect(four.starts.errors).toHaveLength(4);
    expect(four.starts.agreeing).toBeLessThan(3);
    const { starts, error, seed } = await solved(engine, noisy, shape, { rank: 6 });
    expect([8, 12]).toContain(starts.errors.length);
    expect(error).toBeLessThan(four.error + 1e-5);
    expect(seed).toBeLessThan(starts.errors.length);
    // the same starts as where so many are asked for, but that each group of four gives up those that trail by itself
    const asked = await solved(engine, noisy, shape, { rank: 6, starts: starts.errors.length });
    for (const [at, told] of asked.starts.errors.entries()) expect(told).toBeCloseTo(starts.errors[at]!, 2);
    expect(asked.starts.errors[0]).toBeCloseTo(starts.errors[0]!, 4);
  });

  it("are no more than four on a large tensor, where they run one after the other", async () => {
    const engine = await siblingEngine({ variants: { gaussNewtonShared: 1 } });
    const shape = [9, 8, 7];
    const { starts } = await solved(engine, plantedCp(shape, 2, 2, 5).data, shape, { rank: 6 });
    expect(starts.errors).toHaveLength(4);
    expect(starts.agreeing).toBeLessThan(3);
  });

  it("are enough where as many found an error as good, though terms of matrices can be rotated", async () => {
    const engine = await testEngine();
    const shape = [12, 10];
    const { starts } = await solved(engine, plantedCp(shape, 4, 0.3, 3).data, shape, { rank: 2 });
    expect(starts.errors).toHaveLength(4);
    for (const told of starts.errors) expect(told).toBeCloseTo(starts.errors[0]!, 5);
  });

  it("are limited by `sweeps`, as the run after them is", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([9, 8, 7], 3, 0.3, 8);
    const told: number[] = [];
    const { sweeps, converged, aborted } = await solved(engine, data, shape, {
      rank: 3,
      sweeps: 5,
      tolerance: 0,
      onIteration: ({ sweep }) => told.push(sweep),
    });
    expect({ sweeps, converged, aborted }).toEqual({ sweeps: 5, converged: false, aborted: false });
    expect(told).toEqual([1, 2, 3, 4, 5]);
  });
});

describe("cp starts by generalised eigenvalues", () => {
  it.each([
    { what: "on the core", shape: [37, 53, 71], options: {} },
    { what: "on the core, of four modes", shape: [11, 13, 17, 19], options: {} },
    {
      what: "on the core of a tensor without small core",
      shape: [60, 50, 40],
      options: { compression: "none" } as const,
    },
    { what: "on a small tensor", shape: [9, 8, 7], options: {} },
  ])("$what are the exact model, which is looked at once", async ({ shape, options }) => {
    const engine = await testEngine();
    const data = collinearCp(shape, 4, 0.9, 1);
    using x = engine.tensor(shape, data);
    const { live } = engine.memory();
    const isX = ({ size }: Tensor<DType>) => size >= x.size;
    let [error, sweeps] = [1, 0];
    const reads = await readsWhile(engine, isX, async () => {
      const { tensor, ...told } = await cp(engine, x, { rank: 4, starts: 1, initialize: "gevd", ...options });
      error = distance(data, await evaluate(engine, (s) => tensor.full(s)));
      expect(told.starts.gevd).toEqual({ terms: 4, complexPairs: 0 });
      sweeps = told.sweeps;
      expect(sweeps).toBeLessThan(8);
      expect(told.converged).toBe(true);
      tensor.destroy();
    });
    expect(error).toBeLessThan(2e-6);
    // a start that f32 tells from the exact model by a hair is looked at twice
    expect(reads).toBeLessThan(30 * sweeps);
    expect(engine.memory().live).toBe(live);
  });

  it("are the default where they can be had", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([40, 38, 36], 3, 0.2, 2);
    expect((await solved(engine, data, shape, { rank: 3 })).starts.gevd).toEqual({ terms: 3, complexPairs: 0 });
    for (const options of [
      { initialize: "random" },
      { initialize: "hosvd" },
      { fixed: { 0: randomArray(120) } },
    ] as const)
      expect((await solved(engine, data, shape, { rank: 3, ...options })).starts).not.toHaveProperty("gevd");
  });

  it.each([
    { what: "a rank above two extents", shape: [12, 3, 2], options: {} },
    { what: "a matrix", shape: [9, 12], options: {} },
    { what: "fixed modes", shape: [9, 8, 7], options: { fixed: { 0: randomArray(36) } } },
  ])("are random ones for $what, and that is told", async ({ shape, options }) => {
    const engine = await testEngine();
    const { data } = plantedCp(shape, 4, 0.1, 3);
    const { starts } = await solved(engine, data, shape, { rank: 4, initialize: "gevd", ...options });
    expect(starts).not.toHaveProperty("gevd");
  });

  it("of a tensor of lower rank have fewer terms, and the model is exact", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([12, 11, 10], 2, 0, 3);
    const { starts, error } = await solved(engine, data, shape, { rank: 4, initialize: "gevd", starts: 1 });
    expect(starts.gevd).toEqual({ terms: 2, complexPairs: 0 });
    expect(error).toBeLessThan(5e-6);
  });

  it("with complex eigenvalues are a start like others", async () => {
    const engine = await testEngine();
    // slices I and a rotation: its eigenvalues are complex
    const data = Float32Array.of(1, Math.cos(1), 0, -Math.sin(1), 0, Math.sin(1), 1, Math.cos(1));
    const { starts, error } = await solved(engine, data, [2, 2, 2], {
      rank: 2,
      initialize: "gevd",
      starts: 1,
      sweeps: 50,
    });
    expect(starts.gevd).toEqual({ terms: 2, complexPairs: 1 });
    expect(error).toBeLessThan(0.8);
  });

  it("are the same at every scale of the tensor", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([10, 9, 8], 3, 0, 4);
    for (const power of [90, -90]) {
      const scaled = data.map((value) => value * 2 ** power);
      const { relativeError, starts } = await solved(engine, scaled, shape, { rank: 3, initialize: "gevd", starts: 1 });
      expect(starts.gevd?.terms).toBe(3);
      expect(relativeError).toBeLessThan(1e-6);
    }
  });
});

describe("onStarts of cp", () => {
  it.each([
    { what: "a core", shape: [40, 38, 36] },
    { what: "the whole tensor", shape: [9, 8, 7] },
  ])("is told every iteration of starts on $what, before onIteration", async ({ shape }) => {
    const engine = await testEngine();
    const { data } = plantedCp(shape, 3, 0.2, 2);
    const told: StartsProgress[] = [];
    let isLate = false;
    const onStarts = (progress: StartsProgress) => {
      isLate ||= order.length > 0;
      told.push(progress);
    };
    const order: number[] = [];
    const onIteration = ({ sweep }: { sweep: number }) => void order.push(sweep);
    const { starts } = await solved(engine, data, shape, { rank: 3, onStarts, onIteration });
    expect(isLate).toBe(false);
    expect(told.map(({ iteration }) => iteration)).toEqual(told.map((_, at) => at + 1));
    for (const progress of told) expect(progress.starts).toEqual([0, 1, 2, 3]);
    const last = [...told.at(-1)!.relativeErrors].sort((a, b) => a - b);
    for (const [at, error] of last.entries()) expect(error).toBeCloseTo(starts.errors[at]!, 5);
    expect(order[0]).toBe(1);
  });

  it("is not told where each start is a model of the whole tensor", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([9, 8, 7], 3, 0.2, 2);
    const onStarts = vi.fn();
    await solved(engine, data, shape, { rank: 3, starts: 1, onStarts });
    expect(onStarts).not.toHaveBeenCalled();
  });
});

describe("fixed modes of cp", () => {
  it.each([
    { fixed: [0], compression: "none" },
    { fixed: [2], compression: "none" },
    { fixed: [0, 1], compression: "none" },
    { fixed: [1], compression: "auto" },
  ] as const)("$fixed keep their factors, their order and their signs, compression $compression", async (which) => {
    const engine = await testEngine();
    const shape = which.compression === "auto" ? [60, 8, 50] : [9, 8, 7];
    const { data, factors } = plantedCp(shape, 3, 0, 8);
    using x = engine.tensor(shape, data);
    const fixed = Object.fromEntries(which.fixed.map((mode) => [mode, factors[mode]!.map((value) => -7 * value)]));
    const { tensor, relativeError } = await cp(engine, x, { rank: 3, fixed, compression: which.compression });
    expect(relativeError).toBeLessThan(1e-5);
    for (const mode of which.fixed) {
      const factor = await engine.read(tensor.factors[mode]!);
      for (let r = 0; r < 3; r++) {
        const [column, expected] = [factor, fixed[mode]!].map((values) => values.filter((_, at) => at % 3 === r));
        const norm = Math.hypot(...expected!);
        expect(column).toEqual(expected!.map((value) => value / norm));
      }
    }
    tensor.destroy();
  });

  it("of a tensor of zeros are there, too", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3, 4], new Float32Array(12));
    const { tensor, relativeError } = await cp(engine, x, { rank: 1, fixed: { 1: [0, 3, 4, 0] } });
    expect(relativeError).toBe(0);
    expect([...(await engine.read(tensor.factors[1]!))]).toEqual([0, Math.fround(0.6), Math.fround(0.8), 0]);
    tensor.destroy();
  });
});

describe("cp that is aborted", () => {
  it("while singular vectors for the core are looked for gives the signal's reason, and frees all", async () => {
    const engine = await testEngine();
    using x = engine.tensor([40, 38, 36], plantedCp([40, 38, 36], 3, 0.2, 8).data);
    const { live } = engine.memory();
    const reason = new Error("enough");
    await expect(cp(engine, x, { rank: 3, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(engine.memory().live).toBe(live);
  });

  it.each([
    { what: "starts side by side", shape: [9, 8, 7] },
    { what: "starts one after the other", shape: [100, 90, 80] },
  ])("in $what gives what it has, and says so", async ({ shape }) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, plantedCp(shape, 3, 0.2, 8).data);
    const { live } = engine.memory();
    const options = { rank: 3, compression: "none", tolerance: 0, signal: AbortSignal.abort() } as const;
    const { tensor, aborted, converged, relativeError } = await cp(engine, x, options);
    expect({ aborted, converged }).toEqual({ aborted: true, converged: false });
    expect(relativeError).toBeGreaterThan(0);
    tensor.destroy();
    expect(engine.memory().live).toBe(live);
  });

  it("in the run after the starts ends soon", async () => {
    const engine = await testEngine();
    using x = engine.tensor([9, 8, 7], plantedCp([9, 8, 7], 3, 0.2, 8).data);
    const controller = new AbortController();
    const { tensor, aborted, sweeps, starts } = await cp(engine, x, {
      rank: 3,
      sweeps: 60,
      tolerance: 0,
      signal: controller.signal,
      onIteration: ({ sweep }) => void (sweep === 4 && controller.abort()),
    });
    expect(aborted).toBe(true);
    expect(sweeps).toBeLessThan(12);
    expect(starts.errors).toHaveLength(4);
    tensor.destroy();
  });
});

it("cp on slabs of the host ends as on one tensor", async () => {
  const engine = await testEngine();
  const { data, shape } = plantedCp([24, 22, 21], 3, 0.2, 8);
  using x = engine.tensor(shape, data);
  const row = 22 * 21;
  const parts = [0, 10].map((first, at): HostSlab => {
    const count = at ? 14 : 10;
    return { shape: [count, 22, 21], read: async () => data.slice(first * row, (first + count) * row) };
  });
  using source = await slabs(engine, parts);
  for (const compression of ["auto", "none"] as const) {
    const options = { rank: 3, compression, starts: 2 };
    const results = [await cp(engine, x, options), await cp(engine, source, options)];
    for (const { tensor } of results) tensor.destroy();
    expect(Math.abs(results[0]!.relativeError - results[1]!.relativeError)).toBeLessThan(1e-6);
    expect(results[1]!.starts.agreeing).toBe(results[0]!.starts.agreeing);
  }
});

describe("cp names", () => {
  const shape = [3, 4, 5];
  const call = async (options: unknown, data: Float32Array = randomArray(60)) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, data);
    const { live } = engine.memory();
    try {
      return await cp(engine, x, options as CpGaussNewtonOptions);
    } finally {
      expect(engine.memory().live).toBe(live);
    }
  };
  const factors = [new Float32Array(6), new Float32Array(8), new Float32Array(10)];

  it.each([
    [undefined, "cp: options are undefined, needs an object with rank"],
    [{}, 'cp: option "rank" is missing, needs a whole number, 1 or more'],
    [{ rank: 0 }, "cp: rank 0, needs a positive whole number"],
    [
      { rank: 2, mask: 1 },
      'cp: unknown option "mask"; it has rank, initialize, starts, seed, fixed, compression, onStarts',
    ],
    [{ rank: 2, mask: 1 }, "; give masked(engine, x, { mask }) in place of x"],
    ...Object.entries({
      ...{ n_iter_max: "sweeps", maxIterations: "sweeps", tol: "tolerance", init: "initialize", random_state: "seed" },
      ...{ non_negative: "nonnegative", fixed_modes: "fixed", n_init: "starts", callback: "onIteration" },
    }).map(([name, here]): [object, string] => [{ rank: 2, [name]: 1 }, `; did you mean ${here}?`]),
    [
      { rank: 2, initialize: "svd" },
      'cp: initialize is "svd", needs one of "random", "hosvd", "gevd", or a list of factors',
    ],
    [{ rank: 2, initialize: factors.slice(1) }, "cp: initialize has 2 factors for a tensor 3×4×5, needs 3"],
    [
      { rank: 2, initialize: [factors[0], factors[2], factors[2]] },
      "cp: 10 values given, factor 1 of initialize needs 8",
    ],
    [
      { rank: 2, initialize: [factors[0], factors[1]!.map((_, at) => (at === 3 ? Number.NaN : 1)), factors[2]] },
      "cp: factor 1 of initialize has NaN at [1, 1], needs finite numbers",
    ],
    [{ rank: 2, starts: 0 }, "cp: starts is 0, needs a whole number, 1 or more"],
    [{ rank: 2, compression: true }, 'cp: compression is true, needs one of "auto", "none"'],
    [{ rank: 2, fixed: [factors[0]] }, "cp: fixed is [Float32Array"],
    [{ rank: 2, fixed: { 3: factors[0] } }, "cp: fixed has mode 3, a tensor 3×4×5 has modes 0 to 2"],
    [{ rank: 2, fixed: { 0: [1, 2] } }, "cp: 2 values given, factor 0 of fixed needs 6"],
    [
      { rank: 2, fixed: { 0: [1, 0, 1, 0, 1, 0] } },
      "cp: column 1 of factor 0 of fixed is zero, needs an entry that is not",
    ],
    [
      { rank: 1, fixed: { 0: [1, 1, 1], 1: [1, 1, 1, 1], 2: [1, 1, 1, 1, 1] } },
      "cp: all modes are fixed, needs one that is free: leave it out of fixed",
    ],
  ])("what is wrong with %j", async (options, message) => {
    await expect(call(options)).rejects.toThrow(message);
  });

  it("what is wrong with the tensor", async () => {
    const engine = await testEngine();
    const data = randomArray(60);
    data[7] = Number.NaN;
    await expect(call({ rank: 2 }, data)).rejects.toThrow(/^cp: .* has 1 entry that is not finite, NaN at \[0, 1, 2\]/);
    for (const order of [1, 9]) {
      using x = engine.tensor(new Array(order).fill(2), randomArray(2 ** order));
      await expect(cp(engine, x, { rank: 1 })).rejects.toThrow(`has order ${order}, needs 2 to 8`);
    }
  });
});
