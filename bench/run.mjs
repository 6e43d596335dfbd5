/** `npm run bench -- OPTIONS`: see bench/README.md. */
import { join } from "node:path";
import { runnerImport } from "vite";

const here = import.meta.dirname;
const { module: loader } = await runnerImport(join(here, "../shaders/loader.ts"));
// imports inside work only while the runner is open, so main.ts runs as it is imported, and ends the process
await runnerImport(join(here, "main.ts"), {
  plugins: [loader.wgsl()],
  logLevel: "error",
  oxc: { target: "es2022" },
});
