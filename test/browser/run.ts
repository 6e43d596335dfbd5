/** Runs the test files that page.ts lists, unchanged, in headless Chromium through navigator.gpu, every file in a new page. */
import { join } from "node:path";
import type { Browser } from "puppeteer";
import { build, type Rolldown } from "vite";
import { wgsl } from "../../shaders/loader.js";
import { launch, serve } from "./launch.js";
import type { Outcome } from "./page.js";

const here = import.meta.dirname;

/** Bundles the test files and their imports for the browser; returns the bundle's files by path. */
async function bundle(): Promise<Record<string, string>> {
  const built = (await build({
    root: join(here, "../.."),
    configFile: false,
    logLevel: "warn",
    plugins: [
      wgsl(),
      {
        // package.json says that files have no side effects, but test files consist of them
        name: "keep-tests",
        transform: (code, id) => (/\/test\/.*\.ts$/.test(id) ? { code, moduleSideEffects: true } : null),
      },
    ],
    resolve: {
      alias: [
        { find: /^vitest$/, replacement: join(here, "vitest.ts") },
        { find: /^.*\/src\/node\/(index|open)\.js$/, replacement: join(here, "node.ts") },
      ],
    },
    build: {
      write: false,
      minify: false,
      target: "es2022",
      modulePreload: false,
      copyPublicDir: false,
      rolldownOptions: {
        input: join(here, "page.ts"),
        output: { entryFileNames: "page.js" },
      },
    },
  })) as Rolldown.RolldownOutput;
  const files: Record<string, string> = {
    "index.html":
      '<!doctype html><meta charset="utf-8"><title>tenfold tests</title><script type="module" src="page.js"></script>',
  };
  for (const output of built.output) if (output.type === "chunk") files[output.fileName] = output.code;
  return files;
}

async function runFile(browser: Browser, url: string, file: string): Promise<Outcome[]> {
  const page = await browser.newPage();
  const said: string[] = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  try {
    await page.goto(url);
    await page.waitForFunction(() => "runTests" in window, { timeout: 30_000 });
    return await page.evaluate((path) => window.runTests(path), file);
  } catch (error) {
    const message = [`${(error as Error).message}`, ...said].join("\n");
    return [{ name: "the page", failed: true, skipped: false, ms: 0, error: message }];
  } finally {
    await page.close().catch(() => {});
  }
}

/** Runs all files, or those whose path contains `filter`. Prints a line for every file, and the tests that failed. */
export async function runInBrowser(filter = ""): Promise<{ passed: number; failed: number }> {
  const served = await serve(await bundle());
  const browser = await launch();
  let passed = 0;
  let failed = 0;
  try {
    const page = await browser.newPage();
    await page.goto(served.url);
    await page.waitForFunction(() => "testFiles" in window, { timeout: 30_000 });
    const files = await page.evaluate(() => window.testFiles);
    const info = await page.evaluate(async () => {
      const adapter = await navigator.gpu?.requestAdapter();
      return adapter && `${adapter.info.vendor} ${adapter.info.architecture}`;
    });
    console.log(`${await browser.version()}, adapter: ${info ?? "none"}`);
    await page.close();
    for (const file of files.filter((path) => path.includes(filter))) {
      const started = performance.now();
      const outcomes = (await runFile(browser, served.url, file)).filter(({ skipped }) => !skipped);
      const wrong = outcomes.filter((outcome) => outcome.failed);
      passed += outcomes.length - wrong.length;
      failed += wrong.length;
      if (outcomes.length === 0) failed++;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const tests =
        outcomes.length === 0
          ? "NO TESTS"
          : `${outcomes.length} tests${wrong.length ? `, ${wrong.length} FAILED` : ""}`;
      console.log(
        `${wrong.length || !outcomes.length ? "✗" : "✓"} browser ${file.replace("../", "test/")} (${tests}) ${seconds} s`,
      );
      for (const { name, error } of wrong) console.log(`    ✗ ${name}\n${error?.replace(/^/gm, "      ")}`);
    }
  } finally {
    await browser.close();
    await served.close();
  }
  return { passed, failed };
}
