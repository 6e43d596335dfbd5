/** Compression of networks that are graphs, and the second moments that fits are weighed by. */
import { describe, expect, it } from "vitest";
import { Activations } from "../../src/compress/activations.js";
import { secondMoments } from "../../src/compress/calibrate.js";
import { CompressionPlan, compress } from "../../src/compress/index.js";
import {
  Add,
  type AddPlace,
  BatchNorm,
  Chain,
  Concat,
  Conv2d,
  type Conv2dOptions,
  Flatten,
  GlobalAveragePool,
  Linear,
  loadModel,
  Network,
  ReLU,
  Sequential,
  saveModel,
  Tucker2Conv,
} from "../../src/nn/index.js";
import { copy } from "../../src/ops/index.js";
import { expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

describe("second moments agree with f64", () => {
  /** E[p·pᵀ] of the patches at every `steps`-th output, by loops. */
  function byLoops(values: Float32Array, sample: readonly number[], layer: Conv2d, steps: number[], pad: number[]) {
    const [channels, height, width] = sample as [number, number, number];
    const [, outHeight, outWidth] = layer.outputShape(sample) as [number, number, number];
    const { kernel, stride, dilation } = layer;
    const n = channels * kernel[0] * kernel[1];
    const sums = new Float64Array(n * n);
    let count = 0;
    const batch = values.length / (channels * height * width);
    for (let b = 0; b < batch; b++)
      for (let y = 0; y < outHeight; y += steps[0]!)
        for (let x = 0; x < outWidth; x += steps[1]!, count++) {
          const patch = Array.from({ length: n }, (_, at) => {
            const [c, ky, kx] = [
              Math.floor(at / (kernel[0] * kernel[1])),
              Math.floor(at / kernel[1]) % kernel[0],
              at % kernel[1],
            ];
            const [iy, ix] = [y * stride[0] - pad[0]! + ky * dilation[0], x * stride[1] - pad[1]! + kx * dilation[1]];
            if (iy < 0 || ix < 0 || iy >= height || ix >= width) return 0;
            return values[((b * channels + c) * height + iy) * width + ix]!;
          });
          for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) sums[i * n + j]! += patch[i]! * patch[j]!;
        }
    return sums.map((value) => value / count);
  }

  const cases: {
    options: Omit<Conv2dOptions, "inputs" | "outputs">;
    sample: number[];
    steps: number[];
    pad: number[];
  }[] = [
    { options: { kernel: 3 }, sample: [2, 5, 7], steps: [1, 1], pad: [0, 0] },
    {
      options: { kernel: [3, 2], padding: [[2, 0], 1], stride: [2, 1] },
      sample: [3, 9, 6],
      steps: [1, 1],
      pad: [2, 1],
    },
    { options: { kernel: 3, padding: "same", dilation: 2 }, sample: [1, 17, 23], steps: [3, 3], pad: [2, 2] },
    { options: { kernel: [5, 4], padding: "same", stride: 2 }, sample: [1, 20, 19], steps: [2, 2], pad: [1, 1] },
    { options: { kernel: 1 }, sample: [4, 8, 9], steps: [1, 2], pad: [0, 0] },
  ];
  it.each(cases)("of patches, $options of $sample", async ({ options, sample, steps, pad }) => {
    const engine = await testEngine();
    const layer = new Conv2d({ inputs: sample[0]!, outputs: 2, ...options });
    const values = randomArray(5 * sample.reduce((a, b) => a * b, 1), 3).map((v) => 1 + v);
    using x = engine.tensor([5, ...sample], values);
    const expected = byLoops(values, sample, layer, steps, pad);
    const all = await secondMoments(engine, layer, x);
    expectClose(all, expected, 1e-6);
    // two samples at a time
    const width = layer.weight.shape.slice(1).reduce((a, b) => a * b, 1);
    const [, height, across] = layer.outputShape(sample) as [number, number, number];
    const places = Math.ceil(height / steps[0]!) * Math.ceil(across / steps[1]!);
    expectClose(await secondMoments(engine, layer, x, 2 * width * places), expected, 1e-6);
  });

  it("of vectors", async () => {
    const engine = await testEngine();
    const values = randomArray(301 * 7, 3);
    using x = engine.tensor([301, 7], values);
    const expected = new Float64Array(49);
    for (let row = 0; row < 301; row++)
      for (let i = 0; i < 7; i++)
        for (let j = 0; j < 7; j++) expected[7 * i + j]! += (values[7 * row + i]! * values[7 * row + j]!) / 301;
    expectClose(await secondMoments(engine, new Linear(7, 2), x), expected, 1e-6);
    expectClose(await secondMoments(engine, new Linear(7, 2), x, 700), expected, 1e-6);
  });
});

