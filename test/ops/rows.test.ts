/** Softmax and layer normalisation, forwards and backwards, against f64 loops. */
import { describe, expect, it } from "vitest";
import { layerNorm, layerNormGradient, softmax, softmaxGradient } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

describe("softmax", () => {
  it.each([
    { shape: [7, 5], axis: 1 },
    // several invocations a row, and rows that fill no workgroup
    { shape: [3, 5, 100], axis: 2 },
    { shape: [2, 2100], axis: 1 },
    { shape: [2, 70, 3], axis: 1 },
    { shape: [40, 9], axis: 0 },
  ])("$shape along mode $axis", async ({ shape, axis }) => {
    const engine = await testEngine();
    const [extent, after] = [shape[axis]!, shape.slice(axis + 1).reduce((a, b) => a * b, 1)];
    const size = shape.reduce((a, b) => a * b, 1);
    // without the largest subtracted, exp would overflow; below -100 it is 0
    const values = randomArray(size, 1).map((value) => 120 + 30 * value);
    const gradient = randomArray(size, 2);
    const [y, dx] = [new Float64Array(size), new Float64Array(size)];
    for (let row = 0; row < size / extent; row++) {
      const at = Array.from(
        { length: extent },
        (_, i) => Math.floor(row / after) * extent * after + (row % after) + i * after,
      );
      const largest = Math.max(...at.map((k) => values[k]!));
      const total = at.reduce((sum, k) => sum + Math.exp(values[k]! - largest), 0);
      for (const k of at) y[k] = Math.exp(values[k]! - largest) / total;
      const mean = at.reduce((sum, k) => sum + y[k]! * gradient[k]!, 0);
      for (const k of at) dx[k] = y[k]! * (gradient[k]! - mean);
    }
    using x = engine.tensor(shape, values);
    using dy = engine.tensor(shape, gradient);
    const [got, back] = await evaluate(engine, (s) => {
      const out = softmax(s, x, { axis });
      return [out, softmaxGradient(s, out, dy, { axis })];
    });
    expectClose(got!, y, 2e-5);
    expectClose(back!, dx, 2e-5);
  });
});

describe("layerNorm", () => {
  it.each([
    { shape: [9, 6], modes: 1, bias: true },
    { shape: [2, 3, 130], modes: 1, bias: false },
    { shape: [5, 7, 40], modes: 2, bias: true },
    { shape: [3, 1100], modes: 1, bias: true },
  ])("$shape over $modes modes, bias: $bias", async ({ shape, modes, bias }) => {
    const engine = await testEngine();
    const inner = shape.slice(-modes);
    const extent = inner.reduce((a, b) => a * b, 1);
    const rows = shape.reduce((a, b) => a * b, 1) / extent;
    // a mean of 50 and a deviation below 1: a variance by E[x²] − E[x]² would lose its digits
    const values = randomArray(rows * extent, 1).map((value) => 50 + value);
    const gradient = randomArray(rows * extent, 2);
    const [weights, biases] = [randomArray(extent, 3), randomArray(extent, 4)];
    const [y, dx] = [new Float64Array(values.length), new Float64Array(values.length)];
    const [dWeight, dBias] = [new Float64Array(extent), new Float64Array(extent)];
    for (let row = 0; row < rows; row++) {
      const at = Array.from({ length: extent }, (_, i) => row * extent + i);
      const mean = at.reduce((sum, k) => sum + values[k]!, 0) / extent;
      const variance = at.reduce((sum, k) => sum + (values[k]! - mean) ** 2, 0) / extent;
      const scale = 1 / Math.sqrt(variance + 1e-3);
      const normal = at.map((k) => (values[k]! - mean) * scale);
      const g = at.map((k, i) => weights[i]! * gradient[k]!);
      const meanOf = (list: number[]) => list.reduce((a, b) => a + b, 0) / extent;
      const [first, second] = [meanOf(g), meanOf(g.map((value, i) => value * normal[i]!))];
      for (const [i, k] of at.entries()) {
        y[k] = weights[i]! * normal[i]! + (bias ? biases[i]! : 0);
        dx[k] = scale * (g[i]! - first - normal[i]! * second);
        dWeight[i]! += normal[i]! * gradient[k]!;
        dBias[i]! += gradient[k]!;
      }
    }
    using x = engine.tensor(shape, values);
    using dy = engine.tensor(shape, gradient);
    using weight = engine.tensor(inner, weights);
    using b = engine.tensor(inner, biases);
    using weightGradient = engine.tensor(inner);
    using biasGradient = engine.tensor(inner);
    const [got, back] = await evaluate(engine, (s) => [
      layerNorm(s, x, { weight, bias: bias ? b : undefined }, { epsilon: 1e-3 }),
      layerNormGradient(
        s,
        x,
        dy,
        { weight, out: { weight: weightGradient, bias: bias ? biasGradient : undefined } },
        { epsilon: 1e-3 },
      ),
    ]);
    expectClose(got!, y, 2e-5);
    expectClose(back!, dx, 5e-5);
    expectClose(await engine.read(weightGradient), dWeight, 5e-5);
    if (bias) expectClose(await engine.read(biasGradient), dBias, 1e-5);
  });

  it("names a weight that does not fit", async () => {
    const engine = await testEngine();
    const s = engine.scheduler();
    expect(() => layerNorm(s, s.tensor([3, 4]), { weight: s.tensor([3]) })).toThrow(
      "layerNorm: x is 3×4, its last modes need the weight's shape, 3",
    );
  });
});
