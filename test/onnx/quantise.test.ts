/** Quantised models: weights, activations and biases against f64 formulas, and what a runtime makes of them. */
import { expect, it } from "vitest";
import { cutOnnx } from "../../src/onnx/cut.js";
import {
  ActivationHistogram,
  type ActivationRange,
  activationRanges,
  type OnnxModel,
  quantiseOnnx,
  readOnnx,
  writeOnnx,
} from "../../src/onnx/index.js";
import { activationScale, roundHalfEven, weightScales } from "../../src/onnx/quantise.js";
import fc from "../property.js";
import { type BuiltGraph, buildModel } from "./build.js";
import { difference, feedsOf, ort, type Result, runModel, signal } from "./runtime.js";

/** Numbers between −1 and 1 that repeat for a seed. */
function random(size: number, seed: number, scale = 1): Float32Array {
  let state = seed * 2654435761 + 12345;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return scale * (state / 2 ** 31 - 1);
  });
}
const weight = (shape: number[], seed: number, scale = 0.3) => ({
  shape,
  data: random(
    shape.reduce((a, b) => a * b, 1),
    seed,
    scale,
  ),
});

/** Convolutions with Relu, a pool, a residual Add, a depthwise one, HardSwish, and products at the end. */
const network: BuiltGraph = {
  inputs: { x: ["batch", 3, 9, 11] },
  outputs: { logits: ["batch", 4], features: null },
  nodes: [
    { op: "Conv", inputs: ["x", "w1", "b1"], outputs: ["c1"], attributes: { pads: [1, 1, 1, 1] } },
    { op: "Relu", inputs: ["c1"], outputs: ["r1"] },
    { op: "MaxPool", inputs: ["r1"], outputs: ["p1"], attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
    { op: "Conv", inputs: ["p1", "w2", "b2"], outputs: ["c2"], attributes: { pads: [1, 1, 1, 1] } },
    { op: "Conv", inputs: ["p1", "w3"], outputs: ["c3"] },
    { op: "Add", inputs: ["c2", "c3"], outputs: ["a"] },
    { op: "Relu", inputs: ["a"], outputs: ["features"] },
    { op: "Conv", inputs: ["features", "w4", "b4"], outputs: ["c4"], attributes: { group: 6, pads: [1, 0, 1, 2] } },
    { op: "HardSigmoid", inputs: ["c4"], outputs: ["h"] },
    { op: "Mul", inputs: ["h", "c4"], outputs: ["s"] },
    { op: "GlobalAveragePool", inputs: ["s"], outputs: ["g"] },
    { op: "Flatten", inputs: ["g"], outputs: ["f"] },
    { op: "Gemm", inputs: ["f", "w5", "b5"], outputs: ["d"], attributes: { transB: 1, alpha: { float: 1.5 } } },
    { op: "MatMul", inputs: ["d", "w6"], outputs: ["m"] },
    { op: "Add", inputs: ["m", "b6"], outputs: ["logits"] },
  ],
  weights: {
    w1: weight([5, 3, 3, 3], 1),
    b1: weight([5], 2),
    w2: weight([6, 5, 3, 3], 3),
    b2: weight([6], 4),
    w3: weight([6, 5, 1, 1], 5),
    w4: weight([6, 1, 3, 3], 6),
    b4: weight([6], 7),
    w5: weight([7, 6], 8),
    b5: weight([7], 9),
    w6: weight([7, 4], 10),
    b6: weight([4], 11),
  },
};
const operators = ["Conv", "Gemm", "MatMul"] as const;
const batches = [1, 2, 3].map((seed) => ({
  x: new ort.Tensor("float32", random(2 * 3 * 9 * 11, seed), [2, 3, 9, 11]),
}));
const session = (bytes: Uint8Array) => ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });
const rangesOf = (model: OnnxModel, options = {}) =>
  activationRanges(model, { session, feeds: batches, operators, ...options });

const tensorOf = (model: OnnxModel, name: string) => {
  const tensor = model.graph.initializer.find((one) => one.name === name)!;
  const bytes = tensor.rawData.slice().buffer;
  const types: Record<number, () => ArrayLike<number>> = {
    1: () => new Float32Array(bytes),
    2: () => new Uint8Array(bytes),
    3: () => new Int8Array(bytes),
    6: () => new Int32Array(bytes),
  };
  return { type: tensor.dataType, dims: tensor.dims.map(Number), data: Array.from(types[tensor.dataType]!()) };
};

