import { expect, it } from "vitest";
import type { ShaderSource } from "../../src/gpu/index.js";
import { packAll, packParams } from "../../src/gpu/params.js";

const source: ShaderSource = {
  name: "packed",
  code: "",
  bindings: [],
  params: [
    { name: "count", scalar: "u32", offset: 0, length: 1, stride: 0 },
    { name: "low", scalar: "i32", offset: 4, length: 1, stride: 0 },
    { name: "extents", scalar: "u32", offset: 16, length: 8, stride: 4 },
    { name: "_pad", scalar: "u32", offset: 48, length: 1, stride: 0 },
  ],
  paramsSize: 64,
  constants: {},
  features: [],
};

it("packs params as the shader lays them out", () => {
  const extents = [1, 2, 3, 4, 5, 6, 7];
  const words = new Uint32Array(packParams(source, { count: 9, low: -1, extents }));
  expect([...words]).toEqual([9, 2 ** 32 - 1, 0, 0, ...extents, 0, 0, 0, 0, 0]);
  expect(() => packParams(source, { count: 9, low: 0, extents: new Array(9).fill(0) })).toThrow(
    'packed: param "extents" holds 8 values, given 9',
  );
});

it("packs those of many dispatches behind each other, equal ones once", () => {
  const params = [9, 8, 9].map((count) => ({ source, params: { count, low: 0, extents: [1] } }));
  const { bytes, offsets } = packAll(params, 256);
  expect(offsets).toEqual([0, 256, 0]);
  expect(bytes.length).toBe(512);
  const words = new Uint32Array(bytes.buffer);
  expect([words[0], words[64], words[4], words[68]]).toEqual([9, 8, 1, 1]);
  // blocks are as long as the alignment where that is more
  expect(packAll(params, 32).offsets).toEqual([0, 64, 0]);
  expect(packAll([], 256)).toEqual({ bytes: new Uint8Array(), offsets: [] });
});
