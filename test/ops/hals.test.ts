/** Least squares without negative entries against f64: the conditions of Karush, Kuhn and Tucker, and the same passes in f64. */
import { describe, expect, it } from "vitest";
import type { Tensor } from "../../src/gpu/index.js";
import {
  columnParts,
  coreSteps,
  hals,
  halsUpdate,
  MOMENTUM_START,
  momentum,
  unitColumns,
} from "../../src/ops/index.js";
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

const gramOf64 = (a: ArrayLike<number>, rank: number): Float64Array => {
  const sums = new Float64Array(rank * rank);
  for (let at = 0; at < a.length; at += rank)
    for (let i = 0; i < rank; i++) for (let j = 0; j < rank; j++) sums[i * rank + j]! += a[at + i]! * a[at + j]!;
  return sums;
};

/** Columns of norm 1, those of zeros replaced by the factor's, and the norms. */
function unit(solved: ArrayLike<number>, factor: ArrayLike<number> | null, rank: number) {
  const norms = Array.from({ length: rank }, (_, r) =>
    Math.sqrt(Array.from(solved).reduce((sum, value, at) => sum + (at % rank === r ? value ** 2 : 0), 0)),
  );
  const columns = Float64Array.from(solved, (value, at) => {
    const norm = norms[at % rank]!;
    return norm ? value / norm : (factor?.[at] ?? 0);
  });
  return { norms, columns };
}

describe.each([
  [1, 1, 1],
  [3, 2, 1],
  [70, 5, 3],
  [131, 17, 2],
  [33, 32, 1],
])("an update of %i rows of %i columns, its product in %i parts", (rows, rank, splits) => {
  it("is hals, and unit columns with their Gram matrix", async () => {
    const engine = await testEngine();
    const stride = 64 * Math.ceil(rank ** 2 / 64);
    const grams = [0, 1, 2].map((mode) => gramOf(rank, 0.5, 8 + mode));
    const filled = new Float32Array(3 * stride);
    for (const [mode, values] of grams.entries()) filled.set(values, mode * stride);
    const v = grams[0]!.map((value, at) => value * grams[2]![at]!);
    const product = randomArray(splits * rows * rank, 3);
    const right = Float64Array.from({ length: rows * rank }, (_, at) => {
      let sum = 0;
      for (let part = 0; part < splits; part++) sum += product[part * rows * rank + at]!;
      return sum;
    });
    // a column that is driven to zero
    const isDead = rank > 1;
    if (isDead)
      for (let at = 1; at < right.length; at += rank) {
        product[at]! -= 1e4 + right[at]!;
        right[at] = 0;
        for (let part = 0; part < splits; part++) right[at]! += product[part * rows * rank + at]!;
      }
    const factor = unit(randomArray(rows * rank, 4).map(Math.abs), null, rank).columns;
    const weights = Array.from({ length: rank }, (_, r) => 0.5 + r);
    const start = factor.map((value, at) => value * weights[at % rank]!);
    const solved = passes(v, right, start, new Float64Array(rows * rank), rank, 2);
    let gain = 0;
    for (let at = 0; at < solved.length; at++) {
      const row = at - (at % rank);
      let image = 0;
      for (let s = 0; s < rank; s++) image += solved[row + s]! * v[s * rank + (at % rank)]!;
      gain += (2 * right[at]! - image) * solved[at]!;
    }
    const expected = unit(solved, factor, rank);
    using p = engine.tensor([splits, rows, rank], product);
    using g = engine.tensor([3, stride], filled);
    using a = engine.tensor([rows, rank], Float32Array.from(factor));
    using w = engine.tensor([rank], Float32Array.from(weights));
    using values = engine.tensor([256]);
    using ring = engine.tensor([2, 256]);
    using counter = engine.tensor([1], new Uint32Array([3]));
    const out = await evaluate(engine, (s) => {
      const update = halsUpdate(s, { product: p, grams: g, mode: 1, factor: a, weights: w, passes: 2 });
      const last = { squaredNorm: 1000, values, trace: { rows: ring, counter } };
      const matrices = [{ rows, start: 0 }];
      const shared = { stack: update.out, parts: update.parts, factors: a, grams: g, modes: [1], weights: w };
      unitColumns(s, { ...shared, matrices, keep: true, last });
      return update.out;
    });
    expectClose(out as Float32Array, solved, 1e-5);
    const [columns, gotGrams, norms, told, trace, count] = (await engine.read([a, g, w, values, ring, counter])) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
      Uint32Array,
    ];
    expectClose(columns, expected.columns, 1e-5);
    expectClose(norms, expected.norms, 1e-5);
    if (isDead) expect(norms[1]).toBe(0);
    expectClose(gotGrams.subarray(stride, stride + rank ** 2), gramOf64(expected.columns, rank), 1e-5);
    expect(gotGrams.subarray(0, rank ** 2)).toEqual(Float32Array.from(grams[0]!));
    const terms = expected.norms.reduce((sum, norm) => sum + norm ** 2, 0);
    const size = Math.abs(gain) + 1000;
    for (const [at, value] of [
      [0, gain],
      [64, gain],
      [65, terms],
      [128, -1],
      [192, 1000 - gain],
    ] as const) {
      expect(Math.abs(told[at]! - value) / Math.max(size, terms)).toBeLessThan(1e-5);
      expect(trace[256 + at]).toBe(told[at]);
    }
    expect(count[0]).toBe(4);
  });
});

