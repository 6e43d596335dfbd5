/** Kernels by which one workgroup trains a small dense network, and where things lie in their scratch. */
import registerShader from "../../../shaders/train_dense_register.wgsl?late";
import subgroupShader from "../../../shaders/train_dense_subgroup.wgsl?late";
import { type Engine, Kernel } from "../../gpu/index.js";
import { candidatesOf, declareFamily, lanesOf } from "../adapter.js";
import { quadsOf } from "../tiles.js";

const kernels = declareFamily("trainDense", {
  register: new Kernel(registerShader, () => [1]),
  subgroup: new Kernel(subgroupShader, () => [1]),
});

/** Invocations of the register kernel's workgroup, and the fewest inputs worth a part of the first layer's sums. */
const WIDTH = 64;
const SHORTEST = 16;

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** How a network is trained by one workgroup. */
export interface DensePlan {
  kernel: Kernel;
  /** where things lie in scratch, in vec4s, and the size of all of it; lists have an entry a layer */
  places: {
    weights: readonly number[];
    moments: number;
    inputs: readonly number[];
    gradients: readonly number[];
    partial: number;
    ones: number;
    size: number;
  };
  /** into how many parts of what length the first layer's inputs are cut */
  parts: number;
  length: number;
  /** tasks of a step's updates up to the end of every layer */
  ends: readonly number[];
}

/** The kernel for a network of these layers at this batch size, and where things lie in its scratch. */
export function planDense(
  engine: Engine,
  layers: readonly { inputs: number; outputs: number }[],
  batchSize: number,
): DensePlan {
  const bySubgroup = candidatesOf(engine, "trainDense")[0] === "subgroup";
  const LANES = bySubgroup ? lanesOf(engine, "trainDense") : 1;
  const kernel = bySubgroup ? kernels.subgroup.with({ LANES }) : kernels.register.with({ WIDTH });
  const first = layers[0]!;
  // a subgroup's lanes all have work without parts
  const { parts, length } = bySubgroup ? { parts: 1, length: first.inputs } : partsOf(first.inputs, batchSize);
  let end = 0;
  const take = (size: number): number => (end += size) - size;
  const samples = 4 * roundUp(quadsOf(batchSize), LANES);
  const weights = layers.map(({ inputs, outputs }) => take((4 * quadsOf(inputs) + 1) * quadsOf(outputs)));
  const moments = end;
  take(2 * moments);
  const inputs = layers.map((layer) => take(samples * quadsOf(layer.inputs)));
  const gradients = layers.map(({ outputs }) => take(samples * quadsOf(outputs)));
  const partial = take(parts > 1 ? samples * parts * quadsOf(first.outputs) : 0);
  const ones = take(5);
  let tasks = 0;
  const ends = layers.map((layer) => (tasks += roundUp(quadsOf(layer.inputs) + 1, LANES) * quadsOf(layer.outputs)));
  return { kernel, places: { weights, moments, inputs, gradients, partial, ones, size: end }, parts, length, ends };
}

/** Into how many parts of what length the first layer's inputs are cut: as many as leave no invocation without work. */
function partsOf(inputs: number, batchSize: number): { parts: number; length: number } {
  const most = Math.min(Math.floor(WIDTH / quadsOf(batchSize)), Math.floor(inputs / SHORTEST));
  const length = 4 * quadsOf(Math.ceil(inputs / Math.max(1, most)));
  return { parts: Math.ceil(inputs / length), length };
}
