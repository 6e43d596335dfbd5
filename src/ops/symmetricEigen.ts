import shader from "../../shaders/jacobi_eigen.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);
const LARGEST = 1024;

/**
 * Eigenvalues ([n], falling) and eigenvectors (n×n, in columns) of a symmetric matrix by Jacobi rotations. The entry of
 * largest magnitude in a vector is positive. One workgroup does it: made for the small matrices of ALS.
 */
export function symmetricEigen(s: Scheduler, a: Tensor): { values: Tensor; vectors: Tensor } {
  const n = a.shape[0]!;
  assertShape("symmetricEigen", "the matrix", a, [n, n]);
  if (n > LARGEST)
    throw new ShapeError(`symmetricEigen: ${n}×${n}, needs at most ${LARGEST}; take leadingSubspace for a few vectors`);
  const values = s.tensor([n], { label: "eigenvalues" });
  const vectors = s.tensor([n, n], { label: "eigenvectors" });
  const work = s.tensor([n, n], { label: "eigen work" });
  const rotation = s.tensor([n, n], { label: "eigen rotation" });
  s.run(kernel, { a, work, rotation, values, vectors }, { n });
  s.release(work, rotation);
  return { values, vectors };
}
