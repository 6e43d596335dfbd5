/** Dense layers with too many inputs for their covariance. */
import { describe, expect, it } from "vitest";
import { LayerFits } from "../../../src/compress/onnx/fits.js";
import { fitsOf } from "../../../src/compress/onnx/groups.js";
import { compressOnnx, type OnnxFeeds, runtimeSessions } from "../../../src/compress/onnx/index.js";
import type { Moments } from "../../../src/compress/onnx/moments.js";
import { Products } from "../../../src/compress/onnx/products.js";
import { canNarrow, narrowed } from "../../../src/compress/onnx/wide.js";
import { matrixProduct, rowProducts } from "../../../src/nn/factorised/hostMatrices.js";
import { type OnnxReplacement, type OnnxSite, onnxSites, readOnnx } from "../../../src/onnx/index.js";
import { testEngine } from "../../engine.js";
import { ort } from "../../onnx/runtime.js";
import { lowRank, modelOf, normals } from "./models.js";

const session = runtimeSessions(ort as never, { graphOptimizationLevel: "disabled" });
const [I, O] = [37, 6];

function siteOf(weights: Float32Array): OnnxSite {
  const bytes = modelOf(
    [{ op: "Gemm", inputs: ["x", "w"], output: "y", attributes: { transB: 1 } }],
    { w: { shape: [O, I], data: weights } },
    [null, I],
    [null, O],
  );
  return onnxSites(readOnnx(bytes), { smallest: 0 }).sites[0]!;
}

/** Moments of rows about their mean. */
function momentsOf(x: Float64Array, z: Float64Array, width: number): Moments {
  const count = x.length / width;
  const meanOf = (rows: Float64Array) =>
    Float64Array.from({ length: width }, (_, i) => {
      let sum = 0;
      for (let p = 0; p < count; p++) sum += rows[p * width + i]!;
      return sum / count;
    });
  const [meanX, meanZ] = [meanOf(x), meanOf(z)];
  const square = (left: Float64Array, mean: Float64Array) => {
    const out = new Float64Array(width * width);
    for (let p = 0; p < count; p++)
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++)
          out[i * width + j]! += ((left[p * width + i]! - mean[i]!) * (z[p * width + j]! - meanZ[j]!)) / count;
    return out;
  };
  return { count, meanX, meanZ, covariance: square(z, meanZ), cross: square(x, meanX) };
}

const weightsOf = ({ factors }: OnnxReplacement): Float64Array =>
  factors
    .map(({ data }) => Float64Array.from(data))
    .reduce<Float64Array>((first, second) => {
      const inner = second.length / O;
      return first.length ? matrixProduct(second, first, O, inner, first.length / inner) : second;
    }, new Float64Array(0));
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.hypot(...Array.from(a, (value, e) => value - b[e]!)) / Math.hypot(...Array.from(b));