it("writes QDQ around convolutions, after their activation, and gives nearly the same outputs", async () => {
  const model = readOnnx(buildModel(network));
  const ranges = await rangesOf(model);
  expect([...ranges.keys()]).toEqual(["x", "r1", "p1", "c2", "c3", "features", "c4", "f", "d"]);
  const { model: changed, quantised, inFloat, raised } = await quantiseOnnx(model, { ranges });
  expect([quantised.map(({ name }) => name), inFloat, raised]).toEqual([
    ["c1_node", "c2_node", "c3_node", "c4_node"],
    [],
    null,
  ]);
  const ops = changed.graph.node.map(({ opType, input }) => `${opType} ${input[0]}`);
  expect(ops.filter((op) => op.startsWith("Q"))).toEqual(
    ["x", "r1", "p1", "c2", "c3", "features", "c4"].map((name) => `QuantizeLinear ${name}`),
  );
  // what reads a stored value reads the stored one; the model's output stays in float, as no convolution makes it
  expect(ops).toContain("MaxPool r1/rounded");
  expect(ops).toContain("Relu c1");
  expect(changed.graph.node.find(({ opType }) => opType === "Add")!.input).toEqual(["c2/rounded", "c3/rounded"]);
  expect(changed.outputs.map(({ name }) => name)).toEqual(["logits", "features"]);
  // a pool gives entries of what it reads, with the same scale; Relu puts the zero point to the lowest level
  const storedBy = (value: string) => changed.graph.node.find(({ input }) => input[0] === value && input.length === 3)!;
  expect(storedBy("p1").input.slice(1)).toEqual(["r1/scale", "r1/zero_point"]);
  expect(tensorOf(changed, "r1/zero_point")).toEqual({ type: 2, dims: [], data: [0] });
  expect(changed.metadata.get("tenfold.quantised")).toBe(
    "int8 weights up to 64, uint8 activations: c1_node, c2_node, c3_node, c4_node",
  );
  expect(changed.graph.initializer.map(({ name }) => name)).not.toContain("w1");
  const feeds = feedsOf({ x: [2, 3, 9, 11] });
  const before = await runModel(buildModel(network), feeds);
  for (const options of [{}, { operators }, { activations: "int8" }, { reduceRange: false }] as const) {
    const written = writeOnnx((await quantiseOnnx(model, { ranges, ...options })).model);
    for (const level of ["disabled", "all"] as const) {
      const after = await runModel(written, feeds, level);
      for (const [name, value] of before) {
        const gap = difference(value, after.get(name));
        expect([name, options, level, gap, gap < 0.06 && gap > 1e-4]).toMatchObject([name, options, level, gap, true]);
      }
    }
  }
});

it("rounds weights and biases as the formulas say", async () => {
  const model = readOnnx(buildModel(network));
  const ranges = await rangesOf(model);
  for (const reduceRange of [true, false]) {
    const limit = reduceRange ? 64 : 127;
    const { model: changed } = await quantiseOnnx(model, { ranges, operators, reduceRange });
    // name, weights, outputs by entry, input, alpha
    const cases = [
      ["c2_node", "w2", (entry: number) => Math.floor(entry / 45), "r1", 1],
      ["d_node", "w5", (entry: number) => Math.floor(entry / 6), "f", 1.5],
      ["m_node", "w6", (entry: number) => entry % 4, "d", 1],
    ] as const;
    for (const [name, w, outputOf, input, alpha] of cases) {
      const exact = Array.from(network.weights![w]!.data, (value) => alpha * value);
      const [q, scale] = [tensorOf(changed, `${name}/weight_int8`), tensorOf(changed, `${name}/weight_scale`)];
      const largest = scale.data.map((_, o) =>
        Math.max(...exact.filter((_, entry) => outputOf(entry) === o).map(Math.abs)),
      );
      expect(scale.data).toEqual(largest.map((value) => Math.fround(value / limit)));
      expect([q.type, q.dims]).toEqual([3, network.weights![w]!.shape]);
      for (const [entry, value] of exact.entries()) {
        const s = scale.data[outputOf(entry)]!;
        expect(Math.abs(q.data[entry]! * s - value)).toBeLessThanOrEqual(s * (0.5 + 1e-6));
        expect(Math.abs(q.data[entry]!)).toBeLessThanOrEqual(limit);
      }
      if (name === "m_node") continue;
      const [bias, biasScale] = [tensorOf(changed, `${name}/bias_int32`), tensorOf(changed, `${name}/bias_scale`)];
      const inputScale = tensorOf(changed, `${input}/scale`).data[0]!;
      expect(biasScale.data).toEqual(scale.data.map((s) => Math.fround(s * inputScale)));
      for (const [o, value] of Array.from(network.weights![name === "c2_node" ? "b2" : "b5"]!.data).entries())
        expect(Math.abs(bias.data[o]! * biasScale.data[o]! - value)).toBeLessThanOrEqual(0.5001 * biasScale.data[o]!);
    }
  }
});

