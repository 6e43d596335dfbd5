import { describe, expect, it } from "vitest";
import { arrange, factorMatchScore, fixSigns, norm, normalise, permuteTo } from "../../src/index.js";
import { KruskalTensor, TuckerTensor } from "../../src/tensors/index.js";
import { distance } from "../decompositions/planted.js";
import { evaluate, testEngine } from "../engine.js";
import fc from "../property.js";
import { randomBlocks, randomKruskal, randomTucker } from "./models.js";

const engine = await testEngine();

const columnsOf = (data: ArrayLike<number>, rank: number): number[][] =>
  Array.from({ length: rank }, (_, r) => Array.from(data).filter((_, at) => at % rank === r));
const lengths = (data: ArrayLike<number>, rank: number): number[] =>
  columnsOf(data, rank).map((column) => Math.hypot(...column));

/** The same terms in another order, with columns turned in pairs. */
async function shuffled(
  x: KruskalTensor,
  order: number[],
  flips: [mode: number, mode: number][],
): Promise<KruskalTensor> {
  const weights = await x.weights.read();
  const factors: Float32Array[] = [];
  for (const [mode, factor] of x.factors.entries()) {
    const data = await factor.read();
    factors.push(
      data.map((_, at) => {
        const r = at % x.rank;
        const sign = flips[r]!.filter((flipped) => flipped === mode).length % 2 ? -1 : 1;
        return sign * data[at - r + order[r]!]!;
      }),
    );
  }
  return new KruskalTensor(
    engine.tensor(
      [x.rank],
      order.map((r) => weights[r]!),
    ),
    factors.map((data, mode) => engine.tensor(x.factors[mode]!.shape, data)),
  );
}

/** The score by trying all assignments, in f64. */
async function score64(x: KruskalTensor, y: KruskalTensor, considersWeights: boolean): Promise<number> {
  const read = async (t: KruskalTensor) => {
    const factors: number[][][] = [];
    for (const factor of t.factors) factors.push(columnsOf(await factor.read(), t.rank));
    const weights = await t.weights.read();
    const size = (r: number) => factors.reduce((s, f) => s * Math.hypot(...f[r]!), Math.abs(weights[r]!));
    return { factors, size };
  };
  const [a, b] = [await read(x), await read(y)];
  const gain = (i: number, j: number) => {
    const cosines = a.factors.map((columns, mode) => {
      const [u, v] = [columns[i]!, b.factors[mode]![j]!];
      return Math.abs(u.reduce((s, value, at) => s + value * v[at]!, 0)) / Math.hypot(...u) / Math.hypot(...v);
    });
    const [p, q] = [a.size(i), b.size(j)];
    return cosines.reduce((s, c) => s * c, considersWeights ? 1 - Math.abs(p - q) / Math.max(p, q) : 1);
  };
  let best = 0;
  const go = (i: number, used: number[], sum: number): void => {
    if (i === x.rank) best = Math.max(best, sum);
    else for (let j = 0; j < y.rank; j++) if (!used.includes(j)) go(i + 1, [...used, j], sum + gain(i, j));
  };
  go(0, [], 0);
  return best / x.rank;
}

