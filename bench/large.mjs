/** `node bench/large.mjs CASE OPTIONS`: see bench/large.ts. Bundles the code first, so that its process holds nothing but what it runs. */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { build, runnerImport } from "vite";

const here = import.meta.dirname;
const { module: loader } = await runnerImport(join(here, "../shaders/loader.ts"));
const folder = join(here, `../dist/large-${process.pid}`);
try {
  await build({
    configFile: false,
    logLevel: "error",
    plugins: [loader.wgsl()],
    build: {
      ssr: join(here, "large.ts"),
      target: "es2022",
      outDir: folder,
      rolldownOptions: { external: [/^node:/, "webgpu", "h5wasm/node", "zarrita"] },
    },
  });
  process.exitCode = await new Promise((ended) => {
    const child = spawn(process.execPath, [join(folder, "large.js"), ...process.argv.slice(2)], { stdio: "inherit" });
    for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
    child.on("exit", (code) => ended(code ?? 1));
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
