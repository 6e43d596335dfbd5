/** What of a graph can be factorised, with which numbers, and what is left alone. */
import { describe, expect, it } from "vitest";
import { GraphFacts } from "../../src/onnx/graph.js";
import { type OnnxSite, onnxSites, readOnnx } from "../../src/onnx/index.js";
import { OnnxModel } from "../../src/onnx/model.js";
import { copyOf } from "../../src/onnx/proto.js";
import { Shapes } from "../../src/onnx/shapes.js";
import { modelOf } from "../compress/onnx/models.js";
import expectedShapes from "./fixtures/shapes.json" with { type: "json" };
import { feedsOf, fixture, runModel, signal } from "./runtime.js";

const all = { smallest: 0, join: false } as const;
const read = (file: string) => readOnnx(fixture(file), { file });

/** The model without the shapes that the file declares, those of the inputs apart. */
function undeclared(file: string): OnnxModel {
  const { proto, graph } = read(file);
  const output = graph.output.map((info) => copyOf(info, { type: undefined }));
  return new OnnxModel(file, copyOf(proto, { graph: copyOf(graph, { valueInfo: [], output }) }), null, null);
}

it("counts no multiplications of large constants that are added or joined", () => {
  const large = { shape: [1, 60, 20], data: new Float32Array(1200) };
  const bytes = modelOf(
    [
      { op: "MatMul", inputs: ["x", "w"], output: "one" },
      { op: "Add", inputs: ["one", "positions"], output: "placed" },
      { op: "Concat", inputs: ["placed", "tokens"], output: "y", attributes: { axis: 1 } },
    ],
    { w: { shape: [30, 20], data: new Float32Array(600) }, positions: large, tokens: large },
    [1, 60, 30],
    [1, 120, 20],
  );
  const { leftAlone, totals } = onnxSites(readOnnx(bytes), all);
  expect(leftAlone.map(({ op, multiplications }) => [op, multiplications])).toEqual([
    ["Add", 0],
    ["Concat", 0],
  ]);
  expect(totals.multiplications).toBe(60 * 30 * 20);
});

describe("shapes", () => {
  it.each(Object.keys(expectedShapes))("%s: as onnx infers them", (file) => {
    const model = undeclared(file);
    const shapes = new Shapes(model, new GraphFacts(model));
    const expected = expectedShapes[file as keyof typeof expectedShapes] as Record<string, (number | null)[]>;
    expect(Object.keys(expected).map((name) => [name, shapes.of(name)])).toEqual(Object.entries(expected));
  });

  it("follows sizes that the graph computes", () => {
    const model = undeclared("shapes.onnx");
    const shapes = new Shapes(model, new GraphFacts(model));
    // of 2×6×8×10 entries, to [2, -1, 4]
    expect(shapes.of("reshaped")).toEqual([2, 120, 4]);
    expect(shapes.of("resized")).toEqual([2, 6, 16, 20]);
  });

  it("takes those of a run, and of open inputs", () => {
    const model = read("transformer.onnx");
    expect(onnxSites(model, all).totals.multiplications).toBeNull();
    const known = onnxSites(model, { ...all, shapes: { tokens: [2, 7] } });
    // four products of 16×16, two of 16×64, scores and mixtures of 2 heads, and the embedding's 16×20
    const perToken = 4 * 16 * 16 + 2 * 16 * 64 + 16 * 20;
    expect(known.totals.multiplications).toBe(14 * perToken + 2 * (2 * 2 * 7 * 7 * 8));
    const run = new Map([["q_product", [2, 7, 16]]]);
    expect(onnxSites(model, { ...all, shapes: run }).sites[0]!.counts.multiplications).toBe(14 * 256);
    expect(() => onnxSites(model, { shapes: { tokens: [2] } })).toThrow('shape 2 of "tokens": needs any×any');
    expect(() => onnxSites(model, { shapes: { token: [2, 7] } })).toThrow(
      'no value is called "token"; its inputs are "tokens"',
    );
  });
});

