/** A cluster of Dask on this machine (python/tests/test_cluster.py). Runs where Python has Dask and Zarr, and the command is built. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const python = process.env.PYTHON ?? "python3";
const hasDask = spawnSync(python, ["-c", "import distributed, zarr"]).status === 0;

describe.runIf(hasDask && existsSync(join(root, "dist/cli.js")))("on a Dask cluster", () => {
  it("answers are those of one machine, and failures are told", () => {
    const words = ["-m", "unittest", "discover", "-s", join(root, "python/tests"), "-p", "test_cluster.py"];
    const { status, stderr } = spawnSync(python, words, { encoding: "utf8" });
    expect(stderr).toContain("OK");
    expect(status).toBe(0);
  }, 600_000);
});
