/** Whether a finished result reaches the goals of its case. */
import { isSoftware } from "../src/gpu/index.js";
import type { Goal, Yardstick } from "./goals.js";
import type { Probes } from "./probes.js";
import { OURS, type Result, type Row } from "./result.js";
import { ratiosOf, summarize } from "./statistics.js";

export interface Verdict {
  goal: Goal;
  /** the party that the yardstick was */
  by: string;
  value: number;
  /** of the rounds' own ratios, where the two were interleaved */
  quartiles: [number, number] | null;
  reached: boolean;
}

/** Milliseconds of the work on the device: by timestamps where they leave out more than they add, else the wall's. */
export const deviceMs = ({ ms, kernels }: Row): number =>
  Math.min(ms!.median, kernels?.median ?? Number.POSITIVE_INFINITY);

/** Seconds that a GPU takes for a dispatch that waits for the one before (docs/decisions/0006). */
const WAITING_DISPATCH = 5.5e-6;

/** Whether a goal asks for a share, the more the better, and not for a ratio of times. */
export const isShare = (against: Yardstick): against is "FMA probe" | "floor" =>
  against === "FMA probe" || against === "floor";

/**
 * Seconds under which no kernel gets: the multiplications at the FMA probe's rate or the bytes at the copy probe's, whichever takes longer, and
 * what each dispatch waits (the roofline of Williams, Waterman & Patterson 2009).
 */
export const floorOf = (
  { flops, bytes }: { flops: number; bytes: number },
  probes: Probes,
  dispatches: number,
): number => Math.max(flops / probes.flops, bytes / probes.bytes) + WAITING_DISPATCH * dispatches;

/**
 * Every goal that this result can be judged by: those of the adapter's kind whose yardstick took part. A yardstick that took
 * part and failed is said to have: its value is NaN, and the goal not reached.
 */
export function verdicts(
  { goals, rows, flops, bytes }: Pick<Result, "goals" | "rows" | "flops" | "bytes">,
  { device, probes }: { device: string; probes: Probes | null },
): Verdict[] {
  const ours = rows.find(({ party }) => party === OURS);
  if (!ours?.ms) return [];
  const kind = isSoftware(device) ? "software" : "GPU";
  return goals
    .filter(({ on = kind }) => on === kind)
    .flatMap((goal): Verdict[] => {
      const { against, limit } = goal;
      if (isShare(against)) {
        if (!probes) return [];
        const seconds =
          against === "FMA probe"
            ? flops / probes.flops
            : floorOf({ flops, bytes }, probes, ours.counts?.dispatches ?? 1);
        const value = seconds / (deviceMs(ours) / 1000);
        return [{ goal, by: against, value, quartiles: null, reached: value >= limit }];
      }
      if (against === "its kernels") {
        if (!ours.wallToKernels) return [];
        const { median, quartiles } = ours.wallToKernels;
        return [{ goal, by: against, value: median, quartiles, reached: median <= limit }];
      }
      const taking = rows.filter(({ party, state }) => state !== "cannot" && isYardstick(party, against));
      if (taking.length === 0) return [];
      const able = taking.filter(({ ms }) => ms);
      if (able.length === 0) {
        const by = taking.map(({ party, state }) => `${party}: ${state}`).join(", ");
        return [{ goal, by, value: Number.NaN, quartiles: null, reached: false }];
      }
      const best = able.reduce((a, b) => (b.ms!.median < a.ms!.median ? b : a));
      // TensorLy is not interleaved: a ratio of medians
      if (!best.interleaved) {
        const value = ours.ms!.median / best.ms!.median;
        return [{ goal, by: best.party, value, quartiles: null, reached: value <= limit }];
      }
      const { median, quartiles } = summarize(ratiosOf(ours.ms!.samples, best.ms!.samples));
      return [{ goal, by: best.party, value: median, quartiles, reached: median <= limit }];
    });
}

function isYardstick(party: string, against: Yardstick): boolean {
  if (party.startsWith(OURS)) return false;
  const cuda = /^(\w+) on CUDA$/.exec(against)?.[1];
  if (cuda) return party.startsWith(cuda) && party.includes("CUDA");
  // what the Python script measures is not interleaved with ours
  return against === "best peer" ? !/^(TensorLy|torch)/.test(party) : party.startsWith(against);
}