/** A convolution in f64, of one sample of zeros around. */
function convolution(
  site: OnnxSite,
  weights: Float32Array,
  x: ArrayLike<number>,
  size: readonly number[],
  out: readonly number[],
): Float64Array {
  const [outputs, inputs, ...kernel] = site.shape as [number, number, ...number[]];
  const { strides, dilations, pads, autoPad } = site.geometry!;
  const taps = kernel.reduce((a, b) => a * b, 1);
  const [places, entries] = [out.reduce((a, b) => a * b, 1), size.reduce((a, b) => a * b, 1)];
  const before = kernel.map((extent, axis) => {
    if (autoPad === "NOTSET") return pads![axis]!;
    const span = (extent - 1) * dilations[axis]! + 1;
    const total = Math.max(0, (out[axis]! - 1) * strides[axis]! + span - size[axis]!);
    return autoPad === "VALID" ? 0 : autoPad === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
  });
  const indexOf = (flat: number, extents: readonly number[]): number[] => {
    const index: number[] = [];
    for (const extent of [...extents].reverse()) {
      index.unshift(flat % extent);
      flat = Math.floor(flat / extent);
    }
    return index;
  };
  const y = new Float64Array(outputs * places);
  const perGroup = outputs / site.groups;
  for (let o = 0; o < outputs; o++)
    for (let place = 0; place < places; place++)
      for (let tap = 0; tap < taps; tap++) {
        const from = indexOf(tap, kernel);
        const at = indexOf(place, out).map(
          (one, axis) => one * strides[axis]! + from[axis]! * dilations[axis]! - before[axis]!,
        );
        if (at.some((one, axis) => one < 0 || one >= size[axis]!)) continue;
        const flat = at.reduce((sum, one, axis) => sum * size[axis]! + one, 0);
        for (let i = 0; i < inputs; i++)
          y[o * places + place]! +=
            weights[(o * inputs + i) * taps + tap]! * x[(Math.floor(o / perGroup) * inputs + i) * entries + flat]!;
      }
  return y;
}

describe("weights, bias and geometry", () => {
  it("give a convolution's outputs", async () => {
    const shapes: Record<string, number[]> = { x1: [2, 6, 13], x2: [2, 6, 11, 9], x3: [1, 4, 5, 6, 7] };
    const results = await runModel(fixture("convolutions.onnx"), feedsOf(shapes));
    const { sites } = onnxSites(read("convolutions.onnx"), all);
    expect(sites.map(({ id }) => id)).toHaveLength(18);
    for (const site of sites.filter(({ kind }) => kind === "convolution")) {
      const { shape, data } = results.get(site.id)!;
      expect(site.inputShape).toEqual(shapes[site.input]);
      expect(site.outputShape).toEqual(shape);
      const y = convolution(
        site,
        await site.weights(),
        signal(shapes[site.input]!),
        shapes[site.input]!.slice(2),
        shape.slice(2),
      );
      const bias = await site.bias();
      const places = shape.slice(2).reduce((a, b) => a * b, 1);
      const gap = Math.max(...y.map((value, k) => Math.abs(value + (bias?.[Math.floor(k / places)] ?? 0) - data[k]!)));
      expect([site.id, gap < 1e-5]).toEqual([site.id, true]);
      const size = site.shape.reduce((a, b) => a * b, 1);
      expect(site.counts).toEqual({ weights: size, multiplications: size * places * shape[0]! });
    }
  });

  it("give the outputs of Gemm and MatMul", async () => {
    const shapes: Record<string, number[]> = {
      rows: [5, 6],
      turned: [6, 5],
      stack: [2, 3, 4, 6],
      wide: [2, 6, 5],
      vector: [6],
    };
    const results = await runModel(fixture("products.onnx"), feedsOf(shapes));
    const { sites, leftAlone } = onnxSites(read("products.onnx"), all);
    expect(leftAlone.map(({ name, reason }) => [name, reason])).toEqual([
      ["gemm_rows_node", "its bias has more than one entry an output"],
      ["batched_node", "its weights are a stack of matrices"],
    ]);
    for (const site of sites) {
      const name = results.has(site.id)
        ? site.id
        : site.id.replace("matmul_product", "matmul_bias").replace("left_product", "left_bias");
      const [weights, bias] = [await site.weights(), await site.bias()];
      const [outputs, inputs] = site.shape as [number, number];
      const x = signal(shapes[site.input]!);
      const { data } = results.get(name)!;
      // the first row, or column, of the first matrix
      const column = ["turned", "wide"].includes(site.input) || name === "gemm_left_ab";
      const stride = name === "gemm_left_ab" ? 1 : column ? 5 : 1;
      const step = ["gemm_left", "matmul_left", "left_bias", "gemm_left_ab"].includes(name) ? 5 : 1;
      const gaps = Array.from({ length: outputs }, (_, o) => {
        let y = bias?.[o] ?? 0;
        for (let i = 0; i < inputs; i++) y += weights[o * inputs + i]! * x[i * stride]!;
        return Math.abs(y - data[o * step]!);
      });
      expect([name, Math.max(...gaps) < 1e-5]).toEqual([name, true]);
      const rows = shapes[site.input]!.reduce((a, b) => a * b, 1) / inputs;
      expect(site.counts).toEqual({ weights: outputs * inputs, multiplications: outputs * inputs * rows });
    }
  });
});

