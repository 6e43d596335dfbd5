import { describe, expect, it } from "vitest";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { alsNormalize, alsUpdate, gram, hadamard, normalizeColumns, solveSymmetric } from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, relativeError, testEngine } from "../engine.js";
import { matmul, randomArray } from "../reference.js";

const gramOf = (a: Float32Array, rank: number) => matmul(a, a, rank, a.length / rank, rank, { transposeA: true });

/** What one update gives, by separate ops: the columns of `product` ÷ `norms`, then solve, normalise and gram. */
async function plainUpdate(
  engine: Engine,
  product: Float32Array,
  rank: number,
  grams: Float32Array[],
  norms: number[],
) {
  const scaled = product.map((value, e) => value / norms[e % rank]!);
  const tensors = [scaled, ...grams].map((values) => engine.tensor([values.length / rank, rank], values));
  const [m, one, two] = tensors as [Tensor, Tensor, Tensor];
  const results = (await evaluate(engine, (s) => {
    const normal = hadamard(s, one, two);
    const solved = solveSymmetric(s, normal, m, { ridge: 1e-7 });
    const { out, norms } = normalizeColumns(s, solved);
    return [out, norms, gram(s, out), normal, solved];
  })) as Float32Array[];
  for (const tensor of tensors) tensor.destroy();
  const [factor, columnNorms, factorGram, normal, solved] = results as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const inner = solved.reduce((sum, value, e) => sum + value * scaled[e]!, 0);
  const model = gramOf(solved, rank).reduce((sum, value, e) => sum + value * normal[e]!, 0);
  return { factor, norms: [...columnNorms], gram: factorGram, inner, model };
}

