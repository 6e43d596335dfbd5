import type { Scheduler, Tensor } from "../gpu/index.js";
import { khatriRao } from "./khatriRao.js";

/**
 * Neighbouring modes of a row-major tensor are one longer mode, whose factor is the Khatri-Rao product of theirs. Kernels
 * bind a limited number of factors: this merges the smallest neighbours until `most` are left. The kernels' innermost sums go
 * along the last mode: it is merged with the mode before it until it has at least `shortest` rows, if it then has no more than `longest`. Release
 * `temporaries` after use.
 */
export function mergeModes(
  s: Scheduler,
  factors: readonly Tensor[],
  most: number,
  shortest = 0,
  longest = Number.POSITIVE_INFINITY,
): { factors: Tensor[]; temporaries: Tensor[] } {
  const merged = [...factors];
  const temporaries: Tensor[] = [];
  const rows = (index: number): number => merged[index]!.shape[0]!;
  const merge = (index: number): void => {
    const pair = khatriRao(s, merged[index]!, merged[index + 1]!);
    for (const used of merged.splice(index, 2, pair)) {
      if (temporaries.includes(used)) s.release(temporaries.splice(temporaries.indexOf(used), 1)[0]!);
    }
    temporaries.push(pair);
  };
  const mergedRows = (): number => rows(merged.length - 1) * rows(merged.length - 2);
  while (merged.length > 1 && rows(merged.length - 1) < shortest && mergedRows() <= longest) merge(merged.length - 2);
  while (merged.length > Math.max(1, most)) {
    let best = 0;
    for (let index = 1; index + 1 < merged.length; index++)
      if (rows(index) * rows(index + 1) < rows(best) * rows(best + 1)) best = index;
    merge(best);
  }
  return { factors: merged, temporaries };
}
