/** TensorLy's and torch.linalg's rows, measured by a Python script of its own and joined to ours. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Case } from "./case.js";
import type { Result, Row } from "./result.js";
import { median, quantile } from "./statistics.js";

/** What the script writes for a case and a backend. */
interface Measured {
  case: string;
  /** `TensorLy 0.9 on NumPy (CPU)` */
  party: string;
  error: number | null;
  /** milliseconds a run */
  samples: number[];
  message?: string;
}

/**
 * Runs bench/peers/tensorly_bench.py on these cases, in front of the others: nothing else may run beside it. As many rounds, and
 * as many seconds for them, as the others have.
 */
export function measureTensorly(
  python: string,
  chosen: readonly Case[],
  { rounds, budget }: { rounds: number; budget: number },
): { join(result: Result): void } {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-bench-"));
  try {
    const [given, found] = [join(folder, "cases.json"), join(folder, "rows.json")];
    writeFileSync(given, JSON.stringify(chosen.map(({ name, work, tolerance }) => ({ name, work, tolerance }))));
    const script = join(import.meta.dirname, "peers/tensorly_bench.py");
    const args = [script, given, found, String(rounds), String(budget)];
    const { status, error } = spawnSync(python, args, { stdio: ["ignore", "inherit", "inherit"] });
    if (error || status !== 0) throw new Error(`${python} ${script}: ${error?.message ?? `ended with ${status}`}`);
    const rows = JSON.parse(readFileSync(found, "utf8")) as Measured[];
    return {
      join(result) {
        const tolerance = chosen.find(({ name }) => name === result.name)?.tolerance ?? 0;
        const ours = result.rows[0]?.ms?.median;
        for (const row of rows) if (row.case === result.name) result.rows.push(rowOf(row, tolerance, ours));
      },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Not interleaved with ours: the ratio is one of medians. */
function rowOf({ party, error, samples, message }: Measured, tolerance: number, ours: number | undefined): Row {
  const wrong = error !== null && !(error <= tolerance);
  const quartiles: [number, number] = [quantile(samples, 0.25), quantile(samples, 0.75)];
  return {
    party,
    interleaved: false,
    state: wrong ? "WRONG" : samples.length ? "measured" : "failed",
    ...(message && { message }),
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
