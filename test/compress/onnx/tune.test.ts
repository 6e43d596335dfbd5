/** Networks from ONNX graphs, their weights there and back, and what they learn from the original. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type CompressOnnxOptions, compressOnnx, runtimeSessions } from "../../../src/compress/onnx/index.js";
import { findStretches, StretchNetwork } from "../../../src/compress/onnx/networkOf.js";
import { GraphFacts } from "../../../src/onnx/graph.js";
import { foldOnnx, type OnnxModel, readOnnx, writeOnnx } from "../../../src/onnx/index.js";
import { evaluate, testEngine } from "../../engine.js";
import { fixture, ort, runModel, signal } from "../../onnx/runtime.js";
import { modelOf, type NodeOf, normals } from "./models.js";

const session = runtimeSessions(ort as never, { graphOptimizationLevel: "disabled" });
const draw = normals(31);
const weight = (...shape: number[]) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: draw(size, 1 / Math.sqrt(size / shape[0]!)) };
};
const stretchesOf = (model: OnnxModel, shape: readonly number[]) => {
  const input = model.inputs[0]!.name;
  return findStretches(model, { [input]: shape }, new GraphFacts(model).names, false);
};
const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (value, at) => Math.abs(value - b[at]!)));

/** Compares a stretch over the whole model with the runtime, and the model with the weights of the stretch put back. */
async function expectSame(model: OnnxModel, shape: readonly number[], layers: number): Promise<void> {
  const engine = await testEngine();
  const { stretches, boundaries } = stretchesOf(model, shape);
  expect(boundaries).toEqual([]);
  expect(stretches).toHaveLength(1);
  const [stretch] = stretches as [(typeof stretches)[number]];
  const [input, output] = [model.inputs[0]!.name, model.outputs[0]!.name];
  expect(stretch).toMatchObject({ from: input, to: output });
  expect(stretch.layers.filter(({ places }) => places.length)).toHaveLength(layers);
  const x = signal(shape);
  const feeds = { [input]: new ort.Tensor("float32", x, shape) };
  const expected = (await runModel(writeOnnx(model), feeds)).get(output)!;
  const learner = await StretchNetwork.of(engine, model, stretch);
  try {
    using inputs = engine.tensor(shape, x);
    const got = await evaluate(engine, (s) => learner.network.forward(s, inputs));
    expect(largest(got, expected.data)).toBeLessThan(1e-5 * Math.max(1, ...Array.from(expected.data, Math.abs)));
    const back = await learner.written();
    expect(back.graph.node).toEqual(model.graph.node);
    const again = (await runModel(writeOnnx(back), feeds)).get(output)!;
    expect(largest(again.data, expected.data)).toBeLessThan(1e-5);
  } finally {
    learner.destroy();
  }
}

