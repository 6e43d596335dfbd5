/** The page of a compressed network: its facts, its figures, and the commands of other budgets. */
import { expect, it } from "vitest";
import { type CompressionData, compressionFiles, compressionPage } from "../../src/report/compressionPage.js";

const layer = (name: string, scheme: string | null, after: number, known = true) => ({
  ...{ name, scheme, ranks: scheme ? [8, 4] : [], error: scheme ? 0.125 : 0 },
  weights: { before: 1000, after },
  multiplications: { before: known ? 40_000 : null, after: known ? 40 * after : null },
});
const point = (ratio: number) => ({
  ...{ ratio, error: ratio / 20, agreement: 0.98, weights: 1 / ratio, multiplications: 1 / ratio, time: 0.7 / ratio },
  bytes: Math.round(9000 / ratio),
});
const data: CompressionData = {
  ...{ file: "a<b>.onnx", out: "small.onnx", reason: null, adapter: "an adapter", date: "2026-11-29T00:00:00Z" },
  layers: [layer("conv<1>", "vertical", 500), layer("head", null, 1000)],
  weights: { before: 2000, after: 1500 },
  multiplications: { before: 80_000, after: 60_000 },
  bytes: { before: 9000, after: 6000 },
  time: { before: 10, after: 7 },
  verified: { error: 0.0123, agreement: 0.99 },
  curve: [point(1.5), point(2)],
  chosen: 1.5,
  command: (ratio) => `tenfold compress "a b" --target mult/${ratio}`,
  tuning: {
    stretches: [{ from: "x", to: "y", steps: 300, best: 200, error: { before: 0.2, after: 0.1 } }],
  },
  warnings: ["few samples"],
};

it("has every layer, every budget with its command, and what was verified", () => {
  const page = compressionPage(data);
  for (const text of [
    "<h1>a&lt;b&gt;.onnx: compressed</h1>",
    "conv&lt;1&gt;",
    "50 %, error 12.5 %",
    "as it is",
    "2,000 to 1,500 (÷1.33)",
    "relative error 0.0123, the same class in 99.0 %",
    "few samples",
    'title="tenfold compress &quot;a b&quot; --target mult/2"',
  ])
    expect(page).toContain(text);
  expect(page).not.toContain("NaN");
  const files = new Map(compressionFiles(data));
  expect([...files.keys()]).toEqual(["index.html", "layers.svg", "layers.csv", "budgets.svg", "budgets.csv"]);
  expect(files.get("layers.csv")).toContain("conv<1>,vertical,8 4,40000,20000,1000,500,0.125\n");
  expect(files.get("budgets.csv")).toContain("2,0.1,0.98,0.5,0.5,4500,0.35\n");
});

it("leaves out what is unknown", () => {
  const unknown: CompressionData = {
    ...data,
    ...{ out: null, reason: "too much is lost", curve: null, chosen: null, time: null, verified: null, warnings: [] },
    layers: [layer("conv", "vertical", 500, false)],
    multiplications: { before: null, after: null },
    bytes: { before: 9000, after: null },
  };
  const page = compressionPage(unknown);
  expect(page).toContain("nothing: too much is lost");
  expect(page).not.toMatch(/NaN|null|multiplications<\/dt>/);
  expect([...new Map(compressionFiles(unknown)).keys()]).toEqual(["index.html", "layers.svg", "layers.csv"]);
});
