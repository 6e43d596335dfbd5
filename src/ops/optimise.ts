import adamShader from "../../shaders/adam.wgsl";
import advanceShader from "../../shaders/advance_step.wgsl";
import sgdShader from "../../shaders/sgd.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";

const sgdKernel = new Kernel(sgdShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));
const adamKernel = new Kernel(adamShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));
const advanceKernel = new Kernel(advanceShader, () => [1]);

/** One step of SGD on `weights`, in place; `velocity` has their shape. */
export function sgdStep(
  s: Scheduler,
  { weights, gradient, velocity }: { weights: Tensor; gradient: Tensor; velocity: Tensor },
  options: { rate: number; momentum: number; weightDecay: number; nesterov: boolean },
): void {
  const { rate, momentum, weightDecay, nesterov } = options;
  s.run(
    sgdKernel.with({ NESTEROV: nesterov }),
    { gradient, weights, velocity },
    { size: weights.size, rate, momentum, weight_decay: weightDecay },
  );
}

/** One step of Adam on `weights`, in place; `decay` holds β₁ᵗ and β₂ᵗ, see {@link advanceStep}. */
export function adamStep(
  s: Scheduler,
  tensors: { weights: Tensor; gradient: Tensor; first: Tensor; second: Tensor; decay: Tensor },
  options: { rate: number; beta1: number; beta2: number; epsilon: number; weightDecay: number; decoupled: boolean },
): void {
  const { rate, beta1, beta2, epsilon, weightDecay, decoupled } = options;
  s.run(adamKernel.with({ DECOUPLED: decoupled }), tensors, {
    size: tensors.weights.size,
    rate,
    beta1,
    beta2,
    epsilon,
    weight_decay: weightDecay,
  });
}

/** Moves `state` ([step in the epoch, epoch, steps so far], u32) one step on, and `decay` ([β₁ᵗ, β₂ᵗ]) with it. */
export function advanceStep(
  s: Scheduler,
  state: Tensor,
  decay: Tensor,
  { steps, beta1 = 1, beta2 = 1 }: { steps: number; beta1?: number; beta2?: number },
): void {
  s.run(advanceKernel, { state, decay }, { steps, beta1, beta2 });
}
