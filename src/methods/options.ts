import type { OptionName } from "./method.js";

/** What an option of methods is. */
export interface OptionInfo {
  /** its name over a control: `Most sweeps` */
  label: string;
  /** what it does, for one line of help */
  text: string;
  /** what its values are; `start`: a word or factors; `factors`: a factor a mode */
  values: "whole" | "wholes" | "part" | "tolerance" | "flag" | "start" | "factors" | "bytes" | "file";
  /** of whole numbers */
  least?: number;
}

const whole = (label: string, text: string, least = 1): OptionInfo => ({ label, text, values: "whole", least });

/** The tolerance of all methods with sweeps. */
export const DEFAULT_TOLERANCE = 1e-6;

/** The options of all methods: which of them a method takes, its row says. */
export const OPTIONS: Readonly<Record<OptionName, OptionInfo>> = {
  rank: whole("Rank", "number of terms"),
  ranks: {
    label: "Ranks",
    text: "ranks, or one for all; a full rank leaves its mode alone",
    values: "wholes",
    least: 1,
  },
  error: {
    label: "Error",
    text: "instead of ranks: the smallest that keep the relative error at e or below",
    values: "part",
  },
  blocks: whole("Blocks", "number of blocks"),
  starts: whole(
    "Starts",
    "starts, of which the best is kept (default of gauss-newton: 4, and up to 12 where fewer than 3 end at the best one's model)",
  ),
  sweeps: whole("Most sweeps", "most sweeps, or iterations of gauss-newton"),
  tolerance: {
    label: "Tolerance",
    text: `converged when the relative error changes by less in a sweep; for gauss-newton, when it would fall by less than this part of it; 0 never (default: ${DEFAULT_TOLERANCE.toExponential()})`,
    values: "tolerance",
  },
  init: {
    label: "First start",
    text: "first start: random, hosvd; of gauss-newton also gevd, by generalised eigenvalues (default where X or its core is small), or the .npz of an earlier result, and then 1 start; nndsvd (default of nmf); svd (default of parafac2)",
    values: "start",
  },
  fixed: {
    label: "Fixed factors",
    text: "a factor of gauss-newton that stays as it is; once for each such mode",
    values: "factors",
  },
  nonnegative: {
    label: "Nothing negative",
    text: "no negative entry in any factor or core, of parafac2 in A and C",
    values: "flag",
  },
  seed: whole("Seed", "seed of random numbers (default: 0)", 0),
  memory: {
    label: "Memory",
    text: "read the tensor anew in every pass, with so much of it on the GPU at a time, as in 512MB; .npy, .h5 and .zarr are never in memory in full",
    values: "bytes",
  },
  missing: {
    label: "Missing entries",
    text: "entries that are NaN, or that no line of a .csv or .tns names, are missing: the others are fitted, and predict them",
    values: "flag",
  },
  checkpoint: {
    label: "Checkpoint",
    text: "keep the state there every minute and at Ctrl-C; the same command goes on from it",
    values: "file",
  },
};
