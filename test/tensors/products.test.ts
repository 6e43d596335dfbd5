import { describe, expect, it } from "vitest";
import { innerProduct, modeProduct, norm } from "../../src/index.js";
import { type DecomposedTensor, KruskalTensor } from "../../src/tensors/index.js";
import { distance, modeProduct as modeProduct64, norm as norm64 } from "../decompositions/planted.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { dot, randomBlocks, randomKruskal, randomRing, randomTrain, randomTucker } from "./models.js";

const engine = await testEngine();
const SHAPES = [
  [5, 4, 3],
  [1, 7, 2],
  [6, 5],
  [2, 3, 1, 4, 2],
];

/** One of every kind, of a shape. */
function everyKind(shape: number[], seed: number) {
  const d = shape.length;
  const inner = new Array<number>(d - 1).fill(2);
  const low = shape.map((extent, mode) => (mode === 1 ? extent : Math.min(2, extent)));
  return {
    kruskal: randomKruskal(engine, shape, 3, seed),
    tucker: randomTucker(engine, shape, low, seed + 100),
    train: randomTrain(engine, shape, [1, ...inner, 1], seed + 200),
    ring: randomRing(engine, shape, new Array<number>(d).fill(2), seed + 300),
    blocks: randomBlocks(engine, shape, low, 2, seed + 400),
  };
}

describe.each(SHAPES)("products of decomposed tensors of shape %j and more", (...shape) => {
  it("norms and inner products of all pairs are those of the full tensors", async () => {
    const [first, second] = [everyKind(shape, 1), everyKind(shape, 900)];
    const dense = randomArray(first.kruskal.full.length, 77);
    using x = engine.tensor(shape, dense);
    for (const [name, a] of Object.entries(first)) {
      expect(Math.abs((await norm(a.tensor)) / norm64(a.full) - 1), name).toBeLessThan(3e-6);
      const bound = (b: ArrayLike<number>) => 3e-6 * norm64(a.full) * norm64(b);
      expect(Math.abs((await innerProduct(a.tensor, x)) - dot(a.full, dense)), `${name}, dense`).toBeLessThan(
        bound(dense),
      );
      expect(Math.abs((await innerProduct(x, a.tensor)) - dot(a.full, dense))).toBeLessThan(bound(dense));
      for (const [other, b] of Object.entries(second))
        expect(
          Math.abs((await innerProduct(a.tensor, b.tensor)) - dot(a.full, b.full)),
          `${name}, ${other}`,
        ).toBeLessThan(bound(b.full));
    }
    for (const { tensor } of [...Object.values(first), ...Object.values(second)]) tensor.destroy();
  });

  it("mode products by matrices and vectors are those of the full tensors", async () => {
    const all = everyKind(shape, 5);
    for (const [name, { tensor, full }] of Object.entries(all)) {
      for (const [mode, extent] of shape.entries()) {
        const [matrix, vector] = [randomArray(3 * extent, 8), randomArray(extent, 9)];
        using u = engine.tensor([3, extent], matrix);
        const product = await modeProduct(tensor as DecomposedTensor, u, mode);
        expect(product.shape).toEqual(shape.map((size, k) => (k === mode ? 3 : size)));
        const expected = modeProduct64(full, shape, matrix, 3, mode);
        expect(distance(expected, await evaluate(engine, (s) => product.full(s))), `${name} ${mode}`).toBeLessThan(
          3e-6,
        );
        product.destroy();
        using v = engine.tensor([extent], vector);
        if (name === "ring" && shape.length === 2) {
          await expect(modeProduct(tensor as DecomposedTensor, v, mode)).rejects.toThrow(/ringToTrain/);
          continue;
        }
        const contracted = await modeProduct(tensor as DecomposedTensor, v, mode);
        expect(contracted.shape).toEqual(shape.filter((_, k) => k !== mode));
        const less = modeProduct64(full, shape, vector, 1, mode);
        expect(
          distance(less, await evaluate(engine, (s) => contracted.full(s))),
          `${name} ${mode}, vector`,
        ).toBeLessThan(1e-5);
        contracted.destroy();
      }
    }
    for (const { tensor } of Object.values(all)) tensor.destroy();
  });
});

describe("products of decomposed tensors", () => {
  it.each([1e25, 1e-25])("stay in range where the numbers are near %f", async (scale) => {
    const k = randomKruskal(engine, [4, 3, 5], 2, 3, scale);
    const t = randomTucker(engine, [4, 3, 5], [2, 2, 2], 4, scale);
    expect((await norm(k.tensor)) / norm64(k.full)).toBeCloseTo(1, 5);
    expect((await norm(t.tensor)) / norm64(t.full)).toBeCloseTo(1, 5);
    expect((await innerProduct(k.tensor, t.tensor)) / dot(k.full, t.full)).toBeCloseTo(1, 4);
    k.tensor.destroy();
    t.tensor.destroy();
  });

  it("work for one mode, and for zeros", async () => {
    const one = randomKruskal(engine, [6], 2, 3);
    const dense = randomArray(6, 4);
    using x = engine.tensor([6], dense);
    expect(await innerProduct(one.tensor, x)).toBeCloseTo(dot(one.full, dense), 5);
    expect(await norm(one.tensor)).toBeCloseTo(norm64(one.full), 5);
    await expect(modeProduct(one.tensor, x, 0)).rejects.toThrow(/no mode would be left/);
    using zero = new KruskalTensor(engine.tensor([2], [0, 0]), [engine.tensor([3, 2], [1, 2, 3, 4, 5, 6])]);
    expect(await norm(zero)).toBe(0);
    one.tensor.destroy();
  });

  it("are recorded when the first argument is a Scheduler", async () => {
    const data = randomArray(12, 5);
    using x = engine.tensor([4, 3], data);
    using u = engine.tensor([2, 3], randomArray(6, 6));
    const [length, product, turned] = (await evaluate(engine, (s) => [
      norm(s, x),
      innerProduct(s, x, x),
      modeProduct(s, x, u, 1),
    ])) as Float32Array[];
    expect(length![0]).toBeCloseTo(norm64(data), 5);
    expect(product![0]).toBeCloseTo(dot(data, data), 5);
    expect(turned).toHaveLength(8);
  });

  it("say what does not fit", async () => {
    const k = randomKruskal(engine, [4, 3, 2], 2, 3).tensor;
    using x = engine.tensor([4, 3, 3], randomArray(36));
    await expect(innerProduct(k, x)).rejects.toThrow("innerProduct: x is 4×3×2, y 4×3×3, they need the same shape");
    await expect(innerProduct(k, 3 as never)).rejects.toThrow(/innerProduct: y is 3, needs a Tensor, or a decomposed/);
    await expect(norm(x as never)).rejects.toThrow(/of a tensor it is recorded/);
    expect(() => norm(k as never, x)).toThrow(/needs a Scheduler/);
    await expect(modeProduct(k, x, 1)).rejects.toThrow(/needs a matrix J×3 or a vector of 3/);
    await expect(modeProduct(k, x, 3)).rejects.toThrow(/mode 3 of a tensor of shape 4×3×2, needs 0 to 2/);
    k.destroy();
  });
});
