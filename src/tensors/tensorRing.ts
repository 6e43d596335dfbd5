import { dispose, type Engine, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { matmul, permute } from "../ops/index.js";
import { coreProduct, isCore } from "./coreProduct.js";

/**
 * A tensor ring X[i_1, …, i_d] = tr(G₁[i_1]·G₂[i_2]·…·G_d[i_d]) (Zhao, Zhou, Xie, Zhang & Cichocki 2016): one core
 * r_k×n_k×r_{k+1} a mode, with r_{d+1} = r_1. With r_1 = 1 it is a tensor train. Its tensors live on the GPU until
 * {@link destroy}.
 */
export class TensorRing {
  /** @throws ShapeError where there are fewer than two cores, or the ranks of neighbouring cores differ */
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

  /** n_1, …, n_d */
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

  /** Records the full tensor, n_1×…×n_d, into `out` where one is given. */
  full(s: Scheduler, out?: Tensor): Tensor {
    const { factors, temporaries } = this.asProduct(s);
    const [front, behind] = factors as [Tensor, Tensor];
    const matrix = out?.reshape([front.shape[0]!, behind.shape[0]!]);
    const full = matmul(s, front, behind, { transposeB: true, out: matrix });
    s.release(...temporaries);
    return full.reshape(this.shape);
  }

  /**
   * Records the full tensor as a product of two matrices that is not carried out: the cores in front of a cut, and those behind it, with a column each
   * for the pairs of ranks at the two places where the halves meet.
   */
  asProduct(s: Scheduler): { factors: Tensor[]; temporaries: Tensor[] } {
    const { cores } = this;
    const cut = TensorRing.cutOf(this.shape, this.ranks);
    const chains = [cores.slice(0, cut), cores.slice(cut)].map((half) => coreProduct(s, half)) as [Tensor, Tensor];
    const temporaries = [permute(s, chains[0], [1, 0, 2]), permute(s, chains[1], [1, 2, 0])];
    s.release(...chains.filter((chain) => !isCore(chain, cores)));
    return { factors: temporaries.map((half) => half.reshape([half.shape[0]!, -1])), temporaries };
  }

  /** @internal Where a ring is cut in two so that the product of the halves takes the least work: in front of this mode. */
  static cutOf(shape: readonly number[], ranks: readonly number[]): number {
    const work = shape.map((_, cut) => {
      const [front, behind] = [sizeOf(shape.slice(0, cut)), sizeOf(shape.slice(cut))];
      return cut ? ranks[cut]! * (front * behind + front + behind) : Number.POSITIVE_INFINITY;
    });
    return work.indexOf(Math.min(...work));
  }

  /** Frees the cores. */
  destroy(): void {
    for (const core of this.cores) core.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
