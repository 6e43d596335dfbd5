/**
 * Packs the package as `npm publish` would, unpacks it into the node_modules of a small project, and compiles that with
 * `skipLibCheck` off, as TypeScript's users may have it. TENFOLD_TEST_TSC names another compiler than the installed one.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const tsc = process.env.TENFOLD_TEST_TSC ?? join(root, "node_modules/typescript/bin/tsc");

/** lib.dom declares WebGPU since TypeScript 6 */
const domHasWebGpu = Number(/\d+/.exec(run(process.execPath, [tsc, "--version"], root))[0]) >= 6;

/** Runs a program and returns its output; throws where it fails. */
function run(program, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? `${stdout}${stderr}`}`);
  return stdout;
}

/** A folder with the unpacked package and the type packages that it may meet. */
function install() {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-package-"));
  const modules = join(folder, "node_modules");
  cpSync(join(import.meta.dirname, "consumer"), folder, { recursive: true });
  mkdirSync(join(modules, "@types"), { recursive: true });
  for (const name of ["@webgpu", "@types/node", "undici-types"])
    symlinkSync(join(root, "node_modules", name), join(modules, name), "junction");
  writeFileSync(join(folder, "package.json"), '{ "type": "module", "private": true }\n');
  // npm's own scripts would build again
  run("npm", ["pack", "--ignore-scripts", "--silent", "--offline", "--pack-destination", folder], root);
  const tarball = readdirSync(folder).find((file) => file.endsWith(".tgz"));
  run("tar", ["xzf", tarball, "-C", "node_modules"], folder);
  cpSync(join(modules, "package"), join(modules, "tenfold"), { recursive: true });
  return folder;
}

const DOM = ["es2022", "dom"];
const NEXT = ["esnext", "dom"];
const everywhere = ["main.ts"];
const node = ["main.ts", "node.ts"];

/**
 * How projects are set up. `alien`: what goes wrong within lib.dom and @webgpu/types themselves is passed over, because
 * both declare the same names since TypeScript 6, and the second does not stand without the first.
 */
const SETUPS = [
  { resolution: "bundler", lib: DOM, files: [...everywhere, "webgpu.ts"] },
  { resolution: "bundler", lib: NEXT, files: [...everywhere, "webgpu.ts", "using.ts"] },
  { resolution: "bundler", lib: ["es2022", "webworker"], files: everywhere },
  { resolution: "node16", lib: DOM, types: ["node"], files: node },
  { resolution: "nodenext", lib: NEXT, types: ["node"], files: [...node, "using.ts"] },
  // no WebGPU at all
  { resolution: "nodenext", lib: ["es2022"], types: ["node"], files: node },
  // WebGPU from npm alone
  {
    resolution: "bundler",
    lib: ["es2022"],
    types: ["node", "@webgpu/types"],
    files: [...node, "webgpu.ts"],
    alien: true,
  },
  {
    resolution: "bundler",
    lib: NEXT,
    types: ["@webgpu/types"],
    files: [...everywhere, "using.ts", "webgpu.ts"],
    alien: true,
  },
  { resolution: "node10", lib: DOM, types: ["node"], files: node },
];

/** What the compiler says of a project set up so. */
function compile(folder, { resolution, lib, types = [], files, alien }) {
  const compilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    target: "es2022",
    module: resolution.startsWith("node") && resolution !== "node10" ? resolution : "esnext",
    moduleResolution: resolution,
    lib,
    types,
  };
  const known = domHasWebGpu || types.includes("@webgpu/types") ? files : files.filter((file) => file !== "webgpu.ts");
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: known }));
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "-p", "."], { cwd: folder, encoding: "utf8" });
  const lines = `${stdout}${stderr}`.split("\n").filter((line) => /^(\S+: )?error TS\d+/.test(line));
  if (status !== 0 && !lines.length) return [`tsc failed: ${stdout}${stderr}`];
  // TypeScript 7 has dropped it
  if (resolution === "node10" && lines.some((line) => /TS5107|TS5108/.test(line))) return [];
  return alien ? lines.filter((line) => !/^\S*(lib\.dom\.d\.ts|@webgpu\/types\/)/.test(line)) : lines;
}

/** The fields that a resolver older than `exports` reads lead to the same declarations. */
function checkFields(folder) {
  const { main, types, exports, typesVersions } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const same = [
    [main, exports["."].default],
    [types, exports["."].types],
    [typesVersions["*"].node[0], exports["./node"].types],
  ];
  return same
    .filter(([old, current]) => old !== current)
    .map(([old, current]) => `package.json: ${old} for ${current}`);
}

/** Problems that a user of the package would meet, one line each. */
export function packageProblems() {
  const folder = install();
  try {
    const unpacked = join(folder, "node_modules/tenfold");
    const problems = checkFields(unpacked);
    // most are the same in every project: the first that has it is named
    const seen = new Map();
    for (const setup of SETUPS) {
      const { resolution, lib, types = [] } = setup;
      const name = `moduleResolution ${resolution}, lib ${lib}, types ${types.join() || "none"}`;
      for (const line of compile(folder, setup)) seen.set(line, seen.get(line) ?? name);
    }
    // declarations that no program above reaches
    const published = readdirSync(join(unpacked, "dist/types"), { recursive: true }).map(String);
    const files = published.filter((file) => file.endsWith(".d.ts")).map((file) => join(unpacked, "dist/types", file));
    for (const line of compile(folder, { resolution: "bundler", lib: DOM, files }))
      seen.set(line, seen.get(line) ?? "all declarations");
    problems.push(...[...seen].map(([line, name]) => `${line} (${name})`));
    // the entries run with nothing else installed
    for (const entry of ["tenfold", "tenfold/node"])
      run(process.execPath, ["--input-type=module", "-e", `await import("${entry}")`], folder);
    return problems;
  } catch (error) {
    return [error.message];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
