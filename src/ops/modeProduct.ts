import type { DType, Scheduler, Tensor } from "../gpu/index.js";
import { recordProduct } from "./product.js";
import { assertCall, assertMode, assertShape, threeNumbers } from "./shapes.js";

/**
 * Mode-n product X ×ₙ U (Kolda & Bader 2009, section 2.5): Y[…, j, …] = Σ_i U[j, i] · X[…, i, …]. U is J×Iₙ, or Iₙ×J with
 * `transpose`. Reads the tensor where and as it lies, as before×extent×after: no unfolding, no
 * permutation, and bytes as bytes.
 */
export function modeProduct(
  s: Scheduler,
  x: Tensor<DType>,
  u: Tensor,
  mode: number,
  options: { transpose?: boolean; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("modeProduct", s, { x, u });
  const { transpose = false } = options;
  assertMode("modeProduct", x, mode);
  const [before, extent, after] = threeNumbers(x.shape, mode);
  const operation = `modeProduct (mode ${mode})`;
  const size = u.shape[transpose ? 1 : 0] ?? 1;
  assertShape(operation, "the matrix", u, transpose ? [extent, size] : [size, extent]);
  const shape = x.shape.map((value, index) => (index === mode ? size : value));
  if (options.out) assertShape(operation, "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "mode product" });
  if (after === 1) {
    // the last mode: rows of X times Uᵀ
    recordProduct(s, x, u, out, { rows: before, columns: size, inner: extent, transposeB: !transpose });
  } else {
    const batchB = extent * after;
    recordProduct(s, u, x, out, {
      rows: size,
      columns: after,
      inner: extent,
      batch: before,
      batchB,
      transposeA: transpose,
    });
  }
  return out;
}
