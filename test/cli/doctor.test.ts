import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Diagnosis } from "../../src/cli/doctor.js";
import { command } from "./command.js";

describe("tenfold doctor", () => {
  it("finds an adapter and tests it", async () => {
    const { code, stdout, stderr } = await command(["doctor", "--json"]);
    expect([code, stderr]).toEqual([0, ""]);
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    expect(diagnosis).toMatchObject({ found: true, problem: null, selfTest: { passed: true } });
    expect(diagnosis.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
    expect(diagnosis.adapter!.vendor + diagnosis.adapter!.description).not.toBe("");
  });

  it("says so in a table of 80 columns", async () => {
    const { code, stdout } = await command(["doctor"]);
    expect(code).toBe(0);
    for (const expected of ["adapter", "driver", "features", "limits", "self test"]) expect(stdout).toContain(expected);
    expect(stdout).toMatch(/passed: 1048576 sums/);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });
});

describe("the built command", () => {
  // inside the project, so that the program finds the packages
  const folder = resolve("node_modules/.cache", `tenfold-cli-${process.pid}`);
  const start = (argv: string[], env: Record<string, string> = {}) =>
    spawnSync(join(folder, "cli.js"), argv, { encoding: "utf8", env: { ...process.env, ...env }, timeout: 60_000 });

  beforeAll(async () => {
    mkdirSync(folder, { recursive: true });
    await build({ logLevel: "error", build: { outDir: folder } });
    await build({ configFile: "src/cli/vite.config.ts", logLevel: "error", build: { outDir: folder } });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("runs as a program", () => {
    expect(statSync(join(folder, "cli.js")).mode & 0o100).toBe(0o100);
    const { status, stdout, stderr } = start(["--version"]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it("ends by itself once its work is done", () => {
    // a program that does not end would be killed by a signal
    const { status, signal, stdout } = start(["doctor", "--json"]);
    expect([status, signal]).toEqual([0, null]);
    expect((JSON.parse(stdout) as Diagnosis).selfTest!.passed).toBe(true);
  });

  it("says what to install where there is no adapter", () => {
    const env = {
      TENFOLD_ADAPTER: "system",
      VK_ICD_FILENAMES: "/nonexistent.json",
      VK_DRIVER_FILES: "/nonexistent.json",
    };
    for (const argv of [["doctor"], ["doctor", "--json"]]) {
      const { status, stdout, stderr } = start(argv, env);
      expect(status).toBe(1);
      expect(stdout + stderr).toContain("No WebGPU adapter was found.");
      expect(stdout + stderr).toContain("npm install @sparticuz/chromium");
      // Dawn may print messages, but there is no stack
      expect(stderr).not.toContain("cli.js:");
    }
  });
});
