/** The site of docs/, built as `npm run docs` builds it, in headless Chromium. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import type { Browser, ElementHandle, Page } from "puppeteer";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { promisedBy } from "../../docs/.vitepress/samples/code.js";
import { launch, type Served, serve } from "../browser/launch.js";

const root = resolve(import.meta.dirname, "../..");
const site = join(root, "dist/docs");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const problems: string[] = [];
let served: Served;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  expect(existsSync(join(root, "dist/demo")), "npm run build makes the package and the demo page").toBe(true);
  execFileSync("npm", ["run", "--silent", "docs"], { cwd: root, stdio: "pipe", shell: process.platform === "win32" });
  served = await serve(site);
  browser = await launch();
  page = await open();
});
afterAll(async () => {
  await browser?.close();
  await served?.close();
});
afterEach(() => expect(problems.splice(0)).toEqual([]));

async function open(): Promise<Page> {
  const opened = await browser.newPage();
  opened.on("pageerror", (error) => problems.push(String(error)));
  opened.on("request", (request) => {
    if (!/^(?:data|blob):/.test(request.url()) && !request.url().startsWith(served.url))
      problems.push(`asks for ${request.url()}`);
  });
  opened.on("response", (response) => {
    if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
  });
  opened.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) problems.push(message.text());
  });
  return opened;
}

const files = (): string[] =>
  readdirSync(site, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".html"));

it("has no link that leads nowhere", () => {
  const html = new Map(files().map((file) => [join(site, file), readFileSync(join(site, file), "utf8")]));
  const idsOf = new Map([...html].map(([file, text]) => [file, new Set(text.match(/(?<=\bid=")[^"]+/g))]));
  const broken: string[] = [];
  let count = 0;
  for (const [file, text] of html)
    for (const [, link] of text.matchAll(/\b(?:href|src)="([^"]+)"/g)) {
      if (/^[a-z]+:/.test(link!)) continue;
      count++;
      const [path, id] = link!.replaceAll("&amp;", "&").split("#") as [string, string?];
      const to = path ? join(path.startsWith("/") ? site : dirname(file), path.split("?")[0]!) : file;
      const target = to.endsWith("/") ? join(to, "index.html") : to;
      const isThere = existsSync(target) || existsSync(`${target}.html`);
      // the demo page's anchors are its parts
      const isPlace = !id || target.includes("/demo/") || idsOf.get(target)?.has(decodeURIComponent(id));
      if (!isThere || !isPlace) broken.push(`${relative(site, file)}: ${link}`);
    }
  expect(broken).toEqual([]);
  expect(count).toBeGreaterThan(1000);
});

async function sampleOf(name: string): Promise<ElementHandle> {
  await page.goto(`${served.url}${name}.html`);
  await page.waitForSelector(".sample code[contenteditable]");
  return (await page.$(".sample"))!;
}
/** Presses Run; what the sample printed, or why it failed. */
async function run(sample: ElementHandle): Promise<string> {
  await (await sample.$("button.run"))!.click();
  await sample.waitForSelector(".said");
  // there is no such button while it runs
  await sample.waitForSelector("button.run", { timeout: 120_000 });
  return sample.$eval(".said", (said) => said.textContent ?? "");
}

describe("samples", () => {
  it("run, and print what they say", async () => {
    const sample = await sampleOf("guide/tensors");
    const code = await sample.$eval("code", (element) => element.textContent!);
    expect(promisedBy(code)).toHaveLength(3);
    expect(await run(sample)).toBe(promisedBy(code).join("\n"));
    expect(await sample.$eval(".status", (status) => status.textContent)).toMatch(/^[\d.]+ s on .*swiftshader/);
  });

  it("can be changed, and go back", async () => {
    const sample = await sampleOf("index");
    const first = await sample.$eval("code", (element) => element.textContent!);
    await sample.$eval("code", (element) => {
      getSelection()!.selectAllChildren(element);
    });
    await page.keyboard.type('console.log(6 * 7, [0.1 + 0.2]);\nthrow new Error("on purpose");');
    expect(await run(sample)).toBe("42 [0.3]Error: on purpose");
    await (await sample.$("::-p-text(Undo changes)"))!.click();
    expect(await sample.$eval("code", (element) => element.textContent)).toBe(first);
    expect(await sample.$(".said")).toBeNull();
  });

  it("can be stopped, and say which modules there are", async () => {
    const sample = await sampleOf("index");
    const write = (code: string): Promise<void> =>
      sample.$eval("code", (element, text) => void (element.textContent = text), code);
    await write("while (true);");
    await (await sample.$("button.run"))!.click();
    await (await sample.$("::-p-text(Stop)"))!.click();
    expect(await sample.$eval(".status", (status) => status.textContent)).toBe("stopped");
    await write('import { readFileSync } from "node:fs";');
    expect(await run(sample)).toMatch(/^Error: node:fs is not on this page, which has tenfold, tenfold\/ops/);
  });

  it("say so where there is no WebGPU", async () => {
    const sample = await sampleOf("index");
    await page.evaluate(() => {
      delete (Navigator.prototype as { gpu?: unknown }).gpu;
    });
    expect(await run(sample)).toMatch(/^This browser has no WebGPU, which samples need/);
  });
});

it("runs the benchmark where the reader is", async () => {
  await page.goto(`${served.url}benchmarks.html`);
  await (await page.waitForSelector(".on-this-machine button"))!.click();
  const frame = await (await page.waitForSelector("iframe"))!.contentFrame();
  await frame.waitForSelector("#part-kernels .runner");
  await frame.waitForSelector("#takes");
  expect(await frame.$eval("nav", (nav) => getComputedStyle(nav).display)).toBe("none");
});

it("finds words by search", async () => {
  await page.goto(`${served.url}index.html`);
  await (await page.waitForSelector(".VPNavBarSearch button"))!.click();
  await (await page.waitForSelector("#localsearch-input"))!.type("parafac2");
  await page.waitForSelector(".results .result");
  expect((await page.$$(".results .result")).length).toBeGreaterThan(2);
});

it("is for everyone: axe finds nothing, light and dark, and pages fit a phone", async () => {
  for (const name of [
    "index",
    "guide/missing",
    "readme",
    "benchmarks",
    "gallery",
    "guide/coming-from",
    "api/sources",
  ]) {
    await page.setViewport({ width: 390, height: 844 });
    await page.goto(`${served.url}${name}.html`);
    expect(await page.evaluate(() => document.documentElement.scrollWidth), name).toBe(390);
    if (!["index", "guide/missing"].includes(name)) continue;
    await page.setViewport({ width: 1280, height: 900 });
    await page.evaluate(axe);
    for (const theme of ["light", "dark"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
      await page.waitForFunction(
        (isDark) => document.documentElement.classList.contains("dark") === isDark,
        {},
        theme === "dark",
      );
      // colours change gradually
      await new Promise((done) => setTimeout(done, 600));
      const { violations } = await page.evaluate(() => window.axe.run());
      const told = violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${name}, ${theme}: ${id}: ${html}`));
      expect(told).toEqual([]);
    }
  }
});
