import { describe, expect, it } from "vitest";
import { alsUpdate, gram, hadamard, normalizeColumns, solveSymmetric } from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, relativeError, testEngine } from "../engine.js";
import { matmul, randomArray } from "../reference.js";

const gramOf = (a: Float32Array, rank: number) => matmul(a, a, rank, a.length / rank, rank, { transposeA: true });

describe.each([
  ["as found", testEngine],
  ["without features, as on GPUs", plainEngine],
])("an ALS update, %s", (_, open) => {
  it.each([
    [1, 1],
    [5, 3],
    [200, 16],
    [37, 10],
    [1000, 17],
    [70, 32],
  ])("of %i×%i is solve, normalise and gram", async (rows, rank) => {
    const engine = await open();
    const stride = Math.ceil(rank ** 2 / 64) * 64;
    const parts = [0, 1, 2].map((mode) => randomArray((rank + 5 + mode) * rank, 10 + mode));
    const grams = new Float32Array(3 * stride);
    const own = parts.map((factor) => Float32Array.from(gramOf(factor, rank)));
    own.forEach((values, mode) => {
      grams.set(values, mode * stride);
    });
    const tensor = (shape: number[], data?: Float32Array) => engine.tensor(shape, data);
    using product = tensor([rows, rank], randomArray(rows * rank, 1));
    using all = tensor([3, stride], grams);
    using factor = tensor([rows, rank]);
    using weights = tensor([rank]);
    using values = tensor([192]);
    using trace = tensor([2, 192]);
    using counter = engine.tensor([1], new Uint32Array([3]));
    const [one, two] = [tensor([rank, rank], own[0]), tensor([rank, rank], own[2])];
    const given = { product, grams: all, mode: 1, factor, weights, values, trace, counter, ridge: 1e-7 };
    const wanted = (await evaluate(engine, (s) => {
      alsUpdate(s, { ...given, report: "row" });
      const normal = hadamard(s, one, two);
      const solved = solveSymmetric(s, normal, product, { ridge: 1e-7 });
      const { out, norms } = normalizeColumns(s, solved);
      return [out, norms, gram(s, out), normal, solved];
    })) as Float32Array[];
    const [expected, norms, ownGram, normal, solved] = wanted;
    const [gotFactor, gotWeights, gotGrams, gotValues, gotTrace, count] = (await engine.read([
      factor,
      weights,
      all,
      values,
      trace,
      counter,
    ])) as Float32Array[];
    expectClose(gotFactor!, expected!, 2e-3);
    expectClose(gotWeights!, norms!, 2e-3);
    expectClose(gotGrams!.subarray(stride, stride + rank ** 2), ownGram!, 2e-3);
    // the other modes' are left alone
    expect(gotGrams!.subarray(0, stride)).toEqual(grams.subarray(0, stride));
    expect(gotGrams!.subarray(2 * stride)).toEqual(grams.subarray(2 * stride));
    const m = randomArray(rows * rank, 1);
    const inner = solved!.reduce((sum, value, e) => sum + value * m[e]!, 0);
    const model = gramOf(solved!, rank).reduce((sum, value, e) => sum + value * normal![e]!, 0);
    expect(relativeError([gotValues![0]!, gotValues![64]!], [inner, model])).toBeLessThan(2e-3);
    expect(gotValues![128]).toBe(-1);
    // the fourth row of a ring of two
    expect(count![0]).toBe(4);
    expect([gotTrace![192], gotTrace![256], gotTrace![320]]).toEqual([gotValues![0], gotValues![64], -1]);
    expect(gotTrace![0]).toBe(0);
    one!.destroy();
    two!.destroy();
  });

  it("drops a column that depends on those before it, and keeps a zero column", async () => {
    const engine = await open();
    using product = engine.tensor([2, 3], [2, 2, 0, 4, 4, 0]);
    using grams = engine.tensor([2, 64], Float32Array.from([1, 1, 0, 1, 1, 0, 0, 0, 0, ...Array(119).fill(0)]));
    using factor = engine.tensor([2, 3]);
    using weights = engine.tensor([3]);
    using values = engine.tensor([3]);
    using trace = engine.tensor([1, 3]);
    using counter = engine.tensor([1], new Uint32Array(1));
    const given = { product, grams, mode: 1, factor, weights, values, trace, counter, ridge: 0 };
    await engine.run((s) => alsUpdate(s, { ...given, report: "values" }));
    const [a, norms, count] = (await engine.read([factor, weights, counter])) as Float32Array[];
    expectClose(
      a!,
      [1, 0, 0, 2, 0, 0].map((value) => value / Math.sqrt(5)),
      1e-6,
    );
    expectClose(norms!, [2 * Math.sqrt(5), 0, 0], 1e-6);
    expect(count![0]).toBe(0);
  });

  it("says what does not fit", async () => {
    const engine = await open();
    using wide = engine.tensor([4, 33]);
    using m = engine.tensor([4, 3]);
    using grams = engine.tensor([3, 4]);
    using weights = engine.tensor([3]);
    using counter = engine.tensor([1], new Uint32Array(1));
    using s = engine.scheduler();
    const rest = { grams, mode: 0, factor: m, weights, values: weights, trace: m, counter, ridge: 0 };
    expect(() => alsUpdate(s, { ...rest, product: wide, report: "nothing" })).toThrow("at most 32 columns");
    expect(() => alsUpdate(s, { ...rest, product: m, report: "nothing" })).toThrow("need a row of 9 or more a mode");
  });
});
