import type { Tensor } from "../gpu/index.js";
import type { Conv2d, Layer, Sequential } from "../nn/index.js";
import { copy, paddingBefore, squaredDistance, sumOfSquares } from "../ops/index.js";

/** The inputs of every layer of a network for these samples, then the network's outputs. The caller destroys them. */
export async function activationsOf(model: Sequential, samples: Tensor): Promise<Tensor[]> {
  const { engine, layers } = model;
  const activations: Tensor[] = [];
  await engine.run((s) => {
    let x = samples;
    const keep = (tensor: Tensor): void => {
      const out = engine.tensor(tensor.shape, null, { label: "activation" });
      copy(s, tensor, { out });
      activations.push(out);
    };
    keep(x);
    for (const layer of layers) {
      x = layer.forward(s, x, { training: false });
      keep(x);
    }
  }, "activations");
  return activations;
}

/** E[x·xᵀ], n×n, of the rows x of n values. */
export function secondMoments(rows: ArrayLike<number>, n: number): Float64Array {
  const count = rows.length / n;
  const out = new Float64Array(n * n);
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < n; i++) {
      const a = rows[row * n + i]!;
      // most pixels of many images are 0, and so are many outputs of relu
      if (a === 0) continue;
      for (let j = i; j < n; j++) out[i * n + j]! += a * rows[row * n + j]!;
    }
  }
  for (let i = 0; i < n; i++)
    for (let j = i; j < n; j++) out[j * n + i] = out[i * n + j] = out[i * n + j]! / Math.max(count, 1);
  return out;
}

/** most patches that are taken of one image */
const MOST_PATCHES = 64;

/**
 * E[p·pᵀ] of the patches p that a convolution multiplies with its kernel, n×n for n = C·KH·KW, in the order of a weight's columns.
 * Of an image with more than {@link MOST_PATCHES} patches, evenly spread ones are taken.
 *
 * @param values inputs of the convolution, batch×channels×height×width as in `shape`
 */
export function patchMoments(values: ArrayLike<number>, shape: readonly number[], layer: Conv2d): Float64Array {
  const [batch, channels, height, width] = shape as [number, number, number, number];
  const [, outHeight, outWidth] = layer.outputShape(shape.slice(1)) as [number, number, number];
  const { kernel, stride, dilation } = layer;
  const [top, left] = [0, 1].map((at) => {
    const padding = layer.padding === "same" ? layer.padding : layer.padding[at]!;
    return paddingBefore(shape[at + 2]!, kernel[at]!, stride[at]!, padding, dilation[at]!);
  }) as [number, number];
  const n = channels * kernel[0] * kernel[1];
  const positions = outHeight * outWidth;
  const step = Math.max(1, positions / MOST_PATCHES);
  const places = Array.from({ length: Math.floor(positions / step) }, (_, at) => Math.floor(at * step));
  const rows = new Float32Array(batch * places.length * n);
  let at = 0;
  for (let sample = 0; sample < batch; sample++)
    for (const place of places) {
      const [y, x] = [Math.floor(place / outWidth), place % outWidth];
      for (let c = 0; c < channels; c++)
        for (let ky = 0; ky < kernel[0]; ky++)
          for (let kx = 0; kx < kernel[1]; kx++, at++) {
            const iy = y * stride[0] - top + ky * dilation[0];
            const ix = x * stride[1] - left + kx * dilation[1];
            if (iy >= 0 && iy < height && ix >= 0 && ix < width)
              rows[at] = values[((sample * channels + c) * height + iy) * width + ix]!;
          }
    }
  return secondMoments(rows, n);
}

/** ‖W − Ŵ‖ ÷ ‖W‖. */
export function weightError(weight: Float32Array, approximation: Float32Array): number {
  let [difference, energy] = [0, 0];
  weight.forEach((value, index) => {
    difference += (value - approximation[index]!) ** 2;
    energy += value ** 2;
  });
  return Math.sqrt(difference / Math.max(energy, Number.MIN_VALUE));
}

/** How much the outputs change when another layer takes the place of one of a network's layers. */
export interface Loss {
  /** ‖y − ŷ‖ ÷ ‖y‖ of the layer's outputs */
  layer: number;
  /** ‖y − ŷ‖ ÷ ‖y‖ of the network's outputs */
  network: number;
}

/**
 * Compares the outputs of a network with those that it has with `layer` in place of layer `index`.
 *
 * @param activations of the network on the samples, from {@link activationsOf}
 */
export async function replacementLoss(
  model: Sequential,
  activations: readonly Tensor[],
  index: number,
  layer: Layer,
): Promise<Loss> {
  const { engine, layers } = model;
  const sums = Array.from({ length: 4 }, () => engine.tensor([1]));
  try {
    await engine.run((s) => {
      const compare = (tensor: Tensor, changed: Tensor, at: number): void => {
        squaredDistance(s, tensor, changed.reshape(tensor.shape), { out: sums[at]! });
        sumOfSquares(s, tensor, { out: sums[at + 1]! });
      };
      let x = layer.forward(s, activations[index]!, { training: false });
      compare(activations[index + 1]!, x, 0);
      for (const next of layers.slice(index + 1)) x = next.forward(s, x, { training: false });
      compare(activations.at(-1)!, x, 2);
    }, `loss by ${layer.name}`);
    const [a, b, c, d] = (await engine.read(sums)).map((values) => values[0]!) as [number, number, number, number];
    const ratio = (error: number, energy: number): number => Math.sqrt(error / Math.max(energy, Number.MIN_VALUE));
    return { layer: ratio(a, b), network: ratio(c, d) };
  } finally {
    for (const sum of sums) sum.destroy();
  }
}
