/** Builds the benchmark's page and runs it in headless Chromium. */
import { join } from "node:path";
import { build, type Plugin, type Rolldown } from "vite";
import { wgsl } from "../shaders/loader.js";
import { launch, serve } from "../test/browser/launch.js";
import type { MeasureOptions } from "./measure.js";
import type { Result } from "./result.js";
import type { Opened } from "./session.js";

const here = import.meta.dirname;

/** Replaces the peers by nothing in a page without them, because they may not be installed. */
const withoutPeers: Plugin = {
  name: "without-peers",
  enforce: "pre",
  resolveId: (id) => (id.endsWith("peers/index.js") ? "\0no-peers" : null),
  load: (id) => (id === "\0no-peers" ? "export const modules = {};" : null),
};

/** Builds the page; returns its files by name. */
export async function buildPage(peers: boolean): Promise<Record<string, string | Uint8Array>> {
  const built = (await build({
    root: join(here, "page/headless"),
    configFile: false,
    logLevel: "error",
    base: "./",
    plugins: [wgsl(), ...(peers ? [] : [withoutPeers])],
    build: { write: false, target: "es2022", minify: false, chunkSizeWarningLimit: 1e6, assetsInlineLimit: 0 },
  })) as Rolldown.RolldownOutput;
  return Object.fromEntries(
    built.output.map((output) => [output.fileName, output.type === "chunk" ? output.code : output.source]),
  );
}

/** A {@link Session} in the page. */
export interface PageSession {
  opened: Opened;
  environment: string;
  measure(index: number, options: MeasureOptions): Promise<Result>;
  close(): Promise<void>;
}

export async function openInPage(options: {
  /** names of the peers; null for all */
  peers: readonly string[] | null;
  slim: boolean;
  adapter: "swiftshader" | "default";
}): Promise<PageSession> {
  const { peers, slim } = options;
  const served = await serve(await buildPage(peers === null || peers.length > 0));
  const { adapter } = options;
  const browser = await launch({
    adapter,
    // unrounded timestamps, and with `default` the GPU's driver
    args: [
      "--enable-dawn-features=disable_timestamp_quantization",
      "--disable-dawn-features=timestamp_quantization",
      ...(adapter === "default" ? ["--enable-features=Vulkan", "--use-angle=vulkan", "--ignore-gpu-blocklist"] : []),
    ],
  });
  const close = async (): Promise<void> => {
    await browser.close();
    await served.close();
  };
  try {
    const page = await browser.newPage();
    let broken = "";
    page.on("pageerror", (error) => (broken = String(error)));
    page.on("error", (error) => (broken = String(error)));
    await page.goto(served.url);
    await page
      .waitForFunction(() => "bench" in window, { timeout: 60_000 })
      .catch((error) => {
        throw new Error(broken || String(error));
      });
    /** Polls the page until it has an answer, because a single call that waits for it would time out. */
    const answer = async <K extends "opened" | "result">(key: K, onStep?: (step: string) => void) => {
      let lastStep = "";
      for (;;) {
        const state = await page.evaluate(() => window.bench.state);
        if (state.error) throw new Error(state.error);
        if (state.step !== lastStep) onStep?.((lastStep = state.step));
        const value = state[key];
        if (value) return value as NonNullable<typeof value>;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    await page.evaluate((openOptions) => window.bench.open(openOptions), { slim, peers });
    const opened = (await answer("opened")) as Opened;
    return {
      opened,
      environment: await browser.version(),
      async measure(index, { onStep, ...plain }) {
        await page.evaluate((i, measureOptions) => window.bench.start(i, measureOptions), index, plain);
        return (await answer("result", onStep)) as Result;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
