/** How often a solver reads X. */
import { type DType, type Tally, Tensor } from "../gpu/index.js";
import type { Sharded } from "./sharded.js";
import type { Slabs } from "./slabs.js";

/** Passes over X, counted as dispatches are submitted. */
export interface Reads {
  /**
   * Passes over X, or over X − X̂ in as much memory as X takes: entries that dispatches were bound to read, divided by X's. Half of X read
   * by one dispatch is half a pass.
   */
  readonly passes: number;
}

/** Matrices that are decomposed together. */
interface Slices {
  readonly slices: readonly { readonly x: Tensor<DType> | { readonly x: Tensor } }[];
}

/**
 * Counts from here on how often a tensor is read, whoever reads it: solvers' sweeps and starts, their look at X before, the copy of X that
 * they scale. Call it before the solver is; one count a tensor at a time.
 */
export function countReads(x: Tensor<DType> | Slabs | Sharded | Slices | { readonly x: Tensor }): Reads {
  if ("questions" in x) {
    const { questions } = x;
    return {
      get passes() {
        return x.questions - questions;
      },
    };
  }
  const tally: Tally = { entries: 0 };
  const parts =
    x instanceof Tensor
      ? [x]
      : "slices" in x
        ? x.slices.map((slice) => (slice.x instanceof Tensor ? slice.x : slice.x.x))
        : "parts" in x
          ? x.parts.map(({ data }) => data)
          : [x.x];
  for (const { storage } of parts) storage.tally = tally;
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  return {
    get passes() {
      return tally.entries / size;
    },
  };
}
