/** Convolutions with uneven padding, transposed and of signals, and global pooling, against f64; folded normalisations. */
import { describe, expect, it } from "vitest";
import type { Layer } from "../../src/nn/index.js";
import {
  Add,
  BatchNorm,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose2d,
  Flatten,
  foldBatchNorm,
  GlobalAveragePool,
  Linear,
  MaxPool2d,
  Network,
  ReLU,
  Sequential,
  SvdLinear,
  TensorTrainLinear,
  Tucker2Conv,
} from "../../src/nn/index.js";
import { type Activation, activate, copy } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

async function outputsOf(model: Network, values: Float32Array): Promise<Float32Array> {
  const { engine } = model;
  using x = engine.tensor([values.length / model.inputShape.reduce((a, b) => a * b, 1), ...model.inputShape], values);
  using out = engine.tensor([x.shape[0]!, ...model.outputShape]);
  await engine.run((s) => {
    copy(s, model.forward(s, x), { out });
  });
  return (await out.read()) as Float32Array;
}

async function ofLayers(layers: readonly Layer[], inputShape: readonly number[], values: Float32Array) {
  using model = await Sequential.create(await testEngine(), layers, { inputShape, seed: 1 });
  return { y: await outputsOf(model, values), shape: model.outputShape };
}

describe("uneven padding", () => {
  it.each([
    {
      kernel: [3, 2],
      stride: [1, 1],
      sides: [
        [2, 0],
        [0, 1],
      ],
    },
    {
      kernel: [2, 3],
      stride: [2, 1],
      sides: [
        [0, 3],
        [1, 2],
      ],
    },
    {
      kernel: [1, 4],
      stride: [3, 2],
      sides: [
        [1, 0],
        [4, 0],
      ],
    },
  ] as const)("of a convolution $kernel, $sides", async ({ kernel, stride, sides }) => {
    const [channels, height, width] = [3, 5, 7];
    const [[top, bottom], [left, right]] = sides;
    const values = randomArray(2 * channels * height * width, 1);
    const weight = randomArray(4 * channels * kernel[0] * kernel[1], 2);
    const padded = [channels, height + top + bottom, width + left + right] as const;
    const wide = new Float32Array(2 * padded[0] * padded[1] * padded[2]);
    for (let plane = 0; plane < 2 * channels; plane++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          wide[(plane * padded[1] + y + top) * padded[2] + x + left] = values[(plane * height + y) * width + x]!;
    const options = { inputs: channels, outputs: 4, kernel, stride, weight, bias: false };
    const expected = await ofLayers([new Conv2d(options)], padded, wide);
    const uneven = await ofLayers([new Conv2d({ ...options, padding: sides })], [channels, height, width], values);
    expect(uneven.shape).toEqual(expected.shape);
    expectClose(uneven.y, expected.y, 1e-6);
  });

  it("of pools and volumes", async () => {
    const values = randomArray(2 * 4 * 5, 3);
    const pool = await ofLayers(
      [
        new MaxPool2d(3, {
          stride: 1,
          padding: [
            [1, 0],
            [0, 1],
          ],
        }),
      ],
      [2, 4, 5],
      values,
    );
    expect(pool.shape).toEqual([2, 3, 4]);
    expect(pool.y[0]).toBe(Math.max(...[0, 1, 2, 5, 6, 7].map((at) => values[at]!)));
    expect(pool.y[11]).toBe(Math.max(...[8, 9, 13, 14, 18, 19].map((at) => values[at]!)));
    const volume = new Conv3d({ inputs: 2, outputs: 1, kernel: 2, padding: [0, [1, 0], [0, 2]] });
    expect(volume.outputShape([2, 3, 4, 5])).toEqual([1, 2, 4, 6]);
  });

  it("is refused where it is none", () => {
    const make = (padding: unknown) => () =>
      new Conv2d({ inputs: 1, outputs: 1, kernel: 3, padding: padding as never });
    expect(make([[1, 2, 3], 0])).toThrow("needs a whole number, 0 or more");
    expect(make([[-1, 0], 0])).toThrow('[before, after] for one where they differ, or "same"');
    expect(() => new ConvTranspose2d({ inputs: 1, outputs: 1, kernel: 3, padding: "same" as never })).toThrow(
      "padding",
    );
    expect(() => new ConvTranspose2d({ inputs: 1, outputs: 1, kernel: 3, stride: 2, outputPadding: 2 })).toThrow(
      "output padding 2×2, needs less than the stride, 2×2",
    );
  });
});

it.each([
  { kernel: [3, 3], stride: [2, 2], padding: [1, 1], outputPadding: [1, 0], dilation: [1, 1], groups: 1 },
  {
    kernel: [2, 4],
    stride: [1, 3],
    padding: [
      [0, 1],
      [2, 0],
    ],
    outputPadding: [0, 2],
    dilation: [2, 1],
    groups: 2,
  },
  { kernel: [1, 1], stride: [1, 1], padding: [0, 0], outputPadding: [0, 0], dilation: [1, 1], groups: 4 },
] as const)("a transposed convolution spreads every element ($kernel, $stride)", async (geometry) => {
  const { kernel, stride, padding, dilation, groups } = geometry;
  const [batch, inputs, outputs, height, width] = [2, 4, 8, 3, 5];
  const values = randomArray(batch * inputs * height * width, 1);
  const weight = randomArray((inputs * outputs * kernel[0] * kernel[1]) / groups, 2);
  const bias = randomArray(outputs, 3);
  const layer = new ConvTranspose2d({ ...geometry, inputs, outputs, weight, bias });
  const { y, shape } = await ofLayers([layer], [inputs, height, width], values);
  const [, outHeight, outWidth] = shape as [number, number, number];
  const before = padding.map((side) => (typeof side === "number" ? side : side[0]));
  const expected = new Float64Array(batch * outputs * outHeight * outWidth);
  expected.forEach((_, e) => void (expected[e] = bias[Math.floor(e / (outHeight * outWidth)) % outputs]!));
  const [into, from] = [outputs / groups, inputs / groups];
  for (let n = 0; n < batch; n++)
    for (let c = 0; c < inputs; c++)
      for (let o = 0; o < into; o++)
        for (let iy = 0; iy < height; iy++)
          for (let ix = 0; ix < width; ix++)
            for (let ky = 0; ky < kernel[0]; ky++)
              for (let kx = 0; kx < kernel[1]; kx++) {
                const oy = iy * stride[0] - before[0]! + ky * dilation[0];
                const ox = ix * stride[1] - before[1]! + kx * dilation[1];
                if (oy < 0 || ox < 0 || oy >= outHeight || ox >= outWidth) continue;
                const channel = Math.floor(c / from) * into + o;
                expected[((n * outputs + channel) * outHeight + oy) * outWidth + ox]! +=
                  values[((n * inputs + c) * height + iy) * width + ix]! *
                  weight[((c * into + o) * kernel[0] + ky) * kernel[1] + kx]!;
              }
  expectClose(y, expected, 1e-6);
});

it("a convolution of signals and a global mean are what loops give", async () => {
  const [batch, inputs, outputs, length, kernel, stride, dilation, groups] = [3, 4, 6, 11, 3, 2, 2, 2];
  const values = randomArray(batch * inputs * length, 1);
  const weight = randomArray((outputs * inputs * kernel) / groups, 2);
  const bias = randomArray(outputs, 3);
  const options = { inputs, outputs, kernel, stride, dilation, groups, weight, bias, padding: [3, 0] as const };
  const { y, shape } = await ofLayers([new Conv1d(options)], [inputs, length], values);
  expect(shape).toEqual([6, 5]);
  const expected = new Float64Array(batch * outputs * 5);
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outputs; o++)
      for (let at = 0; at < 5; at++) {
        let sum = bias[o]!;
        for (let c = 0; c < 2; c++)
          for (let k = 0; k < kernel; k++) {
            const from = at * stride - 3 + k * dilation;
            if (from < 0 || from >= length) continue;
            sum +=
              weight[(o * 2 + c) * kernel + k]! * values[(n * inputs + Math.floor(o / 3) * 2 + c) * length + from]!;
          }
        expected[(n * outputs + o) * 5 + at] = sum;
      }
  expectClose(y, expected, 1e-6);
  const means = await ofLayers([new GlobalAveragePool()], [inputs, length], values);
  expect(means.shape).toEqual([4, 1]);
  const rows = Array.from({ length: 12 }, (_, r) => values.slice(r * length, (r + 1) * length));
  expectClose(
    means.y,
    Float64Array.from(rows, (row) => row.reduce((a, b) => a + b, 0) / length),
    1e-6,
  );
});

