import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import * as zlib from "node:zlib";
import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import {
  FormatError,
  type NumericArray,
  readCsv,
  readIdx,
  readMat,
  readNpy,
  readNpyHeader,
  readNpz,
  readSafetensors,
  readTns,
  writeNpy,
  writeNpz,
} from "../../src/io/index.js";
import fc from "../property.js";

/** Made by test/fixtures/io/make.py. */
const fixture = (name: string): Uint8Array => readFileSync(resolve("test/fixtures/io", name));

/** A file as NumPy writes it, made here without the writer under test. */
function file(
  descr: string,
  shape: string,
  elements: number[] | Uint8Array,
  { version = 1, fortran = "False", pad = 0 } = {},
) {
  const header = `{'descr': ${descr}, 'fortran_order': ${fortran}, 'shape': ${shape}, }${" ".repeat(pad)}\n`;
  const length =
    version === 1 ? [header.length & 255, header.length >> 8] : [header.length & 255, header.length >> 8, 0, 0];
  return Uint8Array.from([
    ...[0x93, ...Buffer.from("NUMPY"), version, 0],
    ...length,
    ...Buffer.from(header, "latin1"),
    ...elements,
  ]);
}

const setters: Record<string, (view: DataView, at: number, value: number, little: boolean) => void> = {
  f8: (view, at, value, little) => view.setFloat64(at, value, little),
  f4: (view, at, value, little) => view.setFloat32(at, value, little),
  i8: (view, at, value, little) => view.setBigInt64(at, BigInt(value), little),
  u8: (view, at, value, little) => view.setBigUint64(at, BigInt(value), little),
  i4: (view, at, value, little) => view.setInt32(at, value, little),
  u4: (view, at, value, little) => view.setUint32(at, value, little),
  i2: (view, at, value, little) => view.setInt16(at, value, little),
  u2: (view, at, value, little) => view.setUint16(at, value, little),
  i1: (view, at, value) => view.setInt8(at, value),
  u1: (view, at, value) => view.setUint8(at, value),
};

function elements(kind: string, values: number[], little: boolean): Uint8Array {
  const width = Number(kind[1]);
  const bytes = new Uint8Array(values.length * width);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    setters[kind]!(view, index * width, value, little);
  });
  return bytes;
}

const message = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).not.toContain("\n");
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
};

const arrayOf = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }).chain((shape) => {
  const size = shape.reduce((a, b) => a * b, 1);
  const of = <T>(arbitrary: fc.Arbitrary<T>) => arbitrary.map((data) => ({ shape, data }) as unknown as NumericArray);
  const length = { minLength: size, maxLength: size };
  return fc.oneof(
    of(fc.float32Array(length)),
    of(fc.float64Array(length)),
    of(fc.int8Array(length)),
    of(fc.uint8Array(length)),
    of(fc.int16Array(length)),
    of(fc.uint16Array(length)),
    of(fc.int32Array(length)),
    of(fc.uint32Array(length)),
  );
});

