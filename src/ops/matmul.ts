import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import type { Epilogue } from "./activations.js";
import { recordProduct } from "./product.js";
import { assertBias, assertCall, assertShape } from "./shapes.js";

export interface MatmulOptions {
  /** `a` is stored inner×rows */
  transposeA?: boolean;
  /** `b` is stored columns×inner */
  transposeB?: boolean;
  /** added to every row: one value a column */
  bias?: Tensor | undefined;
  /** applied last */
  activation?: Epilogue;
  /** factor of the product, 1 by default */
  alpha?: number;
  /** makes inner sums in two levels: they round less, and take some more memory and time */
  careful?: boolean;
  /** rows×columns, written instead of a temporary */
  out?: Tensor | undefined;
}

/**
 * activation(alpha · op(A)·op(B) + bias), rows×columns. Long inner sums are split, in a fixed order.
 * @throws ShapeError where the inner extents differ
 */
export function matmul(s: Scheduler, a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  assertCall("matmul", s, { a, b });
  const { transposeA = false, transposeB = false, bias, activation, alpha, careful = false } = options;
  if (a.order !== 2 || b.order !== 2)
    throw new ShapeError(`matmul: ${formatShape(a.shape)} times ${formatShape(b.shape)}, needs two matrices`);
  const [rows, inner] = (transposeA ? [a.shape[1], a.shape[0]] : a.shape) as [number, number];
  const [innerB, columns] = (transposeB ? [b.shape[1], b.shape[0]] : b.shape) as [number, number];
  if (inner !== innerB) {
    const written = (x: Tensor, transposed: boolean) => `${formatShape(x.shape)}${transposed ? "ᵀ" : ""}`;
    throw new ShapeError(
      `matmul: ${written(a, transposeA)} times ${written(b, transposeB)}, inner extents ${inner} and ${innerB} differ`,
    );
  }
  if (bias) assertBias("matmul", bias, columns);
  if (options.out) assertShape("matmul", "out", options.out, [rows, columns]);
  const out = options.out ?? s.tensor([rows, columns], { label: "matmul" });
  recordProduct(s, a, b, out, {
    rows,
    columns,
    inner,
    transposeA,
    transposeB,
    bias,
    careful,
    ...(activation && { activation }),
    ...(alpha !== undefined && { alpha }),
  });
  return out;
}
