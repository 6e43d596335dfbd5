import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { DecomposeReport } from "../../src/cli/decompose.js";
import { type NumericArray, readNpz, writeNpy, writeNpz } from "../../src/io/index.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

let folder: string;
const at = (name: string): string => join(folder, name);
const put = (name: string, shape: number[], data: NumericArray["data"]): string => {
  writeFileSync(at(name), writeNpy({ shape, data }));
  return at(name);
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => rmSync(at("r.npz"), { force: true }));

const SHAPE = [9, 8, 7];
const positive = (size: number, seed: number): number[] => [...randomArray(size, seed)].map((value) => value + 1.2);

/** Σ over all core entries of core · Π factor entries, in f64. */
function reconstruct(core: NumericArray, factors: NumericArray[]): Float64Array {
  const out = new Float64Array(factors.reduce((size, { shape }) => size * shape[0]!, 1));
  const extents = factors.map(({ shape }) => shape[0]!);
  const digits = (index: number, shape: readonly number[]): number[] => {
    const place: number[] = [];
    for (const extent of [...shape].reverse()) {
      place.unshift(index % extent);
      index = Math.floor(index / extent);
    }
    return place;
  };
  out.forEach((_, index) => {
    const row = digits(index, extents);
    core.data.forEach((weight, entry) => {
      const column = core.shape.length === 1 ? row.map(() => entry) : digits(entry, core.shape);
      out[index]! += factors.reduce(
        (product, { shape, data }, mode) => product * data[row[mode]! * shape[1]! + column[mode]!]!,
        weight,
      );
    });
  });
  return out;
}

/** A tensor of exactly this CP rank. */
function planted(rank: number): Float64Array {
  const factors = SHAPE.map((extent, mode) => ({
    shape: [extent, rank],
    data: Float64Array.from(positive(extent * rank, mode + 1)),
  }));
  return reconstruct({ shape: [rank], data: new Float64Array(rank).fill(1) }, factors);
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
};