it("gives what the runtime gives, and puts its weights back: images", async () => {
  const nodes: NodeOf[] = [
    {
      ...{ op: "Conv", inputs: ["x", "w1", "b1"], output: "conv" },
      attributes: { pads: [0, 1, 2, 1], strides: [1, 2], group: 2 },
    },
    { op: "Relu", inputs: ["conv"], output: "relu" },
    { op: "Conv", inputs: ["relu", "w2"], output: "same", attributes: { auto_pad: "SAME_UPPER" } },
    { op: "LeakyRelu", inputs: ["same"], output: "leaky", attributes: { alpha: { float: 0.2 } } },
    { op: "Add", inputs: ["leaky", "relu"], output: "sum" },
    { op: "GlobalAveragePool", inputs: ["sum"], output: "mean" },
    { op: "Sigmoid", inputs: ["mean"], output: "gate" },
    { op: "Mul", inputs: ["gate", "sum"], output: "gated" },
    {
      op: "MaxPool",
      inputs: ["gated"],
      output: "max",
      attributes: { kernel_shape: [2, 3], strides: [2, 1], pads: [1, 1, 0, 1] },
    },
    {
      op: "AveragePool",
      inputs: ["gated"],
      output: "average",
      attributes: { kernel_shape: [2, 3], strides: [2, 1], pads: [1, 1, 0, 1], count_include_pad: 1 },
    },
    { op: "Concat", inputs: ["max", "average"], output: "both", attributes: { axis: -3 } },
    {
      op: "ConvTranspose",
      inputs: ["both", "w3", "b3"],
      output: "large",
      attributes: { strides: [2, 1], group: 2, output_padding: [1, 0] },
    },
    { op: "Tanh", inputs: ["large"], output: "tanh" },
    { op: "Identity", inputs: ["tanh"], output: "copy" },
    { op: "Flatten", inputs: ["copy"], output: "flat" },
    {
      op: "Gemm",
      inputs: ["flat", "w4", "b4"],
      output: "gemm",
      attributes: { alpha: { float: 0.5 }, beta: { float: 2 } },
    },
    { op: "MatMul", inputs: ["gemm", "w5"], output: "product" },
    { op: "Add", inputs: ["b5", "product"], output: "y" },
  ];
  const weights = {
    ...{ w1: weight(6, 2, 3, 3), b1: weight(6), w2: weight(6, 6, 3, 3), w3: weight(12, 2, 3, 1), b3: weight(4) },
    ...{ w4: weight(4 * 10 * 4, 7), b4: weight(7), w5: weight(7, 5), b5: weight(5) },
  };
  await expectSame(readOnnx(modelOf(nodes, weights, [null, 4, 7, 8], [null, 5])), [3, 4, 7, 8], 5);
});

it("gives what the runtime gives, and puts its weights back: signals, and the trained ResNet", async () => {
  const nodes: NodeOf[] = [
    { op: "Conv", inputs: ["x", "w"], output: "conv", attributes: { pads: [2, 1], strides: [2] } },
    { op: "Relu", inputs: ["conv"], output: "y" },
  ];
  await expectSame(readOnnx(modelOf(nodes, { w: weight(5, 3, 4) }, [null, 3, 11], [null, 5, null])), [2, 3, 11], 1);
  const bytes = readFileSync(join(import.meta.dirname, "../../fixtures/networks/resnet.onnx"));
  await expectSame((await foldOnnx(readOnnx(new Uint8Array(bytes)))).model, [2, 1, 28, 28], 10);
});

it("finds the parts that are networks, and says what ends them", () => {
  const nodes: NodeOf[] = [
    { op: "Gemm", inputs: ["x", "a"], output: "one" },
    { op: "Relu", inputs: ["one"], output: "relu" },
    { op: "Gemm", inputs: ["relu", "b"], output: "two" },
    // relu is read behind the softmax, too: the part that ends at `two` begins behind it, or ends at it
    { op: "Softmax", inputs: ["two"], output: "attention" },
    { op: "Mul", inputs: ["attention", "relu"], output: "weighted" },
    { op: "Gemm", inputs: ["weighted", "c"], output: "three" },
    { op: "Elu", inputs: ["three"], output: "y" },
  ];
  const weights = { a: weight(6, 8), b: weight(8, 8), c: weight(8, 5) };
  const model = readOnnx(modelOf(nodes, weights, [null, 6], [null, 5]));
  const { stretches, boundaries } = stretchesOf(model, [1, 6]);
  expect(stretches.map(({ from, to, entries }) => [from, to, entries])).toEqual([
    ["x", "relu", 48],
    ["relu", "two", 64],
    ["weighted", "three", 40],
  ]);
  expect(boundaries.map(({ op, reason }) => `${op}: ${reason}`)).toEqual([
    "Softmax: Softmax has no layer",
    "Elu: Elu has no layer",
  ]);
});

/** Two layers of full rank, so that much is lost. */
const dense = (last: string): Uint8Array =>
  modelOf(
    [
      { op: "Gemm", inputs: ["x", "a", "p"], output: "one" },
      { op: last, inputs: ["one"], output: "bent" },
      { op: "Gemm", inputs: ["bent", "b", "q"], output: "y" },
    ],
    { a: weight(16, 24), p: weight(24), b: weight(24, 12), q: weight(12) },
    [null, 16],
    [null, 12],
  );
