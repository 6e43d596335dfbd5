/** CP's update is a value: the least squares one, and one that the library does not have. */
import { describe, expect, it } from "vitest";
import { cpByUpdates } from "../../src/decompositions/cp.js";
import { byPseudoInverse } from "../../src/decompositions/cpPseudoInverse.js";
import { type CpUpdate, leastSquares } from "../../src/decompositions/cpUpdates.js";
import { Program, type Tensor } from "../../src/gpu/index.js";
import { fusesAls, maximum } from "../../src/ops/index.js";
import { resident } from "../../src/sources/index.js";
import { expectClose, testEngine } from "../engine.js";
import { pseudoSolve } from "../reference/svd.js";
import { randomArray } from "../reference.js";
import { kruskal } from "./planted.js";

const ROWS = 9;
const R = 4;

/** A step of one mode: M, a positive definite V, A₀ with columns of norm 1, weights; all row-major. */
function numbers() {
  const b = randomArray(3 * R * R, 1);
  const normal = Float64Array.from({ length: R * R }, (_, at) => {
    const [i, j] = [Math.floor(at / R), at % R];
    let sum = 0;
    for (let k = 0; k < 3 * R; k++) sum += b[k * R + i]! * b[k * R + j]!;
    return sum;
  });
  const factor = randomArray(ROWS * R, 2);
  for (let r = 0; r < R; r++) {
    let squares = 0;
    for (let i = r; i < factor.length; i += R) squares += factor[i]! ** 2;
    for (let i = r; i < factor.length; i += R) factor[i]! /= Math.sqrt(squares);
  }
  return { product: randomArray(ROWS * R, 3), normal, factor, weights: Float32Array.of(3, 1, 2, 0.5) };
}

/** M·(V + shift·I)⁻¹ in f64, row by row. */
function solved(product: ArrayLike<number>, normal: Float64Array, shift: number): Float64Array {
  const shifted = normal.map((value, at) => (at % (R + 1) ? value : value + shift));
  const out = new Float64Array(ROWS * R);
  for (let i = 0; i < ROWS; i++) {
    const row = Float64Array.from({ length: R }, (_, r) => product[i * R + r]!);
    out.set(pseudoSolve(shifted, row, [R, R], R), i * R);
  }
  return out;
}

describe("updates by least squares", () => {
  it.each([
    ["cholesky", 0],
    ["cholesky", 0.1],
    ["pseudoInverse", 0],
  ] as const)("%s with ridge %f solves the normal equations, of X and of what is left", async (solver, ridge) => {
    const engine = await testEngine();
    const { product, normal, factor, weights } = numbers();
    const update = solver === "cholesky" ? leastSquares(ridge) : byPseudoInverse;
    using m = engine.tensor([ROWS, R], product);
    using v = engine.tensor([R, R], Float32Array.from(normal));
    using a = engine.tensor([ROWS, R], factor);
    using lambda = engine.tensor([R], weights);
    const scaledFactor = factor.map((value, at) => value * weights[at % R]!);
    using scaled = engine.tensor([ROWS, R], scaledFactor);
    using p = new Program(engine);
    const step = { mode: 0, product: m, normal: v, factor: a, weights: lambda, squaredNorm: 1 };
    const results: Tensor[] = [update.record(p, step), update.correct!(p, { ...step, scaled })];
    using program = await p.compile();
    await program.run();
    const [next, correction] = await engine.read(results);
    const mean = [0, 1, 2, 3].reduce((sum, r) => sum + normal[r * (R + 1)]! / R, 0);
    const shift = solver === "cholesky" ? ridge * mean : 0;
    expectClose(next!, solved(product, normal, shift), 2e-5);
    const gradient = Float64Array.from(
      product,
      (value, at) => value - (solver === "cholesky" ? ridge : 0) * scaledFactor[at]!,
    );
    expectClose(correction!, solved(gradient, normal, shift), 2e-5);
  });

  it("have a fused form by Cholesky alone, up to the rank that a workgroup holds", async () => {
    const engine = await testEngine();
    expect(leastSquares().fused!(engine, 3)).not.toBeNull();
    expect(fusesAls(engine, 70)).toBe(false);
    expect(leastSquares().fused!(engine, 70)).toBeNull();
    expect(byPseudoInverse.fused).toBeUndefined();
  });

  it("come to the same model fused and unfused", async () => {
    const engine = await testEngine();
    const shape = [7, 6, 5];
    const clean = kruskal(
      shape.map((extent, mode) => randomArray(3 * extent, 20 + mode)),
      shape,
      3,
    );
    const noise = randomArray(210, 7);
    using x = engine.tensor(
      shape,
      Float32Array.from(clean, (value, at) => value + 0.4 * noise[at]!),
    );
    using source = await resident(engine, "test", x);
    const { fused: _, ...unfused } = leastSquares();
    const options = { rank: 3, sweeps: 12, tolerance: 0, seed: 4 };
    const [a, b] = [
      await cpByUpdates("fused", source, options, leastSquares()),
      await cpByUpdates("unfused", source, options, unfused),
    ];
    const [expected, actual] = [await engine.read([...a.tensor.factors]), await engine.read([...b.tensor.factors])];
    expected.forEach((values, mode) => {
      expectClose(actual[mode]!, values, 1e-4);
    });
    for (const { tensor } of [a, b]) tensor.destroy();
  });
});

it("an update of one's own: factors that are least squares ones with negative entries set to 0", async () => {
  const engine = await testEngine();
  const shape = [8, 7, 6];
  const positive = shape.map((extent, mode) => randomArray(2 * extent, 30 + mode).map(Math.abs));
  using x = engine.tensor(shape, Float32Array.from(kruskal(positive, shape, 2)));
  using source = await resident(engine, "test", x);
  using zero = engine.tensor([1]);
  const clamped: CpUpdate = {
    advice: "another start",
    record(p, step) {
      const solved = leastSquares().record(p, step);
      const next = maximum(p.s, solved, zero);
      p.s.release(solved);
      return next;
    },
  };
  const { tensor, relativeError, errors } = await cpByUpdates(
    "clamped",
    source,
    { rank: 2, sweeps: 150, tolerance: 0, starts: 2 },
    clamped,
  );
  expect(relativeError).toBeLessThan(2e-3);
  expect(errors).toHaveLength(150);
  for (const factor of await engine.read([...tensor.factors]))
    for (const value of factor) expect(value).toBeGreaterThanOrEqual(0);
  tensor.destroy();
});
