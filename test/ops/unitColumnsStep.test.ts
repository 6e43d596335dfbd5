/** Columns of norm 1, one after the other the best: against the same in f64. */
import { describe, expect, it } from "vitest";
import { hals, unitColumnsStep } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** VᵀV of columns of norm 1, which share a little. */
function normalOf(rank: number): Float32Array {
  return Float32Array.from({ length: rank * rank }, (_, at) => {
    const [r, s] = [Math.floor(at / rank), at % rank];
    return r === s ? 1 : 0.6 ** Math.abs(r - s);
  });
}

function unit(values: Float32Array, rank: number): Float32Array {
  const result = values.slice();
  for (let r = 0; r < rank; r++) {
    let squares = 0;
    for (let i = r; i < values.length; i += rank) squares += values[i]! ** 2;
    for (let i = r; i < values.length; i += rank) result[i]! /= Math.sqrt(squares);
  }
  return result;
}

describe.each([
  [1, 1],
  [5, 3],
  [37, 4],
  [300, 7],
])("%i rows, %i columns", (rows, rank) => {
  const right = randomArray(rows * rank, 3);
  const normal = normalOf(rank);
  const weights = Float32Array.from({ length: rank }, (_, r) => (r === 2 ? 0 : 1 + r));

  it.each([false, true])("nonnegative: %s", async (nonnegative) => {
    const engine = await testEngine();
    const start = unit(
      randomArray(rows * rank, 5).map((value) => (nonnegative ? Math.abs(value) : value)),
      rank,
    );
    using b = engine.tensor([rows, rank], right);
    using v = engine.tensor([rank, rank], normal);
    using a = engine.tensor([rows, rank], start);
    using lambda = engine.tensor([rank], weights);
    const [y, left] = await evaluate(engine, (s) => [
      unitColumnsStep(s, v, b, { factor: a, weights: lambda, nonnegative, passes: 2 }),
      a,
    ]);
    const expected = Float64Array.from(start);
    for (let step = 0; step < 2 * rank; step++) {
      const r = step % rank;
      const column = Array.from({ length: rows }, (_, i) => {
        let rest = right[i * rank + r]!;
        for (let s = 0; s < rank; s++)
          if (s !== r) rest -= weights[s]! * normal[r * rank + s]! * expected[i * rank + s]!;
        return nonnegative ? Math.max(0, rest) : rest;
      });
      const size = Math.hypot(...column);
      if (size) for (const [i, value] of column.entries()) expected[i * rank + r] = value / size;
    }
    expectClose(
      y!,
      expected.map((value, at) => value * weights[at % rank]!),
      2e-6,
    );
    // the column of weight 0 has its new direction where the passes began
    expectClose(
      left!,
      expected.map((value, at) => (weights[at % rank] ? start[at]! : value)),
      2e-6,
    );
  });

  it.each([false, true])("shrunk by a threshold, signed: %s", async (signed) => {
    const engine = await testEngine();
    const start = randomArray(rows * rank, 5).map((value) => (signed ? value : Math.abs(value)));
    using b = engine.tensor([rows, rank], right);
    using v = engine.tensor([rank, rank], normal);
    using a = engine.tensor([rows, rank], start);
    const y = await evaluate(engine, (s) => hals(s, v, b, { factor: a, shrink: 0.25, signed, passes: 3 }));
    const expected = Float64Array.from(start);
    for (let i = 0; i < rows; i++)
      for (let step = 0; step < 3 * rank; step++) {
        const r = step % rank;
        let rest = right[i * rank + r]!;
        for (let s = 0; s < rank; s++) if (s !== r) rest -= normal[r * rank + s]! * expected[i * rank + s]!;
        const magnitude = Math.max(0, (signed ? Math.abs(rest) : rest) - 0.25) / normal[r * (rank + 1)]!;
        expected[i * rank + r] = signed && rest < 0 ? -magnitude : magnitude;
      }
    expectClose(y, expected, 1e-5);
    if (rows > 30) expect(y.filter((value) => value === 0).length).toBeGreaterThan(rows / 8);
  });
});

it("keeps a column for which nothing speaks, and refuses wrong shapes", async () => {
  const engine = await testEngine();
  using b = engine.tensor([3, 1], Float32Array.of(-1, -2, -3));
  using v = engine.tensor([1, 1], [1]);
  using a = engine.tensor([3, 1], Float32Array.of(0, 0.6, 0.8));
  using two = engine.tensor([1], [2]);
  const y = await evaluate(engine, (s) => unitColumnsStep(s, v, b, { factor: a, weights: two, nonnegative: true }));
  expectClose(y, [0, 1.2, 1.6], 1e-6);
  using s = engine.scheduler("test");
  using wrong = engine.tensor([2, 2]);
  expect(() => unitColumnsStep(s, wrong, b, { factor: a, weights: two })).toThrow("needs 2 columns");
  expect(() => unitColumnsStep(s, v, b, { factor: a, weights: b })).toThrow("unitColumnsStep: weights is 3×1");
  expect(() => hals(s, v, b, { factor: a, step: true, shrink: 1 })).toThrow("hals: step and shrink");
});
