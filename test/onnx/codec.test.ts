/** The codec, held against onnx-buf, and over bytes that no writer of ONNX files gives. */
import { equals, fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import { describe, expect, it } from "vitest";
import { Codec } from "../../src/onnx/codec.js";
import { copyOf, parseModel, serialiseModel } from "../../src/onnx/proto.js";
import { fixture } from "./runtime.js";

const FILES = [
  "convolutions",
  "products",
  "transformer",
  "normalised",
  "torture",
  "half",
  "bfloat16",
  "old",
  "external",
];

/** A copy of all messages, so that none is written as it was read. */
function anew<T>(value: T): T {
  if (ArrayBuffer.isView(value) || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(anew) as T;
  return copyOf(
    value,
    Object.fromEntries(Object.entries(value).map(([key, one]) => [key, anew(one)])) as Partial<T & object>,
  );
}

/** Whether each member of a message is that of another. */
function same(ours: unknown, theirs: unknown, path = "model"): void {
  if (ArrayBuffer.isView(ours)) expect(Buffer.compare(ours as Uint8Array, theirs as Uint8Array), path).toBe(0);
  else if (typeof ours !== "object" || ours === null) expect(theirs, path).toBe(ours);
  else
    for (const [key, value] of Object.entries(ours))
      same(value, (theirs as Record<string, unknown>)[key], `${path}.${key}`);
}

describe.each(FILES)("%s", (name) => {
  const bytes = fixture(`${name}.onnx`);
  it("is read as onnx-buf reads it", () => same(parseModel(bytes), fromBinary(ModelProtoSchema, bytes)));

  it("is the same message when it is written anew", () => {
    const written = serialiseModel(anew(parseModel(bytes)));
    expect(equals(ModelProtoSchema, fromBinary(ModelProtoSchema, written), fromBinary(ModelProtoSchema, bytes))).toBe(
      true,
    );
    // fields that are not looked at go to the end of their message; these files have few
    expect(written.length).toBe(bytes.length);
  });

  it("changes where it was changed, alone", () => {
    const { graph, ...model } = parseModel(bytes);
    const changed = copyOf(parseModel(bytes), {
      graph: copyOf(graph!, { name: "changed" }),
      ...{ irVersion: model.irVersion },
    });
    const theirs = fromBinary(ModelProtoSchema, bytes);
    theirs.graph!.name = "changed";
    expect(equals(ModelProtoSchema, fromBinary(ModelProtoSchema, serialiseModel(changed)), theirs)).toBe(true);
  });
});

const codec = new Codec({
  M: "a 1 int32, b 2 int64, c 3 uint64, d 4 float, e 5 double, f 6 string, g 7 bytes, h 8 M, l 9 int64*, p 10 int64*packed, q 11 float*packed, r 12 M*, s 13 int64 one, t 14 M one",
});
const read = (...bytes: number[]) => codec.read("M", Uint8Array.from(bytes)) as Record<string, unknown>;
const written = (members: object): number[] => [...codec.write("M", codec.make("M", members))];

describe("single fields", () => {
  it.each([
    0n,
    1n,
    127n,
    128n,
    300n,
    2n ** 28n - 1n,
    2n ** 28n,
    2n ** 35n + 7n,
    2n ** 56n,
    2n ** 62n + 5n,
    2n ** 63n - 1n,
    -1n,
    -(2n ** 63n),
    -300n,
  ])("the integer %s there and back", (value) => {
    const bytes = written({ b: value, c: BigInt.asUintN(64, value), l: [value, value], p: [value, 1n], s: undefined });
    const { b, c, l, p } = read(...bytes);
    expect([b, c, l, p]).toEqual([value, BigInt.asUintN(64, value), [value, value], [value, 1n]]);
  });

  it("numbers, text and bytes", () => {
    const members = { a: -5, d: 0.1, e: 0.1, f: "\ufeffä€😀", g: Uint8Array.of(0, 255), q: [1, Number.NaN, Infinity] };
    const again = read(...written(members));
    expect(again).toMatchObject({ ...members, d: Math.fround(0.1) });
    // what is not set has its default, and is not written
    expect([again.b, again.c, again.l, again.h, Object.hasOwn(again, "b")]).toEqual([0n, 0n, [], undefined, false]);
    expect(written({})).toEqual([]);
    expect(written({ a: 0, f: "" })).toEqual([8, 0, 50, 0]);
  });

  it("lists in one field and in many, whatever the schema says", () => {
    expect(read(0x4a, 2, 1, 2, 0x48, 3).l).toEqual([1n, 2n, 3n]);
    expect(read(0x50, 1, 0x50, 2).p).toEqual([1n, 2n]);
    // and are written as they were read while nothing has changed
    const bytes = Uint8Array.of(0x4a, 2, 1, 2, 0x48, 3);
    const message = codec.read("M", bytes);
    expect([...codec.write("M", message)]).toEqual([...bytes]);
    expect([...codec.write("M", copyOf(message))]).toEqual([0x48, 1, 0x48, 2, 0x48, 3]);
    const outer = codec.make("M", { r: [message, copyOf(message)] });
    expect([...codec.write("M", outer)]).toEqual([0x62, 6, ...bytes, 0x62, 6, 0x48, 1, 0x48, 2, 0x48, 3]);
  });

  it("a message in two parts, and one of several cases", () => {
    const two = read(0x42, 2, 8, 5, 0x42, 2, 0x10, 7);
    expect(two.h).toMatchObject({ a: 5, b: 7n });
    expect([...codec.write("M", copyOf(two))]).toEqual([0x42, 4, 8, 5, 0x10, 7]);
    expect(read(0x68, 1, 0x72, 2, 8, 4).one).toMatchObject({ case: "t", value: { a: 4 } });
    expect(written({ one: { case: "s", value: 3n } })).toEqual([0x68, 3]);
  });

  it("fields that the schema does not have, and fields of another kind", () => {
    const bytes = [0xa0, 6, 5, 0xa2, 6, 1, 9, 0x0a, 1, 7, 0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0xa5, 6, 1, 2, 3, 4];
    const message = read(...bytes);
    expect(message.a).toBe(0);
    expect([...codec.write("M", copyOf(message, { a: 1 }))]).toEqual([8, 1, ...bytes]);
  });

  it.each([
    ["a length beyond the end", [0x32, 5, 65], "5 bytes are announced at byte 2, and 1 follow"],
    [
      "a length beyond the message around it",
      [0x42, 3, 0x32, 5, 65, 66, 67, 68, 69],
      "5 bytes are announced at byte 4, and 1 follow",
    ],
    ["a huge length", [0x32, 0xff, 0xff, 0xff, 0xff, 0x0f], "4294967295 bytes are announced"],
    ["a length of more than 32 bits", [0x32, 0xff, 0xff, 0xff, 0xff, 0x1f], "a length or a tag is"],
    ["a number that does not end", [0x10, ...new Array(11).fill(0x80)], "a number does not end"],
    ["a number that is cut off", [0x10, 0x80], "is cut off"],
    ["half a float", [0x25, 1, 2], "a number is cut off at byte 1"],
    ["a list of half a float", [0x5a, 6, 0, 0, 0, 0, 1, 1], "is cut off"],
    ["field 0", [0, 0], "a field has number 0"],
    ["a group", [0x0b, 0x0c], "a field is of the kind 3"],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => read(...bytes)).toThrow(message);
    expect(() => read(...bytes)).toThrow(expect.objectContaining({ code: "FORMAT" }));
  });

  it("refuses messages that are nested without end", () => {
    let bytes: number[] = [];
    for (let depth = 0; depth < 110; depth++) bytes = [0x42, ...lengthOf(bytes), ...bytes];
    expect(() => read(...bytes)).toThrow("nested more than 100 deep");
  });
});

const lengthOf = ({ length }: readonly number[]): number[] =>
  length < 128 ? [length] : [(length & 127) | 128, length >> 7];
