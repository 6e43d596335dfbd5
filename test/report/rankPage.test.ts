import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RankFit } from "../../src/decompositions/index.js";
import type { RankData } from "../../src/report/data.js";
import { openReport, type ReportPage } from "./page.js";

const CONSISTENCIES = [100, 99.2, 96.8, 12.4, -840, null];
const ranks = CONSISTENCIES.map(
  (coreConsistency, at): RankFit => ({
    rank: at + 1,
    relativeError: [0.62, 0.31, 0.0201, 0.0197, 0.0194, 0.0191][at]!,
    explained: 1 - [0.62, 0.31, 0.0201, 0.0197, 0.0194, 0.0191][at]! ** 2,
    coreConsistency,
    agreeing: [4, 4, 4, 1, 2, 1][at]!,
    starts: 4,
    splitHalf: at === 5 ? null : [0.999, 0.998, 0.995, 0.21, 0.12][at]!,
    heldOut: [0.63, 0.33, 0.0203, 0.0204, 0.021, 0.022][at]!,
    degeneracy: [1, 1.1, 1.2, 3.4, 48, 5][at]!,
    congruence: [0, -0.1, -0.2, -0.5, -0.97, -0.6][at]!,
    iterations: 10 + 40 * at,
    converged: at < 5,
    objections: at < 3 ? [] : [`core consistency is <b>${coreConsistency}</b>, below 80 %`, "1 of 4 starts agree"],
  }),
);
const data: RankData = {
  kind: "ranks",
  adapter: "mesa software (llvmpipe)",
  data: "X.npy: 20×15×17, 5,100 entries",
  command: "tenfold rank X.npy --max 6",
  date: "2024-05-01T10:00:00.000Z",
  ranks,
  suggestion: 3,
  reason: "rank 3 is the highest up to 6 without objections: core consistency is 97 %, 4 of 4 starts agree. Rank 4: …",
  halved: 0,
  seed: 7,
};

let report: ReportPage;
beforeAll(async () => {
  report = await openReport(data);
});
afterAll(() => report?.close());

describe("the page of tenfold rank", () => {
  it("shows the suggestion, both charts and every rank, without a word to the console", async () => {
    const { page, problems } = report;
    expect(await page.title()).toBe("How many components? 3 are suggested — tenfold");
    expect(await page.$eval("#about", (element) => element.textContent)).toBe(
      "X.npy: 20×15×17, 5,100 entries; mesa software (llvmpipe); tenfold rank X.npy --max 6, seed 7; 2024-05-01",
    );
    await page.waitForFunction(() => document.querySelectorAll(".plot svg").length >= 2);
    const words = await page.$eval("#main", (element) => (element as HTMLElement).innerText);
    for (const expected of ["Rank 3 is the highest up to 6", "Core consistency and agreement", "Every rank"])
      expect(words).toContain(expected);
    // text, not markup
    expect(words).toContain("core consistency is <b>12.4</b>, below 80 %");
    const rows = await page.$$eval("tbody tr", (all) => all.map((row) => (row as HTMLElement).innerText.split("\t")));
    expect(rows.length).toBe(6);
    expect(rows[2]).toEqual(["3 ←", "0.020100", "99.960 %", "96.8 %", "4 of 4", "0.995", "0.02030", "1.200", "90"]);
    expect(rows[5]!.slice(3)).toEqual(["–", "1 of 4", "–", "0.02200", "5.000", "210 (not converged)"]);
    expect(problems).toEqual([]);
  });

  it("is drawn in a narrow window and without a suggestion, too", async () => {
    await report.page.setViewport({ width: 390, height: 800 });
    await report.page.waitForFunction(() => document.querySelector(".plot svg")!.getBoundingClientRect().width < 390);
    expect(await report.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    if (process.env.SCREENSHOT) {
      await report.page.screenshot({ path: `${process.env.SCREENSHOT}-narrow.png` });
      await report.page.setViewport({ width: 1280, height: 1100 });
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await report.page.screenshot({ path: `${process.env.SCREENSHOT}.png` });
    }
    expect(report.problems).toEqual([]);
  });
});
