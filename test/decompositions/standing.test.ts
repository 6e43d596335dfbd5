/** What stands on QR and SVD, over matrices and tensors with nearly dependent columns: ranks and errors are those of f64. */
import { Matrix, SingularValueDecomposition } from "ml-matrix";
import { describe, expect, it } from "vitest";
import {
  evbmf,
  hosvd,
  leadingSubspace,
  stHosvd,
  tensorRingSVD,
  truncatedSvd,
  ttMatrix,
  ttSVD,
} from "../../src/decompositions/index.js";
import type { Engine } from "../../src/gpu/index.js";
import { svdLinear } from "../../src/nn/index.js";
import { evaluate, testEngine } from "../engine.js";
import { records } from "../fixtures/lapack.js";
import { checksum, zooMatrix, zooTensor } from "../fixtures/zoo.js";
import { matmul } from "../reference.js";
import { BEST, BOUNDS, departure, judged, norm } from "./judged.js";
import { distance } from "./planted.js";

const { standing } = records;

/** At most 0.1 % and 2e-6 above the best there is. */
const nearBest = (best: number): number => best * (1 + BEST.relative) + BEST.absolute;

/** What is told of an error agrees with it. */
const expectTold = (told: number, actual: number): void => expect(Math.abs(told - actual)).toBeLessThanOrEqual(1e-6);

/** Each is at most one more than f64's. */
function expectRanks(ranks: readonly number[], exact: readonly number[]): void {
  expect(ranks.length).toBe(exact.length);
  for (const [k, rank] of ranks.entries())
    expect(rank, `rank ${k} of ${ranks.join(", ")}, in f64 ${exact.join(", ")}`).toBeLessThanOrEqual(exact[k]! + 1);
}

/** The error of a truncated SVD in f64, and how far its columns are from orthonormal. */
async function truncate(engine: Engine, data: Float32Array, [m, n]: readonly [number, number], options: object) {
  using a = engine.tensor([m, n], data);
  using result = await truncatedSvd(engine, a, options);
  const [u, values, v] = (await engine.read([result.u, result.values, result.v])) as Float32Array[];
  const { rank } = result;
  const rest = Float64Array.from(data, (value, at) => {
    const [i, j] = [Math.floor(at / n) * rank, (at % n) * rank];
    for (let r = 0; r < rank; r++) value -= u![i + r]! * values![r]! * v![j + r]!;
    return value;
  });
  const loss = Math.max(departure(u!, m, rank)[0], departure(v!, n, rank)[0]);
  return { rank, values: values!, error: norm(rest) / norm(data), told: result.relativeError, loss };
}

/** m×n, rank, error, first singular values: sums of exponentials and sines that were wrong by up to 18 %. */
const wrongOnce = [
  ["gaussian", 21, 20, 3, 0.0036775, [15.507075, 4.2946, 0.628868]],
  ["gaussian", 41, 40, 3, 0.0032742, [30.960298, 8.265546, 1.158969]],
  ["gaussian", 40, 41, 3, 0.0032742, [30.960298, 8.265546, 1.158969]],
  ["gaussian", 40, 40, 3, 0.003279, [30.57649, 8.166856, 1.14577]],
  ["gaussian", 64, 200, 4, 1.97338e-4, [87.011463, 22.728941, 3.103015, 0.273257]],
  ["1000 + sines", 200, 64, 3, 6.55813e-4, [null, 19.021]],
  ["five sines", 784, 100, 5, 6.11992e-4, []],
] as const;

