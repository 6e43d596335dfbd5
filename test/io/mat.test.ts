import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { readMat } from "../../src/io/index.js";

/** Made by test/fixtures/io/make_tensors.py. */
const fixture = (name: string): Uint8Array => readFileSync(resolve("test/fixtures/io/tensors", name));

/** What SciPy reads of them. */
const known = JSON.parse(readFileSync(resolve("test/fixtures/io/tensors/mat.json"), "utf8")) as Record<
  string,
  { shape: number[]; values: (number | string)[] }
>;

/** A file of one variable, put together by hand. */
function file(
  elements: (little: boolean) => Uint8Array[],
  { little = true, extents = [2, 3], kind = 6, name = "a" } = {},
): Uint8Array {
  const word = (value: number): Uint8Array => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, little);
    return bytes;
  };
  const element = (type: number, data: readonly Uint8Array[]): Uint8Array => {
    const content = data.flatMap((part) => [...part]);
    const padding = new Array<number>((8 - (content.length % 8)) % 8).fill(0);
    return Uint8Array.from([...word(type), ...word(content.length), ...content, ...padding]);
  };
  const matrix = [
    element(6, [word(kind), word(0)]),
    element(5, extents.map(word)),
    element(1, [new TextEncoder().encode(name)]),
    ...elements(little),
  ];
  const header = new Uint8Array(128).fill(32);
  header.set(new TextEncoder().encode(little ? "IM" : "MI"), 126);
  return Uint8Array.from([...header, ...element(14, matrix)]);
}

const doubles =
  (...values: number[]) =>
  (little: boolean): Uint8Array[] => {
    const bytes = new Uint8Array(8 + 8 * values.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 9, little);
    view.setUint32(4, 8 * values.length, little);
    for (const [index, value] of values.entries()) view.setFloat64(8 + 8 * index, value, little);
    return [bytes];
  };

describe.each(["plain.mat", "packed.mat"])("%s, written by SciPy", (name) => {
  const arrays = readMat(fixture(name), name);

  it.each(Object.keys(known))("has %s with the shape and the values that SciPy reads", (array) => {
    const { shape, data } = arrays.get(array)!;
    expect([...shape]).toEqual(known[array]!.shape);
    expect([...data]).toEqual(known[array]!.values.map(Number));
  });

  it("has numbers in the type of their class", () => {
    const types = ["double", "whole", "single", "logical", "int8", "uint16", "int32", "uint32", "int64"];
    expect(types.map((type) => arrays.get(type)!.data.constructor.name)).toEqual([
      ...["Float64Array", "Float64Array", "Float32Array", "Uint8Array", "Int8Array", "Uint16Array", "Int32Array"],
      ...["Uint32Array", "Float64Array"],
    ]);
  });

  it("skips what is no array of real numbers, and says why", () => {
    expect([...arrays.skipped.keys()].sort()).toEqual(["cells", "complex", "fields", "sparse", "words"]);
    expect(() => arrays.get("sparse")).toThrow(`${name}: "sparse" was skipped: it is a sparse matrix: save full(A)`);
    expect(() => arrays.get("complex")).toThrow("save the magnitude");
    expect(() => arrays.get("fields")).toThrow("save each field as an array");
  });
});

describe("a file put together by hand", () => {
  it.each([true, false])("is read in its byte order (little-endian: %s)", (little) => {
    const { shape, data } = readMat(file(doubles(1, 2, 3, 4, 5, 6), { little })).get("a")!;
    expect(shape).toEqual([2, 3]);
    // MATLAB's columns one after the other
    expect([...data]).toEqual([1, 3, 5, 2, 4, 6]);
  });

  it("that is cut anywhere is refused, or has its variable", () => {
    const bytes = file(doubles(1, 2, 3, 4, 5, 6));
    for (let length = 0; length < bytes.length; length++) {
      let outcome = "";
      try {
        outcome = readMat(bytes.subarray(0, length), "cut.mat").size ? "read" : "nothing";
      } catch (error) {
        outcome = (error as Error).name;
        expect((error as Error).message).toMatch(/^cut\.mat: (cut short|not a MAT-file|the file is empty)/);
      }
      expect(["FormatError", "UnsupportedError", length === 128 ? "nothing" : ""]).toContain(outcome);
    }
  });

  it("with fewer numbers than its shape needs, or of an unknown type, is damaged", () => {
    expect(() => readMat(file(doubles(1, 2)), "x.mat")).toThrow(
      "x.mat: cut short or damaged: variable a has 2 elements",
    );
    const odd = file((little) => doubles(1)(little).map((bytes) => bytes.with(little ? 0 : 3, 99)), {
      extents: [1, 1],
    });
    expect(() => readMat(odd, "x.mat")).toThrow("variable a has 8 bytes of element type 99");
  });

  it("with an integer that no f64 is equal to names it as MATLAB does", () => {
    const long = file(
      (little) => {
        const bytes = new Uint8Array(24);
        const view = new DataView(bytes.buffer);
        view.setUint32(0, 12, little);
        view.setUint32(4, 16, little);
        view.setBigInt64(8, 5n, little);
        view.setBigInt64(16, 2n ** 53n + 1n, little);
        return [bytes];
      },
      { kind: 14, extents: [1, 2] },
    );
    expect(() => readMat(long).get("a")).toThrow("entry (1, 2) is 9007199254740993");
  });
});

it("files of other versions are told how to be saved", () => {
  expect(() => readMat(new Uint8Array(0), "e.mat")).toThrow("e.mat: the file is empty");
  expect(() => readMat(new Uint8Array(200), "v4.mat")).toThrow("not a MAT-file of version 5 or later");
  expect(() => readMat(fixture("v73.mat"), "v73.mat")).toThrow("version 7.3, which is HDF5; save it with");
});