it("makes only the weights of named layers int8, and takes other roundings", async () => {
  const model = readOnnx(buildModel(network));
  const names = ["c1_node", "c4_node", "d_node", "m_node"];
  const ranges = await rangesOf(model, { operators: ["Conv"], weightsOnly: names });
  expect([...ranges.keys()]).toEqual(["p1", "c2", "c3"]);
  const { model: changed, quantised } = await quantiseOnnx(model, { ranges, weightsOnly: names });
  expect(quantised.filter(({ weightsOnly }) => weightsOnly).map(({ name }) => name)).toEqual(names);
  expect(changed.metadata.get("tenfold.quantised")).toBe(
    `int8 weights up to 64, uint8 activations: c2_node, c3_node; int8 weights alone: ${names.join(", ")}`,
  );
  expect(Math.max(...tensorOf(changed, "c1_node/weight_int8").data.map(Math.abs))).toBe(127);
  const alone = await quantiseOnnx(model, { ranges: {}, operators: [], weightsOnly: names });
  const feeds = feedsOf({ x: [2, 3, 9, 11] });
  const [before, after] = [await runModel(buildModel(network), feeds), await runModel(writeOnnx(alone.model), feeds)];
  // weights alone lose less than 1 % and something
  for (const [name, value] of before) {
    const gap = difference(value, after.get(name));
    expect([name, gap, gap > 1e-5 && gap < 0.01]).toMatchObject([name, gap, true]);
  }
  // levels of 0 and a shift leave the bias: of a Gemm with alpha, of a convolution without bias, in integers and in float
  const asked: string[] = [];
  const zeroed = async (more: object) =>
    await quantiseOnnx(model, {
      ...{ ranges: await rangesOf(model), operators, ...more },
      round: ({ name, weights, scales, limit, biased }) => {
        asked.push(`${name} ${weights.length} ${limit} ${biased}`);
        if (name !== "c3_node" && name !== "d_node") return null;
        return { levels: new Int8Array(weights.length), shift: scales.map((_, o) => 0.25 * o) };
      },
    });
  for (const weightsOnly of [[], ["c3_node", "d_node"]]) {
    const { model: other } = await zeroed({ weightsOnly });
    const b5 = network.weights!.b5!.data;
    const part = cutOnnx(
      other,
      ["c3", "d"].map((name) => ({ name, dataType: 1 })),
    );
    const { c3, d } = Object.fromEntries(await runModel(writeOnnx(part), feeds));
    for (let o = 0; o < 6; o++) expect(c3!.data[20 * o]!).toBeCloseTo(0.25 * o, 1);
    for (let o = 0; o < 7; o++) expect(d!.data[o]!).toBeCloseTo(b5[o]! + 0.25 * o, 4);
  }
  expect(asked.slice(0, 6)).toEqual([
    ...["c1_node 135 64 true", "c2_node 270 64 true", "c3_node 30 64 true", "c4_node 54 64 true"],
    ...["d_node 42 64 true", "m_node 28 64 false"],
  ]);
});

