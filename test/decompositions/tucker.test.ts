import { Matrix, SVD } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { hosvd, leadingSubspace, stHosvd, tuckerHOOI } from "../../src/decompositions/index.js";
import { type Engine, sizeOf as size, type Tensor } from "../../src/gpu/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance, modeProduct, norm, plantedCp, plantedTucker, unfold } from "./planted.js";

/** Best rank-r error of an unfolding: what any one-mode truncation must reach. */
function unfoldingError(data: ArrayLike<number>, shape: number[], mode: number, rank: number): number {
  const unfolded = new Matrix(unfold(data, shape, mode));
  const { diagonal } = new SVD(unfolded.rows > unfolded.columns ? unfolded.transpose() : unfolded, {
    autoTranspose: true,
  });
  return norm([...diagonal].sort((a, b) => b - a).slice(rank)) / norm(data);
}

describe("leadingSubspace", () => {
  it("finds the singular vectors of an unfolding, in order", async () => {
    const engine = await testEngine();
    const shape = [23, 7, 11];
    const data = randomArray(23 * 77, 3);
    using x = engine.tensor(shape, data);
    for (const mode of [0, 1, 2]) {
      const { vectors, errors } = await leadingSubspace(engine, x, mode, 3, { tolerance: 1e-8, sweeps: 80 });
      const rows = unfold(data, shape, mode);
      const { leftSingularVectors: u } = new SVD(new Matrix(rows), { autoTranspose: true });
      const actual = (await engine.read(vectors)) as Float32Array;
      for (let r = 0; r < 3; r++) {
        let dot = 0;
        for (let i = 0; i < shape[mode]!; i++) dot += actual[i * 3 + r]! * u.get(i, r);
        expect(Math.abs(dot)).toBeGreaterThan(0.9999);
      }
      expect(errors.at(-1)).toBeCloseTo(unfoldingError(data, shape, mode, 3), 5);
      vectors.destroy();
    }
  });

  it("names a mode, a rank or an option that is not one", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 3, 2], randomArray(24));
    await expect(leadingSubspace(engine, x, 3, 1)).rejects.toThrow(/mode 3 of tensor 4×3×2, needs 0 to 2/);
    await expect(leadingSubspace(engine, x, 1, 4)).rejects.toThrow(/rank 4 for mode 1 of tensor 4×3×2, needs 1 to 3/);
    const options = { sweep: 3 } as object;
    await expect(leadingSubspace(engine, x, 1, 2, options)).rejects.toThrow(/unknown option "sweep"; it has sweeps/);
  });
});

describe.each([
  ["hosvd", hosvd],
  ["stHosvd", stHosvd],
  ["tuckerHOOI", tuckerHOOI],
] as const)("%s", (_, method) => {
  it("recovers a planted tensor to five digits", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedTucker([19, 13, 17], [4, 3, 5]);
    using x = engine.tensor(shape, data);
    const result = await method(engine, x, { ranks: [4, 3, 5] });
    expect(result.relativeError).toBeLessThan(1e-5);
    const full = await evaluate(engine, (s) => result.tensor.full(s));
    expect(distance(data, full)).toBeLessThan(1e-5);
    expect(result.tensor.parameterCount).toBe(60 + 76 + 39 + 85);
    result.tensor.destroy();
  });

  it("recovers a kernel's planted Tucker-2: two modes reduced, two left alone", async () => {
    const engine = await testEngine();
    const [extents, ranks] = [
      [14, 11, 3, 3],
      [4, 3, 3, 3],
    ] as [number[], number[]];
    const { data, shape } = plantedTucker(extents, ranks, 0, 5);
    using x = engine.tensor(shape, data);
    const { tensor, relativeError } = await method(engine, x, { ranks });
    expect(relativeError).toBeLessThan(1e-5);
    expect(tensor.factors.map((factor) => factor?.shape ?? null)).toEqual([[14, 4], [11, 3], null, null]);
    expect(distance(data, await evaluate(engine, (s) => tensor.full(s)))).toBeLessThan(1e-5);
    tensor.destroy();
  });

  it("leaves full-rank modes alone and reaches the optimum of the others", async () => {
    const engine = await testEngine();
    const shape = [60, 6, 5];
    const data = randomArray(60 * 30, 5);
    using x = engine.tensor(shape, data);
    const { tensor, relativeError, converged } = await method(engine, x, {
      ranks: [4, 6, 5],
      tolerance: 1e-8,
      sweeps: 200,
    });
    expect(converged).toBe(true);
    expect(tensor.factors[1]).toBeNull();
    expect(relativeError).toBeCloseTo(unfoldingError(data, shape, 0, 4), 5);
    tensor.destroy();
  });

  it("names a rank that does not fit", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 3, 2], randomArray(24));
    await expect(method(engine, x, { ranks: [5, 3, 2] })).rejects.toThrow(
      /rank 5 for mode 0 of tensor 4×3×2, needs 1 to 4/,
    );
    await expect(method(engine, x, { ranks: [4, 3] })).rejects.toThrow(/2 ranks for tensor 4×3×2/);
    await expect(method(engine, x, { ranks: [3, 1, 2] })).rejects.toThrow(/more than the 2/);
  });
});

