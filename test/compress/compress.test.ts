import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { activationsOf, lossOf } from "../../src/compress/calibrate.js";
import { CompressionPlan, compress, METHODS } from "../../src/compress/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { Conv2d, Flatten, Linear, MaxPool2d, Sequential } from "../../src/nn/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

let engine: Engine;
let model: Sequential;
let calibration: Tensor;
beforeAll(async () => {
  engine = await testEngine();
  const layers = [
    new Conv2d({ inputs: 2, outputs: 6, kernel: 3, padding: 1, activation: "relu" }),
    new MaxPool2d(2),
    new Conv2d({ inputs: 6, outputs: 8, kernel: 3, activation: "relu" }),
    new Flatten(),
    new Linear(32, 24, { activation: "relu" }),
    new Linear(24, 5),
  ];
  model = await Sequential.create(engine, layers, { inputShape: [2, 8, 8], seed: 3 });
  calibration = engine.tensor([24, 2, 8, 8], randomArray(24 * 128, 4));
});
afterAll(() => {
  model.destroy();
  calibration.destroy();
});

const total = (found: Sequential): number => found.parameterCount;

/** ‖y − ŷ‖ ÷ ‖y‖ of the outputs of two networks. */
async function networkError(other: Sequential): Promise<number> {
  const [mine, its] = [await activationsOf(model, calibration), await activationsOf(other, calibration)];
  const [y, z] = [(await mine.at(-1)!.read()) as Float32Array, (await its.at(-1)!.read()) as Float32Array];
  for (const tensor of [...mine, ...its]) tensor.destroy();
  const norm = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, value) => sum + value * value, 0));
  return norm(y.map((value, index) => value - z[index]!)) / norm(y);
}

describe("compress", () => {
  it.each(METHODS.map(({ name }) => name))(
    "%s: losses are measured, targets met, the model left as it is",
    async (method) => {
      const before = await Promise.all(model.parameters.map((parameter) => parameter.read()));
      const plan = await CompressionPlan.create(model, { method, calibration, shares: [0.2, 1], seed: 1 });
      expect(plan.layers.map(({ candidates }) => candidates.length > 1)).toEqual(
        model.layers.map((layer) => METHODS.find(({ name }) => name === method)!.of(layer) !== null),
      );
      for (const { candidates } of plan.layers)
        for (const { loss, outputError } of candidates) {
          expect(loss).toBeGreaterThanOrEqual(0);
          expect(outputError).toBeLessThan(1.1);
        }
      const { model: small, layers, reached } = await plan.select({ cost: "weights", ratio: 1.4 }, { force: true });
      expect(reached).toBe(true);
      expect(total(small)).toBeLessThanOrEqual(total(model) / 1.4);
      expect(layers.reduce((sum, { weights }) => sum + weights[1], 0)).toBe(total(small));
      // one layer replaced loses what the plan said
      const replaced = plan.layers.find(({ candidates }) => candidates.length > 1)!;
      const candidate = replaced.candidates[1]!;
      const { model: one } = await plan.select({ ranks: { [replaced.index]: candidate.ranks } }, { force: true });
      expect((await networkError(one)) / Math.sqrt(candidate.loss)).toBeCloseTo(1, 2);
      for (const found of [small, one]) found.destroy();
      expect(await Promise.all(model.parameters.map((parameter) => parameter.read()))).toEqual(before);
    },
  );

  it("weighs errors by the inputs", async () => {
    // inputs that live in few dimensions: a layer of low rank that knows them loses nothing
    const narrow = Float32Array.from(
      { length: 40 * 32 },
      (_, index) => Math.sin(Math.floor(index / 32)) * Math.cos(index % 32),
    );
    using x = engine.tensor([40, 32], narrow);
    using net = await Sequential.create(engine, [new Linear(32, 24), new Linear(24, 5)], { inputShape: [32], seed: 8 });
    const errors: number[] = [];
    for (const whiten of [true, false]) {
      const plan = await CompressionPlan.create(net, { method: "svd", calibration: x, shares: [0.1], whiten });
      errors.push(plan.layers[0]!.candidates[1]!.outputError);
    }
    expect(errors[0]).toBeLessThan(1e-3);
    expect(errors[1]).toBeGreaterThan(0.1);
  });

  it("takes the ranks of an energy, and given ones", async () => {
    const plan = await CompressionPlan.create(model, { method: "svd", calibration });
    const tight = await plan.select({ energy: 0.999 }, { timeBatches: [] });
    const loose = await plan.select({ energy: 0.5 }, { timeBatches: [] });
    expect(total(loose.model)).toBeLessThan(total(tight.model));
    for (const { outputError } of tight.layers) expect(outputError ** 2).toBeLessThanOrEqual(0.001);
    for (const { model: found } of [tight, loose]) found.destroy();
    const given = await compress(model, {
      method: "svd",
      calibration,
      choice: { ranks: { 4: [3] } },
      timeBatches: [],
    });
    expect(given.layers.map(({ ranks }) => ranks)).toEqual([[], [], [], [], [3], []]);
    expect(given.layers.every(({ times }) => times === undefined)).toBe(true);
    const energies = [tight, loose, given].map(({ reached }) => reached);
    expect(energies).toEqual([true, true, true]);
    given.model.destroy();
  });

  it("leaves alone what would grow, and says so", async () => {
    const { layers, model: same } = await compress(model, {
      method: "svd",
      calibration,
      choice: { ranks: { 4: [24] } },
    });
    expect(layers[4]!.kept).toBe("it would grow");
    expect(layers[0]!.kept).toBe("svd leaves it alone");
    expect(total(same)).toBe(total(model));
    expect(await networkError(same)).toBe(0);
    same.destroy();
  });

  it("says what is wrong", async () => {
    await expect(CompressionPlan.create(model, { method: "magic", calibration })).rejects.toThrow(
      "no method magic; there are svd",
    );
    using wrong = engine.tensor([3, 2, 8, 9]);
    await expect(CompressionPlan.create(model, { method: "svd", calibration: wrong })).rejects.toThrow(
      "expected samples of shape 2×8×8",
    );
    const plan = await CompressionPlan.create(model, { method: "svd", calibration, shares: [0.2] });
    await expect(plan.select({ ranks: { 0: [1] } })).rejects.toThrow("svd leaves layer 0");
    const unreachable = await plan.select({ cost: "weights", ratio: 1000 });
    expect(unreachable.reached).toBe(false);
    unreachable.model.destroy();
    const abort = new AbortController();
    abort.abort();
    await expect(CompressionPlan.create(model, { method: "svd", calibration, signal: abort.signal })).rejects.toThrow();
  });

  it("frees what it took", async () => {
    const activations = await activationsOf(model, calibration);
    await lossOf(model, activations, 4, model.layers[4]!);
    for (const tensor of activations) tensor.destroy();
    const before = engine.memory().live;
    const { model: found } = await compress(model, {
      method: "svd",
      calibration,
      shares: [0.2],
      choice: { cost: "weights", ratio: 1.2 },
    });
    found.destroy();
    expect(engine.memory().live).toBe(before);
  });
});
