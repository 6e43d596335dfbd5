import { describe, expect, it } from "vitest";
import { CpSolver, cpALS } from "../../src/decompositions/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance, kruskal, norm, plantedCp } from "./planted.js";

/**
 * One f64 sweep of textbook ALS after another, from the factors given, their columns brought to norm 1 and the ridge times
 * the mean of the diagonal: the reference for a whole run, X̂.
 */
function referenceAls(
  data: ArrayLike<number>,
  shape: number[],
  rank: number,
  start: Float64Array[],
  sweeps: number,
  ridge = 0,
): Float64Array {
  const factors: Float64Array[] = start.map((factor) => Float64Array.from(factor));
  const size = data.length;
  let lengths: number[] = [];
  for (let sweep = 0; sweep < sweeps; sweep++) {
    shape.forEach((extent, mode) => {
      const product = new Float64Array(extent * rank);
      for (let index = 0; index < size; index++) {
        let rest = index;
        const at = new Array<number>(shape.length);
        for (let k = shape.length - 1; k >= 0; k--) {
          at[k] = rest % shape[k]!;
          rest = Math.floor(rest / shape[k]!);
        }
        for (let r = 0; r < rank; r++) {
          let value = data[index]!;
          for (let k = 0; k < shape.length; k++) if (k !== mode) value *= factors[k]![at[k]! * rank + r]!;
          product[at[mode]! * rank + r]! += value;
        }
      }
      const normal = Array.from({ length: rank }, () => new Float64Array(rank).fill(1));
      factors.forEach((factor, k) => {
        if (k === mode) return;
        for (let p = 0; p < rank; p++)
          for (let q = 0; q < rank; q++) {
            let dot = 0;
            for (let i = 0; i < shape[k]!; i++) dot += factor[i * rank + p]! * factor[i * rank + q]!;
            normal[p]![q]! *= dot;
          }
      });
      const mean = normal.reduce((sum, row, r) => sum + row[r]! / rank, 0);
      for (let r = 0; r < rank; r++) normal[r]![r]! += ridge * mean;
      const solved = solveRows(normal, product, extent, rank);
      lengths = Array.from({ length: rank }, (_, r) =>
        norm(Array.from({ length: extent }, (__, i) => solved[i * rank + r]!)),
      );
      factors[mode] = solved.map((value, e) => value / lengths[e % rank]!);
    });
  }
  const last = factors.length - 1;
  factors[last] = factors[last]!.map((value, e) => value * lengths[e % rank]!);
  return kruskal(factors, shape, rank);
}

/** Columns brought to norm 1. */
const unitColumns =
  (rank: number) =>
  (factor: Float64Array): Float64Array => {
    const lengths = Array.from({ length: rank }, (_, r) => norm(factor.filter((__, e) => e % rank === r)));
    return factor.map((value, e) => value / lengths[e % rank]!);
  };

/** Rows of B times A⁻¹ by Gaussian elimination with pivoting. */
function solveRows(a: Float64Array[], b: Float64Array, rows: number, n: number): Float64Array {
  const m = a.map((row) => Float64Array.from(row));
  const x = Float64Array.from(b);
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(m[i]![k]!) > Math.abs(m[pivot]![k]!)) pivot = i;
    [m[k], m[pivot]] = [m[pivot]!, m[k]!];
    for (let row = 0; row < rows; row++) [x[row * n + k], x[row * n + pivot]] = [x[row * n + pivot]!, x[row * n + k]!];
    for (let i = k + 1; i < n; i++) {
      const f = m[i]![k]! / m[k]![k]!;
      for (let j = k; j < n; j++) m[i]![j]! -= f * m[k]![j]!;
      for (let row = 0; row < rows; row++) x[row * n + i]! -= f * x[row * n + k]!;
    }
  }
  for (let row = 0; row < rows; row++)
    for (let k = n - 1; k >= 0; k--) {
      let sum = x[row * n + k]!;
      for (let j = k + 1; j < n; j++) sum -= m[k]![j]! * x[row * n + j]!;
      x[row * n + k] = sum / m[k]![k]!;
    }
  return x;
}

