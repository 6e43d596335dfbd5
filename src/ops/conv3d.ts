import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { type Epilogue, epilogues } from "./activations.js";
import { formatPadding, isPadding, outputExtent, paddingBefore, paddingsOf, type Side } from "./conv2d.js";
import { convolution3dKernel, planWeightGradient3d } from "./families/conv3d.js";
import { sumParts } from "./product.js";
import { assertBias, assertCall, assertShape } from "./shapes.js";

/** A number for all directions, or [depth, vertical, horizontal]. */
export type Triple = number | readonly [number, number, number];

export interface Convolution3dOptions {
  /** 1 by default */
  stride?: Triple | undefined;
  /** zeros around the samples, 0 by default; see {@link Padding} */
  padding?: number | readonly [Side, Side, Side] | "same" | undefined;
  /** distance of the kernel's taps, 1 by default */
  dilation?: Triple | undefined;
}

/** The values of all directions. A value that is no triple counts for all; checks refuse it later if it is no number. */
export const triple = (value: Triple | undefined, otherwise: number): readonly [number, number, number] => {
  const all = (value as number) ?? otherwise;
  return Array.isArray(value) ? (value as [number, number, number]) : [all, all, all];
};

/** Depth, height and width of a convolution's result. */
export function conv3dSize(
  operation: string,
  x: readonly number[],
  weight: readonly number[],
  options: Convolution3dOptions,
): [number, number, number] {
  const fail = (problem: string): never => {
    throw new ShapeError(`${operation}: ${formatShape(x)} by ${formatShape(weight)}: ${problem}`);
  };
  if (x.length !== 5) fail("samples need batch×channels×depth×height×width");
  if (weight.length !== 5) fail("a weight needs outputs×channels×depth×height×width");
  if (x[1] !== weight[1]) fail(`the weight takes ${weight[1]} channels, the samples have ${x[1]}`);
  const [stride, dilation] = [triple(options.stride, 1), triple(options.dilation, 1)];
  const padding = paddingsOf(options.padding, 3);
  if (
    stride.length + dilation.length !== 6 ||
    ![...stride, ...dilation].every((step) => Number.isInteger(step) && step >= 1)
  )
    fail("stride and dilation need whole numbers from 1");
  if (!isPadding(padding, 3)) fail(`padding ${formatPadding(padding)}, needs whole numbers from 0, or "same"`);
  const size = [0, 1, 2].map((at) =>
    outputExtent(x[at + 2]!, weight[at + 2]!, stride[at]!, padding[at]!, dilation[at]!),
  ) as [number, number, number];
  if (!size.every((extent) => extent >= 1)) fail("the kernel does not fit into the samples with their padding");
  return size;
}

/** The params for extents and channels that both kernels have. */
function geometryParams(
  x: readonly number[],
  weight: readonly number[],
  size: readonly number[],
  options: Convolution3dOptions,
) {
  const four = (values: readonly number[]): number[] => [...values, 0];
  const [stride, dilation] = [triple(options.stride, 1), triple(options.dilation, 1)];
  const padding = paddingsOf(options.padding, 3).map((zeros, at) =>
    paddingBefore(x[at + 2]!, weight[at + 2]!, stride[at]!, zeros, dilation[at]!),
  );
  return {
    batch: x[0]!,
    channels: x[1]!,
    outputs: weight[0]!,
    extents: four(x.slice(2)),
    out_extents: four(size),
    kernel: four(weight.slice(2)),
    strides: four(stride),
    padding: four(padding),
    dilation: four(dilation),
  };
}

/**
 * Three-dimensional convolution of samples batch×channels×depth×height×width (videos, volumes) with a weight
 * outputs×channels×depth×height×width; bias and activation in the same dispatch.
 */
export function conv3d(
  s: Scheduler,
  x: Tensor,
  weight: Tensor,
  options: Convolution3dOptions & { bias?: Tensor | undefined; activation?: Epilogue; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("conv3d", s, { x, weight });
  const size = conv3dSize("conv3d", x.shape, weight.shape, options);
  const shape = [x.shape[0]!, weight.shape[0]!, ...size];
  const { bias } = options;
  if (bias) assertBias("conv3d", bias, shape[1]!);
  if (options.out) assertShape("conv3d", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "conv3d" });
  s.run(
    convolution3dKernel.with({ BIAS: bias !== undefined, ACTIVATION: epilogues[options.activation ?? "none"] }),
    { a: x, w: weight, bias: bias ?? weight, out },
    { size: out.size, ...geometryParams(x.shape, weight.shape, size, options) },
  );
  return out;
}

/** Gradient of conv3d's input; `inputShape` is batch×channels×depth×height×width. */
export function conv3dInputGradient(
  s: Scheduler,
  dy: Tensor,
  weight: Tensor,
  options: Convolution3dOptions & { inputShape: readonly number[]; out?: Tensor | undefined },
): Tensor {
  assertCall("conv3dInputGradient", s, { dy, weight });
  const { inputShape } = options;
  const size = conv3dSize("conv3dInputGradient", inputShape, weight.shape, options);
  assertShape("conv3dInputGradient", "the gradient", dy, [inputShape[0]!, weight.shape[0]!, ...size]);
  if (options.out) assertShape("conv3dInputGradient", "out", options.out, [...inputShape]);
  const out = options.out ?? s.tensor([...inputShape], { label: "conv3d input gradient" });
  s.run(
    convolution3dKernel.with({ BACK: true, BIAS: false }),
    { a: dy, w: weight, bias: weight, out },
    { size: out.size, ...geometryParams(inputShape, weight.shape, size, options) },
  );
  return out;
}

/** Gradient of conv3d's weight, outputs×channels×depth×height×width, from its input and the gradient of its result. */
export function conv3dWeightGradient(
  s: Scheduler,
  x: Tensor,
  dy: Tensor,
  options: Convolution3dOptions & { kernel: Triple; out?: Tensor | undefined },
): Tensor {
  assertCall("conv3dWeightGradient", s, { x, dy });
  const shape = [dy.shape[1]!, x.shape[1]!, ...triple(options.kernel, 1)];
  const size = conv3dSize("conv3dWeightGradient", x.shape, shape, options);
  assertShape("conv3dWeightGradient", "the gradient", dy, [x.shape[0]!, shape[0]!, ...size]);
  if (options.out) assertShape("conv3dWeightGradient", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "conv3d weight gradient" });
  const rows = x.shape[0]! * size[0] * size[1];
  const { kernel, share, parts } = planWeightGradient3d(s.engine, out.size, rows, size[2]);
  const sums = parts === 1 ? out : s.tensor([parts, ...shape], { label: "partial weight gradients" });
  s.run(
    kernel,
    { x, dy, out: sums },
    { size: out.size, parts, share, ...geometryParams(x.shape, shape, size, options) },
  );
  if (sums !== out) {
    sumParts(s, sums, out);
    s.release(sums);
  }
  return out;
}
