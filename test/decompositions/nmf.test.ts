/** Non-negative matrix factorisation: optimality in f64, its starts, and data of every kind. */
import { describe, expect, it } from "vitest";
import { nmf } from "../../src/decompositions/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { matmul, randomArray } from "../reference.js";
import { norm } from "./planted.js";

/** W·H of non-negative factors with zeros among their entries, plus noise. */
function planted(rows: number, columns: number, rank: number, noise: number, seed: number): Float32Array {
  const [w, h] = [rows * rank, rank * columns].map((size, k) =>
    randomArray(size, seed + k).map((value) => Math.max(0, value + 0.2)),
  );
  const clean = matmul(w!, h!, rows, rank, columns);
  const errors = randomArray(rows * columns, seed + 9);
  const scale = (noise * norm(clean)) / norm(errors);
  return Float32Array.from(clean, (value, at) => value + scale * errors[at]!);
}

const transposed = (x: ArrayLike<number>, rows: number, columns: number): Float64Array =>
  Float64Array.from({ length: rows * columns }, (_, at) => x[(at % rows) * columns + Math.floor(at / rows)]!);

/** The error of W·H after some sweeps of hierarchical alternating least squares in f64 from W and H. */
function improved(
  x: Float32Array,
  w0: ArrayLike<number>,
  h0: ArrayLike<number>,
  shape: [number, number],
  sweeps: number,
) {
  const [rows, columns] = shape;
  const rank = w0.length / rows;
  const factors = [Float64Array.from(w0), transposed(h0, rank, columns)] as const;
  const sides = [x, transposed(x, rows, columns)] as const;
  for (let sweep = 0; sweep < sweeps; sweep++)
    for (const side of [0, 1] as const) {
      const [y, other] = [factors[side], factors[1 - side]!];
      const [m, n] = [shape[side], shape[1 - side]!];
      for (let r = 0; r < rank; r++) {
        let pivot = 0;
        for (let j = 0; j < n; j++) pivot += other[j * rank + r]! ** 2;
        if (!pivot) continue;
        for (let i = 0; i < m; i++) {
          let rest = 0;
          for (let j = 0; j < n; j++) {
            let model = 0;
            for (let s = 0; s < rank; s++) if (s !== r) model += y[i * rank + s]! * other[j * rank + s]!;
            rest += (sides[side]![i * n + j]! - model) * other[j * rank + r]!;
          }
          y[i * rank + r] = Math.max(0, rest / pivot);
        }
      }
    }
  const model = matmul(factors[0], transposed(factors[1], columns, rank), rows, rank, columns);
  return norm(Float64Array.from(model, (value, at) => value - x[at]!)) / norm(x);
}

describe.each([
  [13, 11, 3, 0.1],
  [7, 20, 4, 0.3],
  [1, 9, 1, 0.2],
  [9, 1, 2, 0.2],
  [5, 4, 7, 0.1],
])("nmf of %i×%i by rank %i with noise %f", (rows, columns, rank, noise) => {
  it.each(["nndsvd", "random"] as const)("from %s ends where f64 finds little more", async (initialize) => {
    const engine = await testEngine();
    const data = planted(rows, columns, rank, noise, 3);
    using x = engine.tensor([rows, columns], data);
    const options = { rank, initialize, sweeps: 500, tolerance: 0 };
    const { tensor, relativeError, negativePart } = await nmf(engine, x, options);
    using _ = tensor;
    const [w, h] = await engine.read([tensor.w, tensor.h]);
    expect(Math.min(...w!, ...h!)).toBeGreaterThanOrEqual(0);
    const model = matmul(w!, h!, rows, rank, columns);
    expectClose(await evaluate(engine, (s) => tensor.full(s)), model, 1e-5);
    const error = norm(Float64Array.from(model, (value, at) => value - data[at]!)) / norm(data);
    expect(Math.abs(relativeError - error)).toBeLessThan(2e-6);
    expect(improved(data, w!, h!, [rows, columns], 20)).toBeGreaterThan(error - 2e-5);
    expect(negativePart).toBeCloseTo(norm(data.map((value) => Math.min(0, value))) / norm(data), 6);
    expect(tensor.parameterCount).toBe(rank * (rows + columns));
    expect(tensor.shape).toEqual([rows, columns]);
  });
});

it("finds an exact product, and repeats itself", async () => {
  const engine = await testEngine();
  using x = engine.tensor([20, 15], planted(20, 15, 3, 0, 8));
  const { live } = engine.memory();
  const results = [await nmf(engine, x, { rank: 3, sweeps: 400 }), await nmf(engine, x, { rank: 3, sweeps: 400 })];
  expect(results[0]!.relativeError).toBeLessThan(1e-3);
  expect(results[1]!.relativeError).toBe(results[0]!.relativeError);
  for (const { tensor } of results) tensor.destroy();
  expect(engine.memory().live).toBe(live);
});

it("scales with X, and answers zeros", async () => {
  const engine = await testEngine();
  const data = planted(8, 7, 2, 0.1, 5);
  const solve = async (scale: number) => {
    using x = engine.tensor(
      [8, 7],
      data.map((value) => value * scale),
    );
    const { tensor, relativeError } = await nmf(engine, x, { rank: 2, sweeps: 30, tolerance: 0 });
    const full = await evaluate(engine, (s) => tensor.full(s));
    tensor.destroy();
    return { relativeError, full };
  };
  const one = await solve(1);
  for (const scale of [1e-12, 1e12]) {
    const other = await solve(scale);
    expect(other.relativeError).toBeCloseTo(one.relativeError, 5);
    expectClose(
      other.full.map((value) => value / scale),
      one.full,
      1e-4,
    );
  }
  const zero = await solve(0);
  expect(zero.relativeError).toBe(0);
  expect(Math.max(...zero.full)).toBe(0);
});

it("needs a matrix", async () => {
  const engine = await testEngine();
  using x = engine.tensor([2, 2, 2]);
  await expect(nmf(engine, x, { rank: 1 })).rejects.toThrow("nmf: tensor 2×2×2 has order 3, needs a matrix");
});
