/** `compressOnnx` on small models whose answer is known, run by onnxruntime-web. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { LayerFits } from "../../../src/compress/onnx/fits.js";
import {
  type CompressOnnxOptions,
  compressOnnx,
  OnnxCompression,
  type OnnxFeeds,
  type OnnxTarget,
  runtimeSessions,
  samplesOf,
} from "../../../src/compress/onnx/index.js";
import { MomentSums, type Moments } from "../../../src/compress/onnx/moments.js";
import { splitSamples } from "../../../src/compress/onnx/samples.js";
import type { Engine } from "../../../src/gpu/index.js";
import { readMnistData } from "../../../src/node/index.js";
import { activationRanges, foldOnnx, onnxSites, quantiseOnnx, readOnnx, writeOnnx } from "../../../src/onnx/index.js";
import { testEngine } from "../../engine.js";
import { checkOnnx } from "../../onnx/checker.js";
import { fixture, ort } from "../../onnx/runtime.js";
import { lowRank, modelOf, normals } from "./models.js";

const session = runtimeSessions(ort as never, { graphOptimizationLevel: "disabled" });
let engine: Engine;
beforeAll(async () => {
  engine = await testEngine();
});

const resnet = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/networks/resnet.onnx")));
const draw = normals(11);
const [C, F, K] = [16, 24, 12];
const weight = (shape: number[], data: Float32Array) => ({ shape, data });

/** A 3×3 convolution, a 1×1 convolution, a mean and a product with a Softmax behind it. */
const network = (planted: boolean, type: 1 | 10 = 1): Uint8Array =>
  modelOf(
    [
      { op: "Conv", inputs: ["x", "w1", "b1"], output: "conv", attributes: { pads: [1, 1, 1, 1] } },
      { op: "Relu", inputs: ["conv"], output: "relu" },
      { op: "Conv", inputs: ["relu", "w2"], output: "point" },
      { op: "Relu", inputs: ["point"], output: "relu2" },
      { op: "GlobalAveragePool", inputs: ["relu2"], output: "mean" },
      { op: "Flatten", inputs: ["mean"], output: "flat" },
      { op: "Gemm", inputs: ["flat", "w3", "b3"], output: "logits", attributes: { transB: 1 } },
      { op: "Softmax", inputs: ["logits"], output: "classes" },
    ],
    {
      w1: weight([F, C, 3, 3], planted ? lowRank(draw, F, C * 9, 4) : draw(F * C * 9, 1 / Math.sqrt(C * 9))),
      b1: weight([F], draw(F, 0.1)),
      w2: weight([32, F, 1, 1], planted ? lowRank(draw, 32, F, 4) : draw(32 * F, 1 / Math.sqrt(F))),
      w3: weight([K, 32], draw(K * 32, 1)),
      b3: weight([K], draw(K)),
    },
    [null, C, 6, 6],
    [null, K],
    { type },
  );

/** Samples of different contrast, with neighbours alike. */
const samples = (count: number, seed: number): OnnxFeeds[] => {
  const noise = normals(seed);
  return Array.from({ length: count }, () => {
    const values = noise(C * 36);
    const data = Float32Array.from(values, (value, e) => value + 0.7 * (values[e - 1] ?? 0) + 0.5);
    return { x: { dtype: "float32", shape: [1, C, 6, 6], data } };
  });
};
/** Images for the ResNet. */
const digits = (count: number): OnnxFeeds[] => {
  const { images } = readMnistData();
  return Array.from({ length: count }, (_, at) => {
    const data = Float32Array.from(images.subarray(at * 784, (at + 1) * 784), (value) => value / 255);
    return { images: { dtype: "float32", shape: [1, 1, 28, 28], data } };
  });
};
const compress = (bytes: Uint8Array, more: Partial<CompressOnnxOptions>) =>
  compressOnnx(bytes, { engine, session, calibration: samples(40, 5), smallest: 0, ...more });

