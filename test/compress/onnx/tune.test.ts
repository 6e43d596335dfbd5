/** Networks from ONNX graphs, their weights there and back, and what they learn from the original. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type CompressOnnxOptions, compressOnnx, runtimeSessions } from "../../../src/compress/onnx/index.js";
import { findStretches, StretchNetwork } from "../../../src/compress/onnx/networkOf.js";
import { Part } from "../../../src/compress/onnx/session.js";
import { GraphFacts } from "../../../src/onnx/graph.js";
import { foldOnnx, type OnnxModel, readOnnx, writeOnnx } from "../../../src/onnx/index.js";
import { evaluate, testEngine } from "../../engine.js";
import { fixture, ort, runModel, signal } from "../../onnx/runtime.js";
import { integers, modelOf, type NodeOf, normals } from "./models.js";

const session = runtimeSessions(ort as never, { graphOptimizationLevel: "disabled" });
const draw = normals(31);
const weight = (...shape: number[]) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: draw(size, 1 / Math.sqrt(size / shape[0]!)) };
};
const stretchesOf = (model: OnnxModel, shape: readonly number[]) => {
  const input = model.inputs[0]!.name;
  const { names } = new GraphFacts(model);
  return findStretches(model, { [input]: shape }, { ends: names, original: names }, false);
};
const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (value, at) => Math.abs(value - b[at]!)));

/**
 * Compares a stretch over the whole model with the runtime, and the model with the weights of the stretch put back.
 *
 * @param start what the stretch begins with: the input, or the input in another shape
 */
