import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { inspect, openFile, toF32 } from "../../../../bench/page/tensor/formats.js";
import { ENTRIES, type OpenFile } from "../../../../bench/page/tensor/pieces.js";
import { type NumericArray, writeNpy, writeNpz } from "../../../../src/index.js";

const blobOf = (bytes: Uint8Array | string): Blob => new Blob([bytes as Uint8Array<ArrayBuffer>]);
const opened = (bytes: Uint8Array | string, name: string): Promise<OpenFile> => openFile(blobOf(bytes), name);
async function numbersOf(file: OpenFile, member = 0): Promise<number[]> {
  const out: number[] = [];
  await file.read(member, (values) => void out.push(...values));
  return out;
}
const failure = (bytes: Uint8Array | string, name: string): Promise<string> =>
  opened(bytes, name).then(
    () => "opened",
    (error: Error) => error.message,
  );
const npy = (shape: number[], data: NumericArray["data"]): Uint8Array => writeNpy({ shape, data });
/** An .npy file with another header, over the same bytes. */
function withHeader(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const text = new TextDecoder("latin1").decode(bytes).replace(from.padEnd(to.length), to.padEnd(from.length));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

describe(".npy", () => {
  it.each([
    [Float32Array, "f32"],
    [Float64Array, "f64"],
    [Uint8Array, "u8"],
    [Int16Array, "i16"],
    [Int32Array, "i32"],
  ] as const)("%o is read in pieces", async (Kind, dtype) => {
    const data = new Kind(Array.from({ length: 60 }, (_, at) => at * 2));
    const file = await opened(npy([3, 4, 5], data), "x.npy");
    expect(file.members).toEqual([{ name: "x", shape: [3, 4, 5], dtype, modes: null, isColumnMajor: false, note: "" }]);
    expect(await numbersOf(file)).toEqual([...data]);
  });

  it("pieces of a file with many of them line up", async () => {
    const size = 2 * ENTRIES + 77;
    const data = Float32Array.from({ length: size }, (_, at) => at % 1000);
    const file = await opened(npy([size], data), "x.npy");
    const lengths: number[] = [];
    let [at, wrong] = [0, 0];
    await file.read(0, (values) => {
      lengths.push(values.length);
      for (const value of values) if (value !== at++ % 1000) wrong++;
    });
    expect([lengths, wrong]).toEqual([[ENTRIES, ENTRIES, 77], 0]);
    // what a view of the GPU's memory may begin at, 256 bytes
    expect(ENTRIES % 64).toBe(0);
  });

  it("in Fortran's order says so, and big-endian numbers are turned", async () => {
    const bytes = npy([2, 3], Float64Array.of(1, 2, 3, 4, 5, 6));
    const columns = await opened(withHeader(bytes, "'fortran_order': False", "'fortran_order': True"), "x.npy");
    expect([columns.members[0]!.isColumnMajor, columns.members[0]!.shape]).toEqual([true, [2, 3]]);
    const big = npy([1], Float64Array.of(1.5));
    big.subarray(-8).reverse();
    const turned = await opened(withHeader(big, "'<f8'", "'>f8'"), "x.npy");
    expect([turned.members[0]!.dtype, await numbersOf(turned)]).toEqual(["f64, big-endian", [1.5]]);
  });

  it("that is wrong says what is wrong with it", async () => {
    const bytes = npy([2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
    expect(await failure(bytes.subarray(0, -4), "x.npy")).toBe(
      "x.npy: cut short: 2×3 of <f4 needs 24 bytes after the header, the file has 20",
    );
    expect(await failure(withHeader(bytes, "'<f4'", "'<c8'"), "x.npy")).toMatch(/complex numbers.*numpy\.abs/);
    expect(await failure(new Uint8Array(), "x.npy")).toBe("x.npy: the file is empty");
  });
});

describe(".npz", () => {
  it("lists its arrays, and what it cannot read with the reason", async () => {
    const x = { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) };
    const y = { shape: [3], data: Uint8Array.of(7, 8, 9) };
    const file = await opened(
      writeNpz([
        ["x", x],
        ["y", y],
      ]),
      "all.npz",
    );
    expect(file.members.map(({ name, shape, dtype }) => [name, shape, dtype])).toEqual([
      ["x", [2, 2], "f32"],
      ["y", [3], "u8"],
    ]);
    expect(await numbersOf(file, 1)).toEqual([7, 8, 9]);
    const odd = await opened(
      zipSync({ "x.npy": writeNpy(x), "notes.txt": new TextEncoder().encode("hello") }),
      "odd.npz",
    );
    expect(odd.members.length).toBe(1);
    expect(odd.skipped[0]![0]).toBe("notes.txt");
  });

  it("has, of matrices of as many columns, all of them as one member more: slices", async () => {
    const matrix = (rows: number, from: number, columns = 2) => ({
      shape: [rows, columns],
      data: Float32Array.from({ length: rows * columns }, (_, at) => from + at),
    });
    const vector = { shape: [2], data: Float32Array.of(8, 9) };
    const file = await opened(
      writeNpz([
        ["run10", matrix(1, 10)],
        ["run9", matrix(2, 20)],
        ["time", vector],
      ]),
      "runs.npz",
    );
    const all = file.members.at(-1)!;
    expect(all).toMatchObject({ name: "all 2 matrices, as slices", shape: [3, 2], dtype: "f32" });
    expect(all.slices).toEqual([
      { name: "run9", rows: 2, member: 1 },
      { name: "run10", rows: 1, member: 0 },
    ]);
    expect(await numbersOf(file, 3)).toEqual([20, 21, 22, 23, 10, 11]);
    expect(await numbersOf(file, 0)).toEqual([10, 11]);
    for (const other of [matrix(2, 0, 3), { shape: [1, 2, 2], data: new Float32Array(4) }]) {
      const apart = await opened(
        writeNpz([
          ["a", matrix(2, 0)],
          ["b", other],
        ]),
        "x.npz",
      );
      expect(apart.members.length).toBe(2);
    }
  });
});

describe(".csv", () => {
  it.each([
    ["numbers alone", "1,2,3.5\n4,5,6.5\n", [2, 3], [1, 2, 3.5, 4, 5, 6.5]],
    ["names of columns, Windows' lines", "a,b\r\n1,2\r\n3,4\r\n", [2, 2], [1, 2, 3, 4]],
    ["names of rows as pandas writes them", ",a,b\n0,1.5,2\n1,3,4\n", [2, 2], [1.5, 2, 3, 4]],
    ["names of rows in words", "x,1,2\ny,3,4.5\n", [2, 2], [1, 2, 3, 4.5]],
    ["tabs, comments and empty lines", "# made by hand\n1\t2\n\n3\t4", [2, 2], [1, 2, 3, 4]],
    ["spaces", "  1   2\n 3 4 \n", [2, 2], [1, 2, 3, 4]],
    ["semicolons and decimal commas", "1,5;2\n3;4,25\n", [2, 2], [1.5, 2, 3, 4.25]],
    ["quoted cells", '"a, b","c"\n"1",2\n3,"4"\n', [2, 2], [1, 2, 3, 4]],
    ["one column", "1\n2\n3\n", [3, 1], [1, 2, 3]],
    ["numbers with exponents", "1e3,-2.5E-2\n+3,.5\n", [2, 2], [1000, -0.025, 3, 0.5]],
  ])("%s make a matrix", async (_, text, shape, numbers) => {
    const file = await opened(text, "x.csv");
    const at = file.members.findIndex(({ name }) => name.includes("matrix"));
    expect(file.members[at]!.shape).toEqual(shape);
    const read = await numbersOf(file, at);
    expect(read.length).toBe(numbers.length);
    for (const [place, value] of numbers.entries()) expect(read[place]).toBeCloseTo(value, 6);
  });

  it("missing and infinite entries are told apart", async () => {
    const file = await opened("1,,NA\n-inf,nan,2.5\n", "x.csv");
    const tensor = await inspect(file, 0);
    expect([tensor.entries, tensor.missing, tensor.infinite, tensor.firstBad]).toEqual([6, 3, 1, 1]);
    expect([tensor.least, tensor.largest, tensor.mean]).toEqual([1, 2.5, 1.75]);
  });

  it("lines with places make a tensor, in the order of numbers or of words", async () => {
    const text = "person,day,item,score\nann,10,a,1\nann,9,a,2\nbob,9,a,3\nbob,10,b,4\n";
    const file = await opened(text, "x.csv");
    expect(file.members.map(({ shape, modes }) => [shape, modes])).toEqual([
      [
        [2, 2, 2],
        ["person", "day", "item"],
      ],
      [
        [2, 2, 2],
        ["person", "day", "item"],
      ],
    ]);
    // places that no line names are 0, or missing where that is chosen
    expect(file.members.map(({ name }) => name.split("; ")[1])).toEqual(["others are 0", "others are missing"]);
    const nan = Number.NaN;
    expect(await numbersOf(file)).toEqual([2, 0, 1, 0, 3, 0, 0, 4]);
    expect(await numbersOf(file, 1)).toEqual([2, nan, 1, nan, 3, nan, nan, 4]);
  });

  it("lines that fill the tensor they name are offered as that first", async () => {
    const text = "0,0,5\n0,1,6\n1,0,7\n1,1,8\n";
    const file = await opened(text, "x.csv");
    expect(file.members.map(({ shape }) => shape)).toEqual([
      [2, 2],
      [4, 3],
    ]);
    expect(await numbersOf(file)).toEqual([5, 6, 7, 8]);
    const twice = await opened("0,0,5\n0,1,6\n1,0,7\n0,1,8\n", "x.csv");
    expect(twice.members[0]!.shape).toEqual([2, 2]);
    await expect(numbersOf(twice)).rejects.toThrow("line 4: the entry at 0, 1 is there twice");
  });

  it.each([
    [
      "a line of other length",
      "1,2\n3,4\n5\n",
      "x.csv: columns of words",
      "x.csv: line 3 has 1 column, the lines before have 2; mend the line, or remove it",
    ],
    [
      "a word far below",
      `${"1,2\n".repeat(80)}3,four\n`,
      "",
      'x.csv: line 81, column 2: "four" is no number; leave entries that are missing empty',
    ],
    [
      "words alone",
      "to be\nor not\n",
      "",
      "x.csv: columns of words: a table needs numbers in every column but the first; entries need their places first and their value last",
    ],
    ["comments alone", "# nothing\n", "", "x.csv: the file has no line of numbers"],
  ])("%s is told with its place", async (_, text, __, message) => {
    expect(await failure(text, "x.csv")).toBe(message);
  });
});

describe("other files", () => {
  it.each([
    ["x.h5", "\x89HDF", /save one array/],
    ["x.png", "\x89PNG", /numpy\.stack/],
    ["x.bin", "\0\0\0", /which are \.npy, \.npz, \.h5, \.mat or \.csv\. From Python/],
  ])("%s are refused with what to do", async (name, text, message) => {
    expect(await failure(text, name)).toMatch(message);
  });
});

describe("a pass over the numbers", () => {
  it("counts what cannot be decomposed", async () => {
    const data = Float64Array.of(1, Number.NaN, -2, 0, 1e300, Number.POSITIVE_INFINITY);
    const seen: number[] = [];
    const tensor = await inspect(await opened(npy([2, 3], data), "x.npy"), 0, (done) => seen.push(done));
    expect(tensor).toMatchObject({
      entries: 6,
      missing: 1,
      infinite: 1,
      firstBad: 1,
      beyond: 1,
      zeros: 1,
      negative: 1,
      least: -2,
    });
    expect(seen).toEqual([1]);
  });

  it("fills what is not finite, in f32", () => {
    expect([...toF32(Float64Array.of(1.5, Number.NaN, Number.NEGATIVE_INFINITY), 7)]).toEqual([1.5, 7, 7]);
    expect([...toF32(Float64Array.of(1.5, Number.NaN), null)]).toEqual([1.5, Number.NaN]);
  });
});
