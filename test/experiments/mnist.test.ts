import { describe, expect, it } from "vitest";
import { type Digits, PIXELS } from "../../src/experiments/digits.js";
import { type Progress, runCase, runSweep, slideParameters } from "../../src/experiments/mnist.js";
import { unpack } from "../../src/experiments/results.js";
import { readEmbeddedDigits } from "../../src/node/mnist.js";
import { testEngine } from "../engine.js";

/** The first embedded digits, few enough for a quick run. */
function someDigits(count: number): Digits {
  const { images, labels, source } = readEmbeddedDigits();
  return {
    images: images.subarray(0, count * PIXELS),
    labels: labels.subarray(0, count),
    testImages: images.subarray(8000 * PIXELS, 8400 * PIXELS),
    testLabels: labels.subarray(8000, 8400),
    source,
  };
}

describe("the MNIST study", () => {
  it("runs a case to the end on real digits, with figures that belong together", async () => {
    const engine = await testEngine();
    const source = someDigits(3000);
    const told: Progress[] = [];
    const spec = { digits: [3, 4, 7], rank: 3, fullHidden: 3, hidden: 5 };
    const { live } = engine.memory();
    const result = await runCase(engine, source, spec, { epochs: 25, onProgress: (progress) => told.push(progress) });
    expect(engine.memory().live).toBe(live);
    const { train, validation, test } = result.images;
    expect(train).toBe(Math.floor(0.7 * (train + validation + test)));
    expect(result.full.layout).toBe("784-3-3");
    expect(result.decomposed).toMatchObject({
      layout: "3-5-3",
      parameters: 35,
      slideParameters: 33,
      multiplications: 30,
    });
    expect(result.full).toMatchObject({ parameters: 2364, slideParameters: 3145 });
    expect(result.decompositionError).toBeGreaterThan(0.62);
    expect(result.decompositionError).toBeLessThan(0.68);
    expect(Math.abs(result.t10kDecompositionError! - result.decompositionError)).toBeLessThan(0.03);
    // chance is a third; all images and epochs reach far more than these lower bounds
    expect(result.decomposed.testAccuracy).toBeGreaterThan(0.75);
    expect(result.centred.testAccuracy).toBeGreaterThan(0.88);
    expect(result.full.testAccuracy).toBeGreaterThan(0.9);
    expect(result.fused.agreement).toBe(1);
    expect(result.fused.largestDifference).toBeLessThan(1e-3);
    for (const network of [result.full, result.decomposed, result.centred]) {
      const total = network.confusion.flat().reduce((a, b) => a + b, 0);
      const right = network.confusion.reduce((sum, row, k) => sum + row[k]!, 0);
      expect(total).toBe(test);
      expect(right / total).toBeCloseTo(network.testAccuracy, 6);
      expect(network.curve.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
    }
    // the grid's reconstructions have about the relative error of the decomposition
    const originals = Float64Array.from(unpack(result.originals), (v) => v / 255);
    const shown = unpack(result.reconstructions);
    const off =
      originals.reduce((sum, v, i) => sum + (v - shown[i]!) ** 2, 0) / originals.reduce((sum, v) => sum + v * v, 0);
    expect(Math.abs(Math.sqrt(off) - result.decompositionError)).toBeLessThan(0.05);
    expect(result.loadingLabels.length).toBe(result.loadings.shape[0]);
    expect(told.every(({ done }) => done >= 0 && done <= 1)).toBe(true);
    expect(new Set(told.map(({ stage }) => stage)).size).toBe(5);
  });

  it("gives the same figures for the same seed", async () => {
    const engine = await testEngine();
    const source = someDigits(900);
    const spec = { digits: [0, 1], rank: 2, fullHidden: 2, hidden: 3 };
    const [first, second] = [
      await runCase(engine, source, spec, { epochs: 4 }),
      await runCase(engine, source, spec, { epochs: 4 }),
    ];
    expect({ ...second, seconds: null }).toEqual({ ...first, seconds: null });
  });

  it("sweeps ranks with one decomposition", async () => {
    const engine = await testEngine();
    const source = someDigits(1500);
    const { points, full } = await runSweep(engine, source, { ranks: [12, 2, 6], hidden: 8, epochs: 8 });
    expect(points.map(({ rank }) => rank)).toEqual([2, 6, 12]);
    expect(points[0]!.accuracy).toBeLessThan(points[2]!.accuracy);
    expect(points[0]!.decompositionError).toBeGreaterThan(points[2]!.decompositionError);
    expect(points[1]!.multiplications).toBe(784 * 6 + 6 * 8 + 8 * 10);
    expect(full.multiplications).toBe(784 * 8 + 80);
  });

  it("counts parameters as the slides do", () => {
    expect([
      slideParameters(784, 3, 3),
      slideParameters(3, 5, 3),
      slideParameters(784, 10, 10),
      slideParameters(15, 15, 10),
    ]).toEqual([3145, 33, 8724, 390]);
  });
});
