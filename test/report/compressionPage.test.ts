/** The page of a compressed network: its facts, its figures, and the commands of other budgets. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { type CompressionData, compressionFiles, compressionPage } from "../../src/report/compressionPage.js";
import { sampleImage } from "../../src/report/sampleImage.js";
import { int8Words, type ModelVersion } from "../../src/report/versions.js";
import { launch } from "../browser/launch.js";

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
  versions: [
    { name: "original", bytes: 9000, milliseconds: 10, error: 0, cosine: 1, agreement: 1 },
    { name: "int8", bytes: 2500, milliseconds: 8, error: 0.01, cosine: 0.9999, agreement: 0.995 },
    { name: "low rank", bytes: 6000, milliseconds: 7, error: 0.0123, cosine: 0.9998, agreement: 0.99 },
  ],
  curve: [point(1.5), point(2)],
  chosen: 1.5,
  command: (ratio) => `tenfold compress "a b" --target mult/${ratio}`,
  tuning: {
    stretches: [{ from: "x", to: "y", steps: 300, best: 200, error: { before: 0.2, after: 0.1 } }],
  },
  worst: [
    { sample: 7, error: 0.5, agreement: 0, classes: { before: 3, after: 8 }, image: "data:image/bmp;base64,Qk0=" },
    { sample: 2, error: 0.25, agreement: 1, classes: { before: 1, after: 1 }, image: null },
  ],
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
    "Beside int8",
    "2,500 (÷3.60)",
    "7.00 (÷1.43)",
    "0.99980",
    "int8 (--int8) is the better way to a small file of this model (÷3.60, 99.5 % same class), and low rank is the way to a faster one in float.",
    'data-command="tenfold compress &quot;a b&quot; --target mult/2"',
    "Worst samples",
    '<img src="data:image/bmp;base64,Qk0=" alt="sample 7" height="64">',
    "8 ✗",
  ])
    expect(page).toContain(text);
  expect(page).not.toContain("NaN");
  const files = new Map(compressionFiles(data));
  expect(files.get("samples.csv")).toBe(
    "sample,class of the original,of the file,same class,error\n7,3,8,0,0.5\n2,1,1,1,0.25\n",
  );
  expect([...files.keys()]).toEqual([
    "index.html",
    "samples.csv",
    "layers.svg",
    "layers.csv",
    "budgets.svg",
    "budgets.csv",
  ]);
  expect(files.get("layers.csv")).toContain("conv<1>,vertical,8 4,40000,20000,1000,500,0.125\n");
  expect(files.get("budgets.csv")).toContain("2,0.1,0.98,0.5,0.5,4500,0.35\n");
});

it("shows the numbers and the command of the budget that is clicked, in the figure and in the table", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-report-"));
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on("console", (message) => void problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(String(error)));
    const file = join(folder, "index.html");
    const open = async (more: Partial<CompressionData>): Promise<void> => {
      writeFileSync(file, compressionPage({ ...data, curve: [point(1.25), point(1.5), point(2), point(3)], ...more }));
      await page.goto(pathToFileURL(file).href);
    };
    const picked = () =>
      page.$eval("#picked", (panel) => ({
        words: panel.checkVisibility() ? (panel as HTMLElement).innerText : "",
        all: [...document.querySelectorAll("[data-picked]")].map((one) => one.tagName),
      }));
    const expected = (ratio: number, error: string, bytes: string, weights: string, time: string) => ({
      words: `÷${ratio}: error ${error}, 98.0 % same class, ${bytes} bytes, ${weights} of the weights, ${time} of the time\n\ntenfold compress "a b" --target mult/${ratio} copy`,
      all: ["rect", "TR"],
    });
    await open({});
    expect(await picked()).toEqual(expected(1.5, "0.0750", "6,000", "66.7 %", "46.7 %"));
    // the last point of the error
    const dots = await page.$$("#budgets circle");
    await dots.at(-1)!.click();
    const third = expected(3, "0.1500", "3,000", "33.3 %", "23.3 %");
    expect(await picked()).toEqual(third);
    const copied = await page.evaluate(async () => {
      let text = "";
      Object.defineProperty(navigator, "clipboard", { value: { writeText: (one: string) => (text = one) } });
      const button = document.querySelector<HTMLButtonElement>("#copy")!;
      button.click();
      return [text, button.textContent];
    });
    expect(copied).toEqual(['tenfold compress "a b" --target mult/3', "copied"]);
    await page.focus("#budgets tbody tr:nth-child(3) button");
    await page.keyboard.press("Enter");
    expect(await picked()).toEqual(expected(2, "0.1000", "4,500", "50.0 %", "35.0 %"));
    // no budget was asked for
    await open({ chosen: null });
    expect(await picked()).toEqual({ words: "", all: [] });
    await page.setViewport({ width: 390, height: 800 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    if (process.env.SCREENSHOT) {
      await open({});
      await page.screenshot({ path: `${process.env.SCREENSHOT}-narrow.png`, fullPage: true });
      await page.setViewport({ width: 1280, height: 900 });
      await page.screenshot({ path: `${process.env.SCREENSHOT}.png`, fullPage: true });
    }
    expect(problems).toEqual([]);
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

it("draws budgets that take longer than the original within the figure", () => {
  const files = new Map(compressionFiles({ ...data, curve: [point(1.5), { ...point(2), time: 1.7 }] }));
  const heights = [...files.get("budgets.svg")!.matchAll(/<circle[^>]* cy="([-\d.]+)"/g)].map(([, y]) => Number(y));
  expect(heights.length).toBe(9);
  expect(Math.min(...heights)).toBeCloseTo(26);
  expect(Math.max(...heights)).toBeCloseTo(276);
});

it("says where int8 is the better way to a small file", () => {
  const [original, int8, low] = data.versions as [ModelVersion, ModelVersion, ModelVersion];
  const said = (changes: Partial<ModelVersion>, of = low, first = original): string | null =>
    int8Words([first, { ...int8, ...changes }, of]);
  expect(said({ milliseconds: 6 })).toContain("and is faster here, too: low rank is for where int8 does not run");
  expect(said({}, low, { ...original, milliseconds: 7 })).toContain("and low rank makes it no faster here");
  expect(said({}, { ...low, milliseconds: 11 })).toContain("and is faster here, too");
  // larger; further from the original, by little and by much
  expect(said({ bytes: 6000 })).toBeNull();
  expect(said({ error: 0.02, agreement: 0.98 })).toContain("98.0 % same class");
  expect(said({ error: 0.02, agreement: 0.97 })).toBeNull();
  expect(said({ error: 0.09, agreement: null })).toContain("an error of 0.0900");
  expect(said({ error: 0.11, agreement: null })).toBeNull();
  expect(int8Words([original, int8])).toBeNull();
  expect(int8Words([original, low])).toBeNull();
});

it("leaves out what is unknown", () => {
  const unknown: CompressionData = {
    ...data,
    ...{ out: null, reason: "too much is lost", curve: null, chosen: null, time: null, verified: null, worst: null },
    versions: null,
    warnings: [],
    layers: [layer("conv", "vertical", 500, false)],
    multiplications: { before: null, after: null },
    bytes: { before: 9000, after: null },
  };
  const page = compressionPage(unknown);
  expect(page).toContain("nothing: too much is lost");
  expect(page).not.toMatch(/NaN|null|multiplications<\/dt>/);
  expect([...new Map(compressionFiles(unknown)).keys()]).toEqual(["index.html", "layers.svg", "layers.csv"]);
});

it("shows samples that are images, whichever way their channels lie", () => {
  const [height, width] = [8, 10];
  /** the pixels of a BMP, rows from the top, red first */
  const pixels = (url: string) => {
    const bytes = Buffer.from(url.replace(/^data:image\/bmp;base64,/, ""), "base64");
    expect(bytes.subarray(0, 2).toString()).toBe("BM");
    expect([bytes.readUInt32LE(2), bytes.readUInt32LE(18), bytes.readUInt32LE(22)]).toEqual([
      bytes.length,
      width,
      height,
    ]);
    expect([bytes.readUInt16LE(26), bytes.readUInt16LE(28)]).toEqual([1, 24]);
    const line = 32;
    return (y: number, x: number) => [2, 1, 0].map((colour) => bytes[54 + (height - 1 - y) * line + 3 * x + colour]);
  };
  const value = (channel: number, y: number, x: number): number => 100 * channel + 10 * y + x - 50;
  const planes = Float32Array.from({ length: 3 * 80 }, (_, e) =>
    value(Math.floor(e / 80), Math.floor(e / 10) % 8, e % 10),
  );
  const mixed = Float32Array.from({ length: 3 * 80 }, (_, e) =>
    value(e % 3, Math.floor(e / 30), Math.floor(e / 3) % 10),
  );
  for (const image of [
    sampleImage({ shape: [1, 3, height, width], data: planes }),
    sampleImage({ shape: [height, width, 3], data: mixed }),
  ]) {
    const at = pixels(image!);
    for (const [y, x] of [
      [0, 0],
      [7, 9],
      [3, 5],
    ] as const)
      expect(at(y, x)).toEqual([0, 1, 2].map((channel) => Math.round((255 * (value(channel, y, x) + 50)) / 279)));
  }
  const grey = pixels(sampleImage({ shape: [1, height, width], data: planes.subarray(0, 80) })!);
  expect(grey(7, 9)).toEqual([255, 255, 255]);
  expect(sampleImage({ shape: [1, 1, 300, 200], data: new Uint8Array(60_000) })!.length).toBeLessThan(33_000);
  for (const shape of [
    [1, 4, 10, 10],
    [1, 12],
    [1, 3, 4, 4],
  ])
    expect(sampleImage({ shape, data: new Float32Array(400) })).toBeNull();
});
