import { SingleBar } from "cli-progress";
import type { Context } from "./context.js";

/** How far some work is. */
export interface Progress {
  /** @param detail a few words beside the count: `fit 0.98` */
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

/**
 * A progress bar on stderr. Where stderr is no terminal, a plain line at 1, 2, 5, 10, 20, 50… and at the end instead, and
 * every 15 seconds: few enough for a log, however many there are to count.
 */
export function startProgress({ stderr }: Pick<Context, "stderr">, { label, total, unit }: ProgressOptions): Progress {
  if (stderr.isTTY) {
    const bar = new SingleBar({
      format: `${label} {bar} {value}/{total} ${unit}{detail}`,
      stream: stderr as NodeJS.WritableStream,
      barsize: 20,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      // Ctrl-C is handled once for all, and a killed process leaves the cursor as it was
      gracefulExit: false,
      hideCursor: false,
    });
    bar.start(total, 0, { detail: "" });
    return {
      update: (done, detail) => bar.update(done, { detail: detail ? `  ${detail}` : "" }),
      stop: () => bar.stop(),
    };
  }
  let last = "";
  let printed = "";
  let since = performance.now();
  const print = (): void => {
    if (last === printed) return;
    since = performance.now();
    stderr.write(last);
    printed = last;
  };
  return {
    update(done, detail) {
      last = `${label}: ${done}/${total} ${unit}${detail ? `  ${detail}` : ""}\n`;
      if (isMilestone(done) || done === total || performance.now() - since > PATIENCE) print();
    },
    stop: print,
  };
}
