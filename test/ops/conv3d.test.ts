import { describe, expect, it } from "vitest";
import { conv3d, conv3dInputGradient, conv3dWeightGradient } from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, testEngine } from "../engine.js";
import { samePadding } from "../reference/convolution.js";
import { randomArray } from "../reference.js";

type Three = [number, number, number];
interface Shape {
  batch: number;
  channels: number;
  size: Three;
  outputs: number;
  kernel: Three;
  stride?: Three;
  padding?: Three;
  /** zeros after the last element; as many as before the first by default */
  behind?: Three;
  dilation?: Three;
}

/** Calls `visit` with the indices of y, x and w for every product x·w that an output sums; returns the extents of y. */
function everyProduct(shape: Shape, visit: (out: number, x: number, w: number) => void): Three {
  const {
    batch,
    channels,
    size,
    outputs,
    kernel,
    stride = [1, 1, 1],
    padding = [0, 0, 0],
    behind = padding,
    dilation = [1, 1, 1],
  } = shape;
  const result = size.map(
    (extent, at) =>
      Math.floor((extent + padding[at]! + behind[at]! - dilation[at]! * (kernel[at]! - 1) - 1) / stride[at]!) + 1,
  ) as Three;
  const all = ([d, h, w]: Three): Three[] =>
    Array.from({ length: d * h * w }, (_, flat) => [Math.floor(flat / (h * w)), Math.floor(flat / w) % h, flat % w]);
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outputs; o++)
      for (const [to, at] of all(result).entries())
        for (let c = 0; c < channels; c++)
          for (const [tap, k] of all(kernel).entries()) {
            const from = at.map(
              (value, axis) => value * stride[axis]! - padding[axis]! + k[axis]! * dilation[axis]!,
            ) as Three;
            if (from.some((value, axis) => value < 0 || value >= size[axis]!)) continue;
            visit(
              (n * outputs + o) * result[0] * result[1] * result[2] + to,
              (((n * channels + c) * size[0] + from[0]) * size[1] + from[1]) * size[2] + from[2],
              (o * channels + c) * kernel[0] * kernel[1] * kernel[2] + tap,
            );
          }
  return result;
}

/** The shape with padding "same". */
function same(shape: Shape): Shape {
  const { size, kernel, stride = [1, 1, 1], dilation } = shape;
  const { padding, behind } = samePadding(size, kernel, stride, dilation);
  return { ...shape, padding: padding as unknown as Three, behind: behind as unknown as Three };
}

const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);

