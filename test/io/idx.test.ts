import { gzipSync } from "fflate";
import { expect, it } from "vitest";
import { FormatError, readIdx } from "../../src/io/index.js";

const u32 = (...values: number[]) => values.flatMap((v) => [v >>> 24, (v >> 16) & 255, (v >> 8) & 255, v & 255]);
const images = Uint8Array.of(0, 0, 8, 3, ...u32(2, 1, 3), 1, 2, 3, 4, 5, 6);

const message = (bytes: Uint8Array): string => {
  try {
    readIdx(bytes, "t.idx");
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
};

it("reads bytes without copying, and gzipped", () => {
  const plain = readIdx(images);
  expect(plain).toEqual({ shape: [2, 1, 3], data: Uint8Array.of(1, 2, 3, 4, 5, 6) });
  expect(plain.data.buffer).toBe(images.buffer);
  expect(readIdx(gzipSync(images))).toEqual(plain);
});

it("reads wider elements, which are big-endian", () => {
  const of = (type: number, bytes: number[]) => readIdx(Uint8Array.of(0, 0, type, 1, ...u32(2), ...bytes)).data;
  expect(of(11, [255, 254, 1, 2])).toEqual(Int16Array.of(-2, 258));
  expect(of(12, [...u32(70000), ...u32(-3)])).toEqual(Int32Array.of(70000, -3));
  expect(of(13, [...u32(0x3fc00000), ...u32(0xc0000000)])).toEqual(Float32Array.of(1.5, -2));
  expect(of(14, [...u32(0x3ff80000, 0), ...u32(0x40000000, 0)])).toEqual(Float64Array.of(1.5, 2));
  expect(of(9, [255, 1])).toEqual(Int8Array.of(-1, 1));
});

it("refuses what is cut short or no IDX file", () => {
  for (let length = 0; length < images.length; length++)
    expect(message(images.subarray(0, length))).toMatch(/^t\.idx: (cut short|not an IDX|the file is empty)/);
  expect(message(images.subarray(0, 20))).toBe(
    "t.idx: cut short: 2×1×3 of u1 needs 6 bytes after the header, the file has 4",
  );
  expect(message(Uint8Array.of(...images, 0))).toContain("the file has 1 more");
  expect(message(Uint8Array.of(0, 0, 10, 1, ...u32(0)))).toContain("begins with 00 00 0a 01");
  expect(message(Uint8Array.of(0, 0, 8, 0))).toContain("not an IDX file");
  expect(message(Uint8Array.of(0, 0, 8, 3, ...u32(-1, -1, -1)))).toContain("more elements than can be counted");
  const zipped = gzipSync(images);
  expect(message(zipped.subarray(0, zipped.length - 9))).toContain("not a whole gzip file");
  expect(message(Uint8Array.of(0x1f, 0x8b))).toContain("not a whole gzip file");
});
