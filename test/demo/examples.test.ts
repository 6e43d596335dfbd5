/** The programs of examples/, on the built package: in Node, and in headless Chromium as `examples/serve.mjs` serves them. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Browser, Page } from "puppeteer";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { readMnistData } from "../../src/node/index.js";
import { launch } from "../browser/launch.js";
import { labelledTexts, labelOf, rowsOf, writeTextClassifier } from "../fixtures/textClassifier.js";

const root = resolve(import.meta.dirname, "../..");
const problems: string[] = [];
let server: ChildProcess;
let base = "";
let browser: Browser;

beforeAll(async () => {
  expect(existsSync(join(root, "dist/index.js")), "npm run build makes the package").toBe(true);
  server = spawn(process.execPath, ["examples/serve.mjs", "import-map"], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said = await new Promise<string>((done) => server.stdout!.once("data", (data) => done(String(data))));
  base = /http:\S+examples\//.exec(said)![0];
  browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  server?.kill();
});
afterEach(() => expect(problems.splice(0)).toEqual([]));

async function open(name: string, prepare?: (page: Page) => Promise<unknown>): Promise<Page> {
  const page = await browser.newPage();
  await prepare?.(page);
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
  expect(folders.map(({ name }) => name).sort()).toEqual([
    ...["deno", "import-map", "jax-js", "node", "notebook", "onnx-node", "onnx-web", "onnx-worker"],
    ...["shared-device", "tfjs", "three", "transformers-js", "typegpu", "worker"],
  ]);
});

it("node: finds the three dyes", () => {
  const said = execFileSync(process.execPath, ["examples/node/index.mjs"], { cwd: root, encoding: "utf8" });
  expect(said).toMatch(/^error \d\.\de-\d, 4 of 4 starts agree$/m);
  const places = [...said.matchAll(/emission (\d+), excitation (\d+)/g)].map(([, em, ex]) => `${em} ${ex}`);
  expect(places.sort()).toEqual(["15 10", "30 20", "45 30"]);
});

it("onnx-node: compresses a network, and verifies it", { timeout: 300_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-example-"));
  try {
    const script = join(root, "examples/onnx-node/index.mjs");
    const said = execFileSync(process.execPath, [script], { cwd: folder, encoding: "utf8" });
    const [, before, after] = /^(\d+) bytes to (\d+)$/m.exec(said)!;
    expect(Number(after)).toBeLessThan(0.4 * Number(before));
    expect(statSync(join(folder, "small.onnx")).size).toBe(Number(after));
    expect(Number(/divided by ([\d.]+)/.exec(said)![1])).toBeGreaterThan(1.9);
    expect(Number(/error ([\d.]+), same class/.exec(said)![1])).toBeLessThan(0.1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe("transformers-js", () => {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-example-"));
  const [before, after, calibration] = ["classifier", "small", "texts.txt"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const learnt = 400;
  const texts = labelledTexts();
  const unseen = texts.slice(learnt, learnt + 300);
  const run = (script: string, ...words: string[]): string =>
    execFileSync(process.execPath, [join(root, "examples/transformers-js", script), ...words], { encoding: "utf8" });

  beforeAll(async () => {
    await writeTextClassifier(before, texts.slice(0, learnt));
    writeFileSync(join(before, "onnx/model_quantized.onnx"), "a version of the model before");
    writeFileSync(
      calibration,
      texts
        .slice(0, learnt)
        .map(({ text }) => `${text}\n`)
        .join(""),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("compresses a text classifier by texts", { timeout: 300_000 }, async () => {
    const said = run("compress.mjs", before, after, calibration, "2");
    expect(Number(/divided by ([\d.]+)/.exec(said)![1])).toBeGreaterThanOrEqual(2);
    const [, kept, error, same] = /^on (\d+) texts that were kept: error ([\d.]+), same class ([\d.]+) %$/m.exec(said)!;
    expect([Number(kept), Number(error) < 0.2, Number(same) > 97]).toEqual([learnt / 5, true, true]);
    const files = (of: string): string[] => readdirSync(of, { recursive: true, encoding: "utf8" }).sort();
    const all = ["config.json", "onnx", "onnx/model.onnx", "tokenizer.json", "tokenizer_config.json"];
    expect(files(after)).toEqual(all.map((name) => join(name)));
    for (const name of all.filter((one) => one.endsWith("json")))
      expect(readFileSync(join(after, name))).toEqual(readFileSync(join(before, name)));
    // texts that neither has seen
    const models = [before, after].map((one) => new Uint8Array(readFileSync(join(one, "onnx/model.onnx"))));
    expect(models[1]!.length).toBeLessThan(0.6 * models[0]!.length);
    const labels = await Promise.all(
      models.map(async (bytes) =>
        (
          await rowsOf(
            bytes,
            unseen.map(({ text }) => text),
          )
        ).map(labelOf),
      ),
    );
    const right = labels.map((list) => list.filter((label, at) => label === unseen[at]!.label).length / unseen.length);
    expect(Math.min(...right)).toBeGreaterThan(0.95);
    expect(right[1]).toBeGreaterThan(right[0]! - 0.01);
  });

  it("says what is missing, and writes nothing", () => {
    const out = join(folder, "none");
    const outcome = (...words: string[]) =>
      spawnSync(process.execPath, [join(root, "examples/transformers-js/compress.mjs"), ...words], {
        encoding: "utf8",
      });
    expect(outcome(before, out).stderr).toContain("usage: node compress.mjs FOLDER OUT TEXTS.txt");
    const beyond = outcome(before, out, calibration, "1000");
    expect([beyond.status, /no choice of ranks divides the multiplications by 1000/.test(beyond.stderr)]).toEqual([
      1,
      true,
    ]);
    expect(existsSync(out)).toBe(false);
  });

  // 480 MB with its runtimes, too large for a dependency of development: npm install --no-save @huggingface/transformers
  it.runIf(existsSync(join(root, "node_modules/@huggingface/transformers")))("runs the pipeline on both", () => {
    const some = unseen.slice(0, 40);
    const said = run("pipeline.mjs", "text-classification", before, after, ...some.map(({ text }) => text));
    for (const of of [before, after]) {
      const lines = said.split("\n").filter((line) => line.startsWith(`${of}: `) && line.includes('"label"'));
      expect(lines).toHaveLength(some.length);
      const right = some.filter(({ text, label }, at) => lines[at]!.startsWith(`${of}: ${text}: [{"label":"${label}"`));
      expect(right.length).toBeGreaterThanOrEqual(37);
    }
  });
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

/** What the example of this name has to say in the end. */
async function answerOf(name: string): Promise<string> {
  const page = await open(name);
  const text = await page.waitForFunction(
    () => {
      const said = document.querySelector("#answer")?.textContent;
      return said === "computing…" ? null : said;
    },
    { timeout: 60_000 },
  );
  const answer = (await text.jsonValue())!;
  await page.close();
  return answer;
}

