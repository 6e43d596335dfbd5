/** Least squares without negative entries against f64: the conditions of Karush, Kuhn and Tucker, and the same passes in f64. */
import { describe, expect, it } from "vitest";
import { hals } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** BᵀB of random columns, each near to the first by `likeness`. */
function gramOf(rank: number, likeness: number, seed: number): Float64Array {
  const rows = rank + 5;
  const b = randomArray(rows * rank, seed);
  const columns = b.map((value, at) => likeness * b[at - (at % rank)]! + (1 - likeness) * value);
  return Float64Array.from({ length: rank * rank }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < rows; k++) sum += columns[k * rank + Math.floor(at / rank)]! * columns[k * rank + (at % rank)]!;
    return sum;
  });
}

/** The passes in f64; `least` is the bound of every entry. */
function passes(
  v: Float64Array,
  right: ArrayLike<number>,
  start: ArrayLike<number>,
  least: ArrayLike<number>,
  rank: number,
  count: number,
): Float64Array {
  const y = Float64Array.from(start);
  for (let row = 0; row < y.length; row += rank)
    for (let pass = 0; pass < count; pass++)
      for (let r = 0; r < rank; r++) {
        const pivot = v[r * rank + r]!;
        if (!pivot) continue;
        let rest = right[row + r]!;
        for (let s = 0; s < rank; s++) if (s !== r) rest -= y[row + s]! * v[r * rank + s]!;
        y[row + r] = Math.max(least[row + r]!, rest / pivot);
      }
  return y;
}

async function run(
  v: Float64Array,
  right: Float32Array,
  factor: Float32Array,
  rank: number,
  options: { passes?: number; step?: boolean },
): Promise<Float32Array> {
  const engine = await testEngine();
  const shape = [right.length / rank, rank];
  using b = engine.tensor(shape, right);
  using normal = engine.tensor([rank, rank], Float32Array.from(v));
  using a = engine.tensor(shape, factor);
  return await evaluate(engine, (s) => hals(s, normal, b, { factor: a, ...options }));
}

describe.each([
  [1, 1],
  [1, 7],
  [3, 2],
  [37, 5],
  [33, 16],
  [70, 17],
  [5, 65],
])("%i rows of %i columns", (rows, rank) => {
  const right = randomArray(rows * rank, 3);
  const factor = randomArray(rows * rank, 4).map(Math.abs);
  const zeros = new Float32Array(rows * rank);

  it.each([0, 0.9])("makes the passes that f64 makes, columns alike by %f", async (likeness) => {
    const v = gramOf(rank, likeness, 5);
    const one = passes(v, right, factor, zeros, rank, 1);
    expectClose(await run(v, right, factor, rank, { passes: 1 }), one, 2e-5);
    const down = factor.map((value) => -value);
    const step = passes(v, right, zeros, down, rank, 1);
    expectClose(await run(v, right, factor, rank, { passes: 1, step: true }), step, 2e-5);
  });

  it("ends where no entry can be moved to lower the error", async () => {
    const v = gramOf(rank, 0.5, 6);
    for (let r = 0; r < rank; r++) v[r * rank + r]! += 0.5;
    let y: Float32Array = factor;
    // a run ends when passes change little beside its first one
    for (let again = 0; again < 4; again++) y = await run(v, right, y, rank, { passes: 500 });
    for (let at = 0; at < y.length; at++) {
      const row = at - (at % rank);
      let gradient = -right[at]!;
      for (let s = 0; s < rank; s++) gradient += y[row + s]! * v[s * rank + (at % rank)]!;
      if (y[at] === 0) expect(gradient).toBeGreaterThan(-2e-4);
      else {
        expect(y[at]).toBeGreaterThan(0);
        expect(Math.abs(gradient)).toBeLessThan(2e-4);
      }
    }
  });
});

it("leaves columns alone that have no share in V, and takes steps down to exactly zero", async () => {
  const v = Float64Array.of(2, 0, 0, 0);
  expect([...(await run(v, Float32Array.of(-4, 9, 6, 9), Float32Array.of(1, 5, 0, 7), 2, {}))]).toEqual([0, 5, 3, 7]);
  const factor = Float32Array.of(0.1, 0.3);
  const step = await run(Float64Array.of(3), Float32Array.of(-5, -5), factor, 1, { step: true });
  expect([...step]).toEqual([...factor.map((value) => -value)]);
});

it("refuses shapes that do not fit", async () => {
  const engine = await testEngine();
  using a = engine.tensor([4, 3]);
  using v = engine.tensor([3, 3]);
  using s = engine.scheduler("test");
  expect(() => hals(s, a, a, { factor: a })).toThrow("hals: the matrix is 4×3, expected 4×4");
  expect(() => hals(s, v, v.rows(0, 2), { factor: a })).toThrow("hals: factor is 4×3, expected 2×3");
  using w = engine.tensor([2, 2]);
  expect(() => hals(s, w, a, { factor: a })).toThrow("needs 2 columns");
});