/** Gives every normalisation moments and weights that change something. */
async function unsettle(model: Network): Promise<void> {
  for (const [index, layer] of model.layers.entries())
    if (layer instanceof BatchNorm) {
      const { channels } = layer;
      layer.weight.value.write(randomArray(channels, 5 + index));
      layer.bias.value.write(randomArray(channels, 6 + index));
      const running = randomArray(2 * channels, 7 + index).map((v, i) => (i < channels ? v : 0.1 + Math.abs(v)));
      layer.running.value.write(running);
    }
}

describe("folded batch normalisations", () => {
  it("leave a row of layers with the same outputs", async () => {
    const engine = await testEngine();
    const layers = [
      new Conv2d({ inputs: 2, outputs: 4, kernel: 2, groups: 2, bias: false }),
      new BatchNorm(4),
      new ReLU(),
      new ConvTranspose2d({ inputs: 4, outputs: 6, kernel: [2, 1], groups: 2 }),
      new BatchNorm(6),
      new Conv2d({ inputs: 6, outputs: 3, kernel: 2, activation: "relu" }),
      new BatchNorm(3),
      new Flatten(),
      new Linear(27, 5),
      new BatchNorm(5),
    ];
    using model = await Sequential.create(engine, layers, { inputShape: [2, 4, 5], seed: 3 });
    await unsettle(model);
    using folded = await foldBatchNorm(model);
    expect(folded).toBeInstanceOf(Sequential);
    // an activation stands between the third one and its convolution
    expect(folded.layers.map((layer) => layer instanceof BatchNorm)).toEqual([0, 0, 0, 0, 1, 0, 0].map(Boolean));
    const values = randomArray(3 * 40, 9);
    expectClose(await outputsOf(folded, values), await outputsOf(model, values), 1e-5);
  });

  it("stay where something else reads the layer before", async () => {
    const engine = await testEngine();
    using model = await Network.create(
      engine,
      (add, input) => {
        const shared = add(new Linear(4, 4), input);
        const branch = add(new BatchNorm(4), add(new Linear(4, 4), add(new BatchNorm(4), shared)), "branch");
        return add(new BatchNorm(4), add(new Linear(4, 4), add(new Add(), [shared, branch])), "last");
      },
      { inputShape: [4], seed: 3 },
    );
    await unsettle(model);
    using folded = await foldBatchNorm(model);
    expect(folded.layers.filter((layer) => layer instanceof BatchNorm).length).toBe(1);
    const values = randomArray(5 * 4, 9);
    expectClose(await outputsOf(folded, values), await outputsOf(model, values), 1e-5);
  });
});

