import {
  checkOptions,
  type Engine,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { type AdamSettings, adamStep, type SgdSettings, sgdStep } from "../ops/index.js";

/** An optimiser's tensors for one network, and how a step is recorded. */
export interface OptimiserState {
  /** records one step on all weights in one dispatch; `state` is the tensor that `trainingState(engine, betas)` makes */
  record(s: Scheduler, weights: Tensor, gradients: Tensor, state: Tensor<"u32">): void;
  destroy(): void;
}

/** An optimiser and its settings. `start` allocates the tensors that it needs for one network. */
export interface Optimiser {
  readonly name: string;
  /** β₁ and β₂, whose powers β₁ᵗ and β₂ᵗ the training state carries; [1, 1] where a step needs no powers */
  readonly betas: readonly [number, number];
  /** the step in numbers, for kernels that do whole training steps (`steps: "fused"`); without it only `record` does steps */
  readonly settings?: AdamSettings | SgdSettings;
  start(engine: Engine, weights: Tensor): OptimiserState;
}

export interface AdamOptions {
  /** learning rate, 0.001 by default */
  rate?: number;
  /** decay of the first moments, 0.9 by default */
  beta1?: number;
  /** decay of the second moments, 0.999 by default */
  beta2?: number;
  /** added to √ of the second moments, 1e-8 by default */
  epsilon?: number;
  /** 0 by default */
  weightDecay?: number;
  /** true: decay the weights themselves (AdamW); false (the default): add the decay to the gradient */
  decoupled?: boolean;
  /** steps in which the rate rises to what it is; 0 by default */
  warmSteps?: number;
  /** steps in which the rate falls to 0 by half a cosine (Loshchilov & Hutter 2017); 0 by default: it stays */
  decaySteps?: number;
}

const adamRules: OptionRules<AdamOptions> = {
  rate: optionRules.atLeastZero,
  beta1: optionRules.belowOne,
  beta2: optionRules.belowOne,
  epsilon: optionRules.atLeastZero,
  weightDecay: optionRules.atLeastZero,
  decoupled: optionRules.flag,
  warmSteps: optionRules.count,
  decaySteps: optionRules.count,
};

/**
 * Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) when decoupled.
 *
 * @throws TenfoldError where an option is unfit
 */
export function adam(options: AdamOptions = {}): Optimiser {
  checkOptions("adam", options, adamRules);
  const { rate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, decoupled = false } = options;
  const { warmSteps = 0, decaySteps = 0 } = options;
  const step = { rate, beta1, beta2, epsilon, weightDecay, decoupled };
  const settings: AdamSettings = { kind: "adam", ...step, warmSteps, decaySteps };
  return {
    name: decoupled ? "AdamW" : "Adam",
    betas: [beta1, beta2],
    // the kernel that does whole training steps has one rate
    ...(warmSteps + decaySteps === 0 && { settings }),
    start(engine, weights) {
      const first = engine.tensor(weights.shape, null, { label: "Adam first moments" });
      const second = engine.tensor(weights.shape, null, { label: "Adam second moments" });
      return {
        record: (s, values, gradient, state) =>
          adamStep(s, { weights: values, gradient, first, second, state }, settings),
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
  /** μ, 0 by default */
  momentum?: number;
  /** times the weights, added to the gradient; 0 by default */
  weightDecay?: number;
  /** Nesterov's momentum, false by default; needs a momentum above 0 */
  nesterov?: boolean;
}

const sgdRules: OptionRules<SgdOptions> = {
  rate: required(optionRules.atLeastZero),
  momentum: optionRules.atLeastZero,
  weightDecay: optionRules.atLeastZero,
  nesterov: optionRules.flag,
};

/**
 * Stochastic gradient descent with momentum, in PyTorch's form: v = μv + g, w −= rate · v.
 *
 * @throws TenfoldError where an option is unfit
 */
export function sgd(options: SgdOptions): Optimiser {
  checkOptions("sgd", options, sgdRules);
  const { rate, momentum = 0, weightDecay = 0, nesterov = false } = options;
  if (nesterov && !momentum) throw new TenfoldError("sgd: nesterov is true, needs a momentum above 0");
  const settings: SgdSettings = { kind: "sgd", rate, momentum, weightDecay, nesterov };
  return {
    name: "SGD",
    betas: [1, 1],
    settings,
    start(engine, weights) {
      const velocity = engine.tensor(weights.shape, null, { label: "SGD velocity" });
      return {
        record: (s, values, gradient) => sgdStep(s, { weights: values, gradient, velocity }, settings),
        destroy: () => velocity.destroy(),
      };
    },
  };
}