it("fits are weighed by few samples, too, with a mean far from 0", async () => {
  const engine = await testEngine();
  using model = await Sequential.create(engine, [new Linear(90, 40, { activation: "relu" }), new Linear(40, 3)], {
    inputShape: [90],
    seed: 3,
  });
  using calibration = engine.tensor(
    [11, 90],
    randomArray(11 * 90, 2).map((v) => 2 + v),
  );
  const plans = [];
  for (const whiten of [true, false])
    plans.push(await CompressionPlan.create(model, { method: "svd", calibration, shares: [0.2], whiten }));
  const [whitened, plain] = plans.map(({ layers }) => layers[0]!.candidates[1]!.outputError);
  expect(whitened).toBeLessThan(plain! / 3);
});

it("fits a layer by its weight where it has more inputs than there is room for moments of", async () => {
  const engine = await testEngine();
  const inputs = Math.floor(Math.sqrt(engine.device.limits.maxStorageBufferBindingSize / 4)) + 1;
  using model = await Sequential.create(engine, [new Linear(inputs, 6), new Linear(6, 3)], { inputShape: [inputs] });
  using calibration = engine.tensor([5, inputs], randomArray(5 * inputs, 2));
  const plan = await CompressionPlan.create(model, { method: "svd", calibration, shares: [0.5, 1] });
  const [, half, full] = plan.layers[0]!.candidates;
  expect(half!.outputError).toBeGreaterThan(0.01);
  expect(full!.outputError).toBeLessThan(1e-5);
});

it.each(["jaderberg1", "jaderberg2", "cp-corrected", "btd", "tucker2"])(
  "fits a convolution of zeros, and one with a channel of zeros (%s)",
  async (method) => {
    const engine = await testEngine();
    const layers = [new Conv2d({ inputs: 2, outputs: 4, kernel: 3, weight: new Float32Array(72) }), new Flatten()];
    using model = await Sequential.create(engine, [...layers, new Linear(16, 2)], { inputShape: [2, 4, 4] });
    using calibration = engine.tensor([3, 2, 4, 4], randomArray(96, 2));
    const plan = await CompressionPlan.create(model, { method, calibration, shares: [0.5] });
    const [, candidate] = plan.layers[0]!.candidates;
    expect([candidate!.outputError, candidate!.weightError, candidate!.loss]).toEqual([0, 0, 0]);
    // the first of two input channels
    const weight = randomArray(72, 3).map((value, at) => (at % 18 < 9 ? 0 : value));
    const some = [new Conv2d({ inputs: 2, outputs: 4, kernel: 3, weight }), new Flatten(), new Linear(16, 2)];
    using other = await Sequential.create(engine, some, { inputShape: [2, 4, 4] });
    const again = await CompressionPlan.create(other, { method, calibration, shares: [0.5, 1] });
    const errors = again.layers[0]!.candidates.slice(1).map(({ outputError }) => outputError);
    for (const error of errors) expect(error).toBeLessThan(1);
    expect(errors.at(-1)!).toBeLessThan(errors[0]! + 1e-6);
  },
);

it("frees what no later place reads, as it goes on", async () => {
  const engine = await testEngine();
  const layers = Array.from({ length: 6 }, () => new Linear(64, 64));
  using model = await Sequential.create(engine, layers, { inputShape: [64] });
  using calibration = engine.tensor([100, 64], randomArray(6400, 2));
  const before = engine.memory().live;
  {
    using activations = await Activations.of(model, calibration);
    const live: number[] = [];
    for (const index of layers.keys()) {
      await activations.layerError(index, model.layers[index]!);
      live.push(engine.memory().live);
    }
    // of the first place the input is the samples themselves
    expect(live[1]! - live[0]!).toBeGreaterThan(0);
    for (const later of live.slice(2)) expect(later).toBe(live[1]);
    await activations.layerError(0, model.layers[0]!);
    expect(engine.memory().live).toBe(live[0]);
  }
  expect(engine.memory().live).toBe(before);
});