describe("compressOnnx", () => {
  it("takes models whose inputs, weights and activations are float16, and samples of float32 for them", async () => {
    const bytes = network(true, 10);
    const shape = [40, C, 6, 6];
    const data = Float32Array.from(samples(40, 5).flatMap(({ x }) => [...(x!.data as Float32Array)]));
    const calibration = samplesOf(readOnnx(bytes), new Map([["x", { shape, data }]]));
    expect(calibration[0]!.x!.dtype).toBe("float16");
    expect(() => samplesOf(readOnnx(bytes), new Map([["x", { shape, data: data.with(5, 7e4) }]]))).toThrow(
      "x: entry [0, 0, 0, 5] is 70000, and the model takes float16, which ends at 65504",
    );
    const result = await compress(bytes, { calibration, target: { multiplications: 2 }, tune: 2 });
    expect(result.reason).toBeNull();
    expect(result.multiplications.after!).toBeLessThanOrEqual(result.multiplications.before! / 2);
    // f16 rounds by 5e-4
    expect(result.verified!.error).toBeLessThan(3e-3);
    const small = readOnnx(result.bytes!);
    expect(small.inputs).toEqual(readOnnx(bytes).inputs);
    expect(new Set(small.graph.initializer.map(({ dataType }) => dataType))).toEqual(new Set([10]));
  });

  it("finds a planted network of low rank", async () => {
    const seen: number[] = [];
    const result = await compress(network(true), {
      target: { multiplications: 2 },
      onProgress: (done) => seen.push(done),
    });
    expect(result.reason).toBeNull();
    expect(result.multiplications.after!).toBeLessThanOrEqual(result.multiplications.before! / 2);
    expect(result.verified!.error).toBeLessThan(1e-4);
    expect(result.verified!.agreement).toBe(1);
    expect(result.samples).toEqual({ fit: 24, choose: 8, verify: 8 });
    expect(result.worst!.length).toBe(8);
    expect(result.layers.filter(({ scheme }) => scheme).length).toBeGreaterThan(0);
    expect(Math.max(...seen)).toBe(1);
    const small = readOnnx(result.bytes!);
    expect(small.metadata.get("tenfold.compressed")).toContain('"target":{"multiplications":2}');
    expect(small.metadata.get("tenfold.factorised")).toContain("conv: ");
    expect(small.inputs).toEqual(readOnnx(network(true)).inputs);
    expect([...new Set(small.graph.node.map(({ opType }) => opType))].sort()).toEqual([
      "Conv",
      "Flatten",
      "Gemm",
      "GlobalAveragePool",
      "Relu",
      "Softmax",
    ]);
  });

  const dense = network(false);
  it("keeps only steps that held-back samples prefer, and whitening beats the weights alone", async () => {
    const result = await compress(dense, { target: { multiplications: 1.6 } });
    let least = Number.POSITIVE_INFINITY;
    for (const { error, kept } of result.steps) {
      expect(kept).toBe(error < least);
      least = Math.min(least, error);
    }
    expect(result.steps.some(({ name }) => name.startsWith("refit"))).toBe(true);
    expect(result.multiplications.after!).toBeLessThanOrEqual(result.multiplications.before! / 1.6);
    const blind = await compressOnnx(dense, {
      ...{ engine, smallest: 0, target: { multiplications: 1.6 }, shapes: { x: [1, C, 6, 6] } },
    });
    expect(blind.verified).toBeNull();
    expect(blind.warnings.join()).toContain("no calibration samples");
    const errors: number[] = [];
    for (const bytes of [result.bytes!, blind.bytes!]) errors.push(await relativeError(dense, bytes));
    expect(errors[0]!).toBeLessThan(0.8 * errors[1]!);
    // sample by sample, by hand
    const [verified, worst] = [result.verified!, result.worst!];
    const square = worst.reduce((sum, { error }) => sum + error ** 2, 0) / worst.length;
    expect(Math.sqrt(square)).toBeCloseTo(verified.error, 6);
    expect(worst.filter(({ agreement }) => agreement === 1).length / worst.length).toBe(verified.agreement);
    expect(worst).toEqual([...worst].sort((a, b) => a.agreement! - b.agreement! || b.error - a.error));
    const list = samples(40, 5);
    const [before, after] = [await session(dense), await session(result.bytes!)];
    for (const { sample, classes } of worst) {
      const best = async (of: typeof before): Promise<number> => {
        const values = [...((await of.run(list[sample]!)).classes!.data as unknown as Float32Array)];
        return values.indexOf(Math.max(...values));
      };
      expect(classes).toEqual({ before: await best(before), after: await best(after) });
    }
  });

  it("fits a last layer that stays whole to what compressed layers give", async () => {
    const options = { calibration: samples(120, 5), target: { multiplications: 1.2 } };
    const { layers, steps, bytes } = await compress(dense, options);
    const last = layers.at(-1)!;
    expect([last.op, last.scheme, last.refitted]).toEqual(["Gemm", null, true]);
    expect(steps.at(-1)).toMatchObject({ name: `refit ${last.name}`, kept: true });
    expect(readOnnx(bytes!).metadata.get("tenfold.factorised")).toContain(`${last.name}: whole`);
    expect(steps.at(-1)!.error).toBeLessThan(0.95 * steps.at(-2)!.error);
  });

  it("refits other plans, too, where much was lost before refits", async () => {
    const calibration = digits(60);
    const { steps, reason } = await compress(resnet, { calibration, target: { multiplications: 4 } });
    expect(reason).toBeNull();
    const plans = steps.filter(({ name }) => name.startsWith("÷"));
    const others = steps.filter(({ name }) => name.startsWith("refit of "));
    const least = Math.min(...plans.map(({ error }) => error));
    expect(least).toBeGreaterThan(0.3);
    // those that lose little more than the best before refits
    expect(others.map(({ name }) => name.slice("refit of ".length))).toEqual(
      plans
        .filter(({ error }) => error > least && error <= 1.3 * least)
        .sort((a, b) => a.error - b.error)
        .slice(0, 3)
        .map(({ name }) => name.split(": ")[1]),
    );
    expect(others.length).toBeGreaterThan(0);
    const refits = steps.filter(({ name, kept }) => name.startsWith("refit") && kept);
    expect(refits.at(-1)!.error).toBe(Math.min(...steps.map(({ error }) => error)));
  });

  it("measures what layers do to the outputs again in a plan that loses much", async () => {
    const calibration = digits(60);
    const ask = async (multiplications: number) => {
      const { steps } = await compress(resnet, { calibration, target: { multiplications }, refit: false });
      const [first] = steps;
      return { first: first!, again: steps.filter(({ name }) => name.includes("in the plan before")) };
    };
    const much = await ask(4);
    expect(much.first).toMatchObject({ name: "÷4: ranks by measured effect on the outputs" });
    expect(much.again.length).toBeGreaterThan(1);
    expect(much.again.map(({ name }) => name.split("before")[1])).toEqual(
      ["", ", 2 times", ", 3 times", ", 4 times"].slice(0, much.again.length),
    );
    // one of them loses less
    expect(Math.min(...much.again.map(({ error }) => error))).toBeLessThan(0.97 * much.first.error);
    expect((await ask(1.3)).again).toEqual([]);
  });

  it("fits only what another budget changes, and gives the file of a fresh run", async () => {
    const options = { engine, session, calibration: samples(40, 5), smallest: 0 };
    const fit = vi.spyOn(LayerFits.prototype, "fit");
    const candidates = vi.spyOn(LayerFits.prototype, "candidates");
    const runs = { count: 0, isTimed: false };
    // how many runs fill the time that is taken is the machine's affair
    const onProgress = (_: number, doing: string): void => {
      runs.isTimed = doing === "comparing";
    };
    const counting: typeof session = async (model) => {
      const { run, release } = await session(model);
      return {
        release,
        run(feeds) {
          if (!runs.isTimed) runs.count++;
          return run(feeds);
        },
      };
    };
    /** what a call costs: schemes and ranks that were fitted, layers with new candidates, and runs of the network */
    const cost = async <T>(work: () => Promise<T>) => {
      Object.assign(runs, { count: 0, isTimed: false });
      fit.mockClear();
      candidates.mockClear();
      const result = await work();
      const fits = fit.mock.contexts.map((of, at) => `${(of as LayerFits).site.id} ${fit.mock.calls[at]!.join(" ")}`);
      return { result, fits, layers: candidates.mock.calls.length, runs: runs.count };
    };
    try {
      const network = new OnnxCompression(dense, { ...options, session: counting });
      const ask = (target: OnnxTarget) => cost(() => network.compress({ target, onProgress }));
      const fresh = (target: OnnxTarget) =>
        cost(() => compressOnnx(dense, { ...options, session: counting, target, onProgress }));
      const first = await ask({ multiplications: 1.6 });
      expect(first.layers).toBe(3);
      // what a request that was stopped has found is not lost
      const controller = new AbortController();
      const stopped = network.compress({
        target: { multiplications: 2 },
        signal: controller.signal,
        onProgress: (done) => done > 0.8 && controller.abort(),
      });
      await expect(network.compress({ target: { weights: 2 } })).rejects.toThrow("another request for this model");
      await expect(stopped).rejects.toThrow();
      const moved = await ask({ multiplications: 2 });
      const anew = await fresh({ multiplications: 2 });
      for (const key of ["bytes", "steps", "warnings", "layers", "worst"] as const)
        expect(moved.result[key]).toEqual(anew.result[key]);
      expect(moved.layers).toBe(0);
      expect(moved.runs).toBeLessThan(0.8 * anew.runs);
      expect(moved.fits.length).toBeLessThan(anew.fits.length);
      // another cost: no layer has other candidates
      expect((await ask({ weights: 1.7 })).layers).toBe(0);
      // and back: nothing is fitted
      const back = await ask({ multiplications: 1.6 });
      expect([back.fits, back.layers]).toEqual([[], 0]);
      expect(back.result.bytes).toEqual(first.result.bytes);
      expect(back.result.steps).toEqual(first.result.steps);
      await network.release();
      // with no memory for anything
      const poor = new OnnxCompression(dense, { ...options, memory: 1 });
      const blunt = { target: { multiplications: 2 }, refit: false };
      await poor.compress({ ...blunt, target: { multiplications: 1.6 } });
      const again = await poor.compress(blunt);
      expect(again.bytes).toEqual((await compressOnnx(dense, { ...options, ...blunt })).bytes);
      await poor.release();
    } finally {
      vi.restoreAllMocks();
    }
  });

  it("holds parts of the samples back from refits of layers with few patches, neighbours in the list together", async () => {
    const parts = vi.spyOn(MomentSums.prototype, "finish");
    const layers = vi.spyOn(LayerFits, "of");
    const ridgeParts = vi.spyOn(LayerFits.prototype, "ridgePart");
    /** of the first fits of layers with 144 inputs */
    const ridges = (): Set<number> =>
      new Set(
        layers.mock.calls.flatMap(([, { shape }, , { refit, ridge }]) =>
          !refit && shape[1]! * 9 === 144 && shape.length === 4 ? [ridge] : [],
        ),
      );
    const options = { target: { multiplications: 1.6 } };
    // 24 samples of 36 places: 864 patches for 144 inputs
    const list = samples(40, 5).map((feeds, at) => {
      const { data, ...x } = feeds.x!;
      // a third of the list is brighter: parts of neighbours have other means, of drawn samples they would hardly
      return { x: { ...x, data: Float32Array.from(data as Float32Array, (value) => value + (at < 14 ? 3 : 0)) } };
    });
    await compress(dense, { ...options, calibration: list });
    const split = (await Promise.all(parts.mock.results.map(({ value }) => value as Promise<Moments>))).filter(
      ({ parts }) => parts,
    );
    expect(split.length).toBeGreaterThan(0);
    for (const { parts } of split) {
      expect(parts!.length).toBe(3);
      const means = parts!.map(({ count, sumZ }) => sumZ.reduce((sum, value) => sum + value, 0) / count / sumZ.length);
      if (split[0]!.parts === parts) expect(means[0]! - Math.max(means[1]!, means[2]!)).toBeGreaterThan(1.5);
    }
    // first fits are drawn to the weights by as much as patches are few, and sensitivities are without that
    expect([...ridges()]).toEqual([1e-3 + 144 / (2 * 864)]);
    const shares = await Promise.all(ridgeParts.mock.results.map(({ value }) => value as Promise<number>));
    expect(Math.max(...shares)).toBeGreaterThan(1e-3);
    parts.mockClear();
    layers.mockClear();
    await compress(dense, { ...options, calibration: samples(150, 5) });
    const many = await Promise.all(parts.mock.results.map(({ value }) => value as Promise<Moments>));
    expect(many.some(({ parts, meanX }) => parts && meanX.length === 144)).toBe(false);
    expect([...ridges()]).toEqual([1e-3]);
    vi.restoreAllMocks();
  });

  it("gives the smallest model within a loss or an error, or says why there is none", async () => {
    const tight = await compress(dense, { target: { error: 1e-6 } });
    expect(tight.bytes).toBeNull();
    expect(tight.reason).toMatch(/no smaller model keeps an error of 0.000001: divided by 1.06, it already is .* int8/);
    const loose = await compress(dense, { target: { error: 0.5 }, refit: false });
    expect(loose.bytes).not.toBeNull();
    expect(loose.verified!.error).toBeLessThanOrEqual(0.5);
    const { reason } = await compress(dense, {
      ...{ target: { multiplications: 3 }, maxLoss: 0, refit: false },
      evaluate: async (run) => (await run(samples(1, 9)[0]!)).classes!.data.length - (calls++ ? 5 : 0),
    });
    expect(reason).toMatch(/it loses 5.0 of the metric, more than 0\./);
  });
  let calls = 0;

  it("gives the smallest model by the user's metric, and asks it of the original once", async () => {
    /** samples of several classes: channels are brighter in one and darker in another */
    const varied = (count: number, seed: number): OnnxFeeds[] => {
      const bright = normals(seed + 1);
      return samples(count, seed).map(({ x }) => {
        const channels = bright(C, 4);
        const data = (x!.data as Float32Array).map((value, e) => value + channels[Math.floor(e / 36)]!);
        return { x: { ...x!, data } };
      });
    };
    const seen = varied(30, 9);
    type Run = Parameters<NonNullable<CompressOnnxOptions["evaluate"]>>[0];
    const classesOf = async (run: Run): Promise<number[][]> => {
      const all: number[][] = [];
      for (const feeds of seen) all.push(Array.from((await run(feeds)).classes!.data as Float32Array));
      return all;
    };
    const original = await session(dense);
    const reference = await classesOf((feeds) => original.run(feeds));
    await original.release();
    const best = reference.map((values) => values.indexOf(Math.max(...values)));
    /** the part of the samples whose class is among the two best of another network's */
    const tolerant = (all: number[][]): number =>
      all.filter((values, at) => values.filter((value) => value > values[best[at]!]!).length < 2).length / all.length;
    const distance = (all: number[][]): number =>
      Math.max(...all.map((values, at) => Math.max(...values.map((value, e) => Math.abs(value - reference[at]![e]!)))));
    const options = { maxLoss: 0.1, refit: false, calibration: varied(60, 5) };
    const values: number[] = [];
    let originals = 0;
    const asking = (metric: (all: number[][]) => number) => async (run: Run) => {
      const all = await classesOf(run);
      if (distance(all) < 1e-5) originals++;
      values.push(metric(all));
      return values.at(-1)!;
    };
    const byAgreement = await compress(dense, options);
    const byMetric = await compress(dense, { ...options, evaluate: asking(tolerant) });
    expect(byMetric.reason).toBeNull();
    expect(byMetric.bytes!.length).toBeLessThan(0.8 * (byAgreement.bytes?.length ?? dense.length));
    expect(originals).toBe(1);
    expect(values.length).toBeLessThan(12);
    const small = await session(byMetric.bytes!);
    const after = tolerant(await classesOf((feeds) => small.run(feeds)));
    await small.release();
    expect(byMetric.verified!.metric).toEqual({ before: 1, after });
    expect(1 - after).toBeLessThanOrEqual(0.1);
    // between both: larger ones lose less, smaller ones more
    values.length = 0;
    const graded = await compress(dense, { ...options, evaluate: asking((all) => -distance(all) / 3) });
    const { metric, loss } = graded.verified!;
    expect(metric!.after).toBe(values.at(-1));
    expect(loss).toBeLessThanOrEqual(0.1);
    expect(values.some((value) => value < -0.1)).toBe(true);
    expect(graded.bytes!.length).toBeGreaterThan(byMetric.bytes!.length);
    const strict = await compress(dense, { ...options, evaluate: asking((all) => -1e4 * distance(all)) });
    expect(strict.bytes).toBeNull();
    expect(strict.reason).toMatch(
      /^no smaller model keeps a loss of 0.1 of the metric: divided by 1.06, it already is \d/,
    );
  });

  it("tells of the original and of int8 alone beside the file", async () => {
    const wide = 64;
    const logits = modelOf(
      [
        { op: "Conv", inputs: ["x", "w1"], output: "conv", attributes: { pads: [1, 1, 1, 1] } },
        { op: "Relu", inputs: ["conv"], output: "relu" },
        { op: "GlobalAveragePool", inputs: ["relu"], output: "mean" },
        { op: "Flatten", inputs: ["mean"], output: "flat" },
        { op: "Gemm", inputs: ["flat", "w2"], output: "y", attributes: { transB: 1 } },
      ],
      { w1: weight([wide, C, 3, 3], draw(wide * C * 9, 0.1)), w2: weight([K, wide], draw(K * wide)) },
      [null, C, 6, 6],
      [null, K],
    );
    const calibration = samples(40, 5);
    const options = { calibration, target: { multiplications: 3 }, refit: false, beside: true };
    const { fit, verify } = splitSamples(calibration, [], 0);
    const outputsOf = async (bytes: Uint8Array): Promise<Float32Array[]> => {
      const opened = await session(bytes);
      const all: Float32Array[] = [];
      for (const feeds of verify) all.push((await opened.run(feeds)).y!.data as Float32Array);
      await opened.release();
      return all;
    };
    const before = await outputsOf(logits);
    /** what a file is like, by hand */
    const expected = async (bytes: Uint8Array) => {
      const after = await outputsOf(bytes);
      const [y, z] = [before, after].map((all) => all.flatMap((values) => [...values])) as [number[], number[]];
      const dot = (a: number[], b: number[]): number => a.reduce((sum, value, at) => sum + value * b[at]!, 0);
      const gaps = y.map((value, at) => value - z[at]!);
      const mean = y.reduce((a, b) => a + b) / y.length;
      const centred = y.map((value) => value - mean);
      const best = (values: Float32Array): number => values.indexOf(Math.max(...values));
      return {
        error: expect.closeTo(Math.sqrt(dot(gaps, gaps) / dot(centred, centred)), 4),
        cosine: expect.closeTo(dot(y, z) / Math.sqrt(dot(y, y) * dot(z, z)), 5),
        agreement: after.filter((values, at) => best(values) === best(before[at]!)).length / verify.length,
        bytes: bytes.length,
        milliseconds: expect.any(Number),
      };
    };
    const result = await compress(logits, options);
    const model = readOnnx(logits);
    const operators = ["Conv", "Gemm"] as const;
    const ranges = await activationRanges(model, { session, feeds: fit, operators });
    const products = [model.graph.node.at(-1)!.name || "y"];
    const { model: small } = await quantiseOnnx(model, { ranges, operators, weightsOnly: products });
    const int8 = await expected(writeOnnx(small));
    const sure = { error: 0, cosine: 1, agreement: 1, milliseconds: expect.any(Number) };
    const original = { ...sure, name: "original", bytes: logits.length };
    expect(result.versions).toEqual([
      original,
      { ...int8, name: "int8" },
      { ...(await expected(result.bytes!)), name: "low rank" },
    ]);
    expect(int8.bytes / logits.length).toBeGreaterThan(0.25);
    expect(int8.bytes / logits.length).toBeLessThan(0.32);
    const times = result.versions!.map(({ milliseconds }) => milliseconds);
    expect(result.time).toEqual({ before: times[0], after: times[2] });
    for (const ms of times) expect(ms).toBeGreaterThan(0);
    const namesOf = ({ versions }: typeof result) => versions!.map(({ name }) => name);
    // a file that is not given, and none
    const lossy = await compress(logits, { ...options, maxLoss: 0, evaluate: asked() });
    expect([lossy.bytes, ...namesOf(lossy)]).toEqual([null, "original", "int8", "low rank"]);
    const none = await compress(logits, { ...options, target: { multiplications: 500 } });
    expect([none.bytes, ...namesOf(none)]).toEqual([null, "original", "int8"]);
    expect(none.time).toBeNull();
    // int8 is asked for
    const both = await compress(logits, { ...options, int8: true });
    expect(namesOf(both)).toEqual(["original", "int8", "low rank + int8"]);
    const { target: _, ...alone } = { ...options, int8: true };
    const only = await compress(logits, alone);
    expect(namesOf(only)).toEqual(["original", "int8"]);
    expect(only.versions![1]).toMatchObject(await expected(only.bytes!));
    // a runtime without int8
    const poor: typeof session = async (bytes) => {
      if (Buffer.from(bytes).includes("QuantizeLinear")) throw new Error("no int8 here");
      return session(bytes);
    };
    const apart = await compress(logits, { ...options, session: poor });
    expect(apart.bytes).toEqual(result.bytes);
    expect(namesOf(apart)).toEqual(["original", "low rank"]);
    expect(apart.warnings.join()).toMatch(/int8 alone is not told of: .*: no int8 here/);
    await expect(compressOnnx(logits, { engine, target: { weights: 2 }, beside: true })).rejects.toThrow(
      "beside needs calibration samples",
    );
  });
  /** a metric of 1, then of 0 */
  const asked = () => {
    let before = true;
    return () => {
      const value = Number(before);
      before = false;
      return value;
    };
  };

  it("tells an error of 1 where the original gives nothing but zeros and the file does not", async () => {
    const silent = modelOf(
      [
        { op: "Gemm", inputs: ["x", "w", "b"], output: "y", attributes: { transB: 1 } },
        { op: "Relu", inputs: ["y"], output: "out" },
      ],
      { w: weight([32, 24], draw(32 * 24)), b: weight([32], new Float32Array(32).fill(-0.01)) },
      [null, 24],
      [null, 32],
    );
    const noise = normals(3);
    const of = (make: () => Float32Array, count: number): OnnxFeeds[] =>
      Array.from({ length: count }, () => ({ x: { dtype: "float32", shape: [1, 24], data: make() } }));
    const calibration = of(() => noise(24).map((value) => value + 0.5), 60);
    const target = { weights: 2 };
    const asleep = await compress(silent, { calibration, target, verification: of(() => new Float32Array(24), 3) });
    expect(asleep.verified!.error).toBe(1);
    // all samples give zeros, and so does the file
    const never = of(() => noise(24).map((value) => value / 1e6), 60);
    expect((await compress(silent, { calibration: never, target })).verified!.error).toBe(0);
  });

  it("says what cannot be", async () => {
    const huge = await compress(dense, { target: { multiplications: 500 } });
    expect(huge.reason).toMatch(/no choice of ranks divides the multiplications by 500: at most by \d/);
    const few = await compress(dense, { target: { weights: 1.3 }, calibration: samples(3, 1), refit: false });
    expect(few.warnings.join()).toContain("3 samples are few");
    expect(few.warnings.join()).toMatch(/few patches for their inputs.*conv \(36 for 144 inputs\)/);
    const same = samples(1, 1)[0]!;
    const alike = await compress(dense, {
      ...{ target: { weights: 1.3 }, calibration: [same, same, structuredClone(same)], refit: false },
    });
    expect(alike.warnings.join()).toContain("all samples are the same");
    expect(few.warnings.join()).not.toContain("the same");
    await expect(compress(dense, { target: { weights: 1.3 }, calibration: samples(2, 1) })).rejects.toThrow(
      "compressOnnx: 2 samples, needs 3 or more: one to fit, one to choose by, one to verify with; 32 or more",
    );
    await expect(
      compress(dense, { target: { weights: 1.3 }, calibration: samples(1, 1), verification: samples(1, 2) }),
    ).rejects.toThrow("compressOnnx: 1 sample, needs 2 or more: one to fit, one to choose by;");
    const [broken] = samples(1, 1);
    (broken!.x!.data as Float32Array)[5] = Number.NaN;
    await expect(compress(dense, { target: { weights: 1.3 }, calibration: [broken!, same, same] })).rejects.toThrow(
      "compressOnnx: sample 0, input x: entry 5 is NaN, needs numbers",
    );
    const weights = { w: { shape: [4, 4], data: new Float32Array(16).fill(1) } };
    weights.w.data[7] = Number.NaN;
    const product = modelOf([{ op: "MatMul", inputs: ["x", "w"], output: "y" }], weights, [1, 4], [1, 4]);
    await expect(compressOnnx(product, { engine, target: { weights: 2 }, smallest: 0 })).rejects.toThrow(
      "has a weight that is NaN",
    );
    const nothing = modelOf([{ op: "Relu", inputs: ["x"], output: "y" }], {}, [1, 4], [1, 4]);
    const unknown = modelOf([{ op: "MatMul", inputs: ["x", "x"], output: "y" }], {}, [null, null], [null, null]);
    expect((await compressOnnx(unknown, { engine, target: { multiplications: 2 } })).reason).toMatch(
      /^nothing in this model can be factorised/,
    );
    const none = await compressOnnx(nothing, { engine, target: { weights: 2 } });
    expect(none.reason).toBe("nothing in this model can be factorised");
  });

  it("measures layers in the runtime for a target of time", async () => {
    const result = await compress(network(true), { target: { time: 1.01 }, refit: false });
    // how fast layers are is the machine's affair
    if (result.bytes) expect(result.time!.before).toBeGreaterThan(0);
    else expect(result.reason).toMatch(/time by 1.01/);
  });

  it("compresses a transposed convolution, with taps that overlap too", async () => {
    for (const [taps, error] of [
      [2, 1e-4],
      [3, 0.02],
    ] as const) {
      const bytes = modelOf(
        [
          { op: "ConvTranspose", inputs: ["x", "w", "b"], output: "up", attributes: { strides: [2, 2] } },
          { op: "Relu", inputs: ["up"], output: "y" },
        ],
        {
          w: weight([C, F, taps, taps], lowRank(draw, C, F * taps ** 2, 4)),
          b: weight([F], draw(F)),
        },
        [null, C, 6, 6],
        [null, F, 10 + taps, 10 + taps],
      );
      const result = await compress(bytes, { target: { multiplications: 3 }, multiple: 2 });
      expect(result.layers[0]).toMatchObject({ op: "ConvTranspose", scheme: "pointwiseFirst", ranks: [4] });
      expect(result.multiplications.before).toBe(36 * C * F * taps ** 2);
      expect(result.multiplications.after).toBe(36 * 4 * (C + F * taps ** 2));
      expect([taps, result.verified!.error, result.verified!.error < error]).toMatchObject([
        taps,
        expect.anything(),
        true,
      ]);
      // a rank too few: the mean of the outputs stays
      const small = await compress(bytes, { target: { multiplications: 6 }, multiple: 2 });
      expect(small.layers[0]!.ranks).toEqual([2]);
      expect(small.verified!.error).toBeGreaterThan(error);
      expect(small.verified!.error).toBeLessThan(0.9);
    }
  });

  it("compresses convolutions in groups, with the same ranks for each", async () => {
    const [groups, rank] = [2, 3];
    const rows = Array.from({ length: groups }, () => lowRank(draw, F / groups, (C / groups) * 9, rank));
    const bytes = modelOf(
      [
        { op: "Conv", inputs: ["x", "w", "b"], output: "c", attributes: { pads: [1, 1, 1, 1], group: groups } },
        { op: "Relu", inputs: ["c"], output: "y" },
      ],
      {
        w: weight([F, C / groups, 3, 3], Float32Array.from(rows.flatMap((part) => [...part]))),
        b: weight([F], draw(F)),
      },
      [null, C, 6, 6],
      [null, F, 6, 6],
    );
    const result = await compress(bytes, { target: { multiplications: 3 } });
    expect(result.layers[0]).toMatchObject({ op: "Conv", scheme: "kernelFirst", ranks: [rank] });
    expect(result.multiplications.after).toBe(36 * groups * rank * ((C / groups) * 9 + F / groups));
    expect(result.verified!.error).toBeLessThan(1e-4);
    const small = await compress(bytes, { target: { multiplications: 6 } });
    expect(small.layers[0]!.refitted || small.layers[0]!.scheme).toBeTruthy();
    expect(small.verified!.error).toBeGreaterThan(1e-3);
    expect(small.verified!.error).toBeLessThan(0.9);
  });

  const projections = lowRank(draw, F, 3 * F, 4);
  /** Layers of low rank: by what multiplications are divided to be a rank too few; nodes, weights, the shapes of inputs and outputs. */
  const kinds: [string, number, Parameters<typeof modelOf>][] = [
    [
      "of signals",
      7,
      [
        [
          { op: "Conv", inputs: ["x", "w", "b"], output: "c", attributes: { pads: [2, 1], strides: [2] } },
          { op: "Relu", inputs: ["c"], output: "y" },
        ],
        { w: weight([F, C, 5], lowRank(draw, F, C * 5, 4)), b: weight([F], draw(F)) },
        ...([
          [null, C, 24],
          [null, F, 12],
        ] as const),
      ],
    ],
    [
      "of volumes",
      7,
      [
        [
          { op: "Conv", inputs: ["x", "w", "b"], output: "c", attributes: { pads: [1, 0, 1, 1, 0, 1] } },
          { op: "Relu", inputs: ["c"], output: "y" },
        ],
        { w: weight([F, C, 3, 1, 3], lowRank(draw, F, C * 9, 4)), b: weight([F], draw(F)) },
        ...([
          [null, C, 4, 3, 5],
          [null, F, 4, 3, 5],
        ] as const),
      ],
    ],
    [
      "of the tokens of a transformer",
      4,
      [
        [
          ...["q", "k", "v"].map((name) => ({ op: "MatMul", inputs: ["x", `w_${name}`], output: `${name}_product` })),
          ...["q", "k", "v"].map((name) => ({ op: "Add", inputs: [`${name}_product`, `b_${name}`], output: name })),
          { op: "Transpose", inputs: ["k"], output: "turned", attributes: { perm: [0, 2, 1] } },
          { op: "MatMul", inputs: ["q", "turned"], output: "scores" },
          { op: "Softmax", inputs: ["scores"], output: "shares" },
          { op: "MatMul", inputs: ["shares", "v"], output: "y" },
        ],
        Object.fromEntries(
          ["q", "k", "v"].flatMap((name, at) => [
            // one factor for all three
            [
              `w_${name}`,
              weight(
                [F, F],
                projections.filter((_, e) => Math.floor((e % (3 * F)) / F) === at),
              ),
            ],
            [`b_${name}`, weight([F], draw(F, 0.1))],
          ]),
        ),
        ...([
          [null, 6, F],
          [null, 6, F],
        ] as const),
      ],
    ],
  ];
  it.each(kinds)(
    "compresses layers %s, as onnx's checker takes them",
    async (_, few, [nodes, weights, input, output]) => {
      const bytes = modelOf(nodes, weights, input, output);
      const shape = input.map((extent) => extent ?? 1);
      const noise = normals(8);
      const calibration = Array.from({ length: 40 }, () => {
        const data = noise(shape.reduce((a, b) => a * b, 1)).map((value) => value + 0.5);
        return { x: { dtype: "float32", shape, data } };
      });
      const result = await compress(bytes, { calibration, target: { multiplications: 2.5 }, multiple: 2 });
      expect(result.multiplications.after!).toBeLessThanOrEqual(result.multiplications.before! / 2.5);
      expect(result.verified!.error).toBeLessThan(2e-3);
      expect(result.layers.every(({ scheme }) => scheme !== null)).toBe(true);
      const small = await compress(bytes, { calibration, target: { multiplications: few }, multiple: 2 });
      // a rank too few: most of the outputs is kept, and the means are
      expect(small.verified!.error).toBeGreaterThan(2e-3);
      expect(small.verified!.error).toBeLessThan(0.95);
      const files = new Map(Object.entries({ "near.onnx": result.bytes!, "small.onnx": small.bytes! }));
      expect(checkOnnx(files)).toBe("");
    },
  );

  it("reads MatMul with a bias behind it, and a value of several outputs", async () => {
    const bytes = fixture("transformer.onnx");
    const model = readOnnx(bytes);
    const ids = samplesOf(
      model,
      new Map([["tokens", { shape: [6, 5], data: Int32Array.from({ length: 30 }, (_, k) => k % 10) }]]),
    );
    const result = await compressOnnx(bytes, {
      engine,
      session,
      calibration: ids,
      target: { weights: 1.2 },
      smallest: 0,
      refit: false,
    });
    expect(result.reason === null || result.reason.includes("divides")).toBe(true);
  });

  it("refuses options and samples that do not fit, by name", async () => {
    const attempt = (more: object) =>
      compressOnnx(dense, { engine, target: { weights: 2 }, ...more } as CompressOnnxOptions);
    await expect(attempt({ target: undefined })).rejects.toThrow(
      "needs a target, as in { multiplications: 2 }, or maxLoss",
    );
    await expect(attempt({ target: { size: 2 } })).rejects.toThrow(
      "target is an object (Object), needs an object with one of",
    );
    await expect(attempt({ target: { weights: 0.5 } })).rejects.toThrow("target");
    await expect(attempt({ calibration: samples(3, 1) })).rejects.toThrow("calibration needs session");
    await expect(attempt({ target: { time: 2 } })).rejects.toThrow("a target of time needs calibration samples");
    await expect(attempt({ maxLoss: 0.1 })).rejects.toThrow("maxLoss needs calibration samples");
    await expect(attempt({ session, calibration: [{ y: samples(1, 1)[0]!.x! }] })).rejects.toThrow(
      "sample 0, input x: is missing",
    );
    const short = { x: { dtype: "float32", shape: [1, C, 6, 6], data: new Float32Array(3) } };
    await expect(attempt({ session, calibration: [short] })).rejects.toThrow(
      "has 3 entries, its shape 1×16×6×6 needs others",
    );
    await expect(attempt({ target: { multiplications: 2 } })).rejects.toThrow(
      "the multiplications of model.onnx are unknown",
    );
    const controller = new AbortController();
    controller.abort();
    await expect(attempt({ signal: controller.signal })).rejects.toThrow();
  });
});

