import { Matrix, SingularValueDecomposition } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { truncatedSvd, ttMatrix } from "../../src/decompositions/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance } from "./planted.js";

describe("truncatedSvd", () => {
  it.each([
    { m: 30, n: 17, rank: 5 },
    { m: 12, n: 40, rank: 12 },
    { m: 9, n: 9, rank: 1 },
    { m: 300, n: 280, rank: 6 },
  ])("of $m×$n, rank $rank, is as near as f64's", async ({ m, n, rank }) => {
    const engine = await testEngine();
    // falling singular values, as weights have them
    const [left, right] = [randomArray(m * 8, 1), randomArray(8 * n, 2)];
    const data = Float32Array.from(randomArray(m * n, 3), (value, e) => {
      let low = 0;
      for (let r = 0; r < 8; r++) low += (left[Math.floor(e / n) * 8 + r]! * right[r * n + (e % n)]!) / (1 + r);
      return 0.05 * value + low;
    });
    using a = engine.tensor([m, n], data);
    using result = await truncatedSvd(engine, a, { rank });
    const [u, values, v] = (await engine.read([result.u, result.values, result.v])) as Float32Array[];
    expect([u!.length, v!.length]).toEqual([m * rank, n * rank]);
    const oracle = new SingularValueDecomposition(Matrix.from1DArray(m, n, [...data]), { autoTranspose: true });
    // of the large matrix the Ritz values of a subspace
    expectClose(values!, oracle.diagonal.slice(0, rank), m > 100 ? 1e-4 : 1e-5);
    const cut = oracle.diagonal.slice(rank).reduce((sum, value) => sum + value * value, 0);
    const all = oracle.diagonal.reduce((sum, value) => sum + value * value, 0);
    expect(result.relativeError).toBeCloseTo(Math.sqrt(cut / all), 5);
    const back = Float32Array.from(data, (_, e) => {
      let value = 0;
      for (let r = 0; r < rank; r++) value += u![Math.floor(e / n) * rank + r]! * values![r]! * v![(e % n) * rank + r]!;
      return value;
    });
    expect(distance(data, back)).toBeCloseTo(result.relativeError, 5);
  });

  it.each([
    // a few sweeps find the first; of the others all singular values are computed
    ["a few large values above noise", 300, 200, 12, 0.01, (k: number) => 1 / (1 + k), true],
    ["values that fall slowly", 160, 130, 8, 1, () => 0.02, false],
    ["values down to 1e-6 of the largest", 160, 104, 10, 0, (k: number) => 10 ** ((-6 * k) / 9), false],
    ["more columns than rows", 90, 240, 5, 0.02, (k: number) => 2 ** -k, true],
  ] as const)("of a low rank has the singular values of f64: %s", async (_, m, n, rank, noise, sizeOf, isFast) => {
    const engine = await testEngine();
    const [left, right, rest] = [randomArray(m * rank, 11), randomArray(n * rank, 12), randomArray(m * n, 13)];
    const data = Float32Array.from({ length: m * n }, (_, e) => {
      let sum = noise * (2 * rest[e]! - 1) * 0.3;
      for (let k = 0; k < rank; k++)
        sum += sizeOf(k) * (2 * left[Math.floor(e / n) * rank + k]! - 1) * (2 * right[(e % n) * rank + k]! - 1);
      return sum;
    });
    using a = engine.tensor([m, n], data);
    const { dispatches } = engine.counters;
    using result = await truncatedSvd(engine, a, { rank });
    expect(engine.counters.dispatches - dispatches < 260).toBe(isFast);
    const { diagonal } = new SingularValueDecomposition(Matrix.from1DArray(m, n, [...data]), { autoTranspose: true });
    for (const [k, value] of (await result.values.read()).entries())
      expect(Math.abs(value - diagonal[k]!)).toBeLessThan(1e-5 * diagonal[k]! + 1e-8 * diagonal[0]!);
    const lost = diagonal.slice(rank).reduce((sum, value) => sum + value ** 2, 0);
    const all = diagonal.reduce((sum, value) => sum + value ** 2, 0);
    expect(Math.abs(result.relativeError - Math.sqrt(lost / all))).toBeLessThan(1e-6);
    const values = [...(await result.u.read())];
    for (let k = 0; k < rank; k++) {
      const column = Float64Array.from({ length: m }, (_, row) => values[row * rank + k]!);
      expect(Math.abs(Math.hypot(...column) - 1)).toBeLessThan(1e-6);
    }
  });

  it.each([
    ["noise beyond it", 500, 300, 20, 20, 0.1, 12],
    ["tall, with noise beyond it", 1600, 90, 8, 8, 0.1, 12],
    ["wide, falling slowly", 70, 900, 6, 40, 0, 30],
    ["large, falling slowly", 1040, 1030, 4, 30, 0, 40],
    ["exact", 800, 100, 8, 8, 0, 12],
  ] as const)("of a low rank has left and right vectors that belong to each other: %s", async (...of) => {
    const [, m, n, rank, terms, noise, most] = of;
    const engine = await testEngine();
    const [left, right, rest] = [m * terms, terms * n, m * n].map((size, k) =>
      Float64Array.from(randomArray(size, 21 + k), (value) => 2 * value - 1),
    ) as [Float64Array, Float64Array, Float64Array];
    const sums = new Float64Array(m * n);
    for (let i = 0; i < m; i++)
      for (let k = 0; k < terms; k++) {
        const weight = left[i * terms + k]! / (terms > rank ? 1 + k : 1);
        for (let j = 0; j < n; j++) sums[i * n + j]! += weight * right[k * n + j]!;
      }
    const data = Float32Array.from(sums, (value, e) => value + noise * Math.sqrt(terms) * rest[e]!);
    using a = engine.tensor([m, n], data);
    const { submits, readbacks } = engine.counters;
    using result = await truncatedSvd(engine, a, { rank });
    expect(engine.counters.submits - submits).toBeLessThanOrEqual(most);
    // what a tensor is looked at, all sweeps that are not waited for, and the error
    if (most === 12) expect(engine.counters.readbacks - readbacks).toBe(3);
    const [u, values, v] = (await engine.read([result.u, result.values, result.v])) as Float32Array[];
    for (let k = 0; k < rank; k++) {
      const missed = [new Float64Array(m), new Float64Array(n)] as const;
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          missed[0][i]! += data[i * n + j]! * v![j * rank + k]!;
          missed[1][j]! += data[i * n + j]! * u![i * rank + k]!;
        }
      for (let i = 0; i < m; i++) missed[0][i]! -= values![k]! * u![i * rank + k]!;
      for (let j = 0; j < n; j++) missed[1][j]! -= values![k]! * v![j * rank + k]!;
      for (const side of missed) expect(Math.hypot(...side)).toBeLessThan(5e-6 * values![0]!);
    }
    for (const [vectors, rows] of [
      [u!, m],
      [v!, n],
    ] as const)
      for (let k = 0; k < rank; k++)
        for (let l = 0; l <= k; l++) {
          let product = 0;
          for (let i = 0; i < rows; i++) product += vectors[i * rank + k]! * vectors[i * rank + l]!;
          expect(Math.abs(product - (k === l ? 1 : 0))).toBeLessThan(1e-6);
        }
  });

  it("tells singular values of 1e-6 of the largest", async () => {
    const engine = await testEngine();
    const [m, n] = [24, 13];
    const data = randomArray(m * n, 5).map((value, e) => value * 10 ** (-6 * ((e % n) / (n - 1))));
    using a = engine.tensor([m, n], data);
    using result = await truncatedSvd(engine, a, { rank: n });
    const values = await result.values.read();
    const expected = new SingularValueDecomposition(Matrix.from1DArray(m, n, [...data])).diagonal;
    expect(expected[n - 1]! / expected[0]!).toBeLessThan(2e-6);
    for (const [k, value] of expected.entries()) expect(Math.abs(values[k]! / value - 1)).toBeLessThan(1e-3);
  });

  it("keeps a promised error by the smallest rank, and says what does not fit", async () => {
    const engine = await testEngine();
    using a = engine.tensor([20, 15], randomArray(300, 6));
    for (const relativeError of [0.5, 0.1]) {
      using smallest = await truncatedSvd(engine, a, { relativeError });
      expect(smallest.relativeError).toBeLessThanOrEqual(relativeError);
      using fewer = await truncatedSvd(engine, a, { rank: smallest.rank - 1 });
      expect(fewer.relativeError).toBeGreaterThan(0.99 * relativeError);
    }
    await expect(truncatedSvd(engine, a, { rank: 16 })).rejects.toThrow(/needs 1 to 15/);
    await expect(truncatedSvd(engine, a, {})).rejects.toThrow(/either rank or relativeError/);
  });
});

