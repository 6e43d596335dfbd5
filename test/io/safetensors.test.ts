import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { FormatError, type NumericArray, readNpz, readSafetensors, writeSafetensors } from "../../src/io/index.js";
import fc from "../property.js";

function file(header: unknown, data: number | Uint8Array): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Uint8Array.from(Buffer.concat([length, json, typeof data === "number" ? Buffer.alloc(data) : data]));
}

const message = (bytes: Uint8Array): string => {
  try {
    readSafetensors(bytes, "m.safetensors");
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).not.toContain("\n");
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
};

const arrayOf = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }).chain((shape) => {
  const size = shape.reduce((a, b) => a * b, 1);
  const length = { minLength: size, maxLength: size };
  return fc
    .oneof(
      fc.float32Array(length),
      fc.float64Array(length),
      fc.int8Array(length),
      fc.uint8Array(length),
      fc.int16Array(length),
      fc.uint16Array(length),
      fc.int32Array(length),
      fc.uint32Array(length),
    )
    .map((data) => ({ shape, data }) as unknown as NumericArray);
});

it("gives back what it writes, and every tensor is aligned", () => {
  const name = fc.string().filter((text) => text !== "__metadata__");
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(name, arrayOf), { selector: ([key]) => key, maxLength: 5 }),
      fc.dictionary(fc.string(), fc.string()),
      (list, metadata) => {
        const bytes = writeSafetensors(list, metadata);
        const read = readSafetensors(bytes);
        expect(new Map(read.tensors)).toEqual(new Map(list));
        expect(read.tensors.skipped.size).toBe(0);
        expect({ ...read.metadata }).toEqual({ ...metadata });
        for (const { data } of read.tensors.values()) expect(data.buffer).toBe(bytes.buffer);
      },
    ),
  );
});

it("widens half and bfloat16, and takes any order of the header", () => {
  const header = {
    b: { dtype: "BF16", shape: [2], data_offsets: [4, 8] },
    __metadata__: { format: "pt" },
    a: { dtype: "F16", shape: [2, 1], data_offsets: [0, 4] },
  };
  const data = Uint8Array.of(0x00, 0x3e, 0x00, 0xc0, 0xc0, 0x3f, 0x00, 0xc0);
  const { tensors, metadata } = readSafetensors(file(header, data));
  expect([...tensors]).toEqual([
    ["a", { shape: [2, 1], data: Float32Array.of(1.5, -2) }],
    ["b", { shape: [2], data: Float32Array.of(1.5, -2) }],
  ]);
  expect(metadata).toEqual({ format: "pt" });
});

it("refuses files that lie, by name", () => {
  const one = (description: unknown, bytes = 24) => message(file({ w: description }, bytes));
  const good = { dtype: "F32", shape: [2, 3], data_offsets: [0, 24] };
  expect(readSafetensors(file({ w: good }, 24)).tensors.get("w")!.shape).toEqual([2, 3]);
  expect(one(good, 20)).toBe('m.safetensors: tensor "w" ends at byte 24 of the data, the file has 20: it is cut short');
  expect(one(good, 30)).toContain("6 bytes after the last tensor belong to none");
  expect(one({ ...good, shape: [2, 4] })).toContain("has 24 bytes, its shape 2×4 of F32 needs 32");
  expect(one({ ...good, shape: [2, -3] })).toContain("has the shape [2,-3]");
  expect(one({ ...good, shape: [2, 1.5] })).toContain("has the shape");
  expect(one({ ...good, shape: [2 ** 40, 2 ** 40] })).toContain("has the shape");
  expect(one({ ...good, shape: 6 })).toContain("has the shape 6");
  expect(one({ ...good, dtype: "F8_E4M3" })).toContain("has 24 bytes, its shape 2×3 of F8_E4M3 needs 6");
  expect(one({ ...good, dtype: 32 })).toContain("has the type 32");
  expect(one({ ...good, data_offsets: [24, 0] })).toContain("has the offsets [24,0]");
  expect(one({ ...good, data_offsets: [0] })).toContain("has the offsets [0]");
  expect(one({ ...good, data_offsets: [-4, 20] })).toContain("has the offsets");
  expect(one({ dtype: "F32", shape: [6] })).toContain("has the offsets undefined");
  expect(one(null)).toContain('tensor "w" has no description');
  expect(one({ ...good, data_offsets: [4, 28] }, 28)).toContain("there is a gap before it");
  const two = { w: good, v: { ...good, data_offsets: [20, 44] } };
  expect(message(file(two, 44))).toContain('tensor "v" begins at byte 20 of the data, needs 24 (it overlaps another)');
  expect(message(file({ w: good, __metadata__: { a: 1 } }, 24))).toContain('__metadata__ "a" must be text');
});

