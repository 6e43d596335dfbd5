/** Tensors in slabs are compressed in a few passes, to what compressing one tensor gives. */
import { describe, expect, it } from "vitest";
import { cp, stHosvd, tuckerHOOI } from "../../src/decompositions/index.js";
import type { Engine } from "../../src/gpu/index.js";
import { type RowReader, type Slabs, streamed } from "../../src/sources/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { kruskal } from "./planted.js";

/** Slabs of `rows` rows, and how many rows were read since the last question, in units of all of them. */
async function read(
  engine: Engine,
  shape: readonly number[],
  values: Float32Array,
  rows: number,
): Promise<{ x: Slabs; passes: () => number }> {
  const row = values.length / shape[0]!;
  let count = 0;
  const reader: RowReader = {
    shape,
    format: "f32",
    read(start, more, into) {
      count += more;
      into.set(new Uint8Array(values.buffer, 4 * start * row, 4 * more * row));
    },
  };
  const x = await streamed(engine, reader, { memory: 16.5 * rows * row });
  expect(x.parts[0]!.data.shape[0]).toBe(rows);
  return {
    x,
    passes() {
      const passes = count / shape[0]!;
      count = 0;
      return passes;
    },
  };
}

/** Of rank R with these weights, and noise of this part of its norm; of norm 1. */
function planted(shape: readonly number[], weights: readonly number[], noise: number): Float32Array {
  const rank = weights.length;
  const factors = shape.map((extent, mode) => randomArray(rank * extent, 90 + mode));
  const last = factors.at(-1)!.map((value, at) => value * weights[at % rank]!);
  const clean = kruskal([...factors.slice(0, -1), last], [...shape], rank);
  const errors = randomArray(clean.length, 5);
  const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, v) => sum + v * v, 0));
  const [a, b] = [norm(clean), norm(errors)];
  return Float32Array.from(clean, (value, at) => value / a + (noise * errors[at]!) / b);
}

const CUBE = [40, 38, 37];
const ones = (count: number): number[] => new Array<number>(count).fill(1);
/** what is decomposed, by which ranks, and how many passes it takes beside the first look */
const CASES: Record<string, [shape: number[], values: () => Float32Array, ranks: number[], passes: number]> = {
  exact: [CUBE, () => planted(CUBE, ones(2), 0), [2, 2, 2], 3],
  "as much noise as data": [CUBE, () => planted(CUBE, ones(2), 1), [2, 2, 2], 4],
  "graded, ranks below what is planted": [CUBE, () => planted(CUBE, [1, 1e-2, 1e-4], 0), [2, 2, 2], 3],
  "an offset, and large numbers": [CUBE, () => planted(CUBE, ones(2), 0.5).map((v) => 1e25 * (v + 1)), [2, 2, 2], 4],
  "order 4, mode 0 left alone": [[6, 14, 15, 16], () => planted([6, 14, 15, 16], [1], 0.2), [6, 1, 1, 1], 4],
};

describe("stHosvd of slabs", () => {
  it.each(Object.entries(CASES))("%s", async (_, [shape, make, ranks, most]) => {
    const engine = await testEngine();
    const values = make();
    const before = engine.memory().live;
    {
      using x = engine.tensor(shape, values);
      const one = await stHosvd(engine, x, { ranks });
      using _one = one.tensor;
      const slabs = await read(engine, shape, values, Math.ceil(shape[0]! / (shape[0]! > 6 ? 5 : 2)));
      using source = slabs.x;
      slabs.passes();
      const result = await stHosvd(engine, source, { ranks });
      using tensor = result.tensor;
      expect(slabs.passes()).toBeLessThanOrEqual(most);
      expect(tensor.ranks).toEqual(ranks);
      expect(result.relativeError).toBeLessThan(1.003 * one.relativeError + 1e-6);
      const full = await evaluate(engine, (s) => tensor.full(s));
      let [lack, all] = [0, 0];
      for (const [at, value] of values.entries()) {
        lack += (value - full[at]!) ** 2;
        all += value ** 2;
      }
      expect(Math.abs(Math.sqrt(lack / all) - result.relativeError)).toBeLessThan(2e-6);
    }
    await engine.idle();
    expect(engine.memory().live).toBe(before);
  });
});

it("cp finds the model on the core of slabs, and ends with few passes over them", async () => {
  const engine = await testEngine();
  const values = planted(CUBE, ones(2), 0.1);
  using one = engine.tensor(CUBE, values);
  const slabs = await read(engine, CUBE, values, 8);
  using x = slabs.x;
  slabs.passes();
  const results = [await cp(engine, one, { rank: 1, seed: 1 }), await cp(engine, x, { rank: 1, seed: 1 })];
  const passes = slabs.passes();
  for (const { tensor } of results) tensor.destroy();
  expect(results[1]!.relativeError).toBeCloseTo(results[0]!.relativeError, 6);
  // a sketch, a refinement, the core; the rest are iterations on all of x, and the error of the result
  expect(passes).toBe(3 + results[1]!.sweeps + 1);
  expect(results[1]!.sweeps).toBeLessThan(8);
});

it("an error is kept by the ranks that one tensor takes", async () => {
  const engine = await testEngine();
  const values = planted(CUBE, ones(2), 0.3);
  using one = engine.tensor(CUBE, values);
  const slabs = await read(engine, CUBE, values, 8);
  using x = slabs.x;
  const options = { relativeError: 0.6 };
  const results = [await tuckerHOOI(engine, one, options), await tuckerHOOI(engine, x, options)];
  for (const { tensor } of results) tensor.destroy();
  expect(results[1]!.tensor.ranks).toEqual(results[0]!.tensor.ranks);
  expect(results[1]!.relativeError).toBeLessThanOrEqual(0.6);
});

it("an abort during the passes over slabs rejects with its reason, and nothing is left", async () => {
  const engine = await testEngine();
  const values = planted(CUBE, ones(2), 0.1);
  const before = engine.memory().live;
  const controller = new AbortController();
  const row = values.length / 40;
  let reads = 0;
  const reader: RowReader = {
    shape: CUBE,
    format: "f32",
    read(start, count, into) {
      if (++reads === 8) controller.abort(new Error("enough"));
      into.set(new Uint8Array(values.buffer, 4 * start * row, 4 * count * row));
    },
  };
  {
    using x = await streamed(engine, reader, { memory: 16.5 * 8 * row });
    await expect(stHosvd(engine, x, { ranks: 2, signal: controller.signal })).rejects.toThrow("enough");
    expect(reads).toBeLessThan(11);
  }
  await engine.idle();
  expect(engine.memory().live).toBe(before);
});
