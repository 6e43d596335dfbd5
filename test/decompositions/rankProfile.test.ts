/** How many components data have: planted ranks, what speaks against others, and core consistency beside a dense computation. */
import { beforeAll, describe, expect, it } from "vitest";
import { coreConsistency, orthonormal, pseudoInverse } from "../../src/decompositions/coreConsistency.js";
import { cpOfRanks } from "../../src/decompositions/cpGaussNewton.js";
import { HeldOut } from "../../src/decompositions/heldOut.js";
import { cp, type RankProgress, rankProfile } from "../../src/decompositions/index.js";
import { type DType, type Engine, ShapeError, TenfoldError, type Tensor } from "../../src/gpu/index.js";
import { holdOut } from "../../src/ops/index.js";
import { masked, type RowReader, resident, slabs, streamed } from "../../src/sources/index.js";
import { KruskalTensor } from "../../src/tensors/index.js";
import { evaluate, testEngine } from "../engine.js";
import { matmul, randomArray } from "../reference.js";
import { distance, plantedCp, plantedTucker, unravel } from "./planted.js";
import { readsWhile } from "./watched.js";

let engine: Engine;
beforeAll(async () => {
  engine = await testEngine();
});

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Solves M·y = b for a positive definite n×n matrix, by elimination with pivots. */
function solve(m: Float64Array, b: Float64Array, n: number): Float64Array {
  const [a, y] = [Float64Array.from(m), Float64Array.from(b)];
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column; row < n; row++)
      if (Math.abs(a[row * n + column]!) > Math.abs(a[pivot * n + column]!)) pivot = row;
    for (let k = 0; k < n; k++) [a[column * n + k], a[pivot * n + k]] = [a[pivot * n + k]!, a[column * n + k]!];
    [y[column], y[pivot]] = [y[pivot]!, y[column]!];
    for (let row = 0; row < n; row++) {
      if (row === column) continue;
      const factor = a[row * n + column]! / a[column * n + column]!;
      for (let k = column; k < n; k++) a[row * n + k]! -= factor * a[column * n + k]!;
      y[row]! -= factor * y[column]!;
    }
  }
  return y.map((value, row) => value / a[row * n + row]!);
}

/** CORCONDIA from its definition: least squares in the Kronecker product of the factors, written out. */
function denseConsistency(x: ArrayLike<number>, shape: number[], weights: number[], factors: ArrayLike<number>[]) {
  const rank = weights.length;
  const cells = rank ** shape.length;
  const coreShape = shape.map(() => rank);
  const kronecker = new Float64Array(size(shape) * cells);
  for (let row = 0; row < size(shape); row++)
    for (let cell = 0; cell < cells; cell++) {
      const [at, term] = [unravel(row, shape), unravel(cell, coreShape)];
      kronecker[row * cells + cell] = factors.reduce(
        (product, factor, mode) => product * factor[at[mode]! * rank + term[mode]!]!,
        weights[term[0]!]!,
      );
    }
  const square = matmul(kronecker, kronecker, cells, size(shape), cells, { transposeA: true });
  const right = matmul(kronecker, x, cells, size(shape), 1, { transposeA: true });
  const core = solve(square, right, cells);
  let sum = 0;
  core.forEach((value, cell) => {
    sum += (value - (new Set(unravel(cell, coreShape)).size === 1 ? 1 : 0)) ** 2;
  });
  return 100 * (1 - sum / rank);
}

