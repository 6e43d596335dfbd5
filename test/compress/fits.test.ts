/** Errors of a plan's candidates: none at full or planted ranks, and no larger ones where fits know the inputs. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CompressionPlan, METHODS } from "../../src/compress/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { Conv2d, Flatten, type Layer, Linear, MaxPool2d, Sequential } from "../../src/nn/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

let engine: Engine;
let calibration: Tensor;
const INPUT = [4, 6, 6];
const SAMPLES = 20;
beforeAll(async () => {
  engine = await testEngine();
  calibration = engine.tensor([SAMPLES, ...INPUT], correlated(SAMPLES, INPUT));
});
afterAll(() => calibration.destroy());

/** Images with correlated pixels and channels: random sums of three waves, and a little noise. */
function correlated(samples: number, [channels, height, width]: readonly number[]): Float32Array {
  const weights = randomArray(samples * 3, 5);
  const noise = randomArray(samples * channels! * height! * width!, 6);
  return noise.map((value, index) => {
    const x = index % width!;
    const y = Math.floor(index / width!) % height!;
    const channel = Math.floor(index / (width! * height!)) % channels!;
    const sample = Math.floor(index / (width! * height! * channels!));
    const wave = [Math.sin(x + channel), Math.cos(y), 1 + 0.2 * channel];
    return wave.reduce((sum, height, at) => sum + height * weights[sample * 3 + at]!, 0.05 * value);
  });
}

/** A kernel outputs×inputs×3×3 with these entries. */
function kernel(outputs: number, inputs: number, entry: (o: number, c: number, y: number, x: number) => number) {
  return Float32Array.from({ length: outputs * inputs * 9 }, (_, index) => {
    const [o, c] = [Math.floor(index / (inputs * 9)), Math.floor(index / 9) % inputs];
    return entry(o, c, Math.floor(index / 3) % 3, index % 3);
  });
}

