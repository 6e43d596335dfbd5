import adamShader from "../../shaders/adam.wgsl";
import advanceShader from "../../shaders/advance_step.wgsl";
import sgdShader from "../../shaders/sgd.wgsl";
import { type Engine, type Grid, grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";

const vectors: Grid = ({ size }, { WIDTH }) => grid1d(Math.ceil(size! / 4), WIDTH!);
const sgdKernel = new Kernel(sgdShader, vectors);
const adamKernel = new Kernel(adamShader, vectors);
const advanceKernel = new Kernel(advanceShader, () => [1]);

/** Settings of SGD, in PyTorch's form: v = μv + g, w −= rate · v. */
export interface SgdSettings {
  kind: "sgd";
  rate: number;
  momentum: number;
  weightDecay: number;
  nesterov: boolean;
}

/** Settings of Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) when decoupled. */
export interface AdamSettings {
  kind: "adam";
  rate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  decoupled: boolean;
  /** steps in which the rate rises to what it is */
  warmSteps?: number;
  /** steps in which the rate falls to 0 by half a cosine; 0: it stays */
  decaySteps?: number;
}

/** One step of SGD on `weights`, in place; `velocity` has their shape. */
export function sgdStep(
  s: Scheduler,
  { weights, gradient, velocity }: { weights: Tensor; gradient: Tensor; velocity: Tensor },
  { rate, momentum, weightDecay, nesterov }: SgdSettings,
): void {
  assertCall("sgdStep", s);
  s.run(
    sgdKernel.with({ NESTEROV: nesterov }),
    { gradient, weights, velocity },
    { size: weights.size, rate, momentum, weight_decay: weightDecay },
  );
}

/** One step of Adam on `weights`, in place; `state` as {@link trainingState} makes it. */
export function adamStep(
  s: Scheduler,
  tensors: { weights: Tensor; gradient: Tensor; first: Tensor; second: Tensor; state: Tensor<"u32"> },
  { rate, beta1, beta2, epsilon, weightDecay, decoupled, warmSteps = 0, decaySteps = 0 }: AdamSettings,
): void {
  assertCall("adamStep", s);
  s.run(adamKernel.with({ DECOUPLED: decoupled }), tensors, {
    size: tensors.weights.size,
    rate,
    beta1,
    beta2,
    epsilon,
    weight_decay: weightDecay,
    warm_steps: warmSteps,
    decay_steps: decaySteps,
  });
}

/** What changes from step to step, u32: [step in the epoch, epoch, steps so far, bits of β₁ᵗ, bits of β₂ᵗ]. */
export function trainingState(engine: Engine, [beta1, beta2]: readonly [number, number] = [1, 1]): Tensor<"u32"> {
  const words = new Uint32Array(5);
  new Float32Array(words.buffer).set([beta1, beta2], 3);
  return engine.tensor([5], words, { label: "training state" });
}

/** Moves a {@link trainingState} one step on, where an epoch has so many. */
export function advanceStep(
  s: Scheduler,
  state: Tensor<"u32">,
  { steps, betas = [1, 1] }: { steps: number; betas?: readonly [number, number] },
): void {
  assertCall("advanceStep", s, { state });
  s.run(advanceKernel, { state }, { steps, beta1: betas[0], beta2: betas[1] });
}
