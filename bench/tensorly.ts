/** Measures TensorLy and torch.linalg with a Python script, and adds their rows to tenfold's. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Case } from "./case.js";
import type { Result, Row } from "./result.js";
import { median, quantile } from "./statistics.js";

/** The script's result for a case and a backend. */
interface Measured {
  case: string;
  /** `TensorLy 0.9 on NumPy (CPU)` */
  party: string;
  error: number | null;
  /** milliseconds a run */
  samples: number[];
  message?: string;
  /** of several ways to call it, the fastest */
  way?: string;
}

/**
 * Runs bench/peers/tensorly_bench.py on these cases, before anything else is measured, because nothing may run beside it. It has
 * the same rounds and seconds as the other parties.
 *
 * @returns `join`, which adds the script's rows to a case's result
 */
export function measureTensorly(
  python: string,
  chosen: readonly Case[],
  { rounds, budget }: { rounds: number; budget: number },
): { join(result: Result): void } {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-bench-"));
  try {
    const [casesFile, rowsFile] = [join(folder, "cases.json"), join(folder, "rows.json")];
    writeFileSync(casesFile, JSON.stringify(chosen.map(({ name, work, tolerance }) => ({ name, work, tolerance }))));
    const script = join(import.meta.dirname, "peers/tensorly_bench.py");
    const args = [script, casesFile, rowsFile, String(rounds), String(budget)];
    const { status, error } = spawnSync(python, args, { stdio: ["ignore", "inherit", "inherit"] });
    if (error || status !== 0) throw new Error(`${python} ${script}: ${error?.message ?? `ended with ${status}`}`);
    const rows = JSON.parse(readFileSync(rowsFile, "utf8")) as Measured[];
    return {
      join(result) {
        const { tolerance = 0, isTarget = false } = chosen.find(({ name }) => name === result.name) ?? {};
        const ours = result.rows[0]?.ms?.median;
        for (const row of rows)
          if (row.case === result.name) result.rows.push(rowOf(row, { tolerance, isTarget }, ours));
      },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A row of the report. The script is not timed in turn with tenfold, so the ratio is that of the medians. */
function rowOf(
  { party, error, samples, message, way }: Measured,
  { tolerance, isTarget }: { tolerance: number; isTarget: boolean },
  ours: number | undefined,
): Row {
  const wrong = error !== null && !(error <= tolerance);
  const problem = isTarget && wrong ? `error ${error.toExponential(1)} after ${way}, ${tolerance} asked` : message;
  const quartiles: [number, number] = [quantile(samples, 0.25), quantile(samples, 0.75)];
  return {
    party,
    interleaved: false,
    state: wrong ? (isTarget ? "not reached" : "WRONG") : samples.length ? "measured" : "failed",
    ...(problem && { message: problem }),
    ...(way && { way }),
    error,
    firstMs: null,
    ms: samples.length && !wrong ? { median: median(samples), quartiles, samples } : null,
    repetitions: 1,
    ratio:
      ours && samples.length && !wrong
        ? { median: median(samples) / ours, quartiles: [quartiles[0] / ours, quartiles[1] / ours] }
        : null,
    kernels: null,
    wallToKernels: null,
    counts: null,
  };
}
