import { dispose, type Engine, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { matmul, multiply, slice } from "../ops/index.js";

/**
 * A PARAFAC2 model of K slices (Harshman 1972; Kiers, ten Berge & Bro 1999): X_k ≈ P_k·B·diag(λ ∘ a_k)·Cᵀ, with a_k row k of A and
 * orthonormal columns in P_k, so that (P_k·B)ᵀ(P_k·B) is the same for all slices. Its tensors live on the GPU until {@link destroy}.
 */
export class Parafac2Tensor {
  /** @throws ShapeError where a factor has not R columns, or a projection not R, or their number is not K */
  constructor(
    /** λ, [R], falling */
    readonly weights: Tensor,
    /** A (K×R), B (R×R), C (J×R), columns of norm 1 */
    readonly factors: readonly [a: Tensor, b: Tensor, c: Tensor],
    /** P_1, …, P_K: I_k×R each, orthonormal columns */
    readonly projections: readonly Tensor[],
  ) {
    const rank = weights.size;
    for (const [what, tensor] of [...factors.entries(), ...projections.entries()])
      if (tensor.order !== 2 || tensor.shape[1] !== rank)
        throw new ShapeError(`Parafac2Tensor: matrix ${what} (${tensor}) needs ${rank} columns`);
    if (factors[0].shape[0] !== projections.length)
      throw new ShapeError(`Parafac2Tensor: ${projections.length} projections for A ${factors[0]}, needs one a row`);
  }

  get engine(): Engine {
    return this.weights.engine;
  }

  /** R */
  get rank(): number {
    return this.weights.size;
  }

  /** I_k×J of every slice. */
  get shapes(): [rows: number, columns: number][] {
    return this.projections.map((projection) => [projection.shape[0]!, this.factors[2].shape[0]!]);
  }

  /** Numbers stored: R(1 + K + R + J + Σ I_k). */
  get parameterCount(): number {
    return this.rank + [...this.factors, ...this.projections].reduce((sum, matrix) => sum + matrix.size, 0);
  }

  /** Records the evolving factor of slice k, B_k = P_k·B, I_k×R. */
  evolving(s: Scheduler, k: number): Tensor {
    return matmul(s, this.#projection(k), this.factors[1]);
  }

  /** Records slice k in full, I_k×J, into `out` where one is given. */
  full(s: Scheduler, k: number, out?: Tensor): Tensor {
    const projection = this.#projection(k);
    const [a, b, c] = this.factors;
    const row = slice(s, a, [k, 0], [1, this.rank]);
    const scaled = multiply(s, row, this.weights);
    const left = multiply(s, b, scaled);
    const evolved = matmul(s, projection, left);
    const full = matmul(s, evolved, c, { transposeB: true, out });
    s.release(row, scaled, left, evolved);
    return full;
  }

  #projection(k: number): Tensor {
    const projection = this.projections[k];
    if (!projection)
      throw new ShapeError(`Parafac2Tensor: slice ${k}, there are slices 0 to ${this.projections.length - 1}`);
    return projection;
  }

  /** Frees all of it. */
  destroy(): void {
    for (const tensor of [this.weights, ...this.factors, ...this.projections]) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
