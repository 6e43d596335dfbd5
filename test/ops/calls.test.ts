/** Every op refuses a call without a Scheduler, or with numbers in place of a tensor, and says so. */
import { describe, expect, it } from "vitest";
import { TenfoldError } from "../../src/gpu/index.js";
import * as ops from "../../src/ops/index.js";
import { testEngine } from "../engine.js";

/** Functions that ops/index.ts exports and that are no ops. */
const NO_OPS = new Set([
  ...["broadcastShapes", "conv3dSize", "outputExtent", "pair", "paddingBefore", "poolGeometry", "triple"],
  ...["formatPadding", "isFromOutput", "paddingsOf"],
  ...[
    "fitsTucker2",
    "prefersTucker2",
    "fusesAls",
    "fusesSweeps",
    "fusesHals",
    "prefersUnitColumns",
    "fusesCoreSteps",
    "prefersLowRank",
    "halfBits",
    "isSmall",
    "workCost",
    "mayMerge",
    "inspection",
    "histogramBins",
    "isSmallForGaussNewton",
    "sharedModels",
    // classes, whose constructors take an engine or a tensor
    "GaussNewtonState",
    "EachQr",
    "rowStride",
    "startBidiagonal",
    "startTridiagonal",
  ],
  ...[
    "trainingState",
    "denseScratch",
    "recordTiles",
    "stridesOf",
    "threeNumbers",
    "collapseAxes",
    "axesParams",
    "inVectors",
  ],
]);
/** Ops that take their tensors by name, in objects. */
const BY_NAME = new Set([
  "alsUpdate",
  "alsNormalize",
  "halsUpdate",
  "unitColumns",
  "coreSteps",
  "cpSweeps",
  "momentum",
  "lineSearchSteps",
  "lineSearchChoice",
  "lineSearchTake",
  "sgdStep",
  "adamStep",
  "tridiagonalStep",
  "bidiagonalStep",
  "trainDense",
  "uniform",
  "normal",
  "randomModels",
]);
type Op = (...parameters: unknown[]) => unknown;
const all = Object.entries(ops).filter(([name, value]) => typeof value === "function" && !NO_OPS.has(name)) as [
  string,
  Op,
][];

const engine = await testEngine();
const s = engine.scheduler("calls");

function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(TenfoldError);
    return (error as Error).message;
  }
  return "nothing was refused";
}

it("ops are found", () => {
  expect(all.length).toBeGreaterThan(50);
});

describe.each(all)("%s", (name, op) => {
  it("needs a Scheduler", () => {
    const nothing = new Array<object>(6).fill({});
    for (const [argument, description] of [
      [engine, "an object (Engine)"],
      [undefined, "undefined"],
      [engine.scheduler, "a function"],
    ] as const)
      expect(refusal(() => op(argument, ...nothing))).toContain(`${name}: the first argument is ${description}`);
  });

  it.skipIf(BY_NAME.has(name))("needs Tensors", () => {
    const numbers = new Array<number[]>(6).fill([1, 2]);
    expect(refusal(() => op(s, ...numbers))).toMatch(
      new RegExp(`^${name}: \\w+(\\[0\\] is 1| is \\[1, 2\\]), needs a Tensor`),
    );
  });
});

it("needs a Tensor to write to", () => {
  using a = engine.tensor([2, 2]);
  const out = [0, 0, 0, 0] as unknown as typeof a;
  expect(refusal(() => ops.matmul(s, a, a, { out }))).toBe(
    "matmul: out is [0, 0, 0, 0], needs a Tensor; engine.tensor(shape, data) makes one",
  );
  expect(refusal(() => ops.matmul(s, a, a, { bias: out }))).toBe(
    "matmul: bias is [0, 0, 0, 0], needs a Tensor; engine.tensor(shape, data) makes one",
  );
});
