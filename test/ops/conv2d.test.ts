import { describe, expect, it } from "vitest";
import { convolutionKernel } from "../../src/ops/families/conv2d.js";
import { conv2d, conv2dInputGradient, conv2dWeightGradient } from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, testEngine } from "../engine.js";
import * as plain from "../reference/convolution.js";
import { randomArray } from "../reference.js";

const shape = (
  [batch, channels, height, width]: [number, number, number, number],
  outputs: number,
  kernel: [number, number],
  rest: Partial<plain.ConvolutionShape> = {},
): plain.ConvolutionShape => ({
  batch,
  channels,
  height,
  width,
  outputs,
  kernel,
  stride: [1, 1],
  padding: [0, 0],
  dilation: [1, 1],
  groups: 1,
  ...rest,
});

/** Cases with an `epilogue` are computed again with a bias and an activation, which is another kernel to compile. */
const cases: [name: string, shape: plain.ConvolutionShape, epilogue?: boolean][] = [
  ["one pixel", shape([1, 1, 1, 1], 1, [1, 1]), true],
  ["LeNet's first, padded", shape([3, 1, 28, 28], 6, [5, 5], { padding: [2, 2] }), true],
  ["LeNet's second", shape([3, 6, 14, 14], 16, [5, 5]), true],
  ["3×3, odd", shape([2, 5, 9, 7], 11, [3, 3], { padding: [1, 1] })],
  ["1×1", shape([2, 7, 5, 6], 9, [1, 1])],
  ["k×1", shape([2, 3, 11, 6], 4, [3, 1], { padding: [1, 0] })],
  ["1×k, longer than a run of taps", shape([2, 3, 4, 17], 4, [1, 7], { padding: [0, 3] })],
  ["strides", shape([2, 3, 11, 13], 5, [3, 4], { stride: [2, 3], padding: [1, 2] })],
  ["strides that leave a rest", shape([1, 2, 8, 9], 3, [2, 2], { stride: [3, 2] })],
  ["dilation", shape([2, 2, 11, 12], 3, [3, 2], { dilation: [2, 3], padding: [2, 0] })],
  [
    "all at once, in groups",
    shape([2, 6, 10, 12], 9, [3, 3], { stride: [2, 1], padding: [2, 3], dilation: [1, 2], groups: 3 }),
    true,
  ],
  ["depthwise", shape([2, 5, 8, 9], 5, [3, 3], { padding: [1, 1], groups: 5 })],
  ["depthwise with two outputs each", shape([1, 4, 7, 7], 8, [3, 3], { groups: 4, stride: [2, 2] })],
  ["more padding than kernel", shape([1, 2, 3, 4], 3, [2, 2], { padding: [3, 2] })],
  ["a kernel as large as the image", shape([3, 2, 6, 5], 10, [6, 5])],
  ["five outputs, tiles of eight and runs of three taps", shape([2, 2, 7, 9], 5, [2, 6], { padding: [1, 2] })],
  ["eight and four outputs a group, whole fours", shape([3, 4, 6, 8], 8, [3, 3], { padding: [1, 1], groups: 2 })],
];

/** Cases with padding "same": odd and even kernels, strides, dilation, groups, kernels larger than the image. */
const sames: [name: string, shape: plain.ConvolutionShape][] = (
  [
    ["even: one more zero behind", [2, 3, 8, 9], 5, [2, 4], {}],
    ["no zero in front, one behind", [1, 2, 6, 8], 3, [2, 1], {}],
    ["strides, of an even extent a zero behind alone", [2, 2, 8, 11], 4, [3, 4], { stride: [2, 3] }],
    ["dilation with strides", [1, 2, 13, 11], 3, [2, 3], { stride: [2, 2], dilation: [3, 2] }],
    ["groups", [2, 6, 7, 8], 9, [4, 3], { groups: 3, stride: [1, 2] }],
    ["a kernel larger than the image", [2, 1, 3, 2], 3, [6, 5], {}],
  ] as [string, [number, number, number, number], number, [number, number], Partial<plain.ConvolutionShape>][]
).map(([name, extents, outputs, kernel, rest]) => {
  const made = shape(extents, outputs, kernel, rest);
  return [`same, ${name}`, { ...made, ...plain.samePadding(extents.slice(2), kernel, made.stride, made.dilation) }];
});

