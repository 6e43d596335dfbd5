/**
 * The demo page in a real browser on the software adapter, built and opened for the test file that imports this, and what
 * its tests do with it.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "puppeteer";
import { build } from "vite";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { wgsl } from "../../shaders/loader.js";
import { launch, type Served, serve } from "../browser/launch.js";
import type { expected as Expected } from "./expected.js";

export const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const folder = mkdtempSync(join(tmpdir(), "tenfold-demo-"));
const problems: string[] = [];
let browser: Browser;
export let served: Served;
export let page: Page;
/** files that the page asked for */
export const loaded = new Set<string>();
/** milliseconds by the clock of every task over 50: told, not judged, since other programs take their share of the time */
const longTasks: string[] = [];

declare global {
  interface Window {
    longTasks: number[];
    axe: { run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> };
  }
}

beforeAll(async () => {
  await build({ configFile: "bench/page/vite.config.ts", logLevel: "error", build: { outDir: folder } });
  // what the page's numbers are held against: the library by itself, in the same browser
  await build({
    configFile: false,
    logLevel: "error",
    plugins: [wgsl()],
    build: {
      outDir: folder,
      emptyOutDir: false,
      target: "es2022",
      lib: { entry: "test/demo/expected.ts", formats: ["es"], fileName: () => "expected.js" },
    },
  });
  served = await serve(folder);
  browser = await launch();
  page = await open();
});
afterAll(async () => {
  await browser?.close();
  await served?.close();
  rmSync(folder, { recursive: true, force: true });
  console.log(longTasks.length ? `tasks over 50 ms: ${longTasks.join(", ")}` : "no task over 50 ms");
});

// neither error nor warning in the console, and no request to another host
afterEach(() => expect(problems.splice(0)).toEqual([]));

export async function open(): Promise<Page> {
  const opened = await browser.newPage();
  opened.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) problems.push(message.text());
  });
  opened.on("pageerror", (error) => problems.push(String(error)));
  opened.on("response", (response) => {
    const url = response.url();
    if (!url.startsWith(served.url)) {
      if (/^https?:/.test(url)) problems.push(`asks for ${url}`);
      return;
    }
    loaded.add(url.slice(served.url.length).split("#")[0] || "index.html");
  });
  await opened.evaluateOnNewDocument(() => {
    window.longTasks = [];
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.longTasks.push(duration);
    });
    observer.observe({ type: "longtask" });
  });
  return opened;
}

/**
 * Goes there in the page that is open, whose engine has its pipelines: by way of Kernels, which runs nothing by itself. Loads
 * the page where that is asked for, and for Kernels.
 */
export async function visit(hash: string, on = page, { reload = false } = {}): Promise<void> {
  const isOpen = await on.evaluate(() => "demo" in window && !document.querySelector("#lost, #no-gpu"));
  if (reload || !isOpen || hash.startsWith("kernels")) {
    await on.goto("about:blank");
    await on.goto(`${served.url}#${hash}`);
    return;
  }
  await on.evaluate(() => {
    location.hash = "kernels";
  });
  await on.waitForSelector("#part-kernels .runner");
  await on.evaluate(() => window.demo.leaving);
  await on.evaluate((next) => {
    location.hash = next;
  }, hash);
  await on.waitForSelector("main > div:not(#part-kernels) .runner");
}

export const state = (on = page): Promise<string> =>
  on.$eval(".runner", (element) => (element as HTMLElement).dataset.state ?? "");
export const status = (on = page): Promise<string> =>
  on.$eval(".runner .status", (element) => element.textContent ?? "");

/** Waits for the run to end in this way; notes what long tasks there were. */
export async function ends(how = "done", on = page, timeout = 120_000): Promise<void> {
  // the part's own, which comes first; another may have ended before
  await on.waitForFunction(
    () => /^(done|failed|stopped)$/.test(document.querySelector<HTMLElement>(".runner")?.dataset.state ?? ""),
    { timeout },
  );
  expect(`${await state(on)}: ${await status(on)}`).toMatch(new RegExp(`^${how}: `));
  await noteLongTasks(on);
}
export async function noteLongTasks(on = page): Promise<void> {
  const part = await on.evaluate(() => location.hash.slice(1).split("?")[0] ?? "");
  const times = await on.evaluate(() => window.longTasks.splice(0));
  longTasks.push(...times.map((ms) => `${part} ${Math.round(ms)}`));
}
interface TraceEvent {
  name: string;
  ph: string;
  pid: number;
  tid: number;
  /** microseconds of the thread's own time; left out where it is 0 */
  tdur?: number;
  args: { name?: string };
}

/**
 * The longest task of the main thread while this goes on, in milliseconds of that thread's own time: what other threads
 * and programs do at the same time does not count, however busy the machine is.
 */
export async function longestTask(work: () => Promise<void>): Promise<number> {
  await page.tracing.start({ categories: ["-*", "toplevel"] });
  await work();
  const trace = new TextDecoder().decode(await page.tracing.stop());
  const { traceEvents } = JSON.parse(trace) as { traceEvents: TraceEvent[] };
  const threadOf = ({ pid, tid }: TraceEvent): string => `${pid} ${tid}`;
  const main = new Set(
    traceEvents.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain").map(threadOf),
  );
  const times = traceEvents
    .filter((event) => event.ph === "X" && /RunTask$/.test(event.name) && main.has(threadOf(event)))
    .flatMap(({ tdur }) => (tdur ? [tdur / 1000] : []));
  expect(times.length).toBeGreaterThan(100);
  const longest = times.reduce((most, ms) => Math.max(most, ms), 0);
  console.log(`longest task: ${longest.toFixed(0)} ms`);
  return longest;
}

