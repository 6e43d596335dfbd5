import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { type Epilogue, epilogues } from "./activations.js";
import { convolutionKernel, planWeightGradient } from "./families/conv2d.js";
import { sumParts } from "./product.js";
import { assertBias, assertCall, assertShape } from "./shapes.js";

/** A number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

/** Zeros along one direction: so many on each side, or [before, after]. */
export type Side = number | readonly [before: number, after: number];

/**
 * Zeros around samples: so many on each side; for each direction a number or [before, after], as in `[[0, 1], [0, 1]]`; or
 * `same`, as many as ⌈extent ÷ stride⌉ outputs take, on both sides alike and an odd one at the end, so that a stride of 1 keeps
 * the extents (TensorFlow's and PyTorch's convention).
 */
export type Padding = number | readonly [vertical: Side, horizontal: Side] | "same";

export interface ConvolutionOptions {
  /** 1 by default */
  stride?: Pair;
  /** zeros around the samples, 0 by default */
  padding?: Padding;
  /** distance of the kernel's taps, 1 by default */
  dilation?: Pair;
  /** channels and outputs fall into so many groups, and an output sees the channels of its group alone; 1 by default */
  groups?: number;
}

/** The values of both directions. A value that is no pair counts for both; checks refuse it later if it is no number. */
export const pair = (value: Pair | undefined, otherwise: number): readonly [number, number] =>
  Array.isArray(value) ? (value as [number, number]) : [(value as number) ?? otherwise, (value as number) ?? otherwise];

/** All extents of a convolution, and how its kernel moves. */
export interface Geometry {
  batch: number;
  channels: number;
  size: readonly [number, number];
  outputs: number;
  outSize: readonly [number, number];
  groups: number;
  kernel: readonly [number, number];
  stride: readonly [number, number];
  /** zeros in front of the samples; how many are behind follows from the extents */
  padding: readonly [number, number];
  dilation: readonly [number, number];
}

/** Extent of a convolution's or pooling's output along one direction. */
export const outputExtent = (
  extent: number,
  kernel: number,
  stride: number,
  padding: Side | "same",
  dilation = 1,
): number => {
  if (padding === "same") return Math.ceil(extent / stride);
  const [before, after] = sidesOf(padding);
  return Math.floor((extent + before + after - dilation * (kernel - 1) - 1) / stride) + 1;
};

const sidesOf = (padding: Side): readonly [number, number] =>
  typeof padding === "number" ? [padding, padding] : padding;

/** Zeros in front of samples of this extent, along one direction. */
export function paddingBefore(
  extent: number,
  kernel: number,
  stride: number,
  padding: Side | "same",
  dilation = 1,
): number {
  if (padding !== "same") return sidesOf(padding)[0];
  const reach = (Math.ceil(extent / stride) - 1) * stride + dilation * (kernel - 1) + 1;
  return Math.floor(Math.max(reach - extent, 0) / 2);
}

/** The padding of every one of `count` directions. */
export const paddingsOf = (padding: number | readonly Side[] | "same" | undefined, count: number) =>
  (Array.isArray(padding) ? padding : new Array(count).fill(padding ?? 0)) as (Side | "same")[];

/** Whether a value is a padding of `count` directions: whole numbers from 0, pairs of them, or "same". */
export const isPadding = (values: readonly unknown[], count: number): boolean => {
  const isCount = (zeros: unknown): boolean => Number.isInteger(zeros) && (zeros as number) >= 0;
  return (
    values.length === count &&
    values.every(
      (zeros) =>
        zeros === "same" || isCount(zeros) || (Array.isArray(zeros) && zeros.length === 2 && zeros.every(isCount)),
    )
  );
};

/** A padding as texts show it: 1×2, or 0+1×2 with different sides. */
export const formatPadding = (padding: readonly (Side | "same")[] | "same"): string =>
  padding === "same" ? padding : padding.map((zeros) => (Array.isArray(zeros) ? zeros.join("+") : zeros)).join("×");

