import type { Page } from "puppeteer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CompareRow } from "../../src/experiments/compare.js";
import type { ComparisonData } from "../../src/report/data.js";
import { openReport, type ReportPage } from "./page.js";

/** A LeNet's layers as a method left them: both convolutions and the largest dense layer replaced. */
function layersOf(ratio: number, ranks: number[][]): CompareRow["layers"] {
  const shapes: [string, number, number, number][] = [
    ["Conv2d 1→6, 5×5", 0, 156, 117_600],
    ["Conv2d 6→16, 5×5", 2, 2416, 240_000],
    ["Linear 400→120", 5, 48_120, 48_000],
    ["Linear 120→84", 6, 10_164, 10_080],
    ["Linear 84→10", 7, 850, 840],
  ];
  const pooling = ["MaxPool2d 2×2", 1, 0, 0] as const;
  return [...shapes, pooling]
    .sort((a, b) => a[1] - b[1])
    .map(([name, index, weights, multiplications]) => {
      const layerRanks = ranks[shapes.findIndex(([, at]) => at === index)] ?? [];
      const replaced = layerRanks.length > 0;
      return {
        index,
        name,
        compressed: replaced ? `Something of ${name} with ranks ${layerRanks.join(", ")}` : name,
        ranks: layerRanks,
        staysBecause: replaced ? "" : "as it is",
        weights: [weights, replaced ? Math.round(weights / ratio) : weights],
        multiplications: [multiplications, replaced ? Math.round(multiplications / ratio) : multiplications],
        weightError: replaced ? 0.3 : 0,
        outputError: replaced ? 0.2 : 0,
        ...(replaced && {
          times: [
            { batch: 1, before: 0.12, after: 0.08 },
            { batch: 100, before: 4, after: 1.6 },
          ],
        }),
      };
    });
}

const METHODS = ["svd", "tt", "ring", "jaderberg1", "jaderberg2", "cp", "cp-corrected", "btd", "tucker2"];

const base: CompareRow = {
  method: "original",
  title: "the network as it is",
  target: "",
  reached: true,
  weights: 61_706,
  multiplications: 416_520,
  weightsRatio: 1,
  multiplicationsRatio: 1,
  dispatches: 8,
  weightError: 0,
  outputError: 0,
  before: 0.965,
  after: { mean: 0.965, deviation: 0, values: [0.965] },
  epochs: 6,
  time: [
    { batch: 1, ms: 0.5, original: 0.5 },
    { batch: 100, ms: 12, original: 12 },
  ],
  layers: [],
  curve: [],
};

const rows: CompareRow[] = [
  base,
  ...METHODS.flatMap((method, index) =>
    [2, 4, 8].map(
      (ratio): CompareRow => ({
        ...base,
        method,
        title: `The method ${method} (Somebody et al. 2015)`,
        target: `×${ratio} ${index < 3 ? "weights" : "multiplications"}`,
        reached: !(method === "btd" && ratio === 8),
        weights: Math.round(61_706 / ratio) + 100 * index,
        multiplications: Math.round(416_520 / ratio) + 900 * index,
        weightsRatio: ratio,
        multiplicationsRatio: ratio + 0.25,
        dispatches: 9 + index,
        weightError: 0.41,
        outputError: 0.21,
        before: 0.9 - 0.08 * ratio - 0.01 * index,
        after: { mean: 0.965 - 0.005 * ratio - 0.002 * index, deviation: 0.002, values: [0.962, 0.961, 0.963] },
        epochs: 2,
        time: [
          { batch: 1, ms: 0.4 + 0.02 * index, original: 0.5 },
          { batch: 100, ms: 6 + index, original: 12 },
        ],
        layers: layersOf(ratio, [[1, 2 + index], [3, 5], [12], []]),
        curve: [
          { epoch: 1, loss: 0.3, accuracy: 0.93, validationLoss: 0.2, validationAccuracy: 0.95 },
          { epoch: 2, loss: 0.2, accuracy: 0.95, validationLoss: 0.2, validationAccuracy: 0.962 },
        ],
      }),
    ),
  ),
  { ...base, method: "loadings", title: "Tucker loadings as inputs", before: null, epochs: 8 },
];

