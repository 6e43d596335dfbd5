/** Starts of `cp` that are not random, and factors that a caller has, checked: in a file that nothing else imports, so that it loads when there are such. */
import {
  elementsOf,
  formatShape,
  Program,
  ShapeError,
  TenfoldError,
  type Tensor,
  type TensorData,
} from "../gpu/index.js";
import { pasteColumns } from "../ops/index.js";
import type { Source } from "../sources/index.js";
import { type FirstStart, gramOf, type KnownFactors, LEAST_WEIGHT, normaliseColumns, type Task } from "./cpStarts.js";
import { withStartFactor } from "./startFactor.js";
import { TensorScope } from "./tensorScope.js";

/** added to the normal equations of a start's weights, in units of their mean diagonal */
const RIDGE = 1e-6;

/** What the options of `cp` have of them. */
interface CallersFactors {
  rank: number;
  initialize?: string | readonly TensorData[];
  fixed?: Readonly<Record<number, TensorData>>;
}

/** The factors among the options of `cp`, checked. */
export function knownFactors(
  shape: readonly number[],
  { rank, initialize = "random", fixed = {} }: CallersFactors,
): KnownFactors {
  const factors = typeof initialize === "string" ? null : startFactors(shape, rank, initialize);
  return { factors, fixed: fixedFactors(shape, rank, fixed) };
}

/** The factors that `initialize` holds, checked. */
function startFactors(shape: readonly number[], rank: number, initialize: readonly TensorData[]): Float32Array[] {
  if (initialize.length !== shape.length)
    throw new ShapeError(
      `cp: initialize has ${initialize.length} factors for a tensor ${formatShape(shape)}, needs ${shape.length}`,
    );
  return shape.map((extent, mode) => factorOf(initialize[mode]!, [extent, rank], `factor ${mode} of initialize`));
}

/** The fixed factors, checked, their columns of norm 1. */
function fixedFactors(
  shape: readonly number[],
  rank: number,
  fixed: NonNullable<CallersFactors["fixed"]>,
): ReadonlyMap<number, Float32Array> {
  const factors = new Map<number, Float32Array>();
  for (const [key, data] of Object.entries(fixed)) {
    const mode = Number(key);
    if (!(Number.isInteger(mode) && mode >= 0 && mode < shape.length))
      throw new ShapeError(
        `cp: fixed has mode ${key}, a tensor ${formatShape(shape)} has modes 0 to ${shape.length - 1}`,
      );
    const what = `factor ${mode} of fixed`;
    const factor = factorOf(data, [shape[mode]!, rank], what);
    const { columns, norms } = normaliseColumns(factor, rank);
    const zero = norms.indexOf(0);
    if (zero >= 0) throw new TenfoldError(`cp: column ${zero} of ${what} is zero, needs an entry that is not`);
    factors.set(mode, columns);
  }
  if (factors.size === shape.length)
    throw new TenfoldError("cp: all modes are fixed, needs one that is free: leave it out of fixed");
  return factors;
}

function factorOf(data: TensorData, shape: readonly [number, number], what: string): Float32Array {
  const values = elementsOf("cp", data, shape, "f32", what) as Float32Array;
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0)
    throw new TenfoldError(
      `cp: ${what} has ${values[at]} at [${Math.floor(at / shape[1])}, ${at % shape[1]}], needs finite numbers`,
    );
  return values;
}

/** A first start of these factors, or of singular vectors where there are none. */
export const knownStart = (factors: readonly Float32Array[] | null): FirstStart => ({
  factors,
  paste: (s, factor, out) => pasteColumns(s, factor, out),
  find: factors ? async () => {} : leadBySingularVectors,
  weighted,
});

/** Writes the leading left singular vectors of x's unfoldings over the first columns of these factors, those of `modes`. */
async function leadBySingularVectors(
  x: Source,
  factors: readonly Tensor[],
  modes: readonly number[],
  { rank, seed, stopping: { signal } }: Task,
): Promise<void> {
  for (const mode of modes)
    await withStartFactor(x, "hosvd", { mode, rank, seed, signal }, (s, start) =>
      pasteColumns(s, start, factors[mode]!, 0),
    );
}

/** Factors with the weights that bring the terms nearest to x, shared out over the free modes. Reads x once. */
async function weighted(
  x: Source,
  factors: readonly Float32Array[],
  { rank, fixed, unit }: Task,
): Promise<Float32Array[]> {
  const { engine, shape } = x;
  const turned = factors.map((factor) => normaliseColumns(factor, rank).columns);
  using scope = new TensorScope(engine);
  const tensors = turned.map((columns, mode) => scope.keep(engine.tensor([shape[mode]!, rank], columns)));
  const product = scope.allocate([shape[0]!, rank], "product");
  await Program.run(engine, (p) => void x.mttkrp(p, tensors, 0, { out: product }), "CP start");
  const values = await engine.read(product);
  const inner = new Float64Array(rank);
  for (const [at, value] of values.entries()) inner[at % rank]! += (value * turned[0]![at]!) / unit;
  const weights = solved(gramOf(turned, rank), inner, rank);
  const count = factors.length - fixed.size;
  const last = Math.max(...[...factors.keys()].filter((mode) => !fixed.has(mode)));
  return turned.map((columns, mode) => {
    if (fixed.has(mode)) return columns;
    return columns.map((value, at) => {
      const weight = weights[at % rank]!;
      const size = Math.max(LEAST_WEIGHT, Math.abs(weight)) ** (1 / count);
      return value * (mode === last && weight < 0 ? -size : size);
    });
  });
}

/** The solution of (V + a little)·w = b, by elimination; V is symmetric and not negative. */
function solved(v: Float64Array, b: Float64Array, rank: number): Float64Array {
  const a = Float64Array.from(v);
  const w = Float64Array.from(b);
  let trace = 0;
  for (let r = 0; r < rank; r++) trace += a[r * rank + r]!;
  for (let r = 0; r < rank; r++) a[r * rank + r]! += (RIDGE * trace) / rank || 1;
  for (let k = 0; k < rank; k++)
    for (let i = k + 1; i < rank; i++) {
      const part = a[i * rank + k]! / a[k * rank + k]!;
      for (let j = k; j < rank; j++) a[i * rank + j]! -= part * a[k * rank + j]!;
      w[i]! -= part * w[k]!;
    }
  for (let i = rank - 1; i >= 0; i--) {
    for (let j = i + 1; j < rank; j++) w[i]! -= a[i * rank + j]! * w[j]!;
    w[i]! /= a[i * rank + i]!;
  }
  return w;
}

/** Rows of slices of which nothing is known are 0 from the start, and stay so: their gradient is 0, and so is what other modes make of them. */
export function zeroRows(
  models: readonly (readonly Float32Array[])[],
  { unknownSlices = [] }: Source,
  { rank, fixed }: Task,
): void {
  for (const factors of models)
    for (const { mode, index } of unknownSlices)
      if (!fixed.has(mode)) factors[mode]!.fill(0, index * rank, (index + 1) * rank);
}
