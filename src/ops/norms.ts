/** Means and norms: reductions that more is done with. */
import { type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { divide, multiply, safeDivide } from "./elementwise.js";
import { map } from "./map.js";
import { assertSameShape, reduce, sumOfSquares } from "./reduce.js";
import { assertCall, assertMode } from "./shapes.js";

interface Out {
  out?: Tensor | undefined;
}

/** Mean of x, over one axis or over everything ([1]). */
export function mean(s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor {
  assertCall("mean", s, { x });
  if (axis !== undefined) assertMode("mean", x, axis);
  return reduce(s, x, axis, { name: "mean", alpha: 1 / (axis === undefined ? x.size : x.shape[axis]!) }, out);
}

/** Σ |x|, over one axis or over everything ([1]): the 1-norm. */
export const sumOfMagnitudes = (s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "sumOfMagnitudes", term: "magnitude" }, out);

/** Largest |x|, over one axis or over everything ([1]): the maximum norm. */
export const largestMagnitude = (s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "largestMagnitude", term: "magnitude", combine: "maximum" }, out);

/** ‖x‖ = √Σ x², over one axis or over everything ([1]): the Frobenius norm. */
export function norm(s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor {
  assertCall("norm", s, { x });
  const squared = sumOfSquares(s, x, axis === undefined ? {} : { axis });
  const result = map(s, squared, "sqrt", { out });
  s.release(squared);
  return result;
}

/** ⟨x, y⟩ = Σ x·y, as a [1] tensor. */
export function innerProduct(s: Scheduler, x: Tensor, y: Tensor, { out }: Out = {}): Tensor {
  assertCall("innerProduct", s, { x, y });
  assertSameShape("innerProduct", x, y);
  return reduce(s, x, undefined, { name: "innerProduct", term: "product", y }, out);
}

/** Norms of the columns of a matrix: [R]. */
export function columnNorms(s: Scheduler, a: Tensor, { out }: Out = {}): Tensor {
  assertCall("columnNorms", s, { a });
  if (a.order !== 2) throw new ShapeError(`columnNorms: ${a}, needs a matrix`);
  return norm(s, a, { axis: 0, out });
}

/** A·diag(weights), or A·diag(weights)⁻¹: column r of a matrix times (or divided by) weight r of [R]. */
export function scaleColumns(
  s: Scheduler,
  a: Tensor,
  weights: Tensor,
  { inverse = false, out }: Out & { inverse?: boolean } = {},
): Tensor {
  assertCall("scaleColumns", s, { a, weights });
  if (a.order !== 2 || weights.size !== a.shape[1])
    throw new ShapeError(`scaleColumns: ${a} and ${weights}, needs a weight for every column`);
  return (inverse ? divide : multiply)(s, a, weights.reshape([weights.size]), { out });
}

/** Columns of a matrix brought to norm 1, and the norms they had. A zero column stays zero. */
export function normalizeColumns(
  s: Scheduler,
  a: Tensor,
  { out, norms }: Out & { norms?: Tensor } = {},
): { out: Tensor; norms: Tensor } {
  assertCall("normalizeColumns", s, { a });
  if (a.order !== 2) throw new ShapeError(`normalizeColumns: ${a}, needs a matrix`);
  const lengths = columnNorms(s, a, { out: norms });
  return { out: safeDivide(s, a, lengths, { out }), norms: lengths };
}
