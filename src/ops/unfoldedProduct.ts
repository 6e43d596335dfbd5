import { type DType, formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { recordProduct } from "./product.js";
import { assertCall, assertMode, assertShape, threeNumbers } from "./shapes.js";

/**
 * X₍ₙ₎·Y₍ₙ₎ᵀ without unfolding: out[i, j] = Σ over all modes but n of X[…, i, …] · Y[…, j, …]. X and Y agree in all modes
 * but n. With Y = X it is the Gram matrix of an unfolding; with X a tensor and Y a core it is what updates a Tucker
 * factor. The sum is split, in a fixed order. X is read as it lies: bytes as bytes.
 */
export function unfoldedProduct(
  s: Scheduler,
  x: Tensor<DType>,
  y: Tensor,
  mode: number,
  options: { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("unfoldedProduct", s, { x, y });
  assertMode("unfoldedProduct", x, mode);
  const operation = `unfoldedProduct (mode ${mode})`;
  if (x.order !== y.order || x.shape.some((extent, index) => index !== mode && y.shape[index] !== extent))
    throw new ShapeError(
      `${operation}: ${formatShape(x.shape)} and ${formatShape(y.shape)} differ in other modes than ${mode}`,
    );
  const [before, rows, after] = threeNumbers(x.shape, mode);
  const columns = y.shape[mode]!;
  if (options.out) assertShape(operation, "out", options.out, [rows, columns]);
  const out = options.out ?? s.tensor([rows, columns], { label: "unfolded product" });
  if (after === 1) {
    recordProduct(s, x, y, out, { rows, columns, inner: before, transposeA: true });
  } else {
    recordProduct(s, x, y, out, {
      rows,
      columns,
      inner: after,
      outer: before,
      outerA: rows * after,
      outerB: columns * after,
      transposeB: true,
    });
  }
  return out;
}