describe("a layer that is fitted by its outputs", () => {
  const draw = normals(17);
  const kinds: Record<string, Float32Array> = {
    "of random weights": draw(O * I),
    "graded by 1e-3 an output": draw(O * I).map((value, e) => value * 10 ** (-3 * Math.floor(e / I))),
    "with outputs that depend on each other": lowRank(draw, O, I, 3),
    "with outputs of zeros": draw(O * I).fill(0, 2 * I, 4 * I),
  };
  it.each(Object.keys(kinds))("%s has the fits of its covariance", async (kind) => {
    const products = new Products(await testEngine(), session);
    const site = siteOf(kinds[kind]!);
    const narrow = await narrowed(products, site);
    const w = Float64Array.from(await site.weights());
    // the layer itself: L·B
    const project = async (rows: Float64Array): Promise<Float64Array> => {
      const shape = [rows.length / I, I];
      const { data } = await narrow.basis.project(session, { dtype: "float32", shape, data: Float32Array.from(rows) });
      return Float64Array.from(data as Float32Array);
    };
    const unit = Float64Array.from({ length: I * I }, (_, e) => Number(e % (I + 1) === 0));
    const basis = await project(unit);
    const layer = rowProducts(Float64Array.from(await narrow.weights()), basis, O, I, O);
    expect(distance(layer, w)).toBeLessThan(1e-6);
    const count = 400;
    const x = Float64Array.from(draw(count * I), (value, e) => value * (1 + (e % I)) + 3);
    const z = x.map((value, e) => value + 0.3 * (x[e - 1] ?? 0));
    const options = { ridge: 1e-9, multiple: 1, refit: false };
    for (const moments of [true, false]) {
      const [seenX] = await Promise.all([project(x)]);
      const full = await LayerFits.of(products, site, moments ? momentsOf(x, x, I) : null, options);
      const fits = await fitsOf(products, narrow, moments ? momentsOf(seenX, seenX, O) : null, options);
      const [wanted, candidates] = [await full.candidates(), await fits.candidates()];
      // beyond exact ones rounding decides whether more ranks lose less
      const known = candidates.slice(0, wanted.length);
      const list = (all: typeof wanted) => all.map(({ ranks, weights }) => [ranks, weights]);
      expect(list(known)).toEqual(list(wanted));
      if (candidates.length > known.length) expect(known.at(-1)!.error).toBeLessThan(1e-6);
      for (const [at, { ranks, error }] of wanted.entries()) {
        expect(candidates[at]!.error).toBeCloseTo(error, 4);
        const [one, other] = [await full.fit("lowRank", ranks), await fits.fit("lowRank", ranks)];
        expect(other.factors.map(({ shape }) => shape)).toEqual(one.factors.map(({ shape }) => shape));
        expect(distance(weightsOf(other), weightsOf(one)), `rank ${ranks}`).toBeLessThan(2e-4);
        if (!moments) continue;
        const outputs = Math.hypot(...matrixProduct(w, momentsOf(x, x, I).meanX, O, I, 1));
        const difference = Math.hypot(...Array.from(other.bias!, (value, o) => value - one.bias![o]!));
        expect(difference / outputs).toBeLessThan(1e-4);
      }
    }
    // again, for inputs that layers before it have changed: no other rows among those of W give less
    const [seenX, seenZ] = [await project(x), await project(z)];
    const refits = await fitsOf(products, narrow, momentsOf(seenX, seenZ, O), { ...options, refit: true });
    const again = await refits.fit("whole", []);
    expect(again.factors[0]!.shape).toEqual([O, I]);
    const lost = (weights: Float64Array): number => {
      const [{ meanX, meanZ }, difference] = [momentsOf(x, z, I), new Float64Array(O)];
      let sum = 0;
      for (let p = 0; p < count; p++) {
        for (let o = 0; o < O; o++) {
          difference[o] = 0;
          for (let i = 0; i < I; i++)
            difference[o]! +=
              w[o * I + i]! * (x[p * I + i]! - meanX[i]!) - weights[o * I + i]! * (z[p * I + i]! - meanZ[i]!);
        }
        for (const value of difference) sum += value ** 2;
      }
      return sum;
    };
    const least = lost(weightsOf(again));
    expect(least).toBeLessThan(lost(w));
    // a step along any of the rows of B makes it larger
    const rows = weightsOf(again);
    for (let k = 0; k < O; k++)
      for (const step of [1e-2, -1e-2]) {
        const moved = rows.slice();
        for (let i = 0; i < I; i++) moved[i]! += step * basis[i * O + k]!;
        expect(lost(moved)).toBeGreaterThan(least * (1 - 1e-6));
      }
    // a fit with another bias keeps its factors, and the layer as it is its weights
    const [candidate] = await refits.candidates();
    const fit = await refits.fit("lowRank", candidate!.ranks);
    const biased = await refits.rebiased(fit);
    expect(biased.factors).toBe(fit.factors);
    expect(biased.bias).toEqual(fit.bias);
    const plain = {
      site: site.id,
      scheme: "whole" as const,
      factors: [{ shape: [O, O], data: await narrow.weights() }],
    };
    expect((await refits.rebiased(plain)).factors).toEqual([{ shape: [O, I], data: await site.weights() }]);
    await narrow.basis.release();
    await products.release();
  });

  it("is one along whose last axis the inputs lie", () => {
    const site = siteOf(kinds["of random weights"]!);
    expect(canNarrow(site, 6)).toBe(true);
    expect(canNarrow(site, 5)).toBe(false);
    expect(canNarrow({ ...site, inputAxis: -2 }, 6)).toBe(false);
  });
});

