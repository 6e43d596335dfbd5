/** CP without negative entries: its optimality in f64, its error beside an f64 twin of it, and data of every kind. */
import { describe, expect, it } from "vitest";
import { CpSolver, cp, cpALS } from "../../src/decompositions/index.js";
import type { Engine } from "../../src/gpu/index.js";
import { slabs } from "../../src/sources/index.js";
import type { KruskalTensor } from "../../src/tensors/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { kruskal, norm, unravel } from "./planted.js";

/** Non-negative factors of which a part is zero. */
const factorsOf = (shape: readonly number[], rank: number, seed: number): Float32Array[] =>
  shape.map((extent, mode) => randomArray(extent * rank, seed + mode).map((value) => Math.max(0, value + 0.3)));

function noisy(shape: number[], rank: number, noise: number, seed: number): Float32Array {
  const clean = kruskal(factorsOf(shape, rank, seed), shape, rank);
  const errors = randomArray(clean.length, seed + 50);
  const scale = (noise * norm(clean)) / norm(errors);
  return Float32Array.from(clean, (value, at) => value + scale * errors[at]!);
}

/** A mode's MTTKRP and V in f64. */
function products(
  x: ArrayLike<number>,
  shape: readonly number[],
  factors: ArrayLike<number>[],
  rank: number,
  mode: number,
) {
  const m = new Float64Array(shape[mode]! * rank);
  for (let index = 0; index < x.length; index++) {
    const at = unravel(index, shape);
    for (let r = 0; r < rank; r++) {
      let product = x[index]!;
      for (const [k, factor] of factors.entries()) if (k !== mode) product *= factor[at[k]! * rank + r]!;
      m[at[mode]! * rank + r]! += product;
    }
  }
  const v = new Float64Array(rank * rank).fill(1);
  for (const [k, factor] of factors.entries())
    if (k !== mode)
      for (let i = 0; i < rank; i++)
        for (let j = 0; j < rank; j++) {
          let sum = 0;
          for (let row = 0; row < shape[k]!; row++) sum += factor[row * rank + i]! * factor[row * rank + j]!;
          v[i * rank + j]! *= sum;
        }
  return { m, v };
}

/** The factors of a result, the weights in the first of them. */
async function factorsIn(engine: Engine, tensor: KruskalTensor): Promise<Float64Array[]> {
  const [weights, ...factors] = await engine.read([tensor.weights, ...tensor.factors]);
  return factors.map((factor, mode) =>
    Float64Array.from(factor, (value, at) => (mode ? value : value * weights![at % tensor.rank]!)),
  );
}

/**
 * How far factors are from an optimum, relative to ‖X‖: of every entry of a mode's factor, all of the model's scale in it, |gradient| where
 * the entry is positive, and how much the gradient is negative where it is 0.
 */
function violation(
  x: ArrayLike<number>,
  shape: readonly number[],
  factors: Float64Array[],
  rank: number,
  isConstrained: (mode: number) => boolean = () => true,
): number {
  let worst = 0;
  for (const mode of shape.keys()) {
    const norms = factors.map((factor) =>
      Array.from({ length: rank }, (_, r) =>
        Math.sqrt(factor.reduce((sum, value, at) => sum + (at % rank === r ? value ** 2 : 0), 0)),
      ),
    );
    const total = (r: number) => norms.reduce((product, list) => product * list[r]!, 1);
    const scaled = factors.map((factor, k) =>
      factor.map((value, at) => {
        const r = at % rank;
        const unit = norms[k]![r] ? value / norms[k]![r]! : 0;
        return k === mode ? unit * total(r) : unit;
      }),
    );
    const { m, v } = products(x, shape, scaled, rank, mode);
    for (const [at, value] of scaled[mode]!.entries()) {
      let gradient = -m[at]!;
      for (let s = 0; s < rank; s++) gradient += scaled[mode]![at - (at % rank) + s]! * v[s * rank + (at % rank)]!;
      const wrong = isConstrained(mode) && value === 0 ? Math.max(0, -gradient) : Math.abs(gradient);
      worst = Math.max(worst, wrong / norm(x));
    }
  }
  return worst;
}

/** Hierarchical alternating least squares in f64, 200 passes a mode. */
function twin(
  x: ArrayLike<number>,
  shape: readonly number[],
  start: ArrayLike<number>[],
  rank: number,
  sweeps: number,
): number {
  const factors = start.map((factor) => Float64Array.from(factor));
  for (let sweep = 0; sweep < sweeps; sweep++)
    for (const mode of shape.keys()) {
      const { m, v } = products(x, shape, factors, rank, mode);
      const y = factors[mode]!;
      for (let pass = 0; pass < 200; pass++)
        for (let r = 0; r < rank; r++)
          for (let row = 0; row < y.length; row += rank) {
            let rest = m[row + r]!;
            for (let s = 0; s < rank; s++) if (s !== r) rest -= y[row + s]! * v[r * rank + s]!;
            if (v[r * rank + r]) y[row + r] = Math.max(0, rest / v[r * rank + r]!);
          }
    }
  const model = kruskal(factors, [...shape], rank);
  return norm(model.map((value, at) => value - x[at]!)) / norm(x);
}

