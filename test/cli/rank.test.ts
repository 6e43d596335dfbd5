/** `tenfold rank`: the table, its suggestion, JSON and the page; and what it refuses. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RankReport } from "../../src/cli/rank.js";
import { type NumericArray, writeNpy } from "../../src/io/index.js";
import { plantedCp } from "../decompositions/planted.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

let folder: string;
const at = (name: string): string => join(folder, name);
const put = (name: string, shape: number[], data: NumericArray["data"]): string => {
  writeFileSync(at(name), writeNpy({ shape, data }));
  return at(name);
};
const SHAPE = [14, 10, 12];
const planted = (): string => put("x.npy", SHAPE, plantedCp(SHAPE, 2, 0.02, 3).data);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("tenfold rank", () => {
  it("tells the number of components, in a table, JSON and a page", async () => {
    const argv = ["rank", planted(), "--max", "3", "--seed", "1", "--json", at("r.json"), "--report", at("r.html")];
    const { code, stdout, stderr } = await command(argv);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toMatch(/rank: 100\/100 %/);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    expect(stdout).toContain("14×10×12, 1,680 entries");
    expect(stdout).toMatch(/rank +error +explained +core +starts +halves +degeneracy\n/);
    expect(stdout).toMatch(/\n> +2 +0\.01\d+ +99\.9\d % +(?:9\d|100) % +\d of 4 +(?:0\.9\d|1\.00) +\d\.\d\d\n/);
    expect(stdout).toMatch(/\n +1 +0\.\d+ +\d\d\.\d\d % +100 % /);
    const last = stdout.slice(stdout.indexOf("\n2 components: ")).replace(/\s+/g, " ");
    expect(last).toMatch(
      /^ 2 components: rank 2 is the highest up to 3 without objections: core consistency is .* no terms cancel\. Rank 3: .*\. $/,
    );

    const report = JSON.parse(readFileSync(at("r.json"), "utf8")) as RankReport;
    expect(report).toMatchObject({ shape: SHAPE, suggestion: 2, seed: 1, starts: 4, halved: 0 });
    expect(report.ranks.map(({ rank }) => rank)).toEqual([1, 2, 3]);
    expect(report.ranks[1]!.objections).toEqual([]);
    expect(last).toContain(report.reason);
    const page = readFileSync(at("r.html"), "utf8");
    expect(page).toContain('"kind":"ranks"');
    expect(page).toContain(`--max 3`);
  });

  it("writes JSON to standard output, and the table to standard error", async () => {
    const { code, stdout, stderr } = await command(["rank", planted(), "--max", "1", "--starts", "1", "--json", "-"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ starts: 1, ranks: [{ rank: 1, starts: 1 }] });
    expect(stderr).toMatch(/no number of components is suggested: every rank|1 component: rank 1/);
  });

  it("holds entries out, and takes missing ones", async () => {
    const { data } = plantedCp(SHAPE, 2, 0.02, 3);
    for (let at = 5; at < data.length; at += 17) data[at] = Number.NaN;
    const file = put("holes.npy", SHAPE, data);
    const argv = [
      "rank",
      file,
      "--max",
      "2",
      "--starts",
      "2",
      "--missing",
      "--holdout",
      "0.1",
      "--json",
      at("held.json"),
    ];
    const { code, stdout } = await command(argv);
    expect(code).toBe(0);
    expect(stdout).toMatch(/rank +error +explained +core +starts +halves +held out +degeneracy\n/);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const report = JSON.parse(readFileSync(at("held.json"), "utf8")) as RankReport;
    expect(report.suggestion).toBe(2);
    expect(report.ranks[1]!.heldOut).toBeLessThan(0.03);
    expect(report.ranks[0]!.heldOut).toBeGreaterThan(0.1);
  });

  it("suggests none for noise", async () => {
    const file = put("noise.npy", [9, 8, 7], randomArray(504, 3));
    const { code, stdout } = await command(["rank", file, "--max", "2"]);
    expect(code).toBe(0);
    expect(stdout.replace(/\s+/g, " ")).toContain(
      "no number of components is suggested: every rank from 1 to 2 has objections, as in noise. Rank 1: ",
    );
    expect(stdout).not.toContain(">");
  });

  it("stops at Ctrl-C and writes nothing", async () => {
    const file = planted();
    const before = readdirSync(folder).sort();
    const controller = new AbortController();
    const onStderr = () => controller.abort();
    const outputs = ["--json", at("stopped.json"), "--report", at("stopped.html")];
    for (const signal of [controller.signal, AbortSignal.abort()]) {
      const { code, stdout, stderr } = await command(["rank", file, "--max", "4", ...outputs], { signal, onStderr });
      expect([code, stdout]).toEqual([130, ""]);
      expect(stderr).toMatch(/stopped at rank \d; nothing was written\n$/);
      expect(readdirSync(folder).sort()).toEqual(before);
    }
  });

  it("answers bad input with one line, and writes no file", async () => {
    const refuse = async (expected: string, argv: string[]): Promise<void> => {
      const before = readdirSync(folder).sort();
      const { code, stdout, stderr } = await command(["rank", ...argv]);
      expect(stderr).toContain(expected);
      expect(stderr).toMatch(/^error: [^\n]+\n$/);
      expect([code, stdout]).toEqual([2, ""]);
      expect(readdirSync(folder).sort()).toEqual(before);
    };
    const json = ["--json", at("none.json")];
    const good = planted();
    await refuse("none.npy: cannot be read: no such file or folder", [at("none.npy"), ...json]);
    const matrix = put("matrix.npy", [4, 5], randomArray(20));
    await refuse("matrix.npy 4×5 has order 2, needs 3 to 8", [matrix, ...json]);
    await refuse("needs at least two modes", [put("vector.npy", [5], randomArray(5)), ...json]);
    const data = randomArray(60);
    data[23] = Number.NaN;
    await refuse("nan.npy: entry [1, 1, 3] is NaN, not finite", [put("nan.npy", [4, 3, 5], data), ...json]);
    await refuse("every entry is 0", [put("zeros.npy", [2, 2, 2], new Float32Array(8)), ...json]);
    await refuse("It needs a whole number of 1 or more.", [good, "--max", "0"]);
    await refuse("It needs a whole number of 1 or more.", [good, "--starts", "x"]);
    await refuse("It needs a number above 0 and below 1", [good, "--holdout", "1"]);
    await refuse("is the input", [good, "--json", good]);
    await refuse("is the output of --json", [good, ...json, "--report", at("none.json")]);
    await refuse("none/r.html: cannot be written: no such file or folder", [good, "--report", at("none/r.html")]);
    expect(existsSync(at("none.json"))).toBe(false);
  });
});
