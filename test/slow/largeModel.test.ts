/** A model of 100 MB on the demo page, in a browser on a software adapter: npm run test:slow -- largeModel */
import { expect, it } from "vitest";
import { writeNpz } from "../../src/index.js";
import { normals, vggLike } from "../compress/onnx/models.js";
import { again, drop, longestTask, page, set, versions, visit, wordsWhile } from "../demo/page.js";

const SIDE = 64;
const CONVOLUTIONS = [[64], [128], 256, [256]] as const;
// as in VGG16, most weights are those of the first product, which is fitted by its outputs
const PRODUCTS = [1400, 300, 10];
const SAMPLES = 6;
const HOUR = 3_600_000;

it("is compressed by its weights alone, and by a few samples, with another budget after that", {
  timeout: HOUR,
}, async () => {
  const model = vggLike(SIDE, CONVOLUTIONS, PRODUCTS);
  expect(model.length).toBeGreaterThan(9.5e7);
  const few = writeNpz([["x", { shape: [SAMPLES, 3, SIDE, SIDE], data: normals(5)(SAMPLES * 3 * SIDE ** 2) }]]);
  const told = async (): Promise<void> =>
    console.log((await versions()).map(({ text }) => text.replace(/\s+/g, " ")).join("\n"));
  const compress = async (): Promise<void> => {
    const start = performance.now();
    await again("Compress", HOUR);
    console.log(`${((performance.now() - start) / 1000).toFixed(0)} s`);
  };
  const longest = await longestTask(async () => {
    await visit("onnx?data=file");
    await drop([["large.onnx", model]]);
    await page.waitForSelector("#model[data-name='large.onnx']", { timeout: HOUR });
  });
  expect(longest).toBeLessThan(50);
  await compress();
  await told();
  expect((await versions()).map(({ id }) => id)).toEqual(["original", "low rank ÷ 2", "int8", "low rank ÷ 2 + int8"]);
  await page.$eval(".control.check input", (box) => (box as HTMLElement).click());
  await drop([["few.npz", few]]);
  await page.waitForSelector(`#model[data-samples='${SAMPLES}']`, { timeout: HOUR });
  await compress();
  await told();
  await set("Budget", 2.5);
  const words = await wordsWhile(compress);
  expect(words.filter((text) => text.includes("moments of"))).toEqual([]);
  await told();
});
