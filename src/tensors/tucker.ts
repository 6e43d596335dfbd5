import { dispose, type Engine, formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { copy, modeProduct, solveSymmetric, unfoldedProduct } from "../ops/index.js";

/**
 * A Tucker tensor ⟦G; A⁽¹⁾, …, A⁽ᴺ⁾⟧ = G ×₁ A⁽¹⁾ … ×_N A⁽ᴺ⁾ (Kolda & Bader 2009, section 4). A mode that was left alone
 * has the factor null, which stands for the identity and is never formed.
 */
export class TuckerTensor {
  constructor(
    /** G, R_1×…×R_N */
    readonly core: Tensor,
    /** I_n×R_n with orthonormal columns, or null where the mode was left alone */
    readonly factors: readonly (Tensor | null)[],
  ) {
    factors.forEach((factor, mode) => {
      if (factor && factor.shape[1] !== core.shape[mode])
        throw new ShapeError(
          `TuckerTensor: factor ${mode} (${factor}) does not fit the core ${formatShape(core.shape)}`,
        );
    });
  }

  get engine(): Engine {
    return this.core.engine;
  }

  get ranks(): readonly number[] {
    return this.core.shape;
  }

  get shape(): number[] {
    return this.factors.map((factor, mode) => factor?.shape[0] ?? this.core.shape[mode]!);
  }

  /** Numbers stored: Π R_n + Σ I_n R_n over the modes with a factor. */
  get parameterCount(): number {
    return this.core.size + this.factors.reduce((sum, factor) => sum + (factor?.size ?? 0), 0);
  }

  /** Records the full tensor, I_1×…×I_N. */
  full(s: Scheduler, out?: Tensor): Tensor {
    return this.multiply(s, -1, out);
  }

  /**
   * Records the loadings of new slices along `mode` on the frozen other factors: A_new = X₍ₙ₎ · pinv(G₍ₙ₎), with G the core
   * times the other factors. `x` has the decomposed shape except at `mode`. On the decomposed tensor it gives A⁽ⁿ⁾ back.
   */
  project(s: Scheduler, x: Tensor, mode = 0): Tensor {
    const { shape } = this;
    if (x.order !== shape.length || x.shape.some((extent, k) => k !== mode && extent !== shape[k]))
      throw new ShapeError(`project (mode ${mode}): ${x} given, expected ${formatShape(shape)} except at the mode`);
    const basis = this.multiply(s, mode);
    const onBasis = unfoldedProduct(s, x, basis, mode);
    const gramian = unfoldedProduct(s, basis, basis, mode);
    const loadings = solveSymmetric(s, gramian, onBasis, { method: "pseudoInverse" });
    for (const temporary of [gramian, onBasis]) s.release(temporary);
    if (basis !== this.core) s.release(basis);
    return loadings;
  }

  /** The core times all factors but that of `skip`: what {@link project} projects on, R_n in place of I_n at that mode. */
  basis(s: Scheduler, mode: number): Tensor {
    return this.multiply(s, mode);
  }

  private multiply(s: Scheduler, skip: number, out?: Tensor): Tensor {
    const modes = this.factors
      .map((factor, mode) => ({ factor, mode }))
      .filter(({ factor, mode }) => factor && mode !== skip);
    // small modes first: every product multiplies the size by I_n / R_n
    modes.sort((a, b) => a.factor!.shape[0]! / a.factor!.shape[1]! - b.factor!.shape[0]! / b.factor!.shape[1]!);
    if (!modes.length && out) return copy(s, this.core, { out });
    let product = this.core;
    modes.forEach(({ factor, mode }, index) => {
      const last = index === modes.length - 1;
      const next = modeProduct(s, product, factor!, mode, last && out ? { out } : {});
      if (product !== this.core) s.release(product);
      product = next;
    });
    return product;
  }

  destroy(): void {
    this.core.destroy();
    for (const factor of this.factors) factor?.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
