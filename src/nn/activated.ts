import type { Scheduler, Tensor } from "../gpu/index.js";
import { type Activation, activate, activationGradient, type Epilogue, isFromOutput } from "../ops/index.js";

/** Records a product, with the epilogue that its kernel shall have. */
type Product = (epilogue: Epilogue) => Tensor;

const isEpilogue = (activation: Activation): activation is Epilogue => activation === "none" || activation === "relu";

/** A product and its activation: by the product's kernel, or by one of its own. */
export function activatedProduct(s: Scheduler, activation: Activation, product: Product): Tensor {
  if (isEpilogue(activation)) return product(activation);
  const z = product("none");
  const y = activate(s, z, activation);
  s.release(z);
  return y;
}

/** The activation of a layer's product, forwards and backwards. */
export class Activated {
  /** what the gradient is computed from */
  #saved: Tensor | null = null;

  constructor(readonly activation: Activation) {}

  /** @param training whether a backward pass follows, which needs the output or the product */
  forward(s: Scheduler, training: boolean, product: Product): Tensor {
    const { activation } = this;
    if (!training) return activatedProduct(s, activation, product);
    if (isFromOutput(activation)) {
      this.#saved = activatedProduct(s, activation, product);
      return this.#saved;
    }
    this.#saved = product("none");
    return activate(s, this.#saved, activation);
  }

  /**
   * Records what comes of the product's gradient, which is computed from that of the output (`dy`; where there is no activation it is the
   * same) and is released afterwards.
   */
  backward<T>(s: Scheduler, dy: Tensor, record: (dz: Tensor) => T): T {
    const { activation } = this;
    const saved = this.#saved!;
    this.#saved = null;
    if (activation === "none") return record(dy);
    const dz = activationGradient(s, saved, dy, activation);
    if (!isFromOutput(activation)) s.release(saved);
    const result = record(dz);
    s.release(dz);
    return result;
  }
}
