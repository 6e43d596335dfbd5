import { barOf, StatusLine } from "../report/terminal.js";
import type { Context } from "./context.js";

/** The progress bar of some work. */
export interface Progress {
  /**
   * @param done how much of `total` is done; fractions refine the time left
   * @param detail a few words beside the count: `fit 0.98`
   */
  update(done: number, detail?: string): void;
  /** Ends the bar and leaves its last state on the screen. */
  stop(): void;
}

export interface ProgressOptions {
  /** the work's name: `cp, rank 10` */
  label: string;
  total: number;
  /** the name of what `total` counts: `sweeps` */
  unit: string;
  /** whether the work may end long before `total`: no time left is told then */
  isOpenEnded?: boolean;
}

/** Whether a log gets a line at a count: at 1, 2, 5, 10, 20, 50, … */
const isMilestone = (count: number): boolean => /^[125]0*$/.test(String(count));

/** Milliseconds after which a log gets a line at any count. */
const PATIENCE = 15_000;
/** Milliseconds after which a log says that work is under way, where no count has told it. */
const SILENCE = 1_000;
/** Milliseconds for which no time left is shown, because an estimate would be poor. */
const FIRST_GUESS = 2_000;

/** `40 s`, `3 min`, `2.5 h` */
function formatLeft(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Number((minutes / 60).toFixed(1))} h`;
}

/**
 * A progress bar on stderr. The time left is estimated from the first update on, because compiling the kernels before it happens
 * only once. Where stderr is not a terminal, it writes plain lines instead: after a second of silence at the beginning, at the counts
 * 1, 2, 5, 10, 20, 50, …, at the end, and every 15 seconds, which are few lines for any total.
 */
export function startProgress(
  { stderr }: Pick<Context, "stderr">,
  { label, total, unit, isOpenEnded = false }: ProgressOptions,
): Progress {
  let first: { done: number; at: number } | null = null;
  /** `, 3 min left`; empty at the beginning and at the end */
  const left = (done: number): string => {
    if (isOpenEnded) return "";
    const now = performance.now();
    first ??= { done, at: now };
    const [elapsed, advance] = [now - first.at, done - first.done];
    if (!(advance > 0 && done < total) || elapsed < FIRST_GUESS) return "";
    return `, ${formatLeft((elapsed * (total - done)) / advance)} left`;
  };
  if (stderr.isTTY) {
    const line = new StatusLine(stderr);
    const show = (count: number, words: string): void =>
      line.show(`${label} ${barOf(count / total)} ${count}/${total} ${unit}${words}`);
    show(0, "");
    return {
      update: (done, detail) => show(Math.floor(done), `${left(done)}${detail ? `  ${detail}` : ""}`),
      stop: () => line.end(),
    };
  }
  let last = { count: 0, line: "" };
  let printed = last;
  let since = performance.now();
  const silence = setTimeout(() => stderr.write(`${label}: 0/${total} ${unit}\n`), SILENCE);
  silence.unref();
  const print = (): void => {
    clearTimeout(silence);
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