// software adapters take kernels for subgroups of a fixed size; GPUs take other kernels, and so does a device without subgroups
describe.each([
  ["this adapter", testEngine],
  ["GPUs", plainEngine],
])("conv2d by the kernels of %s", (_, open) => {
  it.each([...cases, ...sames])("%s", async (__, geometry, epilogue = false) => {
    const engine = await open();
    // the kernel of the weight's gradient is the same on all devices
    const hasGradient = open === testEngine || epilogue;
    const { batch, channels, height, width, outputs, kernel, groups } = geometry;
    const outSize = plain.outSizeOf(geometry);
    if (geometry.behind)
      expect(outSize).toEqual([height, width].map((extent, at) => Math.ceil(extent / geometry.stride[at]!)));
    const options = { ...geometry, padding: geometry.behind ? ("same" as const) : geometry.padding };
    const x = randomArray(batch * channels * height * width, 1);
    const w = randomArray((outputs * channels * kernel[0] * kernel[1]) / groups, 2);
    const bias = randomArray(outputs, 3);
    const dy = randomArray(batch * outputs * outSize[0] * outSize[1], 4);
    using tx = engine.tensor([batch, channels, height, width], x);
    using tw = engine.tensor([outputs, channels / groups, ...kernel], w);
    using tb = engine.tensor([outputs], bias);
    using tdy = engine.tensor([batch, outputs, ...outSize], dy);
    const [y, dx, activated, dw] = await evaluate(engine, (s) => [
      conv2d(s, tx, tw, options),
      conv2dInputGradient(s, tdy, tw, { ...options, inputSize: [height, width] }),
      epilogue ? conv2d(s, tx, tw, { ...options, bias: tb, activation: "relu" }) : tx,
      hasGradient ? conv2dWeightGradient(s, tx, tdy, options) : tx,
    ]);
    const expected = plain.conv2d(x, w, geometry);
    expectClose(y!, expected, 3e-6);
    const area = outSize[0] * outSize[1];
    if (epilogue)
      expectClose(
        activated!,
        expected.map((value, at) => Math.max(0, value + bias[Math.floor(at / area) % outputs]!)),
        3e-6,
      );
    expectClose(dx!, plain.conv2dInputGradient(dy, w, geometry), 3e-6);
    if (hasGradient) expectClose(dw!, plain.conv2dWeightGradient(x, dy, geometry), 3e-6);
  });

  it("splits the sums of a weight's gradient, and keeps its digits", async () => {
    const engine = await open();
    const geometry = shape([40, 1, 20, 21], 3, [3, 3], { padding: [1, 1] });
    const x = randomArray(40 * 420, 5).map((value) => value + 1);
    const dy = randomArray(40 * 3 * 420, 6).map((value) => value + 1);
    using tx = engine.tensor([40, 1, 20, 21], x);
    using tdy = engine.tensor([40, 3, 20, 21], dy);
    const [dw] = await evaluate(engine, (s) => [conv2dWeightGradient(s, tx, tdy, geometry)]);
    expectClose(dw!, plain.conv2dWeightGradient(x, dy, geometry), 2e-6);
  });
});

describe("conv2d", () => {
  it("is in registers on GPUs, of as many outputs as a group has", async () => {
    const engine = await plainEngine();
    const chosen = [1, 2, 4, 5, 64].map((outputs) => convolutionKernel(engine, outputs));
    expect(chosen.map(({ name }) => name)).toEqual(new Array(5).fill("conv2d_register"));
    expect(chosen.map(({ constants }) => constants.OUT)).toEqual([1, 4, 4, 8, 8]);
  });

  it("says what does not fit", async () => {
    const engine = await testEngine();
    const s = engine.scheduler("shapes");
    const t = (...extents: number[]) => s.tensor(extents);
    expect(() => conv2d(s, t(1, 3, 5, 5), t(4, 2, 3, 3))).toThrow(
      "conv2d: 1×3×5×5 by 4×2×3×3: the weight takes 2 channels in each of 1 groups, the samples have 3",
    );
    expect(() => conv2d(s, t(1, 3, 5), t(4, 3, 3, 3))).toThrow("samples need batch×channels×height×width");
    expect(() => conv2d(s, t(1, 4, 5, 5), t(5, 2, 3, 3), { groups: 2 })).toThrow("5 outputs do not fall into 2 groups");
    expect(() => conv2d(s, t(1, 1, 2, 2), t(1, 1, 3, 3))).toThrow("the kernel does not fit into 2×2");
    expect(() => conv2d(s, t(1, 1, 2, 2), t(1, 1, 1, 1), { stride: 0 })).toThrow(
      "stride 0×0, needs whole numbers from 1",
    );
    const wrong = (value: unknown) => value as number;
    for (const [options, said] of [
      [{ padding: wrong("valid") }, 'padding valid×valid, needs whole numbers from 0, or "same"'],
      [{ padding: Number.NaN }, "padding NaN×NaN, needs"],
      [{ padding: -1 }, "padding -1×-1, needs"],
      [{ padding: wrong([1]) }, "padding 1, needs"],
      [{ stride: wrong("2") }, "stride 2×2, needs whole numbers from 1"],
      [{ stride: wrong([1, 1, 1]) }, "stride 1×1×1, needs whole numbers from 1"],
      [{ dilation: Number.NaN }, "dilation NaN×NaN, needs"],
      [{ groups: 0.5 }, "groups 0.5, needs"],
    ] as const)
      expect(() => conv2d(s, t(1, 1, 2, 2), t(1, 1, 1, 1), options)).toThrow(said);
    expect(() => conv2d(s, t(1, 1, 2, 2), t(3, 1, 1, 1), { bias: t(2) })).toThrow("bias is 2, expected 3");
    s.destroy();
  });
});
