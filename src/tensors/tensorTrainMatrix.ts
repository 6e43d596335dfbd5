import { dispose, type Engine, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { matmul, permute } from "../ops/index.js";

/**
 * A matrix whose rows and columns are split into d modes each, W[(i_1…i_d), (j_1…j_d)] = G₁[i_1, j_1]·…·G_d[i_d, j_d]
 * (Oseledets 2010; Novikov et al. 2015): one core r_{k-1}×m_k×n_k×r_k a pair of modes, with r_0 = r_d = 1. Its tensors live on
 * the GPU until {@link destroy}.
 */
export class TensorTrainMatrix {
  /** @throws ShapeError where there is no core, or the ranks of neighbouring cores differ */
  constructor(readonly cores: readonly Tensor[]) {
    if (!cores.length) throw new ShapeError("TensorTrainMatrix: needs at least one core");
    cores.forEach((core, k) => {
      const left = k ? cores[k - 1]!.shape[3] : 1;
      const right = k === cores.length - 1 ? 1 : core.shape[3];
      if (core.order !== 4 || core.shape[0] !== left || core.shape[3] !== right)
        throw new ShapeError(`TensorTrainMatrix: core ${k} (${core}) needs the shape ${left}×m×n×${right}`);
    });
  }

  get engine(): Engine {
    return this.cores[0]!.engine;
  }

  /** m_1, …, m_d */
  get rowModes(): number[] {
    return this.cores.map((core) => core.shape[1]!);
  }

  /** n_1, …, n_d */
  get columnModes(): number[] {
    return this.cores.map((core) => core.shape[2]!);
  }

  /** r_0, …, r_d */
  get ranks(): number[] {
    return [1, ...this.cores.map((core) => core.shape[3]!)];
  }

  /** Rows and columns of the matrix, Π m_k and Π n_k. */
  get shape(): [rows: number, columns: number] {
    const product = (values: number[]) => values.reduce((a, b) => a * b, 1);
    return [product(this.rowModes), product(this.columnModes)];
  }

  /** Numbers stored: Σ r_{k-1} r_k m_k n_k. */
  get parameterCount(): number {
    return this.cores.reduce((sum, core) => sum + core.size, 0);
  }

  /** Records the full matrix, rows×columns, contracted from the left. */
  toDense(s: Scheduler): Tensor {
    let product = this.cores[0]!;
    let [rows, columns] = [product.shape[1]!, product.shape[2]!];
    for (const core of this.cores.slice(1)) {
      const [rank, m, n, next] = core.shape as [number, number, number, number];
      const wide = matmul(s, product.reshape([-1, rank]), core.reshape([rank, -1]));
      if (product.storage.owner === "schedule") s.release(product);
      product = permute(s, wide.reshape([rows, columns, m, n * next]), [0, 2, 1, 3]);
      s.release(wide);
      [rows, columns] = [rows * m, columns * n];
    }
    return product.reshape([rows, columns]);
  }

  /** Frees the cores. */
  destroy(): void {
    for (const core of this.cores) core.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