describe("cpALS without negative entries", () => {
  it.each([
    [[7, 6, 5], 3, 0.2],
    [[13, 1, 11], 2, 0.3],
    [[9, 8], 4, 0.4],
    [[5, 4, 3, 6], 2, 0.1],
    [[4, 3, 2], 6, 0.2],
  ] as const)("is optimal for %j of rank %i with noise %f", async (shape, rank, noise) => {
    const engine = await testEngine();
    const data = noisy([...shape], rank, noise, 11);
    using x = engine.tensor([...shape], data);
    const options = { rank, nonnegative: true, sweeps: 600, tolerance: 0, seed: 3 };
    const { tensor, relativeError, negativePart } = await cpALS(engine, x, options);
    using _ = tensor;
    const factors = await factorsIn(engine, tensor);
    for (const factor of factors) expect(Math.min(...factor)).toBeGreaterThanOrEqual(0);
    const model = kruskal(factors, [...shape], rank);
    expect(relativeError).toBeCloseTo(norm(model.map((value, at) => value - data[at]!)) / norm(data), 5);
    expect(violation(data, shape, factors, rank)).toBeLessThan(2e-4);
    const negative = norm(data.map((value) => Math.min(0, value))) / norm(data);
    expect(negativePart).toBeCloseTo(negative, 6);
    expect(relativeError).toBeGreaterThanOrEqual(negativePart! - 1e-6);
  });

  it("goes as f64 goes from the same start, and ends at an exact model", async () => {
    const engine = await testEngine();
    const shape = [9, 8, 7];
    const start = shape.map((extent, mode) => randomArray(extent * 3, 80 + mode).map(Math.abs));
    for (const [noise, sweeps] of [
      [0.2, 10],
      [0, 60],
    ] as const) {
      const data = noisy(shape, 3, noise, 21);
      using x = engine.tensor(shape, data);
      using solver = await CpSolver.create(x, { rank: 3, nonnegative: true });
      await solver.start(start);
      const { tensor, relativeError } = await solver.solve({ sweeps, tolerance: 0 });
      tensor.destroy();
      const expected = twin(data, shape, start, 3, sweeps);
      expect(Math.abs(relativeError - expected)).toBeLessThan(Math.max(2e-4 * expected, 2e-6));
    }
  });

  it("constrains the modes that are named, alone", async () => {
    const engine = await testEngine();
    const shape = [8, 7, 6];
    const factors = factorsOf(shape, 2, 5);
    factors[1] = randomArray(14, 9);
    const data = Float32Array.from(kruskal(factors, shape, 2));
    using x = engine.tensor(shape, data);
    for (const nonnegative of [[0, 2], [2]]) {
      const { tensor, relativeError, negativePart } = await cpALS(engine, x, {
        rank: 2,
        nonnegative,
        sweeps: 300,
        starts: 3,
      });
      expect(relativeError).toBeLessThan(1e-3);
      expect(negativePart).toBeUndefined();
      const read = await engine.read([...tensor.factors, tensor.weights]);
      for (const mode of [...nonnegative, 3]) expect(Math.min(...read[mode]!)).toBeGreaterThanOrEqual(0);
      expect(Math.min(...read[1]!)).toBeLessThan(0);
      tensor.destroy();
    }
  });

  it("answers data of no positive entry by zero weights, and of one by its part", async () => {
    const engine = await testEngine();
    const shape = [5, 4, 3];
    const data = randomArray(60, 2).map((value) => -Math.abs(value));
    using x = engine.tensor(shape, data);
    const none = await cpALS(engine, x, { rank: 2, nonnegative: true, sweeps: 5 });
    expect([...(await engine.read(none.tensor.weights))]).toEqual([0, 0]);
    expect(none.relativeError).toBeCloseTo(1, 6);
    expect(none.negativePart).toBeCloseTo(1, 6);
    none.tensor.destroy();
    data[17] = 9;
    using y = engine.tensor(shape, data);
    const one = await cpALS(engine, y, { rank: 2, nonnegative: true, sweeps: 20 });
    expect(one.relativeError).toBeCloseTo(norm(data.map((value) => Math.min(0, value))) / norm(data), 5);
    one.tensor.destroy();
  });

  it.each([1e-10, 1, 1e10])("does not depend on the scale %f", async (scale) => {
    const engine = await testEngine();
    const data = noisy([6, 5, 4], 2, 0.2, 31);
    const solve = async (values: Float32Array) => {
      using x = engine.tensor([6, 5, 4], values);
      const { tensor, relativeError } = await cpALS(engine, x, {
        rank: 2,
        nonnegative: true,
        sweeps: 20,
        tolerance: 0,
      });
      tensor.destroy();
      return relativeError;
    };
    expect(await solve(data.map((value) => value * scale))).toBeCloseTo(await solve(data), 5);
  });

  it.each([0.08, 0.15, 0.28])("tells errors to 1.5e-6 where they come from norms, noise %f", async (noise) => {
    const engine = await testEngine();
    const shape = [41, 30, 23];
    using x = engine.tensor(shape, noisy(shape, 3, noise, 21));
    for (const sweeps of [5, 9]) {
      const { tensor, errors, relativeError } = await cpALS(engine, x, { rank: 3, nonnegative: true, sweeps, seed: 2 });
      tensor.destroy();
      expect(errors).toHaveLength(sweeps);
      expect(Math.abs(errors.at(-1)! - relativeError)).toBeLessThan(1.5e-6);
    }
  });

  it("takes more terms than a row of registers holds", async () => {
    const engine = await testEngine();
    const [shape, rank] = [[6, 5, 40], 33];
    const data = noisy(shape, 4, 0.3, 31);
    using x = engine.tensor(shape, data);
    for (const nonnegative of [true, [0, 2]]) {
      const options = { rank, nonnegative, sweeps: 6, tolerance: 0, ridge: 1e-4 };
      const { tensor, relativeError, errors } = await cpALS(engine, x, options);
      using _ = tensor;
      const factors = await factorsIn(engine, tensor);
      expect(Math.min(...factors[0]!, ...factors[2]!)).toBeGreaterThanOrEqual(0);
      const model = kruskal(factors, shape, rank);
      expect(relativeError).toBeCloseTo(norm(model.map((value, at) => value - data[at]!)) / norm(data), 5);
      expect(errors.at(-1)).toBeLessThan(errors[0]!);
    }
  });

  it("reads slabs", async () => {
    const engine = await testEngine();
    const data = noisy([6, 8, 8], 2, 0.2, 41);
    using x = engine.tensor([6, 8, 8], data);
    const options = { rank: 2, nonnegative: true, sweeps: 20, tolerance: 0 };
    const one = await cpALS(engine, x, options);
    using source = await slabs(engine, [x.rows(0, 2), x.rows(2, 6)]);
    const two = await cpALS(engine, source, options);
    expect(two.relativeError).toBeCloseTo(one.relativeError, 5);
    for (const { tensor } of [one, two]) tensor.destroy();
  });

  it("begins at singular vectors, their columns turned to the larger side", async () => {
    const engine = await testEngine();
    const data = noisy([9, 8, 7], 3, 0.05, 51);
    using x = engine.tensor([9, 8, 7], data);
    const { tensor, relativeError } = await cpALS(engine, x, { rank: 3, nonnegative: true, initialize: "hosvd" });
    expect(relativeError).toBeLessThan(0.06);
    tensor.destroy();
  });

  it("refuses modes that are not there, and what is no list of modes", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3, 3, 3], new Float32Array(27).fill(1));
    await expect(cpALS(engine, x, { rank: 1, nonnegative: [3] })).rejects.toThrow(
      "cpALS: nonnegative has mode 3, tensor 3×3×3 has modes 0 to 2; true stands for all of them",
    );
    await expect(cpALS(engine, x, { rank: 1, nonnegative: "yes" as never })).rejects.toThrow(
      "needs true, or a list of modes",
    );
  });
});

