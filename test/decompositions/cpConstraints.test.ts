/** Constraints on the factors of CP: each holds in the result, and planted models that keep to them are found. */
import { describe, expect, it } from "vitest";
import { type CpConstraint, cp, cpALS } from "../../src/decompositions/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { kruskal, norm } from "./planted.js";
import { orthonormal as orthonormalIn64 } from "./slices.js";

const SHAPE = [12, 8, 7];

const orthonormal = (rows: number, rank: number, seed: number): Float32Array =>
  Float32Array.from(orthonormalIn64(rows, rank, seed));

/** Bumps: columns that rise and fall. */
const bumps = (rows: number, rank: number): Float32Array =>
  Float32Array.from({ length: rows * rank }, (_, at) => {
    const [i, r] = [Math.floor(at / rank), at % rank];
    return Math.exp(-(((i - (rows * (r + 0.6)) / rank) / (0.2 * rows)) ** 2));
  });

function withNoise(clean: Float64Array, noise: number): Float32Array {
  const errors = randomArray(clean.length, 99);
  const size = (noise * norm(clean)) / norm(errors);
  return Float32Array.from(clean, (value, at) => value + size * errors[at]!);
}

const columnsOf = (factor: Float32Array, rank: number): number[][] =>
  Array.from({ length: rank }, (_, r) => [...factor].filter((_, at) => at % rank === r));

