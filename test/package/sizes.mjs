/** What of the package reaches the programs of its users: a bundler takes what they import, minified and gzipped. */
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

/**
 * Programs, and the most kB (1000 bytes) that may be loaded before they begin. `goal` is where that is to come down to; what else
 * they load when it is needed (kernels that an adapter or a size chooses, probes, profiles, starts from singular vectors) is told beside it.
 */
const PROGRAMS = [
  { name: "matmul", code: "Engine, matmul", most: 18.1, goal: 20 },
  // the engine, schedules and the driver of solvers are 25 of them
  { name: "cpALS", code: "cpALS, Engine", most: 40.7, goal: 40 },
  { name: "cp", code: "cp, Engine", most: 40, goal: 40 },
  { name: "inference of a LeNet", code: "Engine, lenet, Sequential", most: 31.8, goal: 45 },
  { name: "a reader of .npy", code: "readNpy", most: 3.8, goal: 4 },
];

/**
 * kB that `npm install tenfold` fetches at most. Of them 82 are declarations, three quarters of which are their comments, 77 the command, 70
 * decompositions, 63 shaders, 47 compression of ONNX models, 46 operations, 45 README, the changelog and the guide, 43 layers, 30 the weights of the
 * trained LeNet, 28 ONNX, 16 the report page; the rest are other modules of the library. docs/decisions/0035-what-the-package-carries.md says what 450
 * would take.
 */
const PACKED = { most: 675, goal: 450 };

const gzipped = (text) => gzipSync(text, { level: 9 }).length / 1000;

/** kB of a program that uses these names: what its first chunk needs, and all of it. */
async function bundled(folder, names) {
  const entry = join(folder, "program.js");
  writeFileSync(entry, `import { ${names} } from "tenfold";\nglobalThis.used = [${names}];\n`);
  const bundle = await rolldown({
    input: entry,
    platform: "browser",
    cwd: folder,
    resolve: { conditionNames: ["browser", "import", "default"] },
  });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  const chunks = new Map(output.filter(({ type }) => type === "chunk").map((chunk) => [chunk.fileName, chunk]));
  const first = new Set();
  const visit = (name) => {
    if (first.has(name) || !chunks.has(name)) return;
    first.add(name);
    for (const imported of chunks.get(name).imports) visit(imported);
  };
  for (const { fileName, isEntry } of chunks.values()) if (isEntry) visit(fileName);
  const codeOf = (names) => gzipped([...names].map((name) => chunks.get(name).code).join(""));
  return { first: codeOf(first), all: codeOf(chunks.keys()) };
}

/** Programs and packages that are too large, one line each. */
export async function sizeProblems({ folder, bytes }) {
  const problems = [];
  const sizes = [];
  const hold = (name, size, most, goal = most, more = "") => {
    sizes.push(`${name} ${size.toFixed(1)}${more}${size > goal ? ` (goal ${goal})` : ""}`);
    if (size > most) problems.push(`${name}: ${size.toFixed(1)} kB, may be ${most}`);
  };
  for (const { name, code, most, goal } of PROGRAMS) {
    const { first, all } = await bundled(folder, code);
    hold(`${name} (bundled, gzip)`, first, most, goal, all > first ? ` of ${all.toFixed(1)}` : "");
  }
  hold("the packed package", bytes / 1000, PACKED.most, PACKED.goal);
  console.log(`kB: ${sizes.join(", ")}`);
  // GitHub shows this file beside the run
  const summary = process.env.GITHUB_STEP_SUMMARY;
  if (summary) appendFileSync(summary, `### Sizes, kB\n\n${sizes.map((size) => `- ${size}\n`).join("")}`);
  return problems;
}
