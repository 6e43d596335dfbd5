import { dispose, type Engine, type Tensor } from "../gpu/index.js";
import { KruskalTensor } from "./kruskal.js";

/**
 * Kruskal tensors that share factors: one model a data set, of the same rank (Acar, Kolda & Dunlavy 2011). Its tensors live on the GPU until
 * {@link destroy}, which frees those of all models.
 */
export class CoupledTensor {
  /** one a data set; models of data sets with a mode in common have the same factor there */
  readonly models: readonly KruskalTensor[];

  constructor(
    /** I×R, by the name of the mode */
    readonly factors: ReadonlyMap<string, Tensor>,
    /** names of the modes, and the weights [R], of each data set */
    parts: readonly { modes: readonly string[]; weights: Tensor }[],
  ) {
    this.models = parts.map(
      ({ modes, weights }) =>
        new KruskalTensor(
          weights,
          modes.map((mode) => factors.get(mode)!),
        ),
    );
  }

  get engine(): Engine {
    return this.models[0]!.engine;
  }

  /** Number of terms, shared by all models. */
  get rank(): number {
    return this.models[0]!.rank;
  }

  /** Numbers stored: R for each data set and I·R for each mode. */
  get parameterCount(): number {
    return [...this.factors.values()].reduce((sum, { size }) => sum + size, this.rank * this.models.length);
  }

  /** Frees the factors and all weights. */
  destroy(): void {
    for (const factor of this.factors.values()) factor.destroy();
    for (const { weights } of this.models) weights.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
