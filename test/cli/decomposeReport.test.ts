import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NumericArray, readNpz, writeNpy, writeNpz } from "../../src/io/index.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

let folder: string;
const at = (name: string): string => join(folder, name);

/** 7×5×6: two terms around 1e20, and a slice of mode 1 that no term explains */
const [a, b, c] = [randomArray(14, 1), randomArray(10, 2), randomArray(12, 3)];
const noise = randomArray(210, 4);
const X = Float64Array.from({ length: 210 }, (_, flat) => {
  const [i, j, k] = [Math.floor(flat / 30), Math.floor(flat / 6) % 5, flat % 6];
  const terms = a[2 * i]! * b[2 * j]! * c[2 * k]! + a[2 * i + 1]! * b[2 * j + 1]! * c[2 * k + 1]!;
  return 1e20 * (terms + (j === 3 ? noise[flat]! : 0));
});

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-decompose-report-"));
  writeFileSync(at("x.npy"), writeNpy({ shape: [7, 5, 6], data: X }));
  writeFileSync(at("a.npy"), writeNpy({ shape: [35, 6], data: X }));
  writeFileSync(at("names.txt"), "zero\none\ntwo\nthree\nfour\n");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const reportOf = async (...argv: string[]): Promise<Map<string, string>> => {
  rmSync(at("page"), { recursive: true, force: true });
  const { code, stdout, stderr } = await command(["decompose", ...argv, "--report", at("page")]);
  expect([code, stderr.match(/^error.*/m)]).toEqual([0, null]);
  expect(stdout.replace(/\s/g, "")).toContain(join(at("page"), "index.html"));
  return new Map(readdirSync(at("page")).map((name) => [name, readFileSync(join(at("page"), name), "utf8")]));
};

/** Columns of a CSV file, without its head. */
const columnsOf = (text: string): string[][] => {
  const [, ...lines] = text.trim().split("\n");
  return lines.map((line) => line.split(","));
};

