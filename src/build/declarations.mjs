/**
 * Puts the declarations that a user's compiler reads into dist/types: one file an entry, and one of what they share. What no
 * public name leads to, and what is marked `@internal`, is left out. Reads what `tsc -p tsconfig.build.json` wrote.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { dts } from "rolldown-plugin-dts";

const root = join(import.meta.dirname, "../..");
const from = join(root, ".cache/declarations");
const to = join(root, "dist/types");

const bundle = await rolldown({
  input: {
    index: join(from, "index.d.ts"),
    ops: join(from, "ops.d.ts"),
    node: join(from, "node/index.d.ts"),
    onnx: join(from, "onnx/index.d.ts"),
    compress: join(from, "compress/onnx/index.d.ts"),
  },
  plugins: [dts({ dtsInput: true, emitDtsOnly: true })],
  logLevel: "silent",
});
rmSync(to, { recursive: true, force: true });
await bundle.write({
  dir: to,
  entryFileNames: "[name].ts",
  chunkFileNames: "[name].d.ts",
  minifyInternalExports: false,
  codeSplitting: { groups: [{ name: "shared", minShareCount: 2 }] },
});
// the bundler names the file that declarations are from, which the package has not
for (const name of readdirSync(to)) {
  const file = join(to, name);
  writeFileSync(file, readFileSync(file, "utf8").replace(/^\/\/ \.cache\/declarations\/.*\n/gm, ""));
}