const fixture = (name: string): Uint8Array => readFileSync(resolve("test/fixtures/io", name));

it("reads floats of one byte as ml_dtypes does, all values", () => {
  const { tensors } = readSafetensors(fixture("mixed.safetensors"));
  const expected = readNpz(fixture("float8.npz"));
  expect([...expected.keys()].sort()).toEqual(["F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0"]);
  for (const [name, { data }] of expected) expect([name, ...tensors.get(name)!.data]).toEqual([name, ...data]);
});

it("reads the others where a tensor is no array of numbers here, and says why it is not", () => {
  const { tensors, metadata } = readSafetensors(fixture("mixed.safetensors"), "m.safetensors");
  expect(metadata).toEqual({ format: "pt" });
  expect(tensors.get("weight")).toEqual({ shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) });
  expect([...tensors.skipped]).toEqual([
    ["spectrum", expect.stringMatching(/"C64" \(complex numbers\): save the magnitude, or the real and the imaginary/)],
    ["packed", expect.stringMatching(/^it has the type "F4", needs one of F64, F32/)],
    ["counts", "entry [1] is 9007199254740993, which a 64-bit float cannot hold exactly"],
  ]);
  for (const [name, reason] of tensors.skipped)
    expect(() => tensors.get(name)).toThrow(new FormatError("m.safetensors", `"${name}" was skipped: ${reason}`));
  const odd = readSafetensors(file({ w: { dtype: "toString", shape: [1], data_offsets: [0, 8] } }, 8)).tensors;
  expect([odd.size, odd.skipped.size]).toEqual([0, 1]);
});

it("refuses headers that are none, and every file cut short", () => {
  expect(message(new Uint8Array(0))).toContain("the file is empty");
  expect(message(file("{ no json", 0))).toContain("bad header");
  expect(message(file("[1, 2]", 0))).toContain("not a safetensors file");
  expect(message(new Uint8Array(16).fill(255))).toContain("not a safetensors file");
  const bytes = writeSafetensors([["w", { shape: [4], data: new Float32Array(4) }]]);
  for (let length = 0; length < bytes.length; length++) message(bytes.subarray(0, length));
});

it("throws nothing but FormatError, whatever byte is changed", () => {
  const sound = writeSafetensors([["w", { shape: [2, 2], data: new Float32Array(4) }]]);
  fc.assert(
    fc.property(fc.nat(sound.length - 1), fc.nat(255), (place, byte) => {
      const bytes = sound.slice();
      bytes[place] = byte;
      try {
        readSafetensors(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    }),
    { numRuns: 500 },
  );
});

it("refuses to write what no reader could tell apart", () => {
  const array = { shape: [1], data: new Float32Array(1) };
  expect(() =>
    writeSafetensors([
      ["a", array],
      ["a", array],
    ]),
  ).toThrow('the name "a" is taken');
  expect(() => writeSafetensors([["__metadata__", array]])).toThrow("is taken");
  expect(() => writeSafetensors([["a", { shape: [2], data: new Float32Array(1) }]])).toThrow(
    "1 elements, shape 2 needs 2",
  );
});