describe("cp without negative entries", () => {
  it("runs starts, keeps the best and tells how many agree", async () => {
    const engine = await testEngine();
    const data = noisy([9, 8, 7], 3, 0.05, 61);
    using x = engine.tensor([9, 8, 7], data);
    const allocated = engine.memory().live;
    const { tensor, relativeError, starts, seed } = await cp(engine, x, { rank: 3, nonnegative: true, seed: 5 });
    expect(starts.errors).toHaveLength(4);
    expect(relativeError).toBeCloseTo(Math.min(...starts.errors), 6);
    expect(starts.agreeing).toBeGreaterThanOrEqual(1);
    expect([5, 6, 7, 8]).toContain(seed);
    const factors = await factorsIn(engine, tensor);
    for (const factor of factors) expect(Math.min(...factor)).toBeGreaterThanOrEqual(0);
    expect(violation(data, [9, 8, 7], factors, 3)).toBeLessThan(2e-3);
    tensor.destroy();
    expect(engine.memory().live).toBe(allocated);
  });

  it("goes on from factors, and refuses fixed ones of the same mode", async () => {
    const engine = await testEngine();
    const shape = [6, 5, 4];
    const start = factorsOf(shape, 2, 71);
    using x = engine.tensor(shape, Float32Array.from(kruskal(start, shape, 2)));
    const { tensor, relativeError, starts } = await cp(engine, x, { rank: 2, nonnegative: true, initialize: start });
    expect(relativeError).toBeLessThan(1e-6);
    expect(starts).toEqual({ errors: [relativeError], agreeing: 1 });
    tensor.destroy();
    await expect(cp(engine, x, { rank: 2, nonnegative: [0], fixed: { 0: start[0]! } })).rejects.toThrow(
      "cp: mode 0 is in nonnegative and in constraints; leave one of them out",
    );
  });
});
