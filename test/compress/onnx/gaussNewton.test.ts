/** What errors of a layer's outputs count, against finite differences. */
import { expect, it } from "vitest";
import { gaussNewtonOf } from "../../../src/compress/onnx/gaussNewton.js";
import { runtimeSessions } from "../../../src/compress/onnx/index.js";
import { randomNumbers } from "../../../src/compress/onnx/samples.js";
import { foldOnnx, onnxSites, readOnnx } from "../../../src/onnx/index.js";
import { testEngine } from "../../engine.js";
import { ort, signal } from "../../onnx/runtime.js";
import { modelOf, type NodeOf, normals } from "./models.js";

const session = runtimeSessions(ort as never, { graphOptimizationLevel: "disabled" });
const draw = normals(7);
const weight = (...shape: number[]) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: draw(size, 1 / Math.sqrt(size / shape[0]!)) };
};

interface Matrices {
  found: Map<string, Float64Array>;
  sites: ReturnType<typeof onnxSites>["sites"];
}
async function matricesOf(bytes: Uint8Array, shape: number[], samples = 1): Promise<Matrices> {
  const { model } = await foldOnnx(readOnnx(bytes));
  const { sites } = onnxSites(model, { smallest: 0, shapes: { x: shape } });
  const found = await gaussNewtonOf({
    ...{ engine: await testEngine(), sessions: session, model, sites, multiplications: 1000, fixedInputs: false },
    samples: Array.from({ length: samples }, (_, at) => ({
      x: { dtype: "float32", shape, data: signal(shape).map((value) => value * (1 + at)) },
    })),
    ...{ seed: 3, onProgress() {} },
  });
  return { found, sites };
}

const runWith = async (bytes: Uint8Array, feeds: Record<string, { shape: number[]; data: Float32Array }>) => {
  const made = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: "disabled" });
  const tensors = Object.entries(feeds).map(([name, { shape, data }]) => [
    name,
    new ort.Tensor("float32", data, shape),
  ]);
  const results = await made.run(Object.fromEntries(tensors));
  await made.release();
  return (Object.values(results)[0]!.data as Float32Array).slice();
};

function varianceOf(values: ArrayLike<number>): number {
  const all = Array.from(values);
  const mean = all.reduce((a, b) => a + b, 0) / all.length;
  return all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length;
}

/** Scaled to a diagonal of mean 1, with what lifts the diagonal taken off. */
function bare(matrix: Float64Array, n: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += matrix[i * (n + 1)]!;
  const floor = trace / n - 1;
  return matrix.map((value, e) => value - (e % (n + 1) ? 0 : floor));
}

it("of convolutions and products are the sums over places of squared derivatives of outputs and last features", async () => {
  // an added value for each output of a layer, by which the network is differentiated
  const nodes: NodeOf[] = [
    { op: "Conv", inputs: ["x", "w1"], output: "a", attributes: { pads: [1, 0, 1, 2], strides: [2, 1] } },
    { op: "Relu", inputs: ["a"], output: "b" },
    { op: "Conv", inputs: ["b", "w2"], output: "c", attributes: { group: 2 } },
    { op: "Tanh", inputs: ["c"], output: "d" },
    { op: "Flatten", inputs: ["d"], output: "e" },
    { op: "MatMul", inputs: ["e", "w3"], output: "f" },
    { op: "Sigmoid", inputs: ["f"], output: "g" },
    { op: "MatMul", inputs: ["g", "w4"], output: "y" },
  ];
  const weights = { w1: weight(6, 3, 3, 3), w2: weight(4, 3, 2, 3), w3: weight(4 * 2 * 3, 5), w4: weight(5, 1) };
  const shape = [1, 3, 6, 5];
  const samples = 2;
  const { found, sites } = await matricesOf(modelOf(nodes, weights, shape, [1, 1]), shape, samples);
  expect([...found.keys()].sort()).toEqual(["a", "c", "f"]);
  const extents: Record<string, [channels: number, places: number, shape: number[]]> = {
    a: [6, 15, [1, 6, 3, 5]],
    c: [4, 6, [1, 4, 2, 3]],
    f: [5, 1, [1, 5]],
  };
  const feedsOf = (sample: number) => ({ x: { shape, data: signal(shape).map((value) => value * (1 + sample)) } });
  const both: NodeOf = { op: "Concat", inputs: ["g", "y"], output: "z", attributes: { axis: 1 } };
  const valuesOf = async (list: NodeOf[], more: object, sample: number) =>
    await runWith(modelOf([...list, both], { ...weights, ...more }, shape, [1, 6]), feedsOf(sample));
  // five features count as much as the output, as shares of their variances, with the signs of the seed
  const random = randomNumbers(3);
  const sign = () => (random() < 0.5 ? -1 : 1);
  const featureSigns = Array.from({ length: samples }, () => Array.from({ length: 5 }, sign));
  const outputSigns = Array.from({ length: samples }, sign);
  const seen = await Promise.all(outputSigns.map((_, sample) => valuesOf(nodes, {}, sample)));
  const features = Math.sqrt(1 / (5 * varianceOf(seen.flatMap((z) => [...z.subarray(0, 5)]))));
  const outputs = Math.sqrt(1 / varianceOf(seen.map((z) => z[5]!)));
  const probed = (z: Float32Array, sample: number): number =>
    featureSigns[sample]!.reduce(
      (sum, one, at) => sum + one * features * z[at]!,
      outputSigns[sample]! * outputs * z[5]!,
    );
  for (const [id, [channels, places, outputShape]] of Object.entries(extents)) {
    const changed = nodes.flatMap((node) =>
      node.output === id
        ? [
            { ...node, output: "before" },
            { op: "Add", inputs: ["before", "change"], output: id },
          ]
        : [node],
    );
    const zero = new Float32Array(channels * places);
    const wanted = new Float64Array(channels * channels);
    for (let sample = 0; sample < samples; sample++) {
      const gradient = new Float64Array(zero.length);
      for (const at of zero.keys()) {
        const step = 0.01;
        const [more, less] = await Promise.all(
          [1, -1].map(async (one) => {
            const data = zero.map((_, e) => (e === at ? one * step : 0));
            return probed(await valuesOf(changed, { change: { shape: outputShape, data } }, sample), sample);
          }),
        );
        gradient[at] = (more! - less!) / (2 * step);
      }
      for (let i = 0; i < channels; i++)
        for (let j = 0; j < channels; j++)
          for (let p = 0; p < places; p++)
            wanted[i * channels + j]! += gradient[i * places + p]! * gradient[j * places + p]!;
    }
    let trace = 0;
    for (let i = 0; i < channels; i++) trace += wanted[i * (channels + 1)]!;
    const got = bare(found.get(id)!, channels);
    for (const [e, value] of wanted.entries()) expect(got[e], `${id} ${e}`).toBeCloseTo((value * channels) / trace, 2);
    // few gradients count for less beside what lifts the diagonal
    expect(found.get(id)![0]! - got[0]!, id).toBeCloseTo(0.05 + channels / (2 * places * samples), 4);
  }
  expect(sites.map(({ id }) => id)).toContain("y");
}, 60_000);

