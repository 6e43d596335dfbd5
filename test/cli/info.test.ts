import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Info } from "../../src/cli/info.js";
import { TenfoldError } from "../../src/gpu/index.js";
import { writeNpy, writeNpz, writeSafetensors } from "../../src/io/index.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

let folder: string;
const at = (name: string): string => join(folder, name);
const fixture = (name: string): string => resolve("test/fixtures/io/tensors", name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-info-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** X[i, j, k] = 100·i + 10·j + k + 0.5, 4×3×2: what the fixtures hold */
const X = Float64Array.from(
  { length: 24 },
  (_, at) => 100 * Math.floor(at / 6) + 10 * (Math.floor(at / 2) % 3) + (at % 2) + 0.5,
);
const NORM = Math.sqrt(X.reduce((sum, value) => sum + value * value, 0));

const infoOf = async (...argv: string[]): Promise<Info> => {
  const { code, stdout, stderr } = await command(["info", ...argv, "--json"]);
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as Info;
};

describe("tenfold info", () => {
  beforeAll(() => {
    const array = { shape: [4, 3, 2], data: X };
    writeFileSync(at("x.npy"), writeNpy(array));
    writeFileSync(
      at("x.npz"),
      writeNpz([
        ["X", array],
        ["y", { shape: [2], data: Float32Array.of(1, 2) }],
      ]),
    );
    writeFileSync(at("x.safetensors"), writeSafetensors([["w", { shape: [4, 3, 2], data: Float32Array.from(X) }]]));
    const lines = [...X].map((value, at) => [Math.floor(at / 6), Math.floor(at / 2) % 3, at % 2, value]);
    writeFileSync(at("x.csv"), `i,j,k,value\n${lines.map((line) => line.join(",")).join("\n")}`);
    const sparse = lines.map(([i, j, k, value]) => [i! + 1, j! + 1, k! + 1, value].join(" "));
    writeFileSync(at("x.tns"), sparse.join("\n"));
  });

  it.each([
    ["x.npy", "f8"],
    ["x.npz:X", "f8"],
    ["x.safetensors", "f4"],
    ["x.csv", "f8"],
    ["x.tns", "f8"],
    ["plain.mat:double", "f8"],
    ["v73.mat:X", "<d"],
    ["plain.h5:X", "<d"],
  ])("tells what is in %s", async (path, dtype) => {
    const place = path.startsWith("x.") ? at(path) : fixture(path);
    const info = await infoOf(place, "--quick");
    expect(info).toMatchObject({ shape: [4, 3, 2], dtype, entries: 24, missing: 0, infinite: 0, zeros: 0 });
    expect(info).toMatchObject({ least: 0.5, largest: 321.5, negative: 0, bytes: { gpu: 96, binding: null } });
    expect(info.mean).toBeCloseTo(161, 10);
    expect(info.norm).toBeCloseTo(NORM, 9);
  });

  it.each(["v2.zarr", "v3.zarr"])(
    "tells what is in %s, of whose last row only the fill value is there",
    async (path) => {
      expect(await infoOf(fixture(path), "--quick")).toMatchObject({ shape: [4, 3, 2], least: -1, negative: 6 });
    },
  );

  it("tells Tucker ranks, and commands that run as they stand", async () => {
    const factor = (seed: number, extent: number): number[] => [...randomArray(2 * extent, seed)];
    const [a, b, c] = [factor(1, 12), factor(2, 11), factor(3, 10)] as [number[], number[], number[]];
    const data = Float32Array.from({ length: 1320 }, (_, flat) => {
      const [i, j, k] = [Math.floor(flat / 110), Math.floor(flat / 10) % 11, flat % 10];
      return a[2 * i]! * b[2 * j]! * c[2 * k]! + a[2 * i + 1]! * b[2 * j + 1]! * c[2 * k + 1]!;
    });
    writeFileSync(at("two terms.npy"), writeNpy({ shape: [12, 11, 10], data }));
    const info = await infoOf(at("two terms.npy"));
    expect(info.ranks.map(({ relativeError }) => relativeError)).toEqual([0.1, 0.01]);
    expect(info.ranks[1]!.ranks).toEqual([2, 2, 2]);
    expect(info.suggestions.length).toBe(3);
    // its kernels are compiled already
    const tucker = info.suggestions.find((suggestion) => suggestion.includes("tucker"))!;
    const words = [...tucker.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word!);
    expect(words).toEqual(["tenfold", "decompose", at("two terms.npy"), "--method", "tucker", "--error", "0.1"]);
    const { code, stderr } = await command(words.slice(1));
    expect([code, stderr.match(/^error:.*/m)]).toEqual([0, null]);
    expect(info.suggestions.slice(0, 2)).toEqual([
      `tenfold rank "${at("two terms.npy")}" --max 8`,
      `tenfold decompose "${at("two terms.npy")}" --rank 3 --out "two terms-cp.npz"`,
    ]);
    const { stdout } = await command(["info", at("two terms.npy")]);
    expect(stdout).toMatch(/Tucker ranks +\S+ at error 0\.1\n +2×2×2 at error 0\.01\n/);
    expect(stdout).toMatch(/on the GPU +5\.156 KiB as f32/);
    expect(stdout).toMatch(/to begin +tenfold rank /);
  });

  it("says of bytes what they take as f32, and what as they are", async () => {
    const data = Uint8Array.from({ length: 110 * 100 * 100 }, (_, i) => (i * i) % 251);
    writeFileSync(at("bytes.npy"), writeNpy({ shape: [110, 100, 100], data }));
    const { stdout } = await command(["info", at("bytes.npy"), "--quick"]);
    expect(stdout).toMatch(/4\.196 MiB as f32, or 1\.049 MiB as they are, which --memory reads in\s+slabs/);
  });

  it("takes a file with another ending by its first bytes, and says what has no entries", async () => {
    writeFileSync(at("numbers.dat"), "1 2\n3 4\n");
    expect(await infoOf(at("numbers.dat"))).toMatchObject({ shape: [2, 2], norm: Math.sqrt(30) });
    writeFileSync(at("pages.parquet"), "PAR1\0\0\0");
    const { code, stderr } = await command(["info", at("pages.parquet")]);
    expect([code, stderr]).toEqual([
      2,
      `error: ${at("pages.parquet")}: begins with 50 41 52 31, as no .npy, .npz, .mat, .safetensors or .csv does\n`,
    ]);
    writeFileSync(at("empty.npy"), writeNpy({ shape: [2, 0, 3], data: new Float32Array(0) }));
    expect((await command(["info", at("empty.npy")])).stdout).toMatch(/to begin +nothing: it has no entries\n/);
  });

  it("counts what is missing and infinite, and says what is to be done", async () => {
    const data = Float64Array.of(1, Number.NaN, -2, 0, Number.POSITIVE_INFINITY, Number.NaN, 0, 3);
    writeFileSync(at("gaps.npy"), writeNpy({ shape: [2, 2, 2], data }));
    const info = await infoOf(at("gaps.npy"));
    expect(info).toMatchObject({ missing: 2, infinite: 1, zeros: 2, negative: 1, least: -2, largest: 3, mean: 0.4 });
    expect(info.norm).toBeCloseTo(Math.sqrt(14), 12);
    expect([info.ranks, info.suggestions]).toEqual([[], []]);
    const { stdout } = await command(["info", at("gaps.npy")]);
    expect(stdout).toMatch(/missing +2 \(25\.0 %\), and 1 infinite\n/);
    expect(stdout).toMatch(/to begin +replace what is not finite: decompositions refuse it\n/);
  });

  it("takes missing entries for what --missing fits the others of", async () => {
    writeFileSync(
      at("holes.npy"),
      writeNpy({ shape: [2, 2, 2], data: Float32Array.of(1, Number.NaN, 2, 3, 4, 5, 6, 7) }),
    );
    const { suggestions } = await infoOf(at("holes.npy"));
    expect(suggestions).toEqual([`tenfold decompose ${at("holes.npy")} --rank 2 --missing`]);
  });

  it("tells norms beyond f64's squares, of zeros and of nothing finite", async () => {
    const normOf = async (values: number[]): Promise<Info> => {
      writeFileSync(at("v.npy"), writeNpy({ shape: [1, values.length], data: Float64Array.from(values) }));
      return await infoOf(at("v.npy"), "--quick");
    };
    expect((await normOf([3e200, -4e200])).norm / 5e200).toBeCloseTo(1, 12);
    expect((await normOf([3e-200, 4e-200])).norm / 5e-200).toBeCloseTo(1, 12);
    expect((await normOf([0, 0])).norm).toBe(0);
    expect(await normOf([Number.NaN])).toMatchObject({ least: null, mean: null, norm: 0, missing: 1 });
  });

  it("names labels, what is stored, and the other arrays of the file", async () => {
    writeFileSync(at("rows.csv"), "who,when,level\nzoe,1.5,1\nadam,2.5,2\nzoe,2.5,3\n");
    expect((await command(["info", at("rows.csv"), "--quick"])).stdout.replace(/\s+/g, " ")).toContain(
      `rows have the same ones: where a line is an entry, give ${at("rows.csv")}:entries`,
    );
    writeFileSync(at("long.csv"), "who,year,value\nzoe,2024,1\nadam,2022,2\n");
    const { stdout } = await command(["info", at("long.csv"), "--quick"]);
    expect(stdout).toMatch(/stored +2 \(50\.0 %\); the others are 0, or missing with --missing\n/);
    expect(stdout).toMatch(/mode 0 +who: zoe, adam\nmode 1 +year: 2022, 2024\n/);
    expect((await command(["info", at("x.npz"), "--quick"])).stdout).toMatch(/also here +y\n/);
  });

  it("says why there are no ranks where there is no GPU", async () => {
    const withEngine = () => Promise.reject(new TenfoldError("no adapter here", { code: "NO_GPU" }));
    const { code, stdout } = await command(["info", at("x.npy")], { withEngine });
    expect(code).toBe(0);
    expect(stdout).toMatch(/Tucker ranks +no adapter here\n/);
  });

  it("names a file that cannot be read", async () => {
    const { code, stderr } = await command(["info", at("none.mat:X")]);
    expect([code, stderr]).toEqual([2, `error: ${at("none.mat")}: cannot be read: no such file or folder\n`]);
  });
});
