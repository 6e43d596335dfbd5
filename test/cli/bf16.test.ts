import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { toBf16 } from "../../src/cli/bf16.js";
import { readSafetensors, writeSafetensors } from "../../src/io/index.js";

it("the packed LeNet is the trained one, to 8 significant bits", () => {
  const file = new Uint8Array(readFileSync("src/experiments/models/lenet.safetensors"));
  const [trained, packed] = [readSafetensors(file), readSafetensors(toBf16(file))];
  expect(packed.metadata).toEqual(trained.metadata);
  expect([...packed.tensors.keys()]).toEqual([...trained.tensors.keys()]);
  for (const [name, { shape, data }] of trained.tensors) {
    const rounded = packed.tensors.get(name)!;
    expect(rounded.shape).toEqual(shape);
    expect(rounded.data).toBeInstanceOf(Float32Array);
    for (const [at, value] of [...data].entries())
      expect(Math.abs(Number(rounded.data[at]) - Number(value))).toBeLessThanOrEqual(Math.abs(Number(value)) / 256);
  }
  expect(() => toBf16(writeSafetensors([["a", { shape: [1], data: new Int32Array(1) }]]))).toThrow("needs F32");
});
