import type { Engine, Scheduler, Tensor } from "../gpu/index.js";
import { adamStep, sgdStep } from "../ops/index.js";

/** An optimiser's state for one network. */
export interface OptimiserState {
  /** what the step counter's running products are made of */
  readonly betas: readonly [number, number];
  /** records one step on all weights at once; `decay` holds β₁ᵗ and β₂ᵗ */
  record(s: Scheduler, weights: Tensor, gradients: Tensor, decay: Tensor): void;
  destroy(): void;
}

/** A recipe for an optimiser; `start` allocates its state. */
export interface Optimiser {
  readonly name: string;
  start(engine: Engine, weights: Tensor): OptimiserState;
}

export interface AdamOptions {
  /** learning rate, 0.001 by default */
  rate?: number;
  beta1?: number;
  beta2?: number;
  epsilon?: number;
  weightDecay?: number;
  /** decay the weights themselves (AdamW) rather than through the gradient */
  decoupled?: boolean;
}

/** Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) when decoupled. */
export function adam(options: AdamOptions = {}): Optimiser {
  const { rate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, decoupled = false } = options;
  const settings = { rate, beta1, beta2, epsilon, weightDecay, decoupled };
  return {
    name: decoupled ? "AdamW" : "Adam",
    start(engine, weights) {
      const first = engine.tensor(weights.shape, null, { label: "Adam first moments" });
      const second = engine.tensor(weights.shape, null, { label: "Adam second moments" });
      return {
        betas: [beta1, beta2],
        record: (s, values, gradient, decay) =>
          adamStep(s, { weights: values, gradient, first, second, decay }, settings),
        destroy() {
          first.destroy();
          second.destroy();
        },
      };
    },
  };
}

export interface SgdOptions {
  /** learning rate */
  rate: number;
  momentum?: number;
  weightDecay?: number;
  nesterov?: boolean;
}

/** Stochastic gradient descent with momentum, in PyTorch's form: v = μv + g, w −= rate · v. */
export function sgd({ rate, momentum = 0, weightDecay = 0, nesterov = false }: SgdOptions): Optimiser {
  return {
    name: "SGD",
    start(engine, weights) {
      const velocity = engine.tensor(weights.shape, null, { label: "SGD velocity" });
      return {
        betas: [1, 1],
        record: (s, values, gradient) =>
          sgdStep(s, { weights: values, gradient, velocity }, { rate, momentum, weightDecay, nesterov }),
        destroy: () => velocity.destroy(),
      };
    },
  };
}
