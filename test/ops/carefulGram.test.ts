import { describe, expect, it } from "vitest";
import { qr, svd } from "../../src/decompositions/index.js";
import { carefulGram } from "../../src/ops/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** 1 + noise. A plain sum of many nearly equal terms rounds every addition in the same direction, so that its errors add up. */
function offset(rows: number, columns: number, noise: number): Float32Array {
  const random = randomArray(rows * columns, rows);
  return random.map((value) => 1 + noise * value);
}

/** AᵀA in f64. */
function gram(a: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const total = new Float64Array(columns * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      for (let k = 0; k < columns; k++) total[j * columns + k]! += a[i * columns + j]! * a[i * columns + k]!;
  return total;
}

/** The largest entry of |QᵀQ − I|. */
const departure = (q: ArrayLike<number>, rows: number, columns: number): number =>
  gram(q, rows, columns).reduce(
    (most, value, e) => Math.max(most, Math.abs(value - (e % (columns + 1) === 0 ? 1 : 0))),
    0,
  );

describe("carefulGram", () => {
  it.each([
    [1, 3],
    [700, 5],
    [1025, 4],
    [4096, 2],
    [20_011, 3],
    [300_001, 1],
  ])("is exact for columns of equal entries, %i×%i", async (rows, columns) => {
    const engine = await testEngine();
    const data = offset(rows, columns, 0);
    using a = engine.tensor([rows, columns], data);
    const sums = await evaluate(engine, (s) => carefulGram(s, a));
    sums.forEach((value) => {
      expect(Math.abs(value / rows - 1)).toBeLessThan(1e-7);
    });
    const scale = Math.fround(1 / Math.sqrt(rows));
    using b = engine.tensor(
      [rows, columns],
      data.map(() => scale),
    );
    const unit = await evaluate(engine, (s) => carefulGram(s, b));
    unit.forEach((value) => {
      expect(Math.abs(value / (rows * scale ** 2) - 1)).toBeLessThan(1e-6);
    });
  });

  it("agrees with f64 on noise around a mean", async () => {
    const engine = await testEngine();
    const [rows, columns] = [5003, 7];
    const data = offset(rows, columns, 1);
    using a = engine.tensor([rows, columns], data);
    const exact = gram(data, rows, columns);
    (await evaluate(engine, (s) => carefulGram(s, a))).forEach((value, e) => {
      expect(Math.abs(value / exact[e]! - 1)).toBeLessThan(1e-6);
    });
  });
});

describe("factorisations of tall matrices of nearly equal entries", () => {
  it.each([
    [20_000, 3, 1e-3],
    [20_000, 60, 1],
    [131_072, 2, 1e-2],
  ])("%i×%i, noise %f", async (rows, columns, noise) => {
    const engine = await testEngine();
    using a = engine.tensor([rows, columns], offset(rows, columns, noise));
    {
      using factors = await qr(engine, a);
      expect(departure(await factors.q.read(), rows, columns)).toBeLessThan(2e-6);
    }
    using factors = await svd(engine, a);
    expect(departure(await factors.u.read(), rows, columns)).toBeLessThan(2e-6);
    expect(departure(await factors.v.read(), columns, columns)).toBeLessThan(2e-6);
  });
});