describe("activations of layers", () => {
  const LAYERS: [string, number[], (activation: Activation) => Layer][] = [
    ["dense", [7], (activation) => new Linear(7, 5, { activation })],
    ["convolution", [2, 4, 5], (activation) => new Conv2d({ inputs: 2, outputs: 3, kernel: 2, activation })],
    ["signals", [2, 6], (activation) => new Conv1d({ inputs: 2, outputs: 3, kernel: 2, activation })],
    ["SVD", [7], (activation) => new SvdLinear({ inputs: 7, outputs: 5, rank: 2, activation })],
    [
      "Tucker-2",
      [4, 5, 5],
      (activation) => new Tucker2Conv({ inputs: 4, outputs: 5, kernel: 3, ranks: [2, 3], activation }),
    ],
    [
      "train",
      [6],
      (activation) => new TensorTrainLinear({ inputModes: [2, 3], outputModes: [3, 2], ranks: 2, activation }),
    ],
  ];
  it.each(LAYERS)("are applied outside of training (%s)", async (_, shape, make) => {
    const engine = await testEngine();
    const values = randomArray(4 * shape.reduce((a, b) => a * b, 1), 5).map((v) => 3 * v);
    const { y: plain } = await ofLayers([make("none")], shape, values);
    for (const activation of ["relu", "tanh", "gelu"] as const) {
      const { y } = await ofLayers([make(activation)], shape, values);
      using z = engine.tensor([plain.length], plain);
      const [expected] = await evaluate(engine, (s) => [activate(s, z, activation)]);
      expectClose(y, expected!, 1e-6);
    }
  });
});