describe("truncatedSvd", () => {
  it.each(wrongOnce)("of %s, %i×%i, to rank %i has the error %f", async (member, m, n, rank, error, values) => {
    const engine = await testEngine();
    const result = await truncate(engine, zooMatrix(member, m, n), [m, n], { rank });
    expect(result.error).toBeLessThanOrEqual(nearBest(error));
    expectTold(result.told, result.error);
    expect(result.loss).toBeLessThanOrEqual(BOUNDS.orthonormal);
    for (const [k, value] of values.entries())
      if (value)
        expect(Math.abs(result.values[k]! - value)).toBeLessThanOrEqual(BOUNDS.values * result.values[0]! + 1e-6);
  });

  it.each(standing.truncated.map((row) => [...row.matrix, row.relativeError, row.rank] as const))(
    "of %s, %i×%i, keeps the promised error %f by rank %i",
    async (member, m, n, relativeError, rank) => {
      const engine = await testEngine();
      const result = await truncate(engine, zooMatrix(member, m, n), [m, n], { relativeError });
      expect(result.error).toBeLessThanOrEqual(relativeError);
      expectTold(result.told, result.error);
      expectRanks([result.rank], [rank]);
    },
  );

  it.each([1e-20, 1e19])("does not depend on the scale %f", async (scale) => {
    const engine = await testEngine();
    const small = Float32Array.of(1, 2, 3, 4).map((value) => value * scale);
    expect((await truncate(engine, small, [2, 2], { rank: 1 })).told).toBeCloseTo(0.066816, 6);
    const data = zooMatrix("uniform", 40, 30);
    const one = await truncate(engine, data, [40, 30], { rank: 4 });
    const scaled = data.map((value) => value * scale);
    const other = await truncate(engine, scaled, [40, 30], { rank: 4 });
    expect(Math.abs(other.told - one.told)).toBeLessThan(1e-6);
    for (const [k, value] of one.values.entries()) expect(other.values[k]! / value / scale).toBeCloseTo(1, 5);
  });
});

describe("ttSVD and tensorRingSVD", () => {
  it.each(standing.trains.map((row) => [row.tensor, row.relativeError, row] as const))(
    "of %s keep the promised error %f by f64's ranks",
    async (name, relativeError, { train, ring }) => {
      const engine = await testEngine();
      const { shape, data } = zooTensor(name);
      expect(checksum(data), "the bits of the tensor").toBe(standing.bits[name]);
      using x = engine.tensor(shape, data);
      const result = await ttSVD(engine, x, { relativeError });
      const error = distance(data, await evaluate(engine, (s) => result.tensor.full(s)));
      result.tensor.destroy();
      expect(error).toBeLessThanOrEqual(relativeError);
      expectTold(result.relativeError, error);
      expectRanks(result.tensor.ranks.slice(1, -1), train);
      const closed = await tensorRingSVD(engine, x, { relativeError });
      const ringError = distance(data, await evaluate(engine, (s) => closed.tensor.full(s)));
      closed.tensor.destroy();
      expect(ringError).toBeLessThanOrEqual(relativeError);
      expectTold(closed.relativeError, ringError);
      const { ranks } = closed.tensor;
      // the first rank is shared out to two; where it is one more, the ranks behind are another train's
      expectRanks([ranks[0]! * ranks[1]!], [ring[0]! * ring[1]!]);
      if (ranks[0] === ring[0] && ranks[1] === ring[1]) expectRanks(ranks.slice(2, ring.length), ring.slice(2));
    },
  );

  it("refuse what f32 cannot promise", async () => {
    const engine = await testEngine();
    const { shape, data } = zooTensor("hilbert");
    using x = engine.tensor(shape, data);
    await expect(ttSVD(engine, x, { relativeError: 1e-8 })).rejects.toThrow(/relativeError 1e-8/);
    await expect(tensorRingSVD(engine, x, { relativeError: 1e-8 })).rejects.toThrow(/relativeError 1e-8/);
    using a = engine.tensor([8, 5], zooMatrix("uniform", 8, 5));
    await expect(truncatedSvd(engine, a, { relativeError: 1e-8 })).rejects.toThrow(/relativeError 1e-8/);
  });
});

describe("ttMatrix", () => {
  it.each(standing.ttMatrices.map((row) => [...row.matrix, row.relativeError, row] as const))(
    "of %s, %i×%i, keeps the promised error %f by f64's ranks",
    async (member, m, n, relativeError, { rowModes, columnModes, ranks }) => {
      const engine = await testEngine();
      const data = zooMatrix(member, m, n);
      using w = engine.tensor([m, n], data);
      const result = await ttMatrix(engine, w, { rowModes, columnModes, relativeError });
      const error = distance(data, await evaluate(engine, (s) => result.tensor.toDense(s)));
      result.tensor.destroy();
      expect(error).toBeLessThanOrEqual(relativeError);
      expectTold(result.relativeError, error);
      expectRanks(
        result.tensor.cores.slice(1).map((core) => core.shape[0]!),
        ranks,
      );
    },
  );
});

