import { bytesOf, type DType, formatShape, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { bitsOf, readingOf } from "./bits.js";
import { planMttkrp, shortestRun } from "./families/mttkrp.js";
import { mergeModes } from "./mergeModes.js";
import { addUp, recordProduct } from "./product.js";
import { assertCall, assertMode, assertShape } from "./shapes.js";

/** factors that the kernel binds besides the innermost one */
const MOST_WEIGHTS = 5;

export interface MttkrpOptions {
  out?: Tensor | undefined;
  /** leaves a sum that was cut into S parts to who reads them: the result may be S×Iₙ×R. Not with `out` */
  unsummed?: boolean | undefined;
}

/**
 * Matricised tensor times Khatri-Rao product (Kolda & Bader 2009, section 3.4), Iₙ×R:
 * M[i, r] = Σ X[…, i, …] · Π_{k≠n} Aₖ[iₖ, r]. Fused: neither an unfolding nor the Khatri-Rao product is ever stored (but that
 * of a short mode and its neighbour, for a large X), and X is read once, as it lies: bytes as bytes. `factors` has one Iₖ×R matrix a mode; the one at
 * `mode` is ignored.
 */
export function mttkrp(
  s: Scheduler,
  x: Tensor<DType>,
  factors: readonly Tensor[],
  mode: number,
  options: MttkrpOptions = {},
): Tensor {
  assertCall("mttkrp", s, { x }, { factors });
  assertMode("mttkrp", x, mode);
  return contract(s, `mttkrp (mode ${mode})`, x, factors, [mode, mode + 1], options);
}

/**
 * Contracts all modes outside `keep` = [start, stop) with their factors: P[i_start, …, i_{stop-1}, r], one read of X. The
 * inner node of a dimension tree (Phan, Tichavský & Cichocki 2013): `mttkrpFromPartial` goes on from it.
 */
export function partialMttkrp(
  s: Scheduler,
  x: Tensor<DType>,
  factors: readonly Tensor[],
  keep: readonly [start: number, stop: number],
  options: { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("partialMttkrp", s, { x }, { factors });
  const [start, stop] = keep;
  if (!(Number.isInteger(start) && Number.isInteger(stop) && start >= 0 && start < stop && stop <= x.order))
    throw new ShapeError(`partialMttkrp: modes ${start} to ${stop} of a tensor of shape ${formatShape(x.shape)}`);
  return contract(s, `partialMttkrp (modes ${start} to ${stop})`, x, factors, keep, options);
}

function contract(
  s: Scheduler,
  operation: string,
  x: Tensor<DType>,
  factors: readonly Tensor[],
  keep: readonly [number, number],
  options: MttkrpOptions,
): Tensor {
  const [start, stop] = keep;
  if (factors.length !== x.order)
    throw new ShapeError(`${operation}: ${factors.length} factors for a tensor of shape ${formatShape(x.shape)}`);
  const contracted = factors.filter((_, mode) => mode < start || mode >= stop);
  if (contracted.length === 0) throw new ShapeError(`${operation}: there is no other mode to contract`);
  const columns = contracted[0]!.shape[1] ?? 1;
  factors.forEach((factor, mode) => {
    if (mode < start || mode >= stop) assertShape(operation, `factor ${mode}`, factor, [x.shape[mode]!, columns]);
  });
  const shape = [...x.shape.slice(start, stop), columns];
  if (options.out) assertShape(operation, "out", options.out, shape);
  const rows = sizeOf(x.shape.slice(start, stop));
  const transposed = stop === x.order;
  const shortest = shortestRun(s.engine, x.size);
  const left = mergeModes(s, factors.slice(0, start), MOST_WEIGHTS, transposed ? shortest : 0);
  const right = mergeModes(s, factors.slice(stop), MOST_WEIGHTS + 1 - left.factors.length, shortest);
  const weights = [...left.factors, ...right.factors];
  if (weights.length === 1) {
    const out = options.out ?? s.tensor(shape, { label: "mttkrp" });
    // one contracted mode, in front or behind: a plain product
    const inner = x.size / rows;
    recordProduct(s, x, weights[0]!, out, { rows, columns, inner, transposeA: start > 0 });
    s.release(...left.temporaries, ...right.temporaries);
    return out;
  }
  const innerFactor = weights.pop()!;
  const inner = innerFactor.shape[0]!;
  const outer = x.size / rows / inner;
  const { kernels, split } = planMttkrp(
    s.engine,
    { rows, columns, inner, outer },
    { transposed, isPacked: bytesOf(x.dtype) < 4 },
  );
  const cut = split.count > 1;
  const out = cut
    ? s.tensor([split.count, ...shape], { label: "partial sums" })
    : (options.out ?? s.tensor(shape, { label: "mttkrp" }));
  const unused = s.tensor([1], { label: "no factor" });
  const weight = (index: number) => weights[index] ?? unused;
  s.run(
    kernels.with({ TRANSPOSED: transposed, WEIGHTS: weights.length, ...readingOf(x, false) }),
    {
      x: bitsOf(x),
      factor: innerFactor,
      weight0: weight(0),
      weight1: weight(1),
      weight2: weight(2),
      weight3: weight(3),
      weight4: weight(4),
      out,
    },
    {
      rows,
      columns,
      inner,
      outer,
      middle: transposed ? 1 : sizeOf(right.factors.slice(0, -1).map((factor) => factor.shape[0]!)),
      inner_chunk: split.inner,
      outer_chunk: split.outer,
      splits: split.count,
      extents: Array.from({ length: 8 }, (_, index) => weights[index]?.shape[0] ?? 1),
    },
  );
  s.release(unused, ...left.temporaries, ...right.temporaries);
  return cut && !options.unsummed ? addUp(s, out, options.out) : out;
}
