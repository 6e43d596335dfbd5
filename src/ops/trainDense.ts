import shaderRegister from "../../shaders/train_dense_register.wgsl";
import shaderSubgroup from "../../shaders/train_dense_subgroup.wgsl";
import { type Engine, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { halfBits } from "./gatherBatch.js";
import type { AdamSettings, SgdSettings } from "./optimise.js";
import { assertCall, assertShape } from "./shapes.js";
import { fusesTraining, lanesOf } from "./variants.js";

const kernels = { register: new Kernel(shaderRegister, () => [1]), subgroup: new Kernel(shaderSubgroup, () => [1]) };

/** One layer of a network that {@link trainDense} trains: y = dropout(relu(W·x + b)), the last one without relu and dropout. */
export interface DenseLayer {
  inputs: number;
  outputs: number;
  /** outputs×inputs, a view of the network's weights */
  weight: Tensor;
  bias: Tensor | null;
  relu: boolean;
  /** after relu only */
  dropout: { rate: number; stream: number } | null;
}

export interface DenseOptions {
  batchSize: number;
  shuffle: boolean;
  /** of shuffling and dropout */
  seed: number;
  /** softmax twice, see softmaxCrossEntropy */
  double: boolean;
  optimiser: SgdSettings | AdamSettings;
  /** multiplications that one dispatch may take; by default a quarter of a second on a slow adapter: drivers end what takes two */
  work?: number;
}

export interface DenseTensors {
  /** N×inputs, f32 or bytes that stand for value / 255 */
  inputs: Tensor<"f32" | "u8">;
  /** [N], u32 */
  labels: Tensor<"u32">;
  /** what the layers' weights are views of */
  weights: Tensor;
  /** from {@link denseScratch}; holds the optimiser's moments */
  scratch: Tensor<"u32">;
  /** from `trainingState` */
  state: Tensor<"u32">;
  /** epochs×columns; loss and right answers are added to the first two columns of the present epoch's row */
  curve: Tensor;
}

/** Layers that the kernel's params have room for. */
export const MOST_DENSE_LAYERS = 8;

/** Whether a step of this network is so small that one workgroup does it faster than a dispatch an op. */
export const isSmall = (engine: Engine, layers: readonly DenseLayer[], batchSize: number): boolean =>
  fusesTraining(engine, batchSize * layers.reduce((sum, { inputs, outputs }) => sum + inputs * outputs, 0));

const quads = (extent: number): number => Math.ceil(extent / 4);

/** Invocations of the kernel's one workgroup, and the fewest inputs worth a part of their own. */
const WIDTH = 64;
const SHORTEST = 16;

/** Into how many parts the first layer's inputs are cut, and how long these are: as many as leave no lane without work. */
function partsOf(inputs: number, batchSize: number, lanes: number): { parts: number; length: number } {
  // one subgroup's lanes all have quads, but for its last turn
  if (lanes) return { parts: 1, length: inputs };
  const most = Math.min(Math.floor(WIDTH / quads(batchSize)), Math.floor(inputs / SHORTEST));
  const length = 4 * quads(Math.ceil(inputs / Math.max(1, most)));
  return { parts: Math.ceil(inputs / length), length };
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Where things lie in scratch, in vec4s, for a kernel by register (0) or a subgroup of so many lanes. */
function layout(layers: readonly DenseLayer[], batchSize: number, lanes: number) {
  let end = 0;
  const samples = 4 * roundUp(quads(batchSize), lanes || 1);
  const take = (size: number): number => (end += size) - size;
  const weights = layers.map(({ inputs, outputs }) => take((4 * quads(inputs) + 1) * quads(outputs)));
  const moments = end;
  take(2 * moments);
  const inputs = layers.map((layer) => take(samples * quads(layer.inputs)));
  const gradients = layers.map(({ outputs }) => take(samples * quads(outputs)));
  const first = layers[0]!;
  const { parts } = partsOf(first.inputs, batchSize, lanes);
  const partial = take(parts > 1 ? samples * parts * quads(first.outputs) : 0);
  const ones = take(5);
  return { weights, moments, inputs, gradients, partial, ones, size: end };
}

const scratchShape = (engine: Engine, layers: readonly DenseLayer[], batchSize: number): number[] => [
  layout(layers, batchSize, lanesOf(engine)).size,
  4,
];

/** The scratch that {@link trainDense} needs, new. */
export const denseScratch = (engine: Engine, layers: readonly DenseLayer[], batchSize: number): Tensor<"u32"> =>
  engine.tensor(scratchShape(engine, layers, batchSize), null, { dtype: "u32", label: "training scratch" });

/**
 * Records one epoch of training for a small dense network: many steps a dispatch, by one workgroup. Same steps, samples and
 * dropout as the single ops (gatherBatch, matmul, softmaxCrossEntropy, …), sums in another order. Writes no gradients.
 */
export function trainDense(
  s: Scheduler,
  layers: readonly DenseLayer[],
  { inputs, labels, weights, scratch, state, curve }: DenseTensors,
  { batchSize, shuffle, seed, double, optimiser, work = 2 ** 27 }: DenseOptions,
): void {
  assertCall("trainDense", s);
  const count = inputs.shape[0]!;
  if (layers.length < 1 || layers.length > MOST_DENSE_LAYERS)
    throw new ShapeError(`trainDense: ${layers.length} layers, needs 1 to ${MOST_DENSE_LAYERS}`);
  const lanes = lanesOf(s.engine);
  assertShape("trainDense", "scratch", scratch, scratchShape(s.engine, layers, batchSize));
  const places = layout(layers, batchSize, lanes);
  const { parts, length } = partsOf(layers[0]!.inputs, batchSize, lanes);
  const steps = Math.ceil(count / batchSize);
  const step = 3 * batchSize * layers.reduce((sum, layer) => sum + layer.inputs * layer.outputs, 0);
  const atOnce = Math.max(1, Math.min(steps, Math.floor(work / step)));
  const inArena = (tensor: Tensor | null): number => (tensor ? (tensor.offset - weights.offset) / 4 : 2 ** 32 - 1);
  let tasks = 0;
  const ends = layers.map((layer) => (tasks += roundUp(quads(layer.inputs) + 1, lanes || 1) * quads(layer.outputs)));
  const padded = (rows: readonly (readonly number[])[]): number[] =>
    Array.from({ length: MOST_DENSE_LAYERS }, (_, index) => rows[index] ?? [0, 0, 0, 0]).flat();
  const adam = optimiser.kind === "adam";
  const params = {
    count,
    batch: batchSize,
    steps,
    at_once: atOnce,
    half_bits: halfBits(count),
    shuffle_seed: seed >>> 0,
    dropout_seed_low: seed >>> 0,
    dropout_seed_high: Math.floor(seed / 2 ** 32),
    curve_columns: curve.shape[1]!,
    moments: places.moments,
    tasks,
    ones: places.ones,
    parts,
    part_length: length,
    partial: places.partial,
    rate: optimiser.rate,
    weight_decay: optimiser.weightDecay,
    momentum: adam ? 0 : optimiser.momentum,
    beta1: adam ? optimiser.beta1 : 1,
    beta2: adam ? optimiser.beta2 : 1,
    epsilon: adam ? optimiser.epsilon : 0,
    extents: padded(layers.map((layer) => [layer.inputs, layer.outputs, inArena(layer.weight), inArena(layer.bias)])),
    places: padded(
      layers.map((_, index) => [places.weights[index]!, places.inputs[index]!, places.gradients[index]!, ends[index]!]),
    ),
    modifiers: padded(layers.map(({ relu, dropout }) => [relu ? 1 : 0, dropout?.rate ?? 0, dropout?.stream ?? 0, 0])),
  };
  const bytes = inputs.dtype === "u8";
  const kernel = lanes ? kernels.subgroup.with({ LANES: lanes }) : kernels.register.with({ WIDTH });
  const specialised = kernel.with({
    scalar: bytes ? "u32" : "f32",
    BYTES: bytes,
    SPLIT: parts > 1,
    ALIGNED: layers[0]!.inputs % 4 === 0,
    LAYERS: layers.length,
    SHUFFLE: shuffle,
    DOUBLE: double,
    DROPOUT: layers.some(({ dropout }) => dropout),
    ADAM: adam,
    DECOUPLED: adam && optimiser.decoupled,
    NESTEROV: !adam && optimiser.nesterov,
  });
  for (let done = 0; done < steps; done += atOnce)
    s.run(specialised, { x: inputs, labels, weights, scratch, state, curve }, params);
}
