/** The notebook's widget, in headless Chromium: the page plays the model that anywidget hands in. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Browser, Page } from "puppeteer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launch } from "../browser/launch.js";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "widget-"));
let server: Server;
let browser: Browser;
let page: Page;

/** Traits as anywidget has them: numbers come as a DataView that begins anywhere in a message. */
const PAGE = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="here"></div><script type="module">
  import widget from "/tenfold.js";
  window.start = (values) => {
    const saved = [];
    const listeners = new Map();
    let changed = {};
    const model = {
      get: (name) => values[name],
      set: (name, value) => { values[name] = value; changed[name] = value; },
      save_changes: () => {
        saved.push(Object.keys(changed));
        for (const name of Object.keys(changed)) for (const run of listeners.get("change:" + name) ?? []) run();
        changed = {};
      },
      on: (event, run) => listeners.set(event, [...(listeners.get(event) ?? []), run]),
      off: (event, run) => listeners.set(event, listeners.get(event).filter((other) => other !== run)),
    };
    const here = document.getElementById("here");
    here.textContent = "";
    const ends = [widget.initialize({ model }), widget.render({ model, el: here })];
    window.run = { values, saved, listeners, end: () => ends.forEach((end) => end()) };
  };
  window.isReady = true;
</script>`;

beforeAll(async () => {
  expect(existsSync(join(root, "dist/index.js")), "npm run build makes the package").toBe(true);
  const words = ["vite", "build", "--config", "python/tenfold/widget/vite.config.ts", "--outDir", folder];
  execFileSync("npx", [...words, "--logLevel", "warn"], { cwd: root });
  server = createServer((request, response) => {
    const isModule = request.url === "/tenfold.js";
    response.setHeader("content-type", isModule ? "text/javascript" : "text/html");
    response.end(isModule ? readFileSync(join(folder, "tenfold.js")) : PAGE);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  browser = await launch();
  page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await page.waitForFunction("window.isReady");
}, 120_000);
afterAll(async () => {
  await browser?.close();
  server?.close();
  rmSync(folder, { recursive: true });
});

/** Runs the widget until it is over: what it says then, and its traits. */
async function run(options: object, values: readonly number[], shape: readonly number[]) {
  await page.evaluate(
    ({ options, values, shape }) => {
      const bytes = new Uint8Array(4 * values.length + 3);
      bytes.set(new Uint8Array(Float32Array.from(values).buffer), 3);
      const x = new DataView(bytes.buffer, 3);
      (window as never as { start(values: object): void }).start({
        ...{ x, shape, options, state: "waiting", failure: "", adapter: "", iteration: 0, relative_error: 1 },
      });
    },
    { options, values, shape },
  );
  await page.waitForFunction('["done", "failed"].includes(window.run.values.state)', { timeout: 100_000 });
  return await page.evaluate(() => {
    const { values, saved } = (window as never as { run: { values: Record<string, unknown>; saved: string[][] } }).run;
    const numbers = (view: DataView) => [
      ...new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)),
    ];
    return {
      ...{ state: values.state as string, failure: values.failure as string, error: values.relative_error as number },
      text: document.querySelector('[role="status"]')!.textContent!,
      weights: values.weights_bytes ? numbers(values.weights_bytes as DataView) : [],
      factors: ((values.factors_bytes as DataView[] | undefined) ?? []).map(numbers),
      saved,
    };
  });
}

it("decomposes what Python sends, and hands the factors back", { timeout: 120_000 }, async () => {
  const shape = [6, 5, 4];
  const planted = shape.map((extent, mode) =>
    Array.from({ length: 2 * extent }, (_, n) => Math.sin(1 + n * n + 7 * mode)),
  );
  const full = (weights: readonly number[], factors: readonly (readonly number[])[]) =>
    Array.from({ length: 120 }, (_, at) => {
      const index = [Math.floor(at / 20), Math.floor(at / 4) % 5, at % 4];
      return weights.reduce(
        (sum, weight, r) => sum + index.reduce((term, i, n) => term * factors[n]![2 * i + r]!, weight),
        0,
      );
    });
  const values = full([1, 1], planted);
  const { state, text, error, weights, factors, saved } = await run({ rank: 2, seed: 1 }, values, shape);
  expect(state).toBe("done");
  expect(error).toBeLessThan(1e-4);
  expect(factors.map(({ length }) => length)).toEqual([12, 10, 8]);
  for (const [at, value] of full(weights, factors).entries()) expect(value).toBeCloseTo(values[at]!, 3);
  expect(text).toMatch(
    /^CP of 6×5×4, rank 2: error \S+ after \d+ iterations \(.+\)\. The next cell has \.weights and \.factors\.$/,
  );
  // all of a result is one message, so that Python never sees a part of it
  expect(saved.at(-1)).toEqual(expect.arrayContaining(["weights_bytes", "factors_bytes", "state"]));
  // the module is one file of the Python package
  expect(statSync(join(folder, "tenfold.js")).size).toBeLessThan(600_000);
});

it("says what is wrong", { timeout: 60_000 }, async () => {
  const { state, failure, text } = await run({ rank: 0 }, [1, 2, 3, 4], [2, 2]);
  expect(state).toBe("failed");
  expect(failure).toBe("cp: rank 0, needs a positive whole number");
  expect(text).toContain(failure);
});
