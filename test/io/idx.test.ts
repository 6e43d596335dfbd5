import * as zlib from "node:zlib";
import { gzipSync } from "fflate";
import { expect, it } from "vitest";
import { FormatError, readIdx } from "../../src/io/index.js";
import fc from "../property.js";

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

/** An IDX file of bytes, some of which hardly shrink. */
const idxOf = (content: Uint8Array): Uint8Array => Uint8Array.of(0, 0, 8, 1, ...u32(content.length), ...content);

it("unpacks several members and padding, as node:zlib does", () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(fc.nat(255), fc.nat(5000)).map(([value, length]) => new Uint8Array(length).fill(value)),
  );
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 });
  fc.assert(
    fc.property(content, cuts, fc.nat(9), fc.nat(1100), (bytes, cuts, level, padding) => {
      const idx = idxOf(bytes);
      const places = [0, ...cuts.map((cut) => Math.floor(cut * idx.length)).sort((a, b) => a - b), idx.length];
      const members = places.slice(1).map((end, i) => zlib.gzipSync(idx.subarray(places[i]!, end), { level }));
      const file = Buffer.concat([...members, Buffer.alloc(padding)]);
      expect(Buffer.compare(zlib.gunzipSync(file), idx)).toBe(0);
      expect(readIdx(file)).toEqual(readIdx(idx));
    }),
  );
});

it("reads a member's name, comment and header checksum over", () => {
  const member = zlib.gzipSync(images);
  const extra = [3, 0, 1, 2, 3];
  const named = [...Buffer.from("größe.idx\0 a comment\0", "latin1"), 7, 7];
  const file = Uint8Array.of(...member.subarray(0, 3), 4 + 8 + 16 + 2, ...member.subarray(4, 10), ...extra, ...named);
  expect(readIdx(Buffer.concat([file, member.subarray(10)]))).toEqual(readIdx(images));
});

it("refuses every gzip file cut short or damaged, and says which member", () => {
  const idx = idxOf(Uint8Array.from({ length: 700 }, (_, i) => (i * i) % 251));
  const first = zlib.gzipSync(idx.subarray(0, 300));
  const file = Buffer.concat([first, zlib.gzipSync(idx.subarray(300))]);
  for (let length = 2; length < file.length; length++) {
    const text = message(file.subarray(0, length));
    if (length === first.length) expect(text).toContain("cut short: 700 of u1 needs 700 bytes");
    else expect(text).toMatch(/^t\.idx: not a whole gzip file \((it is|member 2, at byte \d+, (is|begins)) /);
  }
  // the time in a header and the bits after a stream's end may change; every other change is noticed
  let noticed = 0;
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (place, change) => {
      const bytes = Uint8Array.from(file);
      bytes[place]! ^= change;
      try {
        expect(readIdx(bytes)).toEqual(readIdx(idx));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        noticed++;
      }
    }),
    { numRuns: 500 },
  );
  expect(noticed).toBeGreaterThan(250);
  expect(message(Buffer.concat([file, Buffer.from("more")]))).toContain(
    `member 3, at byte ${file.length}, begins with neither 1f 8b nor zeros`,
  );
});

it("unpacks no more than the header promises", () => {
  for (const level of [0, 9])
    for (const extra of [1, 100_000, 2 ** 22]) {
      const more = zlib.gzipSync(Buffer.concat([images, Buffer.alloc(extra)]), { level });
      expect(message(more)).toBe(`t.idx: unpacks to more than the ${images.length} bytes that its header promises`);
    }
  const second = Buffer.concat([zlib.gzipSync(images), zlib.gzipSync(Buffer.from("x"))]);
  expect(message(second)).toBe(`t.idx: unpacks to more than the ${images.length} bytes that its header promises`);
  expect(message(zlib.gzipSync("no images"))).toBe(
    "t.idx: not an IDX file: it begins with 6e 6f 20 69, needs 00 00, a known type, the order",
  );
  // a header that promises more than a file of this length can hold takes no memory
  expect(message(zlib.gzipSync(Uint8Array.of(0, 0, 8, 2, ...u32(-1, 2 ** 20), 1)))).toContain("the file has 1");
});

it("does not look at all that follows for every member", () => {
  const count = 100_000;
  const head = zlib.gzipSync(Uint8Array.of(0, 0, 8, 1, ...u32(count)));
  const member = zlib.gzipSync(Uint8Array.of(7));
  let looked = 0;
  /** counts the bytes of it and of its parts that are searched or copied */
  class Watched extends Uint8Array {
    override indexOf(value: number, from = 0): number {
      const at = super.indexOf(value, from);
      looked += (at < 0 ? this.length : at + 1) - from;
      return at;
    }
    override slice(...range: [number?, number?]) {
      const part = super.slice(...range);
      looked += part.length;
      return part;
    }
  }
  const file = new Watched(Buffer.concat([head, Buffer.alloc(count * member.length, member)]));
  expect(Buffer.from(readIdx(file).data as Uint8Array).equals(Buffer.alloc(count, 7))).toBe(true);
  expect(looked).toBeGreaterThan(count);
  expect(looked).toBeLessThan(2 * file.length);
});
