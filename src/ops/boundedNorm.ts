import shader from "../../shaders/bounded_norm.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { matmul } from "./matmul.js";

import { scaleColumns, sumOfSquares } from "./reduce.js";
import { assertCall } from "./shapes.js";
import { symmetricEigen } from "./symmetricEigen.js";

const kernel = new Kernel(shader, () => [1]);

export interface BoundedNormOptions {
  /** ‖X‖² */
  squaredNorm: number;
  /** largest ‖X − A·Zᵀ‖² that is allowed */
  bound: number;
}

/**
 * The A (m×n) of least norm with ‖X − A·Zᵀ‖² ≤ bound, from the normal matrix ZᵀZ (n×n) and X·Z (m×n): a ridge as large as the
 * bound allows (Phan, Tichavský & Cichocki 2019). Where no A meets the bound, nearly the least squares solution.
 */
export function boundedNorm(
  s: Scheduler,
  normalMatrix: Tensor,
  product: Tensor,
  { squaredNorm, bound }: BoundedNormOptions,
): Tensor {
  assertCall("boundedNorm", s, { normalMatrix, product });
  const n = normalMatrix.shape[0]!;
  if (product.order !== 2 || product.shape[1] !== n) throw new ShapeError(`boundedNorm: ${product} needs ${n} columns`);
  const { values, vectors } = symmetricEigen(s, normalMatrix);
  const rotated = matmul(s, product, vectors);
  const energies = sumOfSquares(s, rotated, { axis: 0 });
  const shrink = s.tensor([n], { label: "shrinkage" });
  s.run(kernel, { eigenvalues: values, energies, out: shrink }, { rank: n, squared_norm: squaredNorm, bound });
  const scaled = scaleColumns(s, rotated, shrink);
  const solved = matmul(s, scaled, vectors, { transposeB: true });
  s.release(values, vectors, rotated, energies, shrink, scaled);
  return solved;
}