describe("core consistency", () => {
  it.each([
    { shape: [5, 4, 6], rank: 2, noise: 0.3 },
    { shape: [4, 5, 3], rank: 3, noise: 0.1 },
    { shape: [7, 2, 5], rank: 2, noise: 0 },
    { shape: [3, 4, 3, 2], rank: 2, noise: 0.5 },
    { shape: [4, 6, 5], rank: 1, noise: 1 },
  ])("is what least squares give for $shape, rank $rank, noise $noise", async ({ shape, rank, noise }) => {
    for (const seed of [1, 20, 300]) {
      const { data } = plantedCp(shape, rank, noise, seed);
      // factors that are near the data's, but not the best
      const { factors: exact } = plantedCp(shape, rank, 0, seed);
      const factors = exact.map((factor, mode) => {
        const change = randomArray(factor.length, seed + 50 + mode);
        return factor.map((value, at) => value + 0.1 * change[at]!);
      });
      const weights = Array.from({ length: rank }, (_, r) => 1 + 0.5 * r);
      for (const power of seed === 1 ? [0, 40, -40] : [0]) {
        const scaled = data.map((value) => value * 2 ** power);
        using x = engine.tensor(shape, scaled);
        using source = await resident(engine, "test", x);
        const asked = weights.map((weight) => weight * 2 ** power);
        const told = await coreConsistency(source, Float32Array.from(asked), factors);
        const expected = denseConsistency(scaled, shape, asked, factors);
        expect(Math.abs(told! - expected)).toBeLessThan(2e-4 * Math.max(1, Math.abs(expected)));
      }
    }
  });

  it("is 100 for an exact model, and not told where a mode is shorter than the rank", async () => {
    const { data, shape, factors } = plantedCp([8, 9, 3], 3);
    using x = engine.tensor(shape, data);
    using source = await resident(engine, "test", x);
    expect(await coreConsistency(source, new Float32Array(3).fill(1), factors)).toBeCloseTo(100, 3);
    const wider = plantedCp(shape, 4).factors;
    expect(await coreConsistency(source, new Float32Array(4).fill(1), wider)).toBeNull();
  });

  it("takes dependent columns and columns of zeros by the pseudo-inverse", async () => {
    const n = 4;
    const a = Float64Array.from(randomArray(6 * n, 3));
    for (let row = 0; row < 6; row++) [a[row * n + 2], a[row * n + 3]] = [0, 2 * a[row * n]!];
    const { q, r } = orthonormal(a, n);
    expect(distance(a, matmul(q, r, 6, n, n))).toBeLessThan(1e-14);
    const inverse = matmul(pseudoInverse(r, n), q, n, n, 6, { transposeB: true });
    // Penrose's four equations
    const [left, right] = [matmul(a, inverse, 6, n, 6), matmul(inverse, a, n, 6, n)];
    expect(distance(a, matmul(left, a, 6, 6, n))).toBeLessThan(1e-12);
    expect(distance(inverse, matmul(right, inverse, n, n, 6))).toBeLessThan(1e-12);
    const transposed = (m: Float64Array, side: number) =>
      m.map((_, at) => m[(at % side) * side + Math.floor(at / side)]!);
    expect(distance(left, transposed(left, 6))).toBeLessThan(1e-12);
    expect(distance(right, transposed(right, n))).toBeLessThan(1e-12);
  });
});

