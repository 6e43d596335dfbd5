/** Starts Python, which places work on a Dask cluster and starts this command again as the one that asks. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Context, InputError } from "../context.js";

export interface ClusterOptions {
  scheduler?: string | undefined;
  workers?: number | undefined;
  memory?: number | undefined;
  missing?: boolean | undefined;
}

/** The folder of a checkout that has the Python package; null elsewhere, where pip installs it. */
function pythonFolder(): string | null {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "python/tenfold/cluster/__main__.py"))) return join(folder, "python");
    if (folder === dirname(folder)) return null;
  }
}

/**
 * Runs the command by way of Python, and returns its exit code.
 *
 * @throws InputError where Python, Dask, Zarr or the package is missing, with what to install
 */
export async function throughPython(
  file: string,
  argv: readonly string[],
  { scheduler, workers, memory, missing }: ClusterOptions,
  { env, signal }: Pick<Context, "env" | "signal">,
): Promise<number> {
  if (scheduler !== undefined && workers !== undefined)
    throw new InputError("--scheduler and --workers: give one of them; --workers starts a cluster on this machine");
  const python = env.TENFOLD_PYTHON ?? env.PYTHON ?? "python3";
  const folder = pythonFolder();
  const paths = [folder, env.PYTHONPATH].filter((path) => path);
  const environment = { ...env, PYTHONPATH: paths.join(delimiter), TENFOLD_CLI: process.argv[1] ?? "" };
  const install = `${python} -m pip install "tenfold[cluster]"`;
  const tried = spawnSync(python, ["-c", "import numpy, zarr, distributed, tenfold.cluster"], {
    env: environment,
    encoding: "utf8",
  });
  if (tried.error)
    throw new InputError(
      `--scheduler and --workers go by Python, and ${python} cannot be started (${tried.error.message}); install Python 3.10 or newer, or name it in TENFOLD_PYTHON, then: ${install}`,
    );
  if (tried.status !== 0) {
    const last = tried.stderr.trim().split("\n").at(-1);
    throw new InputError(
      `--scheduler and --workers go by tenfold for Python and Dask, which ${python} has not in full (${last}); ${install}`,
    );
  }
  const words = ["-m", "tenfold.cluster", "run", "--file", file];
  if (scheduler !== undefined) words.push("--scheduler", scheduler);
  if (workers !== undefined) words.push("--workers", String(workers));
  if (memory !== undefined) words.push("--memory", String(memory));
  if (missing) words.push("--missing");
  const child = spawn(python, [...words, "--", ...argv], { stdio: "inherit", env: environment });
  // Python hears Ctrl-C itself, and ends when the state is kept
  signal.addEventListener("abort", () => {});
  return await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}