describe("hosvd and stHosvd", () => {
  it.each(standing.tucker.map((row) => [row.tensor, row.ranks.join(", "), row] as const))(
    "of %s to ranks %s are as near as f64's",
    async (name, _, { ranks, ...best }) => {
      const engine = await testEngine();
      const { shape, data } = zooTensor(name);
      using x = engine.tensor(shape, data);
      for (const [method, decompose] of Object.entries({ hosvd, stHosvd })) {
        const { tensor, relativeError } = await decompose(engine, x, { ranks });
        const error = distance(data, await evaluate(engine, (s) => tensor.full(s)));
        const factors = (await engine.read(tensor.factors.filter((factor) => factor !== null))) as Float32Array[];
        const losses = factors.map((factor, mode) => departure(factor, factor.length / ranks[mode]!, ranks[mode]!)[0]);
        tensor.destroy();
        expect(error, method).toBeLessThanOrEqual(nearBest(best[method as "hosvd" | "stHosvd"]));
        expectTold(relativeError, error);
        expect(Math.max(...losses), method).toBeLessThanOrEqual(BOUNDS.orthonormal);
      }
    },
  );
});

describe("leadingSubspace", () => {
  it.each(wrongOnce)("of %s, %i×%i, of %i columns leaves %f", async (member, m, n, rank, error) => {
    const engine = await testEngine();
    const data = zooMatrix(member, m, n);
    using a = engine.tensor([m, n], data);
    const { vectors, errors } = await leadingSubspace(engine, a, 0, rank);
    const u = (await vectors.read()) as Float32Array;
    vectors.destroy();
    expect(departure(u, m, rank)[0]).toBeLessThanOrEqual(BOUNDS.orthonormal);
    const projected = matmul(u, data, rank, m, n, { transposeA: true });
    const actual = distance(data, matmul(u, projected, m, rank, n));
    expect(actual).toBeLessThanOrEqual(nearBest(error));
    expectTold(errors.at(-1)!, actual);
  });
});

describe("svdLinear", () => {
  it.each([
    ["five sines", 784, 100, 5, 6.11992e-4],
    ["gaussian", 64, 200, 4, 1.97338e-4],
    ["1000 + sines", 200, 64, 3, 6.55813e-4],
  ] as const)("of the transpose of %s, %i×%i, to rank %i has the error %f", async (member, m, n, rank, error) => {
    const engine = await testEngine();
    const data = zooMatrix(member, m, n);
    const weight = Float32Array.from(data, (_, at) => data[(at % m) * n + Math.floor(at / m)]!);
    const layer = await svdLinear(engine, { inputs: m, outputs: n, weight }, { rank });
    expect(distance(weight, await layer.toDense())).toBeLessThanOrEqual(nearBest(error));
  });
});

describe("evbmf", () => {
  it.each([
    ["rank 5 + 1e-2", 100, 33],
    ["five sines", 784, 100],
    ["1000 + sines", 200, 64],
    ["1000 + noise", 31, 100],
  ] as const)("finds by our singular values of %s, %i×%i, what it finds by f64's", async (member, m, n) => {
    const engine = await testEngine();
    const data = zooMatrix(member, m, n);
    using a = engine.tensor([m, n], data);
    const { values } = await judged.svd(engine, a);
    const { diagonal } = new SingularValueDecomposition(Matrix.from1DArray(m, n, [...data]), { autoTranspose: true });
    const [choice, exact] = [evbmf(values, m, n), evbmf(diagonal, m, n)];
    expect(choice.rank).toBe(exact.rank);
    expect(Math.abs(choice.noiseVariance / exact.noiseVariance - 1)).toBeLessThan(0.02);
  });
});
