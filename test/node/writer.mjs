/** A program of its own that writes through src/node/files.ts: `writer.mjs <file> <bytes>`, or `writer.mjs <file> loop`. */
import { join } from "node:path";
import { runnerImport } from "vite";

const source = join(import.meta.dirname, "../../src/node/files.ts");
const { module } = await runnerImport(source, { configFile: false, logLevel: "silent" });
const [file, size] = process.argv.slice(2);
if (size === "loop") {
  // two contents of equal length, so that a mixture of both would be noticed
  for (let i = 0; ; i++) {
    module.writeAtomic(file, new Uint8Array(2 ** 22).fill(i % 2 ? 98 : 97));
    if (i === 0) process.stdout.write("ready\n");
  }
}
module.checkWritable(file);
process.stdout.write("before\n");
module.writeAtomic(file, "x".repeat(Number(size)));
process.stdout.write("after\n");
