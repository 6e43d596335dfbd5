/** Losses that take values against f64, and training by them. */
import { describe, expect, it } from "vitest";
import {
  adam,
  distillation,
  Linear,
  meanSquaredError,
  predict,
  Sequential,
  type TargetDataset,
  train,
} from "../../src/nn/index.js";
import type { Loss } from "../../src/nn/loss.js";
import { expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const softmax = (values: readonly number[]): number[] => {
  const largest = Math.max(...values);
  const powers = values.map((v) => Math.exp(v - largest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((v) => v / total);
};

/** What the loss records for outputs rows×columns: the gradient, and what it adds to its two columns. */
async function recorded(loss: Loss, shape: [number, number], outputs: Float32Array, targets: Float32Array) {
  const engine = await testEngine();
  using y = engine.tensor(shape, outputs);
  using t = engine.tensor(shape, targets);
  using curve = engine.tensor([3, 4], new Float32Array(12).fill(1));
  using state = engine.tensor([3], Uint32Array.of(4, 2, 9));
  const s = engine.scheduler();
  const gradient = loss.record(s, y, t, { curve, column: 2, state });
  using schedule = await s.compile();
  engine.submit(schedule);
  const [values, told] = await engine.read([gradient, curve]);
  // only these two change
  expect([...told!].every((value, at) => at >= 10 || value === 1)).toBe(true);
  return { gradient: values!, loss: told![10]! - 1, right: told![11]! - 1 };
}

describe("distillation", () => {
  it.each([
    [1, 2, 1],
    [7, 3, 4],
    [131, 10, 2],
    [257, 11, 0.5],
  ] as const)("agrees with f64 (%i×%i, T = %f)", async (rows, classes, temperature) => {
    const [z, t] = [1, 2].map((seed) => randomArray(rows * classes, seed).map((v) => 9 * v)) as [
      Float32Array,
      Float32Array,
    ];
    const told = await recorded(distillation({ temperature }), [rows, classes], z, t);
    let [loss, right] = [0, 0];
    const gradient = new Float64Array(rows * classes);
    for (let row = 0; row < rows; row++) {
      const of = (values: Float32Array) => [...values.subarray(row * classes, (row + 1) * classes)];
      const [p, q] = [t, z].map((values) => softmax(of(values).map((v) => v / temperature))) as [number[], number[]];
      p.forEach((share, k) => {
        loss += temperature ** 2 * share * Math.log(share / q[k]!);
        gradient[row * classes + k] = (temperature * (q[k]! - share)) / rows;
      });
      if (p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q))) right++;
    }
    expectClose(told.gradient, gradient, 2e-6);
    expect(Math.abs(told.loss - loss)).toBeLessThan(1e-5 * loss + 1e-5);
    expect(told.right).toBe(right);
  });

  it("is nothing where both agree, however large the logits", async () => {
    const z = Float32Array.of(900, -900, 30, 0, 1e4, -1e4);
    const { gradient, loss, right } = await recorded(distillation(), [2, 3], z, z);
    expect([...gradient]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([loss, right]).toEqual([0, 2]);
  });

  it("teaches a small network what a larger one answers", async () => {
    const engine = await testEngine();
    using inputs = engine.tensor([150, 4], randomArray(600, 1));
    using teacher = await Sequential.create(engine, [new Linear(4, 12, { activation: "tanh" }), new Linear(12, 3)], {
      inputShape: [4],
      seed: 5,
    });
    using targets = await predict(teacher, inputs);
    expect(targets.shape).toEqual([150, 3]);
    using student = await Sequential.create(engine, [new Linear(4, 5, { activation: "gelu" }), new Linear(5, 3)], {
      inputShape: [4],
      seed: 6,
    });
    const data: TargetDataset = { inputs, targets };
    const options = { epochs: 60, batchSize: 40, optimiser: adam({ rate: 0.02 }), validation: data };
    const { curve } = await train(student, data, { ...options, loss: distillation({ temperature: 2 }) });
    expect(curve.at(-1)!.loss).toBeLessThan(curve[0]!.loss / 10);
    expect(curve.at(-1)!.accuracy).toBeGreaterThan(0.9);
    expect(curve.at(-1)!.validationAccuracy).toBeGreaterThan(0.9);
  });
});

describe("meanSquaredError", () => {
  it.each([
    [1, 1],
    [5, 7],
    [64, 33],
  ] as const)("agrees with f64 (%i×%i)", async (rows, columns) => {
    const [y, t] = [randomArray(rows * columns, 1), randomArray(rows * columns, 2)];
    const told = await recorded(meanSquaredError(), [rows, columns], y, t);
    const squares = y.reduce((sum, v, i) => sum + (v - t[i]!) ** 2, 0);
    expect(told.loss).toBeCloseTo(squares / columns, 4);
    expect(told.right).toBe(0);
    expectClose(
      told.gradient,
      Float64Array.from(y, (v, i) => (2 * (v - t[i]!)) / (rows * columns)),
      1e-6,
    );
  });

  it("trains on bytes towards features, shuffled with their samples", async () => {
    const engine = await testEngine();
    const bytes = Uint8Array.from({ length: 90 * 4 }, (_, i) => (i * 37) % 251);
    using inputs = engine.tensor([90, 4], bytes, { dtype: "u8" });
    // the samples themselves, mirrored: a network learns this only if targets stay with their samples
    const mirrored = Float32Array.from(bytes, (_, i) => bytes[4 * Math.floor(i / 4) + 3 - (i % 4)]! / 255);
    using targets = engine.tensor([90, 4], mirrored);
    using model = await Sequential.create(engine, [new Linear(4, 4)], { inputShape: [4], seed: 1 });
    const { curve } = await train(
      model,
      { inputs, targets },
      {
        ...{ epochs: 120, batchSize: 32, optimiser: adam({ rate: 0.05 }) },
        loss: meanSquaredError(),
      },
    );
    expect(curve.at(-1)!.loss).toBeLessThan(1e-4);
    expect(curve.at(-1)!.accuracy).toBeNaN();
    using outputs = await predict(model, inputs);
    expectClose(await outputs.read(), mirrored, 0.1);
  });
});

it("datasets that lack what the loss needs are refused", async () => {
  const engine = await testEngine();
  using inputs = engine.tensor([6, 4]);
  using labels = engine.tensor([6], null, { dtype: "u32" });
  using targets = engine.tensor([6, 2]);
  using model = await Sequential.create(engine, [new Linear(4, 3)], { inputShape: [4] });
  const options = { epochs: 1, optimiser: adam() };
  const refused = (data: object, more: object) => train(model, data as TargetDataset, { ...options, ...more });
  await expect(refused({ inputs, labels }, { loss: distillation() })).rejects.toThrow(
    "needs { inputs, targets }, two Tensors",
  );
  await expect(refused({ inputs, targets }, {})).rejects.toThrow("needs { inputs, labels }, two Tensors");
  await expect(refused({ inputs, targets }, { loss: meanSquaredError() })).rejects.toThrow("needs 6×3 of f32");
  await expect(refused({ inputs, labels }, { loss: "crossEntropy" })).rejects.toThrow("needs a loss: crossEntropy()");
  expect(() => distillation({ temperature: 0 })).toThrow("temperature is 0, needs a number above 0");
  using same = engine.tensor([6, 3]);
  await expect(refused({ inputs, targets: same }, { loss: meanSquaredError(), steps: "fused" })).rejects.toThrow(
    "no fused steps: the loss meanSquaredError has no kernel for them",
  );
});