it("typegpu: takes a table from TypeGPU's buffer, and gives it points", async () => {
  const said = await answerOf("typegpu");
  const [, apart, points] = /^explained 1\.0000; two samples are ([\d.]+) apart, their points ([\d.]+)$/.exec(said)!;
  // a rotation into the plane keeps distances
  expect(Number(apart)).toBeGreaterThan(1);
  expect(Math.abs(Number(points) - Number(apart))).toBeLessThanOrEqual(2e-4);
});

it.each(["tfjs", "jax-js"])("%s: multiplies its tensors on its device as it does", async (name) => {
  const said = await answerOf(name);
  const [, largest, difference] = /^largest entry ([\d.]+), largest difference (\S+)$/.exec(said)!;
  // the same numbers in f64
  const [I, J, K, R] = [8, 7, 6, 2];
  const entries = Array.from({ length: I * R }, (_, at) => {
    const [i, r] = [Math.floor(at / R), at % R];
    let sum = 0;
    for (let j = 0; j < J; j++)
      for (let k = 0; k < K; k++) sum += Math.sin((i * J + j) * K + k) * Math.cos(j * R + r) * Math.sqrt(k * R + r);
    return Math.abs(sum);
  });
  expect(Number(largest)).toBeCloseTo(Math.max(...entries), 2);
  expect(Number(difference)).toBeLessThan(1e-4);
});

it("onnx-web: the network's answers are read where the runtime left them", async () => {
  const said = await answerOf("onnx-web");
  const [, there, here] = /^8×10 answers, sum of squares ([\d.]+) there and ([\d.]+) here$/.exec(said)!;
  expect(Number(there)).toBeGreaterThan(0.1);
  expect(Math.abs(Number(here) / Number(there) - 1)).toBeLessThan(1e-4);
});

