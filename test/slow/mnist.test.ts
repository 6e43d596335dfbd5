import { describe, expect, it } from "vitest";
import { tuckerHOOI } from "../../src/decompositions/index.js";
import { scalePixels, selectDigits, splitDigits } from "../../src/experiments/digits.js";
import { runCase, runSweep, THESIS_CASES } from "../../src/experiments/mnist.js";
import { openEngine } from "../../src/node/index.js";
import { readMnistData } from "../../src/node/mnist.js";

/** The thesis' images, splits and tables. Takes several minutes on a software adapter. */
describe("the MNIST study on the thesis' images", () => {
  const expected = [
    { error: 0.6531, full: 0.97, decomposed: 0.875, centred: 0.94, weights: 35 },
    { error: 0.6338, full: 0.94, decomposed: 0.72, centred: 0.795, weights: 35 },
    { error: 0.5003, full: 0.91, decomposed: 0.91, centred: 0.91, weights: 390 },
  ];
  it.each(THESIS_CASES.map((spec, index) => [spec.digits.join(","), spec, expected[index]!] as const))(
    "%s reaches its errors and accuracies",
    async (_, spec, { error, full, decomposed, centred, weights }) => {
      const engine = await openEngine();
      const result = await runCase(engine, readMnistData(), spec);
      engine.destroy();
      expect(Math.abs(result.decompositionError - error)).toBeLessThan(5e-4);
      if (spec.digits.length === 10) expect(Math.abs(result.t10kDecompositionError! - 0.4953)).toBeLessThan(5e-4);
      expect(result.decomposed.parameters).toBe(weights);
      expect(result.full.testAccuracy).toBeGreaterThanOrEqual(full);
      expect(result.decomposed.testAccuracy).toBeGreaterThanOrEqual(decomposed);
      expect(result.centred.testAccuracy).toBeGreaterThanOrEqual(centred);
      expect(result.fused.agreement).toBeGreaterThan(0.999);
    },
    900_000,
  );

  it("Tucker ranks 15, 10, 10 on all digits", async () => {
    const engine = await openEngine();
    const { images, labels } = readMnistData();
    const chosen = selectDigits(images, labels, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], { first: 40_000 });
    const count = splitDigits(40_000).train[1];
    using x = engine.tensor([count, 28, 28], scalePixels(chosen.images.subarray(0, count * 784)));
    const { relativeError, tensor } = await tuckerHOOI(engine, x, { ranks: [15, 10, 10], tolerance: 1e-5 });
    tensor.destroy();
    expect(Math.abs(relativeError - 0.5013)).toBeLessThan(5e-4);
    x.destroy();
    engine.destroy();
  }, 900_000);

  it("rank 30 with 20 hidden neurons reaches the network on pixels", async () => {
    const engine = await openEngine();
    const { points } = await runSweep(engine, readMnistData(), { ranks: [30] });
    engine.destroy();
    expect(points[0]!.accuracy).toBeGreaterThanOrEqual(0.945);
  }, 900_000);
});