describe("ttMatrix", () => {
  it.each([
    { rowModes: [4, 5, 3], columnModes: [2, 3, 4] },
    { rowModes: [6, 5], columnModes: [3, 7] },
    { rowModes: [2, 2, 2, 2, 2, 3], columnModes: [2, 2, 1, 2, 2, 2] },
    { rowModes: [7], columnModes: [5] },
  ])("of modes $rowModes by $columnModes gives the matrix back, and keeps a promised error", async (modes) => {
    const engine = await testEngine();
    const product = (values: number[]) => values.reduce((a, b) => a * b, 1);
    const [rows, columns] = [product(modes.rowModes), product(modes.columnModes)];
    const data = randomArray(rows * columns, 4);
    using w = engine.tensor([rows, columns], data);
    const exact = await ttMatrix(engine, w, { ...modes, ranks: 1000 });
    expect(exact.tensor.shape).toEqual([rows, columns]);
    expect(distance(data, await evaluate(engine, (s) => exact.tensor.toDense(s)))).toBeLessThan(1e-5);
    const near = await ttMatrix(engine, w, { ...modes, relativeError: 0.4 });
    const error = distance(data, await evaluate(engine, (s) => near.tensor.toDense(s)));
    expect(error).toBeLessThanOrEqual(0.4);
    expect(error).toBeCloseTo(near.relativeError, 5);
    expect(near.tensor.parameterCount).toBeLessThanOrEqual(exact.tensor.parameterCount);
    exact.tensor.destroy();
    near.tensor.destroy();
  });

  it("says which modes do not fit", async () => {
    const engine = await testEngine();
    using w = engine.tensor([6, 6], randomArray(36));
    await expect(ttMatrix(engine, w, { rowModes: [2, 2], columnModes: [2, 3], ranks: 2 })).rejects.toThrow(
      /modes 2×2 and 2×3/,
    );
    const modes = { rowModes: 6, columnModes: 6, ranks: 2 } as unknown as Parameters<typeof ttMatrix>[2];
    await expect(ttMatrix(engine, w, modes)).rejects.toThrow(/ttMatrix: rowModes .*needs a list of whole numbers/);
  });
});