const leastByStep = new Map<string, number>();
/**
 * Holds where no task of this step takes 50 ms, in this try of the test or in one before: a task that is too long is so
 * every time, and a busy machine makes others long now and then. Tests that ask this have `RETRIED`.
 */
export async function holdsNoLongTask(work: () => Promise<void>, step = "all of it"): Promise<void> {
  const key = `${expect.getState().currentTestName}: ${step}`;
  const least = Math.min(await longestTask(work), leastByStep.get(key) ?? Number.POSITIVE_INFINITY);
  leastByStep.set(key, least);
  expect(least, step).toBeLessThan(50);
}
export const RETRIED = { retry: 3 };

/** Waits for the status line to say this. */
export const says = (pattern: RegExp) =>
  page.waitForFunction(
    (source) => new RegExp(source).test(document.querySelector(".runner .status")?.textContent ?? ""),
    { timeout: 60_000 },
    pattern.source,
  );
/** Presses Run, or what it is called there, and waits for the end of that run. */
export async function again(name = "Run", timeout = 120_000): Promise<void> {
  const ended = () => page.$eval(".runner", (element) => Number((element as HTMLElement).dataset.ended ?? 0));
  const before = await ended();
  await press(name);
  await page.waitForFunction(
    (count) => Number(document.querySelector<HTMLElement>(".runner")?.dataset.ended) > count,
    { timeout },
    before,
  );
  await ends();
}
/** What the status line says while this goes on. */
export async function wordsWhile(work: () => Promise<unknown>): Promise<string[]> {
  const heard = await page.evaluateHandle(() => {
    const line = document.querySelector(".runner .status")!;
    const words: string[] = [];
    const observer = new MutationObserver(() => words.push(line.textContent ?? ""));
    observer.observe(line, { childList: true, characterData: true, subtree: true });
    const end = (): string[] => {
      observer.disconnect();
      return words;
    };
    return { end };
  });
  await work();
  return await heard.evaluate(({ end }) => end());
}
/** Versions of an ONNX model, as the page's table has them. */
export const versions = () =>
  page.$$eval("[data-version]", (rows) =>
    rows.map((row) => {
      const { version, bytes, error, agreement } = (row as HTMLElement).dataset;
      return { id: version!, bytes: Number(bytes), error, agreement, text: row.textContent ?? "" };
    }),
  );
/** Drops files on the page, as a user does. */
export async function drop(files: readonly (readonly [name: string, bytes: Uint8Array])[]): Promise<void> {
  // by way of the page's folder: making bytes of text would be a long task of the page
  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
  await page.evaluate(
    async (names) => {
      const data = new DataTransfer();
      for (const name of names) data.items.add(new File([await (await fetch(name)).blob()], name));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    },
    files.map(([name]) => name),
  );
}
export const runs = (on = page) => on.waitForSelector(".runner[data-state=running]", { timeout: 20_000 });
export const memory = (on = page) => on.evaluate(() => window.demo.engine!.memory());
export const expected = <K extends keyof typeof Expected>(
  name: K,
  ...args: Parameters<(typeof Expected)[K]>
): Promise<Awaited<ReturnType<(typeof Expected)[K]>>> => {
  // as text: the test runner would rewrite the import
  const call = `import("${served.url}expected.js").then(({ expected }) => expected.${name}(...${JSON.stringify(args)}))`;
  return page.evaluate(call) as Promise<Awaited<ReturnType<(typeof Expected)[K]>>>;
};

/** Chooses in a select by its label's text. */
export async function choose(label: string, value: string): Promise<void> {
  const select = await page.waitForSelector(`::-p-xpath(//label[contains(., "${label}")]//select)`);
  await select!.select(value);
}
/** Sets a slider, a number or a text, and lets go of it. */
export async function set(label: string, value: number | string): Promise<void> {
  const input = await page.waitForSelector(`::-p-xpath(//label[contains(., "${label}")]//input)`);
  await input!.evaluate((element, text) => {
    (element as HTMLInputElement).value = text;
    element.dispatchEvent(new Event("input", { bubbles: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
  }, String(value));
}
/** Clicks a button once it is enabled: samples of a large model disable Compress for a while. */
export const press = async (text: string): Promise<void> => {
  const button = await page.waitForSelector(`::-p-xpath(//button[normalize-space() = "${text}" and not(@disabled)])`);
  await button!.evaluate((element) => (element as HTMLButtonElement).click());
};
export const settled = () => new Promise((resolve) => setTimeout(resolve, 300));

/** axe finds nothing in what is open, light and dark, and no width makes it wider than the screen. */
export async function expectForEveryone(): Promise<void> {
  await page.evaluate(axe);
  for (const theme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await page.waitForSelector(`html[data-theme=${theme}]`);
    const { violations } = await page.evaluate(() => window.axe.run());
    const told = violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.html}\n${node.failureSummary}`),
    );
    expect(told).toEqual([]);
  }
  for (const width of [360, 768, 1280]) {
    await page.setViewport({ width, height: 800 });
    await settled();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
  }
}

/** A page that keeps what it is told to save, as text of bytes, instead of asking where. */
export async function catchDownload(): Promise<() => Promise<Uint8Array>> {
  await page.evaluate(() => {
    delete (window as { saved?: string }).saved;
    URL.createObjectURL = (blob) => {
      const reader = new FileReader();
      reader.onload = () => ((window as { saved?: string }).saved = String(reader.result).replace(/^.*,/, ""));
      reader.readAsDataURL(blob as Blob);
      return "#saved";
    };
  });
  return async () => {
    await page.waitForFunction(() => "saved" in window);
    return Buffer.from(await page.evaluate(() => (window as { saved?: string }).saved!), "base64");
  };
}
