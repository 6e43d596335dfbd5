import { dispose, type Engine, formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { copy, modeProduct, permute, solveSymmetric, unfoldedProduct } from "../ops/index.js";

/**
 * A Tucker tensor ⟦G; A⁽¹⁾, …, A⁽ᴺ⁾⟧ = G ×₁ A⁽¹⁾ … ×_N A⁽ᴺ⁾ (Kolda & Bader 2009, section 4). A mode that is not decomposed has
 * the factor null, which stands for the identity matrix. Its tensors live on the GPU until {@link destroy}.
 */
export class TuckerTensor {
  /** @throws ShapeError where a factor's columns are not the core's extent of that mode */
  constructor(
    /** G, R_1×…×R_N */
    readonly core: Tensor,
    /** I_n×R_n with orthonormal columns, or null where the mode is not decomposed */
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

  /** R_1, …, R_N */
  get ranks(): readonly number[] {
    return this.core.shape;
  }

  /** I_1, …, I_N */
  get shape(): number[] {
    return this.factors.map((factor, mode) => factor?.shape[0] ?? this.core.shape[mode]!);
  }

  /** Numbers stored: Π R_n + Σ I_n R_n over the modes with a factor. */
  get parameterCount(): number {
    return this.core.size + this.factors.reduce((sum, factor) => sum + (factor?.size ?? 0), 0);
  }

  /** Records the full tensor, I_1×…×I_N, into `out` where one is given. Without any factor it is the core itself. */
  full(s: Scheduler, out?: Tensor): Tensor {
    return this.multiply(s, -1, out);
  }

  /**
   * Records the loadings of new slices along `mode`, while the other factors stay: A_new = X₍ₙ₎·pinv(B₍ₙ₎), one row of R_n numbers
   * a slice, with B the {@link basis} of the mode. `x` has the decomposed shape except at `mode`. For the full tensor itself the
   * loadings are A⁽ⁿ⁾.
   *
   * @throws ShapeError where `x` has another shape
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

  /**
   * Records the core times all factors but that of `mode`: the full tensor's shape with R_n in place of I_n. {@link project}
   * projects on it.
   */
  basis(s: Scheduler, mode: number): Tensor {
    return this.multiply(s, mode);
  }

  /**
   * Records the full tensor as a product of two matrices that is not carried out: one row of the first for each slice along the first mode, or for each
   * fibre along the last, whichever product enlarges it more. Undefined where neither mode has a factor.
   */
  asProduct(s: Scheduler): { factors: Tensor[]; temporaries: Tensor[] } | undefined {
    const last = this.factors.length - 1;
    const growth = (mode: number): number => {
      const factor = this.factors[mode];
      return factor ? factor.shape[0]! / factor.shape[1]! : 0;
    };
    const mode = growth(0) > growth(last) ? 0 : last;
    const factor = this.factors[mode];
    if (!factor) return undefined;
    const rank = factor.shape[1]!;
    const basis = this.multiply(s, mode);
    const made = basis === this.core ? [] : [basis];
    const others = basis.size / rank;
    if (mode > 0) return { factors: [basis.reshape([others, rank]), factor], temporaries: made };
    const columns = permute(s, basis.reshape([rank, others]), [1, 0]);
    return { factors: [factor, columns], temporaries: [columns, ...made] };
  }

  /** The core times all factors except that of mode `skip`. */
  private multiply(s: Scheduler, skip: number, out?: Tensor): Tensor {
    const modes = this.factors
      .map((factor, mode) => ({ factor, mode }))
      .filter(({ factor, mode }) => factor && mode !== skip);
    // modes that grow little come first, because every product multiplies the size by I_n / R_n
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

  /** Frees the core and the factors. */
  destroy(): void {
    this.core.destroy();
    for (const factor of this.factors) factor?.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
