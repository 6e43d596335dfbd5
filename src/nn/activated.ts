import type { Scheduler, Tensor } from "../gpu/index.js";
import { type Activation, activate, activationGradient, isFromOutput } from "../ops/index.js";

/**
 * The activation of a layer's product. It is applied in the product's kernel, but for training with an activation whose gradient
 * needs the product itself.
 */
export class Activated {
  /** what the gradient is computed from */
  #kept: Tensor | null = null;

  constructor(readonly activation: Activation) {}

  /** @param product records the layer's product with the activation that its kernel shall apply */
  forward(s: Scheduler, training: boolean, product: (activation: Activation) => Tensor): Tensor {
    const { activation } = this;
    if (!training) return product(activation);
    if (isFromOutput(activation)) {
      this.#kept = product(activation);
      return this.#kept;
    }
    this.#kept = product("none");
    return activate(s, this.#kept, activation);
  }

  /** The gradient of the product, from that of the output: `dy` itself where there is no activation. */
  backward(s: Scheduler, dy: Tensor): Tensor {
    const { activation } = this;
    const kept = this.#kept!;
    this.#kept = null;
    if (activation === "none") return dy;
    const dz = activationGradient(s, kept, dy, activation);
    if (!isFromOutput(activation)) s.release(kept);
    return dz;
  }
}
