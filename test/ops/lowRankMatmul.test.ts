import { describe, expect, it } from "vitest";
import { Sequential, SvdLinear } from "../../src/nn/index.js";
import { lowRankMatmul } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import * as reference from "../reference.js";

describe("lowRankMatmul", () => {
  it.each([
    [1, 1, 1, 1],
    [1, 784, 3, 10],
    [5, 13, 7, 2],
    [4, 64, 64, 130],
    [9, 31, 100, 33],
    [2, 5003, 20, 5],
    [3, 6, 128, 7],
  ])("%i×%i, rank %i, %i outputs", async (rows, inputs, rank, outputs) => {
    const engine = await testEngine();
    const [x, a, b, bias] = [rows * inputs, rank * inputs, outputs * rank, outputs].map((size, index) =>
      reference.randomArray(size, index + 1),
    ) as [Float32Array, Float32Array, Float32Array, Float32Array];
    using tx = engine.tensor([rows, inputs], x);
    using ta = engine.tensor([rank, inputs], a);
    using tb = engine.tensor([outputs, rank], b);
    using bias0 = engine.tensor([outputs], bias);
    const [plain, full] = await evaluate(engine, (s) => [
      lowRankMatmul(s, tx, ta, tb),
      lowRankMatmul(s, tx, ta, tb, { bias: bias0, activation: "relu" }),
    ]);
    const hidden = reference.matmul(x, a, rows, inputs, rank, { transposeB: true });
    const product = reference.matmul(hidden, b, rows, rank, outputs, { transposeB: true });
    expectClose(plain!, product, 3e-6);
    expectClose(
      full!,
      product.map((value, index) => Math.max(0, value + bias[index % outputs]!)),
      3e-6,
    );
  });

  it("says what does not fit", async () => {
    const engine = await testEngine();
    const s = engine.scheduler("shapes");
    const t = (...shape: number[]) => s.tensor(shape);
    expect(() => lowRankMatmul(s, t(2, 3), t(4, 3), t(5, 6))).toThrow("lowRankMatmul: 2×3 times 4×3ᵀ times 5×6ᵀ");
    expect(() => lowRankMatmul(s, t(2, 3), t(129, 3), t(5, 129))).toThrow("rank 129, needs at most 128");
    expect(() => lowRankMatmul(s, t(2, 3), t(4, 3), t(5, 4), { bias: t(4) })).toThrow("bias is 4, expected 5");
    s.destroy();
  });
});

it("a dense layer of low rank uses it for a few samples, and two products for many or in training", async () => {
  const engine = await testEngine();
  using model = await Sequential.create(
    engine,
    [new SvdLinear({ inputs: 30, outputs: 11, rank: 4, activation: "relu" })],
    { inputShape: [30], seed: 3 },
  );
  const [first, last] = [...model.parameters.map((parameter) => parameter.read())];
  const [a, b, bias] = [await first!, await last!, await model.parameters[2]!.read()];
  for (const [rows, dispatches] of [
    [3, 1],
    [40, 2],
  ] as const) {
    const x = reference.randomArray(rows * 30, 8);
    using tx = engine.tensor([rows, 30], x);
    const before = engine.counters.dispatches;
    const [y] = await evaluate(engine, (s) => [model.forward(s, tx)]);
    expect(engine.counters.dispatches - before).toBe(dispatches);
    const hidden = reference.matmul(x, a, rows, 30, 4, { transposeB: true });
    const product = reference.matmul(hidden, b, rows, 4, 11, { transposeB: true });
    expectClose(
      y!,
      product.map((value, index) => Math.max(0, value + bias[index % 11]!)),
      3e-6,
    );
  }
});