const calibration = Array.from({ length: 200 }, () => ({
  x: { dtype: "float32", shape: [1, 16], data: draw(16) },
}));
const compress = async (bytes: Uint8Array, more: Partial<CompressOnnxOptions>) =>
  compressOnnx(bytes, {
    ...{
      engine: await testEngine(),
      session,
      calibration,
      smallest: 0,
      target: { weights: 1.6 },
      multiple: 1,
      ...more,
    },
  });

it("learns from the original what low rank has lost, and keeps the best until it is stopped", async () => {
  const bytes = dense("Relu");
  const plain = await compress(bytes, {});
  expect(plain.tuning).toBeNull();
  const tuned = await compress(bytes, { tune: 300, ablation: true });
  const [stretch, ...others] = tuned.tuning!.stretches;
  expect(others).toEqual([]);
  expect(stretch).toMatchObject({ from: "x", to: "y", samples: 120 });
  expect(stretch!.steps).toBeGreaterThan(250);
  expect(stretch!.error.after).toBeLessThan(0.97 * stretch!.error.before);
  expect(tuned.verified!.error).toBeLessThan(0.97 * plain.verified!.error);
  expect(tuned.weights).toEqual(plain.weights);
  expect(tuned.steps.at(-1)).toEqual({ name: "tuned: x to y", error: stretch!.error.after, kept: true });
  expect(tuned.ablation!.at(-1)!.name).toBe("tuned");
  expect(tuned.ablation!.at(-1)!.error).toBeCloseTo(tuned.verified!.error, 5);
  // all but the numbers is as without tuning
  const [a, b] = [readOnnx(plain.bytes!), readOnnx(tuned.bytes!)];
  expect(b.graph.node).toEqual(a.graph.node);
  expect(b.graph.initializer.map(({ name, dims }) => [name, dims])).toEqual(
    a.graph.initializer.map(({ name, dims }) => [name, dims]),
  );

  const controller = new AbortController();
  const { signal } = controller;
  const stopped = await compress(bytes, {
    ...{ tune: 100_000, signal },
    onProgress: (done, doing) => doing.startsWith("tuning") && done > 0.8005 && controller.abort(),
  });
  expect(stopped.bytes).not.toBeNull();
  expect(stopped.tuning).toMatchObject({ stopped: true, reason: null });
  const [part] = stopped.tuning!.stretches;
  expect(part!.steps).toBeGreaterThan(0);
  expect(part!.steps).toBeLessThan(50_000);
  expect(part!.error.after).toBeLessThanOrEqual(part!.error.before);
});

it("says where there is nothing to tune, and what it needs", async () => {
  // products of several rows a sample
  const bytes = fixture("transformer.onnx");
  const model = readOnnx(bytes);
  const { stretches, boundaries } = stretchesOf(model, [1, 5]);
  expect(stretches).toEqual([]);
  expect(boundaries.map(({ reason }) => reason)).toContain("it multiplies samples of several rows");
  const tokens = Array.from({ length: 40 }, (_, at) => ({
    tokens: {
      dtype: "int64",
      shape: [1, 5],
      data: BigInt64Array.from({ length: 5 }, (_, k) => BigInt((7 * at + k * k) % 10)),
    },
  }));
  const { tuning, warnings } = await compress(bytes, {
    ...{ tune: 10, calibration: tokens, target: { weights: 1.05 }, refit: false },
  });
  expect(tuning!.stretches).toEqual([]);
  expect(warnings.join()).toMatch(
    /nothing was tuned: no part of the model .*MatMul: it multiplies samples of several rows/,
  );
  const engine = await testEngine();
  await expect(compressOnnx(bytes, { engine, tune: 10, target: { weights: 2 } })).rejects.toThrow(
    /tune needs calibration/,
  );
  await expect(compressOnnx(bytes, { engine, tune: -1, target: { weights: 2 } })).rejects.toThrow(/tune/);
});
