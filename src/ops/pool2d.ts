import shader from "../../shaders/pool2d.wgsl";
import gradientShader from "../../shaders/pool2d_gradient.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import {
  formatPadding,
  isPadding,
  outputExtent,
  type Padding,
  type Pair,
  paddingBefore,
  paddingsOf,
  pair,
} from "./conv2d.js";
import { assertCall, assertShape } from "./shapes.js";

const WIDTH = 64;
const forward = new Kernel(shader, ({ planes, out_height, out_width }) =>
  grid1d(planes! * out_height! * out_width!, WIDTH),
).with({ WIDTH });
const backward = new Kernel(
  gradientShader,
  ({ planes, height, width, kernel_height, kernel_width }, { SIDE_BY_SIDE }) =>
    grid1d(
      SIDE_BY_SIDE
        ? planes! * Math.ceil(height! / kernel_height!) * Math.ceil(width! / kernel_width!)
        : planes! * height! * width!,
      WIDTH,
    ),
).with({ WIDTH });

export interface PoolOptions {
  kernel: Pair;
  /** the kernel's extents by default: windows side by side */
  stride?: Pair | undefined;
  /** at most half a window, 0 by default; or `same`, see {@link Padding} */
  padding?: Padding | undefined;
}

/** Extents of a pooling and of its result, by the names of the shaders' params. */
export function poolGeometry(operation: string, shape: readonly number[], options: PoolOptions) {
  const [kernel, paddings] = [pair(options.kernel, 1), paddingsOf(options.padding, 2)];
  const stride = pair(options.stride ?? options.kernel, 1);
  const fail = (problem: string): never => {
    throw new ShapeError(`${operation}: ${formatShape(shape)}, window ${formatShape(kernel)}: ${problem}`);
  };
  if (shape.length < 2) fail("needs …×height×width");
  const [height, width] = shape.slice(-2) as [number, number];
  if (
    kernel.length + stride.length !== 4 ||
    ![...kernel, ...stride].every((extent) => Number.isInteger(extent) && extent >= 1)
  )
    fail("window and stride need whole numbers from 1");
  const most = paddings.every(
    (value, at) => value === "same" || [value].flat().every((zeros) => 2 * zeros <= kernel[at]!),
  );
  if (!isPadding(paddings, 2) || !most)
    fail(`padding ${formatPadding(paddings)}, needs at most half a window, or "same"`);
  const [outHeight, outWidth] = [height, width].map((extent, at) =>
    outputExtent(extent, kernel[at]!, stride[at]!, paddings[at]!),
  ) as [number, number];
  if (!(outHeight >= 1 && outWidth >= 1)) fail("the window is larger than the plane");
  const [before, left] = [height, width].map((extent, at) =>
    paddingBefore(extent, kernel[at]!, stride[at]!, paddings[at]!),
  ) as [number, number];
  return {
    planes: shape.slice(0, -2).reduce((a, b) => a * b, 1),
    height,
    width,
    out_height: outHeight,
    out_width: outWidth,
    kernel_height: kernel[0],
    kernel_width: kernel[1],
    stride_y: stride[0],
    stride_x: stride[1],
    pad_y: before,
    pad_x: left,
  };
}

function pool(name: string, LARGEST: boolean) {
  return (s: Scheduler, x: Tensor, options: PoolOptions & { out?: Tensor | undefined }): Tensor => {
    assertCall(name, s, { x });
    const params = poolGeometry(name, x.shape, options);
    const shape = [...x.shape.slice(0, -2), params.out_height, params.out_width];
    if (options.out) assertShape(name, "out", options.out, shape);
    const out = options.out ?? s.tensor(shape, { label: name });
    s.run(forward.with({ LARGEST }), { x, out }, params);
    return out;
  };
}

function poolGradient(name: string, LARGEST: boolean) {
  return (s: Scheduler, x: Tensor, dy: Tensor, options: PoolOptions & { out?: Tensor | undefined }): Tensor => {
    assertCall(name, s, { x, dy });
    const params = poolGeometry(name, x.shape, options);
    assertShape(name, "the gradient", dy, [...x.shape.slice(0, -2), params.out_height, params.out_width]);
    if (options.out) assertShape(name, "out", options.out, x.shape);
    const out = options.out ?? s.tensor(x.shape, { label: name });
    const { kernel_height, kernel_width, stride_y, stride_x, pad_y, pad_x } = params;
    const SIDE_BY_SIDE = kernel_height === stride_y && kernel_width === stride_x && !pad_y && !pad_x;
    s.run(backward.with({ LARGEST, SIDE_BY_SIDE }), { x, dy, out }, params);
    return out;
  };
}

/** The largest element of every window of the last two modes. */
export const maxPool2d = pool("maxPool2d", true);
/** The mean of every window of the last two modes; zeros of the padding count. */
export const averagePool2d = pool("averagePool2d", false);
/** Gradient of maxPool2d's input: that of a window goes to its first largest element, which the kernel searches for again. */
export const maxPool2dGradient = poolGradient("maxPool2dGradient", true);
/** Gradient of averagePool2d's input; of `x` only the shape matters. */
export const averagePool2dGradient = poolGradient("averagePool2dGradient", false);
