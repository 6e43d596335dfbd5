/**
 * `npm test`: everything that CI runs, two steps side by side; `node test/run.mjs lint browser` runs only these.
 * `npm run check`: types, lint and the tests of what changed.
 * Ends with the line `N passed, N failed`: the tests, the browser's and the demo page's tests, and one for each of types, lint, build, package and bench.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { runnerImport } from "vite";
import { packageProblems } from "./package/problems.mjs";

const root = resolve(import.meta.dirname, "..");
process.chdir(root);
process.env.PATH = `${join(root, "node_modules/.bin")}${delimiter}${process.env.PATH}`;

/** Runs a command line; its exit status and what it printed, where that is not shown at once. */
const execute = (line, stdio = "pipe") =>
  new Promise((done) => {
    const child = spawn(line, { shell: true, stdio: ["inherit", stdio, stdio] });
    const said = [];
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => said.push(data));
    child.on("close", (status) => done({ status, output: Buffer.concat(said).toString() }));
  });

/** A command that passes or fails as a whole; its output is shown where it fails. */
const command = (line) => async () => {
  const { status, output } = await execute(line);
  if (status === 0) return { passed: 1, failed: 0 };
  console.log(output);
  return { passed: 0, failed: 1 };
};

/**
 * What is published: exports and types resolve, programs compile against them, the library's entry stands alone, the lock
 * file serves all machines.
 */
async function packaged() {
  const result = await command("publint --strict --pack false")();
  const seen = new Set();
  const outside = [];
  const visit = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    const code = readFileSync(file, "utf8");
    for (const [, from] of code.matchAll(/(?:\bfrom|^import|\bimport\()\s*["']([^"'\n]+)["']/gm)) {
      if (from.startsWith(".")) visit(resolve(file, "..", from));
      else outside.push(`${file} imports ${from}, but the library's entry stands alone`);
    }
  };
  try {
    for (const entry of ["dist/index.js", "dist/ops.js", "dist/onnx/index.js", "dist/compress/onnx/index.js"])
      visit(resolve(entry));
  } catch (error) {
    outside.push(error.message);
  }
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
  for (const [path, { resolved, link, optionalDependencies = {} }] of Object.entries(packages)) {
    if (resolved && !link) outside.push(`package-lock.json: ${path} names a registry`);
    for (const name of Object.keys(optionalDependencies)) {
      // npm 11 refuses to install from a lock file that lacks the packages of other platforms
      const known = `node_modules/${name}` in packages || `${path}/node_modules/${name}` in packages;
      if (!known) outside.push(`package-lock.json: ${name}, which ${path} asks for, is missing`);
    }
  }
  outside.push(...(await packageProblems()));
  if (outside.length === 0) return result;
  console.log(outside.join("\n"));
  return { passed: 0, failed: 1 };
}

/** Runs vitest, with further arguments, and counts its tests. */
const tests = (args) => async () => {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-test-"));
  const file = join(folder, "results.json");
  try {
    const reporters = `--reporter=default --reporter=json --outputFile.json="${file}"`;
    const { status } = await execute(`vitest run ${args} ${reporters}`, "inherit");
    const results = JSON.parse(readFileSync(file, "utf8"));
    const broken = results.testResults.filter(({ status, assertionResults }) => {
      return status === "failed" && !assertionResults.some((test) => test.status === "failed");
    });
    const failed = results.numFailedTests + broken.length;
    // an error outside of all tests fails the run as well
    return { passed: results.numPassedTests, failed: failed || (status === 0 ? 0 : 1) };
  } catch (error) {
    console.log(`no results of vitest: ${error.message}`);
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

async function changed() {
  const { module } = await runnerImport(join(root, "test/changed.ts"));
  return tests(module.changedTests().join(" "))();
}

async function browser() {
  try {
    const { module } = await runnerImport(join(root, "test/browser/run.ts"));
    return await module.runInBrowser();
  } catch (error) {
    console.log(error.stack);
    return { passed: 0, failed: 1 };
  }
}

const steps = {
  types: command("tsc --noEmit"),
  lint: command("biome check --error-on-warnings"),
  build: command("npm run --silent build"),
  package: packaged,
  unit: tests(""),
  browser,
  demo: tests("--mode demo"),
  // every case is checked under Node in unit; here that the command finds its way through a page
  bench: command('node bench/run.mjs --slim --cases "matmul 256|CP-ALS sweep 200|conv2d 1|epoch 3-5-3"'),
  changed,
};

/**
 * Rows one after the other; in each, lists of steps side by side, so that two cores always have work: a list may hold two processes. The demo's
 * tests hold tasks of the page to 50 ms, so they run when the unit tests are over.
 */
const ROWS = [
  [
    ["types", "lint", "build", "package", "browser"],
    ["changed", "unit", "demo"],
  ],
  // by itself, as it times
  [["bench"]],
];
/** steps that are part of others, and run only where they are asked for */
const PARTS = ["changed"];

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in steps));
if (unknown.length) {
  console.error(`unknown: ${unknown.join(", ")}; there are ${Object.keys(steps).join(", ")}`);
  process.exit(2);
}
let passed = 0;
let failed = 0;
async function run(name) {
  if (asked.length ? !asked.includes(name) : PARTS.includes(name)) return;
  const started = performance.now();
  const result = await steps[name]();
  passed += result.passed;
  failed += result.failed;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${result.failed ? "✗" : "✓"} ${name}: ${result.passed} passed, ${result.failed} failed (${seconds} s)`);
}
for (const row of ROWS)
  await Promise.all(
    row.map(async (names) => {
      for (const name of names) await run(name);
    }),
  );
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
