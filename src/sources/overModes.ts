import type { Program, Tensor } from "../gpu/index.js";
import { mttkrpFromPartial } from "../ops/index.js";
import type { Reader } from "./source.js";

/**
 * Records a sweep over all modes: `update` gets the MTTKRP of one mode after the other, with the factors as they are then, and may
 * change the factor of that mode. Reads X twice, by way of two partial results, and asks once a mode where products travel. `partialFrom` is the first mode of the second partial
 * result, told for the modes after it. With `out`, the MTTKRPs are written where it says; otherwise each is released after its update.
 */
export function overModes(
  p: Program,
  x: Reader,
  factors: readonly Tensor[],
  { unsummed = false, out }: { unsummed?: boolean; out?: (mode: number) => Tensor },
  update: (product: Tensor, mode: number, partialFrom?: number) => void = () => {},
): void {
  const { s } = p;
  const split = splitModes(x.shape);
  for (const [start, stop] of [[0, split] as const, [split, x.order] as const]) {
    // one mode has nothing to share a partial result with, and of all modes nothing is contracted
    const isShared = !x.isRemote && stop - start > 1 && stop - start < x.order;
    const partial = isShared ? x.partialMttkrp(p, factors, [start, stop]) : null;
    for (let mode = start; mode < stop; mode++) {
      const options = { unsummed, out: out?.(mode) };
      const product = partial
        ? mttkrpFromPartial(s, partial, factors.slice(start, stop), [start, stop], mode, options)
        : x.mttkrp(p, factors, mode, options);
      update(product, mode, partial && start > 0 && mode > start ? start : undefined);
      if (!out) s.release(product);
    }
    if (partial) s.release(partial);
  }
}

/** Where the dimension tree cuts the modes in two: the cut whose larger half is smallest. */
function splitModes(shape: readonly number[]): number {
  let best = 1;
  let bestSize = Number.POSITIVE_INFINITY;
  for (let cut = 1; cut < shape.length; cut++) {
    const left = shape.slice(0, cut).reduce((product, extent) => product * extent, 1);
    const right = shape.slice(cut).reduce((product, extent) => product * extent, 1);
    const size = Math.max(left, right);
    if (size < bestSize) [best, bestSize] = [cut, size];
  }
  return best;
}
