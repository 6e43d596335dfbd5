/** Reading and writing: the same bytes, numbers of every type, weights in other files, and what is refused. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { TenfoldError } from "../../src/errors.js";
import { halfToNumber } from "../../src/io/array.js";
import { externalFiles } from "../../src/node/external.js";
import { onnxSites, readOnnx, splitOnnx, writeOnnx } from "../../src/onnx/index.js";
import { copyOf, parseModel, serialiseModel } from "../../src/onnx/proto.js";
import { externalSize, floatsOf, placeOf, toBfloat16, toHalf } from "../../src/onnx/tensors.js";
import outputs from "./fixtures/outputs.json" with { type: "json" };
import { difference, feedsOf, fixture, runModel, signal } from "./runtime.js";

const folder = join(import.meta.dirname, "fixtures");
const files = readdirSync(folder).filter((name) => name.endsWith(".onnx"));

it.each(files)("%s is written as it was read", (file) => {
  const bytes = fixture(file);
  expect(Buffer.compare(writeOnnx(readOnnx(bytes)), bytes)).toBe(0);
  // all but one word, where that changes
  const model = parseModel(bytes);
  const changed = serialiseModel(copyOf(model, { producerName: "FIXTURES.PY" }));
  expect(changed.length).toBe(bytes.length);
  expect(changed.filter((byte, at) => byte !== bytes[at]).length).toBe("fixturespy".length);
});

it("keeps fields that it does not know, where others change", () => {
  const bytes = fixture("external.onnx");
  // field 99 of the model, a string
  const unknown = Uint8Array.of(0x9a, 0x06, 3, 0x61, 0x62, 0x63);
  const model = parseModel(Uint8Array.from([...bytes, ...unknown]));
  const changed = serialiseModel(copyOf(model, { producerName: "another" }));
  expect(Buffer.from(changed).includes(Buffer.from(unknown))).toBe(true);
  expect(parseModel(changed).producerName).toBe("another");
});

it("tells what a model is", () => {
  const model = readOnnx(fixture("torture.onnx"), { file: "torture.onnx" });
  expect(model.inputs).toEqual([
    { name: "x", dtype: "float32", shape: [1, 4, 6, 6] },
    { name: "flag", dtype: "bool", shape: [] },
    { name: "d", dtype: "float64", shape: [2, 5] },
  ]);
  expect(model.outputs.map(({ name }) => name)).toEqual(["lstm_h", "in_double"]);
  expect([model.irVersion, model.opsets.get(""), model.producer]).toEqual([8, 17, "fixtures.py"]);
  expect(readOnnx(fixture("transformer.onnx")).inputs[0]!.shape).toEqual(["batch", "length"]);
  // weights that are inputs are no inputs that a caller must give
  expect(readOnnx(fixture("old.onnx")).inputs.map(({ name }) => name)).toEqual(["x"]);
});

it.each(["half.onnx", "bfloat16.onnx"])("%s: raw and typed fields of small floats", async (file) => {
  const model = readOnnx(fixture(file));
  for (const tensor of model.graph.initializer) {
    const values = await floatsOf(model, tensor);
    expect(values.length).toBe(tensor.dims.reduce((a, b) => a * Number(b), 1));
    expect(values.some((value) => value !== 0)).toBe(true);
    expect(values.every((value) => Math.abs(value) < 3)).toBe(true);
    // there and back
    const convert = file === "half.onnx" ? toHalf : toBfloat16;
    const { rawData, int32Data } = tensor;
    const bits = rawData.length ? [...new Uint16Array(rawData.slice().buffer)] : int32Data;
    expect([...values].map(convert)).toEqual(bits);
  }
});

it("rounds to half precision and to bfloat16 as IEEE 754 says", () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = halfToNumber(bits);
    if (!Number.isNaN(value)) expect(toHalf(value) === bits).toBe(true);
  }
  const cases: [number, number][] = [
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [1e9, 0x7c00],
    [-1e9, 0xfc00],
    [2 ** -25, 0],
    [2 ** -25 * 1.001, 1],
    [3 * 2 ** -25, 2],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [6.0975e-5, 0x03ff],
    [6.102e-5, 0x0400],
    [-0, 0x8000],
    [Number.NaN, 0x7e00],
  ];
  expect(cases.map(([value]) => toHalf(value))).toEqual(cases.map(([, bits]) => bits));
  const brain: [number, number][] = [
    [1, 0x3f80],
    [1 + 2 ** -8, 0x3f80],
    [1 + 3 * 2 ** -8, 0x3f82],
    [3.4e38, 0x7f80],
    [Number.NEGATIVE_INFINITY, 0xff80],
  ];
  expect(brain.map(([value]) => toBfloat16(value))).toEqual(brain.map(([, bits]) => bits));
  expect(toBfloat16(Number.NaN) & 0x7fff).toBeGreaterThan(0x7f80);
});

it("reads weights in another file by their place", async () => {
  const asked: [string, number, number][] = [];
  const files = externalFiles(folder);
  const model = readOnnx(fixture("external.onnx"), {
    external: (...place) => {
      asked.push(place);
      return files(...place);
    },
  });
  const { sites } = onnxSites(model, { smallest: 0 });
  // a list of sites needs no weights
  expect(asked).toEqual([]);
  const weights = await sites[0]!.weights();
  expect(asked).toEqual([["external.onnx.data", expect.any(Number), 432]]);
  expect(weights.length).toBe(108);
  expect(await sites[1]!.weights()).toHaveLength(384);
  expect(externalSize(model)).toBe(4 * (108 + 384));
  expect(externalSize(readOnnx(fixture("half.onnx")))).toBe(0);
  const none = onnxSites(readOnnx(fixture("external.onnx")), { smallest: 0 }).sites[0]!;
  await expect(none.weights()).rejects.toThrow("give readOnnx the option external, which reads that file");
  const missing = onnxSites(readOnnx(fixture("external.onnx"), { external: externalFiles("/nowhere") }), {
    smallest: 0,
  });
  await expect(missing.sites[0]!.weights()).rejects.toMatchObject({ code: "FILE", message: /no such file/ });
  const short = readOnnx(fixture("external.onnx"), { external: () => new Uint8Array(3) });
  await expect(onnxSites(short, { smallest: 0 }).sites[0]!.weights()).rejects.toMatchObject({ code: "FORMAT" });
});

it.each(["/etc/passwd", "../other/w.bin", "a/../../w.bin", "C:\\w.bin", "file:w.bin", "a\0b", ""])(
  "does not read %j, which is not in the model's folder",
  (location) => {
    const model = readOnnx(fixture("external.onnx"));
    const tensor = model.graph.initializer[0]!;
    const externalData = tensor.externalData.map((entry) =>
      entry.key === "location" ? copyOf(entry, { value: location }) : entry,
    );
    expect(() => placeOf("m", copyOf(tensor, { externalData }))).toThrow(TenfoldError);
  },
);

it("splits a model into a graph and a file of weights", async () => {
  const model = readOnnx(fixture("external.onnx"), { external: externalFiles(folder) });
  const split = splitOnnx(model, { location: "w.bin", smallest: 100 });
  const data = new Uint8Array(split.bytes);
  let at = 0;
  for await (const part of split.data) {
    data.set(part, at);
    at += part.length;
  }
  expect(at).toBe(split.bytes);
  const again = readOnnx(split.model, {
    external: (location, offset, length) => {
      expect(location).toBe("w.bin");
      return data.subarray(offset, offset + length);
    },
  });
  const [before, after] = [model, again].map((one) => onnxSites(one, { smallest: 0 }).sites);
  for (const [index, site] of before!.entries()) expect(await after![index]!.weights()).toEqual(await site.weights());
  for (const tensor of again.graph.initializer)
    if (tensor.externalData.length) expect(placeOf("m", tensor).offset % 4096).toBe(0);
});

it("has the outputs that Python's onnxruntime has", async () => {
  const shapes = { x1: [2, 6, 13], x2: [2, 6, 11, 9], x3: [1, 4, 5, 6, 7] };
  const results = await runModel(fixture("convolutions.onnx"), feedsOf(shapes));
  for (const [name, { shape, norm }] of Object.entries(outputs["convolutions.onnx"])) {
    const result = results.get(name)!;
    expect(result.shape).toEqual(shape);
    expect(Math.hypot(...Array.from(result.data))).toBeCloseTo(norm, 4);
  }
  expect(difference({ shape: [2], data: signal([2]) }, { shape: [2], data: signal([2]) })).toBe(0);
});

it.each([
  ["nothing", new Uint8Array(0), "it has no graph"],
  ["text", new TextEncoder().encode("hello, this is no model"), "is no ONNX model"],
  ["half a file", fixture("convolutions.onnx").slice(0, 9000), "cut off"],
])("refuses %s", (_, bytes, message) => {
  expect(() => readOnnx(bytes, { file: "a.onnx" })).toThrow(message);
  expect(() => readOnnx(bytes, { file: "a.onnx" })).toThrow(/^a\.onnx: /);
});

it("refuses what is no file and unknown options", () => {
  expect(() => readOnnx("a.onnx" as unknown as Uint8Array)).toThrow("needs the bytes of a file");
  expect(() => readOnnx(fixture("old.onnx"), { folder: "." } as object)).toThrow('unknown option "folder"');
});