it("agrees with a simulation in f64 of rounding, integer sums and saturation", async () => {
  // three outputs: of usual size, of zeros with a bias, and with a bias far beyond its weights
  const w = random(3 * 2 * 9, 21, 0.4).map((value, entry) => (entry >= 36 ? 1e-9 * value : entry >= 18 ? 0 : value));
  const bias = Float32Array.of(0.3, -0.7, 0.9);
  const graph: BuiltGraph = {
    inputs: { x: [1, 2, 8, 9] },
    outputs: { y: [1, 3, 6, 7] },
    nodes: [
      { op: "Conv", inputs: ["x", "w", "b"], outputs: ["c"] },
      { op: "Clip", inputs: ["c", "zero", "six"], outputs: ["y"] },
    ],
    weights: {
      w: { shape: [3, 2, 3, 3], data: w },
      b: { shape: [3], data: bias },
      zero: { shape: [], data: [0] },
      six: { shape: [], data: [6] },
    },
  };
  const model = readOnnx(buildModel(graph));
  // narrower than the data, so that both ends saturate
  const ranges = { x: { min: -0.7, max: 0.9 }, y: { min: 0, max: 1.1 } };
  const x = random(2 * 8 * 9, 22, 1.2);
  for (const activations of ["uint8", "int8"] as const) {
    const { model: changed } = await quantiseOnnx(model, { ranges, activations });
    const lowest = activations === "uint8" ? 0 : -128;
    const read = (value: string) => ({
      scale: tensorOf(changed, `${value}/scale`).data[0]!,
      zero: tensorOf(changed, `${value}/zero_point`).data[0]!,
    });
    const [sx, sy] = [read("x"), read("y")];
    expect(sx).toEqual({ scale: Math.fround(1.6 / 255), zero: lowest + roundHalfEven(0.7 / Math.fround(1.6 / 255)) });
    const level = (value: number, { scale, zero }: typeof sx) =>
      Math.min(lowest + 255, Math.max(lowest, roundHalfEven(Math.fround(value) / scale) + zero));
    const q = tensorOf(changed, "c_node/weight_int8").data;
    const scales = tensorOf(changed, "c_node/weight_scale").data;
    const biases = tensorOf(changed, "c_node/bias_int32").data;
    for (const [o, value] of bias.entries())
      expect(Math.abs(biases[o]! * scales[o]! * sx.scale - value)).toBeLessThan(1e-2);
    expect(Math.abs(biases[1]! * scales[1]! * sx.scale - bias[1]!)).toBeLessThan(1e-6);
    const expected: number[] = [];
    for (let o = 0; o < 3; o++)
      for (let i = 0; i < 6; i++)
        for (let j = 0; j < 7; j++) {
          let sum = biases[o]!;
          for (let c = 0; c < 2; c++)
            for (let a = 0; a < 3; a++)
              for (let b = 0; b < 3; b++)
                sum += q[((o * 2 + c) * 3 + a) * 3 + b]! * (level(x[(c * 8 + i + a) * 9 + j + b]!, sx) - sx.zero);
          const y = Math.min(6, Math.max(0, sum * scales[o]! * sx.scale));
          expected.push((level(y, sy) - sy.zero) * sy.scale);
        }
    for (const optimisation of ["disabled", "all"] as const) {
      const feeds = { x: new ort.Tensor("float32", x, [1, 2, 8, 9]) };
      const { data } = (await runModel(writeOnnx(changed), feeds, optimisation)).get("y") as Result;
      const steps = expected.map((value, at) => Math.abs(value - data[at]!) / sy.scale);
      // sums in f32 may round the other way at a tie
      expect(Math.max(...steps)).toBeLessThan(1.01);
      expect(steps.filter((step) => step > 0.01).length).toBeLessThanOrEqual(1);
    }
  }
});

it("finds scales for ranges and weights of any size", () => {
  const finite = fc.float({ noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(finite, finite, fc.constantFrom(0, -128), (a, b, lowest) => {
      const range = { min: Math.min(a, b), max: Math.max(a, b) };
      const { scale, zeroPoint } = activationScale(range, lowest);
      expect(scale).toBeGreaterThan(0);
      expect(Number.isFinite(scale)).toBe(true);
      expect(zeroPoint).toBe(Math.max(lowest, Math.min(lowest + 255, Math.round(zeroPoint))));
      // both ends lie within a step of the outermost levels
      expect((lowest - zeroPoint) * scale).toBeLessThanOrEqual(Math.min(0, range.min) + 0.51 * scale);
      expect((lowest + 255 - zeroPoint) * scale).toBeGreaterThanOrEqual(Math.max(0, range.max) - 0.51 * scale);
    }),
  );
  fc.assert(
    fc.property(fc.array(finite, { minLength: 2, maxLength: 6 }), finite, finite, (values, bias, input) => {
      const inputScale = Math.fround(Math.abs(input)) || 1;
      const [scale] = weightScales(Float32Array.from(values), () => 0, 1, 127, inputScale, [bias]);
      fc.pre(Number.isFinite(scale));
      expect(scale).toBeGreaterThan(0);
      expect(Math.max(...values.map(Math.abs)) / scale!).toBeLessThan(127.01);
      expect(Math.abs(bias) / (scale! * inputScale)).toBeLessThan(2 ** 31 - 1);
    }),
  );
  expect([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999999999999994, 3.7].map(roundHalfEven)).toEqual([0, 2, 2, -0, -2, 0, 4]);
});

it("finds ranges that do not depend on the order or the batches", async () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: -30, max: 30 }), (seed, exponent) => {
      const values = random(3000, seed, 2 ** exponent).map((value, at) => (at % 3 ? value : value ** 3));
      const at = 1 + (seed % 2998);
      const [all, parts] = [new ActivationHistogram(), new ActivationHistogram()];
      all.add(values);
      for (const part of [values.subarray(at), new Float32Array(2), values.subarray(0, at)]) parts.add(part);
      all.add(new Float32Array(2));
      for (const method of ["minMax", "percentile", "leastError"] as const)
        expect(parts.range({ method })).toEqual(all.range({ method }));
    }),
    { numRuns: 8 },
  );
  const model = readOnnx(buildModel(network));
  const forwards = await rangesOf(model);
  expect(await rangesOf(model, { feeds: [...batches].reverse() })).toEqual(forwards);
});

