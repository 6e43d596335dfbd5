/**
 * Compiles a small project against the unpacked package with `skipLibCheck` off, as TypeScript's users may have it: with every
 * compiler that is supported, and every way to resolve modules and to know WebGPU.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { execute, root, run } from "./install.mjs";

/** The oldest TypeScript that is supported, the last ones of JavaScript, and that of this project. */
const COMPILERS = [
  ...["5.4", "5.9", "6.0"].map((version) => join(import.meta.dirname, "typescript", version)),
  root,
].map((folder) => join(folder, "node_modules/typescript/bin/tsc"));

const DOM = ["es2022", "dom"];
const NEXT = ["esnext", "dom"];
const everywhere = ["main.ts"];
const node = ["main.ts", "node.ts", "onnx.ts", "compress.ts"];

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

/** Projects that older compilers build, which take seconds for each: every resolution, and WebGPU from nowhere and from npm. */
const SOME = SETUPS.filter(
  ({ resolution, lib }) => resolution === "node16" || (lib === DOM && resolution === "bundler") || lib.length === 1,
);

/** What a compiler says of a project set up so. */
async function compile(folder, { tsc, version, resolution, lib, types = [], files, alien }, index) {
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
  // lib.dom declares WebGPU since TypeScript 6
  const webgpu = version >= 6 || types.includes("@webgpu/types");
  const known = webgpu ? files : files.filter((file) => file !== "webgpu.ts");
  const project = `tsconfig.${index}.json`;
  writeFileSync(join(folder, project), JSON.stringify({ compilerOptions, files: known }));
  const { status, output } = await execute(process.execPath, [tsc, "-p", project], folder);
  const lines = output.split("\n").filter((line) => /^(\S+: )?error TS\d+/.test(line));
  if (status !== 0 && !lines.length) return [`tsc failed: ${output}`];
  // TypeScript 7 has dropped it
  if (resolution === "node10" && lines.some((line) => /TS5107|TS5108/.test(line))) return [];
  return alien ? lines.filter((line) => !/^\S*(lib\.dom\.d\.ts|@webgpu\/types\/)/.test(line)) : lines;
}

/** The fields that a resolver older than `exports` reads lead to the same declarations; users of the library install nothing else. */
function checkFields(folder) {
  const { main, types, exports, typesVersions, dependencies } = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  );
  const same = [
    [main, exports["."].default],
    [types, exports["."].types],
    [typesVersions["*"].node[0], exports["./node"].types],
    [typesVersions["*"].ops[0], exports["./ops"].types],
  ];
  const problems = same
    .filter(([old, current]) => old !== current)
    .map(([old, current]) => `package.json: ${old} for ${current}`);
  if (dependencies) problems.push(`package.json: depends on ${Object.keys(dependencies).join(", ")}`);
  return problems;
}

/** Are the types wrong? What the package's resolution would do, by that tool; it is for ES modules only. */
async function wrongTypes(packed) {
  const { problems } = await checkPackage(createPackageFromTarballData(readFileSync(packed)));
  return problems
    .filter(({ kind }) => kind !== "CJSResolvesToESM")
    .map((problem) => `are the types wrong: ${JSON.stringify(problem)}`);
}

/** Problems that the compilers of users would have, one line each. */
export async function typeProblems({ folder, unpacked, packed }) {
  const problems = [...checkFields(unpacked), ...(await wrongTypes(packed))];
  const published = readdirSync(join(unpacked, "dist/types")).filter((file) => file.endsWith(".d.ts"));
  // declarations that no program reaches
  const all = { resolution: "bundler", lib: DOM, files: published.map((file) => join(unpacked, "dist/types", file)) };
  const jobs = [];
  for (const tsc of COMPILERS) {
    const version = Number.parseFloat(/\d+\.\d+/.exec(await run(process.execPath, [tsc, "--version"], root))[0]);
    const setups = tsc === COMPILERS.at(-1) ? [...SETUPS, all] : SOME;
    for (const setup of setups) jobs.push({ tsc, version, ...setup });
  }
  // most are the same in every project: the first that has it is named
  const seen = new Map();
  const queue = jobs.entries();
  const work = async () => {
    for (const [index, job] of queue) {
      const { version, resolution, lib, types = [] } = job;
      const name = `TypeScript ${version}, moduleResolution ${resolution}, lib ${lib}, types ${types.join() || "none"}`;
      for (const line of await compile(folder, job, index)) seen.set(line, seen.get(line) ?? name);
    }
  };
  await Promise.all([work(), work()]);
  problems.push(...[...seen].map(([line, name]) => `${line} (${name})`));
  return problems;
}
