/** What of the package reaches the programs of its users: a bundler takes what they import, minified and gzipped. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

/** Programs and the most kB (1000 bytes) that each may take; `goal` is where it is to come down to. */
const PROGRAMS = [
  { name: "matmul", code: 'export { Engine, matmul } from "tenfold";', most: 27, goal: 20 },
  { name: "CP", code: 'export { cpALS, Engine } from "tenfold";', most: 69, goal: 40 },
  { name: "inference of a LeNet", code: 'export { Engine, lenet, Sequential } from "tenfold";', most: 45, goal: 45 },
  { name: "a reader of .npy", code: 'export { readNpy } from "tenfold";', most: 4, goal: 4 },
];

/** kB that `npm install tenfold` fetches at most, but for the trained LeNet, whose weights do not get smaller by packing */
const MOST_PACKED = 450;
const MODEL = "dist/lenet.safetensors";

async function bundled(folder, code) {
  const entry = join(folder, "program.js");
  writeFileSync(entry, code);
  const bundle = await rolldown({
    input: entry,
    platform: "browser",
    cwd: folder,
    resolve: { conditionNames: ["browser", "import", "default"] },
  });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  return output.map((chunk) => chunk.code ?? "").join("");
}

/** Programs and packages that are too large, one line each. */
export async function sizeProblems({ folder, unpacked, bytes }) {
  const problems = [];
  const sizes = [];
  const hold = (name, size, most, goal = most) => {
    sizes.push(`${name} ${size.toFixed(1)}${size > goal ? ` (goal ${goal})` : ""}`);
    if (size > most) problems.push(`${name}: ${size.toFixed(1)} kB, may be ${most}`);
  };
  for (const { name, code, most, goal } of PROGRAMS) {
    const program = await bundled(folder, code);
    hold(`${name} (bundled, gzip)`, gzipSync(program, { level: 9 }).length / 1000, most, goal);
  }
  const model = gzipSync(readFileSync(join(unpacked, MODEL)), { level: 9 }).length;
  hold("the packed package without its LeNet", (bytes - model) / 1000, MOST_PACKED);
  hold("the LeNet", model / 1000, 230);
  console.log(`kB: ${sizes.join(", ")}`);
  return problems;
}
