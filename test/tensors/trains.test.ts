import { describe, expect, it } from "vitest";
import { ttMatrix, ttSVD } from "../../src/decompositions/index.js";
import {
  innerProduct,
  norm,
  ringToTrain,
  trainToRing,
  ttAdd,
  ttEntries,
  ttHadamard,
  ttMultiply,
  ttOrthogonalise,
  ttRound,
  ttScale,
} from "../../src/index.js";
import type { TensorTrain } from "../../src/tensors/index.js";
import { distance, norm as norm64, unravel } from "../decompositions/planted.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { matmul, randomArray } from "../reference.js";
import { dot, randomRing, randomTrain } from "./models.js";

const engine = await testEngine();
const fullOf = (train: TensorTrain): Promise<Float32Array> => evaluate(engine, (s) => train.full(s));

describe.each([
  { shape: [4, 3, 5], a: [1, 2, 3, 1], b: [1, 3, 2, 1] },
  { shape: [1, 6, 1, 2], a: [1, 1, 2, 2, 1], b: [1, 1, 1, 1, 1] },
  { shape: [2, 2, 2, 2, 2, 2], a: [1, 2, 3, 3, 2, 2, 1], b: [1, 2, 2, 2, 2, 2, 1] },
  { shape: [7], a: [1, 1], b: [1, 1] },
])("trains of shape $shape", ({ shape, a, b }) => {
  it("add, multiply, scale, and have entries", async () => {
    const [x, y] = [randomTrain(engine, shape, a, 3), randomTrain(engine, shape, b, 30)];
    using sum = await ttAdd(x.tensor, y.tensor);
    using product = await ttHadamard(x.tensor, y.tensor);
    using half = await ttScale(x.tensor, -0.5);
    const close = async (train: TensorTrain, expected: Float64Array) =>
      expect(distance(expected, await fullOf(train))).toBeLessThan(1e-6);
    await close(
      sum,
      x.full.map((value, e) => value + y.full[e]!),
    );
    await close(
      product,
      x.full.map((value, e) => value * y.full[e]!),
    );
    await close(
      half,
      x.full.map((value) => -0.5 * value),
    );
    expect(sum.ranks).toEqual(a.map((rank, k) => (k === 0 || k === shape.length ? 1 : rank + b[k]!)));
    expect(product.ranks).toEqual(a.map((rank, k) => rank * b[k]!));
    const indices = Array.from(x.full, (_, flat) => unravel(flat, shape));
    expectClose(await ttEntries(x.tensor, indices), x.full, 1e-12);
    expect((await innerProduct(x.tensor, y.tensor)) / dot(x.full, y.full)).toBeCloseTo(1, 9);
    expect((await norm(x.tensor)) / norm64(x.full)).toBeCloseTo(1, 10);
    x.tensor.destroy();
    y.tensor.destroy();
  });

  it("become orthogonal from the left and from the right", async () => {
    const { tensor, full } = randomTrain(engine, shape, a, 5);
    for (const side of ["left", "right"] as const) {
      using turned = await ttOrthogonalise(tensor, { side });
      expect(distance(full, await fullOf(turned))).toBeLessThan(1e-6);
      for (const [k, core] of turned.cores.entries()) {
        if (k === (side === "left" ? shape.length - 1 : 0)) continue;
        const [left, extent, right] = core.shape as [number, number, number];
        const data = await core.read();
        const gram =
          side === "left"
            ? matmul(data, data, right, left * extent, right, { transposeA: true })
            : matmul(data, data, left, extent * right, left, { transposeB: true });
        const size = side === "left" ? right : left;
        gram.forEach((value, at) => {
          expect(Math.abs(value - (at % (size + 1) === 0 ? 1 : 0))).toBeLessThan(1e-6);
        });
      }
    }
    tensor.destroy();
  });

  it("are rounded to the ranks that they need", async () => {
    const { tensor, full } = randomTrain(engine, shape, a, 7);
    using twice = await ttAdd(tensor, tensor);
    const { tensor: rounded, relativeError } = await ttRound(twice, { relativeError: 1e-5 });
    for (const [k, rank] of rounded.ranks.entries()) expect(rank).toBeLessThanOrEqual(a[k]!);
    expect(relativeError).toBeLessThan(1e-5);
    expect(
      distance(
        full.map((value) => 2 * value),
        await fullOf(rounded),
      ),
    ).toBeLessThan(1e-6);
    rounded.destroy();
    tensor.destroy();
  });
});

