import type { Scheduler, Tensor } from "../../gpu/index.js";
import { copy, matmul, permute } from "../../ops/index.js";
import { multiply, permuteValues, type Values } from "./hostMatrices.js";

/** A merged chain of cores and what its backward pass needs. */
export interface Merged {
  /** r_0×M×N×r_d */
  full: Tensor;
  /** the chain up to each core but the last: temporaries, but for the first */
  partial: Tensor[];
}

/**
 * Cores r_{k-1}×m_k×n_k×r_k contracted from the left into one, rows and columns apart: r_0×(m_1…m_d)×(n_1…n_d)×r_d. The
 * partial products stay where they are kept.
 */
export function mergeCores(s: Scheduler, cores: readonly Tensor[], keep: boolean): Merged {
  const partial: Tensor[] = [];
  let full = cores[0]!;
  for (const core of cores.slice(1)) {
    const [r0, rows, columns, rank] = full.shape as [number, number, number, number];
    const [, m, n, next] = core.shape as [number, number, number, number];
    const wide = matmul(s, full.reshape([-1, rank]), core.reshape([rank, -1]));
    if (keep) partial.push(full);
    else if (full !== cores[0]) s.release(full);
    full = wide.reshape([r0, rows * m, columns * n, next]);
    if (columns > 1 && m > 1) {
      full = permute(s, wide.reshape([r0 * rows, columns, m, n * next]), [0, 2, 1, 3]).reshape(full.shape);
      s.release(wide);
    }
  }
  return { full, partial };
}

/** Writes the cores' gradients from that of the merged chain, and frees it and the partial products. */
export function mergeBackward(
  s: Scheduler,
  cores: readonly Tensor[],
  gradients: readonly Tensor[],
  { partial }: Merged,
  dFull: Tensor,
): void {
  let current = dFull;
  for (let k = cores.length - 1; k > 0; k--) {
    const before = partial[k - 1]!;
    const [r0, rows, columns, rank] = before.shape as [number, number, number, number];
    const [, m, n, next] = cores[k]!.shape as [number, number, number, number];
    let wide = current;
    if (columns > 1 && m > 1) {
      wide = permute(s, current.reshape([r0 * rows, m, columns, n * next]), [0, 2, 1, 3]);
      s.release(current);
    }
    const flat = wide.reshape([-1, m * n * next]);
    matmul(s, before.reshape([-1, rank]), flat, { transposeA: true, out: gradients[k]!.reshape([rank, -1]) });
    const core = cores[k]!.reshape([rank, -1]);
    if (k > 1) {
      current = matmul(s, flat, core, { transposeB: true });
      s.release(before);
    } else matmul(s, flat, core, { transposeB: true, out: gradients[0]!.reshape([-1, rank]) });
    s.release(wide);
  }
  if (cores.length === 1) {
    copy(s, current, { out: gradients[0]! });
    s.release(current);
  }
}

/** Multiplications of merging them. */
export function mergeCost(shapes: readonly (readonly number[])[]): number {
  let [size, cost] = [shapes[0]![0]! * shapes[0]![1]! * shapes[0]![2]!, 0];
  for (const [rank, m, n, next] of shapes.slice(1) as [number, number, number, number][]) {
    size *= m * n;
    cost += size * rank * next;
  }
  return cost;
}

/** The same on the host, in f64. */
export function mergeValues(cores: readonly Values[], shapes: readonly (readonly number[])[]): Float64Array {
  let full: Float64Array = Float64Array.from(cores[0]!);
  let [r0, rows, columns] = shapes[0] as [number, number, number];
  for (const [k, [rank, m, n, next]] of (shapes as [number, number, number, number][]).entries()) {
    if (k === 0) continue;
    const wide = multiply(full, cores[k]!, r0 * rows * columns, rank, m * n * next);
    full = permuteValues(wide, [r0 * rows, columns, m, n * next], [0, 2, 1, 3]);
    [rows, columns] = [rows * m, columns * n];
  }
  return full;
}
