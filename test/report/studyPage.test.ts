import type { Page } from "puppeteer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pack, type ReportCase, type ReportNetwork } from "../../src/experiments/results.js";
import type { ReportData } from "../../src/report/data.js";
import { randomArray } from "../reference.js";
import { openReport, type ReportPage } from "./page.js";

function network(layout: string, classes: number): ReportNetwork {
  const curve = Array.from({ length: 5 }, (_, i) => ({ epoch: i + 1, train: 0.5 + i / 10, validation: 0.45 + i / 10 }));
  const confusion = Array.from({ length: classes }, (_, k) =>
    Array.from({ length: classes }, (__, j) => (k === j ? 50 : 3)),
  );
  const figures = { inputs: 3, hidden: 5, parameters: 35, slideParameters: 33, multiplications: 30, testAccuracy: 0.9 };
  return { layout, ...figures, curve, confusion };
}

function someCase(digits: number[], rank: number): ReportCase {
  const bytes = (count: number, seed: number) =>
    Uint8Array.from(randomArray(count * 784, seed), (v) => Math.max(0, 255 * v));
  const slides = { accuracies: [0.3, 0.8], failures: 1 };
  return {
    digits,
    rank,
    decompositionError: 0.65,
    images: { train: 700, validation: 100, test: 200 },
    full: network("784-3-3", digits.length),
    decomposed: network("3-5-3", digits.length),
    centred: network("3-5-3", digits.length),
    fused: { agreement: 1, largestDifference: 1e-6 },
    seconds: { decompose: 1, trainFull: 2, trainDecomposed: 3 },
    originals: pack(bytes(100, 1), [100, 784]),
    reconstructions: pack(randomArray(78_400, 2), [100, 784]),
    originalLabels: Array.from({ length: 100 }, (_, i) => i % digits.length),
    components: pack(randomArray(rank * 784, 3), [rank, 784]),
    loadings: pack(randomArray(60 * rank, 4), [60, rank]),
    loadingLabels: Array.from({ length: 60 }, (_, i) => i % digits.length),
    loadingImages: pack(bytes(60, 5), [60, 784]),
    slides: { full: slides, decomposed: slides },
  };
}

const data: ReportData = {
  adapter: "an <adapter>",
  data: "random images",
  command: "tenfold mnist",
  date: "2026-01-01T00:00:00.000Z",
  recipe: "slides",
  seed: 1,
  cases: [someCase([3, 4, 7], 3), someCase([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 7)],
  sweep: {
    digits: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    hidden: 20,
    points: [2, 5, 9].map((rank) => ({
      rank,
      accuracy: rank / 10,
      decompositionError: 0.5,
      parameters: 100 * rank,
      multiplications: 800 * rank,
    })),
    full: { accuracy: 0.94, multiplications: 15_880, parameters: 15_900 },
  },
};

describe("the report in a browser", () => {
  let report: ReportPage;
  let page: Page;
  let problems: string[];

  beforeAll(async () => {
    report = await openReport(data);
    ({ page, problems } = report);
  });
  afterAll(() => report?.close());

  const marks = () =>
    page.$$eval("#case-0 .frame", (frames) =>
      frames.map((frame) => (frame as HTMLElement).style.left + (frame as HTMLElement).style.top),
    );

  it("is small, and whole by itself", () => {
    expect(report.size).toBeLessThan(60_000);
    expect(problems).toEqual([]);
  });

  it("marks the same image in all three grids, by pointer and by keys", async () => {
    await page.$eval("#case-0 .grid", (grid) => grid.scrollIntoView());
    const box = (await (await page.$("#case-0 .grid"))!.boundingBox())!;
    await page.mouse.move(box.x + 0.35 * box.width, box.y + 0.25 * box.height);
    expect(new Set(await marks())).toEqual(new Set(["30%20%"]));
    await page.focus("#case-0 .grid");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    expect(await marks()).toEqual(["40%30%", "40%30%", "40%30%"]);
    expect(await page.$eval("#case-0 .picked", (element) => element.textContent)).toMatch(/^Image 35: a 4\. \d+ %/);
  });

  it("switches cases, networks, groups and themes", async () => {
    await page.focus("#tab-0");
    await page.keyboard.press("ArrowRight");
    expect(
      await page.$$eval("[role=tabpanel]", (panels) => panels.map((panel) => (panel as HTMLElement).hidden)),
    ).toEqual([true, false]);
    await page.waitForSelector("#case-1 .plot svg");
    const press = (name: string) =>
      page.$$eval(
        "#case-1 button",
        (buttons, text) => buttons.find((button) => button.textContent === text)!.click(),
        name,
      );
    await press("centred loadings");
    await press("by class");
    const options = await page.$$eval("#case-1 select", (selects) => selects.map((select) => select.options.length));
    expect(options).toEqual([7, 7, 7]);
    await page.click("#theme");
    const theme = () => page.$eval("html", (element) => (element as HTMLElement).dataset.theme);
    const first = await theme();
    await page.click("#theme");
    expect(await theme()).not.toBe(first);
    expect(problems).toEqual([]);
  });

  it("fits a phone", async () => {
    await page.setViewport({ width: 390, height: 800 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    expect(problems).toEqual([]);
  });
});
