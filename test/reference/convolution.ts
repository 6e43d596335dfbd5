/** f64 loops for convolutions and pooling of NCHW samples. */

export interface ConvolutionShape {
  batch: number;
  channels: number;
  height: number;
  width: number;
  outputs: number;
  kernel: readonly [number, number];
  stride: readonly [number, number];
  padding: readonly [number, number];
  /** zeros behind, as many as in front by default */
  behind?: readonly [number, number];
  dilation: readonly [number, number];
  groups: number;
}

/** Height and width of the result. */
export const outSizeOf = (shape: ConvolutionShape): [number, number] => {
  const { height, width, kernel, stride, padding, behind = padding, dilation } = shape;
  return [height, width].map((extent, at) => {
    const padded = extent + padding[at]! + behind[at]!;
    return Math.floor((padded - dilation[at]! * (kernel[at]! - 1) - 1) / stride[at]!) + 1;
  }) as [number, number];
};

/** The zeros of padding "same": as many as ⌈extent ÷ stride⌉ outputs need, half in front and half behind, an odd one behind. */
export function samePadding(
  extents: readonly number[],
  kernel: readonly number[],
  stride: readonly number[],
  dilation?: readonly number[],
) {
  const totals = extents.map((extent, at) => {
    const outputs = Math.ceil(extent / stride[at]!);
    return Math.max((outputs - 1) * stride[at]! + (dilation?.[at] ?? 1) * (kernel[at]! - 1) + 1 - extent, 0);
  });
  return {
    padding: totals.map((total) => Math.floor(total / 2)) as [number, number],
    behind: totals.map((total) => total - Math.floor(total / 2)) as [number, number],
  };
}

/** Calls `visit` for every product x·w of the convolution, with the flat places in out, x and w. */
function everyProduct(shape: ConvolutionShape, visit: (out: number, x: number, w: number) => void): void {
  const { batch, channels, height, width, outputs, kernel, stride, padding, dilation, groups } = shape;
  const [outHeight, outWidth] = outSizeOf(shape);
  const [groupChannels, groupOutputs] = [channels / groups, outputs / groups];
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outputs; o++)
      for (let y = 0; y < outHeight; y++)
        for (let x = 0; x < outWidth; x++)
          for (let c = 0; c < groupChannels; c++)
            for (let ky = 0; ky < kernel[0]; ky++)
              for (let kx = 0; kx < kernel[1]; kx++) {
                const iy = y * stride[0] - padding[0] + ky * dilation[0];
                const ix = x * stride[1] - padding[1] + kx * dilation[1];
                if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
                const channel = Math.floor(o / groupOutputs) * groupChannels + c;
                visit(
                  ((n * outputs + o) * outHeight + y) * outWidth + x,
                  ((n * channels + channel) * height + iy) * width + ix,
                  ((o * groupChannels + c) * kernel[0] + ky) * kernel[1] + kx,
                );
              }
}

export function conv2d(x: ArrayLike<number>, w: ArrayLike<number>, shape: ConvolutionShape): Float64Array {
  const [outHeight, outWidth] = outSizeOf(shape);
  const out = new Float64Array(shape.batch * shape.outputs * outHeight * outWidth);
  everyProduct(shape, (o, i, k) => (out[o]! += x[i]! * w[k]!));
  return out;
}

export function conv2dInputGradient(
  dy: ArrayLike<number>,
  w: ArrayLike<number>,
  shape: ConvolutionShape,
): Float64Array {
  const out = new Float64Array(shape.batch * shape.channels * shape.height * shape.width);
  everyProduct(shape, (o, i, k) => (out[i]! += dy[o]! * w[k]!));
  return out;
}

export function conv2dWeightGradient(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  shape: ConvolutionShape,
): Float64Array {
  const { outputs, channels, groups, kernel } = shape;
  const out = new Float64Array(outputs * (channels / groups) * kernel[0] * kernel[1]);
  everyProduct(shape, (o, i, k) => (out[k]! += x[i]! * dy[o]!));
  return out;
}

export interface PoolShape {
  planes: number;
  height: number;
  width: number;
  kernel: readonly [number, number];
  stride: readonly [number, number];
  padding: readonly [number, number];
  /** zeros behind, as many as in front by default */
  behind?: readonly [number, number];
}

/** The flat places in a plane of every window's elements, without padding, in the order of the outputs. */
function windows({ height, width, kernel, stride, padding, behind = padding }: PoolShape): number[][] {
  const all: number[][] = [];
  for (let y = 0; y < Math.floor((height + padding[0] + behind[0] - kernel[0]) / stride[0]) + 1; y++)
    for (let x = 0; x < Math.floor((width + padding[1] + behind[1] - kernel[1]) / stride[1]) + 1; x++) {
      const places: number[] = [];
      for (let ky = 0; ky < kernel[0]; ky++)
        for (let kx = 0; kx < kernel[1]; kx++) {
          const [iy, ix] = [y * stride[0] - padding[0] + ky, x * stride[1] - padding[1] + kx];
          if (iy >= 0 && iy < height && ix >= 0 && ix < width) places.push(iy * width + ix);
        }
      all.push(places);
    }
  return all;
}

/** The place of the first largest element of a window. */
const largestOf = (x: ArrayLike<number>, plane: number, places: readonly number[]): number =>
  places.reduce((best, place) => (x[plane + place]! > x[plane + best]! ? place : best), places[0]!);

export function pool2d(x: ArrayLike<number>, kind: "max" | "average", shape: PoolShape): Float64Array {
  const all = windows(shape);
  const size = shape.height * shape.width;
  const area = shape.kernel[0] * shape.kernel[1];
  return Float64Array.from({ length: shape.planes * all.length }, (_, index) => {
    const [plane, places] = [Math.floor(index / all.length) * size, all[index % all.length]!];
    if (kind === "max") return x[plane + largestOf(x, plane, places)]!;
    return places.reduce((sum, place) => sum + x[plane + place]!, 0) / area;
  });
}

/** The first largest element of a window takes its gradient; padding counts in averages. */
export function pool2dGradient(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  kind: "max" | "average",
  shape: PoolShape,
): Float64Array {
  const all = windows(shape);
  const size = shape.height * shape.width;
  const out = new Float64Array(shape.planes * size);
  for (let index = 0; index < shape.planes * all.length; index++) {
    const [plane, places] = [Math.floor(index / all.length) * size, all[index % all.length]!];
    if (kind === "max") out[plane + largestOf(x, plane, places)]! += dy[index]!;
    else for (const place of places) out[plane + place]! += dy[index]! / (shape.kernel[0] * shape.kernel[1]);
  }
  return out;
}
