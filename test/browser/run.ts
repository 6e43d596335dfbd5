/** Runs the test files that page.ts lists, unchanged, in headless Chromium through navigator.gpu: all in one page, whose engine they share. */
import { join } from "node:path";
import type { Browser, Page } from "puppeteer";
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

/** A page for test files, and what it says meanwhile. */
interface Open {
  page: Page;
  said: string[];
}

async function openPage(browser: Browser, url: string): Promise<Open> {
  const page = await browser.newPage();
  const said: string[] = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  await page.goto(url);
  await page.waitForFunction(() => "runTests" in window, { timeout: 30_000 });
  return { page, said };
}

/** What became of the file's tests, or why the page did not survive them. */
async function runFile({ page, said }: Open, file: string): Promise<Outcome[] | string> {
  said.length = 0;
  try {
    return await page.evaluate((path) => window.runTests(path), file);
  } catch (error) {
    return [`${(error as Error).message}`, ...said].join("\n");
  }
}

/** Runs all files, or those whose path contains `filter`. Prints a line for every file, and the tests that failed. */
export async function runInBrowser(filter = ""): Promise<{ passed: number; failed: number }> {
  const served = await serve(await bundle());
  const browser = await launch();
  let passed = 0;
  let failed = 0;
  try {
    let open = await openPage(browser, served.url);
    const files = await open.page.evaluate(() => window.testFiles);
    const info = await open.page.evaluate(async () => {
      const adapter = await navigator.gpu?.requestAdapter();
      return adapter && `${adapter.info.vendor} ${adapter.info.architecture}`;
    });
    console.log(`${await browser.version()}, adapter: ${info ?? "none"}`);
    for (const file of files.filter((path) => path.includes(filter))) {
      const started = performance.now();
      const ran = await runFile(open, file);
      if (typeof ran === "string") {
        await open.page.close().catch(() => {});
        open = await openPage(browser, served.url);
      }
      const all =
        typeof ran === "string" ? [{ name: "the page", failed: true, skipped: false, ms: 0, error: ran }] : ran;
      const outcomes = all.filter(({ skipped }) => !skipped);
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
