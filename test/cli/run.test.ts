import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { command } from "./command.js";

const { version } = JSON.parse(readFileSync(resolve("package.json"), "utf8")) as { version: string };

it("prints its version", async () => {
  expect(await command(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

it.each([[[]], [["--help"]], [["doctor", "--help"]], [["decompose", "--help"]], [["help", "decompose"]]])(
  "helps with examples: tenfold %j",
  async (argv) => {
    const { code, stdout, stderr } = await command(argv);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^Usage: tenfold/);
    expect(stdout).toMatch(/Examples:\n {2}\S*tenfold /);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(110);
  },
);

it.each([
  [["decompos", "x.npy"], "error: unknown command 'decompos' (did you mean decompose?)"],
  [["qqq"], "error: unknown command 'qqq' (see tenfold --help)"],
  [["doctor", "--jsn"], "error: unknown option '--jsn' (did you mean --json?)"],
  [["--qqq"], "error: unknown option '--qqq' (see tenfold --help)"],
  [["doctor", "a"], "(see tenfold doctor --help)"],
  [["decompose", "-o", "y"], "error: missing required argument 'X.npy' (see tenfold decompose --help)"],
  [["decompose", "x.npy"], "error: required option '-o, --out <result.npz>' not specified"],
  [["decompose", "x.npy", "--out"], "argument missing"],
  [["decompose", "x.npy", "-o", "y", "--method", "svd"], "Allowed choices are cp, tucker."],
  [["decompose", "x.npy", "-o", "y", "--rank", "2.5"], "It needs a whole number of 1 or more."],
  [["decompose", "x.npy", "-o", "y", "--ranks", "3,,4"], "as in 15,10,10."],
  [["decompose", "x.npy", "-o", "y", "--tolerance", "-1"], "It needs a number from 0 to below 1"],
])("answers %j with one line", async (argv, expected) => {
  const { code, stdout, stderr } = await command(argv);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(expected);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
});