describe("rounding", () => {
  it.each([0.5, 0.1, 0.01, 1e-4])("keeps the promised error %f, and tells the error that it has", async (promised) => {
    const shape = [5, 6, 4, 5];
    const { tensor, full } = randomTrain(engine, shape, [1, 5, 9, 5, 1], 2);
    const { tensor: rounded, relativeError } = await ttRound(tensor, { relativeError: promised });
    const error = distance(full, await fullOf(rounded));
    expect(error).toBeLessThanOrEqual(promised);
    expect(Math.abs(error - relativeError)).toBeLessThan(1e-6);
    rounded.destroy();
    tensor.destroy();
  });

  it("cuts to ranks as TT-SVD of the full tensor does", async () => {
    const shape = [5, 4, 6];
    const { tensor, full } = randomTrain(engine, shape, [1, 5, 6, 1], 4);
    using x = engine.tensor(shape, full);
    const direct = await ttSVD(engine, x, { ranks: 2 });
    const cut = await ttRound(tensor, { ranks: 2 });
    expect(cut.tensor.ranks).toEqual([1, 2, 2, 1]);
    // both are quasi-optimal, from different sides
    expect(cut.relativeError).toBeLessThan(1.1 * direct.relativeError);
    expect(cut.relativeError).toBeGreaterThan(0.9 * direct.relativeError);
    for (const train of [direct.tensor, cut.tensor, tensor]) train.destroy();
  });

  it("tells differences far below what a root of squares could", async () => {
    const { tensor } = randomTrain(engine, [6, 5, 4], [1, 3, 3, 1], 8);
    using same = await ttScale(tensor, 1);
    using minus = await ttScale(same, -1);
    using difference = await ttAdd(tensor, minus);
    expect((await norm(difference)) / (await norm(tensor))).toBeLessThan(1e-14);
    const { tensor: nothing } = await ttRound(difference, { ranks: 1 });
    expect(nothing.ranks).toEqual([1, 1, 1, 1]);
    nothing.destroy();
    tensor.destroy();
  });

  it("refuses what f32 cannot hold or promise", async () => {
    const { tensor } = randomTrain(engine, [4, 5], [1, 4, 1], 3);
    await expect(ttRound(tensor, { relativeError: 1e-9 })).rejects.toThrow(/less than cores in f32 can promise/);
    await expect(ttRound(tensor, {})).rejects.toThrow(/give ranks, relativeError or both/);
    await expect(ttRound(tensor, { ranks: [1, 2] })).rejects.toThrow(/2 ranks for a train of 2 cores, needs 1/);
    await expect(ttRound(tensor, { rank: 2 } as never)).rejects.toThrow(/unknown option "rank"/);
    await expect(ttScale(tensor, 1e39)).rejects.toThrow(/which f32 cannot/);
    await expect(ttScale(tensor, Number.NaN)).rejects.toThrow(/factor is NaN/);
    await expect(ttAdd(tensor, {} as never)).rejects.toThrow(/ttAdd: b is .* needs a TensorTrain/);
    using other = randomTrain(engine, [4, 4], [1, 2, 1], 3).tensor;
    await expect(ttAdd(tensor, other)).rejects.toThrow("a is a train of shape 4×5, b of 4×4");
    await expect(ttEntries(tensor, [[0, 5]])).rejects.toThrow(/index 0 is \[0, 5\], needs 2 whole numbers below 4×5/);
    tensor.destroy();
  });
});

describe("matrices and rings", () => {
  it("multiplies a matrix and a vector that are trains", async () => {
    const [rowModes, columnModes] = [
      [2, 3, 2],
      [3, 2, 4],
    ];
    const data = randomArray(12 * 24, 6);
    using w = engine.tensor([12, 24], data);
    const { tensor: matrix } = await ttMatrix(engine, w, { rowModes, columnModes, ranks: 100 });
    const vector = randomTrain(engine, columnModes, [1, 2, 3, 1], 9);
    using product = await ttMultiply(matrix, vector.tensor);
    expect(product.shape).toEqual(rowModes);
    expect(distance(matmul(data, vector.full, 12, 24, 1), await fullOf(product))).toBeLessThan(2e-6);
    using short = randomTrain(engine, [3, 2, 3], [1, 1, 1, 1], 9).tensor;
    await expect(ttMultiply(matrix, short)).rejects.toThrow(/column modes 3×2×4, the vector 3×2×3/);
    matrix.destroy();
    vector.tensor.destroy();
  });

  it.each([
    [
      [4, 3, 5],
      [2, 3, 2],
    ],
    [
      [2, 2, 2, 3],
      [3, 2, 2, 4],
    ],
    [
      [5, 4],
      [2, 3],
    ],
  ])("turns a ring of shape %j and ranks %j into a train, and a train into a ring", async (shape, ranks) => {
    const ring = randomRing(engine, shape, ranks, 4);
    using train = await ringToTrain(ring.tensor);
    expect(distance(ring.full, await fullOf(train))).toBeLessThan(1e-6);
    using again = await trainToRing(train);
    expect(again.ranks[0]).toBe(1);
    expect(distance(ring.full, await evaluate(engine, (s) => again.full(s)))).toBeLessThan(1e-6);
    expectClose(
      await ttEntries(ring.tensor, [unravel(1, shape), unravel(7, shape)]),
      [ring.full[1]!, ring.full[7]!],
      1e-12,
    );
    ring.tensor.destroy();
  });
});
