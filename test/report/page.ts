import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import type { Page } from "puppeteer";
import { build } from "vite";
import type { PageData } from "../../src/report/data.js";
import { renderReport } from "../../src/report/render.js";
import { launch } from "../browser/launch.js";

export interface ReportPage {
  page: Page;
  /** errors, warnings and requests of the page until now */
  problems: string[];
  /** bytes of the page without its data */
  size: number;
  close(): Promise<void>;
}

/** The report, built, filled and opened in a headless browser, 1280 pixels wide. */
export async function openReport(data: PageData): Promise<ReportPage> {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-report-"));
  const problems: string[] = [];
  const config = "src/report/studies/vite.config.ts";
  await build({ configFile: config, logLevel: "error", build: { outDir: folder } });
  const file = join(folder, "index.html");
  const template = brotliDecompressSync(readFileSync(join(folder, "report.html.br"))).toString();
  writeFileSync(file, renderReport(template, data));
  const browser = await launch();
  const page = await browser.newPage();
  page.on("console", (message) => void (["error", "warn"].includes(message.type()) && problems.push(message.text())));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => void (/^https?:/.test(request.url()) && problems.push(`asks for ${request.url()}`)));
  await page.setViewport({ width: 1280, height: 900 });
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector(".plot svg");
  return {
    page,
    problems,
    size: Buffer.byteLength(template),
    async close() {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