/** Ranks of the sequentially truncated HOSVD in f64 whose modes may lose an equal part of what is left of the error each. */
function ranksWithin(data: ArrayLike<number>, shape: readonly number[], relativeError: number, sequential: boolean) {
  let allowed = (relativeError * norm(data)) ** 2;
  let current: ArrayLike<number> = data;
  let currentShape = [...shape];
  return shape.map((extent, mode) => {
    const unfolded = new Matrix(unfold(current, currentShape, mode));
    const { diagonal, leftSingularVectors: u } = new SVD(unfolded, { autoTranspose: true });
    let rank = diagonal.length;
    let lost = 0;
    const budget = allowed / (shape.length - mode);
    while (rank > 1 && lost + diagonal[rank - 1]! ** 2 <= budget) lost += diagonal[--rank]! ** 2;
    allowed -= lost;
    if (!sequential || rank === extent) return rank;
    const factor = Float64Array.from({ length: rank * extent }, (_, at) => u.get(at % extent, Math.floor(at / extent)));
    current = modeProduct(current, currentShape, factor, rank, mode);
    currentShape = currentShape.map((size, k) => (k === mode ? rank : size));
    return rank;
  });
}

/** Largest entry of |UᵀU − I| of factors. */
async function skewOf(engine: Engine, factors: readonly (Tensor | null)[]): Promise<number> {
  let worst = 0;
  for (const factor of factors) {
    if (!factor) continue;
    const [rows, columns] = factor.shape as [number, number];
    const values = await engine.read(factor);
    for (let p = 0; p < columns; p++)
      for (let q = 0; q <= p; q++) {
        let dot = p === q ? -1 : 0;
        for (let i = 0; i < rows; i++) dot += values[i * columns + p]! * values[i * columns + q]!;
        worst = Math.max(worst, Math.abs(dot));
      }
  }
  return worst;
}

