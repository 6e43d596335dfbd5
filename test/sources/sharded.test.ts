/** A tensor whose blocks are with shards: every solver ends where it ends on one tensor, and what travels is counted. */
import { describe, expect, it } from "vitest";
import { cp, cpALS, stHosvd, tuckerHOOI } from "../../src/decompositions/index.js";
import type { Engine } from "../../src/gpu/index.js";
import { type Block, masked, Shard, type ShardRequest, type Source, sharded } from "../../src/sources/index.js";
import type { KruskalTensor, TuckerTensor } from "../../src/tensors/index.js";
import { kruskal } from "../decompositions/planted.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { LocalShards } from "./localShards.js";

const SHAPE = [13, 6, 7];
const SIZE = 13 * 42;
const RANK = 3;

const planted = SHAPE.map((extent, mode) => randomArray(RANK * extent, 20 + mode));
const noise = randomArray(SIZE, 7);
const values = Float32Array.from(kruskal(planted, SHAPE, RANK), (value, at) => value + 0.02 * noise[at]!);
const magnitudes = planted.map((factor) => factor.map(Math.abs));
const positive = Float32Array.from(
  kruskal(magnitudes, SHAPE, RANK),
  (value, at) => value + 0.02 * Math.abs(noise[at]!),
);
/** start factors near the planted ones, so that both runs go to the same minimum */
const start = planted.map((factor, mode) => {
  const change = randomArray(factor.length, 40 + mode);
  return Float32Array.from(factor, (value, at) => value + 0.2 * change[at]!);
});
const bytesOf = (data: Float32Array): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const shardsOf = (engine: Engine, data: Float32Array, { missing = false, keeps = 1, blockRows = 3 } = {}) =>
  new LocalShards(engine, { shape: SHAPE, format: "f32", missing }, bytesOf(data), blockRows, { keeps });

async function numbersOf(tensor: KruskalTensor | TuckerTensor): Promise<Float32Array[]> {
  const parts = "weights" in tensor ? [tensor.weights, ...tensor.factors] : [tensor.core, ...tensor.factors];
  const present = parts.filter((part) => part !== null);
  const numbers = await tensor.engine.read(present);
  tensor.destroy();
  return numbers;
}

/** Each array within 1e-5 of its largest magnitude. */
function expectNear(ours: readonly Float32Array[], theirs: readonly Float32Array[], tolerance = 1e-5): void {
  expect(ours.length).toBe(theirs.length);
  for (const [index, numbers] of ours.entries()) {
    const most = theirs[index]!.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
    const worst = numbers.reduce((worst, value, at) => Math.max(worst, Math.abs(value - theirs[index]![at]!)), 0);
    expect(worst / most).toBeLessThan(tolerance);
  }
}

const entries = (arrays: ShardRequest["arrays"]): number =>
  Object.values(arrays).reduce((sum, { data }) => sum + data.length, 0);