describe.each([
  [5, 4, 3],
  [1, 6, 2],
  [7, 3],
  [2, 3, 2, 4],
])("components of a Kruskal tensor of shape %j and more", (...shape) => {
  const rank = 3;
  const fullOf = (x: KruskalTensor) => evaluate(engine, (s) => x.full(s));

  it("are normalised, arranged and signed without changing the tensor", async () => {
    const { tensor, full } = randomKruskal(engine, shape, rank, 3);
    for (const into of ["weights", "all", 0, shape.length - 1] as const) {
      using turned = await normalise(tensor, { into });
      expect(distance(full, await fullOf(turned))).toBeLessThan(1e-6);
      const weights = await turned.weights.read();
      expect(Math.min(...weights)).toBeGreaterThan(0);
      for (const [mode, factor] of turned.factors.entries()) {
        if (into === "all" || into === mode) continue;
        for (const length of lengths(await factor.read(), rank)) expect(length).toBeCloseTo(1, 5);
      }
      if (into !== "weights") expect([...weights]).toEqual([1, 1, 1]);
    }
    using unit = await normalise(tensor);
    using sorted = await arrange(unit);
    const weights = [...(await sorted.weights.read())];
    expect(weights).toEqual([...weights].sort((a, b) => b - a));
    expect(distance(full, await fullOf(sorted))).toBeLessThan(1e-6);
    using turned = await arrange(tensor, [2, 0, 1]);
    const before = await tensor.weights.read();
    expect([...(await turned.weights.read())]).toEqual([before[2], before[0], before[1]]);
    expect(distance(full, await fullOf(turned))).toBeLessThan(1e-6);
    using signed = await fixSigns(tensor);
    expect(distance(full, await fullOf(signed))).toBeLessThan(1e-6);
    for (const factor of signed.factors.slice(0, -1))
      for (const column of columnsOf(await factor.read(), rank))
        expect(Math.max(...column)).toBe(Math.max(...column.map(Math.abs)));
    tensor.destroy();
  });

  it("find back to a reference", async () => {
    const { tensor, full } = randomKruskal(engine, shape, rank, 8);
    const last = shape.length - 1;
    const other = await shuffled(
      tensor,
      [2, 0, 1],
      [
        [0, last],
        [0, 0],
        [last, 0],
      ],
    );
    using ordered = await permuteTo(other, tensor);
    using signed = await fixSigns(ordered, tensor);
    for (const [mode, factor] of tensor.factors.entries())
      expect([...(await signed.factors[mode]!.read())]).toEqual([...(await factor.read())]);
    expect([...(await signed.weights.read())]).toEqual([...(await tensor.weights.read())]);
    const { score, permutation, scores } = await factorMatchScore(other, tensor);
    expect(score).toBeCloseTo(1, 6);
    expect([...permutation]).toEqual([1, 2, 0]);
    expect([...scores].every((value) => value > 0.999999)).toBe(true);
    expect(distance(full, await fullOf(signed))).toBeLessThan(1e-6);
    other.destroy();
    tensor.destroy();
  });
});

describe("factorMatchScore", () => {
  it("is the best over all assignments, for any ranks", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 2 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 1000 }),
        async (rank, more, considerWeights, seed) => {
          using x = randomKruskal(engine, [3, 2, 4], rank, seed).tensor;
          using y = randomKruskal(engine, [3, 2, 4], rank + more, seed + 5000).tensor;
          const expected = await score64(x, y, considerWeights);
          const there = await factorMatchScore(x, y, { considerWeights });
          const back = await factorMatchScore(y, x, { considerWeights });
          expect(Math.abs(there.score - expected)).toBeLessThan(1e-5);
          expect(Math.abs(back.score - expected)).toBeLessThan(1e-5);
          expect([...there.permutation].filter((place) => place < 0)).toHaveLength(more);
          expect([...there.scores].filter(Number.isNaN)).toHaveLength(more);
        },
      ),
      { numRuns: 8 },
    );
  });

  it("takes weights into account", async () => {
    const angle = (cosine: number) => [cosine, Math.sqrt(1 - cosine ** 2)];
    const columns = (a: number[], b: number[]) => engine.tensor([2, 2], [a[0]!, b[0]!, a[1]!, b[1]!]);
    const make = (weights: number[], a: number[], b: number[]) =>
      new KruskalTensor(engine.tensor([2], weights), [columns(a, b)]);
    using x = make([1, 1], [1, 0], angle(0.9));
    using y = make([1, 1], angle(0.9), [1, 0]);
    expect((await factorMatchScore(x, y)).score).toBeCloseTo(1, 6);
    using z = make([0.5, 1], [1, 0], angle(0.9));
    expect((await factorMatchScore(x, z)).score).toBeCloseTo(0.75, 5);
    expect((await factorMatchScore(x, z, { considerWeights: false })).score).toBeCloseTo(1, 6);
  });

  it("holds for columns and weights of 0", async () => {
    using zero = new KruskalTensor(engine.tensor([2], [0, 1]), [
      engine.tensor([2, 2], [0, 1, 0, 0]),
      engine.tensor([3, 2], [0, 1, 0, 1, 0, 1]),
    ]);
    const { score } = await factorMatchScore(zero, zero);
    expect(score).toBeCloseTo(0.5, 6);
    using unit = await normalise(zero);
    expect([...(await unit.weights.read())].map((value) => Math.round(1e5 * value))).toEqual([0, 173205]);
  });

  it("says what does not fit", async () => {
    using x = randomKruskal(engine, [3, 4], 2, 1).tensor;
    using y = randomKruskal(engine, [3, 5], 2, 1).tensor;
    await expect(factorMatchScore(x, y)).rejects.toThrow(/shape 3×4 and a reference of 3×5/);
    await expect(arrange(x, [0, 0])).rejects.toThrow(/needs each of 0 to 1 once/);
    await expect(normalise(x, { into: 2 })).rejects.toThrow(/into is 2, needs "weights", "all" or a mode/);
    await expect(fixSigns({} as never)).rejects.toThrow(/needs a KruskalTensor or a TuckerTensor/);
    await expect(permuteTo(x, y)).rejects.toThrow(/they need the same/);
  });
});

