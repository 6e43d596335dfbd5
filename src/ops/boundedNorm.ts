import shader from "../../shaders/bounded_norm.wgsl";
import { Kernel, type Scheduler, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";
import { fill } from "./fill.js";
import { matmul } from "./matmul.js";
import { scaleColumns } from "./norms.js";
import { squaredDistance, sumOfSquares } from "./reduce.js";
import { assertCall, assertShape } from "./shapes.js";
import { symmetricEigen } from "./symmetricEigen.js";

const kernel = new Kernel(shader, () => [1]);
/** gains below this part of ‖X·Z‖² are the rounding of f32 products, a few units in the last place */
const NOISE = 1e-13;

export interface BoundedNormOptions {
  /** largest ‖X − A·Zᵀ‖² that is allowed */
  bound: number;
  /** ‖X‖²; not with `from` */
  squaredNorm?: number;
  /** an A that is near the result: the residual is counted from it, because f32 rounds ‖X‖² by more than a small bound */
  from?: Tensor;
  /** [1]: ‖X − A·Zᵀ‖² of the result, written; with `from`, it holds that of `from` before */
  residual?: Tensor;
}

/**
 * The A (m×n) of least norm with ‖X − A·Zᵀ‖² ≤ bound, from the normal matrix ZᵀZ (n×n) and X·Z (m×n): a ridge as large as the
 * bound allows (Phan, Tichavský & Cichocki 2019). Where no A meets the bound, nearly the least squares solution.
 */
export function boundedNorm(
  s: Scheduler,
  normalMatrix: Tensor,
  product: Tensor,
  { bound, squaredNorm, from, residual: startResidual }: BoundedNormOptions,
): Tensor {
  assertCall("boundedNorm", s, { normalMatrix, product });
  const n = normalMatrix.shape[0]!;
  if (product.order !== 2 || product.shape[1] !== n) throw new ShapeError(`boundedNorm: ${product} needs ${n} columns`);
  if ((squaredNorm === undefined) === (from === undefined))
    throw new TenfoldError("boundedNorm: give either squaredNorm, or from and residual");
  if (from && !startResidual) throw new TenfoldError("boundedNorm: from needs the residual there");
  if (from) assertShape("boundedNorm", "the factor it goes from", from, product.shape);
  const { values, vectors } = symmetricEigen(s, normalMatrix);
  const rotated = matmul(s, product, vectors);
  const energies = sumOfSquares(s, rotated, { axis: 0 });
  const { gains, starts } = from
    ? gradientEnergies(s, from, rotated, values, vectors)
    : { gains: energies, starts: energies };
  const residual = startResidual ?? s.tensor([1], { label: "residual" });
  if (!from) fill(s, residual, squaredNorm!);
  const shrink = s.tensor([n], { label: "shrinkage" });
  const noise = from ? NOISE : 0;
  s.run(kernel, { eigenvalues: values, energies, gains, starts, residual, out: shrink }, { rank: n, bound, noise });
  const scaled = scaleColumns(s, rotated, shrink);
  const solved = matmul(s, scaled, vectors, { transposeB: true });
  s.release(values, vectors, rotated, energies, shrink, scaled);
  if (from) s.release(gains, starts);
  if (!startResidual) s.release(residual);
  return solved;
}

/** Squared lengths along the eigenvectors of the gradient X·Z − A·ZᵀZ, from X·Z in the basis of the eigenvectors, and of A. */
function gradientEnergies(s: Scheduler, factor: Tensor, rotated: Tensor, values: Tensor, vectors: Tensor) {
  const turned = matmul(s, factor, vectors);
  const starts = sumOfSquares(s, turned, { axis: 0 });
  const image = scaleColumns(s, turned, values);
  const gains = squaredDistance(s, rotated, image, { axis: 0 });
  s.release(turned, image);
  return { gains, starts };
}