describe("left alone", () => {
  it("is whatever cannot be taken apart, with the reason", () => {
    const { sites, leftAlone, totals } = onnxSites(read("torture.onnx"), all);
    expect(sites.map(({ id, dtype }) => [id, dtype])).toEqual([
      ["by_alias", "float32"],
      ["typed", "float32"],
      ["in_double", "float64"],
    ]);
    expect(leftAlone.map(({ name, weights, reason }) => [name, weights, reason])).toEqual([
      ["shared1_node", 144, "its weights are shared: 2 nodes, inner graphs or outputs use them"],
      // counted with the first
      ["shared2_node", 0, "its weights are shared: 2 nodes, inner graphs or outputs use them"],
      ["outer_use_node", 16, "its weights are shared: 2 nodes, inner graphs or outputs use them"],
      ["quantised_node", 144, "quantised: factorise the float model first, and quantise the result"],
      ["lstm_node", 84, "recurrent layers are not factorised"],
      ["else_conv", 16, "inside a subgraph (If)"],
      ["then_conv", 16, "inside a subgraph (If)"],
    ]);
    // constants, initializers of both graphs, and the quantised weights with their scale
    expect(totals.weights).toBe(144 + 144 + 16 + 16 + 16 + 144 + 1 + 84 + 20);
    const embedding = onnxSites(read("transformer.onnx"), all).leftAlone;
    expect(embedding.map(({ name, reason }) => [name, reason])).toEqual([
      ["embedded_node", "embedding: its rows are looked up, not multiplied"],
      ["scores_node", "both sides are computed"],
      ["mixed_node", "both sides are computed"],
      ["logits_node", "its weights are tied to an embedding"],
    ]);
    expect(onnxSites(read("convolutions.onnx"), all).leftAlone.map(({ reason }) => reason)).toEqual([
      "depthwise: nothing is shared between its channels",
    ]);
  });

  it("is what is small beside the rest", () => {
    const model = read("convolutions.onnx");
    const { sites, leftAlone } = onnxSites(model, { smallest: 0.1 });
    expect(sites.every(({ counts }) => counts.weights >= 0)).toBe(true);
    expect(leftAlone.some(({ reason }) => reason === "small: less than 10 % of weights and multiplications")).toBe(
      true,
    );
    expect(sites.length + leftAlone.length).toBe(19);
    expect(() => onnxSites(model, { smallest: 2 })).toThrow("smallest is 2, needs a number from 0 to 1");
  });
});