describe.each([
  ["with its features", testEngine],
  ["without features, as on GPUs", plainEngine],
])("a sweep of ALS updates, %s", (_, open) => {
  it.each([
    [[1, 1, 1], 1, 1],
    [[5, 7, 4], 3, 2],
    [[200, 90, 130], 16, 7],
    [[1000, 33, 40], 17, 1],
    [[70, 64, 50], 32, 20],
  ])("of %j, rank %i, products in %i parts is solve, normalise and gram in turn", async (shape, rank, splits) => {
    const engine = await open();
    const stride = Math.ceil((rank ** 2 + rank) / 64) * 64;
    const start = new Float32Array(3 * stride);
    let grams: Float32Array[] = shape.map((_, mode) =>
      Float32Array.from(gramOf(randomArray((rank + 5 + mode) * rank, 10 + mode), rank)),
    );
    grams.forEach((values, mode) => {
      start.set(values, mode * stride);
    });
    using all = engine.tensor([3, stride], start);
    const products = shape.map((rows, mode) => randomArray(splits * rows * rank, mode));
    const productTensors = products.map((values, mode) => engine.tensor([splits, shape[mode]!, rank], values));
    const factors = shape.map((rows) => engine.tensor([rows, rank]));
    using weights = engine.tensor([rank]);
    using values = engine.tensor([192]);
    using rows = engine.tensor([2, 192]);
    using counter = engine.tensor([1], new Uint32Array([3]));
    await engine.run((s) => {
      const shared = (mode: number) => ({
        product: productTensors[mode]!,
        grams: all,
        mode,
        factor: factors[mode]!,
        ridge: 1e-7,
      });
      let previous = alsUpdate(s, shared(0));
      previous = alsUpdate(s, { ...shared(1), previous });
      // `unscaled: 0`: the product of mode 2 was made with the first factor before its columns were normalised
      previous = alsUpdate(s, { ...shared(2), previous, unscaled: 0 });
      alsNormalize(s, { previous, grams: all, weights, values, trace: { rows, counter } });
    });
    const sums = products.map((all, mode) => {
      const size = shape[mode]! * rank;
      return all.subarray(0, size).map((_, e) => {
        let sum = 0;
        for (let part = 0; part < splits; part++) sum += all[part * size + e]!;
        return sum;
      });
    });
    const ones = Array(rank).fill(1);
    const wanted = [];
    let norms = [ones, ones];
    for (const mode of [0, 1, 2]) {
      const others = grams.filter((_, other) => other !== mode);
      const inM = mode === 2 ? norms[0]!.map((norm, r) => norm * norms[1]![r]) : norms[0]!;
      const update = await plainUpdate(engine, sums[mode]!, rank, others, inM);
      wanted.push(update);
      norms = [update.norms, norms[0]!];
      grams = grams.map((values, other) => (other === mode ? update.gram : values));
    }
    const [gotWeights, gotGrams, gotValues, gotTrace, count] = (await engine.read([
      weights,
      all,
      values,
      rows,
      counter,
    ])) as Float32Array[];
    for (const [mode, factor] of factors.entries()) {
      expectClose((await factor.read()) as Float32Array, wanted[mode]!.factor, 2e-3);
      expectClose(gotGrams!.subarray(mode * stride, mode * stride + rank ** 2), wanted[mode]!.gram, 2e-3);
    }
    const { inner, model, norms: last } = wanted[2]!;
    expectClose(gotWeights!, last, 2e-3);
    expect(relativeError([gotValues![0]!, gotValues![64]!], [inner, model])).toBeLessThan(2e-3);
    expect(gotValues![128]).toBe(-1);
    // the counter began at 3, so this is the fourth row; in a ring of two rows it is row 1
    expect(count![0]).toBe(4);
    expect([gotTrace![192], gotTrace![256], gotTrace![320]]).toEqual([gotValues![0], gotValues![64], -1]);
    expect(gotTrace![0]).toBe(0);
    for (const tensor of [...productTensors, ...factors]) tensor.destroy();
  });

  it.each([
    [3, 1],
    [16, 5],
    [32, 1],
  ])("of rank %i with %i parts keeps of a factor what the proximal term says", async (rank, splits) => {
    const engine = await open();
    const rows = 70;
    const stride = Math.ceil((rank ** 2 + rank) / 64) * 64;
    const other = randomArray((rank + 9) * rank, 3);
    const start = new Float32Array(2 * stride);
    start.set(gramOf(other, rank));
    const parts = randomArray(splits * rows * rank, 4);
    const before = randomArray(rows * rank, 5);
    const lambda = randomArray(rank, 6).map((value) => 2 + value);
    const [ridge, proximal] = [0.02, 0.3];
    using product = engine.tensor([splits, rows, rank], parts);
    using grams = engine.tensor([2, stride], start);
    using factor = engine.tensor([rows, rank], before);
    using weights = engine.tensor([rank], lambda);
    using values = engine.tensor([192]);
    await engine.run((s) => {
      const previous = alsUpdate(s, { product, grams, mode: 1, factor, ridge, proximal, weights });
      alsNormalize(s, { previous, grams, weights, values });
    });
    const [normalized, norms, innerProducts] = (await engine.read([factor, weights, values])) as Float32Array[];
    // the factor is (M + proximal·mean·A₀)·(V + (ridge + proximal)·mean·I)⁻¹; times the second matrix it is M + proximal·mean·A₀
    const v = gramOf(other, rank);
    const mean = Array.from({ length: rank }, (_, r) => v[r * rank + r]! / rank).reduce((a, b) => a + b);
    const solved = Float32Array.from(normalized!, (value, e) => value * norms![e % rank]!);
    const shifted = v.map((value, e) => value + (e % (rank + 1) === 0 ? (ridge + proximal) * mean : 0));
    const m = Array.from({ length: rows * rank }, (_, e) => {
      let sum = 0;
      for (let part = 0; part < splits; part++) sum += parts[part * rows * rank + e]!;
      return sum;
    });
    const wanted = m.map((value, e) => value + proximal * mean * before[e]! * lambda[e % rank]!);
    expectClose(matmul(solved, shifted, rows, rank, rank), wanted, 1e-5);
    const inner = m.reduce((sum, value, e) => sum + value * solved[e]!, 0);
    const terms = norms!.reduce((sum, value) => sum + value * value, 0);
    expect(Math.abs(innerProducts![0]! - inner)).toBeLessThan(1e-5 * Math.sqrt(terms) * Math.hypot(...m));
    expect(innerProducts![65]! / terms).toBeCloseTo(1, 5);
  });

  it("drops a column that depends on those before it, and keeps a zero column", async () => {
    const engine = await open();
    using product = engine.tensor([2, 3], [2, 2, 0, 4, 4, 0]);
    using grams = engine.tensor([2, 64], Float32Array.from([1, 1, 0, 1, 1, 0, 0, 0, 0, ...Array(119).fill(0)]));
    using factor = engine.tensor([2, 3]);
    using weights = engine.tensor([3]);
    using values = engine.tensor([3]);
    await engine.run((s) => {
      const previous = alsUpdate(s, { product, grams, mode: 1, factor, ridge: 0 });
      alsNormalize(s, { previous, grams, weights, values });
    });
    const [a, norms] = (await engine.read([factor, weights])) as Float32Array[];
    expectClose(
      a!,
      [1, 0, 0, 2, 0, 0].map((value) => value / Math.sqrt(5)),
      1e-6,
    );
    expectClose(norms!, [2 * Math.sqrt(5), 0, 0], 1e-6);
  });

  it("says what does not fit", async () => {
    const engine = await open();
    using wide = engine.tensor([4, 33]);
    using m = engine.tensor([4, 3]);
    using factor = engine.tensor([4, 3]);
    using grams = engine.tensor([3, 11]);
    using enough = engine.tensor([3, 12]);
    using s = engine.scheduler();
    const rest = { mode: 0, factor, ridge: 0 };
    expect(() => alsUpdate(s, { ...rest, grams, product: wide })).toThrow("at most 32 columns");
    expect(() => alsUpdate(s, { ...rest, grams, product: m })).toThrow("need a row of 12 or more a mode");
    const previous = alsUpdate(s, { ...rest, grams: enough, product: m });
    expect(() => alsUpdate(s, { ...rest, grams: enough, product: m, proximal: 1 })).toThrow("needs the weights");
    expect(() => alsUpdate(s, { ...rest, grams: enough, product: m, mode: 2, previous })).toThrow(
      "mode 0 cannot be the one before",
    );
  });
});
