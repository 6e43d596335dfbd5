/** The demo page: static files that ask no other host for anything. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";
import { wgsl } from "../../shaders/loader.js";
import { packedDigits } from "./packDigits.js";

const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"));

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  define: { __VERSION__: JSON.stringify(version) },
  plugins: [wgsl(), packedDigits()],
  worker: { format: "es", plugins: () => [wgsl()] },
  build: {
    outDir: "../../dist/demo",
    emptyOutDir: true,
    target: "es2022",
    // nothing is inlined into data: URLs, so that a strict content security policy can serve the page
    assetsInlineLimit: 0,
    // packing the digits takes most of the time, and Vite would warn of that
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