describe("sharded", () => {
  it("has the factors of cp on one tensor, and sends each factor once an iteration", async () => {
    const engine = await testEngine();
    using shards = shardsOf(engine, values);
    using x = await sharded(engine, shards);
    using one = engine.tensor(SHAPE, values);
    const options = { rank: RANK, initialize: start, tolerance: 0, sweeps: 10 };
    const theirs = await cp(engine, one, options);
    const ours = await cp(engine, x, options);
    // kernels that are chosen by their time add up in different orders, and iterations make more of a rounding
    expectNear(await numbersOf(ours.tensor), await numbersOf(theirs.tensor), 5e-5);
    const evaluations = shards.asked.filter(({ verb }) => verb === "evaluate");
    expect(evaluations.length).toBe(10);
    const most = 1.2 * RANK * SHAPE.reduce((sum, extent) => sum + extent);
    for (const { arrays } of evaluations) expect(entries(arrays)).toBeLessThanOrEqual(most);
    expect(shards.asked.at(-1)!.verb).toBe("residual");
  });

  it("begins by the core of the HOSVD where no factors are given, and sends nothing of X's size", async () => {
    const engine = await testEngine();
    const shape = [40, 30, 20];
    const factors = shape.map((extent, mode) => randomArray(2 * extent, 60 + mode));
    const large = Float32Array.from(kruskal(factors, shape, 2), (value, at) => value + 0.05 * Math.sin(at * at));
    using shards = new LocalShards(engine, { shape, format: "f32", missing: false }, bytesOf(large), 20, { keeps: 9 });
    using x = await sharded(engine, shards);
    using one = engine.tensor(shape, large);
    const theirs = await cp(engine, one, { rank: 2 });
    const ours = await cp(engine, x, { rank: 2 });
    theirs.tensor.destroy();
    ours.tensor.destroy();
    expect(ours.relativeError).toBeCloseTo(theirs.relativeError, 5);
    const verbs = new Set(shards.asked.map(({ verb }) => verb));
    expect(verbs).toEqual(new Set(["facts", "evaluate", "residual", "products", "projections", "core"]));
    for (const { arrays } of shards.asked) expect(entries(arrays)).toBeLessThan(large.length / 10);
  });

  it("has the factors of non-negative cp", async () => {
    const engine = await testEngine();
    using shards = shardsOf(engine, positive);
    using x = await sharded(engine, shards);
    using one = engine.tensor(SHAPE, positive);
    const options = { rank: RANK, nonnegative: true, initialize: start, tolerance: 0, sweeps: 6 };
    const theirs = await cp(engine, one, options);
    const ours = await cp(engine, x, options);
    expectNear(await numbersOf(ours.tensor), await numbersOf(theirs.tensor));
  });

  it("has the factors of cpALS, also where sweeps go by the difference", async () => {
    const engine = await testEngine();
    const exact = Float32Array.from(values, (value, at) => value - 0.0199 * noise[at]!);
    using shards = shardsOf(engine, exact);
    using x = await sharded(engine, shards);
    using one = engine.tensor(SHAPE, exact);
    const options = { rank: RANK, seed: 1, acceleration: "none", tolerance: 0, sweeps: 60 } as const;
    const theirs = await cpALS(engine, one, options);
    const ours = await cpALS(engine, x, options);
    expect(theirs.relativeError).toBeLessThan(0.001);
    expectNear(await numbersOf(ours.tensor), await numbersOf(theirs.tensor), 1e-4);
    const verbs = shards.asked.map(({ verb, isDifference }) => (isDifference ? `difference ${verb}` : verb));
    expect(verbs).toContain("difference mttkrp");
    expect(verbs).not.toContain("partialMttkrp");
  });

  it("reads X once for all modes but the last, where it is on the GPU", async () => {
    const engine = await testEngine();
    const shape = [6, 5, 40];
    const width = 5 * 40;
    const numbers = randomArray(6 * width, 3);
    using shard = new Shard(engine, { shape, format: "f32", missing: false });
    const factors = shape.map((extent, mode) => randomArray(4 * extent, 50 + mode));
    const rowsOf = (from: number) => bytesOf(numbers.slice(from * width, (from + 3) * width));
    const blocks = (isSent: boolean): Block[] =>
      [0, 3].map((start) => ({ start, rows: 3, keep: true, read: isSent ? async () => rowsOf(start) : null }));
    /** The answer about a mode beside an f64 loop, and how many kernels it took. */
    const ask = async (mode: number, isSent = false): Promise<number> => {
      const arrays = Object.fromEntries(
        factors.flatMap((data, other) =>
          other === mode ? [] : [[`${other ? "" : "rows of "}factor ${other}`, { shape: [shape[other]!, 4], data }]],
        ),
      );
      const { dispatches } = engine.counters;
      const answer = await shard.answer({ verb: "mttkrp", mode, exponent: 1, weight: 1, arrays }, blocks(isSent));
      const expected = new Float64Array(shape[mode]! * 4);
      for (const [at, value] of numbers.entries()) {
        const index = [Math.floor(at / width), Math.floor(at / 40) % 5, at % 40];
        for (let r = 0; r < 4; r++) {
          let term = value / 2;
          for (const [other, factor] of factors.entries()) if (other !== mode) term *= factor[4 * index[other]! + r]!;
          expected[4 * index[mode]! + r]! += term;
        }
      }
      expectNear([answer.arrays.product!.data as Float32Array], [Float32Array.from(expected)]);
      return engine.counters.dispatches - dispatches;
    };
    await ask(0, true);
    const reading = await ask(0);
    const before = shard.bytes;
    expect(before).toBe(4 * (6 * width + 6 * 5 * 4));
    expect(await ask(1)).toBeLessThan(reading);
    factors[1]![3]! += 1;
    expect(await ask(0)).toBeLessThan(reading);
    await ask(2);
    // another factor of the last mode, and other numbers
    factors[2]![7]! += 1;
    expect(await ask(1)).toBeGreaterThanOrEqual(reading - 1);
    numbers[11]! += 1;
    await ask(1, true);
    await ask(0);
    expect(shard.bytes).toBe(before);
  });

  it("has the factors of cp with missing entries", async () => {
    const engine = await testEngine();
    const holed = Float32Array.from(values, (value, at) => (at % 11 === 3 || at < 42 ? Number.NaN : value));
    using shards = shardsOf(engine, holed, { missing: true });
    using x = await sharded(engine, shards);
    using whole = engine.tensor(SHAPE, holed);
    using one = await masked(engine, whole);
    expect(x.known).toBe(one.known);
    expect(x.unknownSlices).toEqual([{ mode: 0, index: 0 }]);
    expect(x.squaredNorm).toBeCloseTo(one.squaredNorm, 3);
    const options = { rank: RANK, initialize: start, tolerance: 0, sweeps: 10 };
    const theirs = await cp(engine, one, options);
    const ours = await cp(engine, x, options);
    expectNear(await numbersOf(ours.tensor), await numbersOf(theirs.tensor), 2e-5);
  });

  it("has the factors of sweeps that fill missing entries", async () => {
    const engine = await testEngine();
    const holed = Float32Array.from(positive, (value, at) => (at % 7 === 3 ? Number.NaN : value));
    using shards = shardsOf(engine, holed, { missing: true });
    using whole = engine.tensor(SHAPE, holed);
    const stopping = { tolerance: 0, sweeps: 8 };
    const solvers = {
      cpALS: (source: Source) => cpALS(engine, source, { rank: RANK, seed: 1, ...stopping }),
      nonnegative: (source: Source) =>
        cp(engine, source, { rank: RANK, nonnegative: true, initialize: start, ...stopping }),
    };
    for (const [name, solve] of Object.entries(solvers)) {
      using x = await sharded(engine, shards);
      using one = await masked(engine, whole);
      const theirs = await solve(one);
      const ours = await solve(x);
      for (const [sweep, error] of theirs.errors.entries()) expect(ours.errors[sweep], name).toBeCloseTo(error, 5);
      expect(ours.relativeError, name).toBeCloseTo(theirs.relativeError, 5);
      expect(ours.known).toBe(one.known);
      expectNear(await numbersOf(ours.tensor), await numbersOf(theirs.tensor));
    }
    using x = await sharded(engine, shards);
    using one = await masked(engine, whole);
    // from another start, as that of slabs is, to the same minimum
    const [sweeps, tolerance, ranks] = [60, 0, [3, 3, 3]];
    const theirs = await tuckerHOOI(engine, one, { ranks, sweeps, tolerance });
    const ours = await tuckerHOOI(engine, x, { ranks, sweeps, tolerance });
    expectNear(await numbersOf(ours.tensor), await numbersOf(theirs.tensor));
    await expect(stHosvd(engine, x, { ranks })).rejects.toThrow("changes with the model");
    await expect(tuckerHOOI(engine, x, { relativeError: 0.1 })).rejects.toThrow("takes one tensor of the GPU's");
  });

  it("has the factors of Tucker", async () => {
    const engine = await testEngine();
    const scaled = Float32Array.from(values, (value) => value * 2 ** 40);
    using shards = shardsOf(engine, scaled, { blockRows: 7 });
    using x = await sharded(engine, shards);
    using one = engine.tensor(SHAPE, scaled);
    expect(x.exponent).toBeGreaterThan(30);
    const theirs = await tuckerHOOI(engine, one, { ranks: [3, 3, 3], tolerance: 0, sweeps: 6 });
    const ours = await tuckerHOOI(engine, x, { ranks: [3, 3, 3], tolerance: 0, sweeps: 6 });
    expectNear(await numbersOf(ours.tensor), await numbersOf(theirs.tensor));
    const [a, b] = [await stHosvd(engine, one, { ranks: [3, 2, 4] }), await stHosvd(engine, x, { ranks: [3, 2, 4] })];
    expect(b.relativeError).toBeCloseTo(a.relativeError, 4);
    a.tensor.destroy();
    b.tensor.destroy();
  });

  it("says where an entry is not finite, and that X is not one tensor", async () => {
    const engine = await testEngine();
    const wrong = values.slice();
    wrong[8 * 42 + 3 * 7 + 2] = Number.POSITIVE_INFINITY;
    wrong[9 * 42] = Number.NaN;
    using shards = shardsOf(engine, wrong);
    await expect(sharded(engine, shards)).rejects.toThrow(
      "sharded: a tensor 13×6×7 on several machines has 2 entries that are not finite, the first infinity at [8, 3, 2]",
    );
    using good = shardsOf(engine, values);
    using x = await sharded(engine, good);
    expect(() => x.tensor("ttSVD")).toThrow("ttSVD: a tensor 13×6×7 on several machines lies on several machines");
  });
});
