import { type DType, formatShape, holds, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf, readingOf } from "./bits.js";
import { divide, map, multiply, safeDivide } from "./elementwise.js";
import { planReduction } from "./families/reduce.js";
import { assertCall, assertMode, assertShape, threeNumbers } from "./shapes.js";

const TERMS = { identity: 0, square: 1, product: 2, squaredDifference: 3, magnitude: 4 } as const;
const COMBINES = { sum: 0, maximum: 1, minimum: 2 } as const;

interface Out {
  out?: Tensor | undefined;
}

interface Reduction {
  name: string;
  term?: keyof typeof TERMS;
  combine?: keyof typeof COMBINES;
  alpha?: number;
  y?: Tensor;
}

/** Records a reduction over one axis, or over everything (axis undefined: a [1] tensor); long axes in parts. */
function reduce(s: Scheduler, x: Tensor<DType>, axis: number | undefined, what: Reduction, out?: Tensor): Tensor {
  assertCall(what.name, s, { x });
  if (axis !== undefined) assertMode(what.name, x, axis);
  const seen = axis === undefined ? ([1, x.size, 1] as const) : threeNumbers(x.shape, axis);
  const shape = axis === undefined || x.order === 1 ? [1] : x.shape.filter((_, k) => k !== axis);
  if (out) assertShape(what.name, "out", out, shape);
  const result = out ?? s.tensor(shape, { label: what.name });
  record(s, x, seen, what, result);
  return result;
}

function record(
  s: Scheduler,
  x: Tensor<DType>,
  [before, extent, after]: readonly [number, number, number],
  { name, term = "identity", combine = "sum", alpha = 1, y }: Reduction,
  result: Tensor,
): void {
  const outputs = before * after;
  const { kernel, chunk, parts } = planReduction(s.engine, [before, extent, after]);
  const specialised = kernel.with({ TERM: TERMS[term], COMBINE: COMBINES[combine], ...readingOf(x, false) });
  const unused = y || holds(x, "f32") ? null : s.tensor([1], { label: "no operand" });
  const operands = { x: bitsOf(x), y: y ?? unused ?? x };
  if (parts === 1) {
    s.run(specialised, { ...operands, out: result }, { before, extent, after, chunk, parts, alpha });
    if (unused) s.release(unused);
    return;
  }
  const partial = s.tensor([parts, outputs], { label: `${name} parts` });
  s.run(specialised, { ...operands, out: partial }, { before, extent, after, chunk, parts, alpha: 1 });
  if (unused) s.release(unused);
  record(s, partial, [1, parts, outputs], { name, combine, alpha }, result);
  s.release(partial);
}

/** Σ x, over one axis or over everything ([1]). */
export const sum = (s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "sum" }, out);

/** Mean of x, over one axis or over everything ([1]). */
export function mean(s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor {
  assertCall("mean", s, { x });
  if (axis !== undefined) assertMode("mean", x, axis);
  return reduce(s, x, axis, { name: "mean", alpha: 1 / (axis === undefined ? x.size : x.shape[axis]!) }, out);
}

/** Largest element, over one axis or over everything ([1]). */
export const reduceMaximum = (s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "reduceMaximum", combine: "maximum" }, out);

/** Smallest element, over one axis or over everything ([1]). */
export const reduceMinimum = (s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "reduceMinimum", combine: "minimum" }, out);

/** Σ x², over one axis or over everything ([1]). */
export const sumOfSquares = (s: Scheduler, x: Tensor<DType>, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "sumOfSquares", term: "square" }, out);

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

function assertSameShape(name: string, x: Tensor<DType>, y: Tensor): void {
  if (x.size !== y.size || formatShape(x.shape) !== formatShape(y.shape))
    throw new ShapeError(`${name}: ${x} and ${y} need the same shape`);
}

/** ⟨x, y⟩ = Σ x·y, as a [1] tensor. */
export function innerProduct(s: Scheduler, x: Tensor, y: Tensor, { out }: Out = {}): Tensor {
  assertCall("innerProduct", s, { x, y });
  assertSameShape("innerProduct", x, y);
  return reduce(s, x, undefined, { name: "innerProduct", term: "product", y }, out);
}

/** ‖x − y‖² as a sum of squared differences, over one axis or over everything ([1]). */
export function squaredDistance(
  s: Scheduler,
  x: Tensor<DType>,
  y: Tensor,
  { axis, out }: Out & { axis?: number } = {},
): Tensor {
  assertCall("squaredDistance", s, { x, y });
  assertSameShape("squaredDistance", x, y);
  return reduce(s, x, axis, { name: "squaredDistance", term: "squaredDifference", y }, out);
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
