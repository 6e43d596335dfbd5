import { describe, expect, it } from "vitest";
import { batchNorm, batchNormGradient } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** Outputs, gradients and moments by f64 loops over batch×channels×area. */
function plain(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  [n, c, a]: number[],
) {
  const y = new Float64Array(x.length);
  const dx = new Float64Array(x.length);
  const [dWeight, dBias, means, variances] = [0, 1, 2, 3].map(() => new Float64Array(c!)) as Float64Array[];
  for (let channel = 0; channel < c!; channel++) {
    const places: number[] = [];
    for (let i = 0; i < n!; i++) for (let j = 0; j < a!; j++) places.push((i * c! + channel) * a! + j);
    const mean = places.reduce((sum, at) => sum + x[at]!, 0) / places.length;
    const variance = places.reduce((sum, at) => sum + (x[at]! - mean) ** 2, 0) / places.length;
    const scale = 1 / Math.sqrt(variance + 1e-5);
    const normal = (at: number) => (x[at]! - mean) * scale;
    for (const at of places) {
      y[at] = weight[channel]! * normal(at) + bias[channel]!;
      dBias![channel]! += dy[at]!;
      dWeight![channel]! += dy[at]! * normal(at);
    }
    for (const at of places)
      dx[at] =
        weight[channel]! *
        scale *
        (dy[at]! - dBias![channel]! / places.length - (normal(at) * dWeight![channel]!) / places.length);
    [means![channel], variances![channel]] = [mean, (variance * places.length) / Math.max(places.length - 1, 1)];
  }
  return { y, dx, dWeight: dWeight!, dBias: dBias!, means: means!, variances: variances! };
}

describe("batchNorm", () => {
  it.each([
    [3, 2, 5],
    [7, 5, 1],
    [2, 1, 300],
    [4, 13, 49],
  ])("%i samples, %i channels, %i positions", async (n, c, a) => {
    const engine = await testEngine();
    // a mean of 50 and a deviation below 1: a variance by E[x²] − E[x]² would lose its digits
    const x = randomArray(n * c * a, 1).map((value) => 50 + value);
    const dy = randomArray(n * c * a, 2);
    const [weight, bias] = [randomArray(c, 3), randomArray(c, 4)];
    using tx = engine.tensor([n, c, a], x);
    using tdy = engine.tensor([n, c, a], dy);
    using tw = engine.tensor([c], weight);
    using tb = engine.tensor([c], bias);
    const before = randomArray(2 * c, 5).map(Math.abs);
    using running = engine.tensor([2, c], before);
    using dWeight = engine.tensor([c]);
    using dBias = engine.tensor([c]);
    const tensors = { weight: tw, bias: tb, running };
    const [y, dx] = await evaluate(engine, (s) => {
      const { out, moments } = batchNorm(s, tx, tensors, { training: true, momentum: 0.3 });
      const gradients = { weight: dWeight, bias: dBias };
      const input = batchNormGradient(s, tx, tdy, { weight: tw, moments }, { inputGradient: true, out: gradients });
      return [out, input!];
    });
    const expected = plain(x, dy, weight, bias, [n, c, a]);
    expectClose(y!, expected.y, 2e-5);
    expectClose(dx!, expected.dx, 5e-5);
    expectClose((await dWeight.read()) as Float32Array, expected.dWeight, 5e-5);
    expectClose((await dBias.read()) as Float32Array, expected.dBias, 1e-5);
    const moved = (await running.read()) as Float32Array;
    const wanted = [...expected.means, ...expected.variances].map((value, at) => 0.7 * before[at]! + 0.3 * value);
    expectClose(moved, wanted, 2e-5);
    // outside training the running moments count, and stay
    const [z] = await evaluate(engine, (s) => [batchNorm(s, tx, tensors, { training: false }).out]);
    const inference = x.map((value, at) => {
      const channel = Math.floor(at / a) % c;
      return (weight[channel]! * (value - moved[channel]!)) / Math.sqrt(moved[c + channel]! + 1e-5) + bias[channel]!;
    });
    expectClose(z!, inference, 2e-5);
    expect(await running.read()).toEqual(moved);
  });
});