describe("npy", () => {
  it("gives back every array that it writes, at any place in memory", () => {
    fc.assert(
      fc.property(arrayOf, fc.integer({ min: 0, max: 9 }), (array, offset) => {
        const written = writeNpy(array);
        const moved = new Uint8Array(written.length + offset).subarray(offset);
        moved.set(written);
        expect(readNpy(moved)).toEqual(array);
        expect(readNpy(Buffer.from(moved))).toEqual(array);
      }),
    );
  });

  it("reads every type in both byte orders", () => {
    for (const kind of Object.keys(setters)) {
      const values = kind.startsWith("u") ? [0, 1, 2, 200, 255, 7] : [0, 1, -2, 100, -128, 7];
      for (const little of [true, false]) {
        const { shape, data } = readNpy(
          file(`'${little ? "<" : ">"}${kind}'`, "(2, 3)", elements(kind, values, little)),
        );
        expect([kind, shape, ...data]).toEqual([kind, [2, 3], ...values]);
      }
    }
    expect([...readNpy(file("'|b1'", "(2,)", [1, 0])).data]).toEqual([1, 0]);
  });

  it("reads half floats", () => {
    // 1, -2, 65504, the smallest normal, the smallest subnormal, infinity, NaN
    const bits = [0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x7c00, 0x7e01];
    const values = [1, -2, 65504, 2 ** -14, 2 ** -24, Number.POSITIVE_INFINITY, Number.NaN];
    for (const little of [true, false]) {
      const bytes = elements("u2", bits, little);
      expect([...readNpy(file(`'${little ? "<" : ">"}f2'`, "(7,)", bytes)).data]).toEqual(values);
    }
  });

  it("turns Fortran order into C order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }), (shape) => {
        const size = shape.reduce((a, b) => a * b, 1);
        // element [i, j, …] holds its row-major index; written first index fastest
        const values: number[] = [];
        for (let at = 0; at < size; at++) {
          let rest = at;
          let index = 0;
          shape.forEach((extent, mode) => {
            const stride = shape.slice(mode + 1).reduce((a, b) => a * b, 1);
            index += (rest % extent) * stride;
            rest = Math.floor(rest / extent);
          });
          values.push(index);
        }
        const bytes = file("'<i4'", `(${shape.join(",")},)`, elements("i4", values, true), { fortran: "True" });
        expect([...readNpy(bytes).data]).toEqual(Array.from({ length: size }, (_, i) => i));
      }),
    );
  });

  it("reads versions 2 and 3, odd spacing and scalars", () => {
    for (const version of [1, 2, 3])
      for (const pad of [0, 1, 77])
        expect(readNpy(file("'|u1'", "( 3, )", [5, 6, 7], { version, pad }))).toEqual({
          shape: [3],
          data: Uint8Array.of(5, 6, 7),
        });
    expect(readNpy(file('"|u1"', "()", [9])).shape).toEqual([]);
    expect(readNpy(file("'|u1'", "(2L, 1L)", [9, 8])).shape).toEqual([2, 1]);
    expect(readNpy(file("'<f4'", "(0, 3)", [])).data.length).toBe(0);
  });

  it("reads 64-bit integers where they are exact, and says where they are not", () => {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    [1n, -(2n ** 53n), 2n ** 60n, 2n ** 53n + 1n].forEach((value, index) => {
      view.setBigInt64(8 * index, value, true);
    });
    expect([...readNpy(file("'<i8'", "(3,)", bytes.subarray(0, 24))).data]).toEqual([1, -(2 ** 53), 2 ** 60]);
    expect(message(() => readNpy(file("'<i8'", "(2,2)", bytes), "x.npy"))).toBe(
      "x.npy: entry [1, 1] is 9007199254740993, which a 64-bit float cannot hold exactly; save it as f8 or i4",
    );
    // third in the file is [0, 1] in Fortran order, [1, 0] in C order
    view.setBigInt64(16, 2n ** 53n + 1n, true);
    const fortran = file("'<i8'", "(2,2)", bytes, { fortran: "True" });
    expect(message(() => readNpy(fortran))).toContain("entry [0, 1]");
  });

  it("refuses every file cut short, naming what is missing", () => {
    const file = writeNpy({ shape: [3, 5], data: new Float32Array(15) });
    for (let length = 0; length < file.length; length++) {
      const text = message(() => readNpy(file.subarray(0, length), "x.npy"));
      expect(text).toMatch(/^x\.npy: (cut short|the file is empty|not an \.npy file)/);
    }
    expect(message(() => readNpy(file.subarray(0, file.length - 4), "x.npy"))).toBe(
      "x.npy: cut short: 3×5 of <f4 needs 60 bytes after the header, the file has 56",
    );
    // bytes after the array are ignored, as by NumPy
    expect(readNpy(Uint8Array.of(...file, 7))).toEqual(readNpy(file));
  });

  it("refuses bad headers", () => {
    const bad: [Uint8Array, string][] = [
      [Buffer.from("PK\u0003\u0004 something else"), "not an .npy file: it is a zip archive, as .npz are"],
      [Buffer.from("1 2 3"), "not an .npy file: it does not begin with \\x93NUMPY"],
      [Uint8Array.of(0x93, ...Buffer.from("NUMPY"), 4, 0, 0, 0, 0, 0), "version 4.0"],
      [file("'<f4'", "(2", [0, 0]), "bad header, needs a value where it has }"],
      [file("'<f4'", "(-2,)", []), "shape must be a tuple of extents, not (-2)"],
      [file("'<f4'", "(2.5,)", []), "bad header, cannot read"],
      [file("'<f4'", "('a',)", []), "shape must be a tuple"],
      [file("'<f4'", "3", new Uint8Array(12)), "shape must be a tuple"],
      [file("'<f4'", "(3)", new Uint8Array(12)), "shape must be a tuple"],
      [file("'<f4'", "(99999999999999999999, 9)", []), "shape must be a tuple"],
      [file("'<c8'", "(1,)", new Uint8Array(8)), 'elements of type "<c8"'],
      [file("'|O'", "(1,)", new Uint8Array(8)), 'elements of type "|O"'],
      [file("'<toString'", "(1,)", []), 'elements of type "<toString"'],
      [file("'<f4' 3", "(1,)", []), "bad header, needs a comma where it has 3"],
      [file("'<U3'", "(1,)", new Uint8Array(12)), 'elements of type "<U3"'],
      [file("[('a', '<f4')]", "(1,)", new Uint8Array(4)), "records with named fields"],
      [file("'<f4'", "(1,)", new Uint8Array(4), { fortran: "0" }), "fortran_order must be True or False"],
      [file("'<f4'", "(1,), 'shap': (", new Uint8Array(4)), "bad header"],
    ];
    for (const [bytes, expected] of bad) expect(message(() => readNpy(bytes, "x.npy"))).toContain(expected);
  });

  it("throws nothing but FormatError, whatever bytes it is given", () => {
    const file = writeNpy({ shape: [2, 3], data: new Int16Array(6) });
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), (place, byte) => {
        const bytes = file.slice();
        bytes[place] = byte;
        try {
          const { shape, data } = readNpy(bytes);
          expect(shape.reduce((a, b) => a * b, 1)).toBe(data.length);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("takes every type that NumPy takes, as NumPy does, and says what the others are", () => {
    const rows = new TextDecoder().decode(fixture("types.jsonl")).trim().split("\n");
    expect(rows.length).toBeGreaterThan(100);
    const bytes = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
    for (const row of rows) {
      const [type, dtype, values] = JSON.parse(row) as [string, string | null, (number | string)[] | null];
      const array = file(JSON.stringify(type), "(2,)", bytes);
      if (!values) {
        const text = message(() => readNpy(array));
        expect(text).toContain(`holds elements of type ${JSON.stringify(type)}`);
        // NumPy's types are named, with advice where there is any
        expect([type, /" \([a-z0-9 ]+\), needs/i.test(text)]).toEqual([type, dtype !== null]);
      } else if (values.some((value) => typeof value === "string" && BigInt(Number(value)) !== BigInt(value))) {
        expect(message(() => readNpy(array))).toContain(`entry [0] is ${values[0]}, which a 64-bit float cannot hold`);
      } else {
        expect([type, ...readNpy(array).data]).toEqual([type, ...values.map(Number)]);
        expect(readNpyHeader(array).descr).toBe(dtype);
      }
    }
  });

  it("tells the header without the elements", () => {
    const bytes = file("'>f4'", "(1000, 1000)", []);
    expect(readNpyHeader(bytes)).toEqual({
      descr: ">f4",
      shape: [1000, 1000],
      fortranOrder: false,
      dataOffset: bytes.length,
    });
  });

  it("refuses to write a shape that its elements do not fill", () => {
    expect(message(() => writeNpy({ shape: [2, 2], data: new Float32Array(3) }))).toContain("3 elements given");
  });
});

describe("npz", () => {
  const arrays: [string, NumericArray][] = [
    ["weights", { shape: [3], data: Float32Array.of(3, 2, 1) }],
    ["factor_0", { shape: [2, 3], data: Float64Array.of(1, 2, 3, 4, 5, 6) }],
    ["1", { shape: [], data: Int32Array.of(-7) }],
  ];

  it("gives back what it writes, stored or compressed, the same bytes each time", () => {
    for (const compress of [false, true]) {
      const bytes = writeNpz(arrays, { compress });
      expect([...readNpz(bytes)]).toEqual(arrays);
      expect(writeNpz(arrays, { compress })).toEqual(bytes);
    }
  });

  it("refuses damaged archives, naming the member where it can", () => {
    const bytes = writeNpz(arrays);
    for (const length of [0, 10, bytes.length >> 1, bytes.length - 1])
      expect(message(() => readNpz(bytes.subarray(0, length), "x.npz"))).toMatch(/^x\.npz: /);
    // every flipped bit of an array is noticed
    for (const [place, member] of [
      [Buffer.from(bytes).indexOf("NUMPY"), "weights"],
      [Buffer.from(bytes).lastIndexOf("NUMPY") + 124, "1"],
    ] as const) {
      const wrong = bytes.slice();
      wrong[place]! ^= 1;
      expect(message(() => readNpz(wrong, "x.npz"))).toBe(
        `x.npz, member ${member}.npy: damaged: its checksum is wrong`,
      );
    }
  });

  it("refuses to believe sizes that cannot be", () => {
    const bytes = writeNpz([["x", { shape: [64], data: new Float32Array(64) }]], { compress: true });
    const entry = Buffer.from(bytes).lastIndexOf("PK\u0001\u0002");
    new DataView(bytes.buffer).setUint32(entry + 24, 0xfffffff0, true);
    expect(message(() => readNpz(bytes, "x.npz"))).toMatch(
      /^x\.npz, member x\.npy: damaged: \d+ bytes cannot hold 4294967280$/,
    );
  });

  /** Where the directory's entries begin. */
  const entriesOf = (bytes: Uint8Array): number[] => {
    const places: number[] = [];
    const text = Buffer.from(bytes);
    for (let at = text.indexOf("PK\u0001\u0002"); at >= 0; at = text.indexOf("PK\u0001\u0002", at + 1)) places.push(at);
    return places;
  };

  it("refuses a member that unpacks to more than declared, though what is declared has its checksum", () => {
    const array: NumericArray = { shape: [64], data: Float32Array.from({ length: 64 }, (_, i) => i) };
    const bytes = writeNpz([["x", array]], { compress: true });
    const entry = entriesOf(bytes)[0]!;
    const view = new DataView(bytes.buffer);
    const declared = view.getUint32(entry + 24, true) - 4;
    view.setUint32(entry + 24, declared, true);
    view.setUint32(entry + 16, zlib.crc32(writeNpy(array).subarray(0, declared)), true);
    expect(message(() => readNpz(bytes, "x.npz"))).toBe(
      `x.npz, member x.npy: damaged: it has more bytes, the directory says ${declared}`,
    );
  });

  it("refuses members that share bytes", () => {
    const twin: NumericArray = { shape: [2], data: Float32Array.of(1, 2) };
    for (const compress of [false, true]) {
      const bytes = writeNpz(
        ["a", "b", "c"].map((name) => [name, twin] as const),
        { compress },
      );
      expect(readNpz(bytes).size).toBe(3);
      const [first, , last] = entriesOf(bytes);
      // the third stands for the bytes of the first
      new DataView(bytes.buffer).setUint32(last! + 42, new DataView(bytes.buffer).getUint32(first! + 42, true), true);
      expect(message(() => readNpz(bytes, "x.npz"))).toMatch(
        /^x\.npz, member [ac]\.npy: damaged: it shares bytes of the archive with [ac]\.npy$/,
      );
    }
  });

  it("counts the last of members with one name, also where it is no array of numbers", () => {
    const number: NumericArray = { shape: [1], data: Float32Array.of(5) };
    const text = file("'<U1'", "(1,)", new Uint8Array(4));
    for (const [members, readable] of [
      [[writeNpy(number), text], false],
      [[text, writeNpy(number)], true],
    ] as const) {
      // fflate writes no name twice: two names of one length, made the same in both places
      const bytes = Buffer.from(zipSync({ "x.npy": members[0], "y.npy": members[1] }, { level: 0 }));
      const renamed = Buffer.from(bytes.toString("latin1").replaceAll("y.npy", "x.npy"), "latin1");
      const read = readNpz(renamed, "t.npz");
      expect([read.has("x"), read.skipped.has("x")]).toEqual([readable, !readable]);
      if (readable) expect(read.get("x")).toEqual(number);
      else expect(message(() => read.get("x"))).toContain('"x" was skipped: ');
    }
  });

  it("throws nothing but FormatError, whatever byte is changed", () => {
    for (const compress of [false, true]) {
      const file = writeNpz(arrays, { compress });
      fc.assert(
        fc.property(fc.nat(file.length - 1), fc.nat(255), (place, byte) => {
          const bytes = file.slice();
          bytes[place] = byte;
          try {
            readNpz(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
          }
        }),
        { numRuns: 300 },
      );
    }
  });

  it("gives what is there and names what is no array of numbers", () => {
    const read = readNpz(fixture("mixed.npz"), "m.npz");
    const x = Float32Array.of(0, 1, 2, 3, 4, 5);
    expect([...read]).toEqual([
      ["conv1/weight", { shape: [2, 3], data: x }],
      ["größe", { shape: [3, 2], data: Float64Array.of(0, 3, 1, 4, 2, 5) }],
      ["名前 и 🙂", { shape: [], data: Float64Array.of(2.5) }],
      ["exact", { shape: [3], data: Float64Array.of(1, -(2 ** 53), 2 ** 60) }],
      ["bool", { shape: [2], data: Uint8Array.of(1, 0) }],
      ["trailing", { shape: [1], data: Int16Array.of(7) }],
      ["empty", { shape: [0, 3], data: new Float32Array(0) }],
      ["bare", { shape: [1], data: Uint8Array.of(1) }],
    ]);
    const reasons: [string, RegExp][] = [
      ["README.txt", /^not an \.npy file/],
      ["conv1/", /^it is a folder$/],
      ["names", /"<U2" \(text\), needs/],
      ["objects", /"\|O" \(Python objects\), needs/],
      ["complex", /"<c8" \(complex numbers\), needs .*: save the magnitude, or the real and the imaginary part/],
      ["records", /records with named fields.*: save each field/],
      ["times", /dates or durations.*astype/],
      ["long", /"<f16" \(extended precision\), needs .*: save it as f8/],
      ["inexact", /^entry \[1, 0\] is 9007199254740993, which a 64-bit float cannot hold exactly/],
      ["bzip2", /^it is packed by bzip2/],
      ["void", /^the file is empty$/],
    ];
    expect([...read.skipped.keys()].sort()).toEqual(reasons.map(([name]) => name).sort());
    for (const [name, reason] of reasons) {
      expect(read.skipped.get(name)).toMatch(reason);
      expect(read.has(name)).toBe(false);
      expect(message(() => read.get(name))).toBe(`m.npz: "${name}" was skipped: ${read.skipped.get(name)}`);
    }
    expect(read.get("nowhere")).toBe(undefined);
  });

  it("reads what NumPy saves compressed, with 64-bit sizes", () => {
    const read = readNpz(fixture("saved.npz"));
    expect([...read.keys()]).toEqual(["a/b", "x y", "1"]);
    expect(read.get("1")).toEqual(read.get("a/b"));
    expect([...read.get("x y")!.data]).toEqual([1, -(2 ** 53), 2 ** 60]);
  });

  it("reads ZIP64, with a comment after it and a program before it", () => {
    const bytes = fixture("zip64.npz");
    expect(Buffer.from(bytes).includes("PK\u0006\u0006")).toBe(true);
    const read = [
      ["x", { shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) }],
      ["y", { shape: [3], data: Float64Array.of(1, -(2 ** 53), 2 ** 60) }],
    ];
    expect([...readNpz(bytes)]).toEqual(read);
    expect([...readNpz(Buffer.concat([Buffer.from("#!/bin/sh\n"), bytes]))]).toEqual(read);
    const end = Buffer.from(bytes).lastIndexOf("a comment");
    for (let length = 0; length < end; length++)
      expect(message(() => readNpz(bytes.subarray(0, length), "x.npz"))).toMatch(/^x\.npz: /);
  });

  it("writes every name that it reads", () => {
    const read = readNpz(fixture("mixed.npz"));
    expect(new Map(readNpz(writeNpz(read)))).toEqual(new Map(read));
    const array = arrays[0]![1];
    const unsafe = /\p{Surrogate}|\0|\\|^\/|^[A-Za-z]:|(^|\/)\.\.(\/|$)/u;
    const name = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.string({ unit: fc.constantFrom("a", ".", "/", "..", "\\", ":", " ", "ö", "\0", "\ud800", "_") }),
    );
    fc.assert(
      fc.property(name, fc.boolean(), (name, compress) => {
        const write = () => writeNpz([[name, array]], { compress });
        if (unsafe.test(name)) expect(message(write)).toContain(`member ${JSON.stringify(name)} `);
        else expect([...readNpz(write())]).toEqual([[name, array]]);
      }),
      { numRuns: 300 },
    );
    // the flag that says the name is UTF-8
    expect(writeNpz([["größe", array]])[7]! & 8).toBe(8);
  });

  it("refuses two members of one name and names that are paths", () => {
    expect(message(() => writeNpz([arrays[0]!, arrays[0]!]))).toContain('two members are called "weights"');
    for (const [name, why] of [
      ["../x", "leads out of the folder"],
      ["a/../../x", "leads out of the folder"],
      ["/etc/x", "is a path from the root"],
      ["C:/x", "is a path from the root or of a drive"],
      ["C:evil", "is a path from the root or of a drive"],
      ["a\\b", "has a backslash"],
      ["a\0b", "has a zero character"],
      ["a\ud800", "has half a character"],
    ] as const)
      expect(message(() => writeNpz([[name, arrays[0]![1]]]))).toContain(`member ${JSON.stringify(name)} ${why}`);
  });
});

const numpy = ["python3", process.env.TENFOLD_TEST_PYTHON ?? ""].find(
  (python) => python && spawnSync(python, ["-c", "import numpy"]).status === 0,
);

describe.skipIf(!numpy)("NumPy", () => {
  it("opens what is written here, and is read here", () => {
    const folder = mkdtempSync(join(tmpdir(), "tenfold-"));
    try {
      const run = (program: string): string => {
        const { status, stdout, stderr } = spawnSync(numpy!, ["-c", program], { cwd: folder, encoding: "utf8" });
        expect(stderr).toBe("");
        expect(status).toBe(0);
        return stdout.trim();
      };
      const kinds = [
        Float32Array,
        Float64Array,
        Int8Array,
        Uint8Array,
        Int16Array,
        Uint16Array,
        Int32Array,
        Uint32Array,
      ];
      const arrays = kinds.map((Kind, index): [string, NumericArray] => [
        `a${index}`,
        { shape: [2, 1, 3], data: Kind.from([0, 1, 2, 3, 4, 100]) },
      ]);
      for (const compress of [false, true]) {
        writeFileSync(join(folder, "a.npz"), writeNpz(arrays, { compress }));
        const seen = run(
          "import numpy as np\nz = np.load('a.npz')\n" +
            "print(*[f'{n} {z[n].dtype} {z[n].shape} {z[n].ravel().tolist() == [0, 1, 2, 3, 4, 100]}' for n in z], sep='\\n')",
        );
        expect(seen.split("\n")).toEqual(
          ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32"].map(
            (dtype, index) => `a${index} ${dtype} (2, 1, 3) True`,
          ),
        );
      }
      run(
        [
          "import numpy as np",
          "x = np.arange(24).reshape(2, 3, 4)",
          "for d in ['<f2','>f2','<f4','>f4','<f8','>f8','<i2','>i4','<i8','>u8','|u1']:",
          "    np.save(d[1:] + ('b' if d[0] == '>' else ''), x.astype(d))",
          "    np.save(d[1:] + ('b' if d[0] == '>' else '') + 'F', np.asfortranarray(x.astype(d)))",
          "np.savez('s.npz', x=x, y=np.float32(3)); np.savez_compressed('c.npz', x=x, y=np.float32(3))",
        ].join("\n"),
      );
      const expected = Array.from({ length: 24 }, (_, i) => i);
      for (const name of ["f2", "f2b", "f4", "f4b", "f8", "f8b", "i2", "i4b", "i8", "u8b", "u1"])
        for (const order of ["", "F"]) {
          const { shape, data } = readNpy(readFileSync(join(folder, `${name}${order}.npy`)));
          expect([name, shape, ...data]).toEqual([name, [2, 3, 4], ...expected]);
        }
      for (const name of ["s.npz", "c.npz"]) {
        const members = readNpz(readFileSync(join(folder, name)));
        expect([...members.keys()]).toEqual(["x", "y"]);
        expect([...members.get("x")!.data]).toEqual(expected);
        expect(members.get("y")).toEqual({ shape: [], data: Float32Array.of(3) });
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("what is no bytes", () => {
  const readers = { readCsv, readIdx, readMat, readNpy, readNpyHeader, readNpz, readSafetensors, readTns };
  it.each(Object.entries(readers))("%s says what it needs", (name, read) => {
    const refusal = (given: unknown) => expect(() => read(given as Uint8Array));
    const needs = "needs the bytes of a file as a Uint8Array";
    refusal("X.npy").toThrow(
      `${name}: the first argument is "X.npy", ${needs}; readBytes of tenfold/node reads a file, and fetch an address`,
    );
    refusal(new ArrayBuffer(9)).toThrow(`of the kind ArrayBuffer, ${needs}, as new Uint8Array(buffer)`);
    refusal(Promise.resolve()).toThrow("is an await missing?");
    refusal(undefined).toThrow(`${name}: the first argument is of the kind Undefined, ${needs}`);
  });
});
