/** The programs of examples/, on the built package: in Node, and in headless Chromium as `examples/serve.mjs` serves them. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Browser, Page } from "puppeteer";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { launch } from "../browser/launch.js";

const root = resolve(import.meta.dirname, "../..");
const problems: string[] = [];
let server: ChildProcess;
let base = "";
let browser: Browser;

beforeAll(async () => {
  expect(existsSync(join(root, "dist/index.js")), "npm run build makes the package").toBe(true);
  server = spawn(process.execPath, ["examples/serve.mjs", "."], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const said = await new Promise<string>((done) => server.stdout!.once("data", (data) => done(String(data))));
  base = /http:\S+examples\//.exec(said)![0];
  browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  server?.kill();
});
afterEach(() => expect(problems.splice(0)).toEqual([]));

async function open(name: string): Promise<Page> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("response", (response) => {
    if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(new URL("/", base).href) && !request.url().startsWith("data:"))
      problems.push(`asks for ${request.url()}`);
  });
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) problems.push(message.text());
  });
  await page.goto(`${base}${name}/`);
  return page;
}

it("has no example that is not tested here", () => {
  const folders = readdirSync(join(root, "examples"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual(["import-map", "node", "shared-device", "worker"]);
});

it("node: finds the three dyes", () => {
  const said = execFileSync(process.execPath, ["examples/node/index.mjs"], { cwd: root, encoding: "utf8" });
  expect(said).toMatch(/^error \d\.\de-\d, 4 of 4 starts agree$/m);
  const places = [...said.matchAll(/emission (\d+), excitation (\d+)/g)].map(([, em, ex]) => `${em} ${ex}`);
  expect(places.sort()).toEqual(["15 10", "30 20", "45 30"]);
});

it("import-map: decomposes in a page without a bundler", async () => {
  const page = await open("import-map");
  await page.waitForFunction(() => /^error /.test(document.body.textContent ?? ""), { timeout: 120_000 });
  const text = await page.evaluate(() => document.body.textContent);
  expect(Number(/error (\S+)/.exec(text!)![1])).toBeLessThan(1e-6);
  await page.close();
});

it("worker: computes there, and the numbers change hands", async () => {
  const page = await open("worker");
  await page.waitForFunction(() => document.querySelector("#answer")?.textContent !== "computing…", {
    timeout: 120_000,
  });
  const text = await page.$eval("#answer", (element) => element.textContent);
  const [, error] = /^error (\S+); factors of 16, 14, 12 numbers; 0 left here$/.exec(text!) ?? [];
  expect(Number(error), text!).toBeLessThan(1e-5);
  await page.close();
});

it("shared-device: draws what it computes, frame by frame", async () => {
  const page = await open("shared-device");
  await page.waitForFunction(() => Number(document.body.dataset.frames) > 3, { timeout: 120_000 });
  // blue points on white, in all four quarters of the canvas
  const drawn = await page.evaluate(async () => {
    await new Promise(requestAnimationFrame);
    const canvas = document.querySelector("canvas")!;
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const context = copy.getContext("2d")!;
    context.drawImage(canvas, 0, 0);
    const { data } = context.getImageData(0, 0, copy.width, copy.height);
    const quarters = [0, 0, 0, 0];
    for (let at = 0; at < data.length / 4; at++) {
      const [x, y] = [at % copy.width, Math.floor(at / copy.width)];
      if (data[4 * at + 2]! > 100 && data[4 * at]! < 100)
        quarters[Math.floor((2 * x) / copy.width) + 2 * Math.floor((2 * y) / copy.height)]!++;
    }
    return quarters;
  });
  for (const pixels of drawn) expect(pixels).toBeGreaterThan(20);
  await page.close();
});
