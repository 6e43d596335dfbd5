/** The trained networks: their accuracy is that of accuracy.json, BatchNormalization is folded away, and int8 costs little. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readMnistData } from "../../src/node/mnist.js";
import { activationRanges, foldOnnx, onnxSites, quantiseOnnx, readOnnx, writeOnnx } from "../../src/onnx/index.js";
import { difference, ort, type Result, runModel } from "./runtime.js";

const folder = join(import.meta.dirname, "../fixtures/networks");
const PIXELS = 28 * 28;
const IMAGES = 400;
const digits = readMnistData();
const feedsOf = (bytes: Uint8Array, from: number, count: number) => ({
  images: new ort.Tensor(
    "float32",
    Float32Array.from(bytes.subarray(from * PIXELS, (from + count) * PIXELS), (byte) => byte / 255),
    [count, 1, 28, 28],
  ),
});
const test = feedsOf(digits.testImages!, 0, IMAGES);

/** The share of the first test images that are answered rightly. */
function accuracyOf({ data }: Result): number {
  let right = 0;
  for (let image = 0; image < IMAGES; image++) {
    const scores = Array.from({ length: 10 }, (_, digit) => data[10 * image + digit]!);
    if (scores.indexOf(Math.max(...scores)) === digits.testLabels![image]) right++;
  }
  return right / IMAGES;
}

it.each(["vgg", "resnet"])("%s", async (name) => {
  const bytes = new Uint8Array(readFileSync(join(folder, `${name}.onnx`)));
  expect(bytes.length).toBeLessThan(300_000);
  const { accuracy } = (
    JSON.parse(readFileSync(join(folder, "accuracy.json"), "utf8")) as Record<string, { accuracy: number }>
  )[name]!;
  const before = (await runModel(bytes, test, "all")).get("logits")!;
  // the first images of t10k are the easier half
  expect(Math.abs(accuracyOf(before) - accuracy)).toBeLessThan(0.02);

  const model = readOnnx(bytes);
  const { model: folded, folded: said } = await foldOnnx(model);
  const ops = folded.graph.node.map(({ opType }) => opType);
  expect(ops).not.toContain("BatchNormalization");
  expect(said).toHaveLength(name === "resnet" ? 9 : 0);
  expect(ops.filter((op) => op === "Add")).toHaveLength(name === "resnet" ? 3 : 0);
  expect(onnxSites(folded, { smallest: 0 }).sites).toHaveLength(onnxSites(model, { smallest: 0 }).sites.length);
  const same = (await runModel(writeOnnx(folded), test, "all")).get("logits")!;
  expect(difference(before, same)).toBeLessThan(1e-5);

  const feeds = [0, 64].map((from) => feedsOf(digits.images, from, 64));
  const session = (part: Uint8Array) => ort.InferenceSession.create(part, { logSeverityLevel: 3 });
  const ranges = await activationRanges(folded, { session, feeds });
  const { model: small, quantised, inFloat } = await quantiseOnnx(folded, { ranges });
  expect([quantised.length, inFloat.length]).toEqual([name === "resnet" ? 9 : 6, 0]);
  const file = writeOnnx(small);
  expect(file.length).toBeLessThan(0.4 * bytes.length);
  const after = (await runModel(file, test, "all")).get("logits")!;
  expect(difference(before, after)).toBeLessThan(0.05);
  expect(accuracyOf(before) - accuracyOf(after)).toBeLessThan(0.006);
});
