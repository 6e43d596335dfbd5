import { dispose, type Engine, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { gram, hadamard, kruskalToTensor, sum } from "../ops/index.js";

/**
 * A Kruskal tensor ⟦λ; A⁽¹⁾, …, A⁽ᴺ⁾⟧ = Σ_r λ_r a_r⁽¹⁾ ∘ … ∘ a_r⁽ᴺ⁾ (Kolda & Bader 2009, section 3), the result of a CP
 * decomposition. Its tensors live on the GPU until {@link destroy}.
 */
export class KruskalTensor {
  /** @throws ShapeError where a factor is not a matrix of R columns */
  constructor(
    /** λ, [R] */
    readonly weights: Tensor,
    /** A⁽¹⁾, …, A⁽ᴺ⁾, I_n×R each */
    readonly factors: readonly Tensor[],
  ) {
    factors.forEach((factor, mode) => {
      if (factor.order !== 2 || factor.shape[1] !== weights.size)
        throw new ShapeError(`KruskalTensor: factor ${mode} (${factor}) needs ${weights.size} columns`);
    });
  }

  get engine(): Engine {
    return this.weights.engine;
  }

  /** Number of rank-one terms. */
  get rank(): number {
    return this.weights.size;
  }

  /** I_1, …, I_N */
  get shape(): number[] {
    return this.factors.map((factor) => factor.shape[0]!);
  }

  /** Numbers stored: R(1 + Σ I_n). */
  get parameterCount(): number {
    return this.rank + this.factors.reduce((sum, factor) => sum + factor.size, 0);
  }

  /** Records the full tensor, I_1×…×I_N, into `out` where one is given. */
  full(s: Scheduler, out?: Tensor): Tensor {
    return kruskalToTensor(s, this.weights, [...this.factors], out ? { out } : {});
  }

  /** Records ‖X̂‖² = λᵀ(⊛_n A⁽ⁿ⁾ᵀA⁽ⁿ⁾)λ as a [1] tensor, without forming the full tensor. */
  squaredNorm(s: Scheduler): Tensor {
    const column = this.weights.reshape([1, this.rank]);
    let product = gram(s, column);
    for (const factor of this.factors) {
      const next = gram(s, factor);
      const combined = hadamard(s, product, next);
      s.release(product, next);
      product = combined;
    }
    const total = sum(s, product);
    s.release(product);
    return total.reshape([1]);
  }

  /** Frees the weights and the factors. */
  destroy(): void {
    for (const tensor of [this.weights, ...this.factors]) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
