/** `tenfold decompose` and `tenfold info` of files whose arrays are slices of several lengths. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DecomposeReport } from "../../src/cli/decompose.js";
import type { Info } from "../../src/cli/info.js";
import { type NumericArray, readNpz, writeNpz } from "../../src/io/index.js";
import { distance } from "../decompositions/planted.js";
import { planted } from "../decompositions/slices.js";
import { command } from "./command.js";

let folder: string;
const at = (name: string): string => join(folder, name);
const COLUMNS = 6;
/** rows by name, in the natural order of names; the file has another */
const ROWS = { run1: 9, run2: 5, run10: 12, run20: 7 };
const NAMES = Object.keys(ROWS);
const SLICES = planted(Object.values(ROWS), COLUMNS, 2, 0.05, 7).map(({ rows, data }) => ({
  shape: [rows, COLUMNS],
  // in f64 around 1e20, so that results carry a scale
  data: Float64Array.from(data, (value) => 1e20 * value),
}));

const write = (name: string, arrays: [string, NumericArray][]): void => writeFileSync(at(name), writeNpz(arrays));
const shuffled = [2, 0, 3, 1].map((k): [string, NumericArray] => [NAMES[k]!, SLICES[k]!]);
/** a vector beside the slices, which is none */
const ORDER = ["slice", "row", "column"];
const time: [string, NumericArray] = ["time", { shape: [3], data: new Float32Array([1, 2, 3]) }];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-slices-"));
  write("slices.npz", [...shuffled, time]);
  write("mixed.npz", [...shuffled, ["other", { shape: [4, 5], data: new Float32Array(20).fill(1) }]]);
  write("tensors.npz", [...shuffled, ["x", { shape: [2, 3, 4], data: new Float32Array(24).fill(1) }]]);
  const isHole = (at: number): boolean => at % 5 === 3;
  const holed = SLICES[2]!.data.map((value, at) => (isHole(at) ? Number.NaN : value));
  write("holes.npz", [...shuffled.slice(1), ["run10", { shape: [12, COLUMNS], data: holed }]]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const decompose = async (file: string, ...options: string[]) => {
  const outputs = ["--json", at("r.json"), "--out", at("r.npz")];
  const outcome = await command(["decompose", at(file), "--method", "parafac2", "--rank", "2", ...options, ...outputs]);
  expect([outcome.code, outcome.stderr.match(/^error.*/m)]).toEqual([0, null]);
  return {
    ...outcome,
    report: JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport,
    members: readNpz(readFileSync(at("r.npz"))),
  };
};

/** X̂_k from the saved arrays, as the help says to put them together. */
function fullOf(members: ReadonlyMap<string, NumericArray>, k: number): Float64Array {
  const [weights, a, b, c, p] = ["weights", "a", "b", "c", `projection_${k}`].map((name) => members.get(name)!.data);
  const out = new Float64Array((p!.length / 2) * COLUMNS);
  for (let at = 0; at < out.length; at++) {
    const [i, j] = [Math.floor(at / COLUMNS), at % COLUMNS];
    for (let r = 0; r < 2; r++) {
      const evolved = p![2 * i]! * b![r]! + p![2 * i + 1]! * b![2 + r]!;
      out[at]! += evolved * weights![r]! * a![2 * k + r]! * c![2 * j + r]!;
    }
  }
  return out;
}

describe("slices in one file", () => {
  it("are decomposed by parafac2, in the natural order of their names", async () => {
    const { report, members, stdout } = await decompose("slices.npz");
    const rows = Object.values(ROWS);
    expect(report.slices).toEqual(NAMES.map((name, k) => ({ name, rows: rows[k] })));
    expect(report.shape).toEqual([4, 12, COLUMNS]);
    expect(NAMES.map((_, k) => members.get(`projection_${k}`)!.shape)).toEqual(rows.map((extent) => [extent, 2]));
    const model = NAMES.flatMap((_, k) => [...fullOf(members, k)]);
    const data = SLICES.flatMap((slice) => [...slice.data]);
    expect(report.relativeError).toBeLessThan(0.06);
    expect(Math.abs(distance(data, model) - report.relativeError)).toBeLessThan(1e-5);
    expect(report.compression * report.parameters).toBeCloseTo(data.length, 6);
    const told = stdout.replace(/\s+/g, " ");
    expect(told).toContain("4 slices of 5 to 12×6, 198 entries");
    expect(told).toContain("slices run1, run2, run10, run20");
    expect(told).toMatch(/worst slice run\d+, with an error of 0\.0/);
  });

  it("may be named by a part of their names", async () => {
    expect((await decompose("mixed.npz:run*")).report.slices!.map(({ name }) => name)).toEqual(NAMES);
    expect((await decompose("mixed.npz:run2*")).report.slices!.length).toBe(2);
  });

  it("may have missing entries", async () => {
    const { report, members } = await decompose("holes.npz", "--missing", "--sweeps", "1500", "--tolerance", "1e-7");
    expect(report.known).toBe(198 - 14);
    const hidden = [...SLICES[2]!.data.keys()].filter((at) => at % 5 === 3);
    const [model, data] = [fullOf(members, 2), SLICES[2]!.data].map((from) => hidden.map((at) => from[at]!));
    expect(distance(data!, model!)).toBeLessThan(0.2);
    const refused = await command(["decompose", at("holes.npz"), "--method", "parafac2", "--rank", "2"]);
    expect(refused.stderr).toMatch(
      /holes\.npz:run10: entry \[0, 3\] is NaN, not finite, and 13 more are like it; --missing /,
    );
  });

  it("have a report, with their names", async () => {
    const { members } = await decompose("holes.npz", "--missing", "--report", at("page"));
    const lines = (name: string): string[] =>
      readFileSync(at(`page/${name}.csv`), "utf8")
        .trim()
        .split("\n");
    expect(lines("factor-0").map((line) => line.split(",")[0])).toEqual(["index", ...NAMES]);
    expect(lines("factor-1")[1 + 9 + 5 + 3]).toMatch(/^run10: 3,/);
    const page = readFileSync(at("page/index.html"), "utf8");
    expect(page).toContain("4 slices of 5 to 12 × 6");
    expect(page).toMatch(/14 entries are missing/);
    expect(page).not.toMatch(/NaN|undefined/);

    // relative errors of slices, of their rows and of columns, by the known entries alone, in f64
    const sums = new Map<string, [lack: number, data: number]>();
    for (const [k, { data }] of SLICES.entries()) {
      const model = fullOf(members, k);
      for (const [place, value] of data.entries()) {
        if (k === 2 && place % 5 === 3) continue;
        const [row, column] = [Math.floor(place / COLUMNS), place % COLUMNS];
        for (const key of [`slice,${NAMES[k]}`, `row,${NAMES[k]}: ${row}`, `column,${column}`]) {
          const [lack, all] = sums.get(key) ?? [0, 0];
          sums.set(key, [lack + (value - model[place]!) ** 2, all + value ** 2]);
        }
      }
    }
    const told = lines("residual-by-mode").slice(1);
    expect(told.map((line) => line.split(",").slice(0, 2).join(","))).toEqual(
      [...sums.keys()].sort((a, b) => ORDER.indexOf(a.split(",")[0]!) - ORDER.indexOf(b.split(",")[0]!)),
    );
    for (const line of told) {
      const [mode, index, error] = line.split(",");
      const [lack, all] = sums.get(`${mode},${index}`)!;
      expect(Math.abs(Number(error) - Math.sqrt(lack / all))).toBeLessThan(1e-4);
    }
    expect(page).toContain("Residual by mode");
    const counted = lines("residual-histogram")
      .slice(1)
      .reduce((sum, line) => sum + Number(line.split(",")[4]), 0);
    expect(counted).toBe(198 - 14);
    // leverage is that of slices and columns: each slice has rows of its own
    expect(
      new Set(
        lines("outliers")
          .slice(1)
          .map((line) => line.split(",")[0]),
      ),
    ).toEqual(new Set(["slice", "column"]));
  });

  it("that do not belong together are refused", async () => {
    const refused = async (file: string, ...options: string[]): Promise<string> => {
      const { code, stderr } = await command(["decompose", at(file), ...options]);
      expect(code).toBe(2);
      return stderr;
    };
    const parafac2 = ["--method", "parafac2", "--rank", "2"];
    expect(await refused("mixed.npz", ...parafac2)).toMatch(
      /mixed\.npz: run1 is 9×6, and the slice other 4×5; slices need as many columns/,
    );
    expect(await refused("tensors.npz", ...parafac2)).toMatch(/x is 2×3×4, a slice is a matrix; name the array/);
    expect(await refused("slices.npz", "--method", "parafac2", "--rank", "6")).toMatch(
      /rank 6 is larger than the slice run2, 5×6; give at most 5, or leave the slice out/,
    );
    expect(await refused("slices.npz:walk*", ...parafac2)).toMatch(/holds no matrix walk\*; it has run10/);
    expect(await refused("slices.npz", "--rank", "2")).toMatch(/holds 5 arrays, give one as slices\.npz:run10/);
  });

  it("are told by tenfold info, with a command to begin with", async () => {
    const { code, stdout } = await command(["info", at("holes.npz"), "--json"]);
    expect(code).toBe(0);
    const info = JSON.parse(stdout) as Info;
    expect(info).toMatchObject({ shape: [4, 12, COLUMNS], entries: 198, missing: 14, dtype: "f8" });
    expect(info.slices!.map(({ rows }) => rows)).toEqual(Object.values(ROWS));
    expect(info.suggestions).toEqual([`tenfold decompose ${at("holes.npz")} --method parafac2 --rank 3 --missing`]);
    const told = (await command(["info", at("slices.npz")])).stdout.replace(/\s+/g, " ");
    expect(told).toContain("4 slices of 5 to 12×6");
    expect(told).toContain("slices run1, run2, run10, run20");
    expect((await command(["info", at("tensors.npz")])).stderr).toContain("give one as");
  });
});