describe("cpALS", () => {
  it.each([
    { shape: [17, 13, 11], rank: 3 },
    { shape: [9, 8, 7, 5], rank: 2 },
    { shape: [30, 4], rank: 1 },
    { shape: [5, 1, 7, 3, 4], rank: 2 },
  ])("recovers a planted tensor of shape $shape and rank $rank to five digits", async ({ shape, rank }) => {
    const engine = await testEngine();
    const { data } = plantedCp(shape, rank, 0, 3);
    using x = engine.tensor(shape, data);
    const result = await cpALS(engine, x, { rank, tolerance: 1e-8, sweeps: 400, starts: 3, seed: 2 });
    expect(result.relativeError).toBeLessThan(1e-5);
    const full = await evaluate(engine, (s) => result.tensor.full(s));
    expect(distance(data, full)).toBeLessThan(1e-5);
    result.tensor.destroy();
  });

  it("reaches the noise floor, from random and from HOSVD starts, by both solvers", async () => {
    const engine = await testEngine();
    const { data, shape, noiseError } = plantedCp([20, 15, 12], 4, 0.1, 5);
    using x = engine.tensor(shape, data);
    for (const initialize of ["random", "hosvd"] as const) {
      for (const solver of ["cholesky", "pseudoInverse"] as const) {
        const result = await cpALS(engine, x, {
          rank: 4,
          initialize,
          solver,
          tolerance: 1e-7,
          sweeps: 200,
          starts: initialize === "random" ? 3 : 1,
        });
        expect(result.relativeError).toBeLessThan(noiseError * 1.0001);
        expect(result.relativeError).toBeGreaterThan(noiseError * 0.9);
        expect(result.errors.at(-1)).toBeCloseTo(result.relativeError, 4);
        result.tensor.destroy();
      }
    }
  });

  it("gives unit columns, falling weights and fixed signs", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([14, 10, 9], 3, 0.05, 8);
    using x = engine.tensor(shape, data);
    const { tensor } = await cpALS(engine, x, { rank: 3, sweeps: 50, seed: 4 });
    const weights = await engine.read(tensor.weights);
    expect([...weights]).toEqual([...weights].sort((a, b) => b - a));
    for (const [mode, factor] of tensor.factors.entries()) {
      const a = await engine.read(factor);
      for (let r = 0; r < 3; r++) {
        const column = Array.from({ length: shape[mode]! }, (_, i) => a[i * 3 + r]!);
        expect(Math.hypot(...column)).toBeCloseTo(1, 5);
        if (mode < 2) expect(Math.max(...column)).toBeCloseTo(Math.max(...column.map(Math.abs)), 4);
      }
    }
    const [squared, full] = (await evaluate(engine, (s) => [tensor.squaredNorm(s), tensor.full(s)])) as Float32Array[];
    expect(squared![0]! / full!.reduce((sum, v) => sum + v * v, 0)).toBeCloseTo(1, 5);
    tensor.destroy();
  });

  it("falls as textbook ALS in f64 does", async () => {
    const engine = await testEngine();
    const shape = [12, 9, 10];
    const data = randomArray(12 * 90, 21);
    using x = engine.tensor(shape, data);
    // the first run gives factors; both then go on from there
    const options = { rank: 3, tolerance: 0, seed: 1, acceleration: "none" } as const;
    const start = await cpALS(engine, x, { ...options, sweeps: 4 });
    const further = await cpALS(engine, x, { ...options, sweeps: 12 });
    const factors: Float64Array[] = [];
    for (const factor of start.tensor.factors) factors.push(Float64Array.from(await engine.read(factor)));
    const expected = distance(data, referenceAls(data, shape, 3, factors, 8));
    expect(further.relativeError).toBeCloseTo(expected, 5);
    expect(further.errors.slice(1).every((error, i) => error <= further.errors[i]! + 1e-6)).toBe(true);
    start.tensor.destroy();
    further.tensor.destroy();
  });

  it.each([0, 0.05, 1])("with a ridge of %d takes the steps that f64 takes; they shrink", async (ridge) => {
    const engine = await testEngine();
    const shape = [8, 6, 5, 3];
    const data = randomArray(720, 4);
    using x = engine.tensor(shape, data);
    using solver = await CpSolver.create(x, { rank: 3, ridge });
    await solver.initialize("random", 2);
    const start: Float64Array[] = [];
    for (const factor of solver.factors) start.push(Float64Array.from(await engine.read(factor)));
    const { tensor } = await solver.solve({ sweeps: 2, tolerance: 0 });
    const model = await evaluate(engine, (s) => tensor.full(s));
    expect(distance(referenceAls(data, shape, 3, start, 2, ridge), model)).toBeLessThan(2e-5);
    if (ridge) expect(norm(model)).toBeLessThan((1 - ridge / 4) * norm(referenceAls(data, shape, 3, start, 2)));
    tensor.destroy();
  });

  it.each([
    { shape: [12, 9, 10], rank: 3, ridge: 0 },
    { shape: [7, 6, 5, 8], rank: 4, ridge: 0.01 },
    { shape: [4, 3, 1, 5, 6], rank: 2, ridge: 0 },
    { shape: [40, 30], rank: 2, ridge: 0 },
    { shape: [20, 25, 22], rank: 18, ridge: 1e-3 },
    { shape: [12, 9, 10], rank: 3, ridge: 0, solver: "pseudoInverse" as const },
  ])("near a fit of 1 the residual's steps are those of f64: $shape, rank $rank, ridge $ridge", async (problem) => {
    const { shape, rank, ridge, solver = "cholesky" } = problem;
    const engine = await testEngine();
    // an exact model and a little noise, from factors that are nearly right
    const { data, factors } = plantedCp(shape, rank, 1e-4, 6);
    const start = factors.map((factor, mode) => {
      const change = randomArray(factor.length, 40 + mode);
      return Float64Array.from(factor, (value, e) => value + 3e-3 * change[e]!);
    });
    using x = engine.tensor(shape, data);
    using cp = await CpSolver.create(x, { rank, ridge, solver });
    await cp.start(start.map((factor) => Float32Array.from(factor)));
    const { tensor, errors } = await cp.solve({ sweeps: 5, tolerance: 0 });
    const model = await evaluate(engine, (s) => tensor.full(s));
    const wanted = referenceAls(data, shape, rank, start.map(unitColumns(rank)), 5, ridge);
    const error = distance(data, wanted);
    expect(error).toBeLessThan(0.1);
    expect(Math.abs(errors.at(-1)! - distance(data, model))).toBeLessThan(1e-7);
    expect(distance(wanted, model)).toBeLessThan(ridge || rank > 10 ? 1e-4 : 2e-5);
    expect(Math.abs(errors.at(-1)! - error)).toBeLessThan(1e-5);
    tensor.destroy();
  });

  it("tells errors that are errors where terms cancel each other", async () => {
    const engine = await testEngine();
    const shape = [20, 20, 20];
    const { data } = plantedCp(shape, 4, 0.4, 5);
    using x = engine.tensor(shape, data);
    using cp = await CpSolver.create(x, { rank: 4 });
    await cp.initialize("random", 3);
    for (let step = 0; step < 8; step++) {
      const { tensor, errors, relativeError } = await cp.solve({ sweeps: 5, tolerance: 0 });
      const error = distance(data, await evaluate(engine, (s) => tensor.full(s)));
      expect(Math.abs(errors.at(-1)! - error)).toBeLessThan(1e-6);
      expect(Math.abs(relativeError - error)).toBeLessThan(1e-6);
      tensor.destroy();
    }
  });

  it("tries random starts after one of singular vectors, and keeps the best", async () => {
    const engine = await testEngine();
    // singular vectors lead plain sweeps into a swamp here
    using x = engine.tensor([8, 7, 6], plantedCp([8, 7, 6], 5, 0.02, 20).data);
    const options = { rank: 5, sweeps: 40, tolerance: 0, acceleration: "none" } as const;
    const runs: number[] = [];
    for (const [initialize, seed] of [
      ["hosvd", 5],
      ["random", 6],
      ["random", 7],
    ] as const) {
      const { tensor, relativeError } = await cpALS(engine, x, { ...options, initialize, seed });
      runs.push(relativeError);
      tensor.destroy();
    }
    const best = await cpALS(engine, x, { ...options, initialize: "hosvd", seed: 5, starts: 3 });
    expect(best.relativeError).toBe(Math.min(...runs));
    expect(best.relativeError).toBeLessThan(0.5 * runs[0]!);
    best.tensor.destroy();
  });

  it.each([1, 3])("tells the same errors with %i sweeps in a submit", async (sweepsPerSubmit) => {
    const engine = await testEngine();
    using x = engine.tensor([12, 9, 10], randomArray(12 * 90, 21));
    const options = { rank: 3, sweeps: 11, tolerance: 0, seed: 1 };
    const usual = await cpALS(engine, x, options);
    const fewer = await cpALS(engine, x, { ...options, sweepsPerSubmit });
    expect(fewer.errors).toEqual(usual.errors);
    for (const { tensor } of [usual, fewer]) tensor.destroy();
  });

  it("reads nothing back inside a batch and gives the same result twice", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([12, 11, 10], 3, 0.3, 13);
    using x = engine.tensor(shape, data);
    const run = (sweeps: number) => cpALS(engine, x, { rank: 3, sweeps, tolerance: 0 });
    const at0 = { ...engine.counters };
    const first = await run(4);
    const at1 = { ...engine.counters };
    const second = await run(20);
    const at2 = { ...engine.counters };
    expect(at2.readbacks - at1.readbacks - (at1.readbacks - at0.readbacks)).toBe(4);
    expect(at2.submits - at1.submits - (at1.submits - at0.submits)).toBe(4);
    const third = await run(20);
    expect(third.errors).toEqual(second.errors);
    for (const { tensor } of [first, second, third]) tensor.destroy();
  });

  it("leaves no memory behind", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedCp([8, 7, 6], 2, 0.1, 13);
    using x = engine.tensor(shape, data);
    (await cpALS(engine, x, { rank: 2, sweeps: 4 })).tensor.destroy();
    const { live } = engine.memory();
    (await cpALS(engine, x, { rank: 2, sweeps: 4, initialize: "hosvd", starts: 2 })).tensor.destroy();
    expect(engine.memory().live).toBe(live);
  });

  it("names what is wrong with the input", async () => {
    const engine = await testEngine();
    using vector = engine.tensor([5], randomArray(5));
    await expect(cpALS(engine, vector, { rank: 1 })).rejects.toThrow(/order 1, needs at least 2/);
    using x = engine.tensor([3, 4], randomArray(12));
    await expect(cpALS(engine, x, { rank: 0 })).rejects.toThrow(/rank 0/);
    const call = (options: unknown) => cpALS(engine, x, options as Parameters<typeof cpALS>[2]);
    await expect(call(undefined)).rejects.toThrow(/options are undefined, needs an object with rank/);
    await expect(call({ rank: 2, initialize: "svd" })).rejects.toThrow(
      /initialize is "svd", needs one of "random", "hosvd"/,
    );
    await expect(call({ rank: 2, mask: [1] })).rejects.toThrow(/cpALS: unknown option "mask"; it has rank, initialize/);
    await expect(call({ rank: 2, sweeps: Number.NaN })).rejects.toThrow(/sweeps is NaN, needs a whole number/);
    using bad = engine.tensor(
      [3, 4, 2],
      Float32Array.from({ length: 24 }, (_, i) => (i === 7 ? Number.NaN : 1)),
    );
    await expect(cpALS(engine, bad, { rank: 2, sweeps: 4 })).rejects.toThrow(/cpALS: .*NaN/);
  });
});