describe("a decomposition", () => {
  it.each([1, 1e-30, 1e-50, 1e37])("by cp is found, written and reported, for entries around %f", async (size) => {
    const x = planted(2).map((value) => value * size);
    const file = put("x.npy", SHAPE, x);
    const argv = ["decompose", file, "--method", "cp", "--rank", "2", "--out", at("r.npz"), "--json", at("r.json")];
    const { code, stdout, stderr } = await command([...argv, "--seed", "3", "--sweeps", "200"]);
    expect(code).toBe(0);
    const members = readNpz(readFileSync(at("r.npz")));
    expect([...members].map(([name, { shape }]) => [name, [...shape]])).toEqual([
      ["weights", [2]],
      ["factor_0", [9, 2]],
      ["factor_1", [8, 2]],
      ["factor_2", [7, 2]],
    ]);
    const [weights, ...factors] = [...members.values()] as [NumericArray, ...NumericArray[]];
    const report = JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport;
    const error = distance(reconstruct(weights, factors), x);
    expect(error).toBeLessThan(1e-5);
    expect(Math.abs(report.relativeError - error)).toBeLessThan(1e-5);
    expect(report).toMatchObject({ shape: SHAPE, method: "cp", ranks: [2], parameters: 2 + 2 * 24, seed: 3 });
    expect(report).toMatchObject({ algorithm: "gauss-newton", converged: true, stalled: false });
    expect(report.starts!.errors.length).toBe(4);
    expect(report.starts!.agreeing).toBeGreaterThanOrEqual(2);
    expect(report.compression).toBeCloseTo(504 / 50);
    expect(report.fits.length).toBe(report.sweeps);
    expect(stderr).toContain("cp, rank 2: 1/200 iterations  starts 1 to 4, best fit ");
    expect(stderr).toContain("cp, rank 2: 1/200 iterations  fit ");
    expect(stdout).toMatch(/iterations +\d+, converged to 1e-6\nstarts +\d of 4 ended at this model\n/);
    for (const expected of ["9×8×7, 504 entries", "parameters", "compression", "10.1 times", "relative error", "time"])
      expect(stdout).toContain(expected);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it("by als takes its starts, and says how it ended", async () => {
    const file = put("x.npy", SHAPE, Float32Array.from(planted(2)));
    const argv = ["decompose", file, "--rank", "2", "--algorithm", "als", "--starts", "2", "--json", at("r.json")];
    const { code, stdout } = await command([...argv, "--init", "hosvd", "--sweeps", "5"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/sweeps +5, stopped: more --sweeps may do better\n/);
    const report = JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport;
    expect(report).toMatchObject({ algorithm: "als", starts: null, sweeps: 5, converged: false });
  });

  it("has as many starts as asked for, and says where they do not agree", async () => {
    const file = put("x.npy", SHAPE, randomArray(504, 9));
    const argv = ["decompose", file, "--rank", "6", "--starts", "6", "--sweeps", "30", "--json", at("r.json")];
    const { code, stdout } = await command(argv);
    expect(code).toBe(0);
    const { starts } = JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport;
    expect(starts!.errors.length).toBe(6);
    expect(starts!.errors).toEqual([...starts!.errors].sort((a, b) => a - b));
    expect(stdout).toContain(`${starts!.agreeing} of 6 ended at this model`);
    const one = await command(["decompose", file, "--rank", "2", "--starts", "1", "--sweeps", "5"]);
    expect(one.stdout).toMatch(/starts +1\n/);
  });

  it("by cp goes on from an earlier result, and keeps a fixed factor", async () => {
    const x = planted(2);
    const file = put("x.npy", SHAPE, Float32Array.from(x));
    const argv = ["decompose", file, "--rank", "2", "--json", at("r.json")];
    const first = await command([...argv, "--sweeps", "4", "--starts", "2", "--out", at("first.npz")]);
    expect(first.code).toBe(0);
    const { relativeError } = JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport;
    const again = await command([...argv, "--init", at("first.npz"), "--out", at("r.npz")]);
    expect(again.code).toBe(0);
    const report = JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport;
    expect(report.starts!.errors.length).toBe(1);
    expect(report.fits[0]!).toBeGreaterThan(1 - relativeError - 1e-6);

    const factor = readNpz(readFileSync(at("r.npz"))).get("factor_1")!;
    const fixed = put(
      "fixed.npy",
      [8, 2],
      Float64Array.from(factor.data, (value) => 3 * value),
    );
    const fixedRun = await command([...argv, "--fixed", `1:${fixed}`, "--out", at("r.npz")]);
    expect(fixedRun.code).toBe(0);
    const members = readNpz(readFileSync(at("r.npz")));
    expect(distance(members.get("factor_1")!.data, factor.data)).toBeLessThan(1e-6);
    const [weights, ...factors] = [...members.values()] as [NumericArray, ...NumericArray[]];
    expect(distance(reconstruct(weights, factors), x)).toBeLessThan(1e-5);
    for (const name of ["first.npz", "fixed.npy"]) rmSync(at(name));
  });

  it("by tucker leaves full ranks alone and writes identities for them", async () => {
    const x = planted(2);
    const file = put("x.npy", SHAPE, Float32Array.from(x));
    const { code } = await command(["decompose", file, "--ranks", "2,2,7", "-o", at("r.npz")]);
    expect(code).toBe(0);
    const members = readNpz(readFileSync(at("r.npz")));
    expect([...members].map(([name, { shape }]) => [name, [...shape]])).toEqual([
      ["core", [2, 2, 7]],
      ["factor_0", [9, 2]],
      ["factor_1", [8, 2]],
      ["factor_2", [7, 7]],
    ]);
    const [core, ...factors] = [...members.values()] as [NumericArray, ...NumericArray[]];
    expect(distance(reconstruct(core, factors), x)).toBeLessThan(1e-5);
    expect([...factors[2]!.data]).toEqual(Array.from({ length: 49 }, (_, i) => (i % 8 === 0 ? 1 : 0)));
  });

  it("takes one rank for all modes", async () => {
    const file = put("x.npy", SHAPE, Float32Array.from(planted(2)));
    const { code } = await command(["decompose", file, "--ranks", "2", "-o", at("r.npz"), "--json", at("r.json")]);
    expect(code).toBe(0);
    const core = readNpz(readFileSync(at("r.npz"))).get("core")!;
    expect([...core.shape]).toEqual([2, 2, 2]);
    const report = JSON.parse(readFileSync(at("r.json"), "utf8")) as { ranks: number[]; relativeError: number };
    expect(report.ranks).toEqual([2, 2, 2]);
    expect(report.relativeError).toBeLessThan(1e-5);
  });

  it("without --out is only looked at", async () => {
    const file = put("x.npy", SHAPE, Float32Array.from(planted(2)));
    const before = readdirSync(folder).sort();
    const { code, stdout } = await command(["decompose", file, "--rank", "2"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/relative error +\S+ \(fit 1\.000000\)/);
    expect(stdout).toMatch(/written +no factors: --out result\.npz keeps them/);
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  it.each(["-", "/dev/stdout", "/dev/fd/1"])(
    "goes to standard output as %s, and the table to standard error",
    async (name) => {
      const file = put("x.npy", SHAPE, Float32Array.from(planted(2)));
      const before = readdirSync(folder).sort();
      const argv = ["decompose", file, "--rank", "2", "--sweeps", "3"];
      const json = await command([...argv, "--json", name]);
      expect(json.code).toBe(0);
      expect(JSON.parse(json.stdout)).toMatchObject({ shape: SHAPE, out: null, members: {} });
      expect(json.stderr).toMatch(/relative error +\S+ \(fit/);
      const out = await command([...argv, "--out", name]);
      expect(out.code).toBe(0);
      expect([...readNpz(Buffer.from(out.stdout, "latin1")).keys()]).toEqual([
        "weights",
        "factor_0",
        "factor_1",
        "factor_2",
      ]);
      const both = await command([...argv, "--out", "-", "--json", name]);
      expect([both.code, both.stderr]).toEqual([
        2,
        `error: --json ${name} is the output of --out; give another name\n`,
      ]);
      expect(readdirSync(folder).sort()).toEqual(before);
      expect(existsSync("-")).toBe(false);
    },
  );

  it("reads integers and Fortran order", async () => {
    const bytes = Uint8Array.from({ length: 60 }, (_, i) => (i * i) % 251);
    const results: DecomposeReport[] = [];
    for (const fortran of [false, true]) {
      let content: NumericArray["data"] = bytes;
      if (fortran)
        content = Uint8Array.from(
          bytes,
          (_, i) => bytes[(i % 5) * 12 + (Math.floor(i / 5) % 4) * 3 + Math.floor(i / 20)]!,
        );
      const file = Buffer.from(writeNpy({ shape: [5, 4, 3], data: content }));
      if (fortran) file.write("True, ", file.indexOf("False,"));
      writeFileSync(at("u1.npy"), file);
      const { code, stderr } = await command([
        ...["decompose", at("u1.npy"), "--ranks", "2,2,2", "-o", at("r.npz"), "--json", at("r.json")],
      ]);
      expect([code, stderr]).toEqual([0, stderr]);
      results.push(JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport);
    }
    expect(results[0]!.relativeError).toBeGreaterThan(0.01);
    expect(results[0]!.fits).toEqual(results[1]!.fits);
  });

  it.each([
    ["--algorithm", "als", "--sweeps", "100000", "--tolerance", "0"],
    ["--starts", "1", "--tolerance", "1e-9"],
  ])("stops at Ctrl-C and writes nothing: %s %s", async (...run) => {
    const file = put("x.npy", SHAPE, randomArray(504, 5));
    const controller = new AbortController();
    const before = readdirSync(folder).sort();
    const { code, stdout, stderr } = await command(["decompose", file, "--rank", "4", ...run, "-o", at("r.npz")], {
      signal: controller.signal,
      onStderr: () => controller.abort(),
    });
    expect([code, stdout]).toEqual([130, ""]);
    expect(stderr).toMatch(/stopped after \d+ (?:sweeps|iterations); nothing was written\n$/);
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  it("stops at Ctrl-C while a start is computed, too", async () => {
    const file = put("x.npy", SHAPE, randomArray(504, 5));
    const before = readdirSync(folder).sort();
    const { code, stdout, stderr } = await command(
      ["decompose", file, "--rank", "4", "--algorithm", "als", "--init", "hosvd", "-o", at("r.npz")],
      { signal: AbortSignal.abort() },
    );
    expect([code, stdout]).toEqual([130, ""]);
    expect(stderr).toMatch(/stopped before the first of the sweeps; nothing was written\n$/);
    expect(readdirSync(folder).sort()).toEqual(before);
  });
});

describe("bad input gives one line, exit code 2 and no file", () => {
  const refuse = async (expected: string, argv: string[]): Promise<void> => {
    const before = readdirSync(folder).sort();
    const { code, stdout, stderr } = await command(["decompose", ...argv]);
    expect(stderr).toContain(expected);
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect([code, stdout]).toEqual([2, ""]);
    expect(readdirSync(folder).sort()).toEqual(before);
  };
  const out = (): string[] => ["--out", at("r.npz")];
  const good = (): string => put("good.npy", [4, 3, 5], randomArray(60));

  it("a missing, truncated or foreign file", async () => {
    await refuse("none.npy: cannot be read: no such file or folder", [at("none.npy"), "--rank", "2", ...out()]);
    const content = readFileSync(good());
    writeFileSync(at("short.npy"), content.subarray(0, content.length - 10));
    await refuse("short.npy: cut short: 4×3×5 of <f4 needs 240 bytes after the header, the file has 230", [
      ...[at("short.npy"), "--rank", "2", ...out()],
    ]);
    writeFileSync(at("bad.npy"), content.toString("latin1").replace("descr", "dscrr"), "latin1");
    await refuse('bad.npy: bad header, "descr" is missing', [at("bad.npy"), "--rank", "2", ...out()]);
    writeFileSync(at("text.npy"), "1 2 3\n");
    await refuse("text.npy: not an .npy file", [at("text.npy"), "--rank", "2", ...out()]);
  });

  it("entries that are no numbers, or none at all", async () => {
    for (const [value, text] of [
      [Number.NaN, "NaN, not finite"],
      [Number.POSITIVE_INFINITY, "Infinity, not finite"],
      [-1e39, "-1e+39, beyond 3.4e38, the largest f32; divide all entries by a constant"],
    ] as const) {
      const data = Float64Array.from(randomArray(60));
      data[23] = value;
      const file = put("nan.npy", [4, 3, 5], data);
      await refuse(`nan.npy: entry [1, 1, 3] is ${text}`, [file, "--rank", "2", ...out()]);
      data[59] = value;
      put("nan.npy", [4, 3, 5], data);
      await refuse(", and 1 more are like it; ", [file, "--rank", "2", ...out()]);
    }
    const zeros = put("zeros.npy", [2, 2], new Float32Array(4));
    await refuse("every entry is 0", [zeros, "--rank", "1", ...out()]);
    const empty = put("empty.npy", [2, 0, 3], new Float32Array(0));
    await refuse("has no entries, mode 1 is empty", [empty, "--rank", "1", ...out()]);
    const vector = put("vector.npy", [4], new Float32Array(4));
    await refuse("needs at least two modes", [vector, "--rank", "1", ...out()]);
  });

  it("ranks that the tensor cannot have", async () => {
    const tucker = (ranks: string): string[] => [good(), "--method", "tucker", "--ranks", ranks, ...out()];
    await refuse("rank 6 is larger than mode 2, which has 5 (shape 4×3×5)", tucker("2,2,6"));
    await refuse("2 ranks for 3 modes (shape 4×3×5)", tucker("2,2"));
    // a factor cannot have more columns than the product of the other ranks
    await refuse("rank 3 for mode 0 is more than the 1 that ranks 3×1×1 leave to it", tucker("3,1,1"));
    await refuse("rank 13 is larger than 12, the largest for shape 4×3×5", [...[good(), "--rank", "13", ...out()]]);
  });

  it("options that do not fit together", async () => {
    await refuse("--method cp needs --rank R", [good(), "--method", "cp", "--ranks", "2,2,2", ...out()]);
    await refuse("--method tucker needs --ranks", [good(), "--method", "tucker", "--rank", "2", ...out()]);
    await refuse("--rank R (cp) or --ranks R,R,… (tucker) is needed", [good(), ...out()]);
    await refuse("give one of them", [good(), "--rank", "2", "--ranks", "2,2,2", ...out()]);
    await refuse("--init is for cp", [good(), "--ranks", "2,2,2", "--init", "random", ...out()]);
    await refuse("--fixed is for cp", [good(), "--ranks", "2,2,2", "--fixed", "0:a.npy", ...out()]);
    const als = [good(), "--rank", "2", "--algorithm", "als", ...out()];
    await refuse("--fixed is for --algorithm gauss-newton", [...als, "--fixed", "0:a.npy"]);
    await refuse("--init r.npz is none of --algorithm als", [...als, "--init", "r.npz"]);
    await refuse("--algorithm als is none of tucker", [good(), "--ranks", "2,2,2", "--algorithm", "als", ...out()]);
    await refuse("--starts is for --algorithm hals", [good(), "--ranks", "2,2,2", "--starts", "3", ...out()]);
    await refuse("Allowed choices are gauss-newton, als.", [good(), "--rank", "2", "--algorithm", "newton", ...out()]);
  });

  it("factors that do not fit", async () => {
    const cp = [good(), "--rank", "2", ...out()];
    await refuse("It needs a mode and a file with a colon between, as in 0:spectra.npy.", [...cp, "--fixed", "a.npy"]);
    await refuse("Mode 1 has a factor already.", [...cp, "--fixed", "1:a.npy", "--fixed", "1:b.npy"]);
    await refuse("good.npy has modes 0 to 2 (shape 4×3×5)", [...cp, "--fixed", "3:a.npy"]);
    await refuse("none.npy: cannot be read", [...cp, "--fixed", `0:${at("none.npy")}`]);
    const factor = put("factor.npy", [4, 2], randomArray(8));
    await refuse("factor.npy: shape 4×2, needs 3×2", [...cp, "--fixed", `1:${factor}`]);
    const wrong = put("wrong.npy", [4, 2], Float64Array.from(randomArray(8)).fill(1e60, 5, 6));
    await refuse("wrong.npy: entry [2, 1] is 1e+60, needs an f32", [...cp, "--fixed", `0:${wrong}`]);
    const all = [0, 1, 2].flatMap((mode) => ["--fixed", `${mode}:${factor}`]);
    await refuse("--fixed names every mode; at least one must be free", [...cp, ...all]);
    writeFileSync(at("two.npz"), writeNpz([["factor_0", { shape: [4, 2], data: randomArray(8) }]]));
    await refuse("--init svd is neither random nor hosvd nor gevd, nor a file that exists", [...cp, "--init", "svd"]);
    await refuse("two.npz: no factor_1, needs one for each of 3 modes", [...cp, "--init", at("two.npz")]);
    rmSync(at("two.npz"));
  });

  it("an output that cannot be written, before anything is computed", async () => {
    for (const name of ["r.mat", "r.CSV", "r.npy"])
      await refuse(`--out ${at(name)}: factors are written as .npz; give a name that ends so`, [
        ...[good(), "--rank", "2", "--out", at(name)],
      ]);
    await refuse(`${good()}: cannot be made: a file is in its place`, [good(), "--rank", "2", "--report", good()]);
    if (process.platform === "linux")
      await refuse("/proc/x/y: cannot be made: no folder can be made there", [
        ...[good(), "--rank", "2", "--report", "/proc/x/y"],
      ]);
    await refuse(`--checkpoint ${good()} is the input; give another name`, [
      ...[good(), "--rank", "2", "--checkpoint", good()],
    ]);
    await refuse("Mode 0 has labels already.", [
      ...[good(), "--rank", "2", "--report", at("page"), "--labels", "0:a.txt", "--labels", "0:b.txt"],
    ]);
    await refuse("none/r.npz: cannot be written: no such file or folder", [
      good(),
      "--rank",
      "2",
      "-o",
      at("none/r.npz"),
    ]);
    await refuse("cannot be written: it is a folder", [good(), "--rank", "2", "-o", folder]);
    await refuse("a part of its path is no folder", [good(), "--rank", "2", "-o", join(good(), "r.npz")]);
    await refuse("cannot be written", [good(), "--rank", "2", ...out(), "--json", at("none/r.json")]);
    await refuse("is the input", [good(), "--rank", "2", "-o", good()]);
    await refuse("is the output of --out", [good(), "--rank", "2", ...out(), "--json", at("r.npz")]);
    expect(existsSync(at("r.npz"))).toBe(false);
  });

  it.skipIf(process.platform === "win32")("an output that is the input or another output through a link", async () => {
    const before = readFileSync(good());
    symlinkSync("good.npy", at("link.npz"));
    symlinkSync(".", at("here"));
    const rank = [good(), "--rank", "2"];
    await refuse("link.npz is the input", [...rank, "-o", at("link.npz")]);
    await refuse("good.npy is the input", [at("link.npz"), "--rank", "2", "-o", good()]);
    await refuse("here/good.npy is the input", [...rank, "-o", at("here/good.npy")]);
    await refuse("here/r.npz is the output of --out", [...rank, ...out(), "--json", at("here/r.npz")]);
    writeFileSync(at("other.json"), "");
    symlinkSync("other.json", at("same.json"));
    await refuse("same.json is the output of --out", [...rank, "-o", at("other.json"), "--json", at("same.json")]);
    expect(readFileSync(at("good.npy"))).toEqual(before);
  });
});
