/** The Python package in python/: tests that run where Python has what they need, and the command is built. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const python = process.env.PYTHON ?? "python3";
const has = (modules: string): boolean => spawnSync(python, ["-c", `import ${modules}`]).status === 0;

function passes(file: string): void {
  const { status, stderr } = spawnSync(python, [join(root, "python/tests", file)], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
}

it("is of the version that the command is of", () => {
  const version = /__version__ = "(.*)"/.exec(readFileSync(join(root, "python/tenfold/__init__.py"), "utf8"))?.[1];
  expect(version).toBe(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version);
});

describe.runIf(has("numpy"))("arrays on their way to workers", () => {
  it("are the same to the bit, in few bytes", () => passes("test_parcels.py"), 60_000);
});

describe.runIf(has("distributed, zarr") && existsSync(join(root, "dist/cli.js")))("on a Dask cluster", () => {
  it("answers are those of one machine, and failures are told", () => passes("test_cluster.py"), 900_000);
});

describe.runIf(has("anywidget"))("in a notebook", () => {
  it("numbers go to the browser, and factors come back as arrays", () => passes("test_widget.py"), 60_000);
});