describe("a plan's candidates", () => {
  const layers = (): Layer[] => [
    new Conv2d({ inputs: 4, outputs: 6, kernel: 3, padding: 1, activation: "relu" }),
    new MaxPool2d(2),
    new Conv2d({ inputs: 6, outputs: 5, kernel: 2, activation: "relu" }),
    new Flatten(),
    new Linear(20, 12, { activation: "relu" }),
    new Linear(12, 5),
  ];

  it.each(["svd", "tt", "jaderberg1", "jaderberg2", "tucker2"])(
    "%s: full ranks are the layers themselves",
    async (method) => {
      using model = await Sequential.create(engine, layers(), { inputShape: INPUT, seed: 3 });
      for (const whiten of [false, true]) {
        const plan = await CompressionPlan.create(model, { method, calibration, shares: [1], whiten });
        const decompositions = plan.layers.flatMap(({ candidates }) => candidates.slice(1));
        expect(decompositions.length).toBe(
          plan.layers.filter(({ index }) => plan.method.of(model.layers[index]!)).length,
        );
        for (const { weightError, outputError } of decompositions) {
          expect(weightError).toBeLessThan(1e-5);
          expect(outputError).toBeLessThan(1e-5);
        }
      }
    },
  );

  // a ring of 2·4×2·3 modes can be any matrix from rank 4 on; `full` of a ring is a limit on what is worth trying, not that rank
  it("ring: a rank at which rings can be any matrix gives the layer itself", async () => {
    using model = await Sequential.create(engine, [new Linear(8, 6)], { inputShape: [8], seed: 3 });
    using x = engine.tensor([30, 8], randomArray(240));
    for (const whiten of [false, true]) {
      const plan = await CompressionPlan.create(model, { method: "ring", calibration: x, shares: [], whiten });
      const { model: same, layers } = await plan.select({ ranks: { 0: [4] } }, { force: true });
      same.destroy();
      expect(layers[0]!.staysBecause).toBe("");
      expect(layers[0]!.weightError).toBeLessThan(1e-5);
      expect(layers[0]!.outputError).toBeLessThan(1e-5);
    }
  });

  const a = randomArray(200, 21);
  const at = (start: number, index: number) => a[start + index]!;
  const planted: { method: string; ranks: number[]; weight: Float32Array; tolerance: number }[] = [
    ...["cp", "cp-corrected"].map((method) => ({
      method,
      ranks: [2],
      weight: kernel(6, 4, (o, c, y, x) =>
        [0, 1].reduce((s, r) => s + at(r * 20, o) * at(r * 20 + 6, c) * at(r * 20 + 10, y) * at(r * 20 + 13, x), 0),
      ),
      // ALS stops where a sweep changes the error by less than 1e-5; the correction allows an error of 5e-3 for smaller terms
      tolerance: method === "cp" ? 5e-4 : 1e-2,
    })),
    {
      method: "btd",
      ranks: [1, 2],
      weight: kernel(6, 4, (o, c, y, x) =>
        [0, 1].reduce(
          (s, g) =>
            s +
            at(60 + g * 40, c) *
              [0, 1].reduce((t, q) => t + at(64 + g * 40 + q * 6, o) * at(76 + g * 40 + q * 9, y * 3 + x), 0),
          0,
        ),
      ),
      tolerance: 1e-5,
    },
  ];
  it.each(planted)(
    "$method: finds a kernel that has the form of the method",
    async ({ method, ranks, weight, tolerance }) => {
      const layer = new Conv2d({ inputs: 4, outputs: 6, kernel: 3, weight, activation: "relu" });
      using model = await Sequential.create(engine, [layer], { inputShape: INPUT, seed: 3 });
      for (const whiten of [false, true]) {
        const plan = await CompressionPlan.create(model, { method, calibration, shares: [], whiten });
        const { model: small, layers: report } = await plan.select({ ranks: { 0: ranks } }, { force: true });
        small.destroy();
        expect(report[0]!.staysBecause).toBe("");
        expect(report[0]!.weightError).toBeLessThan(tolerance);
        expect(report[0]!.outputError).toBeLessThan(tolerance);
      }
    },
  );

  /** Output errors of all candidates, of fits that know the inputs and of fits that do not. */
  async function outputErrors(model: Sequential, method: string, samples: Tensor, shares: number[]) {
    const errors: number[][] = [];
    for (const whiten of [true, false]) {
      const plan = await CompressionPlan.create(model, { method, calibration: samples, shares, whiten, seed: 1 });
      errors.push(plan.layers.flatMap(({ candidates }) => candidates.slice(1).map(({ outputError }) => outputError)));
    }
    return errors as [whitened: number[], plain: number[]];
  }

  it.each(METHODS.map(({ name }) => name))("%s: errs no more in the outputs for knowing the inputs", async (method) => {
    const layers = [
      new Conv2d({ inputs: 4, outputs: 6, kernel: 3, padding: 1, activation: "relu" }),
      new MaxPool2d(2),
      new Flatten(),
      new Linear(54, 12, { activation: "relu" }),
    ];
    using model = await Sequential.create(engine, layers, { inputShape: INPUT, seed: 4 });
    const [whitened, plain] = await outputErrors(model, method, calibration, [0.3]);
    whitened.forEach((error, at) => void expect(error).toBeLessThanOrEqual(plain[at]! * (1 + 1e-6)));
    // and some error is smaller
    expect(whitened.some((error, at) => error < 0.95 * plain[at]!)).toBe(true);
  });

  it.each(METHODS.map(({ name }) => name))(
    "%s: errs no more where the activation hides what the covariance weighs",
    async (method) => {
      // half of the outputs depend on large inputs, and relu makes these outputs 0; the other half depend on small inputs
      const bias = Float32Array.from({ length: 6 }, (_, o) => (o < 3 ? -1e4 : 0));
      const reads = (o: number, c: number, quiet: number) => (c === (o < 3 ? 0 : 1) ? (o < 3 ? 0.1 : 1) : quiet);
      const images = randomArray(12 * 4 * 25, 8).map((value, e) => Math.abs(value) * (Math.floor(e / 25) % 4 ? 1 : 99));
      const weight = kernel(6, 4, (o, c, y, x) => reads(o, c, 1e-3) * (1 + 0.1 * Math.sin(o + 2 * c + 3 * y * x)));
      const rows = randomArray(12 * 4, 9).map((value, e) => Math.abs(value) * (e % 4 ? 1 : 99));
      const dense = Float32Array.from({ length: 24 }, (_, e) => reads(e >> 2, e & 3, 1e-3) + 1e-2 * Math.sin(5 * e));
      for (const [layer, shape, values] of [
        [new Conv2d({ inputs: 4, outputs: 6, kernel: 3, weight, bias, activation: "relu" }), [4, 5, 5], images],
        [new Linear(4, 6, { weight: dense, bias, activation: "relu" }), [4], rows],
      ] as const) {
        using model = await Sequential.create(engine, [layer], { inputShape: shape, seed: 4 });
        using samples = engine.tensor([12, ...shape], values);
        const [whitened, plain] = await outputErrors(model, method, samples, [0.01]);
        whitened.forEach((error, at) => void expect(error).toBeLessThanOrEqual(plain[at]! * (1 + 1e-6)));
      }
    },
  );

  it("are plain fits where a layer's inputs are all 0", async () => {
    // biases so low that relu gives zeros only, before a convolution and before a dense layer
    const dead = (outputs: number) => new Float32Array(outputs).fill(-1e3);
    const layers: Layer[] = [
      new Conv2d({ inputs: 4, outputs: 3, kernel: 3, padding: 1, bias: dead(3), activation: "relu" }),
      new Conv2d({ inputs: 3, outputs: 4, kernel: 3, padding: 1 }),
      new Flatten(),
      new Linear(144, 10, { bias: dead(10), activation: "relu" }),
      new Linear(10, 6),
    ];
    using model = await Sequential.create(engine, layers, { inputShape: INPUT, seed: 4 });
    for (const method of ["tt", "jaderberg2", "tucker2"]) {
      const of = (whiten: boolean) =>
        CompressionPlan.create(model, { method, calibration, shares: [0.3], whiten, seed: 1 });
      const [plain, whitened] = [await of(false), await of(true)];
      for (const index of [1, 4]) {
        const [dataAware, byWeight] = [whitened, plain].map((plan) => plan.layers[index]!.candidates[1]);
        expect(dataAware === undefined).toBe(index === 1 && method === "tt");
        if (!dataAware) continue;
        expect(dataAware.weightError).toBe(byWeight!.weightError);
        expect(dataAware.outputError).toBe(0);
      }
    }
  });
});