/** The mean squared error of storing values in 8 bits. */
function storingError(values: Float32Array, range: ActivationRange): number {
  const { scale, zeroPoint } = activationScale(range, 0);
  let sum = 0;
  for (const value of values) {
    const level = Math.min(255, Math.max(0, roundHalfEven(value / scale) + zeroPoint));
    sum += ((level - zeroPoint) * scale - value) ** 2;
  }
  return sum / values.length;
}

it("finds the range of least error, of data with long tails too", () => {
  const shapes: [string, (u: number, v: number) => number, number][] = [
    ["normal", (u, v) => Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v), 1.05],
    ["after Relu", (u, v) => Math.max(0, Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)), 1.05],
    ["Laplace", (u, v) => (v < 0.5 ? 1 : -1) * Math.log(u), 1.05],
    ["one far outlier a thousand", (u, v) => (v < 0.001 ? 30 + u : u), 1.05],
    ["uniform", (u) => u - 0.3, 1.05],
  ];
  for (const [name, draw, slack] of shapes) {
    const [u, v] = [random(6000, 31), random(6000, 32)];
    const values = u.map((value, at) => draw((value + 1) / 2 + 1e-7, (v[at]! + 1) / 2));
    const histogram = new ActivationHistogram();
    histogram.add(values);
    const range = histogram.range();
    const all = histogram.range({ method: "minMax" });
    let best = Number.POSITIVE_INFINITY;
    for (let i = 1; i <= 16; i++)
      for (let j = all.min < 0 ? 1 : 16; j <= 16; j++)
        best = Math.min(best, storingError(values, { min: (all.min * j) / 16, max: (all.max * i) / 16 }));
    const error = storingError(values, range);
    expect([name, error / best, error <= slack * best]).toEqual([name, error / best, true]);
    const clipped = histogram.range({ method: "percentile", percentile: 0.99 });
    const outside = values.filter((value) => value < clipped.min || value > clipped.max).length / values.length;
    expect([name, outside, outside <= 0.01]).toEqual([name, outside, true]);
    expect(range.min).toBeGreaterThanOrEqual(all.min);
    expect(range.max).toBeLessThanOrEqual(all.max);
  }
  const constant = new ActivationHistogram();
  constant.add(new Float32Array(5));
  expect(constant.range()).toEqual({ min: 0, max: 0 });
});

