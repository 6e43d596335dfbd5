import type { Scheduler, Tensor } from "../gpu/index.js";
import { khatriRao } from "./khatriRao.js";

/**
 * Neighbouring modes of a row-major tensor are one longer mode, whose factor is the Khatri-Rao product of theirs. Kernels
 * bind a limited number of factors; this merges the smallest neighbours until `most` are left. Release `temporaries` after
 * use.
 */
export function mergeModes(
  s: Scheduler,
  factors: readonly Tensor[],
  most: number,
): { factors: Tensor[]; temporaries: Tensor[] } {
  const merged = [...factors];
  const temporaries: Tensor[] = [];
  while (merged.length > Math.max(1, most)) {
    const rows = (index: number) => merged[index]!.shape[0]! * merged[index + 1]!.shape[0]!;
    let best = 0;
    for (let index = 1; index + 1 < merged.length; index++) if (rows(index) < rows(best)) best = index;
    const pair = khatriRao(s, merged[best]!, merged[best + 1]!);
    for (const used of merged.splice(best, 2, pair)) {
      if (temporaries.includes(used)) s.release(temporaries.splice(temporaries.indexOf(used), 1)[0]!);
    }
    temporaries.push(pair);
  }
  return { factors: merged, temporaries };
}
