import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { toFloat8 } from "../../src/cli/float8.js";
import { readSafetensors, writeSafetensors } from "../../src/io/index.js";

const rounded = (values: number[]): number[] => {
  const data = Float32Array.from(values);
  const { tensors } = readSafetensors(toFloat8(writeSafetensors([["a", { shape: [values.length], data }]])));
  return [...tensors.get("a")!.data].map(Number);
};

it("the packed LeNet is the trained one, to 4 significant bits or 2^-10", () => {
  const file = new Uint8Array(readFileSync("src/experiments/models/lenet.safetensors"));
  const [trained, packed] = [readSafetensors(file), readSafetensors(toFloat8(file))];
  expect(packed.metadata).toEqual(trained.metadata);
  expect([...packed.tensors.keys()]).toEqual([...trained.tensors.keys()]);
  for (const [name, { shape, data }] of trained.tensors) {
    const near = packed.tensors.get(name)!;
    expect(near.shape).toEqual(shape);
    expect(near.data).toBeInstanceOf(Float32Array);
    const excess = [...data].map((value, at) => {
      const far = Math.abs(Number(near.data[at]) - Number(value));
      return far - Math.max(Math.abs(Number(value)) / 16, 2 ** -10);
    });
    expect(Math.max(...excess)).toBeLessThanOrEqual(0);
  }
});

it("every float of 8 bits stays, and what lies between two becomes the nearer one", () => {
  const header = new TextEncoder().encode('{"a":{"dtype":"F8_E4M3","shape":[127],"data_offsets":[0,127]}}');
  const file = new Uint8Array(8 + header.length + 127);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  // all but NaN, without the sign
  for (let bits = 0; bits < 127; bits++) file[8 + header.length + bits] = bits;
  const floats = [...readSafetensors(file).tensors.get("a")!.data].map(Number);
  expect(floats.at(-1)).toBe(448);
  const all = [...floats.map((value) => -value), ...floats];
  expect(rounded(all).map(Math.abs)).toEqual(all.map(Math.abs));
  expect(rounded(all).map(Math.sign).map(Math.abs)).toEqual(all.map(Math.sign).map(Math.abs));
  expect(rounded([-448, -1, 1])).toEqual([-448, -1, 1]);
  for (let at = 1; at < floats.length; at++) {
    const [low, high] = [floats[at - 1]!, floats[at]!];
    expect(rounded([low + 0.4 * (high - low), low + 0.6 * (high - low)])).toEqual([low, high]);
  }
});

it("refuses what it cannot hold", () => {
  expect(() => toFloat8(writeSafetensors([["a", { shape: [1], data: new Int32Array(1) }]]))).toThrow("needs F32");
  for (const value of [449, -1e9, Number.NaN]) expect(() => rounded([value])).toThrow("needs numbers");
});
