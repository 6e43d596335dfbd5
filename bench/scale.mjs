/** `node bench/scale.mjs [--measure]`: see bench/scale.ts. */
import { join } from "node:path";
import { runnerImport } from "vite";

await runnerImport(join(import.meta.dirname, "scale.ts"), { logLevel: "error", oxc: { target: "es2022" } });