describe.each([
  ["hosvd", hosvd, false],
  ["stHosvd", stHosvd, true],
  ["tuckerHOOI", tuckerHOOI, true],
] as const)("%s by relativeError", (_, method, sequential) => {
  const smooth = (x: number, y: number, z: number) =>
    Math.sqrt(Math.sqrt(x) * (y + z) + y * z * z) * (x + Math.sin(y) * Math.cos(z));
  const shape = [13, 18, 11];
  const of = (f: (i: number, j: number, k: number) => number) =>
    Float32Array.from({ length: 13 * 18 * 11 }, (__, at) => f(Math.floor(at / 198), Math.floor(at / 11) % 18, at % 11));
  it.each([
    ["smooth", of((i, j, k) => smooth(j, 2 * i, 2 * k)), [0.3, 1e-2, 1e-4, 1e-5, 1e-6, 5e-7]],
    ["a mean and noise", of((i, j, k) => 1000 + Math.sin(12.9898 * i + 78.233 * j + 1.3 * i * j * k)), [1e-2, 3e-4]],
    ["noise", randomArray(13 * 198, 3), [0.9, 0.5, 0.1]],
    ["low rank and noise", plantedTucker(shape, [3, 2, 4], 1e-3, 4).data, [1e-1, 2e-3, 1e-5]],
    ["one entry", of((i, j, k) => (i === 3 && j === 4 && k === 5 ? 7 : 0)), [0.5, 1e-5]],
  ] as const)("is kept with f64's ranks: %s", async (__, data, errors) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, data);
    for (const relativeError of errors) {
      const result = await method(engine, x, { relativeError, sweeps: 5 });
      expect(result.relativeError).toBeLessThanOrEqual(relativeError);
      const full = await evaluate(engine, (s) => result.tensor.full(s));
      expect(distance(data, full)).toBeLessThan(1.01 * relativeError + 5e-8);
      const wanted = ranksWithin(data, shape, relativeError, sequential);
      result.tensor.ranks.forEach((rank, mode) => {
        expect(rank, `mode ${mode} at ${relativeError}, f64 has ${wanted}`).toBeLessThanOrEqual(wanted[mode]! + 1);
      });
      expect(await skewOf(engine, result.tensor.factors)).toBeLessThan(5e-6);
      result.tensor.destroy();
    }
  });

  // what is handed on from mode to mode makes them smaller: with equal parts of the error these cores have 512, 60 and 32 entries
  it.each([
    ["noise", [8, 8, 8], (shape: readonly number[]) => randomArray(size(shape), 5), 8 * 8 * 7, 8 * 8 * 7],
    ["rank 3 and noise", [8, 8, 8], (shape: readonly number[]) => plantedCp([...shape], 3, 0.3, 7).data, 27, 75],
    ["rank 3 and noise", [6, 12, 5], (shape: readonly number[]) => plantedCp([...shape], 3, 0.3, 8).data, 18, 60],
  ] as const)("spends what it may lose: %s, %s", async (__, shape, fill, most, mostOfHosvd) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, fill(shape));
    const { tensor, relativeError } = await method(engine, x, { relativeError: 0.3 });
    expect(relativeError).toBeLessThanOrEqual(0.3);
    expect(size(tensor.ranks)).toBeLessThanOrEqual(sequential ? most : mostOfHosvd);
    tensor.destroy();
  });

  it("is refused where f32 cannot promise it", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 3, 2], randomArray(24));
    await expect(method(engine, x, { relativeError: 1e-8 })).rejects.toThrow(
      /relativeError 1e-8 cannot be promised in f32, the least is 5e-7/,
    );
    await expect(method(engine, x, { relativeError: 1.5 })).rejects.toThrow(
      /relativeError is 1.5, needs a number between/,
    );
    await expect(method(engine, x, { relativeError: 0.1, ranks: 2 })).rejects.toThrow(
      /give either ranks .* or relativeError/,
    );
    await expect(method(engine, x, {})).rejects.toThrow(/give either ranks .* or relativeError/);
    await expect(method(engine, x, { rank: 2 } as object)).rejects.toThrow(
      /unknown option "rank"; it has ranks, relativeError/,
    );
  });

  it("takes one rank for all modes, as far as a mode has room for it", async () => {
    const engine = await testEngine();
    for (const [extents, rank, ranks] of [
      [[7, 6, 5], 2, [2, 2, 2]],
      [[9, 2, 8, 1], 3, [3, 2, 3, 1]],
      [[9, 8], 3, [3, 3]],
      [[9, 2, 2], 6, [4, 2, 2]],
      [[3, 4, 3, 3, 2], 2, [2, 2, 2, 2, 2]],
    ] as const) {
      const size = extents.reduce((a: number, b) => a * b, 1);
      using x = engine.tensor(extents, randomArray(size, 5));
      const { tensor, relativeError } = await method(engine, x, { ranks: rank });
      expect(tensor.ranks).toEqual(ranks);
      expect(relativeError).toBeLessThan(1);
      expect(await skewOf(engine, tensor.factors)).toBeLessThan(5e-6);
      tensor.destroy();
    }
  });

  it("ends where rounding alone is more than the error promised, and names the least", async () => {
    const engine = await testEngine();
    const data = randomArray(1000 * 16, 3);
    using x = engine.tensor([1000, 4, 4], data);
    const { live } = engine.memory();
    const told =
      /^\w+: relativeError 5e-7 is less than f32 can promise of this tensor; the least that it can is (\S+)$/;
    let least = 5e-7;
    try {
      (await method(engine, x, { relativeError: least, sweeps: 4 })).tensor.destroy();
    } catch (error) {
      const { message } = error as Error;
      expect(message).toMatch(told);
      least = Number(told.exec(message)![1]);
      expect(least).toBeGreaterThan(5e-7);
      expect(least).toBeLessThan(5e-6);
    }
    const { tensor, relativeError } = await method(engine, x, { relativeError: least, sweeps: 4 });
    expect(relativeError).toBeLessThanOrEqual(least);
    tensor.destroy();
    expect(engine.memory().live).toBe(live);
  });

  it("stops on abort, tells sweeps as they come, names the seed", async () => {
    const engine = await testEngine();
    using x = engine.tensor([15, 12, 10], plantedTucker([15, 12, 10], [3, 3, 3], 0.3, 11).data);
    const controller = new AbortController();
    const told: number[] = [];
    const result = await method(engine, x, {
      ranks: 3,
      tolerance: 0,
      sweeps: 1000,
      seed: 7,
      signal: controller.signal,
      onIteration: ({ sweep }) => {
        told.push(sweep);
        if (sweep === 6) controller.abort();
      },
    });
    expect(result).toMatchObject({ aborted: true, converged: false, stalled: false, seed: 7 });
    expect(result.sweeps).toBeLessThan(60);
    expect(told).toEqual(told.map((__, at) => at + 1));
    expect(told.length).toBe(result.errors.length);
    result.tensor.destroy();
  });
});

