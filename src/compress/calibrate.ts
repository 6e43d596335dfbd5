import { type Engine, sizeOf, type Tensor } from "../gpu/index.js";
import { type Conv2d, Linear } from "../nn/index.js";
import { accumulate, carefulGram, conv2d, fill, paddingBefore, permute, type Side } from "../ops/index.js";
import { takeRows } from "./activations.js";

/** most patches along one direction that are taken of one image, evenly spread */
const MOST_PLACES = 8;
/** most numbers of the patches that lie on the GPU at once: 64 MiB */
const MOST_NUMBERS = 2 ** 24;

/**
 * E[x·xᵀ] of the vectors x that the rows of a layer's weight are multiplied with, n×n, summed on the GPU batch by batch: inputs of
 * a dense layer, or patches of a convolution in the order of a weight's columns. Of large images evenly spread patches are taken.
 * An entry is off by about 1e-7 of √(E[x_i²]·E[x_j²]).
 *
 * @param input of the layer, batch×sample shape, or batches of it
 * @param most numbers of the patches that lie on the GPU at once
 */
export async function secondMoments(
  engine: Engine,
  layer: Linear | Conv2d,
  input: Tensor | readonly Tensor[],
  most = MOST_NUMBERS,
): Promise<Float64Array> {
  const inputs: readonly Tensor[] = Array.isArray(input) ? input : [input as Tensor];
  const sample = inputs[0]!.shape.slice(1);
  const { width, places, patches } = rowsOf(layer, sample);
  const count = inputs.reduce((sum, { shape }) => sum + shape[0]!, 0);
  using moments = engine.tensor([width, width], null, { label: "second moments" });
  const batch = Math.max(1, Math.min(count, Math.floor(most / (width * places))));
  // the kernel that copies every tap of every channel into a channel of its own
  using taps = patches && engine.tensor([width, 1, ...patches.kernel], oneHot(width, patches.kernel));
  await engine.run((s) => void fill(s, moments, 0), "second moments");
  const add = async (input: Tensor, at: number, size: number): Promise<void> => {
    await engine.run((s) => {
      const part = takeRows(s, input, at, size);
      let vectors = part;
      if (patches) {
        const columns = conv2d(s, part, taps!, { ...patches.options, groups: sample[0]! });
        s.release(part);
        vectors = permute(s, columns.reshape([size, width, places]), [0, 2, 1]);
        s.release(columns);
      }
      accumulate(s, carefulGram(s, vectors.reshape([size * places, width])), moments);
    }, "second moments");
  };
  for (const input of inputs)
    for (let at = 0; at < input.shape[0]!; at += batch) await add(input, at, Math.min(batch, input.shape[0]! - at));
  const sums = await moments.read();
  return Float64Array.from(sums, (value) => value / (count * places));
}

/** Patches of a convolution as the options of a convolution that gives them, and how many of them one sample has. */
interface Rows {
  width: number;
  places: number;
  patches: {
    kernel: readonly [number, number];
    options: Parameters<typeof conv2d>[3];
  } | null;
}

function rowsOf(layer: Linear | Conv2d, sample: readonly number[]): Rows {
  if (layer instanceof Linear) return { width: layer.inputs, places: sizeOf(sample) / layer.inputs, patches: null };
  const { kernel, stride, dilation, padding } = layer;
  const [, ...size] = layer.outputShape(sample) as [number, number, number];
  // every step-th output along a direction: the windows lie within the padded samples, as those of the layer do
  const steps = size.map((extent) => Math.ceil(extent / MOST_PLACES));
  const sides = [0, 1].map((at): [number, number] => {
    const side = padding === "same" ? padding : padding[at]!;
    const before = paddingBefore(sample[at + 1]!, kernel[at]!, stride[at]!, side, dilation[at]!);
    const reach = dilation[at]! * (kernel[at]! - 1) + 1;
    const last = (Math.ceil(size[at]! / steps[at]!) - 1) * steps[at]! * stride[at]!;
    return [before, Math.max(0, last + reach - before - sample[at + 1]!)];
  }) as unknown as [Side, Side];
  return {
    width: layer.inputs * kernel[0] * kernel[1],
    places: size.reduce((product, extent, at) => product * Math.ceil(extent / steps[at]!), 1),
    patches: {
      kernel,
      options: { stride: [steps[0]! * stride[0], steps[1]! * stride[1]], dilation, padding: sides },
    },
  };
}

/** Kernels of one channel, a tap each: row (channel, tap) is 1 at its tap. */
function oneHot(width: number, [height, across]: readonly [number, number]): Float32Array {
  const taps = height * across;
  const weight = new Float32Array(width * taps);
  for (let row = 0; row < width; row++) weight[row * taps + (row % taps)] = 1;
  return weight;
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
