import { dispose, type Engine, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { copy, permute } from "../ops/index.js";
import { coreProduct } from "./coreProduct.js";

/**
 * A tensor train X[i_1, …, i_d] = G₁[i_1]·G₂[i_2]·…·G_d[i_d] (Oseledets 2011): one core r_{k-1}×n_k×r_k a mode, with
 * r_0 = r_d = 1. Its tensors live on the GPU until {@link destroy}.
 */
export class TensorTrain {
  /** @throws ShapeError where there is no core, or the ranks of neighbouring cores differ */
  constructor(readonly cores: readonly Tensor[]) {
    if (!cores.length) throw new ShapeError("TensorTrain: needs at least one core");
    cores.forEach((core, k) => {
      const left = k ? cores[k - 1]!.shape[2] : 1;
      const right = k === cores.length - 1 ? 1 : core.shape[2];
      if (core.order !== 3 || core.shape[0] !== left || core.shape[2] !== right)
        throw new ShapeError(`TensorTrain: core ${k} (${core}) needs the shape ${left}×n×${right}`);
    });
  }

  get engine(): Engine {
    return this.cores[0]!.engine;
  }

  /** n_1, …, n_d */
  get shape(): number[] {
    return this.cores.map((core) => core.shape[1]!);
  }

  /** r_0, …, r_d */
  get ranks(): number[] {
    return [1, ...this.cores.map((core) => core.shape[2]!)];
  }

  /** Numbers stored: Σ r_{k-1} n_k r_k. */
  get parameterCount(): number {
    return this.cores.reduce((sum, core) => sum + core.size, 0);
  }

  /** Records the full tensor, n_1×…×n_d, contracted from the left. */
  full(s: Scheduler, out?: Tensor): Tensor {
    const { cores, shape } = this;
    if (cores.length === 1 && out) return copy(s, cores[0]!.reshape(shape), { out });
    return coreProduct(s, cores, out).reshape(shape);
  }

  /** Records the full tensor as a product of two matrices that is not carried out: all cores but the last, and the last. */
  asProduct(s: Scheduler): { factors: Tensor[]; temporaries: Tensor[] } | undefined {
    const count = this.cores.length - 1;
    if (!count) return undefined;
    const last = this.cores[count]!;
    const left = coreProduct(s, this.cores.slice(0, -1)).reshape([-1, last.shape[0]!]);
    const right = permute(s, last.reshape([last.shape[0]!, -1]), [1, 0]);
    return { factors: [left, right], temporaries: count > 1 ? [left, right] : [right] };
  }

  /** Frees the cores. */
  destroy(): void {
    for (const core of this.cores) core.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