export function geometryOf(
  operation: string,
  x: readonly number[],
  weight: readonly number[],
  options: ConvolutionOptions,
): Geometry {
  const fail = (problem: string): never => {
    throw new ShapeError(`${operation}: ${formatShape(x)} by ${formatShape(weight)}: ${problem}`);
  };
  if (x.length !== 4) fail("samples need batch×channels×height×width");
  if (weight.length !== 4) fail("a weight needs outputs×channels×height×width");
  const [batch, channels, ...size] = x as [number, number, number, number];
  const [outputs, groupChannels, ...kernel] = weight as [number, number, number, number];
  const { groups = 1 } = options;
  const stride = pair(options.stride, 1);
  const paddings = paddingsOf(options.padding, 2);
  const dilation = pair(options.dilation, 1);
  for (const [name, values, count] of [
    ["stride", stride, 2],
    ["dilation", dilation, 2],
    ["groups", [groups], 1],
  ] as const)
    if (values.length !== count || values.some((value) => !(Number.isInteger(value) && value >= 1)))
      fail(`${name} ${values.join("×")}, needs whole numbers from 1`);
  if (!isPadding(paddings, 2)) fail(`padding ${formatPadding(paddings)}, needs whole numbers from 0, or "same"`);
  if (groupChannels * groups !== channels)
    fail(`the weight takes ${groupChannels} channels in each of ${groups} groups, the samples have ${channels}`);
  if (outputs % groups) fail(`${outputs} outputs do not fall into ${groups} groups`);
  const outSize = [0, 1].map((at) =>
    outputExtent(size[at]!, kernel[at]!, stride[at]!, paddings[at]!, dilation[at]!),
  ) as [number, number];
  if (!outSize.every((extent) => extent >= 1))
    fail(`the kernel does not fit into ${formatShape(size)} with its padding`);
  const padding = [0, 1].map((at) =>
    paddingBefore(size[at]!, kernel[at]!, stride[at]!, paddings[at]!, dilation[at]!),
  ) as [number, number];
  return { batch, channels, size, outputs, outSize, groups, kernel, stride, padding, dilation };
}

/** Whether any window begins before the samples or ends behind them. */
const isPadded = ({ size, outSize, kernel, stride, padding, dilation }: Geometry): boolean =>
  [0, 1].some(
    (at) =>
      padding[at] !== 0 ||
      (outSize[at]! - 1) * stride[at]! + dilation[at]! * (kernel[at]! - 1) - padding[at] >= size[at]!,
  );

/** Where an element of a weight lies: start + g·group + o·output + c·channel + ky·y + kx·x. */
interface Reading {
  start: number;
  group: number;
  output: number;
  channel: number;
  y: number;
  x: number;
}

function run(
  s: Scheduler,
  x: Tensor,
  weight: Tensor,
  out: Tensor,
  geometry: Geometry,
  reading: Reading,
  up: readonly [number, number],
  bias: Tensor | undefined,
  activation: Epilogue,
): void {
  const { batch, channels, size, outputs, outSize, groups, kernel, stride, padding, dilation } = geometry;
  // taps that lie side by side are read in runs of equal length
  const TAPS = stride[1] === 1 && dilation[1] === 1 ? Math.ceil(kernel[1] / Math.ceil(kernel[1] / 5)) : 1;
  const specialised = convolutionKernel(s.engine, outputs / groups).with({
    TAPS,
    WHOLE: kernel[1] % TAPS === 0,
    FOURS: outSize[1] % 4 === 0,
    PADDED: isPadded(geometry),
    UP: up[0] > 1 || up[1] > 1,
    BIAS: bias !== undefined,
    ACTIVATION: epilogues[activation],
  });
  s.run(
    specialised,
    { x, w: weight, bias: bias ?? weight, out },
    {
      batch,
      channels,
      height: size[0],
      width: size[1],
      outputs,
      out_height: outSize[0],
      out_width: outSize[1],
      group_channels: channels / groups,
      group_outputs: outputs / groups,
      kernel_height: kernel[0],
      kernel_width: kernel[1],
      stride_y: stride[0],
      stride_x: stride[1],
      pad_y: padding[0],
      pad_x: padding[1],
      dilation_y: dilation[0],
      dilation_x: dilation[1],
      up_y: up[0],
      up_x: up[1],
      start: reading.start,
      of_group: reading.group,
      of_output: reading.output,
      of_channel: reading.channel,
      of_y: reading.y,
      of_x: reading.x,
      quads: Math.ceil(outSize[1] / 4),
      groups,
    },
  );
}

/**
 * Two-dimensional convolution (as networks call the cross-correlation) of samples batch×channels×height×width with a weight
 * outputs×(channels/groups)×height×width, PyTorch's layout; bias and activation in the same dispatch. No patches are formed.
 *
 * @throws ShapeError where channels, groups or extents do not fit
 */
