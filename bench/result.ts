/** What was measured of a case: a row for each party, as tables and files show it. */
import type { Goal } from "./goals.js";
import type { Summary } from "./statistics.js";

/** Our party, and the beginning of the name of each of our variants. */
export const OURS = "tenfold";

/** Counts of one step of ours. */
export interface Counts {
  /** of the tensor, or the first operand, in one run */
  reads: number | null;
  dispatches: number;
  submits: number;
  readbacks: number;
  /** most bytes of GPU buffers held at once, operands included */
  peakBytes: number;
}

export interface Row {
  /** `tenfold`, `tenfold (tiled)`, `jax-js 0.1.25` */
  party: string;
  /** `measured`, or why there are no times */
  state: "measured" | "WRONG" | "failed" | "cannot" | "not reached";
  message?: string;
  /** took turns with the others in every round */
  interleaved: boolean;
  /** of several ways to do it, the one that was fastest */
  way?: string;
  /** relative error of the first run */
  error: number | null;
  /** milliseconds of upload, compiling and the first run */
  firstMs: number | null;
  /** milliseconds a step */
  ms: (Summary & { samples: number[] }) | null;
  repetitions: number;
  /** this party ÷ `tenfold`, round by round */
  ratio: Summary | null;
  /** milliseconds of the kernels alone, a step; and wall time ÷ that, round by round */
  kernels: Summary | null;
  wallToKernels: Summary | null;
  counts: Counts | null;
}

export interface Result {
  name: string;
  shapes: string;
  /** a step */
  flops: number;
  bytes: number;
  steps: number;
  rows: Row[];
  /** what is asked of it (verdicts.ts says whether it is reached) */
  goals: readonly Goal[];
}

/** Whether a row makes the run fail. */
export const isBad = ({ state, party }: Row): boolean =>
  state === "WRONG" || (state === "failed" && party.startsWith(OURS));
