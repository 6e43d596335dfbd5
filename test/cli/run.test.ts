import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { OutOfLimitsError, TenfoldError } from "../../src/gpu/index.js";
import { writeNpy } from "../../src/io/index.js";
import { command } from "./command.js";

const { version } = JSON.parse(readFileSync(resolve("package.json"), "utf8")) as { version: string };

it("prints its version", async () => {
  expect(await command(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

it("without arguments says how to begin, with a line for every command", async () => {
  const { code, stdout, stderr } = await command([]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(new RegExp(`^tenfold ${version}: `));
  const { stdout: help } = await command(["--help"]);
  const [, listed] = /^Commands:\n(.*?)\n\n/ms.exec(help)!;
  const names = [...listed!.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name!).filter((name) => name !== "help");
  expect(names.length).toBeGreaterThanOrEqual(8);
  for (const name of names) expect(stdout).toContain(`tenfold ${name}`);
  for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
});

it.each([
  [["completion", "--help"]],
  [["--help"]],
  [["doctor", "--help"]],
  [["decompose", "--help"]],
  [["help", "decompose"]],
  [["rank", "--help"]],
  [["inspect", "--help"]],
  [["compress", "--help"]],
])("helps with examples: tenfold %j", async (argv) => {
  const { code, stdout, stderr } = await command(argv);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^Usage: tenfold/);
  expect(stdout).toMatch(/Examples:\n {2}\S*tenfold /);
  for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
});

it.each([
  [["decompos", "x.npy"], "error: unknown command 'decompos' (did you mean decompose?)"],
  [["qqq"], "error: unknown command 'qqq' (see tenfold --help)"],
  [["help", "decompos"], "error: unknown command 'decompos' (did you mean decompose?)"],
  [["help", "qqq"], "error: unknown command 'qqq' (see tenfold --help)"],
  [["completion", "tcsh"], "Allowed choices are bash, zsh, fish."],
  [["doctor", "--jsn"], "error: unknown option '--jsn' (did you mean --json?)"],
  [["--qqq"], "error: unknown option '--qqq' (see tenfold --help)"],
  [["doctor", "a"], "(see tenfold doctor --help)"],
  [["decompose", "-o", "y"], "error: missing required argument 'X' (see tenfold decompose --help)"],
  [["decompose", "x.npy"], "error: --rank R (cp) or --ranks R,R,… (tucker) is needed; tenfold rank suggests one"],
  [["decompose", "x.npy", "--out"], "argument missing"],
  [["decompose", "x.npy", "-o", "y", "--method", "qqq"], "Allowed choices are cp, "],
  [["decompose", "x.npy", "-o", "y", "--rank", "2.5"], "It needs a whole number of 1 or more."],
  [["decompose", "x.npy", "-o", "y", "--ranks", "3,,4"], "as in 15,10,10."],
  [["decompose", "x.npy", "-o", "y", "--tolerance", "-1"], "It needs a number from 0 to below 1"],
])("answers %j with one line", async (argv, expected) => {
  const { code, stdout, stderr } = await command(argv);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(expected);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
});

it.each([
  [new OutOfLimitsError("x (2) needs 8 B,\nthe device has 4 B"), 2, "error: x (2) needs 8 B, the device has 4 B\n"],
  [new TenfoldError("no adapter\ninstall one"), 1, "error: no adapter\ninstall one\n"],
  [new TypeError("oops"), 1, "error: oops (internal error; TENFOLD_DEBUG=1 shows where)\n"],
])("tells failures apart by exit code: %s", async (error, code, stderr) => {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-"));
  try {
    const file = join(folder, "x.npy");
    writeFileSync(file, writeNpy({ shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }));
    const argv = ["decompose", file, "--rank", "1", "--out", join(folder, "r.npz")];
    const withEngine = () => Promise.reject(error);
    expect(await command(argv, { withEngine })).toEqual({ code, stdout: "", stderr });
    const debug = await command(argv, { withEngine, env: { TENFOLD_DEBUG: "1" } });
    expect(debug.code).toBe(code);
    expect(debug.stderr).toContain("run.test.ts:"); // the stack
  } finally {
    rmSync(folder, { recursive: true });
  }
});