describe("rankProfile", () => {
  it.each([
    { shape: [18, 14, 12], rank: 2, noise: 0.05, seed: 1 },
    { shape: [16, 20, 14], rank: 4, noise: 0.01, seed: 40 },
    { shape: [8, 12, 7, 9], rank: 3, noise: 0.03, seed: 1 },
  ])("finds $rank components in $shape with noise of $noise", async ({ shape, rank, noise, seed }) => {
    const { data } = plantedCp(shape, rank, noise, seed);
    using x = engine.tensor(shape, data);
    const { ranks, suggestion, reason, halved } = await rankProfile(engine, x, { most: rank + 1, seed, sweeps: 60 });
    expect({ suggestion, reason }).toMatchObject({ suggestion: rank });
    expect(reason).toMatch(
      new RegExp(`^rank ${rank} is the highest up to ${rank + 1} without objections: .*no terms cancel`),
    );
    expect(halved).toBe(shape.indexOf(Math.max(...shape)));
    expect(ranks.map((row) => row.rank)).toEqual(Array.from({ length: rank + 1 }, (_, at) => at + 1));
    const row = ranks[rank - 1]!;
    expect(row.objections).toEqual([]);
    expect(row.relativeError).toBeLessThan(noise);
    expect(row.explained).toBeCloseTo(1 - row.relativeError ** 2, 12);
    for (const [at, { relativeError }] of ranks.entries())
      if (at) expect(relativeError).toBeLessThan(ranks[at - 1]!.relativeError + 1e-5);
  });

  it("finds one component, exact or with noise, and says of the next rank that nothing is left", async () => {
    for (const noise of [0, 0.1]) {
      const { data, shape } = plantedCp([12, 10, 8], 1, noise, 5);
      using x = engine.tensor(shape, data);
      const { suggestion, ranks, reason } = await rankProfile(engine, x, { most: 3 });
      expect({ suggestion, reason }).toMatchObject({ suggestion: 1 });
      expect(ranks[0]).toMatchObject({
        coreConsistency: expect.closeTo(100, 1),
        congruence: 0,
        agreeing: 4,
        starts: 4,
      });
      expect(ranks[0]!.degeneracy).toBeCloseTo(1, 4);
      if (!noise) expect(ranks[1]!.objections[0]).toBe("rank 1 leaves nothing to explain");
    }
  });

  it("suggests nothing for noise, and nothing for zeros", async () => {
    for (const seed of [1, 2]) {
      using x = engine.tensor([14, 12, 10], randomArray(14 * 12 * 10, seed));
      const { suggestion, reason } = await rankProfile(engine, x, { most: 3, seed, sweeps: 100 });
      expect(suggestion).toBeNull();
      expect(reason).toMatch(/^every rank from 1 to 3 has objections, as in noise\. Rank 1: .*halves of mode 0 agree/);
    }
    using zeros = engine.tensor([3, 4, 5]);
    expect(await rankProfile(engine, zeros)).toMatchObject({
      suggestion: null,
      ranks: [],
      reason: /nothing to explain/,
    });
  });

  it("objects to CP where the data are a Tucker model with a full core", async () => {
    const { data, shape } = plantedTucker([16, 14, 12], [3, 3, 3], 0.01, 7);
    using x = engine.tensor(shape, data);
    const { ranks } = await rankProfile(engine, x, { most: 3 });
    expect(ranks[2]!.coreConsistency).toBeLessThan(80);
  });

  it("is the same for data of any size", async () => {
    const { data, shape } = plantedCp([10, 9, 12], 2, 0.02, 3);
    const told = async (values: Float32Array) => {
      using x = engine.tensor(shape, values);
      const { ranks, suggestion } = await rankProfile(engine, x, { most: 2, starts: 2 });
      return { suggestion, errors: ranks.map(({ relativeError }) => relativeError) };
    };
    const expected = await told(data);
    expect(expected.suggestion).toBe(2);
    expect(await told(data.map((value) => value * 2 ** 60))).toEqual(expected);
    expect(await told(data.map((value) => value * 2 ** -60))).toEqual(expected);
  });

  it("says what it cannot tell, and does not count it", async () => {
    // halves of two indices hold a model of rank 2, but none is told where a mode is shorter than the rank
    const { data, shape } = plantedCp([3, 3, 3], 1, 0.01, 2);
    using x = engine.tensor(shape, data);
    const { ranks, halved, reason } = await rankProfile(engine, x, { most: 20, starts: 1, sweeps: 20 });
    expect(halved).toBeNull();
    expect(ranks.map(({ splitHalf }) => splitHalf)).toEqual(ranks.map(() => null));
    // nine terms are enough for any 3×3×3 tensor
    expect(ranks.length).toBe(9);
    expect(ranks[3]!.coreConsistency).toBeNull();
    expect(reason).not.toMatch(/starts agree|halves/);
  });

  it("takes data in slabs, without halves", async () => {
    const { data, shape } = plantedCp([12, 9, 8], 2, 0.02, 3);
    const row = shape[1]! * shape[2]!;
    using first = engine.tensor([5, 9, 8], data.subarray(0, 5 * row));
    using second = engine.tensor([7, 9, 8], data.subarray(5 * row));
    using source = await slabs(engine, [first, second]);
    const { suggestion, ranks, halved, reason } = await rankProfile(engine, source, { most: 2 });
    expect({ suggestion, halved, reason }).toMatchObject({ suggestion: 2, halved: null });
    expect(ranks.map(({ splitHalf }) => splitHalf)).toEqual([null, null]);
    expect(ranks[1]!.coreConsistency).toBeGreaterThan(95);
    expect(reason).not.toContain("halves");
  });

  it("reads the tensor as often for many ranks as for few, but for a look at each model", async () => {
    const { data, shape } = plantedCp([14, 12, 10], 3, 0.2, 3);
    using x = engine.tensor(shape, data);
    const isX = ({ storage }: Tensor<DType>) => storage === x.storage;
    const readsOf = (most: number) =>
      readsWhile(engine, isX, async () => void (await rankProfile(engine, x, { most, sweeps: 8, tolerance: 0 })));
    const few = await readsOf(4);
    const many = await readsOf(6);
    // the error and the core consistency of each model
    expect(many - few).toBe(2 * 2);
  });

  it("reads a tensor with a small core for one HOSVD, whatever the ranks", async () => {
    const { data, shape } = plantedCp([40, 38, 36], 2, 0.2, 3);
    using x = engine.tensor(shape, data);
    using source = await resident(engine, "test", x);
    const isX = ({ storage }: Tensor<DType>) => storage === source.x.storage;
    const startsOf = async (ranks: number[]) =>
      readsWhile(engine, isX, async () => void (await cpOfRanks("test", source, ranks, { sweeps: 8 })));
    expect(await startsOf([1, 2, 3, 4])).toBe(await startsOf([4]));
  });

  it("has the models that cp finds", async () => {
    const { data, shape } = plantedCp([13, 12, 11], 3, 0.1, 4);
    using x = engine.tensor(shape, data);
    const { ranks } = await rankProfile(engine, x, { most: 3 });
    for (const { rank, relativeError } of ranks) {
      const alone = await cp(engine, x, { rank });
      alone.tensor.destroy();
      expect(Math.abs(relativeError - alone.relativeError)).toBeLessThan(1e-5);
    }
  });

  it("tells its progress, and frees all memory", async () => {
    const { data, shape } = plantedCp([10, 9, 8], 2, 0.02, 3);
    using x = engine.tensor(shape, data);
    await rankProfile(engine, x, { most: 1 });
    const before = engine.memory().live;
    const progress: RankProgress[] = [];
    await rankProfile(engine, x, { most: 3, starts: 2, onProgress: (told) => void progress.push(told) });
    expect(engine.memory().live).toBe(before);
    expect(progress.map(({ rank, of }) => `${rank} ${of}`)).toEqual([
      ...["1 all", "1 half", "1 half", "2 all", "2 half", "2 half", "3 all", "3 half", "3 half"],
      "3 all",
    ]);
    const parts = progress.map(({ done }) => done);
    expect(parts).toEqual([...parts].sort((a, b) => a - b));
    expect([parts[0], parts.at(-1)]).toEqual([0, 1]);
  });

  it("stops by its signal, and leaves no memory", async () => {
    const { data, shape } = plantedCp([10, 9, 8], 2, 0.02, 3);
    using x = engine.tensor(shape, data);
    const before = engine.memory().live;
    for (const [rank, of] of [
      [1, "all"],
      [1, "half"],
      [2, "all"],
      [2, "half"],
    ] as const) {
      const controller = new AbortController();
      const reason = new Error("enough");
      const onProgress = (told: RankProgress) => {
        if (told.rank === rank && told.of === of) controller.abort(reason);
      };
      const { signal } = controller;
      await expect(rankProfile(engine, x, { most: 3, starts: 2, signal, onProgress })).rejects.toBe(reason);
      expect(engine.memory().live).toBe(before);
    }
    const aborted = AbortSignal.abort(new Error("before"));
    await expect(rankProfile(engine, x, { signal: aborted })).rejects.toThrow("before");
  });

  it("refuses matrices, NaN, and options that it does not know", async () => {
    using matrix = engine.tensor([4, 5], randomArray(20));
    await expect(rankProfile(engine, matrix)).rejects.toThrow(ShapeError);
    await expect(rankProfile(engine, matrix)).rejects.toThrow(/order 2, needs 3 to 8: .* can be rotated.*svd, evbmf/);
    const data = randomArray(60);
    data[23] = Number.NaN;
    using x = engine.tensor([4, 3, 5], data);
    const before = engine.memory().live;
    await expect(rankProfile(engine, x)).rejects.toThrow(
      /^rankProfile: .* has 1 entry that is not finite, NaN at \[1, 1, 3\]; remove or replace it/,
    );
    expect(engine.memory().live).toBe(before);
    using good = engine.tensor([4, 3, 5], randomArray(60));
    for (const [options, message] of [
      [{ most: 0 }, "most is 0, needs a whole number, 1 or more"],
      [{ starts: 1.5 }, "starts is 1.5"],
      [{ rank: 3 }, 'unknown option "rank"'],
    ] as const) {
      await expect(rankProfile(engine, good, options as object)).rejects.toThrow(message);
      await expect(rankProfile(engine, good, options as object)).rejects.toThrow(TenfoldError);
    }
  });
});

