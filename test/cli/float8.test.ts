import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { LENET_STEP, toFloat8 } from "../../src/cli/float8.js";
import { scalePixels } from "../../src/experiments/digits.js";
import { readSafetensors, writeSafetensors } from "../../src/io/index.js";
import { evaluate, loadModel } from "../../src/nn/index.js";
import { readMnistData } from "../../src/node/index.js";
import { testEngine } from "../engine.js";

const rounded = (values: number[]): number[] => {
  const data = Float32Array.from(values);
  const { tensors } = readSafetensors(toFloat8(writeSafetensors([["a", { shape: [values.length], data }]])));
  return [...tensors.get("a")!.data].map(Number);
};

const LENET = new Uint8Array(readFileSync("src/experiments/models/lenet.safetensors"));

it("the packed LeNet is the trained one, to 4 significant bits or 2^-10, matrices to half a step besides", () => {
  const [trained, packed] = [readSafetensors(LENET), readSafetensors(toFloat8(LENET, { step: LENET_STEP }))];
  expect(packed.metadata).toEqual(trained.metadata);
  expect([...packed.tensors.keys()]).toEqual([...trained.tensors.keys()]);
  for (const [name, { shape, data }] of trained.tensors) {
    const near = packed.tensors.get(name)!;
    expect(near.shape).toEqual(shape);
    expect(near.data).toBeInstanceOf(Float32Array);
    const excess = [...data].map((value, at) => {
      const far = Math.abs(Number(near.data[at]) - Number(value));
      return far - Math.max(Math.abs(Number(value)) / 16, shape.length === 2 ? LENET_STEP / 2 : 2 ** -10);
    });
    expect(Math.max(...excess)).toBeLessThanOrEqual(0);
    if (shape.length === 2) expect([...near.data].every((value) => Number(value) % LENET_STEP === 0)).toBe(true);
  }
});

it("the packed LeNet recognises as many digits as the trained one, to a part in 500", async () => {
  const engine = await testEngine();
  const { testImages, testLabels } = readMnistData();
  const count = 2000;
  using inputs = engine.tensor([count, 1, 28, 28], scalePixels(testImages!.subarray(0, count * 784)));
  using labels = engine.tensor([count], Uint32Array.from(testLabels!.subarray(0, count)));
  const accuracyOf = async (file: Uint8Array): Promise<number> => {
    using model = await loadModel(engine, file);
    return (await evaluate(model, { inputs, labels })).accuracy;
  };
  const trained = await accuracyOf(LENET);
  expect(trained).toBeGreaterThan(0.97);
  const packed = await accuracyOf(toFloat8(LENET, { step: LENET_STEP }));
  expect(Math.abs(packed - trained)).toBeLessThanOrEqual(0.002);
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