describe("tuckerHOOI", () => {
  it("is at least as good as its start, has orthonormal factors and an all-orthogonal core", async () => {
    const engine = await testEngine();
    const { data, shape, noiseError } = plantedTucker([31, 11, 9], [3, 2, 4], 0.2, 7);
    using x = engine.tensor(shape, data);
    const ranks = [3, 2, 4];
    const start = await stHosvd(engine, x, { ranks });
    const best = await tuckerHOOI(engine, x, { ranks, tolerance: 1e-7 });
    expect(best.relativeError).toBeLessThan(start.relativeError + 1e-6);
    expect(best.relativeError).toBeLessThan(noiseError);
    expect(best.relativeError).toBeGreaterThan(0.9 * noiseError);
    for (const [mode, factor] of best.tensor.factors.entries()) {
      const a = (await engine.read(factor!)) as Float32Array;
      const [rows, columns] = factor!.shape as [number, number];
      const m = new Matrix(
        Array.from({ length: rows }, (__, i) => Array.from(a.subarray(i * columns, (i + 1) * columns))),
      );
      const gram = m.transpose().mmul(m);
      expect(Matrix.sub(gram, Matrix.eye(columns)).norm()).toBeLessThan(1e-5);
      const core = (await engine.read(best.tensor.core)) as Float32Array;
      const slices = new Matrix(unfold(core, ranks, mode));
      const gramian = slices.mmul(slices.transpose());
      for (let i = 0; i < columns; i++) {
        if (i) expect(gramian.get(i, i)).toBeLessThanOrEqual(gramian.get(i - 1, i - 1) * 1.0001);
        for (let j = 0; j < i; j++) expect(Math.abs(gramian.get(i, j))).toBeLessThan(1e-3 * gramian.get(0, 0));
      }
      let largest = 0;
      for (let i = 0; i < rows; i++) if (Math.abs(a[i * columns]!) > Math.abs(largest)) largest = a[i * columns]!;
      expect(largest).toBeGreaterThan(0);
    }
    start.tensor.destroy();
    best.tensor.destroy();
  });

  it("projects new slices; the tensor itself gives its loadings back", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedTucker([40, 7, 6], [3, 7, 6], 0.1, 9);
    using x = engine.tensor(shape, data);
    const { tensor } = await tuckerHOOI(engine, x, { ranks: [3, 7, 6], tolerance: 1e-8, sweeps: 200 });
    const [projected, loadings] = (await evaluate(engine, (s) => [
      tensor.project(s, x),
      tensor.factors[0]!,
    ])) as Float32Array[];
    expect(distance(loadings!, projected!)).toBeLessThan(1e-3);
    tensor.destroy();
  });

  it("replays without a readback inside a batch of sweeps", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedTucker([15, 12, 10], [3, 3, 3], 0.3, 11);
    using x = engine.tensor(shape, data);
    const reports: number[] = [];
    const before = { ...engine.counters };
    const run = (sweeps: number) =>
      tuckerHOOI(engine, x, {
        ranks: [3, 3, 3],
        tolerance: 0,
        sweeps,
        onIteration: ({ sweep }) => reports.push(sweep),
      });
    const short = await run(4);
    const middle = { ...engine.counters };
    const long = await run(20);
    const after = engine.counters;
    // sixteen more sweeps are four more batches: four more submits, four more reads
    expect(after.readbacks - middle.readbacks - (middle.readbacks - before.readbacks)).toBe(4);
    expect(after.submits - middle.submits - (middle.submits - before.submits)).toBe(4);
    expect(reports).toEqual([
      ...Array.from({ length: 4 }, (__, i) => i + 1),
      ...Array.from({ length: 20 }, (__, i) => i + 1),
    ]);
    expect(long.sweeps).toBe(20);
    short.tensor.destroy();
    long.tensor.destroy();
  });

  it("stops on abort with what it has", async () => {
    const engine = await testEngine();
    const { data, shape } = plantedTucker([15, 12, 10], [3, 3, 3], 0.3, 11);
    using x = engine.tensor(shape, data);
    const controller = new AbortController();
    const result = await tuckerHOOI(engine, x, {
      ranks: [3, 3, 3],
      tolerance: 0,
      sweeps: 1000,
      signal: controller.signal,
      onIteration: ({ sweep }) => sweep === 8 && controller.abort(),
    });
    expect(result.aborted).toBe(true);
    expect(result.sweeps).toBeLessThan(30);
    expect(result.relativeError).toBeLessThan(0.5);
    result.tensor.destroy();
  });
});