it("onnx-worker: budgets go on from each other in a worker, and digits are read there", {
  timeout: 300_000,
}, async () => {
  const page = await open("onnx-worker");
  const ask = (divisor: number): Promise<void> =>
    page.$eval(
      "#budget",
      (input, value) => {
        (input as HTMLInputElement).value = value;
        input.dispatchEvent(new Event("input"));
      },
      String(divisor),
    );
  const done = (divisor: number): Promise<unknown> =>
    page.waitForFunction(
      (name) =>
        document.querySelector("#words")!.textContent === "done" &&
        document.querySelector("tr.shown th")?.textContent === name &&
        document.querySelector("#said")!.textContent!.includes(name),
      { timeout: 200_000 },
      `÷ ${divisor}`,
    );
  const answers = async (): Promise<number[]> =>
    [...(await page.$eval("#said", (said) => said.textContent!)).matchAll(/reads (\d)/g)].map(([, n]) => Number(n));
  // the page hears of every step
  const heard = await page.evaluateHandle(() => {
    const words = new Set<string>();
    const line = document.querySelector("#words")!;
    new MutationObserver(() => words.add(line.textContent!)).observe(line, { childList: true });
    return words;
  });
  await done(2);
  expect(await heard.evaluate((words) => words.size)).toBeGreaterThan(4);
  // a budget that takes the place of one that is worked on, and that one after it
  await ask(3);
  await ask(4);
  await done(4);
  await ask(3);
  await done(3);
  const rows = await page.$$eval("#rows tr", (lines) =>
    lines.map((line) => [...line.children].map((cell) => cell.textContent!)),
  );
  expect(rows.map(([name]) => name)).toEqual(["the original", "÷ 2", "÷ 3", "÷ 4"]);
  const sizes = rows.map(([, size]) => Number.parseInt(size!, 10));
  expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
  expect(sizes[3]).toBeLessThan(0.5 * sizes[0]!);
  for (const [, , speed, same] of rows.slice(1)) {
    expect(speed).toMatch(/^\d+\.\d ×$/);
    const [, right, of] = /^(\d+) of (\d+)$/.exec(same!)!;
    expect([Number(of), Number(right) > 28]).toEqual([32, true]);
  }
  // digits of t10k, with their labels
  const labels = readMnistData().testLabels!;
  let right = 0;
  for (let at = 1000; at < 1010; at++) {
    const read = await answers();
    expect(read).toHaveLength(2);
    right += read.filter((digit) => digit === labels[at]).length;
    await page.evaluate(() => {
      document.querySelector("#said")!.textContent = "";
      document.querySelector<HTMLElement>("#next")!.click();
    });
    await page.waitForFunction(() => document.querySelector("#said")!.textContent!.includes("÷"));
  }
  expect(right).toBeGreaterThanOrEqual(19);
  // and one that is drawn
  await page.click("#clear");
  const { x, y } = (await (await page.$("#digit"))!.boundingBox())!;
  await page.mouse.move(x + 60, y + 50);
  await page.mouse.down();
  for (const [right, down] of [
    [135, 50],
    [120, 90],
    [95, 155],
  ] as const)
    await page.mouse.move(x + right, y + down, { steps: 8 });
  await page.mouse.up();
  await page.waitForFunction(() => /reads 7, .* reads 7/.test(document.querySelector("#said")!.textContent!));
  await page.close();
});

it("notebook: the model follows the slider", async () => {
  const page = await open("notebook");
  const says = (start: string): Promise<unknown> =>
    page.waitForFunction(
      (words) => document.querySelector("#answer")!.textContent!.startsWith(words),
      { timeout: 120_000 },
      start,
    );
  const error = async (): Promise<number> =>
    Number(/error (\S+)/.exec(await page.$eval("#answer", (element) => element.textContent!))![1]);
  await says("1 of them");
  expect(await error()).toBeGreaterThan(0.1);
  await page.focus("#slider");
  await page.keyboard.press("ArrowRight");
  await says("2 of them");
  expect(await error()).toBeLessThan(1e-5);
  expect((await page.$$("#figure path")).length).toBe(2);
  await page.close();
});

/** Whether a runtime is in the PATH: Deno and Bun are too large for dependencies of development. */
const has = (runtime: string): boolean => spawnSync(runtime, ["--version"]).status === 0;

it.runIf(has("deno"))("deno: finds the model on Deno's own WebGPU", () => {
  const said = execFileSync("deno", ["run", "-A", "examples/deno/main.js"], { cwd: root, encoding: "utf8" });
  expect(said).toMatch(/^error \d\.\de-[67]\nfactors of 8×2, 7×2, 6×2$/m);
});

it.runIf(has("bun"))("node: runs under Bun, too", () => {
  const said = execFileSync("bun", ["examples/node/index.mjs"], { cwd: root, encoding: "utf8" });
  expect(said).toMatch(/^error \d\.\de-\d, 4 of 4 starts agree$/m);
});

/**
 * Lets the page's canvas be a texture, as headless Chromium loses its GPU process where a WebGPU canvas is shown on a software adapter, and keeps
 * the last buffer of vertices of `size` bytes.
 */
