/** X as a solver takes it that takes unfoldings apart: as it is, or in slabs by way of a core. */
import { dispose, type Engine, formatShape, TenfoldError, type Tensor } from "../gpu/index.js";
import { modeProduct } from "../ops/index.js";
import { liesInSlabs, type Source } from "../sources/index.js";
import type { Decomposition, StoppingOptions } from "./iterate.js";
import { TensorScope } from "./tensorScope.js";
import type { WideCore } from "./wideCore.js";

/** What the bases have to hold: as many columns a mode (its extent: no basis), or all of X but for a part of what a relative error allows. */
export type Wanted = { ranks: readonly number[] } | { relativeError: number };

/**
 * What is decomposed in place of X: X itself, or, where it lies in slabs, X in bases of its modes, which a few passes find (see `wideCore`). A model of
 * that, brought into the bases, is one of X, and its error is that of the core and what the bases lose together, as they are orthogonal.
 */
export class Reduced {
  private constructor(
    /** X, or the core, with the facts of X */
    readonly source: Source,
    private readonly wide: WideCore | null,
  ) {}

  /** @throws TenfoldError where X lies in slabs, and the core is larger than one of them */
  static async create(
    name: string,
    source: Source,
    wanted: Wanted,
    { seed = 0, signal }: { seed?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<Reduced> {
    if (source.isZero || !liesInSlabs(source)) return new Reduced(source, null);
    const { coreWithin, REFINEMENTS, wideCore } = await import("./wideCore.js");
    const modes = [...source.shape.keys()];
    const wide =
      "ranks" in wanted
        ? await wideCore(source, wanted.ranks, { seed, signal, refinements: REFINEMENTS })
        : await coreWithin(source, { ...wanted, modes }, { seed, signal });
    if (wide) return new Reduced(wide.core, wide);
    const asked = "ranks" in wanted ? `of ${formatShape(wanted.ranks)} columns a mode` : "that loses so little";
    throw new TenfoldError(
      `${name}: ${source} is taken apart by way of a core, and a core ${asked} is larger than a slab; take smaller ranks, or give x as one tensor`,
    );
  }

  /** whether it is X itself */
  get isWhole(): boolean {
    return this.wide === null;
  }

  /** I_n×p_n with orthonormal columns; null where a mode is as it is in X */
  get bases(): readonly (Tensor | null)[] {
    return this.wide?.bases ?? this.source.shape.map(() => null);
  }

  /** ‖X − X in the bases‖ / ‖X‖ */
  get lost(): number {
    return this.wide ? Math.sqrt(Math.max(0, this.wide.lost) / this.source.squaredNorm) : 0;
  }

  /** The relative error of X that leaves this one of the core. */
  left(relativeError: number): number {
    return Math.sqrt(Math.max(0, relativeError ** 2 - this.lost ** 2));
  }

  /** The relative error of X where that of the core is this. */
  told(relativeError: number): number {
    return this.wide ? Math.hypot(relativeError, this.lost) : relativeError;
  }

  /** Has iterations told with errors of X. */
  stopping(options: StoppingOptions): StoppingOptions {
    const { onIteration } = options;
    if (!(this.wide && onIteration)) return options;
    const tell: typeof onIteration = ({ sweep, relativeError }) =>
      onIteration({ sweep, relativeError: this.told(relativeError) });
    return { ...options, onIteration: tell };
  }

  /** A decomposition of the core with errors of X. */
  decomposition<T>(result: Decomposition<T>): Decomposition<T> {
    if (!this.wide) return result;
    const errors = result.errors.map((error) => this.told(error));
    const relativeError = this.told(result.relativeError);
    return { ...result, errors, fits: errors.map((error) => 1 - error), relativeError };
  }

  /** Cores r×p_n×r' of a train or a ring of the core as those of X, which are new where there is a basis. Those that they replace are freed. */
  async cores(engine: Engine, cores: readonly Tensor[]): Promise<Tensor[]> {
    using scope = new TensorScope(engine);
    for (const core of cores) scope.keep(core);
    const wide = cores.map((core, mode) => {
      const basis = this.bases[mode];
      return basis ? scope.allocate([core.shape[0]!, basis.shape[0]!, core.shape[2]!], core.label) : core;
    });
    await engine.run((s) => {
      for (const [mode, out] of wide.entries())
        if (out !== cores[mode]) modeProduct(s, cores[mode]!, this.bases[mode]!, 1, { out });
    }, "cores of slabs");
    for (const [mode, core] of cores.entries()) if (core !== wide[mode]) core.destroy();
    return scope.handOut(wide);
  }

  destroy(): void {
    this.wide?.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