export function conv2d(
  s: Scheduler,
  x: Tensor,
  weight: Tensor,
  options: ConvolutionOptions & { bias?: Tensor | undefined; activation?: Epilogue; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("conv2d", s, { x, weight });
  const geometry = geometryOf("conv2d", x.shape, weight.shape, options);
  const { batch, outputs, outSize, groups, channels, kernel } = geometry;
  const { bias, activation = "none" } = options;
  if (bias) assertBias("conv2d", bias, outputs);
  const shape = [batch, outputs, ...outSize];
  if (options.out) assertShape("conv2d", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "conv2d" });
  const taps = kernel[0] * kernel[1];
  const groupChannels = channels / groups;
  const output = groupChannels * taps;
  const reading = { start: 0, group: (outputs / groups) * output, output, channel: taps, y: kernel[1], x: 1 };
  run(s, x, weight, out, geometry, reading, [1, 1], bias, activation);
  return out;
}

/**
 * Gradient of conv2d's input from that of its output: a convolution with the kernel turned round, of the gradient with
 * stride − 1 zeros between its elements. With a bias and an activation it is a layer's transposed convolution.
 *
 * @param options.inputSize height and width of the input, which strides leave open
 */
export function conv2dInputGradient(
  s: Scheduler,
  dy: Tensor,
  weight: Tensor,
  options: ConvolutionOptions & {
    inputSize: readonly [number, number];
    bias?: Tensor | undefined;
    activation?: Epilogue;
    out?: Tensor | undefined;
  },
): Tensor {
  assertCall("conv2dInputGradient", s, { dy, weight });
  const { inputSize, groups = 1 } = options;
  const [outputs, groupChannels, ...kernel] = weight.shape as [number, number, number, number];
  const channels = groupChannels * groups;
  const shape = [dy.shape[0]!, channels, ...inputSize];
  const { stride, padding, dilation, outSize } = geometryOf("conv2dInputGradient", shape, weight.shape, options);
  assertShape("conv2dInputGradient", "the gradient", dy, [shape[0]!, outputs, ...outSize]);
  if (options.out) assertShape("conv2dInputGradient", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "conv2d input gradient" });
  const taps = kernel[0] * kernel[1];
  const back = (at: 0 | 1): number => dilation[at] * (kernel[at] - 1) - padding[at];
  const geometry: Geometry = {
    batch: shape[0]!,
    channels: outputs,
    size: outSize,
    outputs: channels,
    outSize: inputSize,
    groups,
    kernel,
    stride: [1, 1],
    padding: [back(0), back(1)],
    dilation,
  };
  const reading = {
    start: taps - 1,
    group: (outputs / groups) * groupChannels * taps,
    output: taps,
    channel: groupChannels * taps,
    y: -kernel[1],
    x: -1,
  };
  if (options.bias) assertBias("conv2dInputGradient", options.bias, channels);
  run(s, dy, weight, out, geometry, reading, stride, options.bias, options.activation ?? "none");
  return out;
}

/** Gradient of conv2d's weight, outputs×(channels/groups)×height×width, from its input and the gradient of its output. */
export function conv2dWeightGradient(
  s: Scheduler,
  x: Tensor,
  dy: Tensor,
  options: ConvolutionOptions & { kernel: Pair; out?: Tensor | undefined },
): Tensor {
  assertCall("conv2dWeightGradient", s, { x, dy });
  const { groups = 1 } = options;
  const channels = x.shape[1]!;
  const shape = [dy.shape[1]!, channels / groups, ...pair(options.kernel, 1)];
  const geometry = geometryOf("conv2dWeightGradient", x.shape, shape, options);
  const { batch, size, outputs, outSize, kernel, stride, padding, dilation } = geometry;
  assertShape("conv2dWeightGradient", "the gradient", dy, [batch, outputs, ...outSize]);
  if (options.out) assertShape("conv2dWeightGradient", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "conv2d weight gradient" });
  const groupOutputs = outputs / groups;
  const plan = planWeightGradient(s.engine, {
    ...{ batch, groups, groupChannels: channels / groups, groupOutputs, kernel, outSize },
    isDense: stride[1] === 1 && dilation[1] === 1,
  });
  const { parts } = plan.params;
  const sums = parts === 1 ? out : s.tensor([parts, ...shape], { label: "partial weight gradients" });
  s.run(
    plan.kernel.with({ PADDED: isPadded(geometry) }),
    { x, dy, out: sums },
    {
      batch,
      channels,
      height: size[0],
      width: size[1],
      outputs,
      out_height: outSize[0],
      out_width: outSize[1],
      group_channels: channels / groups,
      group_outputs: groupOutputs,
      kernel_height: kernel[0],
      kernel_width: kernel[1],
      stride_y: stride[0],
      stride_x: stride[1],
      pad_y: padding[0],
      pad_x: padding[1],
      dilation_y: dilation[0],
      dilation_x: dilation[1],
      ...plan.params,
      groups,
    },
  );
  if (sums !== out) {
    sumParts(s, sums, out);
    s.release(sums);
  }
  return out;
}
