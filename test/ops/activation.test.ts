/** Activations and their gradients against f64. */
import { describe, expect, it } from "vitest";
import { type Activation, activate, activationGradient, activations, isFromOutput } from "../../src/ops/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** erf by its series, and by its continued fraction where that is long: 1e-15. */
function erf(x: number): number {
  if (Math.abs(x) > 3) {
    let fraction = 0;
    for (let k = 60; k > 0; k--) fraction = k / 2 / (Math.abs(x) + fraction);
    return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.abs(x) + fraction) / Math.sqrt(Math.PI));
  }
  let [term, sum] = [x, x];
  for (let k = 1; k < 60; k++) {
    term *= (-x * x) / k;
    sum += term / (2 * k + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));
const FUNCTIONS: Record<Activation, (x: number) => number> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  leakyRelu: (x) => (x > 0 ? x : 0.01 * x),
  sigmoid: logistic,
  tanh: Math.tanh,
  silu: (x) => x * logistic(x),
  gelu: (x) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  geluTanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  hardSwish: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
};
const NAMES = Object.keys(activations) as Activation[];
/** small and large numbers of both signs, the kinks of hardSwish, and numbers whose powers leave f32 */
const POINTS = [-1e4, -200, -88, -20, -6, -3, -1, -0.1, -1e-4, 1e-4, 0.1, 0.5, 1, 2.5, 3, 6, 20, 88, 200, 1e4];
const nearby = POINTS.flatMap((x) => [x * 1.01, x * 0.97]);

it("are known by their reference", () => {
  expect(Object.keys(FUNCTIONS)).toEqual(NAMES);
  expect(FUNCTIONS.gelu(1)).toBeCloseTo(0.8413447460685429, 14);
  expect(FUNCTIONS.gelu(-4)).toBeCloseTo(-4 * 3.167124183311998e-5, 12);
});

describe.each(NAMES)("%s", (name) => {
  const f = FUNCTIONS[name];

  it("and its gradient are right", async () => {
    const engine = await testEngine();
    const values = Float32Array.from([...POINTS, ...nearby, ...randomArray(157, 3).map((v) => 4 * v)]);
    const n = values.length;
    using x = engine.tensor([n], values);
    const weights = randomArray(n, 4);
    using dy = engine.tensor([n], weights);
    const [y, dx] = await evaluate(engine, (s) => {
      const out = activate(s, x, name);
      return [out, activationGradient(s, isFromOutput(name) ? out : x, dy, name)];
    });
    values.forEach((v, i) => {
      expect(Math.abs(y![i]! - f(v))).toBeLessThan(4e-7 * Math.max(1, Math.abs(v)));
      const step = 1e-5 * Math.max(1, Math.abs(v));
      // beside a kink the slope is that of one side
      if ([0, 3, -3].some((kink) => Math.abs(v - kink) < 2 * step)) return;
      const slope = (f(v + step) - f(v - step)) / (2 * step);
      expect(Math.abs(dx![i]! - slope * weights[i]!)).toBeLessThan(2e-6);
    });
  });
});

it.each([1, 3, 64, 257])("write %i elements and none behind them", async (n) => {
  const engine = await testEngine();
  const [values, dy] = [randomArray(n, 1), randomArray(n, 2)];
  using x = engine.tensor([n], values);
  using gradient = engine.tensor([n], dy);
  // three elements follow in the same buffer, and must stay 5
  using y = engine.tensor([n + 3], new Float32Array(n + 3).fill(5));
  using dx = engine.tensor([n + 3], new Float32Array(n + 3).fill(5));
  await engine.run((s) => {
    activate(s, x, "leakyRelu", { slope: 0.5, out: y.rows(0, n) });
    activationGradient(s, x, gradient, "leakyRelu", { slope: 0.5, out: dx.rows(0, n) });
  });
  expect([...(await engine.read(y))]).toEqual([...values.map((v) => (v > 0 ? v : v / 2)), 5, 5, 5]);
  expect([...(await engine.read(dx))]).toEqual([...dy.map((v, i) => (values[i]! > 0 ? v : v / 2)), 5, 5, 5]);
});

it("let nothing through where the slope is 0", async () => {
  const engine = await testEngine();
  using y = engine.tensor([2], [0, 1]);
  using dy = engine.tensor([2], [Number.POSITIVE_INFINITY, 2]);
  expect([...(await evaluate(engine, (s) => activationGradient(s, y, dy, "relu")))]).toEqual([0, 2]);
});