describe("compressOnnx of a network with 6000 inputs in a dense layer", () => {
  const draw = normals(23);
  const [inputs, hidden, classes, rank] = [6000, 40, 5, 8];
  const bytes = modelOf(
    [
      { op: "Flatten", inputs: ["x"], output: "flat" },
      { op: "Gemm", inputs: ["flat", "w1", "b1"], output: "a" },
      { op: "Relu", inputs: ["a"], output: "b" },
      { op: "Gemm", inputs: ["b", "w2"], output: "y" },
    ],
    {
      w1: { shape: [inputs, hidden], data: lowRank(draw, inputs, hidden, rank) },
      b1: { shape: [hidden], data: draw(hidden, 0.1) },
      w2: { shape: [hidden, classes], data: draw(hidden * classes) },
    },
    [null, 6, 1000],
    [null, classes],
  );
  const samples = (count: number): OnnxFeeds[] =>
    Array.from({ length: count }, () => ({ x: { dtype: "float32", shape: [1, 6, 1000], data: draw(inputs) } }));

  it("finds a planted low rank, with samples and without", async () => {
    const engine = await testEngine();
    const target = { weights: 4 };
    const more = { engine, session, target, smallest: 0, seed: 1 };
    const result = await compressOnnx(bytes, { ...more, calibration: samples(40) });
    const [layer] = result.layers;
    expect(layer!.shape).toEqual([hidden, inputs]);
    expect(layer!.scheme).toBe("lowRank");
    expect(layer!.ranks).toEqual([rank]);
    expect(layer!.weights).toEqual({ before: inputs * hidden, after: rank * (inputs + hidden) });
    expect(result.verified!.error).toBeLessThan(1e-4);
    expect(result.warnings.join()).toContain("for 6000 inputs");
    const plain = await compressOnnx(bytes, { ...more, shapes: { x: [1, 6, 1000] } });
    expect(plain.layers[0]!.ranks).toEqual([rank]);
    for (const { bytes: small } of [result, plain]) {
      const made = await ort.InferenceSession.create(small!);
      const before = await ort.InferenceSession.create(bytes);
      const [{ x }] = samples(1) as [OnnxFeeds];
      const tensor = new ort.Tensor("float32", x!.data as Float32Array, [1, 6, 1000]);
      const [one, other] = [await before.run({ x: tensor }), await made.run({ x: tensor })];
      expect(distance(other.y!.data as Float32Array, one.y!.data as Float32Array)).toBeLessThan(1e-4);
      await made.release();
      await before.release();
    }
  }, 60_000);

  it("fits it again in order behind a layer that was compressed", async () => {
    const outputs = 12;
    const deep = modelOf(
      [
        { op: "Conv", inputs: ["x", "w0"], output: "c", attributes: { pads: [1, 1, 1, 1] } },
        { op: "Relu", inputs: ["c"], output: "r" },
        { op: "Flatten", inputs: ["r"], output: "flat" },
        { op: "Gemm", inputs: ["flat", "w1"], output: "a" },
        { op: "Relu", inputs: ["a"], output: "b" },
        { op: "Gemm", inputs: ["b", "w2"], output: "y" },
      ],
      {
        w0: { shape: [24, 16, 3, 3], data: draw(24 * 16 * 9, 1 / 12) },
        w1: { shape: [24 * 16 * 16, outputs], data: draw(24 * 256 * outputs, 1 / 80) },
        w2: { shape: [outputs, classes], data: draw(outputs * classes) },
      },
      [null, 16, 16, 16],
      [null, classes],
    );
    const calibration = Array.from({ length: 60 }, () => {
      const data = draw(16 * 256);
      for (let e = 1; e < data.length; e++) data[e] = 0.8 * data[e - 1]! + 0.6 * data[e]!;
      return { x: { dtype: "float32", shape: [1, 16, 16, 16], data } };
    });
    const more = { engine: await testEngine(), session, calibration, smallest: 0, seed: 1 };
    const target = { multiplications: 1.5 };
    const plain = await compressOnnx(deep, { ...more, target, refit: false });
    const refitted = await compressOnnx(deep, { ...more, target });
    expect(refitted.layers.find(({ shape }) => shape[1] === 24 * 256)).toBeDefined();
    expect(refitted.leftAlone.filter(({ reason }) => reason.includes("inputs"))).toEqual([]);
    expect(refitted.verified!.error).toBeLessThan(plain.verified!.error);
  }, 60_000);
});