describe("convolutions with groups", () => {
  const sample = [6, 6, 5];
  const groups = () => [
    new Conv2d({
      inputs: 6,
      outputs: 9,
      kernel: [3, 2],
      stride: [1, 2],
      padding: [[1, 0], 1],
      groups: 3,
      activation: "silu",
    }),
    new Conv2d({ inputs: 9, outputs: 6, kernel: 1, groups: 3, bias: false }),
    new Conv2d({ inputs: 6, outputs: 6, kernel: 3, groups: 6 }),
  ];

  it.each(["tucker2", "jaderberg1", "jaderberg2"])("are decomposed group by group (%s)", async (method) => {
    const engine = await testEngine();
    using model = await Sequential.create(engine, groups(), { inputShape: sample, seed: 2 });
    using calibration = engine.tensor([6, ...sample], randomArray(6 * 180, 2));
    const plan = await CompressionPlan.create(model, { method, calibration, shares: [1] });
    const [wide, pointwise, depthwise] = plan.layers;
    for (const { candidates } of [wide!, pointwise!]) {
      expect(candidates.length).toBeGreaterThan(1);
      for (const candidate of candidates.slice(1)) expect(candidate.ranks.length).toBeGreaterThan(0);
    }
    const full = wide!.candidates.at(-1)!;
    expect(full.outputError).toBeLessThan(1e-4);
    expect(full.weightError).toBeLessThan(1e-4);
    expect(depthwise!.candidates.length).toBe(1);
    const { model: other, layers } = await plan.select({ ranks: { 0: full.ranks } }, { force: true });
    using saved = await loadModel(engine, await saveModel(other));
    expect(layers[2]!.staysBecause).toContain("it is depthwise");
    using out = engine.tensor([6, ...model.outputShape]);
    using loaded = engine.tensor([6, ...model.outputShape]);
    await engine.run((s) => {
      copy(s, other.forward(s, calibration), { out });
      copy(s, saved.forward(s, calibration), { out: loaded });
    });
    expect(await loaded.read()).toEqual(await out.read());
    other.destroy();
  });
});

/** Two residual blocks, the second one of joined maps. */
const network = (add: AddPlace, input: string): string => {
  const conv = (inputs: number, outputs: number) => new Conv2d({ inputs, outputs, kernel: 3, padding: 1 });
  const stem = add(new ReLU(), add(conv(2, 6), input, "stem"));
  const inner = add(conv(6, 6), add(new ReLU(), add(new BatchNorm(6), add(conv(6, 6), stem, "first"))), "second");
  const block = add(new ReLU(), add(new Add(), [stem, inner]), "block");
  const maps = add(new Concat(), [block, add(conv(6, 4), block, "third")]);
  return add(new Linear(10, 3), add(new Flatten(), add(new GlobalAveragePool(), maps)), "classes");
};

const create = async () => Network.create(await testEngine(), network, { inputShape: [2, 6, 5], seed: 4 });

async function outputsOf(model: Network, values: Float32Array): Promise<Float32Array> {
  const { engine } = model;
  using x = engine.tensor([values.length / 60, 2, 6, 5], values);
  using out = engine.tensor([x.shape[0]!, ...model.outputShape]);
  await engine.run((s) => {
    copy(s, model.forward(s, x), { out });
  });
  return (await out.read()) as Float32Array;
}