describe.each([
  ["this adapter", testEngine],
  ["a device without optional features", plainEngine],
])("conv3d on %s", (_, open) => {
  it.each<[string, Shape]>([
    ["one voxel", { batch: 1, channels: 1, size: [1, 1, 1], outputs: 1, kernel: [1, 1, 1] }],
    ["odd, padded", { batch: 2, channels: 3, size: [5, 7, 6], outputs: 4, kernel: [3, 3, 3], padding: [1, 1, 1] }],
    ["1×1×1", { batch: 3, channels: 5, size: [2, 3, 4], outputs: 7, kernel: [1, 1, 1] }],
    [
      "all at once",
      {
        batch: 2,
        channels: 2,
        size: [7, 6, 9],
        outputs: 3,
        kernel: [2, 3, 2],
        stride: [2, 1, 3],
        padding: [1, 2, 0],
        dilation: [2, 1, 3],
      },
    ],
    [
      "more padding than kernel",
      { batch: 1, channels: 2, size: [2, 3, 2], outputs: 2, kernel: [2, 1, 3], stride: [1, 1, 2], padding: [3, 2, 4] },
    ],
    ["same, odd and even", same({ batch: 2, channels: 2, size: [4, 5, 6], outputs: 3, kernel: [2, 3, 4] })],
    [
      "same, strides and dilation",
      same({
        ...{ batch: 1, channels: 2, size: [7, 6, 9], outputs: 2, kernel: [2, 3, 2] },
        ...{ stride: [2, 2, 3], dilation: [2, 1, 3] },
      }),
    ],
  ])("%s", async (__, shape) => {
    const engine = await open();
    const { batch, channels, size, outputs, kernel } = shape;
    const result = everyProduct(shape, () => {});
    const options = { ...shape, padding: shape.behind ? ("same" as const) : shape.padding };
    if (shape.behind) expect(result).toEqual(size.map((extent, at) => Math.ceil(extent / (shape.stride?.[at] ?? 1))));
    const x = randomArray(batch * channels * product(size), 1);
    const w = randomArray(outputs * channels * product(kernel), 2);
    const dy = randomArray(batch * outputs * product(result), 3);
    const bias = randomArray(outputs, 4);
    const [y, dx, dw] = [dy, x, w].map(({ length }) => new Float64Array(length)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    everyProduct(shape, (o, i, k) => {
      y[o]! += x[i]! * w[k]!;
      dx[i]! += dy[o]! * w[k]!;
      dw[k]! += dy[o]! * x[i]!;
    });
    using tx = engine.tensor([batch, channels, ...size], x);
    using tw = engine.tensor([outputs, channels, ...kernel], w);
    using tdy = engine.tensor([batch, outputs, ...result], dy);
    using tb = engine.tensor([outputs], bias);
    const outputsAndGradients = await evaluate(engine, (s) => [
      conv3d(s, tx, tw, { ...options, bias: tb, activation: "relu" }),
      conv3dInputGradient(s, tdy, tw, { ...options, inputShape: tx.shape }),
      conv3dWeightGradient(s, tx, tdy, options),
    ]);
    const area = product(result);
    const activated = y.map((value, at) => Math.max(0, value + bias[Math.floor(at / area) % outputs]!));
    for (const [index, expected] of [activated, dx, dw].entries())
      expectClose(outputsAndGradients[index]!, expected, 3e-6);
  });

  it("splits the sums of a weight's gradient, and keeps its digits", async () => {
    const engine = await open();
    const [batch, channels, outputs, kernel, padding] = [2, 2, 1, [1, 2, 3] as Three, [0, 1, 1] as Three];
    const [depth, height, width] = [21, 53, 61];
    const result = [depth, height + 1, width];
    // means far from 0: all 140,000 terms of a sum have the same sign
    const x = randomArray(batch * channels * depth * height * width, 5).map((value) => 1 + 0.3 * value);
    const dy = randomArray(batch * outputs * product(result), 6).map((value) => 1 + 0.3 * value);
    const expected = new Float64Array(outputs * channels * product(kernel));
    for (let n = 0; n < batch; n++)
      for (let z = 0; z < depth; z++)
        for (let y = 0; y <= height; y++)
          for (let c = 0; c < channels; c++)
            for (let ky = 0; ky < 2; ky++)
              for (let kx = 0; kx < 3; kx++) {
                const row = y + ky - 1;
                if (row < 0 || row >= height) continue;
                const from = (((n * channels + c) * depth + z) * height + row) * width + kx - 1;
                const to = ((n * depth + z) * (height + 1) + y) * width;
                for (let at = Math.max(0, 1 - kx); at < Math.min(width, width + 1 - kx); at++)
                  expected[(c * 2 + ky) * 3 + kx]! += x[from + at]! * dy[to + at]!;
              }
    using tx = engine.tensor([batch, channels, depth, height, width], x);
    using tdy = engine.tensor([batch, outputs, ...result], dy);
    const [once, again] = await evaluate(engine, (s) =>
      [0, 1].map(() => conv3dWeightGradient(s, tx, tdy, { kernel, padding })),
    );
    expectClose(once!, expected, 1e-6);
    expect(again).toEqual(once);
  });
});

describe("conv3d", () => {
  it("says what does not fit", async () => {
    const engine = await testEngine();
    const s = engine.scheduler("shapes");
    expect(() => conv3d(s, s.tensor([1, 2, 3, 3, 3]), s.tensor([1, 3, 1, 1, 1]))).toThrow(
      "conv3d: 1×2×3×3×3 by 1×3×1×1×1: the weight takes 3 channels, the samples have 2",
    );
    expect(() => conv3d(s, s.tensor([1, 1, 2, 2, 2]), s.tensor([1, 1, 3, 1, 1]))).toThrow("does not fit");
    const volume = s.tensor([1, 1, 2, 2, 2]);
    for (const padding of ["valid", Number.NaN, -1, [1, 1]])
      expect(() => conv3d(s, volume, s.tensor([1, 1, 1, 1, 1]), { padding: padding as number })).toThrow(
        /padding .*, needs whole numbers from 0, or "same"/,
      );
    s.destroy();
  });
});