const data: ComparisonData = {
  kind: "comparison",
  command: "tenfold compare --seeds 3",
  date: "2026-01-01T00:00:00.000Z",
  adapter: "an <adapter>",
  data: "random images",
  images: { train: 7000, test: 2000 },
  network: "LeNet 1-6-16-400-120-84-10",
  rows,
  curves: ["btd", "cp", "tucker2"].flatMap((method, shift) =>
    ["Conv2d 1→6", "Conv2d 6→16"].map((layer) => ({
      method,
      layer,
      points: [1, 2, 4].map((rank) => ({
        ranks: [rank, rank + 1],
        multiplications: 10_000 * rank + shift,
        outputError: 0.5 / (rank + shift),
      })),
    })),
  ),
  notes: ["block terms err more than something"],
  stopped: "stopped after 29 of 30 rows",
  seconds: 1000,
};

describe("the comparison in a browser", () => {
  let report: ReportPage;
  let page: Page;

  beforeAll(async () => {
    report = await openReport(data);
    page = report.page;
  });
  afterAll(() => report?.close());

  /** a card, found by its heading, as a selector */
  const cardOf = (heading: string): Promise<string> =>
    page.$$eval(
      ".card",
      (cards, title) => {
        const at = cards.findIndex((card) => card.querySelector("h2")!.textContent === title);
        cards[at]!.id = `card-${at}`;
        return `#card-${at}`;
      },
      heading,
    );
  const press = (card: string, name: string) =>
    page.$$eval(
      `${card} button`,
      (buttons, text) => buttons.find((button) => button.textContent === text)!.click(),
      name,
    );
  /** a chart is drawn a task after what changes it */
  const drawn = () => page.evaluate(() => new Promise((resolve) => setTimeout(() => setTimeout(resolve))));
  const text = (selector: string) => page.$eval(selector, (element) => element.textContent!);
  const widthOfPage = () => page.evaluate(() => document.documentElement.scrollWidth);
  /** centres of the scatter's filled dots on the screen, in the order of the rows */
  const dots = (card: string) =>
    page.$$eval(`${card} svg[viewBox] circle[fill]:not([fill=none])`, (circles) =>
      circles.map((circle) => {
        const { left, top, width, height } = circle.getBoundingClientRect();
        return { x: left + width / 2, y: top + height / 2 };
      }),
    );

  it("says what was compared, and that it ended early", async () => {
    expect(await text("#about")).toContain("LeNet 1-6-16-400-120-84-10; random images; 7,000 images to train on");
    expect(await text("#main")).toContain("stopped after 29 of 30 rows");
    expect(await text(await cardOf("All methods"))).toContain("block terms err more than something");
  });

  it("draws what a convolution loses by every method, and tells a dot's ranks", async () => {
    const card = await cardOf("What a convolution loses");
    expect(await page.$$eval(`${card} button`, (buttons) => buttons.map((button) => button.textContent))).toEqual([
      "Conv2d 6→16",
      "Conv2d 1→6",
    ]);
    await drawn();
    const circles = await dots(card);
    expect(circles).toHaveLength(9);
    await page.$eval(card, (element) => element.scrollIntoView());
    const [first] = await dots(card);
    await page.mouse.move(first!.x, first!.y);
    await drawn();
    expect(await text(`${card} .hint`)).toContain("The method btd, rank 1·2");
    await press(card, "Conv2d 1→6");
    await drawn();
    expect(await page.$eval(`${card} [role=img]`, (element) => element.getAttribute("aria-label"))).toContain(
      "Conv2d 1→6",
    );
  });

  it("says what it means, and which rows are best", async () => {
    const words = await text(await cardOf("What it means"));
    expect(words).toContain("at most a point of the original's 96.5 %");
    // of all rows with 95.5 % or more
    expect(words).toContain(
      "The method svd ×2 weights has the fewest multiplications, 2.3 times fewer, and reads 95.5 %",
    );
    const card = await cardOf("All methods");
    expect(await page.$$eval(`${card} thead th`, (heads) => heads.map((head) => head.textContent))).toEqual([
      ...["method", "asked for", "weights", "× fewer", "mult. × fewer", "% after tuning", "× faster, 100"],
    ]);
    const marked = await page.$$eval(`${card} tbody tr`, (lines) =>
      lines.map((line) => line.textContent!).filter((line) => line.includes("←")),
    );
    expect(marked).toHaveLength(1);
  });

  it("has every figure of a row in the table", async () => {
    const card = await cardOf("All methods");
    await press(card, "all 17 columns");
    const table = await page.$$eval(`${card} tr`, (rows) =>
      rows.map((line) => [...line.children].map((cell) => cell.textContent!.replaceAll("\u00ad", ""))),
    );
    expect(table).toHaveLength(1 + rows.length);
    const shown = (method: string, target: string) => {
      const line = 1 + rows.findIndex((row) => row.method === method && row.target === target);
      return Object.fromEntries(table[0]!.map((name, column) => [name, table[line]![column]]));
    };
    expect(shown("tucker2", "×4 multiplications")).toEqual({
      method: "",
      "asked for": "×4 mult.",
      ranks: "1·10 3·5 12 – –",
      weights: "16,227",
      "× fewer": "4",
      "mult. × fewer": "4.25",
      dispatches: "17",
      "weight error": "0.410",
      "output error": "0.210",
      "% before tuning": "50.0",
      "% after tuning": "92.9 ± 0.2",
      epochs: "2",
      "ms, batch 1": "0.56",
      "ms, batch 100": "14",
      "× faster, 1": "0.893",
      "× faster, 100": "0.857",
      "÷ theory": "0.202",
    });
    expect(shown("btd", "×8 multiplications")["asked for"]).toBe("×8 mult. !");
    expect(shown("original", "")).toMatchObject({ "× faster, 1": "", "÷ theory": "", "% before tuning": "96.5" });
    expect(shown("loadings", "")).toMatchObject({ "× faster, 100": "1", "% before tuning": "", epochs: "8" });
    // nothing of it is cut off on a wide screen
    const hidden = await page.$eval(`${card} .scroll`, (box) => box.scrollWidth - box.clientWidth);
    expect(hidden).toBeLessThanOrEqual(0);
  });

  it("draws accuracy against weights, multiplications and times, and tells ranks at a dot", async () => {
    const card = await cardOf("What accuracy costs");
    const axis = () => text(`${card} .plot`);
    const measures = ["weights", "multiplications", "time at batch 1", "time at batch 100"] as const;
    const labels = ["weights and biases", "multiplications an image", "pass of 1 image", "pass of 100 images"];
    const places: number[][] = [];
    for (const [at, measure] of measures.entries()) {
      await press(card, measure);
      await drawn();
      expect(await axis()).toContain(labels[at]);
      const circles = await dots(card);
      expect(circles).toHaveLength(rows.length);
      places.push(circles.map(({ x }) => x));
      const order = (values: number[]) => values.map((_, k) => k).sort((a, b) => values[a]! - values[b]! || a - b);
      const values = rows.map((row) => [row.weights, row.multiplications, row.time[0]!.ms, row.time[1]!.ms][at]!);
      // as far to the right as it is large, up to rounding of equal ones
      const rising = order(values).map((index) => circles[index]!.x);
      for (const [k, x] of rising.slice(1).entries()) expect(x).toBeGreaterThanOrEqual(rising[k]! - 0.01);
    }
    expect(new Set(places.map((xs) => xs.map(Math.round).join())).size).toBe(4);
    expect(await axis()).not.toMatch(/\d m\b|00m/);
    await page.$eval(card, (element) => element.scrollIntoView());
    const at = rows.findIndex(({ method, target }) => method === "tucker2" && target === "×8 multiplications");
    const { x, y } = (await dots(card))[at]!;
    await page.mouse.move(x, y);
    await drawn();
    const tip = await text(`${card} .plot`);
    expect(tip).toContain("The method tucker2 ×8 multiplications");
    expect(tip).toContain("ranks 1·10 3·5 12 – –");
    expect(tip).toMatch(/18\.0 % before, 90\.9 % ± 0\.2 after/);
    expect(await widthOfPage()).toBe(1280);
  });

  it("draws each layer before and after, and the curve of a row that is chosen", async () => {
    const card = await cardOf("Layer by layer");
    const chosen = rows.filter(({ layers }) => layers.length).findIndex(({ method }) => method === "cp");
    await page.select(`${card} select`, String(chosen));
    for (const [measure, bars] of [
      ["weights", 10],
      ["multiplications", 10],
      // only layers that were replaced were timed
      ["ms, batch 100", 6],
    ] as const) {
      await press(card, measure);
      await drawn();
      const [layers] = await page.$$(`${card} .plot`);
      expect(await layers!.evaluate((box) => box.getAttribute("aria-label"))).toBe(
        `${measure} of every layer before and after, The method cp ×2 multiplications`,
      );
      expect(await layers!.$$eval("svg[viewBox] rect", (rects) => rects.length)).toBe(bars);
    }
    await page.$eval(card, (element) => element.scrollIntoView());
    const bar = (await (await page.$$(`${card} .plot svg[viewBox] rect`))[0]!.boundingBox())!;
    await page.mouse.move(bar.x + bar.width / 2, bar.y + bar.height / 2);
    await drawn();
    expect(await text(`${card} .plot`)).toMatch(/×2\.00 fewer weights.*×1\.50 faster at batch 1/s);
    // held out before the first epoch and after both, training after both
    const curve = (await page.$$(`${card} .plot`))[1]!;
    expect(await curve.$$eval("circle", (circles) => circles.length)).toBe(5);
  });

  it("has a table of the layers of every method", async () => {
    const card = await cardOf("Layer by layer");
    const summaries = await page.$$eval(`${card} summary`, (elements) =>
      elements.map((element) => element.textContent),
    );
    expect(summaries).toEqual(METHODS.map((method) => `The method ${method} (Somebody et al. 2015)`));
    const lines = await page.$$eval(`${card} details:nth-of-type(9) tr`, (rows) =>
      rows.map((line) => [...line.children].map((cell) => cell.textContent!.replaceAll("\u00ad", ""))),
    );
    expect(lines).toHaveLength(1 + 3 * 5);
    expect(lines[0]!.slice(-4)).toEqual(["weight error", "output error", "× faster, 1", "× faster, 100"]);
    expect(lines[1]).toEqual([
      ...["×2 multiplications", "Conv2d 1→6, 5×5", "Something of Conv2d 1→6, 5×5 with ranks 1, 10"],
      ...["78", "2", "58,800", "2", "0.300", "0.200", "1.5", "2.5"],
    ]);
    expect(lines[4]).toEqual(["", "Linear 120→84", "as it is", "10,164", "", "10,080", "", "", "", "", ""]);
  });

  it("fits a phone and a wide screen, tables open and tips shown", async () => {
    await page.$$eval("details", (all) => {
      for (const element of all) element.open = true;
    });
    for (const width of [1280, 400]) {
      await page.setViewport({ width, height: 900 });
      await page.waitForFunction(
        () =>
          [...document.querySelectorAll(".plot")].every((box) => {
            const svg = box.querySelector("svg[viewBox]")!;
            return Math.abs(svg.getBoundingClientRect().width - box.clientWidth) < 2;
          }),
        { timeout: 20_000 },
      );
      const card = await cardOf("What accuracy costs");
      await page.$eval(card, (element) => element.scrollIntoView());
      for (const { x, y } of (await dots(card)).filter((_, index) => index % 9 === 0)) {
        await page.mouse.move(x, y);
        await drawn();
        expect(await widthOfPage()).toBe(width);
      }
    }
    // the tip of a bar is on the screen of a phone, and as dark as the page
    const bars = await cardOf("Layer by layer");
    await press(bars, "weights");
    await page.click("#theme");
    await page.$eval(`${bars} .choices`, (element) => element.scrollIntoView());
    await drawn();
    const bar = (await (await page.$$(`${bars} .plot svg[viewBox] rect`))[1]!.boundingBox())!;
    await page.mouse.move(bar.x + bar.width / 2, bar.y + bar.height / 2);
    await drawn();
    const tip = await page.$eval(`${bars} .plot .hint`, (hint) => {
      const { left, right } = hint.getBoundingClientRect();
      const card = hint.closest(".card")!;
      const same = getComputedStyle(hint).backgroundColor === getComputedStyle(card).backgroundColor;
      return { left, right, same, words: hint.textContent };
    });
    expect(tip.words).toMatch(/faster at batch/);
    expect(tip.same).toBe(true);
    expect(tip.left).toBeGreaterThanOrEqual(0);
    expect(tip.right).toBeLessThanOrEqual(400);
    expect(await widthOfPage()).toBe(400);
    expect(report.problems).toEqual([]);
  });
});
