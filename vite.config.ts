import { chmodSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";
import { wgsl } from "./shaders/loader.js";

/** The command can be run from the checkout, also where npm has not linked it since the last build. */
const executable: Plugin = {
  name: "tenfold-executable",
  apply: "build",
  writeBundle: ({ dir }) => chmodSync(join(dir!, "cli.js"), 0o755),
};

/** folders of tests that are run by themselves, as modes */
const APART = ["slow", "demo"];
/** tests that need modules which no other test has loaded */
const ALONE = ["test/gpu/lateChoices.test.ts"];

export default defineConfig(({ mode }) => ({
  plugins: [wgsl(), executable],
  build: {
    target: "es2022",
    minify: false,
    sourcemap: false,
    license: { fileName: "licenses.md" },
    lib: {
      entry: { index: "src/index.ts", node: "src/node/index.ts", cli: "src/cli/main.ts" },
      formats: ["es"],
    },
    rolldownOptions: {
      external: [/^node:/, "webgpu", "commander", "cli-progress", "cli-table3"],
      output: { entryFileNames: "[name].js", chunkFileNames: "chunks/[name]-[hash].js" },
    },
  },
  resolve: { alias: { "tenfold/node": resolve("src/node/index.ts"), tenfold: resolve("src/index.ts") } },
  test: {
    // npm run test:slow: the figures of the thesis on all of its images; npm run test:demo: the demo page in a browser
    ...(APART.includes(mode)
      ? { include: [`test/${mode}/**/*.test.ts`] }
      : {
          projects: [
            {
              extends: true as const,
              test: {
                name: "shared",
                include: ["test/**/*.test.ts"],
                exclude: [...APART.map((folder) => `test/${folder}/**`), ...ALONE],
                // one file after another in a process, so that its pipelines are compiled once
                isolate: false,
              },
            },
            { extends: true as const, test: { name: "alone", include: ALONE } },
          ],
        }),
    // Dawn is a native addon, which threads cannot share: two processes on the software adapter's two cores; a browser has several
    pool: "forks",
    maxWorkers: mode === "demo" ? 1 : 2,
    // a busy machine compiles a large kernel for a software adapter in a minute
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
}));
