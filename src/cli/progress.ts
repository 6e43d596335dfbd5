import { SingleBar } from "cli-progress";
import type { Context } from "./context.js";

/** How far some work is. */
export interface Progress {
  /**
   * @param done of the total; parts of a step count for the time left
   * @param detail a few words beside the count: `fit 0.98`
   */
  update(done: number, detail?: string): void;
  /** Ends the bar and leaves its last state on the screen. */
  stop(): void;
}

export interface ProgressOptions {
  /** `cp, rank 10` */
  label: string;
  total: number;
  /** what is counted: `sweeps` */
  unit: string;
}

/** 1, 2, 5, 10, 20, 50, …: where a log gets a line */
const isMilestone = (count: number): boolean => /^[125]0*$/.test(String(count));

/** milliseconds after which a log gets a line in any case */
const PATIENCE = 15_000;
/** milliseconds before which the time left is not worth guessing */
const FIRST_GUESS = 2_000;

/** `40 s`, `3 min`, `2.5 h` */
function formatLeft(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Number((minutes / 60).toFixed(1))} h`;
}

/**
 * A progress bar on stderr, with the time left by how long the work took since the first step was told: what comes before,
 * kernels that are compiled, happens once. Where stderr is no terminal, a plain line at 1, 2, 5, 10, 20, 50… and at the end
 * instead, and every 15 seconds: few enough for a log, however many there are to count.
 */
export function startProgress({ stderr }: Pick<Context, "stderr">, { label, total, unit }: ProgressOptions): Progress {
  let first: { done: number; at: number } | null = null;
  /** `, 3 min left`; empty at the beginning and at the end */
  const left = (done: number): string => {
    const now = performance.now();
    first ??= { done, at: now };
    const [elapsed, advance] = [now - first.at, done - first.done];
    if (!(advance > 0 && done < total) || elapsed < FIRST_GUESS) return "";
    return `, ${formatLeft((elapsed * (total - done)) / advance)} left`;
  };
  if (stderr.isTTY) {
    const bar = new SingleBar({
      format: `${label} {bar} {value}/{total} ${unit}{left}{detail}`,
      stream: stderr as NodeJS.WritableStream,
      barsize: 20,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      // Ctrl-C is handled once for all, and a killed process leaves the cursor as it was
      gracefulExit: false,
      hideCursor: false,
    });
    bar.start(total, 0, { left: "", detail: "" });
    return {
      update: (done, detail) => bar.update(Math.floor(done), { left: left(done), detail: detail ? `  ${detail}` : "" }),
      stop: () => bar.stop(),
    };
  }
  let last = { count: 0, line: "" };
  let printed = last;
  let since = performance.now();
  const print = (): void => {
    if (last.line === printed.line) return;
    since = performance.now();
    stderr.write(last.line);
    printed = last;
  };
  return {
    update(done, detail) {
      const count = Math.floor(done);
      last = { count, line: `${label}: ${count}/${total} ${unit}${left(done)}${detail ? `  ${detail}` : ""}\n` };
      const milestone = (isMilestone(count) || count === total) && count !== printed.count;
      if (milestone || performance.now() - since > PATIENCE) print();
    },
    stop: print,
  };
}
