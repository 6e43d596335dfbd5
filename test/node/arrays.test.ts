import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NumericArray, writeNpy, writeNpz, writeSafetensors } from "../../src/io/index.js";
import { type ArrayFile, arrayPath, openArray } from "../../src/node/arrays.js";
import { peer } from "../../src/node/peers.js";

/** Made by test/fixtures/io/make_tensors.py. */
const fixture = (name: string): string => resolve("test/fixtures/io/tensors", name);

let folder: string;
const at = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-arrays-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SHAPE = [4, 3, 2];
/** X[i, j, k] = 100·i + 10·j + k */
const X = Float64Array.from(
  { length: 24 },
  (_, at) => 100 * Math.floor(at / 6) + 10 * (Math.floor(at / 2) % 3) + (at % 2),
);
const HALF = X.map((value) => value + 0.5);

const readWhole = async (path: string): Promise<NumericArray & Pick<ArrayFile, "others" | "dtype" | "name">> => {
  const { name, shape, dtype, others, rows, close } = await openArray(path);
  const data = await rows(0, shape[0] ?? 1);
  close();
  return { name, shape: [...shape], data, others, dtype };
};

describe("an array", () => {
  beforeAll(() => {
    const array = { shape: SHAPE, data: HALF };
    writeFileSync(at("x.npy"), writeNpy(array));
    writeFileSync(
      at("one.npz"),
      writeNpz([
        ["X", array],
        ["scale", { shape: [], data: Float64Array.of(2) }],
      ]),
    );
    writeFileSync(at("w.safetensors"), writeSafetensors([["w", { shape: SHAPE, data: Float32Array.from(HALF) }]]));
    const lines = [...HALF].map(
      (value, at) => `${Math.floor(at / 6) + 1} ${(Math.floor(at / 2) % 3) + 1} ${(at % 2) + 1} ${value}`,
    );
    writeFileSync(at("x.tns"), `${lines.join("\n")}\n`);
    writeFileSync(at("x.tns.gz"), gzipSync(`${lines.join("\n")}\n`));
    writeFileSync(at("x.csv"), `i,j,k,value\n${lines.join("\n").replaceAll(" ", ",")}\n`);
  });

  it.each([
    ["x.npy", "f8", HALF],
    ["one.npz", "f8", HALF],
    ["one.npz:X", "f8", HALF],
    ["w.safetensors:w", "f4", HALF],
    ["x.tns", "f8", HALF],
    ["x.tns.gz", "f8", HALF],
    ["x.csv", "f8", HALF],
    ["one.mat", "f8", X],
    ["plain.mat:double", "f8", HALF],
    ["packed.mat:uint16", "u2", X],
    ["v73.mat:X", "<d", HALF],
    ["v73.mat:bytes", "<B", X.map((value) => value % 256)],
    ["plain.h5:X", "<d", HALF],
    ["plain.h5:group/long", "<q", X],
    ["plain.h5:big", ">f", HALF],
    ["v2.zarr", "<f8", HALF.map((value, at) => (at < 18 ? value : -1))],
    ["v3.zarr", "float64", HALF.map((value, at) => (at < 18 ? value : -1))],
    ["group.zarr:ints", "int16", X],
    ["group.zarr:longs", "int64", X],
    ["group.zarr:sharded", "float32", X],
    ["group.zarr:flags", "bool", X.map((value) => (value % 3 === 0 ? 1 : 0))],
  ])("in %s has the values and the shape that were written", async (path, dtype, values) => {
    const place = /^(x|one\.npz|w)/.test(path) ? at(path) : fixture(path);
    const array = await readWhole(place);
    expect([array.shape, [...array.data], array.dtype]).toEqual([SHAPE, [...values], dtype]);
    // rows alone, which may be a part of a chunk
    const { rows, close } = await openArray(place);
    expect([...(await rows(1, 3))]).toEqual([...values.slice(6, 18)]);
    close();
  });

  it("of several has to be named, and the others are told", async () => {
    await expect(openArray(fixture("group.zarr"))).rejects.toThrow(
      /group\.zarr: holds \d arrays, give one as group\.zarr:\w+; they are .*ints 4×3×2/,
    );
    await expect(openArray(fixture("plain.h5"))).rejects.toThrow("they are X 4×3×2, big 4×3×2, group/");
    await expect(openArray(fixture("plain.mat:none"))).rejects.toThrow("plain.mat: holds no array none; it has double");
    await expect(openArray(fixture("plain.h5:none"))).rejects.toThrow("plain.h5: holds no array none; it has X, big");
    await expect(openArray(fixture("group.zarr:none"))).rejects.toThrow("group.zarr: holds no array none");
    expect((await readWhole(at("one.npz"))).others).toEqual(["scale"]);
    expect((await readWhole(at("one.npz"))).name).toBe(`${at("one.npz")}:X`);
  });

  it("that is none of real numbers is refused with the reason", async () => {
    await expect(openArray(fixture("plain.mat:sparse"))).rejects.toThrow('"sparse" was skipped: it is a sparse matrix');
    await expect(openArray(fixture("v73.mat:words"))).rejects.toThrow('v73.mat: "words" holds text');
    await expect(openArray(fixture("v73.mat:empty"))).rejects.toThrow('"empty" is empty');
    await expect(openArray(fixture("plain.h5:group/text"))).rejects.toThrow('"group/text" holds no numbers');
    if (!("Float16Array" in globalThis)) {
      await expect(openArray(fixture("plain.h5:group/half"))).rejects.toThrow(
        "half-precision floats, which need Node 24",
      );
      await expect(openArray(fixture("group.zarr:halves"))).rejects.toThrow("holds float16, which needs Node 24");
    }
    await expect(openArray(`${at("x.csv")}:rows`)).rejects.toThrow("rows is no form of it");
  });

  it("in a file that is not there, or is damaged, is refused by the file's name", async () => {
    for (const kind of ["npy", "npz", "mat", "h5", "zarr", "csv", "tns", "safetensors"])
      await expect(openArray(at(`none.${kind}`))).rejects.toThrow(
        `none.${kind}: cannot be read: no such file or folder`,
      );
    for (const kind of ["npy", "npz", "mat", "h5", "csv", "tns", "safetensors"]) {
      writeFileSync(at(`bad.${kind}`), "<html>");
      await expect(openArray(at(`bad.${kind}`)), kind).rejects.toThrow(`bad.${kind}`);
    }
    cpSync(fixture("v3.zarr"), at("bad.zarr"), { recursive: true });
    writeFileSync(at("bad.zarr/c/0/0/0"), "no chunk");
    const { rows } = await openArray(at("bad.zarr"));
    await expect(rows(0, 1)).rejects.toThrow("bad.zarr: a chunk of rows 0 to 1 cannot be read");
    writeFileSync(at("bad.zarr/zarr.json"), "{");
    await expect(openArray(at("bad.zarr"))).rejects.toThrow("zarr.json: not JSON");
  });
});

