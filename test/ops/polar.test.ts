/** Polar factors of many matrices at once, against f64. */
import { describe, expect, it } from "vitest";
import { batchMatmul, polar } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** Pᵀ·Z of one matrix, R×R; and PᵀP. */
function products(p: Float32Array, z: Float32Array, rank: number): { inner: Float64Array; gram: Float64Array } {
  const of = (x: Float32Array, y: Float32Array) =>
    Float64Array.from({ length: rank * rank }, (_, at) => {
      let sum = 0;
      for (let d = 0; d < x.length; d += rank) sum += x[d + Math.floor(at / rank)]! * y[d + (at % rank)]!;
      return sum;
    });
  return { inner: of(p, z), gram: of(p, p) };
}

/** Whether a symmetric matrix has no clearly negative eigenvalue: elimination of it plus a little. */
function isNonnegative(h: Float64Array, rank: number, little: number): boolean {
  const a = h.map((value, at) => value + (at % (rank + 1) ? 0 : little));
  for (let k = 0; k < rank; k++) {
    if (!(a[k * rank + k]! > 0)) return false;
    for (let i = k + 1; i < rank; i++) {
      const part = a[i * rank + k]! / a[k * rank + k]!;
      for (let j = k; j < rank; j++) a[i * rank + j]! -= part * a[k * rank + j]!;
    }
  }
  return true;
}

/** P is the polar factor of Z where its columns are orthonormal, and PᵀZ is symmetric without negative eigenvalues, and Z = P·(PᵀZ). */
function expectPolar(p: Float32Array, z: Float32Array, rank: number, height: number): void {
  const { inner, gram } = products(p, z, rank);
  const size = Math.sqrt(z.reduce((sum, value) => sum + value ** 2, 0)) || 1;
  for (let i = 0; i < rank; i++)
    for (let j = 0; j < rank; j++) {
      expect(Math.abs(gram[i * rank + j]! - (i === j ? 1 : 0))).toBeLessThan(5e-6);
      expect(Math.abs(inner[i * rank + j]! - inner[j * rank + i]!)).toBeLessThan(1e-5 * size);
    }
  expect(isNonnegative(inner, rank, 2e-5 * size)).toBe(true);
  for (let d = 0; d < z.length / rank; d++)
    for (let r = 0; r < rank; r++) {
      let model = 0;
      for (let k = 0; k < rank; k++) model += p[d * rank + k]! * inner[k * rank + r]!;
      expect(Math.abs(model - z[d * rank + r]!)).toBeLessThan(1e-5 * size);
      if (d >= height) expect(p[d * rank + r]).toBe(0);
    }
}

/** Matrices of several kinds: random, with columns alike, of graded columns, with a column twice, of rank one, and of zeros. */
function matricesOf(rows: number, rank: number, heights: number[], seed: number): Float32Array[] {
  const changes: ((value: number, d: number, r: number, all: Float32Array) => number)[] = [
    (value) => value,
    (value, d, _, all) => all[d * rank]! + 1e-3 * value,
    (value, _, r) => value * 10 ** -r,
    (value, d, r, all) => (r === rank - 1 ? all[d * rank]! : value),
    (_, d, r, all) => all[d * rank]! * (r + 1),
    () => 0,
  ];
  return heights.map((height, k) => {
    const all = randomArray(rows * rank, seed + k);
    const change = changes[k % changes.length]!;
    return Float32Array.from(all, (value, at) => {
      const d = Math.floor(at / rank);
      return d < height ? change(value, d, at % rank, all) : 0;
    });
  });
}

describe.each([
  [1, 1],
  [3, 3],
  [7, 2],
  [11, 5],
  [40, 10],
  [9, 9],
  [70, 17],
])("matrices %i×%i", (rows, rank) => {
  it("have polar factors, also where the next call begins at the rotations of the last", async () => {
    const engine = await testEngine();
    const heights = Array.from({ length: 7 }, (_, k) => (k % 2 ? rows : Math.max(rank, rows - k)));
    const matrices = matricesOf(rows, rank, heights, 3);
    const shape = [heights.length, rows, rank];
    const flat = (list: Float32Array[]) => Float32Array.from(list.flatMap((matrix) => [...matrix]));
    using z = engine.tensor(shape, flat(matrices));
    using counts = engine.tensor([heights.length], Uint32Array.from(heights));
    using rotation = engine.tensor([heights.length, rank, rank]);
    const check = async (list: Float32Array[]) => {
      const p = await evaluate(engine, (s) => polar(s, z, counts, { rotation }));
      for (const [k, matrix] of list.entries())
        expectPolar(p.subarray(k * rows * rank, (k + 1) * rows * rank), matrix, rank, heights[k]!);
    };
    await check(matrices);
    await check(matrices);
    const others = matricesOf(rows, rank, heights, 90);
    engine.write(z, flat(others));
    await check(others);
    const huge = others.map((matrix) => matrix.map((value) => value * 1e15));
    engine.write(z, flat(huge));
    await check(huge);
  });
});

it("multiplies batches of matrices, and a matrix with a batch", async () => {
  const engine = await testEngine();
  const [count, rows, inner, columns] = [3, 5, 7, 4];
  const [a, b] = [randomArray(count * rows * inner, 1), randomArray(count * inner * columns, 2)];
  const product = (k: number, l: number) =>
    Float64Array.from({ length: rows * columns }, (_, at) => {
      const [i, j] = [Math.floor(at / columns), at % columns];
      let sum = 0;
      for (let m = 0; m < inner; m++) sum += a[(k * rows + i) * inner + m]! * b[(l * inner + m) * columns + j]!;
      return sum;
    });
  const all = [0, 1, 2].flatMap((k) => [...product(k, k)]);
  const turned = (x: Float32Array, high: number, wide: number) =>
    Float32Array.from(x, (_, at) => {
      const [k, rest] = [Math.floor(at / (high * wide)), at % (high * wide)];
      return x[k * high * wide + (rest % high) * wide + Math.floor(rest / high)]!;
    });
  using ta = engine.tensor([count, rows, inner], a);
  using tb = engine.tensor([count, inner, columns], b);
  using tat = engine.tensor([count, inner, rows], turned(a, rows, inner));
  using tbt = engine.tensor([count, columns, inner], turned(b, inner, columns));
  expectClose(await evaluate(engine, (s) => batchMatmul(s, ta, tb)), all, 1e-5);
  expectClose(
    await evaluate(engine, (s) => batchMatmul(s, tat, tbt, { transposeA: true, transposeB: true })),
    all,
    1e-5,
  );
  using second = engine.tensor([rows, inner], a.subarray(rows * inner, 2 * rows * inner));
  const one = [0, 1, 2].flatMap((l) => [...product(1, l)]);
  expectClose(await evaluate(engine, (s) => batchMatmul(s, second, tb)), one, 1e-5);
  using s = engine.scheduler("test");
  expect(() => batchMatmul(s, ta, ta)).toThrow(
    "batchMatmul: 3×5×7 times 3×5×7, needs as many matrices of fitting sides",
  );
});