describe("a network with residual blocks", () => {
  it("is compressed place by place", async () => {
    const engine = await testEngine();
    using model = await create();
    using calibration = engine.tensor([12, 2, 6, 5], randomArray(12 * 60, 2));
    const places = new Map(model.places.map(({ id }, index) => [id, index]));
    const [first, third] = [places.get("first")!, places.get("third")!];
    const plan = await CompressionPlan.create(model, { method: "tucker2", calibration, shares: [0.4] });
    expect(plan.layers.map(({ index }) => model.places[index]!.of.name)).toEqual(model.layers.map(({ name }) => name));
    const { model: small, layers } = await plan.select({ ranks: { [first]: [3, 3], [third]: [2, 3] } });
    try {
      expect(small).toBeInstanceOf(Network);
      expect(small).not.toBeInstanceOf(Sequential);
      expect(small.places.map(({ id, from }) => [id, from])).toEqual(model.places.map(({ id, from }) => [id, from]));
      for (const at of [first, third]) expect(small.places[at]!.of).toBeInstanceOf(Tucker2Conv);
      expect(layers.filter(({ ranks }) => ranks.length).map(({ index }) => index)).toEqual([first, third]);
      expect(small.parameterCount).toBeLessThan(model.parameterCount);
      // the losses that were measured are those of the network
      const values = (await calibration.read()) as Float32Array;
      const [before, after] = [await outputsOf(model, values), await outputsOf(small, values)];
      const distance = Math.hypot(...before.map((v, i) => v - after[i]!)) / Math.hypot(...before);
      expect(distance).toBeGreaterThan(0);
      expect(distance).toBeLessThan(0.5);
    } finally {
      small.destroy();
    }
    const { model: half, reached } = await plan.select({ cost: "multiplications", ratio: 1.5 });
    using _ = half;
    expect(reached).toBe(true);
    const work = (of: Network) => of.counts().reduce((sum, { multiplications }) => sum + multiplications, 0);
    expect(work(half)).toBeLessThan(work(model) / 1.5);
    await expect(compress(model, { method: "svd", calibration, choice: { ranks: { 99: [1] } } })).rejects.toThrow(
      "compress: ranks of layer 99, the network has layers at places 0, 1, 2",
    );
  });

  it("tells what a changed layer does to its outputs", async () => {
    const engine = await testEngine();
    using model = await create();
    const values = randomArray(7 * 60, 2);
    using calibration = engine.tensor([7, 2, 6, 5], values);
    const before = await outputsOf(model, values);
    using together = await Activations.of(model, calibration);
    // three samples at a time; not in the order of the places
    using apart = await Activations.of(model, calibration, { most: 3 * 10 * 30 });
    const inputOf = async (activations: Activations, index: number) =>
      (await Promise.all((await activations.inputsOf(index)).map((input) => input.read()))).flatMap((part) => [
        ...part,
      ]);
    for (const id of ["classes", "stem", "second"]) {
      const index = model.places.findIndex((place) => place.id === id);
      const layer = model.places[index]!.of as Conv2d | Linear;
      const weight = await layer.weight.read();
      const changed = Float32Array.from(weight, (v, i) => (i % 3 ? v : 0.9 * v));
      // by another layer
      const options = { weight: changed, bias: (await layer.bias?.read()) ?? false };
      const other =
        layer instanceof Linear
          ? new Linear(layer.inputs, layer.outputs, options)
          : new Conv2d({ inputs: layer.inputs, outputs: layer.outputs, kernel: 3, padding: 1, ...options });
      const shapes = model.shapes();
      const value = model.graph.nodes[index]!.from[0]!;
      using trial = await Sequential.create(engine, [other], { inputShape: shapes[value]! });
      const losses: number[] = [];
      for (const activations of [together, apart]) losses.push(await activations.networkError(index, trial.layers[0]!));
      expect(await inputOf(apart, index)).toEqual(await inputOf(together, index));
      // and by other weights
      layer.weight.value.write(changed);
      const after = await outputsOf(model, values);
      layer.weight.value.write(weight);
      const distance = Math.hypot(...before.map((v, i) => v - after[i]!)) / Math.hypot(...before);
      expect(distance).toBeGreaterThan(1e-4);
      for (const loss of losses) expect(Math.abs(loss - distance)).toBeLessThan(1e-5);
    }
    // 50 maps within the layer are so many that two of three samples are computed at a time
    const maps = [
      new Conv2d({ inputs: 2, outputs: 50, kernel: 1 }),
      new Conv2d({ inputs: 50, outputs: 6, kernel: 3, padding: 1 }),
    ];
    using wide = await Sequential.create(engine, [new Chain("wide", maps)], { inputShape: [2, 6, 5], seed: 5 });
    const errors = [together, apart].map((activations) => activations.layerError(0, wide.layers[0]!));
    const [all, some] = [await errors[0]!, await errors[1]!];
    expect(all).toBeGreaterThan(0.1);
    expect(Math.abs(all - some)).toBeLessThan(1e-6);
  });
});
