import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { recordProduct } from "./product.js";
import { assertCall, assertShape } from "./shapes.js";

/** Gram matrix AᵀA of a matrix I×R: R×R. It squares the condition number; do not take small singular values from it. */
export function gram(s: Scheduler, a: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("gram", s, { a });
  if (a.order !== 2) throw new ShapeError(`gram: ${formatShape(a.shape)}, needs a matrix`);
  const [inner, columns] = a.shape as [number, number];
  if (options.out) assertShape("gram", "out", options.out, [columns, columns]);
  const out = options.out ?? s.tensor([columns, columns], { label: "gram" });
  recordProduct(s, a, a, out, { rows: columns, columns, inner, transposeA: true });
  return out;
}