describe.each([0, 0.1])("noise %f", (noise) => {
  it("unimodal columns rise to one peak and fall, and are found", async () => {
    const engine = await testEngine();
    const factors = [bumps(12, 2), randomArray(16, 2), randomArray(14, 3)];
    const data = withNoise(kruskal(factors, SHAPE, 2), noise);
    using x = engine.tensor(SHAPE, data);
    const result = await cpALS(engine, x, { rank: 2, constraints: { 0: "unimodal" }, sweeps: 300, starts: 2 });
    using tensor = result.tensor;
    for (const column of columnsOf(await engine.read(tensor.factors[0]!), 2)) {
      const peak = column.indexOf(Math.max(...column));
      for (const [i, value] of column.entries()) {
        expect(value).toBeGreaterThanOrEqual(0);
        if (i) expect((value - column[i - 1]!) * (i <= peak ? 1 : -1)).toBeGreaterThanOrEqual(0);
      }
    }
    expect(result.relativeError).toBeLessThan(noise ? 1.02 * noise : 5e-3);
  });

  it("orthogonal columns are orthonormal, and are found", async () => {
    const engine = await testEngine();
    const factors = [randomArray(24, 1), orthonormal(8, 2, 4), randomArray(14, 3)];
    const data = withNoise(kruskal(factors, SHAPE, 2), noise);
    using x = engine.tensor(SHAPE, data);
    const lists: Record<number, CpConstraint>[] = [{ 1: "orthogonal" }, { 0: "nonnegative", 1: "orthogonal" }];
    for (const constraints of lists) {
      const result = await cpALS(engine, x, { rank: 2, constraints, sweeps: 300, starts: 2 });
      using tensor = result.tensor;
      const [a, b] = columnsOf(await engine.read(tensor.factors[1]!), 2) as [number[], number[]];
      const inner = (x: number[], y: number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
      expect(Math.abs(inner(a, b))).toBeLessThan(2e-6);
      expect(inner(a, a)).toBeCloseTo(1, 5);
      expect(inner(b, b)).toBeCloseTo(1, 5);
      if (!("0" in constraints)) expect(result.relativeError).toBeLessThan(noise ? 1.02 * noise : 1e-4);
    }
  });

  it.each([0, 1, 2])("the fixed factor of mode %i stays, and the others fit to it", async (mode) => {
    const engine = await testEngine();
    const factors = SHAPE.map((extent, k) => randomArray(extent * 2, 5 + k).map(Math.abs));
    const data = withNoise(kruskal(factors, SHAPE, 2), noise);
    using x = engine.tensor(SHAPE, data);
    const fixed = factors[mode]!;
    const other = (mode + 1) % 3;
    const options = { rank: 2, sweeps: 300 } as const;
    for (const result of [
      await cpALS(engine, x, { ...options, constraints: { [mode]: { fixed } } }),
      await cpALS(engine, x, { ...options, constraints: { [mode]: { fixed }, [other]: "nonnegative" } }),
      await cp(engine, x, { ...options, fixed: { [mode]: fixed }, nonnegative: [other], starts: 2 }),
    ]) {
      using tensor = result.tensor;
      const columns = columnsOf(await engine.read(tensor.factors[mode]!), 2);
      columnsOf(fixed, 2).forEach((expected, r) => {
        const length = norm(expected);
        for (const [i, value] of expected.entries()) expect(columns[r]![i]).toBeCloseTo(value / length, 6);
      });
      expect(result.relativeError).toBeLessThan(noise ? 1.02 * noise : 1e-3);
    }
  });
});

it("constraints of all modes: nonnegative, unimodal, orthogonal", async () => {
  const engine = await testEngine();
  const factors = [bumps(12, 2), randomArray(16, 2).map(Math.abs), orthonormal(7, 2, 3)];
  using x = engine.tensor(SHAPE, withNoise(kruskal(factors, SHAPE, 2), 0.05));
  const constraints = { 0: "unimodal", 1: "nonnegative", 2: "orthogonal" } as const;
  const { tensor, relativeError, starts } = await cp(engine, x, { rank: 2, constraints, sweeps: 200 });
  expect(relativeError).toBeLessThan(0.052);
  expect(starts.errors).toHaveLength(4);
  const read = await engine.read([tensor.factors[0]!, tensor.factors[1]!, tensor.weights]);
  for (const values of read) expect(Math.min(...values!)).toBeGreaterThanOrEqual(0);
  tensor.destroy();
});

it("refuses what no mode can keep to", async () => {
  const engine = await testEngine();
  using x = engine.tensor([3, 2, 2], new Float32Array(12).fill(1));
  const refused = (options: Partial<Parameters<typeof cpALS>[2]>) =>
    expect(cpALS(engine, x, { rank: 2, ...options })).rejects;
  await refused({ constraints: { 3: "unimodal" } }).toThrow(
    "cpALS: constraints has mode 3, tensor 3×2×2 has modes 0 to 2",
  );
  await refused({ constraints: { 0: "smooth" as never } }).toThrow('an object with "nonnegative", "unimodal"');
  await refused({ rank: 3, constraints: { 1: "orthogonal" } }).toThrow("mode 1 of tensor 3×2×2 has no room for 3");
  await refused({ constraints: { 0: "unimodal" }, nonnegative: true }).toThrow(
    "mode 0 is in nonnegative and in constraints",
  );
  const fixed = new Float32Array(6).fill(1);
  await refused({ constraints: { 0: { fixed: fixed.subarray(1) } } }).toThrow("the fixed factor of mode 0");
  await refused({ constraints: { 0: { fixed: fixed.map((_, at) => at % 2) } } }).toThrow(
    "column 0 of the fixed factor",
  );
  await refused({
    constraints: { 0: { fixed }, 1: { fixed: fixed.subarray(2) }, 2: { fixed: fixed.subarray(2) } },
  }).toThrow("all modes are fixed");
});

it("tells errors of X where it solves in the columns of a fixed factor", async () => {
  const engine = await testEngine();
  const [shape, rank] = [[40, 9, 8], 3];
  const factors = shape.map((extent, mode) => randomArray(extent * rank, 31 + mode));
  // two columns that are nearly the same, and noise most of which lies outside of the columns
  for (let i = 0; i < 40; i++) factors[0]![i * rank + 1] = factors[0]![i * rank]! + 0.05 * factors[0]![i * rank + 1]!;
  const data = withNoise(kruskal(factors, shape, rank), 0.3);
  using x = engine.tensor(shape, data);
  const options = { rank, sweeps: 60, seed: 2 };
  const solvers = {
    cpALS: (onIteration: (told: { relativeError: number }) => void) =>
      cpALS(engine, x, { ...options, constraints: { 0: { fixed: factors[0]! } }, onIteration }),
    cp: (onIteration: (told: { relativeError: number }) => void) =>
      cp(engine, x, { ...options, fixed: { 0: factors[0]! }, onIteration }),
  };
  for (const [name, solve] of Object.entries(solvers)) {
    const told: number[] = [];
    const result = await solve(({ relativeError }) => void told.push(relativeError));
    using tensor = result.tensor;
    const parts = (await engine.read([...tensor.factors, tensor.weights])) as Float32Array[];
    const weights = parts.pop()!;
    const scaled = parts[2]!.map((value, at) => value * weights[at % rank]!);
    const model = kruskal([parts[0]!, parts[1]!, scaled], shape, rank);
    const error = norm(data.map((value, at) => value - model[at]!)) / norm(data);
    expect(Math.abs(result.relativeError - error), name).toBeLessThan(1e-6);
    expect(told).toEqual(result.errors);
    expect(Math.abs(result.errors.at(-1)! - error), name).toBeLessThan(2e-6);
    columnsOf(factors[0]!, rank).forEach((expected, r) => {
      const length = norm(expected);
      columnsOf(parts[0]!, rank)[r]!.forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i]! / length, 6);
      });
    });
    expect(error).toBeLessThan(0.3);
  }
});
