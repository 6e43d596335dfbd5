/** Plans for a network of VGG-16's shape, with random weights: npm run test:slow -- planVgg */
import { expect, it } from "vitest";
import { CompressionPlan, METHODS } from "../../src/compress/index.js";
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
const SAMPLES = 64;
const SIDE = 64;

it("of 64 samples of 3×64×64 take minutes and bounded memory, by every method", { timeout: HOUR }, async () => {
  const engine = await testEngine();
  let channels = 3;
  const layers = BLOCKS.flatMap(([outputs, count]) => [
    ...Array.from({ length: count }, () => {
      const layer = new Conv2d({ inputs: channels, outputs, kernel: 3, padding: 1, activation: "relu" });
      channels = outputs;
      return layer;
    }),
    new MaxPool2d(2),
  ]);
  // all numbers of a network lie in one tensor, and those of VGG-16's dense layers do not fit beside the others where a binding ends at 128 MiB
  const all = [...layers, new Flatten(), new Linear(2048, 512, { activation: "relu" }), new Linear(512, 10)];
  using model = await Sequential.create(engine, all, { inputShape: [3, SIDE, SIDE], seed: 3 });
  expect(model.parameterCount).toBeGreaterThan(1.5e7);
  const shape = [SAMPLES, 3, SIDE, SIDE];
  using calibration = engine.tensor(
    shape,
    randomArray(
      shape.reduce((a, b) => a * b, 1),
      7,
    ),
  );
  const start = performance.now();
  let from: CompressionPlan<Sequential> | undefined;
  for (const { name } of METHODS) {
    const begun = performance.now();
    const plan = await CompressionPlan.create(model, { method: name, calibration, shares: [0.25, 0.5], from });
    from ??= plan;
    const small = await plan.select({ cost: "multiplications", ratio: 1.5 });
    const total = (key: "weights" | "multiplications"): number =>
      small.model.counts().reduce((sum, one) => sum + one[key], 0);
    console.log(
      `${name}: ${((performance.now() - begun) / 1000).toFixed(0)} s, ${(total("weights") / 1e6).toFixed(1)} M weights, ` +
        `${(total("multiplications") / 1e9).toFixed(2)} G multiplications, reached: ${small.reached}`,
    );
    small.model.destroy();
  }
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${seconds.toFixed(0)} s for ${METHODS.length} methods, ${(process.memoryUsage.rss() / 1e9).toFixed(1)} GB`,
  );
  expect(process.memoryUsage.rss()).toBeLessThan(6e9);
});