async function expectSame(model: OnnxModel, shape: readonly number[], layers: number, start?: string): Promise<void> {
  const engine = await testEngine();
  const { stretches, boundaries } = stretchesOf(model, shape);
  expect(boundaries).toEqual([]);
  expect(stretches).toHaveLength(1);
  const [stretch] = stretches as [(typeof stretches)[number]];
  const [input, output] = [model.inputs[0]!.name, model.outputs[0]!.name];
  expect(stretch).toMatchObject({ from: start ?? input, to: output });
  expect(stretch.layers.filter(({ places }) => places.length)).toHaveLength(layers);
  const x = signal(shape);
  const feeds = { [input]: new ort.Tensor("float32", x, shape) };
  const expected = (await runModel(writeOnnx(model), feeds)).get(output)!;
  const learner = await StretchNetwork.of(engine, model, stretch);
  try {
    using inputs = engine.tensor([shape[0]!, ...stretch.sample], x);
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

const trained = (name: string): OnnxModel =>
  readOnnx(new Uint8Array(readFileSync(join(import.meta.dirname, `../../fixtures/networks/${name}.onnx`))));

it("gives what the runtime gives, and puts its weights back: signals, and trained networks", async () => {
  const nodes: NodeOf[] = [
    { op: "Conv", inputs: ["x", "w"], output: "conv", attributes: { pads: [2, 1], strides: [2] } },
    { op: "Relu", inputs: ["conv"], output: "y" },
  ];
  await expectSame(readOnnx(modelOf(nodes, { w: weight(5, 3, 4) }, [null, 3, 11], [null, 5, null])), [2, 3, 11], 1);
  await expectSame((await foldOnnx(trained("resnet"))).model, [2, 1, 28, 28], 10);
  await expectSame(trained("transformer"), [2, 1, 28, 28], 20, "tokens");
});

const scalar = (value: number) => ({ shape: [] as number[], data: Float32Array.of(value) });

/** A normalisation over the last axis as exporters to old operator sets spell it; `twice` subtracts anew before it divides. */
const spelledNorm = (x: string, y: string, twice = false): NodeOf[] => [
  { op: "ReduceMean", inputs: [x], output: `${y}1`, attributes: { axes: [-1] } },
  { op: "Sub", inputs: [x, `${y}1`], output: `${y}2` },
  ...(twice ? [{ op: "Sub", inputs: [x, `${y}1`], output: `${y}3` }] : []),
  twice
    ? { op: "Mul", inputs: [`${y}2`, `${y}2`], output: `${y}4` }
    : { op: "Pow", inputs: [`${y}2`, "two"], output: `${y}4` },
  { op: "ReduceMean", inputs: [`${y}4`], output: `${y}5`, attributes: { axes: [-1] } },
  { op: "Add", inputs: [`${y}5`, "epsilon"], output: `${y}6` },
  { op: "Sqrt", inputs: [`${y}6`], output: `${y}7` },
  { op: "Div", inputs: [twice ? `${y}3` : `${y}2`, `${y}7`], output: `${y}8` },
  { op: "Mul", inputs: [`${y}8`, `${y}_g`], output: `${y}9` },
  { op: "Add", inputs: [`${y}_b`, `${y}9`], output: y },
];

it("gives what the runtime gives, and puts its weights back: attention, spelled out", async () => {
  // the projections stand in one product, whose parts are told apart along an axis before the samples'
  const part = (at: number, by: string): NodeOf[] => {
    const [sliced, name] = [`sliced${at}`, "qkv"[at]!];
    if (by === "Gather")
      return [{ op: "Gather", inputs: ["turned", `index${at}`], output: name, attributes: { axis: 0 } }];
    return [
      { op: "Slice", inputs: ["turned", `from${at}`, `to${at}`, "zero"], output: sliced },
      { op: "Squeeze", inputs: [sliced, "zero"], output: name },
    ];
  };
  const nodes: NodeOf[] = [
    { op: "Shape", inputs: ["x"], output: "extents" },
    { op: "Slice", inputs: ["extents", "zero", "one"], output: "batch" },
    { op: "Concat", inputs: ["batch", "rest"], output: "target", attributes: { axis: 0 } },
    { op: "Add", inputs: ["x", "positions"], output: "placed" },
    ...spelledNorm("placed", "n"),
    { op: "MatMul", inputs: ["n", "w_qkv"], output: "product" },
    { op: "Add", inputs: ["product", "b_qkv"], output: "qkv" },
    { op: "Reshape", inputs: ["qkv", "target"], output: "split" },
    { op: "Transpose", inputs: ["split"], output: "turned", attributes: { perm: [2, 0, 3, 1, 4] } },
    ...part(0, "Slice"),
    ...part(1, "Gather"),
    ...part(2, "Slice"),
    { op: "Mul", inputs: ["q", "scale"], output: "scaled" },
    { op: "Transpose", inputs: ["k"], output: "kt", attributes: { perm: [0, 1, 3, 2] } },
    { op: "MatMul", inputs: ["scaled", "kt"], output: "scores" },
    { op: "Softmax", inputs: ["scores"], output: "weights", attributes: { axis: 3 } },
    { op: "MatMul", inputs: ["weights", "v"], output: "mixed" },
    { op: "Transpose", inputs: ["mixed"], output: "mixedTurned", attributes: { perm: [0, 2, 1, 3] } },
    { op: "Reshape", inputs: ["mixedTurned", "merged"], output: "heads" },
    { op: "MatMul", inputs: ["heads", "w_o"], output: "projected" },
    { op: "Mul", inputs: ["projected", "gain"], output: "gained" },
    { op: "Add", inputs: ["placed", "gained"], output: "attended" },
    ...spelledNorm("attended", "m", true),
    { op: "MatMul", inputs: ["m", "w_up"], output: "up" },
    { op: "Div", inputs: ["up", "root"], output: "g1" },
    { op: "Erf", inputs: ["g1"], output: "g2" },
    { op: "Add", inputs: ["g2", "unit"], output: "g3" },
    { op: "Mul", inputs: ["up", "g3"], output: "g4" },
    { op: "Mul", inputs: ["g4", "half"], output: "active" },
    { op: "MatMul", inputs: ["active", "w_down"], output: "down" },
    { op: "Add", inputs: ["attended", "down"], output: "sum" },
    { op: "ReduceMean", inputs: ["sum"], output: "pooled", attributes: { axes: [1], keepdims: 0 } },
    { op: "Gemm", inputs: ["pooled", "w_head", "b_head"], output: "y", attributes: { transB: 1 } },
  ];
  const weights = {
    ...{ positions: weight(1, 5, 6), w_qkv: weight(6, 18), b_qkv: weight(18), w_o: weight(6, 6), gain: weight(6) },
    ...{ n_g: weight(6), n_b: weight(6), m_g: weight(6), m_b: weight(6) },
    ...{ w_up: weight(6, 12), w_down: weight(12, 6), w_head: weight(4, 6), b_head: weight(4) },
    ...{ two: scalar(2), epsilon: scalar(1e-5), scale: scalar(0.5), root: scalar(Math.SQRT2), unit: scalar(1) },
    ...{
      half: scalar(0.5),
      zero: integers(0),
      one: integers(1),
      rest: integers(5, 3, 2, 3),
      merged: integers(0, -1, 6),
    },
    ...{ from0: integers(0), to0: integers(1), index1: { shape: [], data: BigInt64Array.of(1n) } },
    ...{ from2: integers(2), to2: integers(3) },
  };
  await expectSame(readOnnx(modelOf(nodes, weights, [null, 5, 6], [null, 4], { opset: 13 })), [3, 5, 6], 9);
});

it("gives what the runtime gives, and puts its weights back: a mask, and gelu by tanh in three spellings", async () => {
  const constants = {
    ...{ c: scalar(0.044715), root: scalar(Math.sqrt(2 / Math.PI)), half: scalar(0.5), unit: scalar(1) },
    three: scalar(3),
  };
  /** the cube of x, and what is multiplied in which order */
  const gelu = (x: string, y: string, spelling: "pow" | "squares" | "factored"): NodeOf[] => {
    const at = (k: number): string => `${y}${k}`;
    const argument: Record<typeof spelling, NodeOf[]> = {
      pow: [
        { op: "Pow", inputs: [x, "three"], output: at(1) },
        { op: "Mul", inputs: ["c", at(1)], output: at(2) },
        { op: "Add", inputs: [x, at(2)], output: at(3) },
        { op: "Mul", inputs: [at(3), "root"], output: at(4) },
      ],
      squares: [
        { op: "Mul", inputs: [x, x], output: at(0) },
        { op: "Mul", inputs: [at(0), x], output: at(1) },
        { op: "Mul", inputs: [at(1), "c"], output: at(2) },
        { op: "Add", inputs: [at(2), x], output: at(3) },
        { op: "Mul", inputs: ["root", at(3)], output: at(4) },
      ],
      factored: [
        { op: "Mul", inputs: [x, "c"], output: at(0) },
        { op: "Mul", inputs: [at(0), x], output: at(1) },
        { op: "Add", inputs: ["unit", at(1)], output: at(2) },
        { op: "Mul", inputs: [x, "root"], output: at(3) },
        { op: "Mul", inputs: [at(3), at(2)], output: at(4) },
      ],
    };
    const gate: NodeOf[] = [
      { op: "Tanh", inputs: [at(4)], output: at(5) },
      { op: "Add", inputs: [at(5), "unit"], output: at(6) },
    ];
    const rest: NodeOf[] =
      spelling === "squares"
        ? [
            { op: "Mul", inputs: [x, "half"], output: at(7) },
            { op: "Mul", inputs: [at(7), at(6)], output: y },
          ]
        : [
            { op: "Mul", inputs: [at(6), x], output: at(7) },
            { op: "Mul", inputs: ["half", at(7)], output: y },
          ];
    return [...argument[spelling], ...gate, ...rest];
  };
  const nodes: NodeOf[] = [
    { op: "MatMul", inputs: ["x", "w1"], output: "q" },
    { op: "MatMul", inputs: ["x", "w2"], output: "k" },
    { op: "Transpose", inputs: ["k"], output: "kt", attributes: { perm: [0, 2, 1] } },
    { op: "MatMul", inputs: ["q", "kt"], output: "scores" },
    { op: "Add", inputs: ["scores", "mask"], output: "masked" },
    { op: "Softmax", inputs: ["masked"], output: "weights" },
    { op: "MatMul", inputs: ["weights", "x"], output: "mixed" },
    ...gelu("mixed", "a", "pow"),
    { op: "MatMul", inputs: ["a", "w3"], output: "up" },
    { op: "Add", inputs: ["up", "bias"], output: "biased" },
    ...gelu("biased", "b", "squares"),
    { op: "MatMul", inputs: ["b", "w4"], output: "down" },
    ...gelu("down", "y", "factored"),
  ];
  // a place sees itself and those before it
  const mask = {
    shape: [1, 5, 5],
    data: Float32Array.from({ length: 25 }, (_, e) => (e % 5 > Math.floor(e / 5) ? Number.NEGATIVE_INFINITY : 0)),
  };
  const weights = {
    ...{ ...constants, mask, w1: weight(6, 6), w2: weight(6, 6), w3: weight(6, 8), bias: weight(8), w4: weight(8, 6) },
  };
  const bytes = modelOf(nodes, weights, [null, 5, 6], [null, 5, 6], { opset: 13 });
  // four products, and neither the mask nor a part of gelu
  await expectSame(readOnnx(bytes), [3, 5, 6], 4);
  // nearly the same function is not taken for it
  const other = modelOf(nodes, { ...weights, c: scalar(0.05) }, [null, 5, 6], [null, 5, 6], { opset: 13 });
  const { boundaries } = stretchesOf(readOnnx(other), [3, 5, 6]);
  expect(boundaries.length).toBeGreaterThan(0);
});

it("gives what the runtime gives, and puts its weights back: a normalisation, a split, rows first", async () => {
  const nodes: NodeOf[] = [
    // samples along the second axis
    { op: "Transpose", inputs: ["x"], output: "rows", attributes: { perm: [1, 0, 2] } },
    {
      op: "LayerNormalization",
      inputs: ["rows", "g", "b"],
      output: "normed",
      attributes: { epsilon: { float: 1e-3 } },
    },
    { op: "MatMul", inputs: ["normed", "w"], output: "product" },
    { op: "Relu", inputs: ["product"], output: "relu" },
    { op: "Split", inputs: ["relu", "sizes"], output: "left", more: ["right"], attributes: { axis: -1 } },
    { op: "Softmax", inputs: ["right"], output: "share", attributes: { axis: 0 } },
    { op: "Mul", inputs: ["left", "share"], output: "gated" },
    { op: "Sub", inputs: ["gated", "shift"], output: "shifted" },
    { op: "Div", inputs: ["shifted", "by"], output: "divided" },
    { op: "Transpose", inputs: ["divided"], output: "back", attributes: { perm: [1, 2, 0] } },
    { op: "Unsqueeze", inputs: ["back", "front"], output: "stacked" },
    { op: "Conv", inputs: ["stacked", "c"], output: "y", attributes: { pads: [0, 1, 0, 1] } },
  ];
  const weights = {
    ...{ g: weight(6), b: weight(6), w: weight(6, 8), sizes: integers(4, 4), shift: weight(4), by: weight(1, 1, 4) },
    ...{ front: integers(1), c: weight(2, 1, 1, 3) },
  };
  await expectSame(readOnnx(modelOf(nodes, weights, [null, 5, 6], [null, 2, 4, 5])), [3, 5, 6], 3);
});

it("gives what the runtime gives, and puts its weights back: larger images, limits, moments", async () => {
  const nodes: NodeOf[] = [
    { op: "Conv", inputs: ["x", "w1"], output: "conv" },
    { op: "Relu", inputs: ["conv"], output: "relu" },
    { op: "BatchNormalization", inputs: ["relu", "scale", "shift", "mean", "variance"], output: "normed" },
    { op: "Clip", inputs: ["normed", "low", "high"], output: "clipped" },
    { op: "HardSigmoid", inputs: ["clipped"], output: "gate", attributes: { alpha: { float: 0.3 } } },
    {
      op: "Resize",
      inputs: ["gate", "", "scales"],
      output: "large",
      attributes: { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" },
    },
    { op: "Resize", inputs: ["relu", "", "", "sizes"], output: "other", attributes: { mode: "nearest" } },
    { op: "Mul", inputs: ["large", "other"], output: "product" },
    { op: "Conv", inputs: ["product", "w2"], output: "y" },
  ];
  const weights = {
    ...{ w1: weight(3, 2, 2, 2), w2: weight(2, 3, 3, 3), scale: weight(3), shift: weight(3), mean: weight(3) },
    variance: { shape: [3], data: Float32Array.of(0.5, 2, 1) },
    ...{ low: scalar(-0.5), high: scalar(0.4), scales: { shape: [4], data: Float32Array.of(1, 1, 2, 3) } },
    sizes: integers(2, 3, 6, 12),
  };
  await expectSame(readOnnx(modelOf(nodes, weights, [2, 2, 4, 5], [2, 2, 4, 10])), [2, 2, 4, 5], 3);
});

it.each([
  ["linear", "half_pixel"],
  ["linear", "align_corners"],
  ["linear", "asymmetric"],
  ["cubic", "pytorch_half_pixel"],
  ["cubic", "align_corners"],
])("gives what the runtime gives, and puts its weights back: images between pixels, %s by %s", async (mode, place) => {
  const attributes = { mode, coordinate_transformation_mode: place };
  const nodes: NodeOf[] = [
    { op: "Conv", inputs: ["x", "w1"], output: "conv" },
    // smaller in one direction, by scales that are not the ratio of the extents
    { op: "Resize", inputs: ["conv", "", "scales"], output: "one", attributes },
    { op: "Resize", inputs: ["one", "", "", "sizes"], output: "two", attributes },
    { op: "Concat", inputs: ["front", "two", "back"], output: "both", attributes: { axis: 1 } },
    { op: "Conv", inputs: ["both", "w2"], output: "y" },
  ];
  const weights = {
    ...{ w1: weight(3, 2, 2, 2), w2: weight(2, 6, 3, 3), front: weight(1, 2, 7, 5), back: weight(1, 1, 7, 5) },
    ...{ scales: { shape: [4], data: Float32Array.of(1, 1, 2.3, 0.6) }, sizes: integers(1, 3, 7, 5) },
  };
  await expectSame(readOnnx(modelOf(nodes, weights, [1, 2, 4, 8], [1, 2, 5, 3], { opset: 13 })), [1, 2, 4, 8], 2);
});

it("gives what the runtime gives, and puts its weights back: volumes", async () => {
  const nodes: NodeOf[] = [
    {
      op: "Conv",
      inputs: ["x", "w1", "b"],
      output: "conv",
      attributes: { pads: [1, 0, 1, 0, 1, 2], strides: [2, 1, 1] },
    },
    { op: "Relu", inputs: ["conv"], output: "relu" },
    { op: "Resize", inputs: ["relu", "", "scales"], output: "large", attributes: { mode: "linear" } },
    { op: "Conv", inputs: ["large", "w2"], output: "y", attributes: { dilations: [1, 2, 1] } },
  ];
  const weights = {
    ...{ w1: weight(3, 2, 2, 3, 2), b: weight(3), w2: weight(4, 3, 2, 2, 3) },
    scales: { shape: [5], data: Float32Array.of(1, 1, 2, 1, 1.5) },
  };
  const model = modelOf(nodes, weights, [null, 2, 4, 5, 5], [null, 4, null, null, null], { opset: 13 });
  await expectSame(readOnnx(model), [2, 2, 4, 5, 5], 2);
});

it("gives what the runtime gives, and puts its weights back: a class token, the same for all samples", async () => {
  const nodes: NodeOf[] = [
    { op: "Shape", inputs: ["x"], output: "extents" },
    { op: "Slice", inputs: ["extents", "zero", "one"], output: "batch" },
    { op: "Concat", inputs: ["batch", "rest"], output: "target", attributes: { axis: 0 } },
    { op: "MatMul", inputs: ["x", "w1"], output: "embedded" },
    { op: "Expand", inputs: ["token", "target"], output: "tokens" },
    { op: "Concat", inputs: ["tokens", "embedded"], output: "sequence", attributes: { axis: 1 } },
    { op: "Add", inputs: ["sequence", "positions"], output: "placed" },
    { op: "Tanh", inputs: ["placed"], output: "share" },
    { op: "MatMul", inputs: ["share", "w2"], output: "y" },
  ];
  const weights = {
    ...{ w1: weight(6, 4), w2: weight(4, 5), token: weight(1, 1, 4), positions: weight(1, 6, 4) },
    ...{ zero: integers(0), one: integers(1), rest: integers(1, 4) },
  };
  // two products, the positions, and the token
  await expectSame(readOnnx(modelOf(nodes, weights, [null, 5, 6], [null, 6, 5], { opset: 13 })), [3, 5, 6], 4);
});

it("gives features beside the end of a part, each by a scale", async () => {
  const nodes: NodeOf[] = [
    { op: "Conv", inputs: ["x", "w1", "b1"], output: "conv", attributes: { pads: [1, 1, 1, 1] } },
    { op: "Relu", inputs: ["conv"], output: "relu" },
    { op: "MaxPool", inputs: ["relu"], output: "pool", attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
    { op: "Conv", inputs: ["pool", "w2"], output: "deep" },
    { op: "Add", inputs: ["deep", "deep"], output: "sum" },
    { op: "Flatten", inputs: ["sum"], output: "flat" },
    { op: "Gemm", inputs: ["flat", "w3"], output: "y" },
  ];
  const weights = { w1: weight(4, 3, 3, 3), b1: weight(4), w2: weight(5, 4, 2, 2), w3: weight(20, 6) };
  const model = readOnnx(modelOf(nodes, weights, [null, 3, 6, 6], [null, 6]));
  const { stretches } = stretchesOf(model, [1, 3, 6, 6]);
  const [stretch] = stretches as [(typeof stretches)[number]];
  expect(stretch.features).toEqual([
    { name: "flat", size: 20 },
    { name: "pool", size: 36 },
  ]);
  const engine = await testEngine();
  const x = signal([5, 3, 6, 6]);
  const names = ["flat", "pool", "y"];
  const part = await Part.open(
    session,
    model,
    names.map((name) => ({ name, dataType: 1 })),
  );
  const values = await part.run({ x: { dtype: "float32", shape: [5, 3, 6, 6], data: x } });
  await part.release();
  const learner = await StretchNetwork.of(engine, model, stretch, ["flat", "pool"]);
  try {
    const scales = [3, 0.5, 2];
    learner.weigh(scales);
    using inputs = engine.tensor([5, 3, 6, 6], x);
    const got = await evaluate(engine, (s) => learner.network.forward(s, inputs));
    const expected = Array.from({ length: 5 }, (_, row) =>
      names.flatMap((name, at) => {
        const { data, shape } = values[name]!;
        const size = shape.slice(1).reduce((a, b) => a * b, 1);
        return Array.from(
          (data as Float32Array).subarray(row * size, (row + 1) * size),
          (value) => scales[at]! * value,
        );
      }),
    ).flat();
    expect(got.length).toBe(5 * 62);
    expect(largest(got, expected)).toBeLessThan(1e-4);
  } finally {
    learner.destroy();
  }
});

it("finds the parts that are networks, and says what ends them", () => {
  const nodes: NodeOf[] = [
    { op: "Gemm", inputs: ["x", "a"], output: "one" },
    { op: "Relu", inputs: ["one"], output: "relu" },
    { op: "Gemm", inputs: ["relu", "b"], output: "two" },
    // relu is read behind the softsign, too: the part that ends at `two` begins behind it, or ends at it
    { op: "Softsign", inputs: ["two"], output: "attention" },
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
    "Softsign: Softsign has no layer",
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
  expect(stretch).toMatchObject({ from: "x", to: "y", features: ["bent"], samples: 120 });
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

it("tunes a transformer from its embedding on", async () => {
  const bytes = fixture("transformer.onnx");
  const { stretches, boundaries } = stretchesOf(readOnnx(bytes), [1, 5]);
  expect(stretches.map(({ from, to, sample, layers }) => [from, to, sample, layers.length])).toEqual([
    ["embedded", "down", [5, 16], 20],
  ]);
  expect(boundaries.map(({ reason }) => reason)).toEqual([
    "embedding: its rows are looked up, not multiplied",
    "it computes a constant",
    "it multiplies stacks of different shapes",
  ]);
  const tokens = Array.from({ length: 40 }, (_, at) => ({
    tokens: {
      dtype: "int64",
      shape: [1, 5],
      data: BigInt64Array.from({ length: 5 }, (_, k) => BigInt((7 * at + k * k) % 10)),
    },
  }));
  const { tuning, bytes: small } = await compress(bytes, {
    ...{ tune: 60, calibration: tokens, target: { weights: 1.3 }, refit: false },
  });
  expect(small).not.toBeNull();
  const [{ error, layers }] = tuning!.stretches as [NonNullable<typeof tuning>["stretches"][number]];
  // a layer that has become two is two
  expect(layers).toBeGreaterThanOrEqual(7);
  expect(error.after).toBeLessThan(0.9 * error.before);
});

it("says where there is nothing to tune, and what it needs", async () => {
  const volumes: NodeOf[] = [{ op: "Conv", inputs: ["x", "w"], output: "y", attributes: { group: 2 } }];
  const bytes = modelOf(volumes, { w: weight(8, 4, 2, 2, 2) }, [null, 8, 3, 3, 3], [null, 8, 2, 2, 2]);
  const { tuning, warnings } = await compress(bytes, {
    ...{ tune: 10, target: { weights: 1.3 }, refit: false },
    calibration: Array.from({ length: 40 }, () => ({
      x: { dtype: "float32", shape: [1, 8, 3, 3, 3], data: draw(216) },
    })),
  });
  expect(tuning!.stretches).toEqual([]);
  expect(warnings.join()).toMatch(
    /nothing was tuned: no part of the model .*Conv: convolutions of 3 dimensions with groups have no layer/,
  );
  const engine = await testEngine();
  await expect(compressOnnx(bytes, { engine, tune: 10, target: { weights: 2 } })).rejects.toThrow(
    /tune needs calibration/,
  );
  await expect(compressOnnx(bytes, { engine, tune: -1, target: { weights: 2 } })).rejects.toThrow(/tune/);
});
