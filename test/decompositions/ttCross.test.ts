import { describe, expect, it } from "vitest";
import { type EntrySource, type TtCrossOptions, ttCross } from "../../src/decompositions/index.js";
import { ttEntries } from "../../src/index.js";
import { slabs } from "../../src/sources/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { randomTrain } from "../tensors/models.js";
import { distance, unravel } from "./planted.js";

const engine = await testEngine();

/** A function of one index, for many. */
const entries = (shape: number[], f: (at: ArrayLike<number>) => number): EntrySource => ({
  shape,
  entries: (indices, count) =>
    Float64Array.from({ length: count }, (_, at) => f(indices.subarray(at * shape.length, (at + 1) * shape.length))),
});
const sumOf = (at: ArrayLike<number>): number => Array.from(at).reduce((sum, index) => sum + index, 0);
const indicesOf = (shape: number[]): number[][] =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, flat) => unravel(flat, shape));
/** Random places that are not those of the solver. */
function places(shape: number[], count: number): number[][] {
  const random = randomArray(count * shape.length, 4321);
  return Array.from({ length: count }, (_, at) =>
    shape.map((extent, k) => Math.min(extent - 1, Math.floor(((random[at * shape.length + k]! + 1) / 2) * extent))),
  );
}

describe("ttCross", () => {
  it.each([
    { name: "1/(1 + Σi)", f: (at: ArrayLike<number>) => 1 / (1 + sumOf(at)), most: 150_000 },
    { name: "sin(Σi)", f: (at: ArrayLike<number>) => Math.sin(sumOf(at)), most: 10_000 },
  ])("finds $name of 10^12 entries from few", async ({ f, most }) => {
    const shape = new Array<number>(12).fill(10);
    const told: number[] = [];
    const result = await ttCross(engine, entries(shape, f), {
      onIteration: ({ evaluations }) => void told.push(evaluations),
    });
    const { tensor, relativeError, evaluations, sweeps, converged } = result;
    expect(converged).toBe(true);
    expect(evaluations).toBeLessThan(most);
    expect(told).toHaveLength(sweeps);
    expect(told.at(-1)).toBe(evaluations);
    const held = places(shape, 500);
    const error = distance(held.map(f), await ttEntries(tensor, held));
    expect(error).toBeLessThan(2e-6);
    expect(relativeError).toBeLessThan(1e-6);
    expect(Math.max(...tensor.ranks)).toBeLessThan(12);
    tensor.destroy();
  });

  it.each([
    { name: "large numbers", shape: [7, 6, 5, 4], f: (at: ArrayLike<number>) => 1e10 / (1 + sumOf(at)) },
    { name: "small numbers", shape: [7, 6, 5, 4], f: (at: ArrayLike<number>) => 1e-10 / (1 + sumOf(at)) },
    { name: "zeros", shape: [4, 3, 5], f: () => 0 },
    { name: "a constant", shape: [3, 3, 3, 3], f: () => -7 },
    { name: "extents of 1", shape: [1, 1, 5, 1, 4], f: (at: ArrayLike<number>) => at[2]! * at[4]! + 1 },
    { name: "one mode", shape: [9], f: sumOf },
    { name: "two modes", shape: [30, 41], f: (at: ArrayLike<number>) => 1 / (1 + sumOf(at)) },
    {
      name: "full rank",
      shape: [4, 5, 4, 5],
      f: (at: ArrayLike<number>) => Math.sin(1e4 * (1 + at[0]! + 5 * at[1]!) * (2 + at[2]! * 3 + at[3]! * at[1]!)),
    },
    {
      name: "a mean of 1000",
      shape: [6, 5, 4],
      f: (at: ArrayLike<number>) => 1000 + Math.sin(99 * at[0]! + 7 * at[1]! * at[2]!),
    },
  ])("is right about $name", async ({ shape, f }) => {
    const source = entries(shape, f);
    const { tensor, relativeError, converged } = await ttCross(engine, source, { sweeps: 12 });
    const expected = indicesOf(shape).map(f);
    const full = await evaluate(engine, (s) => tensor.full(s));
    const size = Math.hypot(...expected);
    const error = Math.hypot(...expected.map((value, e) => value - full[e]!)) / (size || 1);
    expect(error).toBeLessThan(2e-6);
    expect(relativeError).toBeLessThan(1e-6);
    expect(converged).toBe(true);
    tensor.destroy();
  });

  it("reads only some entries of a tensor on the GPU", async () => {
    const shape = [12, 11, 10, 9];
    const planted = randomTrain(engine, shape, [1, 3, 4, 2, 1], 3);
    using x = engine.tensor(shape, planted.full);
    const { tensor, evaluations, relativeError } = await ttCross(engine, x, { relativeError: 1e-5, samples: 200 });
    expect(distance(planted.full, await evaluate(engine, (s) => tensor.full(s)))).toBeLessThan(1e-5);
    expect(relativeError).toBeLessThan(1e-5);
    expect(evaluations).toBeLessThan(0.4 * planted.full.length);
    tensor.destroy();
    planted.tensor.destroy();
    using bytes = engine.tensor(
      [3, 4],
      Uint8Array.from({ length: 12 }, (_, e) => e),
    );
    const small = await ttCross(engine, bytes);
    expect(
      distance(
        Float32Array.from({ length: 12 }, (_, e) => e),
        await evaluate(engine, (s) => small.tensor.full(s)),
      ),
    ).toBeLessThan(1e-6);
    small.tensor.destroy();
  });

  it("takes entries of a tensor in slabs", async () => {
    const shape = [9, 8, 7];
    const values = Float32Array.from(indicesOf(shape), (at) => 1e20 / (1 + sumOf(at)));
    const { live } = engine.memory();
    {
      using x = await slabs(
        engine,
        [0, 4, 5].map((start, part) => {
          const stop = [4, 5, 9][part]!;
          return { shape: [stop - start, 8, 7], read: () => values.subarray(start * 56, stop * 56) };
        }),
      );
      const { tensor, relativeError } = await ttCross(engine, x, { samples: 50 });
      using _tensor = tensor;
      expect(relativeError).toBeLessThan(1e-6);
      const full = await evaluate(engine, (s) => tensor.full(s));
      expect(distance([...values], full)).toBeLessThan(2e-6);
    }
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });

  it("says so when it has not found the tensor", async () => {
    const shape = new Array<number>(8).fill(10);
    const hard = entries(shape, (at) => Math.cos(Array.from(at).reduce((x, y) => x * y + 1, 1) ** 0.5));
    const spent = await ttCross(engine, hard, { maxEvaluations: 20_000 });
    expect(spent.converged).toBe(false);
    expect(spent.relativeError).toBeGreaterThan(0.1);
    expect(spent.evaluations).toBeLessThan(20_000);
    const bounded = await ttCross(engine, hard, { maxRank: 3, sweeps: 3 });
    expect(Math.max(...bounded.tensor.ranks)).toBeLessThanOrEqual(3);
    expect(bounded.converged).toBe(false);
    spent.tensor.destroy();
    bounded.tensor.destroy();
  });

  it("gives the same train for the same seed, and ends at an abort with what it has", async () => {
    const source = entries([6, 6, 6, 6], (at) => 1 / (1 + sumOf(at)));
    const run = async (options: TtCrossOptions) => {
      const { tensor, ...others } = await ttCross(engine, source, options);
      const full = await evaluate(engine, (s) => tensor.full(s));
      tensor.destroy();
      return { ...others, full };
    };
    expect(await run({ seed: 5 })).toEqual(await run({ seed: 5 }));
    const control = new AbortController();
    const cut = await run({
      relativeError: 1e-7,
      enrichment: 1,
      onIteration: () => control.abort(),
      signal: control.signal,
    });
    expect(cut).toMatchObject({ sweeps: 1, aborted: true, converged: false });
    await expect(run({ signal: AbortSignal.abort() })).rejects.toThrow();
  });

  it("names what is wrong", async () => {
    const shape = [3, 4];
    const call = (x: unknown, options?: object) => ttCross(engine, x as EntrySource, options);
    await expect(call(entries(shape, (at) => (at[0] === 2 ? Number.NaN : 1)))).rejects.toThrow(
      /the entry at \[2, \d\] is NaN/,
    );
    await expect(call({ shape, entries: () => [1, 2] })).rejects.toThrow(/entries returned 2 numbers for 1000 indices/);
    await expect(call({ shape: [], entries: () => [] })).rejects.toThrow(/the shape is \[\], needs a list/);
    await expect(call({ shape })).rejects.toThrow(/ttCross: the second argument is/);
    await expect(
      call(
        entries(shape, () => 1),
        { rank: 3 },
      ),
    ).rejects.toThrow(/unknown option "rank"/);
  });
});
