/** The widget's module: tenfold's `cp` and what it needs in one file, which the Python package carries. `npm run build:widget`, after `npm run build`. */
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** The library as it is built: its kernels are linked already. */
const built: Plugin = {
  name: "tenfold-built",
  enforce: "pre",
  resolveId: (id) => (id.endsWith("/src/index.js") ? join(import.meta.dirname, "../../../dist/index.js") : null),
};

export default defineConfig({
  plugins: [built],
  build: {
    target: "es2022",
    outDir: import.meta.dirname,
    emptyOutDir: false,
    lib: { entry: join(import.meta.dirname, "index.ts"), formats: ["es"], fileName: () => "tenfold.js" },
    rolldownOptions: { output: { codeSplitting: false } },
  },
});
