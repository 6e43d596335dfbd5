import { describe, expect, it } from "vitest";
import { ttSVD } from "../../src/decompositions/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance } from "./planted.js";

/** A tensor of given TT ranks, in f64. */
function planted(shape: number[], ranks: number[], seed: number): Float32Array {
  let product = Float64Array.of(1) as Float64Array;
  let rows = 1;
  shape.forEach((extent, k) => {
    const [left, right] = [ranks[k]!, ranks[k + 1]!];
    const core = randomArray(left * extent * right, seed + k);
    const next = new Float64Array(rows * extent * right);
    for (let i = 0; i < rows; i++)
      for (let l = 0; l < left; l++)
        for (let j = 0; j < extent * right; j++)
          next[i * extent * right + j]! += product[i * left + l]! * core[l * extent * right + j]!;
    product = next;
    rows *= extent;
  });
  return Float32Array.from(product);
}

describe("ttSVD", () => {
  it.each([
    { shape: [4, 5, 6, 3], ranks: [1, 3, 4, 2, 1] },
    { shape: [7, 1, 5], ranks: [1, 2, 2, 1] },
    { shape: [2, 2, 2, 2, 2, 2], ranks: [1, 2, 3, 3, 3, 2, 1] },
  ])("recovers a train of shape $shape and ranks $ranks, by ranks and by error", async ({ shape, ranks }) => {
    const engine = await testEngine();
    const data = planted(shape, ranks, 3);
    using x = engine.tensor(shape, data);
    const byRanks = await ttSVD(engine, x, { ranks: ranks.slice(1, -1) });
    expect(byRanks.tensor.ranks).toEqual(ranks);
    expect(byRanks.relativeError).toBeLessThan(1e-5);
    expect(distance(data, await evaluate(engine, (s) => byRanks.tensor.full(s)))).toBeLessThan(1e-5);
    const byError = await ttSVD(engine, x, { relativeError: 1e-4 });
    expect(byError.relativeError).toBeLessThan(1e-4);
    for (const [k, rank] of byError.tensor.ranks.entries()) expect(rank).toBeLessThanOrEqual(ranks[k]!);
    byRanks.tensor.destroy();
    byError.tensor.destroy();
  });

  it.each([0.5, 0.3, 0.1, 0.01])("keeps the promised error %f on data of full rank", async (relativeError) => {
    const engine = await testEngine();
    const shape = [6, 7, 5, 4];
    using x = engine.tensor(shape, randomArray(840, 9));
    const result = await ttSVD(engine, x, { relativeError });
    expect(result.relativeError).toBeLessThanOrEqual(relativeError);
    expect(result.relativeError).toBeGreaterThan(relativeError > 0.2 ? 0.3 * relativeError : 0);
    result.tensor.destroy();
  });

  it("counts numbers, and lowers ranks that an unfolding does not have", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3, 4, 5], randomArray(60));
    const told: number[] = [];
    const onProgress = (done: number): void => void told.push(done);
    const { tensor, relativeError } = await ttSVD(engine, x, { ranks: 100, onProgress });
    expect(told).toEqual([0.5, 1]);
    expect(tensor.ranks).toEqual([1, 3, 5, 1]);
    expect(tensor.parameterCount).toBe(9 + 60 + 25);
    expect(relativeError).toBeLessThan(1e-6);
    tensor.destroy();
    await expect(ttSVD(engine, x, {})).rejects.toThrow(/either ranks or relativeError/);
    await expect(ttSVD(engine, x, { ranks: [2] })).rejects.toThrow(/needs 2 positive/);
  });
});
