import { describe, expect, it } from "vitest";
import { blockTermALS, cpALS, tuckerHOOI } from "../../src/decompositions/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance, plantedTucker } from "./planted.js";

/** A sum of Tucker tensors. */
function planted(shape: number[], ranks: number[], blocks: number, noise: number): Float32Array {
  const parts = Array.from({ length: blocks }, (_, g) => plantedTucker(shape, ranks, 0, 31 * g + 2).data);
  const clean = Float32Array.from(parts[0]!, (_, e) => parts.reduce((sum, part) => sum + part[e]!, 0));
  const errors = randomArray(clean.length, 5);
  const size = (values: Float32Array) => Math.hypot(...values);
  const scale = (noise * size(clean)) / size(errors);
  return clean.map((value, e) => value + scale * errors[e]!);
}

const rises = (errors: readonly number[]): number =>
  errors.slice(1).reduce((most, error, k) => Math.max(most, error - errors[k]!), 0);

describe("blockTermALS", () => {
  it.each([
    { shape: [12, 11, 10], ranks: [2, 2, 2], blocks: 2 },
    { shape: [16, 12, 3, 3], ranks: [2, 3, 3, 3], blocks: 3 },
  ])("finds $blocks planted blocks of ranks $ranks; the error never rises", async ({ shape, ranks, blocks }) => {
    const engine = await testEngine();
    const data = planted(shape, ranks, blocks, 0.02);
    using x = engine.tensor(shape, data);
    const result = await blockTermALS(engine, x, { blocks, ranks, starts: 4, sweeps: 60, tolerance: 1e-5 });
    expect(result.relativeError).toBeLessThan(0.0205);
    expect(result.relativeError).toBeGreaterThan(0.01);
    expect(rises(result.errors)).toBeLessThan(2e-6);
    expect(distance(data, await evaluate(engine, (s) => result.tensor.full(s)))).toBeCloseTo(result.relativeError, 5);
    expect(result.tensor.parameterCount).toBe(
      blocks *
        (ranks.reduce((a, b) => a * b, 1) +
          ranks.reduce((sum, rank, mode) => sum + (rank < shape[mode]! ? rank * shape[mode]! : 0), 0)),
    );
    result.tensor.destroy();
  });

  it("finds blocks without noise to five digits", async () => {
    const engine = await testEngine();
    const [shape, ranks] = [
      [10, 9, 3, 3],
      [2, 2, 3, 3],
    ] as [number[], number[]];
    using x = engine.tensor(shape, planted(shape, ranks, 2, 0));
    const { tensor, relativeError } = await blockTermALS(engine, x, { blocks: 2, ranks, starts: 2, tolerance: 1e-7 });
    expect(relativeError).toBeLessThan(1e-5);
    tensor.destroy();
  });

  it("never rises on data of full rank, and beats its own start", async () => {
    const engine = await testEngine();
    using x = engine.tensor([10, 9, 9], randomArray(810, 4));
    const few = await blockTermALS(engine, x, { blocks: 4, ranks: [2, 2, 9], sweeps: 1 });
    const many = await blockTermALS(engine, x, { blocks: 4, ranks: [2, 2, 9], sweeps: 24, tolerance: 0 });
    expect(many.errors).toHaveLength(24);
    expect(rises(many.errors)).toBeLessThan(2e-6);
    expect(many.relativeError).toBeLessThan(few.relativeError - 0.01);
    few.tensor.destroy();
    many.tensor.destroy();
  });

  it("moves less with a larger ridge, and never up", async () => {
    const engine = await testEngine();
    using x = engine.tensor([10, 9, 8], randomArray(720, 4));
    const options = { blocks: 3, ranks: [2, 2, 2], sweeps: 6, tolerance: 0 };
    const errors: number[] = [];
    for (const ridge of [1e-6, 10, 1e3]) {
      const result = await blockTermALS(engine, x, { ...options, ridge });
      expect(rises(result.errors)).toBeLessThan(2e-6);
      errors.push(result.relativeError);
      result.tensor.destroy();
    }
    expect(errors[1]!).toBeGreaterThan(errors[0]! + 1e-3);
    expect(errors[2]!).toBeGreaterThan(errors[1]! + 1e-3);
  });

  it("is Tucker with one block, and CP with blocks of rank one", async () => {
    const engine = await testEngine();
    using x = engine.tensor([11, 10, 9], plantedTucker([11, 10, 9], [4, 4, 4], 0.3, 6).data);
    const tucker = await tuckerHOOI(engine, x, { ranks: [3, 3, 2], tolerance: 1e-7 });
    const one = await blockTermALS(engine, x, { blocks: 1, ranks: [3, 3, 2], tolerance: 1e-6 });
    expect(one.relativeError).toBeCloseTo(tucker.relativeError, 4);
    const cp = await cpALS(engine, x, { rank: 2, starts: 2, tolerance: 1e-6, sweeps: 100 });
    const ranksOne = await blockTermALS(engine, x, { blocks: 2, ranks: [1, 1, 1], tolerance: 1e-5, sweeps: 100 });
    expect(ranksOne.relativeError).toBeLessThan(cp.relativeError + 0.02);
    expect(ranksOne.relativeError).toBeGreaterThan(cp.relativeError - 1e-3);
    for (const { tensor } of [tucker, one, cp, ranksOne]) tensor.destroy();
  });

  it("says what does not fit, and leaves no memory", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 4, 4], randomArray(64));
    await expect(blockTermALS(engine, x, { blocks: 0, ranks: [1, 1, 1] })).rejects.toThrow(/0 blocks/);
    await expect(blockTermALS(engine, x, { blocks: 2, ranks: [1, 1] })).rejects.toThrow(/needs one for each/);
    const before = engine.memory().live;
    (await blockTermALS(engine, x, { blocks: 2, ranks: [2, 2, 4], sweeps: 3 })).tensor.destroy();
    expect(engine.memory().live).toBe(before);
  });
});
