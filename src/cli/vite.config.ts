/** The command in one file, with the packages that it needs; the library's modules stay where the library's build put them. */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { OF_THE_COMMAND, placeOfModule } from "../build/places.js";
import { LENET_STEP, toFloat8 } from "./float8.js";

const src = join(import.meta.dirname, "..");

/** Imports of the library's modules as the package has them: `./gpu/gpu.engine.js`. */
const library: Plugin = {
  name: "tenfold-library",
  enforce: "pre",
  async resolveId(id, importer) {
    if (!importer || !id.startsWith(".")) return null;
    const resolved = await this.resolve(id, importer, { skipSelf: true });
    if (!resolved) return null;
    const path = relative(src, resolved.id).split(sep);
    if (path[0] === ".." || OF_THE_COMMAND.includes(path[0]!)) return null;
    return { id: `./${placeOfModule(path.join("/").replace(/\.ts$/, ""))}.js`, external: true };
  },
};

/** The command can be run from the checkout, also where npm has not linked it since the last build. */
const executable: Plugin = {
  name: "tenfold-executable",
  writeBundle: ({ dir }) => chmodSync(join(dir!, "cli.js"), 0o755),
};

/**
 * The trained LeNet, which `compare --quick` decomposes. Its weights are 229 kB as f32. As floats of 8 bits, those of matrices in steps of 2^−5, they
 * take 30 kB of the package, and recognise as many digits.
 */
const lenet: Plugin = {
  name: "tenfold-lenet",
  writeBundle: ({ dir }) =>
    writeFileSync(
      join(dir!, "lenet.safetensors"),
      toFloat8(readFileSync(join(src, "experiments/models/lenet.safetensors")), { step: LENET_STEP }),
    ),
};

export default defineConfig({
  plugins: [library, executable, lenet],
  build: {
    target: "es2022",
    outDir: join(src, "../dist"),
    emptyOutDir: false,
    ssr: true,
    minify: false,
    license: { fileName: "licenses-command.md" },
    rolldownOptions: {
      input: { cli: join(src, "cli/main.ts") },
      external: ["webgpu", "onnxruntime-node"],
      platform: "node",
      output: {
        entryFileNames: "[name].js",
        // imports of the library's modules are relative to one folder
        codeSplitting: false,
        comments: { annotation: true, legal: true, jsdoc: false },
        minify: { compress: true, mangle: { toplevel: true }, codegen: { removeWhitespace: true } },
      },
    },
  },
  ssr: { noExternal: true },
});