describe("components of Tucker tensors and blocks", () => {
  it("are normalised, arranged and signed without changing the tensor", async () => {
    const { tensor, full } = randomTucker(engine, [6, 3, 5], [2, 3, 3], 4);
    for (const turned of [
      await normalise(tensor),
      await arrange(tensor),
      await fixSigns(tensor),
      await arrange(tensor, [[1, 0], null, [2, 0, 1]]),
    ]) {
      expect(turned).toBeInstanceOf(TuckerTensor);
      expect(turned.factors[1]).toBeNull();
      expect(distance(full, await evaluate(engine, (s) => turned.full(s)))).toBeLessThan(2e-6);
      turned.destroy();
    }
    using unit = await normalise(tensor);
    for (const length of lengths(await unit.factors[0]!.read(), 2)) expect(length).toBeCloseTo(1, 5);
    using sorted = await arrange(tensor);
    const core = await sorted.core.read();
    const slices = [0, 1, 2].map((r) => Math.hypot(...[...core].filter((_, at) => at % 3 === r)));
    expect(slices).toEqual([...slices].sort((a, b) => b - a));
    using signed = await fixSigns(tensor);
    for (const column of columnsOf(await signed.factors[2]!.read(), 3))
      expect(Math.max(...column)).toBe(Math.max(...column.map(Math.abs)));
    tensor.destroy();
  });

  it("puts the largest block first", async () => {
    const { tensor, full } = randomBlocks(engine, [4, 5, 3], [2, 2, 2], 3, 6);
    using sorted = await arrange(tensor);
    const norms: number[] = [];
    for (const block of sorted.blocks) norms.push(await norm(block));
    expect(norms).toEqual([...norms].sort((a, b) => b - a));
    expect(distance(full, await evaluate(engine, (s) => sorted.full(s)))).toBeLessThan(1e-6);
    using turned = await arrange(tensor, [2, 1, 0]);
    expect([...(await turned.blocks[0]!.core.read())]).toEqual([...(await tensor.blocks[2]!.core.read())]);
    tensor.destroy();
  });

  it("leaves no memory", async () => {
    using x = randomKruskal(engine, [3, 4], 2, 1).tensor;
    const live = engine.memory().live;
    for (const made of [await normalise(x), await arrange(x), await fixSigns(x), await permuteTo(x, x)]) made.destroy();
    await factorMatchScore(x, x);
    await norm(x);
    expect(engine.memory().live).toBe(live);
  });
});
