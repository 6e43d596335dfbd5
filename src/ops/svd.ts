import shader from "../../shaders/jacobi_svd.wgsl";
import { formatShape, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { matmul } from "./matmul.js";
import { orthogonalise } from "./orthogonalise.js";
import { permute } from "./stridedCopy.js";

const kernel = new Kernel(shader, () => [1]);
const LARGEST = 1024;

/** A = U·diag(values)·Vᵀ with k = min(m, n): U m×k and V n×k with orthonormal columns, values falling. */
export interface Svd {
  u: Tensor;
  values: Tensor;
  v: Tensor;
}

/**
 * Thin singular value decomposition of an m×n matrix, min(m, n) ≤ 1024: orthogonalisation of the long side, then one-sided
 * Jacobi rotations on the small triangle, so that no Gram matrix squares the condition number. Where a singular value is
 * zero, the column of U (or, for wide matrices, of V) is zero too.
 */
export function svd(s: Scheduler, a: Tensor): Svd {
  const [m, n] = a.shape as [number, number];
  if (a.order !== 2) throw new ShapeError(`svd: ${formatShape(a.shape)}, needs a matrix`);
  if (m < n) {
    const transposed = permute(s, a, [1, 0]);
    const { u, values, v } = svd(s, transposed);
    s.release(transposed);
    return { u: v, values, v: u };
  }
  if (n > LARGEST) throw new ShapeError(`svd: ${formatShape(a.shape)}, needs a side of at most ${LARGEST}`);
  if (m === n) return square(s, a);
  const { q, r } = orthogonalise(s, a);
  const small = square(s, r);
  const u = matmul(s, q, small.u);
  s.release(q, r, small.u);
  return { u, values: small.values, v: small.v };
}

function square(s: Scheduler, a: Tensor): Svd {
  const n = a.shape[0]!;
  const [u, v, work, rotation] = ["U", "V", "SVD work", "SVD rotation"].map((label) => s.tensor([n, n], { label })) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const values = s.tensor([n], { label: "singular values" });
  s.run(kernel, { a, work, rotation, u, values, v }, { n });
  s.release(work, rotation);
  return { u, values, v };
}