it("a solver goes on where it stopped, and tells the same errors as one run", async () => {
  const engine = await testEngine();
  const { data } = plantedCp([9, 8, 7], 3, 0.3, 5);
  using tensor = engine.tensor([9, 8, 7], data);
  const solver = await CpSolver.create(tensor, { rank: 3 });
  await solver.initialize("random", 2);
  const stopping = { tolerance: 0 };
  const errors: number[] = [];
  for (const sweeps of [3, 2, 5]) {
    const { tensor: model } = await solver.solve({
      ...stopping,
      sweeps,
      onIteration: ({ relativeError }) => errors.push(relativeError),
    });
    model.destroy();
  }
  await solver.initialize("random", 2);
  const atOnce: number[] = [];
  const { tensor: model } = await solver.solve({
    ...stopping,
    sweeps: 10,
    onIteration: ({ relativeError }) => atOnce.push(relativeError),
  });
  model.destroy();
  solver.destroy();
  expect(errors).toEqual(atOnce);
});

it("a solver does what the options say that it was created with, unless told otherwise", async () => {
  const engine = await testEngine();
  const { data } = plantedCp([9, 8, 7], 3, 0.3, 5);
  using x = engine.tensor([9, 8, 7], data);
  const told: number[] = [];
  const onIteration = ({ relativeError }: { relativeError: number }) => void told.push(relativeError);
  for (const initialize of ["random", "hosvd"] as const) {
    const options = { rank: 3, seed: 11, sweeps: 6, tolerance: 0, initialize, sweepsPerSubmit: 2 };
    const wanted = await cpALS(engine, x, { ...options, acceleration: "none" });
    using solver = await CpSolver.create(x, { ...options, onIteration });
    // without a start it takes the one of its options
    for (const restart of [false, true]) {
      told.length = 0;
      if (restart) await solver.initialize();
      const solution = await solver.solve();
      expect(solution.errors).toEqual(wanted.errors);
      expect(told).toEqual(wanted.errors);
      solution.tensor.destroy();
    }
    const further = await solver.solve({ sweeps: 2 });
    expect(further.sweeps).toBe(2);
    further.tensor.destroy();
    wanted.tensor.destroy();
  }
  using stopped = await CpSolver.create(x, {
    rank: 3,
    initialize: "hosvd",
    signal: AbortSignal.abort(new Error("enough")),
  });
  await expect(stopped.solve()).rejects.toThrow("enough");
  const several: object = { starts: 2 };
  await expect(CpSolver.create(x, { rank: 3, ...several })).rejects.toThrow(/CpSolver: starts is an option of cpALS/);
});

it("refuses more sweeps in a submit than there are to a batch", async () => {
  const engine = await testEngine();
  using x = engine.tensor([4, 3, 2], randomArray(24, 1));
  await expect(cpALS(engine, x, { rank: 2, sweepsPerSubmit: 5 })).rejects.toThrow(
    /sweepsPerSubmit is 5, needs a whole number from 1 to 4/,
  );
});
