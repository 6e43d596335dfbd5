import { dispose, type Engine, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { matmul, modeProduct, permute, threeNumbers } from "../ops/index.js";

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
    const last = this.cores.length - 1;
    const others = this.others(s, last);
    const full = this.close(s, last, others, out);
    s.release(others);
    return full;
  }

  /**
   * Records the product of all cores but core k, as before×(r_k·r_{k+1})×after: the modes in front of mode k are flattened into
   * one, and so are those behind it. {@link close} takes this tensor, and solvers contract a tensor of before×n_k×after with it.
   * The cores in front of core k and those behind it are multiplied separately; one product joins them where the ring closes,
   * with all indices in order.
   */
  others(s: Scheduler, k: number): Tensor {
    const { cores, shape } = this;
    const last = cores.length - 1;
    const [left, , right] = cores[k]!.shape as [number, number, number];
    const parts: Tensor[] = [];
    const keep = (tensor: Tensor): Tensor => {
      if (!isCore(tensor, cores)) parts.push(tensor);
      return tensor;
    };
    let chain: Tensor;
    if (k > 0 && k < last) {
      const front = keep(multiply(s, cores.slice(0, k)));
      const behind = keep(multiply(s, cores.slice(k + 1)));
      const first = front.shape[0]!;
      chain = matmul(s, front.reshape([first, -1]), behind.reshape([-1, first]), {
        transposeA: true,
        transposeB: true,
      });
    } else if (last === 1) {
      chain = permute(s, cores[1 - k]!, k ? [1, 2, 0] : [2, 0, 1]);
    } else {
      const middle = keep(multiply(s, cores.slice(1, last)));
      // the core at the other end of the ring: the first as n_1×r_2×r_1, or the last as r_1×r_d×n_d
      const closing = keep(k ? permute(s, cores[0]!, [1, 2, 0]) : permute(s, cores[last]!, [2, 0, 1]));
      const ends = k ? [middle.shape[0]!, -1] : [-1, middle.shape[2]!];
      chain = modeProduct(s, closing, middle.reshape(ends), 1, { transpose: k > 0 });
    }
    s.release(...parts);
    return chain.reshape([sizeOf(shape.slice(0, k)), left * right, -1]);
  }

  /** Records the full tensor, n_1×…×n_d, from core k and the product of the {@link others}, which is not released. */
  close(s: Scheduler, k: number, others: Tensor, out?: Tensor): Tensor {
    const { shape } = this;
    const core = permute(s, this.cores[k]!, [1, 0, 2]);
    const unfolded = core.reshape([shape[k]!, -1]);
    const full = modeProduct(s, others, unfolded, 1, { out: out?.reshape(threeNumbers(shape, k)) });
    s.release(core);
    return full.reshape(shape);
  }

  /** Frees the cores. */
  destroy(): void {
    for (const core of this.cores) core.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** Records the product of neighbouring cores, r×N×r′, with their modes flattened into N. A single core is returned as it is. */
function multiply(s: Scheduler, cores: readonly Tensor[]): Tensor {
  return cores.reduce((product, core) => {
    const [rank, , next] = core.shape as [number, number, number];
    const longer = matmul(s, product.reshape([-1, rank]), core.reshape([rank, -1]));
    if (!isCore(product, cores)) s.release(product);
    return longer.reshape([product.shape[0]!, -1, next]);
  });
}

/** Whether a tensor is one of the cores, or a view of one, and must not be released. */
const isCore = (tensor: Tensor, cores: readonly Tensor[]): boolean =>
  cores.some(({ storage }) => storage === tensor.storage);
