/** Inputs that once gave a wrong answer, each one of a kind. Right values are float64's of the input rounded to f32. */
import { describe, expect, it } from "vitest";
import { cpALS, tuckerHOOI } from "../../src/decompositions/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

type Shape = readonly [number, number, number];
type Entry = (i: number, j: number, k: number) => number;

const valuesOf = ([I, J, K]: Shape, f: Entry): Float32Array =>
  Float32Array.from({ length: I * J * K }, (_, at) => f(Math.floor(at / (J * K)), Math.floor(at / K) % J, at % K));

describe("scale", () => {
  const shape: Shape = [3, 3, 3];
  it.each([1, 1e-10, 1e9])("Tucker of %d times a tensor leaves the same error", async (s) => {
    const engine = await testEngine();
    using x = engine.tensor(
      shape,
      valuesOf(shape, (i, j, k) => s * (1 + Math.sin(i + 2 * j + 5 * k + i * j * k))),
    );
    const { tensor, relativeError } = await tuckerHOOI(engine, x, { ranks: [2, 2, 2] });
    expect(relativeError).toBeCloseTo(0.432169, 5);
    tensor.destroy();
  });

  it.each([3e7, 1e-13])("CP of noise of size %d works", async (s) => {
    const engine = await testEngine();
    const size = 20 * 15 * 12;
    using x = engine.tensor(
      [20, 15, 12],
      randomArray(size, 3).map((value) => value * s),
    );
    const { tensor, relativeError } = await cpALS(engine, x, { rank: 3, sweeps: 20 });
    expect(relativeError).toBeGreaterThan(0.9);
    expect(relativeError).toBeLessThan(1);
    tensor.destroy();
  });
});

describe("near a fit of 1", () => {
  it("HOOI tells the residual, and goes on until that stands still", async () => {
    const engine = await testEngine();
    const shape: Shape = [8, 9, 10];
    const entry: Entry = (i, j, k) => {
      const row = i + 8 * j;
      const noise = 1e-4 * Math.sin(12.9898 * row + 78.233 * k + 1.3 * row * k);
      return 1 + 0.5 * Math.sin(i) * Math.sin(2 * j) * Math.sin(3 * k) + noise;
    };
    using x = engine.tensor(shape, valuesOf(shape, entry));
    const { tensor, errors, fits, converged } = await tuckerHOOI(engine, x, { ranks: [2, 2, 2] });
    expect(converged).toBe(true);
    for (const error of errors.slice(-3)) expect(Math.abs(error - 7.0025e-5)).toBeLessThan(2e-8);
    expect(fits.at(-1)).toBe(1 - errors.at(-1)!);
    tensor.destroy();
  });

  it("CP is not converged because two sweeps are equal by chance", async () => {
    const engine = await testEngine();
    const shape: Shape = [12, 40, 25];
    const entry: Entry = (i, j, k) =>
      [0, 1, 2].reduce((sum, r) => {
        const one = 1.2 + Math.sin(3 * i * (r + 1) + r);
        return sum + one * Math.exp(-((j - 20 - 6 * r) ** 2) / 98) * Math.exp(-((k - 10 - 2.5 * r) ** 2) / 32);
      }, 0);
    using x = engine.tensor(shape, valuesOf(shape, entry));
    const { tensor, relativeError, sweeps, errors } = await cpALS(engine, x, {
      rank: 3,
      initialize: "hosvd",
      sweeps: 1000,
      acceleration: "none",
    });
    // ALS in f64 by the same rule: 473 sweeps, 5.6e-5
    expect(sweeps).toBeGreaterThan(440);
    expect(sweeps).toBeLessThan(520);
    expect(relativeError).toBeLessThan(6e-5);
    expect(errors.slice(1).every((error, at) => error < errors[at]!)).toBe(true);
    tensor.destroy();
  });
});

describe("CP terms that are small beside others", () => {
  const entry: Entry = (i, j, k) =>
    1000 + Math.sin(12.9898 * i + 78.233 * j + 37.719 * k + 1.3 * i * j + 0.7 * j * k + 2.1 * i * k);

  it.each([
    [16, 6.83275e-4],
    [10, 6.6446e-4],
  ])("stay alive beside a mean of 1000, %i³", async (n, right) => {
    const engine = await testEngine();
    const shape: Shape = [n, n, n];
    using x = engine.tensor(shape, valuesOf(shape, entry));
    const { tensor, relativeError } = await cpALS(engine, x, { rank: 3, starts: 3, sweeps: 500 });
    expect(relativeError).toBeLessThan(1.005 * right);
    expect(relativeError).toBeGreaterThan(0.999 * right);
    for (const weight of await engine.read(tensor.weights)) expect(weight).toBeGreaterThan(1);
    tensor.destroy();
  });

  it("reach what f64 does where the tolerance lets them", async () => {
    const engine = await testEngine();
    const shape: Shape = [10, 10, 10];
    using x = engine.tensor(shape, valuesOf(shape, entry));
    const { tensor, relativeError } = await cpALS(engine, x, { rank: 3, sweeps: 200, tolerance: 1e-9 });
    expect(relativeError).toBeLessThan(6.6449e-4);
    expect(relativeError).toBeGreaterThan(6.644e-4);
    tensor.destroy();
  });

  it("are not started where a mode has nothing of the tensor", async () => {
    const engine = await testEngine();
    const shape: Shape = [4, 4, 4];
    using x = engine.tensor(
      shape,
      valuesOf(shape, (i, j, k) => (j === 1 ? Math.sin(1 + i * i + 3 * k + i * k) : 0)),
    );
    const { tensor, relativeError, converged } = await cpALS(engine, x, { rank: 2, initialize: "hosvd" });
    expect(converged).toBe(true);
    expect(relativeError).toBeCloseTo(0.503333, 5);
    tensor.destroy();
  });

  it.each(["random", "hosvd"] as const)(
    "a linear function is rank 3 to f32's last digits, %s start",
    async (initialize) => {
      const engine = await testEngine();
      const shape: Shape = [3, 4, 2];
      using x = engine.tensor(
        shape,
        valuesOf(shape, (i, j, k) => 8 * i + 2 * j + k),
      );
      const { tensor, relativeError } = await cpALS(engine, x, { rank: 3, initialize, sweeps: 200, tolerance: 1e-9 });
      expect(relativeError).toBeLessThan(1e-6);
      tensor.destroy();
    },
  );
});

it("a single entry is found whole by every start", async () => {
  const engine = await testEngine();
  const data = new Float32Array(120);
  data[73] = -4;
  using x = engine.tensor([4, 5, 6], data);
  for (const initialize of ["random", "hosvd"] as const) {
    const { tensor, relativeError } = await cpALS(engine, x, { rank: 2, initialize });
    expect(relativeError).toBeLessThan(1e-6);
    tensor.destroy();
  }
  const { tensor, relativeError } = await tuckerHOOI(engine, x, { ranks: 1 });
  expect(relativeError).toBeLessThan(1e-6);
  tensor.destroy();
});
