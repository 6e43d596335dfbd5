/**
 * Plans for a network of VGG-16's shape, with random weights: npm run test:slow -- planVgg. Its decompositions have many more maps than its layers, and
 * more terms than small kernels take. VGG-16's own dense layers do not fit: all numbers of a network lie in one tensor, of 128 MiB at most here.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CompressionPlan } from "../../src/compress/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { Conv2d, Flatten, Linear, MaxPool2d, Sequential } from "../../src/nn/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const HOUR = 3_600_000;
const BLOCKS = [
  [64, 2],
  [128, 2],
  [256, 3],
  [512, 3],
  [512, 3],
] as const;
const SHAPE = [64, 3, 64, 64];
const WEIGHTS = ["svd", "tt", "ring"];
const MULTIPLICATIONS = ["jaderberg1", "jaderberg2", "btd", "tucker2", "cp", "cp-corrected"];

let engine: Engine;
let model: Sequential;
let calibration: Tensor;
let from: CompressionPlan<Sequential> | undefined;

beforeAll(async () => {
  engine = await testEngine();
  let channels = 3;
  const layers = BLOCKS.flatMap(([outputs, count]) => [
    ...Array.from({ length: count }, () => {
      const layer = new Conv2d({ inputs: channels, outputs, kernel: 3, padding: 1, activation: "relu" });
      channels = outputs;
      return layer;
    }),
    new MaxPool2d(2),
  ]);
  const dense = [new Flatten(), new Linear(2048, 512, { activation: "relu" }), new Linear(512, 10)];
  model = await Sequential.create(engine, [...layers, ...dense], { inputShape: SHAPE.slice(1), seed: 3 });
  const size = SHAPE.reduce((a, b) => a * b, 1);
  calibration = engine.tensor(SHAPE, randomArray(size, 7));
});
afterAll(() => {
  model.destroy();
  calibration.destroy();
});

describe("a network of VGG-16's shape, 64 samples", () => {
  it.each([...WEIGHTS, ...MULTIPLICATIONS])(
    "by %s",
    async (method) => {
      const start = performance.now();
      const before = engine.memory().live;
      const plan = await CompressionPlan.create(model, { method, calibration, shares: [0.25, 0.5], from });
      from ??= plan;
      expect(engine.memory().live).toBeLessThan(before + 1e9);
      for (const { candidates } of plan.layers)
        for (const { outputError, loss } of candidates) {
          expect(outputError).toBeLessThan(1.1);
          expect(loss).toBeGreaterThanOrEqual(0);
        }
      const byWork = MULTIPLICATIONS.includes(method);
      const cost = byWork ? "multiplications" : "weights";
      const small = await plan.select({ cost, ratio: byWork ? 1.5 : 1.03 });
      const total = small.model.counts().reduce((sum, one) => sum + (byWork ? one.multiplications : one.weights), 0);
      small.model.destroy();
      expect(small.reached).toBe(true);
      console.log(
        `${method}: ${((performance.now() - start) / 1000).toFixed(0)} s, ${total} ${cost}, ` +
          `${(process.memoryUsage.rss() / 1e9).toFixed(1)} GB`,
      );
      expect(process.memoryUsage.rss()).toBeLessThan(6e9);
    },
    HOUR,
  );
});
