/** `node bench/compressModels.mjs [OPTIONS]`: see bench/compressModels.ts. */
import { join } from "node:path";
import { runnerImport } from "vite";

const here = import.meta.dirname;
const { module: loader } = await runnerImport(join(here, "../shaders/loader.ts"));
await runnerImport(join(here, "compressModels.ts"), {
  plugins: [loader.wgsl()],
  logLevel: "error",
  oxc: { target: "es2022" },
});
