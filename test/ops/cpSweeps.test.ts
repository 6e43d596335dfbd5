/** Sweeps of CP-ALS by one workgroup, against f64. */
import { describe, expect, it } from "vitest";
import { cpSweeps } from "../../src/ops/index.js";
import { distance } from "../decompositions/planted.js";
import { testEngine } from "../engine.js";
import { columnsOfNormOne, sweepsInF64 } from "../reference/cpSweeps.js";
import { randomArray } from "../reference.js";

const at = (start: number): number => 64 * Math.ceil(start / 64);

/** The factors and weights after sweeps of the kernel. */
async function swept(x: Float32Array, shape: readonly number[], factors: readonly Float32Array[], sweeps: number) {
  const engine = await testEngine();
  const rank = factors[0]!.length / shape[0]!;
  const ends = factors.map(({ length }) => at(length));
  // A, then C, then B: as PARAFAC2 has them
  const starts = [0, ends[0]! + ends[2]!, ends[0]!] as const;
  const size = ends.reduce((sum, end) => sum + end, 0);
  const begin = new Float32Array(size);
  for (const [mode, factor] of factors.entries()) begin.set(factor, starts[mode]);
  using tensor = engine.tensor(shape, x);
  using from = engine.tensor([size], begin);
  using out = engine.tensor([size]);
  using weights = engine.tensor([rank]);
  await engine.run((s) =>
    cpSweeps(s, { x: tensor, begin: from, starts, factors: out, weights, sweeps, proximal: 1e-6 }),
  );
  const [values, lambda] = await engine.read([out, weights]);
  return {
    factors: shape.map((extent, mode) => values!.slice(starts[mode], starts[mode]! + extent * rank)),
    weights: lambda!,
  };
}

/** X̂ in f64. */
function fullOf(shape: readonly number[], factors: readonly ArrayLike<number>[], weights: ArrayLike<number>) {
  const [n0, n1, n2] = shape as [number, number, number];
  const rank = weights.length;
  return Float64Array.from({ length: n0 * n1 * n2 }, (_, flat) => {
    const [i, k, j] = [Math.floor(flat / (n1 * n2)), Math.floor(flat / n2) % n1, flat % n2];
    let sum = 0;
    for (let r = 0; r < rank; r++)
      sum += weights[r]! * factors[0]![i * rank + r]! * factors[1]![k * rank + r]! * factors[2]![j * rank + r]!;
    return sum;
  });
}

describe.each([
  [[7, 3, 5], 3],
  [[50, 10, 40], 10],
  [[3, 2, 1], 2],
  [[1, 1, 9], 1],
  [[13, 5, 6], 4],
  [[11, 17, 19], 17],
] as const)("of %o, rank %i", (shape, rank) => {
  const size = shape.reduce((a: number, b) => a * b, 1);
  const random = shape.map((extent, mode) => randomArray(extent * rank, 5 + mode).map((v) => 3 * v + 1));

  it.each([1, 3])("%i sweeps are those of f64", async (sweeps) => {
    const x = randomArray(size, 3).map((value) => value + 0.5);
    const expected = sweepsInF64(x, shape, random, sweeps, 1e-6);
    const result = await swept(x, shape, random, sweeps);
    for (const factor of result.factors) {
      const norms = columnsOfNormOne(factor, rank).norms;
      for (const norm of norms) expect(Math.abs(norm - 1)).toBeLessThan(1e-5);
    }
    const full = fullOf(shape, expected.factors, expected.weights);
    expect(distance(full, fullOf(shape, result.factors, result.weights))).toBeLessThan(sweeps * 1e-4);
  });

  it("has no term for zeros, and stays finite where two terms are the same", async () => {
    const x = randomArray(size, 3);
    const begin = random.map((factor) =>
      factor.map((value, e) => (e % rank === rank - 1 && rank > 1 ? factor[e - 1]! : value)),
    );
    const alike = await swept(x, shape, begin, 2);
    for (const value of [...alike.weights, ...alike.factors.flatMap((factor) => [...factor])])
      expect(Number.isFinite(value)).toBe(true);
    const zero = await swept(new Float32Array(size), shape, random, 1);
    // the proximal term holds on to a millionth of what was
    expect(Math.max(...zero.weights)).toBeLessThan(1e-4);
  });
});