it("keeps the names of outputs that convolutions make, and values that inner graphs read", async () => {
  const branch = (op: string): BuiltGraph => ({
    nodes: [{ op, inputs: ["c"], outputs: [op] }],
    outputs: { [op]: null },
  });
  const graph: BuiltGraph = {
    inputs: { x: [1, 2, 5, 5] },
    outputs: { c: [1, 3, 3, 3], z: null, e: null },
    nodes: [
      { op: "Conv", inputs: ["x", "w"], outputs: ["c"] },
      { op: "ReduceMax", inputs: ["x"], outputs: ["most"], attributes: { keepdims: 0 } },
      { op: "Greater", inputs: ["most", "zero"], outputs: ["positive"] },
      {
        op: "If",
        inputs: ["positive"],
        outputs: ["z"],
        attributes: { then_branch: branch("Neg"), else_branch: branch("Abs") },
      },
      { op: "Conv", inputs: ["x", "w"], outputs: ["shared"] },
      { op: "Conv", inputs: ["c", "v"], outputs: ["e"] },
    ],
    weights: { w: weight([3, 2, 3, 3], 41), v: weight([2, 3, 2, 2], 42), zero: { shape: [], data: [0] } },
  };
  const bytes = buildModel(graph);
  const model = readOnnx(bytes);
  const feeds = feedsOf({ x: [1, 2, 5, 5] });
  const ranges = await activationRanges(model, { session, feeds: [feeds], method: "minMax" });
  expect([...ranges.keys()].sort()).toEqual(["c", "e"]);
  const { model: changed, inFloat } = await quantiseOnnx(model, { ranges });
  expect(inFloat.map(({ reason }) => reason)).toEqual([
    "its weights are shared: 2 nodes, inner graphs or outputs use them",
    "its weights are shared: 2 nodes, inner graphs or outputs use them",
  ]);
  const [before, after] = [await runModel(bytes, feeds), await runModel(writeOnnx(changed), feeds)];
  expect([...after.keys()]).toEqual(["c", "z", "e"]);
  expect(difference(before.get("c")!, after.get("c"))).toBeLessThan(1e-6);
  expect(difference(before.get("z")!, after.get("z"))).toBeLessThan(1e-6);
  expect(difference(before.get("e")!, after.get("e"))).toBeLessThan(0.02);
  expect(changed.graph.node.at(-1)!.output).toEqual(["e"]);
});

it("raises operator sets before 13, and says so", async () => {
  const list = (...values: number[]) => values;
  const graph = (opset: number): BuiltGraph => ({
    inputs: { x: [2, 4, 6, 5] },
    outputs: { y: null, t: null, s: null, u: null },
    nodes: [
      { op: "Conv", inputs: ["x", "w"], outputs: ["c"], attributes: { pads: [1, 1, 1, 1] } },
      opset < 11
        ? { op: "Clip", inputs: ["c"], outputs: ["k"], attributes: { min: { float: -0.4 } } }
        : { op: "Clip", inputs: ["c", "low"], outputs: ["k"] },
      { op: "Softmax", inputs: ["k"], outputs: ["soft"] },
      { op: "Split", inputs: ["soft"], outputs: ["s1", "s"], attributes: { axis: 1, split: [1, 3] } },
      { op: "ReduceSum", inputs: ["s1"], outputs: ["sum"], attributes: { axes: [2], keepdims: 1 } },
      { op: "Squeeze", inputs: ["sum"], outputs: ["q"], attributes: { axes: [1, 2] } },
      { op: "Unsqueeze", inputs: ["q"], outputs: ["q2"], attributes: { axes: [0] } },
      { op: "LogSoftmax", inputs: ["q2"], outputs: ["y"], attributes: { axis: 2 } },
      opset < 11
        ? { op: "Pad", inputs: ["k"], outputs: ["pad"], attributes: { pads: list(0, 0, 1, 0, 0, 0, 0, 2) } }
        : { op: "Pad", inputs: ["k", "pads"], outputs: ["pad"] },
      opset < 10
        ? { op: "Slice", inputs: ["pad"], outputs: ["part"], attributes: { starts: [1], ends: [9], axes: [3] } }
        : { op: "Slice", inputs: ["pad", "one", "nine", "three"], outputs: ["part"] },
      opset < 10
        ? { op: "TopK", inputs: ["part"], outputs: ["t", "places"], attributes: { k: 2 } }
        : { op: "TopK", inputs: ["part", "two"], outputs: ["t", "places"] },
      opset < 10
        ? { op: "Upsample", inputs: ["k", "scales"], outputs: ["up"], attributes: { mode: "nearest" } }
        : opset < 11
          ? { op: "Resize", inputs: ["k", "scales"], outputs: ["up"], attributes: { mode: "linear" } }
          : { op: "Resize", inputs: ["k", "roi", "scales"], outputs: ["up"], attributes: { mode: "nearest" } },
      { op: "Dropout", inputs: ["up"], outputs: ["u"], ...(opset < 12 && { attributes: { ratio: { float: 0.4 } } }) },
    ],
    weights: {
      w: weight([4, 4, 3, 3], 51),
      scales: { shape: [4], data: [1, 1, 2, 1.5] },
      low: { shape: [], data: [-0.4] },
      roi: { shape: [0], data: [] },
      pads: { shape: [8], data: [0, 0, 1, 0, 0, 0, 0, 2], type: 7 },
      ...Object.fromEntries(
        Object.entries({ one: 1, two: 2, three: 3, nine: 9 }).map(([name, value]) => [
          name,
          { shape: [1], data: [value], type: 7 },
        ]),
      ),
    },
  });
  const { raiseOpset } = await import("../../src/onnx/opset.js");
  const feeds = feedsOf({ x: [2, 4, 6, 5] });
  for (const opset of [9, 10, 11, 12]) {
    const bytes = buildModel(graph(opset), opset);
    const model = readOnnx(bytes);
    const raised = raiseOpset(model, 13);
    expect(raised.opsets.get("")).toBe(13);
    const [before, after] = [await runModel(bytes, feeds), await runModel(writeOnnx(raised), feeds)];
    for (const [name, value] of before)
      expect([opset, name, difference(value, after.get(name))]).toEqual([opset, name, 0]);
    const ranges = await activationRanges(model, { session, feeds: [feeds], method: "minMax" });
    const { raised: said, model: quantised } = await quantiseOnnx(model, { ranges });
    expect(said).toEqual({ from: opset, to: 13 });
    const last = await runModel(writeOnnx(quantised), feeds);
    for (const [name, value] of before) expect([name, difference(value, last.get(name)) < 0.05]).toEqual([name, true]);
  }
  const old = readOnnx(buildModel({ ...graph(9), nodes: graph(9).nodes.slice(0, 1), outputs: { c: null } }, 6));
  await expect(quantiseOnnx(old, { ranges: {} })).rejects.toThrow("only versions from 7 on are raised");
});

