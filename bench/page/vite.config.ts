/** The demo page: static files that ask no other host for anything. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";
import { wgsl } from "../../shaders/loader.js";
import { packedDigits } from "./packDigits.js";

const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"));

/** A part's file is named as the part, not `run`. */
const partOf = (module: string | null): string | undefined => /\/page\/([^/]+)\/run\.ts$/.exec(module ?? "")?.[1];

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  define: { __VERSION__: JSON.stringify(version) },
  plugins: [wgsl(), packedDigits()],
  worker: { format: "es", plugins: () => [wgsl()], rolldownOptions: { checks: { pluginTimings: false } } },
  // lit-html as it is for production, also where tests build the page: the other one warns in the console
  resolve: { conditions: ["module", "browser", "production"] },
  build: {
    outDir: "../../dist/demo",
    emptyOutDir: true,
    license: { fileName: "licenses.md" },
    target: "es2022",
    // nothing is inlined into data: URLs, so that a strict content security policy can serve the page
    assetsInlineLimit: 0,
    // packing the digits takes most of the time, and Vite would warn of that
    rolldownOptions: {
      checks: { pluginTimings: false },
      output: { chunkFileNames: ({ facadeModuleId }) => `assets/${partOf(facadeModuleId) ?? "[name]"}-[hash].js` },
    },
  },
});
