/** `tenfold decompose` of files that are read slab by slab, and of files with missing entries. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DecomposeReport } from "../../src/cli/decompose.js";
import { readNpz, writeNpy } from "../../src/io/index.js";
import { kruskal } from "../decompositions/planted.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

const SHAPE = [12, 6, 7];
const clean = kruskal(
  SHAPE.map((extent, mode) => randomArray(2 * extent, 20 + mode)),
  SHAPE,
  2,
);
const noise = randomArray(clean.length, 3);
const values = Float32Array.from(clean, (value, at) => 1000 * (value + 0.01 * noise[at]!));

let folder: string;
const at = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-size-"));
  writeFileSync(at("x.npy"), writeNpy({ shape: SHAPE, data: values }));
  writeFileSync(
    at("holes.npy"),
    writeNpy({ shape: SHAPE, data: values.map((v, i) => (i % 3 === 1 ? Number.NaN : v)) }),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const report = async (...argv: string[]): Promise<DecomposeReport> => {
  const outcome = await command(["decompose", ...argv, "--json", at("report.json"), "--out", at("out.npz")]);
  expect(outcome).toMatchObject({ code: 0 });
  return JSON.parse(readFileSync(at("report.json"), "utf8")) as DecomposeReport;
};

describe("decompose", () => {
  it.each([
    ["--rank", "2"],
    ["--ranks", "2,2,2"],
    ["--ranks", "2,2,2", "--algorithm", "st-hosvd"],
  ])("%s %s is the same with --memory", async (...options) => {
    const direct = await report(at("x.npy"), ...options);
    const weights = readNpz(readFileSync(at("out.npz")));
    const streamed = await report(at("x.npy"), ...options, "--memory", "2.5kB");
    const others = readNpz(readFileSync(at("out.npz")));
    expect(Math.abs(streamed.relativeError - direct.relativeError)).toBeLessThan(1e-6);
    expect(streamed.compression).toBe(direct.compression);
    const name = options[0] === "--rank" ? "weights" : "core";
    const [a, b] = [weights.get(name)!.data, others.get(name)!.data];
    const largest = Math.max(...Array.from(a, Math.abs));
    for (let i = 0; i < a.length; i++) expect(Math.abs(a[i]! - b[i]!) / largest).toBeLessThan(1e-2);
  });

  it("--missing fits entries that are not NaN, and predicts the others", async () => {
    const refused = await command(["decompose", at("holes.npy"), "--rank", "2"]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("is NaN, not finite");
    const { known, relativeError } = await report(at("holes.npy"), "--rank", "2", "--missing");
    expect(known).toBe(336);
    expect(relativeError).toBeLessThan(0.05);
    const result = readNpz(readFileSync(at("out.npz")));
    const [weights, ...factors] = ["weights", "factor_0", "factor_1", "factor_2"].map((name) => result.get(name)!.data);
    let [lack, all] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      if (i % 3 !== 1) continue;
      const index = [Math.floor(i / 42), Math.floor(i / 7) % 6, i % 7];
      let predicted = 0;
      for (let r = 0; r < 2; r++)
        predicted += index.reduce((term, place, mode) => term * factors[mode]![2 * place + r]!, weights![r]!);
      lack += (predicted - 1000 * clean[i]!) ** 2;
      all += (1000 * clean[i]!) ** 2;
    }
    expect(Math.sqrt(lack / all)).toBeLessThan(0.05);
  });

  it("--missing of lines with an entry each leaves out what no line names, which else is 0", async () => {
    const lines = [...values.keys()]
      .filter((i) => i % 3 !== 1)
      .map((i) => `${[Math.floor(i / 42), Math.floor(i / 7) % 6, i % 7].join(",")},${1000 * clean[i]!}\n`);
    writeFileSync(at("some.csv"), `i,j,k,value\n${lines.join("")}`);
    const missing = await report(at("some.csv"), "--rank", "2", "--missing");
    expect(missing.known).toBe(336);
    expect(missing.relativeError).toBeLessThan(0.05);
    const zeros = await report(at("some.csv"), "--rank", "2", "--sweeps", "20");
    expect(zeros.known).toBe(null);
    expect(zeros.relativeError).toBeGreaterThan(0.3);
  });

  it("--missing of PARAFAC2", async () => {
    const { known, relativeError } = await report(at("holes.npy"), "--rank", "2", "--missing", "--method", "parafac2");
    expect(known).toBe(336);
    expect(relativeError).toBeLessThan(0.05);
  });

  it("--missing is in the report, whose norms are of what is known", async () => {
    expect(
      (await command(["decompose", at("holes.npy"), "--rank", "2", "--missing", "--report", at("holes")])).code,
    ).toBe(0);
    const slices = readFileSync(at("holes/residual-by-mode.csv"), "utf8");
    expect(slices).not.toContain("NaN");
    const [, ...bins] = readFileSync(at("holes/residual-histogram.csv"), "utf8").trim().split("\n");
    expect(bins.reduce((sum, line) => sum + Number(line.split(",")[4]), 0)).toBe(336);
    expect(readFileSync(at("holes/index.html"), "utf8")).toMatch(/168 entries are missing/);
  });

  it("--missing says where nothing is known", async () => {
    writeFileSync(at("nothing.npy"), writeNpy({ shape: [2, 2, 2], data: new Float32Array(8).fill(Number.NaN) }));
    const { code, stderr } = await command(["decompose", at("nothing.npy"), "--rank", "1", "--missing"]);
    expect(code).not.toBe(0);
    expect(stderr).toContain("every entry is missing");
  });

  it("keeps no more freed buffers than --memory allows", async () => {
    const asked: unknown[] = [];
    const withEngine = (_: unknown, options?: object) => {
      asked.push(options);
      return Promise.reject(new Error("opened"));
    };
    for (const memory of [["--memory", "2.5kB"], ["--memory", "8GB"], []])
      await command(["decompose", at("x.npy"), "--rank", "2", ...memory], { withEngine });
    expect(asked).toEqual([{ poolBytes: 2500 }, { poolBytes: 2 ** 29 }, {}]);
  });

  it("says what does not go together", async () => {
    const said = async (...argv: string[]) => (await command(["decompose", ...argv])).stderr;
    expect(await said(at("x.npy"), "--rank", "2", "--memory", "much")).toContain("It needs a number of bytes");
    expect(await said(at("x.npy"), "--rank", "2", "--memory", "100")).toContain("a row of 12×6×7 takes");
    expect(await said(at("x.npy"), "--rank", "2", "--memory", "1GB", "--missing")).toContain(
      "give it without --memory",
    );
    expect(await said(at("x.npy"), "--method", "svd", "--memory", "1GB")).toContain("--memory is for cp, tucker");
    expect(await said(at("holes.npy"), "--rank", "2", "--memory", "2.5kB")).toContain("not finite");
  });

  it("refuses entries in the words, and with the code, of a tensor in memory", async () => {
    const data = Float64Array.from(values);
    const wrong = { nan: Number.NaN, infinite: Number.POSITIVE_INFINITY, large: 1e300 };
    for (const [name, value] of Object.entries(wrong))
      writeFileSync(at(`${name}.npy`), writeNpy({ shape: SHAPE, data: data.with(77, value) }));
    writeFileSync(at("zero.npy"), writeNpy({ shape: SHAPE, data: new Float32Array(data.length) }));
    for (const name of [...Object.keys(wrong), "zero"]) {
      const argv = ["decompose", at(`${name}.npy`), "--rank", "2"];
      const inMemory = await command(argv);
      expect(inMemory.code).toBe(2);
      expect(await command([...argv, "--memory", "2.5kB"])).toEqual(inMemory);
    }
  });

  it.each([1e-30, 1e30])("takes entries of %s, as they are without --memory", async (scale) => {
    const data = Float64Array.from(values, (value) => value * scale);
    writeFileSync(at("scaled.npy"), writeNpy({ shape: SHAPE, data }));
    const { relativeError } = await report(at("scaled.npy"), "--rank", "2", "--memory", "2.5kB");
    expect(relativeError).toBeCloseTo((await report(at("x.npy"), "--rank", "2")).relativeError, 6);
  });

  it.each([1e-45, 1e-300])("says that slabs with entries of %s would be 0 as f32", async (scale) => {
    const data = Float64Array.from(values, (value) => value * scale);
    writeFileSync(at("tiny.npy"), writeNpy({ shape: SHAPE, data }));
    const { stderr, code } = await command(["decompose", at("tiny.npy"), "--rank", "2", "--memory", "2.5kB"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("all entries are below 1e-38, where f32 ends")]);
  });
});
