import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";
import { wgsl } from "./shaders/loader.js";
import { OF_THE_COMMAND, placeOfModule } from "./src/build/places.js";

const src = join(import.meta.dirname, "src");

/**
 * Every module of the library is a file of the package, with all that it exports: a program's bundler takes the modules that
 * the program needs, and the command imports the library's modules from there.
 */
const modules = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts") && !OF_THE_COMMAND.includes(file.split("/")[0]!))
  .filter((file) => file !== "build/places.ts")
  .map((file) => file.replace(/\.ts$/, ""));

/** The compiler brings a helper for `using` that no plugin is asked about, and which also does what the library has no use for. */
const using: Plugin = {
  name: "tenfold-using",
  generateBundle(_, bundle) {
    const helper = Object.values(bundle).find(({ fileName }) => fileName === "vendor/helpers/esm/usingCtx.js");
    if (helper?.type !== "chunk") throw new Error("the helper for `using` is not where it was");
    helper.code = `export{default}from"../../../${placeOfModule("build/using")}.js";\n`;
  },
};

/** folders of tests that are run by themselves, as modes */
const APART = ["slow", "demo"];
/** tests that need modules which no other test has loaded */
const ALONE = ["test/gpu/lateChoices.test.ts"];

/** Where a module lies in the package. npm leaves out folders called node_modules; names of shaders begin alike, as those of modules do. */
const placeOf = (name: string): string => {
  const shader = /\bshaders\/(common\/)?(\w+)\.wgsl(?:_(\w+))?$/.exec(name);
  if (shader) return `shaders/${shader[1] ?? ""}wgsl_${shader[3] ?? "call"}_${shader[2]}`;
  const vendor = name.replace(/^(?:_virtual\/)?(?:.*\bnode_modules|_[^/]*)\//, "vendor/");
  return vendor === name ? placeOfModule(name) : vendor;
};

export default defineConfig(({ mode }) => ({
  plugins: [wgsl(), using],
  build: {
    target: "es2022",
    minify: false,
    sourcemap: false,
    license: { fileName: "licenses.md" },
    lib: {
      entry: Object.fromEntries(modules.map((name) => [name, `src/${name}.ts`])),
      formats: ["es"],
    },
    rolldownOptions: {
      // reflecting the kernels takes most of the time, as it should
      checks: { pluginTimings: false },
      external: [/^node:/, "webgpu", "h5wasm/node", "zarrita"],
      output: {
        preserveModules: true,
        preserveModulesRoot: "src",
        entryFileNames: ({ name }) => `${placeOf(name)}.js`,
        comments: { annotation: true, legal: true, jsdoc: false },
        // functions, classes and members keep their names in stack traces; a program's bundler does the rest
        minify: { compress: true, mangle: { toplevel: false }, codegen: { removeWhitespace: true } },
      },
    },
  },
  resolve: {
    alias: {
      "tenfold/compress": resolve("src/compress/onnx/index.ts"),
      "tenfold/node": resolve("src/node/index.ts"),
      "tenfold/onnx": resolve("src/onnx/index.ts"),
      "tenfold/ops": resolve("src/ops.ts"),
      tenfold: resolve("src/index.ts"),
    },
  },
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
    // Dawn is a native addon, which threads cannot share: two processes on the software adapter's two cores
    pool: "forks",
    maxWorkers: 2,
    // a busy machine compiles a large kernel for a software adapter in a minute
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
}));