describe("tenfold decompose --report", () => {
  it("writes a page of a CP model, with labels, and each figure as SVG and CSV", async () => {
    const files = await reportOf(at("x.npy"), "--rank", "2", "--labels", `1:${at("names.txt")}`, "--image", "0,2");
    const figures = ["error-by-sweep", "starts", "weights", "factor-0", "factor-1", "factor-2", "images"];
    figures.push("pairs", "residual-by-mode", "residual-histogram", "residual-quantiles", "outliers", "congruence");
    expect([...files.keys()].sort()).toEqual(
      ["index.html", ...figures.flatMap((name) => [`${name}.svg`, `${name}.csv`])].sort(),
    );
    const page = files.get("index.html")!;
    for (const expected of ["CP, rank 2", "--rank 2 --labels", "converged to 1e-6", "three"])
      expect(page).toContain(expected);
    expect(page.match(/download="[^"]+\.svg"/g)!.length).toBe(figures.length);
    for (const name of figures) expect(files.get(`${name}.svg`)).toMatch(/^<svg xmlns="http:/);

    const weights = columnsOf(files.get("weights.csv")!).map(([, weight]) => Number(weight));
    expect(weights[0]!).toBeGreaterThan(1e19);
    const [f, g, h] = [0, 1, 2].map((mode) => columnsOf(files.get(`factor-${mode}.csv`)!));
    expect(g!.map(([label]) => label)).toEqual(["zero", "one", "two", "three", "four"]);
    // the error of the slices, against X̂ from the files' own numbers in f64
    const [squares, differences] = [new Float64Array(5), new Float64Array(5)];
    X.forEach((value, flat) => {
      const [i, j, k] = [Math.floor(flat / 30), Math.floor(flat / 6) % 5, flat % 6];
      const term = (r: number) => Number(f![i]![r + 1]) * Number(g![j]![r + 1]) * Number(h![k]![r + 1]);
      const model = weights.reduce((sum, weight, r) => sum + weight * term(r), 0);
      squares[j]! += value ** 2;
      differences[j]! += (value - model) ** 2;
    });
    const slices = columnsOf(files.get("residual-by-mode.csv")!).filter(([mode]) => mode === "mode 1");
    expect(slices.map(([, label]) => label)).toEqual(["zero", "one", "two", "three", "four"]);
    for (const [j, [, , error]] of slices.entries())
      expect(Math.abs(Number(error) - Math.sqrt(differences[j]! / squares[j]!))).toBeLessThan(1e-4);
    // all entries are counted, in the numbers of the file
    const bins = columnsOf(files.get("residual-histogram.csv")!).map((columns) => columns.map(Number));
    expect(bins.reduce((sum, [, , , , entries]) => sum + entries!, 0)).toBe(210);
    const squared = bins.reduce((sum, [from, to, , , entries]) => sum + entries! * ((from! + to!) / 2) ** 2, 0);
    const total = differences.reduce((sum, value) => sum + value, 0);
    expect(Math.abs(squared / total - 1)).toBeLessThan(0.02);
  });

  it.each([
    ["tucker", "x.npy", ["--ranks", "2,2,3"], ["core", "factor-0", "factor-1", "factor-2"]],
    ["tensor-train", "x.npy", ["--ranks", "2"], ["core-0", "core-1", "core-2"]],
    ["tensor-ring", "x.npy", ["--ranks", "2"], ["core-0", "core-1", "core-2"]],
    [
      "block-term",
      "x.npy",
      ["--blocks", "2", "--ranks", "2,2,6", "--sweeps", "5"],
      ["block-1-core", "block-2-factor-1"],
    ],
    ["svd", "a.npy", ["--rank", "3"], ["weights", "factor-0", "factor-1"]],
    ["nmf", "a.npy", ["--rank", "3", "--sweeps", "9"], ["weights", "factor-0", "factor-1"]],
  ])("writes one of %s, too", async (method, file, options, figures) => {
    const files = await reportOf(at(file), "--method", method, ...options);
    for (const name of [...figures, "residual-by-mode", "residual-histogram"])
      expect([...files.keys()]).toContain(`${name}.svg`);
    for (const [name, text] of files) expect(`${name} ${text.match(/NaN|undefined/)?.[0]}`).toBe(`${name} undefined`);
  });

  it("writes one of PARAFAC2, whose second mode is another in every slice", async () => {
    const files = await reportOf(at("x.npy"), "--method", "parafac2", "--rank", "2", "--sweeps", "9");
    for (const name of ["weights", "factor-0", "factor-1", "factor-2"])
      expect([...files.keys()]).toContain(`${name}.svg`);
    const rows = columnsOf(files.get("factor-1.csv")!);
    expect([rows.length, rows[6]![0]]).toEqual([7 * 5, "1: 1"]);
    // (P_k·B)ᵀ(P_k·B) is the same for all slices
    const grams = Array.from({ length: 7 }, (_, k) =>
      rows.slice(5 * k, 5 * k + 5).reduce((sum, [, one, two]) => sum + Number(one) * Number(two), 0),
    );
    for (const gram of grams) expect(Math.abs(gram - grams[0]!)).toBeLessThan(1e-4);
    // the residual's slices are those of the model in the files
    const [weights, a, c] = ["weights", "factor-0", "factor-2"].map((name) =>
      columnsOf(files.get(`${name}.csv`)!).map(([, ...numbers]) => numbers.map(Number)),
    );
    const errors = columnsOf(files.get("residual-by-mode.csv")!).filter(([mode]) => mode === "mode 0");
    for (const [k, [, , error]] of errors.entries()) {
      let [lack, all] = [0, 0];
      for (let i = 0; i < 5; i++)
        for (let j = 0; j < 6; j++) {
          const value = X[30 * k + 6 * i + j]!;
          const model = [0, 1].reduce(
            (sum, r) => sum + weights![r]![0]! * a![k]![r]! * Number(rows[5 * k + i]![r + 1]) * c![j]![r]!,
            0,
          );
          lack += (value - model) ** 2;
          all += value ** 2;
        }
      expect(Math.abs(Number(error) - Math.sqrt(lack / all))).toBeLessThan(1e-3);
    }
  });

  it.each([
    ["cp", "--rank", "2"],
    ["tucker", "--ranks", "2,2,2"],
  ])("measures residuals slab by slab where %s streams the tensor", async (...options) => {
    const argv = [at("x.npy"), "--method", ...options];
    const [whole, slabs] = [await reportOf(...argv), await reportOf(...argv, "--memory", "2KB")];
    const errorsOf = (files: Map<string, string>): number[] =>
      columnsOf(files.get("residual-by-mode.csv")!).map((columns) => Number(columns[2]));
    const [some, others] = [errorsOf(whole), errorsOf(slabs)];
    expect(others.length).toBe(7 + 5 + 6);
    expect(Math.max(...others.map((error, at) => Math.abs(error - some[at]!)))).toBeLessThan(1e-3);
    const sizeOf = (files: Map<string, string>): number =>
      columnsOf(files.get("residual-histogram.csv")!)
        .map((columns) => columns.map(Number))
        .reduce((sum, [from, to, , , entries]) => sum + entries! * ((from! + to!) / 2) ** 2, 0);
    expect(Math.abs(sizeOf(slabs) / sizeOf(whole) - 1)).toBeLessThan(0.02);
  });

  it("divides numbers that f32 does not hold, and says so", async () => {
    writeFileSync(at("small.npy"), writeNpy({ shape: [7, 5, 6], data: X.map((value) => value * 1e-70) }));
    const files = await reportOf(at("small.npy"), "--rank", "2", "--sweeps", "30");
    expect(files.get("index.html")).toMatch(/all numbers are those of the tensor ÷ 2\^-\d+/);
    const [weight] = columnsOf(files.get("weights.csv")!).map(([, value]) => Number(value));
    expect(weight!).toBeGreaterThan(0.1);
  });

  it("draws the components of another model beside those that are like them", async () => {
    const first = ["decompose", at("x.npy"), "--rank", "3", "--seed", "4", "--out", at("first.npz")];
    expect((await command(first)).code).toBe(0);
    // the same model, its terms in another order and two columns of a term the other way round
    const arrays = readNpz(readFileSync(at("first.npz")));
    const turned = [...arrays].map(([name, { shape, data }]): [string, NumericArray] => {
      const mode = name === "weights" ? null : Number(name.at(-1));
      const values = Float64Array.from(data, (_, place) => {
        const [row, term] = [Math.floor(place / 3), place % 3];
        const from = (term + 1) % 3;
        return Number(data[3 * row + from]!) * (from === 0 && mode !== null && mode > 0 ? -1 : 1);
      });
      return [name, { shape, data: values }];
    });
    writeFileSync(at("other.npz"), writeNpz(turned));
    const files = await reportOf(at("x.npy"), "--rank", "3", "--seed", "4", "--compare", at("other.npz"));
    const [congruences, ...rows] = columnsOf(files.get("comparison.csv")!);
    expect(files.get("comparison.csv")!.split("\n")[0]).toBe(
      "mode,index,component 1,other.npz 3,component 2,other.npz 1,component 3,other.npz 2",
    );
    expect(
      congruences!
        .slice(3)
        .filter((_, place) => place % 2 === 0)
        .map(Number),
    ).toEqual([expect.closeTo(1, 5), expect.closeTo(1, 5), expect.closeTo(1, 5)]);
    expect(rows.length).toBe(7 + 5 + 6);
    for (const [, , ...values] of rows)
      for (const term of [0, 2, 4]) expect(Number(values[term])).toBeCloseTo(Number(values[term + 1]), 5);
    expect(files.get("index.html")).toContain("Beside other.npz");
    expect(files.get("comparison.svg")!.match(/stroke-dasharray="5 3"/g)!.length).toBe(9);

    // a model of fewer terms leaves one without a counterpart
    const fewer = await reportOf(at("x.npy"), "--rank", "4", "--compare", at("other.npz"));
    expect(fewer.get("comparison.csv")!.split("\n")[0]!.match(/other/g)!.length).toBe(3);
    expect(fewer.get("index.html")).toContain("1 component of this model has no counterpart");
  });

  it("refuses what does not suit, before anything is computed", async () => {
    const refused = async (expected: string, ...argv: string[]): Promise<void> => {
      const { code, stderr } = await command(["decompose", at("x.npy"), "--rank", "2", ...argv]);
      expect(stderr).toContain(expected);
      expect(code).toBe(2);
    };
    await refused("--labels, --image and --compare are for --report", "--image", "0,1");
    const report = ["--report", at("none")];
    writeFileSync(at("bad.npz"), writeNpz([["weights", { shape: [2], data: Float32Array.of(1, 2) }]]));
    await refused("has weights, needs weights and factor_0 to factor_2", ...report, "--compare", at("bad.npz"));
    const short = [0, 1, 2].map((mode): [string, NumericArray] => [
      `factor_${mode}`,
      { shape: [7, 2], data: new Float32Array(14) },
    ]);
    writeFileSync(at("short.npz"), writeNpz([["weights", { shape: [2], data: Float32Array.of(1, 2) }], ...short]));
    await refused("factor_1 is 7×2", ...report, "--compare", at("short.npz"));
    const { stderr } = await command([
      "decompose",
      at("x.npy"),
      "--method",
      "tucker",
      "--ranks",
      "2,2,2",
      ...report,
      "--compare",
      at("short.npz"),
    ]);
    expect(stderr).toContain("give --method cp");
    await refused("5 lines, mode 0 of", ...report, "--labels", `0:${at("names.txt")}`);
    await refused("has modes 0 to 2 (shape 7×5×6)", ...report, "--labels", `3:${at("names.txt")}`);
    await refused("--image 1,3", ...report, "--image", "1,3");
    await refused("It needs two modes with a comma between", ...report, "--image", "1,1");
    await refused("It needs a mode and a file with a colon between", ...report, "--labels", "names.txt");
    expect(existsSync(at("none/index.html"))).toBe(false);
  });
});
