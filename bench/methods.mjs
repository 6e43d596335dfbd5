/** `node bench/methods.mjs [OPTIONS]`: see bench/methods.ts. */
import { join } from "node:path";
import { runnerImport } from "vite";

const here = import.meta.dirname;
const { module: loader } = await runnerImport(join(here, "../shaders/loader.ts"));
await runnerImport(join(here, "methods.ts"), {
  plugins: [loader.wgsl()],
  logLevel: "error",
  oxc: { target: "es2022" },
});
