/** `compressOnnx` that goes on from a plan, tells what each step brings, and is given files that are damaged. */
import { expect, it } from "vitest";
import {
  type CompressOnnxOptions,
  compressOnnx,
  type OnnxPlan,
  runtimeSessions,
} from "../../../src/compress/onnx/index.js";
import { TenfoldError } from "../../../src/errors.js";
import { testEngine } from "../../engine.js";
import { mutate, random } from "../../onnx/mutate.js";
import { fixture, ort } from "../../onnx/runtime.js";
import { lowRank, modelOf, normals } from "./models.js";

const session = runtimeSessions(ort as never, { graphOptimizationLevel: "disabled" });
const draw = normals(21);
const weight = (shape: number[], data: Float32Array) => ({ shape, data });
const network = modelOf(
  [
    { op: "MatMul", inputs: ["x", "a"], output: "hidden" },
    { op: "Relu", inputs: ["hidden"], output: "relu" },
    { op: "MatMul", inputs: ["relu", "b"], output: "middle" },
    { op: "Relu", inputs: ["middle"], output: "relu2" },
    { op: "MatMul", inputs: ["relu2", "c"], output: "y" },
  ],
  {
    a: weight([20, 24], lowRank(draw, 20, 24, 6)),
    b: weight([24, 18], draw(24 * 18, 0.2)),
    c: weight([18, 6], draw(18 * 6, 0.3)),
  },
  [null, 20],
  [null, 6],
);
// a mean far from zero, so that biases matter, and few directions, so that the covariance does
const directions = draw(7 * 20);
const calibration = Array.from({ length: 60 }, () => {
  const amounts = draw(7);
  const data = Float32Array.from({ length: 20 }, (_, i) =>
    amounts.reduce((sum, amount, k) => sum + amount * directions[k * 20 + i]!, 1.5),
  );
  return { x: { dtype: "float32", shape: [1, 20], data } };
});
const run = async (more: Partial<CompressOnnxOptions> = {}) =>
  compressOnnx(network, {
    ...{ engine: await testEngine(), session, calibration, smallest: 0, target: { weights: 1.7 }, ...more },
  });

it("stops, goes on from the plan, and gives the same file as at one go", async () => {
  const plans: OnnxPlan[] = [];
  const atOnce = await run({ onPlan: (plan) => plans.push(plan) });
  expect(atOnce.bytes).not.toBeNull();
  expect(plans.map(({ layers, chosen }) => [layers.length, chosen.length])).toEqual([
    [1, 0],
    [2, 0],
    [3, 0],
    [3, 1],
  ]);
  for (const plan of [plans[1]!, plans[3]!]) {
    const doing: string[] = [];
    const later = await run({ plan: JSON.parse(JSON.stringify(plan)), onProgress: (_, what) => doing.push(what) });
    expect(later.bytes).toEqual(atOnce.bytes);
    expect(later.steps).toEqual(atOnce.steps);
    expect(doing).not.toContain("moments of hidden");
  }
  // another budget, by another cost
  const other = { target: { multiplications: 1.5 } };
  const doing: string[] = [];
  const moved = await run({ ...other, plan: plans[3]!, onProgress: (_, what) => doing.push(what) });
  expect(moved.bytes).toEqual((await run(other)).bytes);
  expect(doing.filter((what) => what.startsWith("moments"))).toEqual([]);
  await expect(run({ plan: plans[3]!, calibration: calibration.slice(1) })).rejects.toThrow(/plan is of another model/);
  await expect(run({ plan: { version: 2 } as never })).rejects.toThrow(/plan/);
  const controller = new AbortController();
  await expect(run({ signal: controller.signal, onPlan: () => controller.abort() })).rejects.toThrow(/abort/i);
});

it("tells what the means, the covariance, the choice of ranks and refits bring", async () => {
  const { ablation, verified } = await run({ ablation: true });
  expect(ablation!.map(({ name }) => name.split(" ")[0])).toEqual([
    "weights",
    "means",
    "whitened",
    "ranks",
    "refitted",
  ]);
  const errors = ablation!.map(({ error }) => error);
  expect(errors[1]!).toBeLessThan(errors[0]!);
  expect(errors[2]!).toBeLessThan(0.8 * errors[1]!);
  expect(errors[4]!).toBeCloseTo(verified!.error, 5);
  await expect(run({ ablation: true, target: { error: 0.1 } })).rejects.toThrow(/ablation/);
});

it("of a damaged file gives one error of ours, or a whole model", async () => {
  const engine = await testEngine();
  const outcomes = { given: 0, refused: 0 };
  for (const name of ["convolutions", "products", "torture"])
    for (let turn = 0; turn < 12; turn++) {
      const bytes = mutate(fixture(`${name}.onnx`), random(100 + turn));
      try {
        const result = await compressOnnx(bytes, { engine, smallest: 0, target: { weights: 1.1 } });
        expect(result.bytes !== null || result.reason !== null).toBe(true);
        outcomes.given++;
      } catch (error) {
        expect(error, `${name} ${turn}`).toBeInstanceOf(TenfoldError);
        outcomes.refused++;
      }
    }
  expect(outcomes.given).toBeGreaterThan(0);
  expect(outcomes.refused).toBeGreaterThan(0);
});
