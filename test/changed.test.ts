import { expect, it } from "vitest";
import { testsFor } from "./changed.js";

const files = new Map([
  ["src/ops/conv2d.ts", 'import subgroup from "../../shaders/conv2d_subgroup.wgsl";'],
  ["src/ops/index.ts", ""],
  ["src/nn/factorised/tensorTrain.ts", ""],
  ["src/nn/train.ts", ""],
  ["shaders/conv2d_subgroup.wgsl", ""],
  ["shaders/common/sums.wgsl", ""],
  ["test/engine.ts", ""],
  ["test/ops/conv2d.test.ts", 'import { testEngine } from "../engine.js";'],
  ["test/ops/matmul.test.ts", ""],
  ["test/nn/factorised.test.ts", ""],
  ["test/nn/training.test.ts", 'import { train } from "../../src/nn/train.js";'],
  ["test/decompositions/tensorTrain.test.ts", ""],
  ["test/slow/mnist.test.ts", 'import { train } from "../../src/nn/train.js";'],
]);

it.each([
  ["a test", "test/ops/matmul.test.ts", ["ops/matmul"]],
  ["one of those that npm test leaves out", "test/slow/mnist.test.ts", []],
  ["what has a test of its name", "src/ops/conv2d.ts", ["ops/conv2d"]],
  ["what its folder has a test for", "src/nn/factorised/tensorTrain.ts", ["nn/factorised"]],
  ["what a test imports", "src/nn/train.ts", ["nn/training"]],
  ["what tests stand on", "test/engine.ts", ["ops/conv2d"]],
  ["what has no test: those of its room", "src/ops/index.ts", ["ops/conv2d", "ops/matmul"]],
  ["a shader: those of the op that uses it", "shaders/conv2d_subgroup.wgsl", ["ops/conv2d"]],
  ["a shader that shaders use: those of all ops", "shaders/common/sums.wgsl", ["ops/conv2d", "ops/matmul"]],
  ["what is no code", "README.md", []],
])("finds the tests of %s", (_, changed, expected) => {
  expect(testsFor([changed], files)).toEqual(expected.map((name) => `test/${name}.test.ts`));
});

it("names each once, in order", () => {
  const changed = ["test/ops/matmul.test.ts", "src/ops/conv2d.ts", "shaders/conv2d_subgroup.wgsl"];
  expect(testsFor(changed, files)).toEqual(["test/ops/conv2d.test.ts", "test/ops/matmul.test.ts"]);
});
