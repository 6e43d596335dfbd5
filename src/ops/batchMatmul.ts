import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { recordProduct } from "./product.js";
import { assertCall, assertShape } from "./shapes.js";

export interface BatchMatmulOptions {
  /** the matrices of `a` are stored inner×rows */
  transposeA?: boolean;
  /** those of `b` are stored columns×inner */
  transposeB?: boolean;
  /** makes inner sums in two levels, as that of {@link matmul} */
  careful?: boolean;
  /** K×rows×columns, written instead of a temporary */
  out?: Tensor | undefined;
}

/** K products op(A_k)·op(B_k), K×rows×columns; a matrix in place of one of the operands stands for K equal ones. */
export function batchMatmul(
  s: Scheduler,
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false, careful = false, out }: BatchMatmulOptions = {},
): Tensor {
  assertCall("batchMatmul", s, { a, b });
  const count = a.order === 3 ? a.shape[0]! : b.shape[0]!;
  const sidesOf = (x: Tensor, isTransposed: boolean): [number, number] => {
    const [first, second] = x.shape.slice(-2) as [number, number];
    return isTransposed ? [second, first] : [first, second];
  };
  const [rows, inner] = sidesOf(a, transposeA);
  const [innerB, columns] = sidesOf(b, transposeB);
  const isBatch = (x: Tensor) => x.order === 2 || (x.order === 3 && x.shape[0] === count);
  if (!(isBatch(a) && isBatch(b) && a.order + b.order > 4 && inner === innerB))
    throw new ShapeError(
      `batchMatmul: ${formatShape(a.shape)}${transposeA ? " transposed" : ""} times ${formatShape(b.shape)}${transposeB ? " transposed" : ""}, needs as many matrices of fitting sides`,
    );
  const shape = [count, rows, columns];
  if (out) assertShape("batchMatmul", "out", out, shape);
  const result = out ?? s.tensor(shape, { label: "products" });
  recordProduct(s, a, b, result, {
    ...{ rows, columns, inner, transposeA, transposeB, careful, batch: count },
    ...{ batchA: a.order === 3 ? rows * inner : 0, batchB: b.order === 3 ? inner * columns : 0 },
  });
  return result;
}
