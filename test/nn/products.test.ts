import { expect, it } from "vitest";
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
