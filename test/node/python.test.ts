/** The Python package in python/: tests that run where Python has what they need, and the command is built. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const python = process.env.PYTHON ?? "python3";
const has = (modules: string): boolean => spawnSync(python, ["-c", `import ${modules}`]).status === 0;

function passes(file: string): void {
  const { status, stderr } = spawnSync(python, [join(root, "python/tests", file)], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
}

describe.runIf(has("distributed, zarr") && existsSync(join(root, "dist/cli.js")))("on a Dask cluster", () => {
  it("answers are those of one machine, and failures are told", () => passes("test_cluster.py"), 900_000);
});

describe.runIf(has("anywidget"))("in a notebook", () => {
  it("numbers go to the browser, and factors come back as arrays", () => passes("test_widget.py"), 60_000);
});