it("a large .npy file is read a few rows at a time", async () => {
  const shape = [70, 50, 60];
  const data = Float64Array.from({ length: 210_000 }, (_, index) => index);
  writeFileSync(at("large.npy"), writeNpy({ shape, data }));
  const { rows, isStreamed, close } = await openArray(at("large.npy"));
  expect(isStreamed).toBe(true);
  expect(await rows(31, 33)).toEqual(data.slice(31 * 3000, 33 * 3000));
  expect(await rows(0, 70)).toEqual(data);
  close();
  writeFileSync(at("cut.npy"), Buffer.from(writeNpy({ shape, data })).subarray(0, 1_200_000));
  await expect(openArray(at("cut.npy"))).rejects.toThrow("cut.npy: cut short: 70×50×60 of <f8 needs 1680000 bytes");
});

it("a path is a file and a name in it, unless there is a file of that name", () => {
  expect(arrayPath("a/b.npz:x/y")).toEqual({ file: "a/b.npz", member: "x/y" });
  expect(arrayPath("C:\\data\\b.mat:X")).toEqual({ file: "C:\\data\\b.mat", member: "X" });
  expect(arrayPath("C:\\data\\b.npy")).toEqual({ file: "C:\\data\\b.npy", member: null });
  expect(arrayPath("b.npy:X")).toEqual({ file: "b.npy:X", member: null });
  writeFileSync(at("odd.npz:x"), "");
  expect(arrayPath(at("odd.npz:x"))).toEqual({ file: at("odd.npz:x"), member: null });
});

it("a package that is not installed is named, with the command that installs it", async () => {
  const missing = Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
  await expect(peer("zarrita", "x.zarr", "Zarr stores", () => Promise.reject(missing))).rejects.toThrow(
    "x.zarr: Zarr stores are read by the package zarrita: npm install zarrita",
  );
  await expect(peer("h5wasm", "x.h5", "HDF5 files", () => Promise.reject(new Error("no wasm")))).rejects.toThrow(
    "h5wasm does not load here (no wasm)",
  );
});
