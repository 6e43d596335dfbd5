/** Against TensorLy in f64, from the same tensor and the same starts; test/fixtures/tensorly/make.py says how the numbers came about. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CpSolver, cpALS, hosvd, tensorRingSVD, ttSVD, tuckerHOOI } from "../../src/decompositions/index.js";
import { evaluate, testEngine } from "../engine.js";
import { distance } from "./planted.js";

const expected = JSON.parse(readFileSync("test/fixtures/tensorly/expected.json", "utf8"));
const { shape, x: numbers, start } = expected as { shape: number[]; x: number[]; start: number[][]; matrix: number[] };
const engine = await testEngine();
const x = engine.tensor(shape, numbers);

describe("beside TensorLy", () => {
  it("parafac: the same errors sweep by sweep, and the same model, from given factors", async () => {
    const { sweeps, errors, full } = expected.parafac;
    using solver = await CpSolver.create(x, { rank: 3 });
    await solver.start(start);
    const result = await solver.solve({ sweeps, tolerance: 0 });
    expect(result.errors).toHaveLength(sweeps);
    for (const [sweep, error] of result.errors.entries()) expect(Math.abs(error - errors[sweep])).toBeLessThan(2e-6);
    expect(distance(full, await evaluate(engine, (s) => result.tensor.full(s)))).toBeLessThan(2e-5);
    result.tensor.destroy();
  });

  it("cpALS reaches no worse an error than parafac", async () => {
    const { tensor, relativeError } = await cpALS(engine, x, { rank: 3, starts: 3 });
    expect(relativeError).toBeLessThan(expected.parafac.errors.at(-1));
    // non-negative factors can do no better
    expect(relativeError).toBeLessThan(expected.nonNegativeParafac.error + 1e-6);
    tensor.destroy();
  });

  it("tucker: the same tensor after HOOI", async () => {
    const { ranks, error, full } = expected.tucker;
    const { tensor, relativeError } = await tuckerHOOI(engine, x, { ranks, tolerance: 1e-7, sweeps: 300 });
    expect(Math.abs(relativeError - error)).toBeLessThan(1e-6);
    expect(distance(full, await evaluate(engine, (s) => tensor.full(s)))).toBeLessThan(2e-3);
    tensor.destroy();
    const start = await hosvd(engine, x, { ranks });
    expect(start.relativeError).toBeGreaterThan(error - 1e-6);
    start.tensor.destroy();
  });

  it("partial_tucker: the same tensor", async () => {
    const { ranks, modes, error, full } = expected.partialTucker;
    const { tensor, relativeError } = await tuckerHOOI(engine, x, { ranks, modes, tolerance: 1e-7, sweeps: 300 });
    expect(Math.abs(relativeError - error)).toBeLessThan(1e-6);
    expect(distance(full, await evaluate(engine, (s) => tensor.full(s)))).toBeLessThan(2e-3);
    tensor.destroy();
  });

  it("tensor_train: the same tensor", async () => {
    const { ranks, error, full } = expected.tensorTrain;
    const { tensor, relativeError } = await ttSVD(engine, x, { ranks });
    expect(Math.abs(relativeError - error)).toBeLessThan(1e-6);
    expect(distance(full, await evaluate(engine, (s) => tensor.full(s)))).toBeLessThan(1e-4);
    tensor.destroy();
  });

  it("tensor_ring: nearly the same error", async () => {
    // the first SVD's columns are shared out to two ranks, and how depends on their signs, which no SVD settles
    const { ranks, error } = expected.tensorRing;
    const { tensor, relativeError } = await tensorRingSVD(engine, x, { ranks });
    expect(Math.abs(relativeError / error - 1)).toBeLessThan(0.05);
    tensor.destroy();
  });
});