async function standIn(page: Page, size: number): Promise<void> {
  await page.evaluateOnNewDocument((bytes) => {
    const create = GPUDevice.prototype.createBuffer;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      const isDrawn = (descriptor.usage & GPUBufferUsage.VERTEX) !== 0 && descriptor.size === bytes;
      const buffer = create.call(this, isDrawn ? { ...descriptor, usage: descriptor.usage | 4 } : descriptor);
      if (isDrawn) Object.assign(window, { drawn: buffer, drawnBy: this });
      return buffer;
    };
    const getContext = HTMLCanvasElement.prototype.getContext as (...args: unknown[]) => unknown;
    HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, ...args: unknown[]) {
      if (args[0] !== "webgpu") return getContext.apply(this, args);
      return {
        configure: ({ device, format }: GPUCanvasConfiguration) =>
          Object.assign(window, { shown: device.createTexture({ size: [480, 480], format, usage: 0x11 }) }),
        getCurrentTexture: () => (window as unknown as { shown: GPUTexture }).shown,
        unconfigure: () => {},
      };
    } as HTMLCanvasElement["getContext"];
  }, size);
}

/** The numbers that the page draws from, and how many pixels of each quarter of its picture are darker than white. */
const drawn = (page: Page): Promise<{ points: number[]; inked: number[] }> =>
  page.evaluate(async () => {
    type Drawn = { drawn: GPUBuffer; drawnBy: GPUDevice; shown: GPUTexture };
    const { drawn, drawnBy: device, shown } = window as unknown as Drawn;
    const [vertices, pixels] = [drawn.size, 2048 * 480].map((size) => device.createBuffer({ size, usage: 0x9 })) as [
      GPUBuffer,
      GPUBuffer,
    ];
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(drawn, 0, vertices, 0, drawn.size);
    encoder.copyTextureToBuffer({ texture: shown }, { buffer: pixels, bytesPerRow: 2048 }, [480, 480]);
    device.queue.submit([encoder.finish()]);
    await Promise.all([vertices.mapAsync(1), pixels.mapAsync(1)]);
    const bytes = new Uint8Array(pixels.getMappedRange());
    const inked = [0, 0, 0, 0];
    for (let at = 0; at < 480 * 480; at++) {
      const [x, y] = [at % 480, Math.floor(at / 480)];
      const green = bytes[2048 * y + 4 * x + 1]!;
      if (green > 20 && green < 200) inked[Math.floor(x / 240) + 2 * Math.floor(y / 240)]!++;
    }
    return { points: [...new Float32Array(vertices.getMappedRange().slice(0))], inked };
  });

it("shared-device: multiplies in the page's frames, into the buffer from which it draws", async () => {
  const page = await open("shared-device", (opened) => standIn(opened, 4096));
  await page.waitForFunction(() => Number(document.body.dataset.frames) > 3, { timeout: 120_000 });
  const { points, inked } = await drawn(page);
  expect(Math.min(...inked)).toBeGreaterThan(20);
  expect(points).toHaveLength(1024);
  const angle = (n: number, r: number): number => (2 * Math.PI * n * (r + 1)) / 511;
  // over one round the shapes are orthogonal: their weights follow from the points
  const weights = [0, 1, 2, 3, 4].map((r) => {
    let sum = 0;
    for (let n = 0; n < 511; n++)
      sum += points[2 * n]! * Math.cos(angle(n, r)) + points[2 * n + 1]! * Math.sin(angle(n, r));
    return sum / 511;
  });
  expect(weights[0]).toBeCloseTo(0.5, 4);
  for (const [r, weight] of weights.entries()) expect(Math.abs(weight)).toBeLessThanOrEqual(0.5 / (r + 1) + 1e-4);
  for (let n = 0; n < 512; n++) {
    const along = weights.reduce((sum, weight, r) => sum + weight * Math.cos(angle(n, r)), 0);
    const up = weights.reduce((sum, weight, r) => sum + weight * Math.sin(angle(n, r)), 0);
    expect(Math.abs(points[2 * n]! - along) + Math.abs(points[2 * n + 1]! - up)).toBeLessThan(1e-4);
  }
  await page.close();
});

it("three: multiplies on the renderer's device, into the positions that it draws", async () => {
  const VERTICES = 37_500;
  const page = await open("three", (opened) => standIn(opened, VERTICES * 16));
  await page.waitForFunction(() => Number(document.body.dataset.frames) > 2, { timeout: 120_000 });
  const { points, inked } = await drawn(page);
  expect(Math.min(...inked)).toBeGreaterThan(1000);
  // rows are 4 apart; every vertex has gone out or in along its ray, by no more than all waves together
  const radii = Array.from({ length: VERTICES }, (_, n) => Math.hypot(...points.slice(4 * n, 4 * n + 3)));
  expect(Math.min(...radii)).toBeGreaterThan(0.69);
  expect(Math.max(...radii)).toBeLessThan(1.31);
  expect(Math.max(...radii) - Math.min(...radii)).toBeGreaterThan(0.01);
  await page.close();
});
