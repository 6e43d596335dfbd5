import { dispose, type Engine, type Scheduler, type Tensor } from "../gpu/index.js";
import { type Conv2d, Join, type Layer, Linear, type Network } from "../nn/index.js";
import {
  accumulate,
  carefulGram,
  conv2d,
  copy,
  fill,
  paddingBefore,
  permute,
  type Side,
  slice,
  squaredDistance,
  sumOfSquares,
} from "../ops/index.js";

/** The samples, then the outputs of every place of a network for them. The caller destroys these. */
export async function activationsOf(model: Network, samples: Tensor): Promise<Tensor[]> {
  const { engine } = model;
  const activations: Tensor[] = [];
  const keep = async (record: (s: Scheduler) => Tensor, shape: readonly number[]): Promise<void> => {
    const out = engine.tensor(shape, null, { label: "activation" });
    activations.push(out);
    await engine.run((s) => void copy(s, record(s), { out }), "activations");
  };
  try {
    await keep(() => samples, samples.shape);
    const count = samples.shape[0]!;
    const shapes = model.shapes();
    const values = new Map(["input", ...model.places.map(({ id }) => id)].map((id, value) => [id, value]));
    // a submit a place: temporaries of one place at a time
    for (const [at, { of, from }] of model.places.entries()) {
      const inputs = from.map((id) => activations[values.get(id)!]!);
      await keep(
        (s) =>
          of instanceof Join
            ? of.forward(s, inputs, { training: false })
            : of.forward(s, inputs[0]!, { training: false }),
        [count, ...shapes[at + 1]!],
      );
    }
    return activations;
  } catch (error) {
    for (const tensor of activations) tensor[dispose]();
    throw error;
  }
}

/** most patches along one direction that are taken of one image, evenly spread */
const MOST_PLACES = 8;
/** most numbers of the patches that lie on the GPU at once: 64 MiB */
const MOST_NUMBERS = 2 ** 24;

/**
 * E[x·xᵀ] of the vectors x that the rows of a layer's weight are multiplied with, n×n, summed on the GPU batch by batch: inputs of
 * a dense layer, or patches of a convolution in the order of a weight's columns. Of large images evenly spread patches are taken.
 * An entry is off by about 1e-7 of √(E[x_i²]·E[x_j²]).
 *
 * @param input of the layer, batch×sample shape
 * @param most numbers of the patches that lie on the GPU at once
 */
export async function secondMoments(
  engine: Engine,
  layer: Linear | Conv2d,
  input: Tensor,
  most = MOST_NUMBERS,
): Promise<Float64Array> {
  const { width, places, patches } = rowsOf(layer, input);
  const count = input.shape[0]!;
  using moments = engine.tensor([width, width], null, { label: "second moments" });
  const batch = Math.max(1, Math.min(count, Math.floor(most / (width * places))));
  // the kernel that copies every tap of every channel into a channel of its own
  using taps = patches && engine.tensor([width, 1, ...patches.kernel], oneHot(width, patches.kernel));
  await engine.run((s) => void fill(s, moments, 0), "second moments");
  for (let at = 0; at < count; at += batch) {
    const size = Math.min(batch, count - at);
    await engine.run((s) => {
      const starts = input.shape.map((_, mode) => (mode === 0 ? at : 0));
      const part = slice(s, input, starts, [size, ...input.shape.slice(1)]);
      let vectors = part;
      if (patches) {
        const columns = conv2d(s, part, taps!, { ...patches.options, groups: input.shape[1]! });
        s.release(part);
        vectors = permute(s, columns.reshape([size, width, places]), [0, 2, 1]);
        s.release(columns);
      }
      accumulate(s, carefulGram(s, vectors.reshape([size * places, width])), moments);
    }, "second moments");
  }
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

function rowsOf(layer: Linear | Conv2d, input: Tensor): Rows {
  if (layer instanceof Linear)
    return { width: layer.inputs, places: input.size / input.shape[0]! / layer.inputs, patches: null };
  const { kernel, stride, dilation, padding } = layer;
  const sample = input.shape.slice(1);
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

/** How much the outputs change when another layer takes the place of one of a network's layers. */
export interface Loss {
  /** ‖y − ŷ‖ ÷ ‖y‖ of the layer's outputs */
  layer: number;
  /** ‖y − ŷ‖ ÷ ‖y‖ of the network's outputs */
  network: number;
}

/**
 * Compares the outputs of a network with those that it has with `layer` in place of the layer of place `index`.
 *
 * @param activations of the network on the samples, from {@link activationsOf}
 */
export async function replacementLoss(
  model: Network,
  activations: readonly Tensor[],
  index: number,
  layer: Layer,
): Promise<Loss> {
  const { engine, graph } = model;
  const sums = Array.from({ length: 4 }, () => engine.tensor([1]));
  try {
    await engine.run((s) => {
      const compare = (tensor: Tensor, changed: Tensor, at: number): void => {
        squaredDistance(s, tensor, changed.reshape(tensor.shape), { out: sums[at]! });
        sumOfSquares(s, tensor, { out: sums[at + 1]! });
      };
      const input = activations[graph.nodes[index]!.from[0]!]!;
      const output = layer.forward(s, input, { training: false });
      compare(activations[index + 1]!, output, 0);
      compare(activations[graph.output]!, graph.resume(s, activations, index, output), 2);
    }, `loss by ${layer.name}`);
    const [a, b, c, d] = (await engine.read(sums)).map((values) => values[0]!) as [number, number, number, number];
    const ratio = (error: number, energy: number): number => Math.sqrt(error / Math.max(energy, Number.MIN_VALUE));
    return { layer: ratio(a, b), network: ratio(c, d) };
  } finally {
    for (const sum of sums) sum.destroy();
  }
}