it("says what is wrong", async () => {
  const model = readOnnx(buildModel(network));
  const ranges = await rangesOf(model);
  const wrong = (options: object) => expect(quantiseOnnx(model, { ranges, ...options } as never)).rejects;
  await wrong({ ranges: {} }).toThrow('ranges has none for "x", which a quantised layer reads or makes');
  await wrong({ ranges: { ...Object.fromEntries(ranges), c2: { min: 0, max: Number.NaN } } }).toThrow(
    'the range of "c2" is 0 to NaN',
  );
  await wrong({ float: ["c9"] }).toThrow('float names "c9", which is no layer of model.onnx; it has c1_node');
  await wrong({ weightsOnly: ["c9"] }).toThrow('weightsOnly names "c9", which is no layer of model.onnx');
  await wrong({ weightsOnly: ["c1_node"], float: ["c1_node"] }).toThrow('float and weightsOnly both name "c1_node"');
  await wrong({ operators: ["LSTM"] }).toThrow('needs a list of "Conv", "Gemm", "MatMul"');
  await wrong({ reduceRange: 1 }).toThrow("reduceRange is 1, needs true or false");
  await expect(rangesOf(model, { feeds: [] })).rejects.toThrow("feeds are empty");
  const bad = { x: new ort.Tensor("float32", new Float32Array(297).fill(Number.NaN), [1, 3, 9, 11]) };
  await expect(rangesOf(model, { feeds: [batches[0]!, bad] })).rejects.toThrow(
    'activationRanges: run 2, "x": an entry is NaN, and int8 has no level for it',
  );
  // a layer that is left, and a model of which nothing is taken, stay as they are
  const { inFloat, quantised } = await quantiseOnnx(model, { ranges, float: ["c4_node"] });
  expect([quantised.length, inFloat]).toMatchObject([3, [{ name: "c4_node", reason: "it is to stay in float" }]]);
  const none = await quantiseOnnx(model, { ranges: {}, operators: [] });
  expect([none.model === model, none.quantised]).toEqual([true, []]);
  const again = await quantiseOnnx((await quantiseOnnx(model, { ranges })).model, { ranges });
  expect([again.quantised, again.inFloat.length]).toEqual([[], 4]);
  expect(again.inFloat[0]!.reason).toContain("quantised");
  const w = {
    ...network.weights,
    w1: { shape: [5, 3, 3, 3], data: signal([5, 3, 3, 3]).fill(Number.POSITIVE_INFINITY) },
  };
  await expect(quantiseOnnx(readOnnx(buildModel({ ...network, weights: w })), { ranges })).rejects.toThrow(
    "c1_node: output 0 has weights or a bias that are not finite",
  );
});
