import type { Program, Scheduler, Tensor } from "../gpu/index.js";
import {
  add,
  type BoundedNormOptions,
  cholesky,
  copy,
  fill,
  innerProduct,
  matmul,
  subtract,
  sumOfSquares,
} from "../ops/index.js";
import { TensorScope } from "./tensorScope.js";

/** A ridge that a search begins with, as a share of the normal matrix's mean diagonal. A searcher keeps it for its next search. */
export interface Ridge {
  share: number;
}

/** shares below this are lost in the rounding of the normal matrix */
const LEAST_SHARE = 1e-7;
const MOST_SHARE = 1e6;
/** most solutions of a search, which ends with the largest ridge within the bound that it has come to */
const MOST_SOLUTIONS = 12;
/** a solution is taken where the largest ridge that the bound allows is at most this many times its ridge */
const NEAR = 1.1;
/** the least step where no more than half of the bound is spent */
const GROWTH = 4;

/**
 * `boundedNorm` for large normal matrices: A = X·Z·(ZᵀZ + μI)⁻¹ with the largest μ for which ‖X − A·Zᵀ‖² ≤ bound. One Cholesky
 * factorisation a μ in a step of the host, where `boundedNorm` takes all eigenvectors. The squared error is an increasing, concave
 * function of μ² with the derivative ‖A·R⁻¹‖², where ZᵀZ + μI = RᵀR: a step of Newton's method from any μ comes to a μ that is not
 * too large, and from there they rise.
 *
 * @param ridge where the search begins; the ridge that was found is left there
 */
export function boundedNormByNewton(
  p: Program,
  normalMatrix: Tensor,
  product: Tensor,
  { bound, squaredNorm, from: start, residual }: BoundedNormOptions & { residual: Tensor },
  ridge: Ridge,
): Tensor {
  const { engine, s } = p;
  const n = normalMatrix.shape[0]!;
  // what steps read and write shares its memory with no temporary
  const held = (x: Tensor, label: string) => copy(s, x, { out: p.tensor(x.shape, { label }) });
  const [normals, seen] = [held(normalMatrix, "normal matrix"), held(product, "product")];
  const from = start && held(start, "the factor it goes from");
  const solved = p.tensor(product.shape, { label: "factor of least norm" });
  p.step(async (signal) => {
    using scope = new TensorScope(engine);
    const candidate = scope.allocate(product.shape, "solution");
    const [turned, spent, slope, trace] = ["its rotation", "error spent", "slope", "trace"].map((label, index) =>
      scope.allocate(index ? [1] : product.shape, label),
    ) as [Tensor, Tensor, Tensor, Tensor];
    const gradient = scope.allocate(product.shape, "gradient");
    if (from) await engine.run((s) => subtractProduct(s, seen, from, normals, gradient), "gradient");
    const before = from ? (await engine.read(residual))[0]! : squaredNorm!;
    let { share } = ridge;
    let best: { error: number; share: number } | null = null;
    // shares that were within the bound, and beyond it
    let [least, most] = [0, Number.POSITIVE_INFINITY];
    for (let count = 0; count < MOST_SOLUTIONS; count++) {
      signal?.throwIfAborted();
      await engine.run((s) => {
        const { r, inverse } = cholesky(s, normals, { ridge: share });
        sumOfSquares(s, r, { out: trace });
        const half = matmul(s, seen, inverse);
        matmul(s, half, inverse, { transposeB: true, out: candidate });
        sumOfSquares(s, matmul(s, candidate, inverse, { out: turned }), { out: slope });
        // ‖X − A·Zᵀ‖² = ‖X − A₀·Zᵀ‖² − ⟨A − A₀, G₀ + G⟩ with the gradients G = X·Z − A·ZᵀZ
        const after = subtractProduct(s, seen, candidate, normals);
        const both = add(s, after, from ? gradient : seen);
        const step = from ? subtract(s, candidate, from) : candidate;
        innerProduct(s, step, both, { out: spent });
      }, "solution of least norm");
      const [drop, rise, sum] = (await engine.read([spent, slope, trace])).map(([value]) => value!) as [
        number,
        number,
        number,
      ];
      const error = Math.max(before - drop, 0);
      const isWithin = error <= bound;
      if (!best || (isWithin ? best.error > bound || share > best.share : error < best.error)) {
        best = { error, share };
        await engine.run((s) => void copy(s, candidate, { out: solved }), "solution of least norm");
      }
      if (isWithin) least = Math.max(least, share);
      else most = Math.min(most, share);
      if (!(isWithin || share > LEAST_SHARE)) break;
      // Σ R² is the trace of ZᵀZ + μI
      const mean = sum / (1 + share) / n;
      const squared = share ** 2 + (bound - error) / (rise * mean ** 2);
      let next = squared > (share / 100) ** 2 ? Math.sqrt(squared) : share / 100;
      // rounding makes slopes at small ridges too large, so that steps would be too short
      if (error < bound / 2) next = Math.max(next, GROWTH * share);
      if (!(next > least && next < most)) next = Math.sqrt(Math.max(least, LEAST_SHARE) * Math.min(most, MOST_SHARE));
      next = Math.min(Math.max(next, LEAST_SHARE), MOST_SHARE);
      if ((isWithin && !(next > NEAR * share)) || most <= NEAR * least) break;
      share = next;
    }
    ridge.share = best!.share;
    await engine.run((s) => void fill(s, residual, best!.error), "residual");
  });
  return copy(s, solved);
}

/** C − A·B */
function subtractProduct(s: Scheduler, c: Tensor, a: Tensor, b: Tensor, out?: Tensor): Tensor {
  const product = matmul(s, a, b);
  const difference = subtract(s, c, product, { out });
  s.release(product);
  return difference;
}