describe("entries that are held out", () => {
  it("are predicted best by the planted rank, and further terms have an objection", async () => {
    const shape = [16, 14, 12];
    const { data } = plantedCp(shape, 2, 0.1, 3);
    using x = engine.tensor(shape, data);
    const progress: RankProgress[] = [];
    const options = { most: 3, starts: 2, holdout: 0.1, sweeps: 100 };
    const before = engine.memory().live;
    const profile = await rankProfile(engine, x, { ...options, onProgress: (step) => progress.push(step) });
    expect(engine.memory().live).toBe(before);
    expect(profile.suggestion).toBe(2);
    const [one, two, three] = profile.ranks.map(({ heldOut }) => heldOut!);
    // noise alone is left, and a little more
    expect(two).toBeGreaterThan(0.08);
    expect(two).toBeLessThan(0.13);
    expect(one).toBeGreaterThan(1.5 * two!);
    expect(three).toBeGreaterThan(0.99 * two!);
    expect(profile.ranks[2]!.objections.join()).toMatch(/held out are predicted with an error of 0\.1\d+, by a lower/);
    expect(profile.reason).toContain("held-out entries are predicted with an error of 0.");
    expect(progress.map(({ of }) => of)).toContain("holdout");
    for (const [index, { done }] of progress.entries())
      if (index) expect(done).toBeGreaterThanOrEqual(progress[index - 1]!.done);
    // of the same seed they are the same entries, of another one others
    const again = await rankProfile(engine, x, { ...options, most: 1 });
    expect(again.ranks[0]!.heldOut).toBeCloseTo(one!, 6);
    const other = await rankProfile(engine, x, { ...options, most: 1, seed: 5 });
    expect(other.ranks[0]!.heldOut).not.toBeCloseTo(one!, 4);
  });

  it("are predicted, with the error of f64, where others are missing, at any scale", async () => {
    const shape = [13, 12, 11];
    const { data } = plantedCp(shape, 2, 0.05, 4);
    const missing = randomArray(data.length, 8).map((value) => (value > 0.6 ? Number.NaN : 0));
    const told: number[] = [];
    for (const scale of [1, 2 ** 40]) {
      using x = engine.tensor(
        shape,
        data.map((value, at) => scale * value + missing[at]!),
      );
      using known = await masked(engine, x);
      const profile = await rankProfile(engine, known, { most: 3, starts: 2, holdout: 0.15 });
      expect(profile.suggestion).toBe(2);
      const { heldOut, coreConsistency } = profile.ranks[1]!;
      expect(heldOut).toBeGreaterThan(0.04);
      expect(heldOut).toBeLessThan(0.07);
      expect(coreConsistency).toBeGreaterThan(95);
      told.push(heldOut!);
    }
    expect(told[1]).toBeCloseTo(told[0]!, 5);
  });

  it("have the error that the host finds", async () => {
    const shape = [9, 1, 7];
    const data = randomArray(63, 6);
    using x = engine.tensor(shape, data);
    using source = await resident(engine, "test", x);
    const heldOut = await HeldOut.create("test", source, 0.3, 2);
    const side = { share: 0.3, side: "held out", seed: 2, stream: 1000 } as const;
    const marked = await evaluate(engine, (s) => holdOut(s, source.x, side));
    // what is not held out counts as missing there, and is the largest number of f32
    const isHeld = (at: number) => marked[at]! < 3e38;
    const count = data.filter((_, at) => isHeld(at)).length;
    expect(count).toBeGreaterThan(8);
    expect(heldOut.others.known).toBe(63 - count);
    using model = new KruskalTensor(
      engine.tensor([2], [1, 0.5]),
      shape.map((extent, mode) => engine.tensor([extent, 2], randomArray(2 * extent, mode))),
    );
    const factors = (await engine.read([...model.factors])) as Float32Array[];
    let [lack, norm] = [0, 0];
    for (const [index, value] of data.entries()) {
      if (!isHeld(index)) continue;
      const at = unravel(index, shape);
      const terms = [0, 1].map((r) =>
        factors.reduce((product, factor, mode) => product * factor[at[mode]! * 2 + r]!, r ? 0.5 : 1),
      );
      lack += (value - terms[0]! - terms[1]!) ** 2;
      norm += value ** 2;
    }
    expect(await heldOut.errorOf(model)).toBeCloseTo(Math.sqrt(lack / norm), 5);
    heldOut.destroy();
    // slabs are parted as the tensor is, wherever they are cut, and at any scale
    const parts = [4, 5].map((rows, at) => {
      const numbers = data.subarray(28 * at, 28 * at + 7 * rows).map((value) => value * 2 ** 60);
      return engine.tensor([rows, 1, 7], numbers);
    });
    using cut = await slabs(engine, parts);
    const ofSlabs = await HeldOut.create("test", cut, 0.3, 2);
    expect(ofSlabs.others.known).toBe(63 - count);
    using scaled = new KruskalTensor(
      engine.tensor(
        [2],
        [1, 0.5].map((weight) => weight * 2 ** (60 - cut.exponent)),
      ),
      model.factors.map((factor, mode) => engine.tensor(factor.shape, factors[mode]!)),
    );
    expect(await ofSlabs.errorOf(scaled)).toBeCloseTo(Math.sqrt(lack / norm), 5);
    ofSlabs.destroy();
    for (const part of parts) part.destroy();
  });

  it("of slabs, and of a stream within its memory, are those of the tensor", async () => {
    const shape = [16, 7, 9];
    const { data } = plantedCp(shape, 2, 0.1, 3);
    using x = engine.tensor(shape, data);
    const options = { most: 2, starts: 2, holdout: 0.15, sweeps: 60 };
    const whole = await rankProfile(engine, x, options);
    const reader: RowReader = {
      shape,
      format: "f32",
      read: (start, count, into) => into.set(new Uint8Array(data.buffer, data.byteOffset + 252 * start, 252 * count)),
    };
    const memory = 252 * 20;
    using streaming = await streamed(engine, reader, { memory });
    expect(streaming.parts.length).toBeGreaterThan(3);
    const before = engine.memory().live;
    const profile = await rankProfile(engine, streaming, options);
    expect(engine.memory().live).toBe(before);
    expect(profile.suggestion).toBe(2);
    for (const [at, { heldOut, relativeError, splitHalf }] of profile.ranks.entries()) {
      expect(Math.abs(heldOut! - whole.ranks[at]!.heldOut!)).toBeLessThan(1e-3);
      expect(Math.abs(relativeError - whole.ranks[at]!.relativeError)).toBeLessThan(2e-3);
      expect(splitHalf).toBeNull();
    }
  });

  it("of noise no rank predicts", async () => {
    using x = engine.tensor([9, 8, 10], randomArray(720, 11));
    const { ranks } = await rankProfile(engine, x, { most: 1, starts: 2, holdout: 0.2, sweeps: 60 });
    expect(ranks[0]!.heldOut).toBeGreaterThan(0.99);
    expect(ranks[0]!.objections.join()).toContain("no better than by 0");
  });

  it("need a share of the entries", async () => {
    using x = engine.tensor([4, 4, 4], randomArray(64, 1));
    await expect(rankProfile(engine, x, { holdout: 1 })).rejects.toThrow(
      "holdout is 1, needs a number between 0 and 1",
    );
    await expect(rankProfile(engine, x, { holdout: 1e-6 })).rejects.toThrow(
      "holdout 0.000001 of 64 entries leaves out none; take a larger share",
    );
    using cut = await slabs(engine, [x, x]);
    const { live } = engine.memory();
    await expect(rankProfile(engine, cut, { holdout: 1e-6 })).rejects.toThrow("of 128 entries leaves out none");
    expect(engine.memory().live).toBe(live);
  });
});
