/** The demo page: static files that ask no other host for anything. */
import { defineConfig } from "vite";
import { wgsl } from "../../shaders/loader.js";
import { packedDigits } from "./packDigits.js";

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  plugins: [wgsl(), packedDigits()],
  worker: { format: "es", plugins: () => [wgsl()] },
  build: {
    outDir: "../../dist/demo",
    emptyOutDir: true,
    target: "es2022",
    // nothing is inlined into data: URLs, so that a strict content security policy can serve the page
    assetsInlineLimit: 0,
    // packing the digits takes most of the time, as it should
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
