import { expect, it } from "vitest";
import { choleskyFactor } from "../../src/nn/factorised/hostMatrices.js";
import { Products } from "../../src/nn/factorised/products.js";
import { expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

it.each([
  [1, 1, 1],
  [7, 5, 3],
  [33, 130, 517],
] as const)("products of rows agree with f64, on the host and on the GPU (%i×%i×%i)", async (m, n, k) => {
  const engine = await testEngine();
  const a = Float64Array.from(randomArray(m * k, 1));
  const b = randomArray(n * k, 2);
  const expected = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) for (let l = 0; l < k; l++) expected[i * n + j]! += a[i * k + l]! * b[j * k + l]!;
  const before = engine.memory().live;
  {
    using host = new Products(engine);
    expectClose(await host.rows(a, b, [m, n, k]), expected, 1e-12);
    using gpu = new Products(engine, 0);
    expectClose(await gpu.rows(a, b, [m, n, k]), expected, 1e-6);
    // twice with the same B, which stays on the GPU in between
    for (const side of [a, a.map((v) => -v)])
      expectClose(
        await gpu.rows(side, b, [m, n, k], { keepB: true }),
        side === a ? expected : expected.map((v) => -v),
        1e-6,
      );
    expect(engine.memory().live).toBeGreaterThan(before);
  }
  expect(engine.memory().live).toBe(before);
});

it.each([
  [60, 7],
  [170, 40],
])("covariances of few samples, summed in f32, have factors (%i inputs of %i samples)", (n, samples) => {
  // a mean far from 0 makes the largest eigenvalue large beside the ridge
  const x = randomArray(samples * n, 4).map((v) => 3 + v);
  const c = new Float32Array(n * n);
  for (let row = 0; row < samples; row++)
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) c[i * n + j]! += x[row * n + i]! * x[row * n + j]!;
  for (const ridge of [0, 1e-9, 1e-6]) {
    const l = choleskyFactor(c, n, ridge);
    let trace = 0;
    for (let i = 0; i < n; i++) trace += c[i * n + i]!;
    for (let i = 0; i < n; i++)
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let k = 0; k <= j; k++) sum += l[i * n + k]! * l[j * n + k]!;
        expect(Math.abs(sum - c[i * n + j]!)).toBeLessThan(1e-5 * trace);
      }
  }
  // a ridge may be larger than the matrix
  expect(choleskyFactor(Float64Array.of(4, 0, 0, 4), 2, 1e6)[0]).toBeCloseTo(Math.sqrt(4 + 4e6), 6);
  c[1] = c[n] = Number.NaN;
  expect(() => choleskyFactor(c, n, 1e-6)).toThrow("entries that are not finite");
  expect(() => choleskyFactor(Float64Array.of(-9, 0, 0, 10), 2, 1e-6)).toThrow("far below 0");
});