/** ‖y − ŷ‖ ÷ ‖y‖ of the logits on fresh samples. */
async function relativeError(a: Uint8Array, b: Uint8Array): Promise<number> {
  const [one, other] = [await session(a), await session(b)];
  let [lost, total] = [0, 0];
  for (const feeds of samples(8, 77)) {
    const [y, z] = [
      (await one.run(feeds)).classes!.data,
      (await other.run(feeds)).classes!.data,
    ] as unknown as Float32Array[];
    for (let i = 0; i < y!.length; i++) {
      lost += (Math.log(y![i]!) - Math.log(z![i]!)) ** 2;
      total += Math.log(y![i]!) ** 2;
    }
  }
  await one.release();
  await other.release();
  return Math.sqrt(lost / total);
}

describe("samplesOf", () => {
  const model = readOnnx(network(true));
  const array = (...shape: number[]) => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });

  it("takes samples along the first axis, of several shapes", () => {
    expect(samplesOf(model, new Map([["any", array(5, C, 6, 6)]])).length).toBe(5);
    const several = samplesOf(
      model,
      new Map([
        ["x.0", array(2, C, 6, 6)],
        ["x.1", array(1, C, 6, 6)],
      ]),
    );
    expect(several.map(({ x }) => x!.shape.join())).toEqual(["1,16,6,6", "1,16,6,6", "1,16,6,6"]);
  });

  it("says what does not fit", () => {
    expect(() =>
      samplesOf(
        model,
        new Map([
          ["a", array(1)],
          ["b", array(1)],
        ]),
        "s.npz",
      ),
    ).toThrow('s.npz: has "a", and the model\'s inputs are x');
    const holed = array(2, C, 6, 6);
    holed.data[C * 36 + 7] = Number.NaN;
    expect(() => samplesOf(model, new Map([["x", holed]]), "s.npz")).toThrow(
      "s.npz: x: entry [1, 0, 1, 1] is NaN, and samples need numbers",
    );
    expect(() => samplesOf(model, new Map([["x", array(4, 3, 6, 6)]]), "s.npz")).toThrow(
      "x is 4×3×6×6, the model takes ?×16×6×6",
    );
    expect(() => samplesOf(model, new Map(), "s.npz")).toThrow("has no samples");
  });

  it("quantises to int8 on top, or alone", async () => {
    const bytes = network(true);
    // how much rounding brings differs from network to network
    const errors = { plain: 0, rounded: 0 };
    for (const [at, target] of [{ multiplications: 2 }, undefined, { multiplications: 2 }].entries()) {
      const result = await compress(at === 2 ? network(true) : bytes, { int8: true, ...(target && { target }) });
      expect(result.reason).toBe(null);
      const { quantised, inFloat } = result.int8!;
      expect(quantised.filter(({ op }) => op === "Gemm").length).toBeGreaterThan(0);
      expect(inFloat).toEqual([]);
      const [plain, rounded] = result.steps.filter(({ name }) => name.startsWith("int8: "));
      expect(plain!.name).toContain("convolution");
      expect(rounded!.name).toBe("int8: weights rounded for the outputs");
      expect(rounded!.kept).toBe(true);
      errors.plain += plain!.error;
      errors.rounded += rounded!.error;
      const ops = readOnnx(result.bytes!).graph.node.map(({ opType }) => opType);
      expect(ops.filter((op) => op === "QuantizeLinear").length).toBeGreaterThan(1);
      expect(readOnnx(result.bytes!).metadata.get("tenfold.quantised")).toContain("int8 weights up to 64");
      expect(result.layers.some(({ scheme }) => scheme)).toBe(!!target);
      expect(result.verified!.error).toBeGreaterThan(1e-4);
      expect(result.verified!.error).toBeLessThan(target ? 0.2 : 0.06);
      expect(result.steps.some(({ name, kept }) => kept && name.startsWith("int8: "))).toBe(true);
    }
    // the planted networks' inputs hang together
    expect(errors.rounded).toBeLessThan(0.8 * errors.plain);
    await expect(compressOnnx(bytes, { engine, int8: true })).rejects.toThrow("int8 needs calibration samples");
  });

  it("keeps activations of light convolutions in floats where held-back samples are nearer by it", async () => {
    const calibration = digits(48);
    const result = await compress(resnet, { calibration, int8: true });
    const shapes = { images: [1, 1, 28, 28] };
    const ending = " by its weights alone";
    const all = result.steps.filter(({ name }) => name.startsWith("int8: "));
    const tried = all.filter(({ name }) => name.endsWith(ending));
    const nameOf = ({ name }: { name: string }): string => name.slice("int8: ".length, -ending.length);
    const { sites, totals } = onnxSites((await foldOnnx(readOnnx(resnet))).model, { smallest: 0, shapes });
    const shareOf = new Map(sites.map(({ name, counts }) => [name, counts.multiplications! / totals.multiplications!]));
    const convolutions = sites.filter(({ op }) => op === "Conv").map(({ name }) => name);
    const isLight = (name: string) => shareOf.get(name)! < 0.03;
    const ends = [convolutions[0], convolutions.at(-1)];
    expect(tried.map(nameOf)).toEqual(convolutions.filter((name) => ends.includes(name) || isLight(name)));
    expect(tried.length).toBeGreaterThan(2);
    // each that stays is worth what it costs, and in the file its input is no integer
    let error = Number.POSITIVE_INFINITY;
    const inFloats: string[] = [];
    for (const step of all) {
      if (!tried.includes(step)) {
        if (step.kept) error = step.error;
        continue;
      }
      const least = Math.max(0.02, 3 * shareOf.get(nameOf(step))!);
      expect(step.kept, step.name).toBe(step.error < (1 - least) * error);
      if (!step.kept) continue;
      error = step.error;
      inFloats.push(nameOf(step));
    }
    const { graph } = readOnnx(result.bytes!);
    const makers = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node.opType])));
    for (const node of graph.node.filter(({ opType }) => opType === "Conv"))
      expect(makers.get(node.input[0]!) === "DequantizeLinear", node.name).toBe(!inFloats.includes(node.name));
  });
});
