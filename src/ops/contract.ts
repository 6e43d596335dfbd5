import shader from "../../shaders/contract.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import { stridesOf } from "./stridedCopy.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

const MOST_KEPT = 4;
const MOST_SUMMED = 2;

/**
 * out = alpha·Σ a·b + beta·out over the indices that a result has not, as numpy.einsum writes them: `"ijlr,jcr->ilc"`. A letter an axis, in each of `a` and
 * `b` at most once; at most four indices are kept, and one or two summed. For small tensors: nothing is tiled. `beta` is 0 by default, and needs `out`.
 */
export function contract(
  s: Scheduler,
  a: Tensor,
  b: Tensor,
  indices: string,
  { alpha = 1, beta = 0, out: given }: { alpha?: number; beta?: number; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("contract", s, { a, b });
  const operation = `contract (${indices})`;
  const [inA, inB, kept] = String(indices).split(/,|->/) as [string, string?, string?];
  const summed = [...new Set(inA)].filter((index) => inB?.includes(index) && !kept?.includes(index));
  const named = new Set([...inA, ...(inB ?? "")]);
  const isKnown =
    inB !== undefined &&
    kept !== undefined &&
    [inA, inB, kept].every((list) => new Set(list).size === list.length) &&
    [...kept].every((index) => named.has(index)) &&
    named.size === kept.length + summed.length;
  if (!isKnown || kept.length > MOST_KEPT || summed.length > MOST_SUMMED || !summed.length)
    throw new ShapeError(`${operation}: needs indices such as "ij,jk->ik", at most 4 kept and 1 or 2 summed`);
  const extents = new Map<string, number>();
  for (const [tensor, list] of [
    [a, inA],
    [b, inB],
  ] as const) {
    if (tensor.order !== list.length) throw new ShapeError(`${operation}: ${tensor} has not the indices ${list}`);
    for (const [axis, index] of [...list].entries()) {
      const extent = tensor.shape[axis]!;
      if ((extents.get(index) ?? extent) !== extent)
        throw new ShapeError(`${operation}: ${a} and ${b} differ in index ${index}`);
      extents.set(index, extent);
    }
  }
  const shape = [...kept].map((index) => extents.get(index)!);
  if (given) assertShape(operation, "out", given, shape);
  if (beta && !given) throw new ShapeError(`${operation}: beta ${beta} needs out`);
  const out = given ?? s.tensor(shape, { label: "contraction" });
  // indices that are not there have an extent of 1, in front
  const rows = [...kept.padStart(MOST_KEPT)];
  const sums = summed.length < MOST_SUMMED ? [" ", ...summed] : summed;
  const stride = (tensor: Tensor, list: string, index: string) => stridesOf(tensor.shape)[list.indexOf(index)] ?? 0;
  const strides = (name: string, tensor: Tensor, list: string) =>
    Object.fromEntries([
      ...rows.map((index, place) => [`${name}_${place}`, stride(tensor, list, index)]),
      [`${name}_outer`, stride(tensor, list, sums[0]!)],
      [`${name}_inner`, stride(tensor, list, sums[1]!)],
    ]);
  s.run(
    kernel,
    { a, b, out },
    {
      size: out.size,
      ...Object.fromEntries(rows.map((index, place) => [`extent_${place}`, extents.get(index) ?? 1]).slice(1)),
      outer: extents.get(sums[0]!) ?? 1,
      inner: extents.get(sums[1]!)!,
      ...strides("a", a, inA),
      ...strides("b", b, inB),
      alpha,
      beta,
    },
  );
  return out;
}