it("over many random signs are the expected ones, and what a Softmax does not see counts for nothing", async () => {
  const classes = 4;
  const nodes: NodeOf[] = [
    { op: "MatMul", inputs: ["x", "w1"], output: "a" },
    { op: "MatMul", inputs: ["a", "w2"], output: "b" },
    { op: "Softmax", inputs: ["b"], output: "y" },
  ];
  const weights = { w1: weight(3, 6), w2: weight(6, classes) };
  const shape = [400, 3];
  const { found } = await matricesOf(modelOf(nodes, weights, [null, 3], [null, classes]), shape, 12);
  expect([...found.keys()]).toEqual(["a"]);
  // of the features, which are these outputs, the unit matrix; of the outputs behind them W·(I - 11ᵀ ÷ classes)·Wᵀ
  const w = weights.w2.data;
  const x = Array.from({ length: 12 }, (_, at) => Array.from(signal(shape), (value) => value * (1 + at))).flat();
  const times = (rows: number[], matrix: ArrayLike<number>, inner: number, outer: number): number[] =>
    Array.from({ length: (rows.length / inner) * outer }, (_, e) => {
      const row = Math.floor(e / outer) * inner;
      let sum = 0;
      for (let i = 0; i < inner; i++) sum += rows[row + i]! * matrix[i * outer + (e % outer)]!;
      return sum;
    });
  const a = times(x, weights.w1.data, 3, 6);
  const [features, outputs] = [1 / (6 * varianceOf(a)), 1 / (classes * varianceOf(times(a, w, 6, classes)))];
  const wanted = new Float64Array(36);
  for (let i = 0; i < 6; i++)
    for (let j = 0; j < 6; j++) {
      let [product, left, right] = [0, 0, 0];
      for (let c = 0; c < classes; c++) {
        product += w[i * classes + c]! * w[j * classes + c]!;
        left += w[i * classes + c]!;
        right += w[j * classes + c]!;
      }
      wanted[i * 6 + j] = outputs * (product - (left * right) / classes) + (i === j ? features : 0);
    }
  let trace = 0;
  for (let i = 0; i < 6; i++) trace += wanted[i * 7]!;
  const got = bare(found.get("a")!, 6);
  const distance = Math.hypot(...got.map((value, e) => value - (6 * wanted[e]!) / trace)) / Math.hypot(...got);
  expect(distance).toBeLessThan(0.05);
});

it("are of joined projections those of each, and of no layer whose part of the network has no output", async () => {
  const nodes: NodeOf[] = [
    { op: "MatMul", inputs: ["x", "wq"], output: "q" },
    { op: "MatMul", inputs: ["x", "wk"], output: "k" },
    { op: "Tanh", inputs: ["q"], output: "tq" },
    { op: "Mul", inputs: ["tq", "k"], output: "qk" },
    { op: "MatMul", inputs: ["qk", "w"], output: "y" },
  ];
  const weights = { wq: weight(8, 5), wk: weight(8, 5), w: weight(5, 3) };
  const model = modelOf(nodes, weights, [6, 8], [6, 3]);
  const { found, sites } = await matricesOf(model, [6, 8], 4);
  const [joined] = sites;
  expect(joined!.parts).toEqual([5, 5]);
  const matrix = found.get(joined!.id)!;
  expect(matrix).toHaveLength(100);
  for (let i = 0; i < 5; i++) for (let j = 5; j < 10; j++) expect(matrix[i * 10 + j]).toBe(0);
  for (let i = 0; i < 10; i++) expect(matrix[i * 11]).toBeGreaterThan(0.05);
  // an operator without a layer behind the first product
  const odd = nodes.map((node) => (node.op === "Tanh" ? { ...node, op: "Erf" } : node));
  expect((await matricesOf(modelOf(odd, weights, [6, 8], [6, 3]), [6, 8])).found.size).toBe(0);
});
