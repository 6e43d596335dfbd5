import { type Engine, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { type DensePlan, planDense } from "./families/trainDense.js";
import { halfBits } from "./gatherBatch.js";
import type { AdamSettings, SgdSettings } from "./optimise.js";
import { assertCall, assertShape } from "./shapes.js";

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
  /** seed of shuffling and dropout */
  seed: number;
  /** applies softmax twice, see softmaxCrossEntropy */
  double: boolean;
  optimiser: SgdSettings | AdamSettings;
  /** multiplications that one dispatch does at most; by default what the adapter does in well under two seconds, when drivers end it */
  work?: number;
}

export interface DenseTensors {
  /** N×inputs, f32 or bytes that stand for value / 255 */
  inputs: Tensor<"f32" | "u8">;
  /** [N], u32 */
  labels: Tensor<"u32">;
  /** the tensor that the weights and biases of all layers are views of */
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

/** Whether one workgroup trains this network faster than a dispatch an op does. */
export const isSmall = (engine: Engine, layers: readonly DenseLayer[], batchSize: number): boolean =>
  batchSize * layers.reduce((sum, { inputs, outputs }) => sum + inputs * outputs, 0) <= setting(engine, "training");

const scratchShape = ({ places }: DensePlan): number[] => [places.size, 4];

/** The scratch that {@link trainDense} needs, new. */
export const denseScratch = (engine: Engine, layers: readonly DenseLayer[], batchSize: number): Tensor<"u32"> =>
  engine.tensor(scratchShape(planDense(engine, layers, batchSize)), null, { dtype: "u32", label: "training scratch" });

/**
 * Records one epoch of training for a small dense network: many steps a dispatch, by one workgroup. Same steps, samples and
 * dropout as the single ops (gatherBatch, matmul, softmaxCrossEntropy, …), sums in another order. Writes no gradients.
 */
export function trainDense(
  s: Scheduler,
  layers: readonly DenseLayer[],
  { inputs, labels, weights, scratch, state, curve }: DenseTensors,
  { batchSize, shuffle, seed, double, optimiser, work }: DenseOptions,
): void {
  assertCall("trainDense", s);
  const count = inputs.shape[0]!;
  if (layers.length < 1 || layers.length > MOST_DENSE_LAYERS)
    throw new ShapeError(`trainDense: ${layers.length} layers, needs 1 to ${MOST_DENSE_LAYERS}`);
  const plan = planDense(s.engine, layers, batchSize);
  assertShape("trainDense", "scratch", scratch, scratchShape(plan));
  const { places, parts, length, ends } = plan;
  const steps = Math.ceil(count / batchSize);
  const step = 3 * batchSize * layers.reduce((sum, layer) => sum + layer.inputs * layer.outputs, 0);
  const atOnce = Math.max(1, Math.min(steps, Math.floor((work ?? setting(s.engine, "trainingWork")) / step)));
  const inArena = (tensor: Tensor | null): number => (tensor ? (tensor.offset - weights.offset) / 4 : 2 ** 32 - 1);
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
    tasks: ends.at(-1)!,
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
  const specialised = plan.kernel.with({
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
