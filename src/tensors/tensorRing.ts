import { dispose, type Engine, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { matmul, permute } from "../ops/index.js";

/**
 * A tensor ring X[i_1, …, i_d] = tr(G₁[i_1]·G₂[i_2]·…·G_d[i_d]) (Zhao, Zhou, Xie, Zhang & Cichocki 2016): one core
 * r_k×n_k×r_{k+1} a mode, with r_{d+1} = r_1. With r_1 = 1 it is a tensor train.
 */
export class TensorRing {
  constructor(readonly cores: readonly Tensor[]) {
    if (cores.length < 2) throw new ShapeError("TensorRing: needs at least two cores");
    cores.forEach((core, k) => {
      const next = cores[(k + 1) % cores.length]!.shape[0];
      if (core.order !== 3 || core.shape[2] !== next)
        throw new ShapeError(`TensorRing: core ${k} (${core}) needs the shape r×n×${next}`);
    });
  }

  get engine(): Engine {
    return this.cores[0]!.engine;
  }

  get shape(): number[] {
    return this.cores.map((core) => core.shape[1]!);
  }

  /** r_1, …, r_d */
  get ranks(): number[] {
    return this.cores.map((core) => core.shape[0]!);
  }

  /** Numbers stored: Σ r_k n_k r_{k+1}. */
  get parameterCount(): number {
    return this.cores.reduce((sum, core) => sum + core.size, 0);
  }

  /** Records the full tensor, n_1×…×n_d. */
  full(s: Scheduler): Tensor {
    const last = this.cores.at(-1)!;
    const open = this.cores.slice(0, -1).reduce((product, core) => {
      const next = matmul(s, product.reshape([-1, core.shape[0]!]), core.reshape([core.shape[0]!, -1]));
      if (product.storage.owner === "schedule") s.release(product);
      return next.reshape([-1, core.shape[2]!]);
    });
    // both ends of the open chain meet the last core: r_1×N×r_d as N×(r_1·r_d)
    const [rank, extent, first] = last.shape as [number, number, number];
    const chain = permute(s, open.reshape([first, -1, rank]), [1, 0, 2]);
    const closing = permute(s, last, [2, 0, 1]);
    const full = matmul(s, chain.reshape([-1, first * rank]), closing.reshape([first * rank, extent]));
    if (open.storage.owner === "schedule") s.release(open);
    s.release(chain, closing);
    return full.reshape(this.shape);
  }

  destroy(): void {
    for (const core of this.cores) core.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