it("brings several matrices of a stack to norm 1 together", async () => {
  const engine = await testEngine();
  const [rank, heights, starts] = [3, [150, 1, 40], [0, 512, 576]] as const;
  const stack = new Float32Array(700);
  for (const [at, rows] of heights.entries()) stack.set(randomArray(rows * rank, 30 + at), starts[at]);
  for (let row = 0; row < 40; row++) stack[576 + row * rank + 2] = 0;
  using stacked = engine.tensor([700], stack);
  using factors = engine.tensor([700], new Float32Array(700).fill(7));
  using grams = engine.tensor([4, 64]);
  using weights = engine.tensor([rank]);
  await engine.run((s) => {
    const matrices = heights.map((rows, at) => ({ rows, start: starts[at]! }));
    const parts = columnParts(s, stacked, matrices, rank);
    unitColumns(s, { stack: stacked, matrices, parts, factors, grams, modes: [3, 0, 2], weights });
  });
  const [got, gotGrams, norms] = (await engine.read([factors, grams, weights])) as Float32Array[];
  const product = [1, 1, 1];
  for (const [at, rows] of heights.entries()) {
    const [start, stop] = [starts[at]!, starts[at]! + rows * rank];
    const expected = unit(stack.subarray(start, stop), null, rank);
    expectClose(got!.subarray(start, stop), expected.columns, 1e-6);
    const row = 64 * [3, 0, 2][at]!;
    expectClose(gotGrams!.subarray(row, row + 9), gramOf64(expected.columns, rank), 1e-6);
    for (let r = 0; r < rank; r++) product[r]! *= expected.norms[r]!;
  }
  expectClose(norms!, product, 1e-6);
  expect(norms![2]).toBe(0);
  expect(got![450]).toBe(7);
});

describe.each([
  [[3, 2, 4], 4],
  [[5], 1],
  [[2, 1, 3, 2], 0],
])("steps for a core %j, %i of them", (ranks, steps) => {
  it("are those of f64, and so is the error", async () => {
    const engine = await testEngine();
    const size = ranks.reduce((product, rank) => product * rank, 1);
    const stride = 64;
    const grams = ranks.map((rank, mode) => gramOf(rank, 0.3, 40 + mode));
    const filled = new Float32Array(ranks.length * stride);
    for (const [mode, values] of grams.entries()) filled.set(values, mode * stride);
    const product = randomArray(size, 41);
    const start = randomArray(size, 42).map(Math.abs);
    const along = (x: Float64Array, matrices: Float64Array[]): Float64Array => {
      let result = x;
      let after = size;
      for (const [mode, matrix] of matrices.entries()) {
        const rank = ranks[mode]!;
        after /= rank;
        const source = result;
        result = source.map((_, e) => {
          const i = Math.floor(e / after) % rank;
          let sum = 0;
          for (let j = 0; j < rank; j++) sum += matrix[i * rank + j]! * source[e + (j - i) * after]!;
          return sum;
        });
      }
      return result;
    };
    const magnitudes = along(
      new Float64Array(size).fill(1),
      grams.map((matrix) => matrix.map(Math.abs)),
    );
    let core = Float64Array.from(start);
    let ahead = Float64Array.from(start);
    let inertia = 1;
    for (let step = 0; step < steps; step++) {
      const image = along(ahead, grams);
      const moved = ahead.map((value, e) => Math.max(0, value - (image[e]! - product[e]!) / magnitudes[e]!));
      const next = (1 + Math.sqrt(1 + 4 * inertia ** 2)) / 2;
      ahead = moved.map((value, e) => value + ((inertia - 1) / next) * (value - core[e]!));
      [core, inertia] = [moved, next];
    }
    const error = along(core, grams).reduce((sum, value, e) => sum + core[e]! * (value - 2 * product[e]!), 50);
    using g = engine.tensor([ranks.length, stride], filled);
    using p = engine.tensor(ranks, product);
    using c = engine.tensor(ranks, start);
    using told = engine.tensor([1]);
    await engine.run((s) => coreSteps(s, { core: c, product: p, grams: g, steps, squaredNorm: 50, error: told }));
    const [got, [gotError]] = (await engine.read([c, told])) as [Float32Array, Float32Array];
    expectClose(got, core, 1e-5);
    expect(Math.abs(gotError! - error)).toBeLessThan(1e-5 * (50 + Math.abs(error)));
  });
});

it("extrapolates a matrix times its weights", async () => {
  const engine = await testEngine();
  const fresh = randomArray(140, 51);
  const weights = [2, 3, 0];
  using x = engine.tensor([140], fresh);
  using w = engine.tensor([3], Float32Array.from(weights));
  const made = [140, 140, 1, 4].map((size) => engine.tensor([size]));
  const [accepted, next, error, state] = made as [Tensor, Tensor, Tensor, Tensor];
  engine.write(state, [...MOMENTUM_START]);
  await engine.run((s) =>
    momentum(s, { fresh: x, error, accepted, next, state, scaled: { weights: w, range: [64, 124] } }),
  );
  const expected = fresh.map((value, at) => (at >= 64 && at < 124 ? value * weights[(at - 64) % 3]! : value));
  for (const got of (await engine.read([accepted, next])) as Float32Array[]) expectClose(got, expected, 1e-7);
  for (const tensor of made) tensor.destroy();
});
