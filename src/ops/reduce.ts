import { type DType, formatShape, holds, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf, readingOf } from "./bits.js";
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

/** @internal Records a reduction over one axis, or over everything (axis undefined: a [1] tensor); long axes in parts. */
export function reduce(
  s: Scheduler,
  x: Tensor<DType>,
  axis: number | undefined,
  what: Reduction,
  out?: Tensor,
): Tensor {
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

/** Largest element, over one axis or over everything ([1]). */
export const reduceMaximum = (s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "reduceMaximum", combine: "maximum" }, out);

/** Smallest element, over one axis or over everything ([1]). */
export const reduceMinimum = (s: Scheduler, x: Tensor, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "reduceMinimum", combine: "minimum" }, out);

/** Σ x², over one axis or over everything ([1]). */
export const sumOfSquares = (s: Scheduler, x: Tensor<DType>, { axis, out }: Out & { axis?: number } = {}): Tensor =>
  reduce(s, x, axis, { name: "sumOfSquares", term: "square" }, out);

/** @internal Refuses operands of different shapes. */
export function assertSameShape(name: string, x: Tensor<DType>, y: Tensor): void {
  if (x.size !== y.size || formatShape(x.shape) !== formatShape(y.shape))
    throw new ShapeError(`${name}: ${x} and ${y} need the same shape`);
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
