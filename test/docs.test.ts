/** ARCHITECTURE.md, CONTRIBUTING.md and the pages beside them: the code that they show works, and what they name exists. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Engine, Tensor } from "../src/gpu/index.js";
import { Fields } from "../src/nn/layerKind.js";
import type { NumberRule } from "../src/ops/adapter.js";
import { evaluate, expectClose, testEngine } from "./engine.js";
import { randomArray } from "./reference.js";

const root = resolve(import.meta.dirname, "..");
const DECISIONS = "docs/decisions";
const decisions = readdirSync(join(root, DECISIONS)).filter((file) => /^\d/.test(file));
/** The pages of a folder of docs. */
const pagesOf = (folder: string): string[] =>
  readdirSync(join(root, folder)).flatMap((file) => (file.endsWith(".md") ? [`${folder}/${file}`] : []));
const pages = [
  ...[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "bench/README.md",
    "examples/README.md",
    `${DECISIONS}/README.md`,
  ],
  ...pagesOf("docs"),
  ...pagesOf("docs/guide"),
  ...[".github/pull_request_template.md", ".github/ISSUE_TEMPLATE/bug.md", ".github/ISSUE_TEMPLATE/feature.md"],
  ...decisions.map((file) => `${DECISIONS}/${file}`),
];
const textOf = (page: string): string => readFileSync(join(root, page), "utf8");
const withoutCode = (text: string): string => text.replace(/^```.*?^```/gms, "");

/** How GitHub names a heading in a link. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
const anchorsOf = (page: string): string[] =>
  [...withoutCode(textOf(page)).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!));

/** The links of a page that lead nowhere. */
function brokenLinks(page: string): string[] {
  const links = [...withoutCode(textOf(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [path, anchor] = link.split("#") as [string, string?];
    const target = path ? join(dirname(page), path) : page;
    return !existsSync(join(root, target)) || (anchor !== undefined && !anchorsOf(target).includes(anchor));
  });
}

const FOLDERS = /^(?:src|shaders|test|bench|docs|examples|dist|\.ci|\.github)\//;
/** Files and folders that a page names in backticks and that are not there. */
function missingFiles(page: string): string[] {
  const named = [...withoutCode(textOf(page)).matchAll(/`([^`\s]+)`/g)].map(([, name]) => name!);
  return named.filter((name) => FOLDERS.test(name) && !/[*<>…]|^dist\//.test(name) && !existsSync(join(root, name)));
}

const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
/** Commands of a page that cannot be: scripts that package.json lacks, and files that are not there. */
function wrongCommands(page: string): string[] {
  const text = textOf(page);
  const asked = [...text.matchAll(/\bnpm (?:run (?:--silent )?([a-z][\w:]*)|(test|start)\b)/g)].map(
    ([, script, short]) => script ?? short!,
  );
  const files = [...text.matchAll(/\b(?:vitest run|node|biome check)((?: +[\w./-]+)+)/g)].flatMap(([, words]) =>
    words!.split(/ +/).filter((word) => FOLDERS.test(word)),
  );
  return [
    ...asked.filter((script) => !(script in scripts)).map((script) => `npm run ${script}`),
    ...files.filter((file) => !file.startsWith("dist/") && !existsSync(join(root, file))),
  ];
}

describe.each(pages)("%s", (page) => {
  it("links to what exists", () => {
    expect(brokenLinks(page)).toEqual([]);
  });

  it("names files and commands that exist", () => {
    expect(missingFiles(page)).toEqual([]);
    expect(wrongCommands(page)).toEqual([]);
  });
});

describe("ARCHITECTURE.md", () => {
  it("has a row for every folder of src, and for every file of src/gpu", () => {
    const text = textOf("ARCHITECTURE.md");
    const folders = readdirSync(join(root, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const { name } of folders) expect(text).toContain(`| \`src/${name}/\` |`);
    // these are a few lines each
    const SMALL = ["index.ts", "errors.ts", "dispose.ts", "shader.ts", "webgpu.ts"];
    for (const file of readdirSync(join(root, "src/gpu")))
      if (!SMALL.includes(file)) expect(text).toContain(`\`src/gpu/${file}\``);
  });
});

describe("recorded decisions", () => {
  it("are numbered in a row, dated, and listed", () => {
    const index = textOf(`${DECISIONS}/README.md`);
    decisions.sort().forEach((file, at) => {
      expect(file).toMatch(new RegExp(`^${String(at + 1).padStart(4, "0")}-[a-z0-9-]+\\.md$`));
      const text = textOf(`${DECISIONS}/${file}`);
      const [title] = text.split("\n") as [string];
      expect(title).toMatch(new RegExp(`^# ${at + 1}\\. `));
      expect(index).toContain(`(${file})`);
      for (const part of [/^\d{4}-\d\d-\d\d$/m, /^## Context$/m, /^## Decision$/m, /^## Consequences$/m])
        expect(text, file).toMatch(part);
    });
  });
});

it("the site and README lead to every page of the guide", () => {
  const guide = pagesOf("docs/guide");
  expect(guide.length).toBeGreaterThanOrEqual(12);
  const menu = textOf("docs/.vitepress/config.mjs");
  for (const page of guide) {
    expect(textOf("README.md")).toContain(`(${page})`);
    expect(menu).toContain(`"${page.slice("docs/guide/".length, -".md".length)}"]`);
  }
});

it("CHANGELOG.md has a section for what is not released yet, or for package.json's version", () => {
  const { version } = JSON.parse(textOf("package.json")) as { version: string };
  const sections = [...textOf("CHANGELOG.md").matchAll(/^## \[([^\]]+)\]/gm)].map(([, name]) => name);
  expect(sections.some((name) => name === "Unreleased" || name === version)).toBe(true);
});

// ---- the examples of ARCHITECTURE.md

const folder = join(root, ".cache", `docs-${process.pid}`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const blocks = [...textOf("ARCHITECTURE.md").matchAll(/^```(?:ts|wgsl)\n\/\/ ([^\n]+)\n(.*?)^```/gms)].map(
  ([, title, code]) => ({ title: title!, code: code! }),
);
/** The rows that the examples add to tables of adapter.ts. */
const ROWS = /^a row of (\w+) in src\/ops\/adapter\.ts$/;
const examples = new Map(blocks.filter(({ title }) => !ROWS.test(title)).map(({ title, code }) => [title, code]));
let adapter = textOf("src/ops/adapter.ts");
for (const { title, code } of blocks) {
  const table = ROWS.exec(title)?.[1];
  if (table) adapter = adapter.replace(new RegExp(`^const ${table}\\b.*= \\{\\n`, "m"), (line) => `${line}${code}`);
}
// choices are known to all engines of the process: those of this copy are not to be
examples.set(
  "src/ops/adapter.ts",
  adapter.replace(/^import \{ declareChoice \} .*$/m, "const declareChoice = (..._: unknown[]): void => {};"),
);

/** Files of an example import each other, and all others from where these are. */
for (const [path, code] of examples) {
  const written = code.replace(/(from ")(\.[^"]+)(")/g, (_, before: string, to: string, after: string) => {
    const target = relative(root, resolve(root, dirname(path), to)).replace(/\.js$/, ".ts");
    return `${before}${join(examples.has(target) ? folder : root, target.replace(/\.ts$/, ".js"))}${after}`;
  });
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), written);
}
const load = <T>(path: string): Promise<T> => import(/* @vite-ignore */ join(folder, path));

describe("the examples of ARCHITECTURE.md", () => {
  it("are these", () => {
    expect([...examples.keys()].sort()).toEqual([
      ...["bench/page/spectrum/run.ts", "bench/page/spectrum/state.ts", "bench/page/spectrum/view.ts"],
      ...["shaders/soft_threshold.wgsl", "src/decompositions/rankOne.ts", "src/nn/tanh.ts", "src/ops/adapter.ts"],
      ...["src/ops/softThreshold.ts", "src/sources/imputed.ts"],
    ]);
    expect(examples.get("src/ops/adapter.ts")!.split("softThresholdWidth")).toHaveLength(3);
    expect(examples.get("src/ops/adapter.ts")).toContain("const declareChoice");
  });

  it("compile", () => {
    const config = {
      extends: join(root, "tsconfig.json"),
      include: [join(folder, "**/*.ts"), join(root, "src/wgsl.d.ts")],
      exclude: [],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const compiler = join(root, "node_modules/typescript/bin/tsc");
    const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
    expect([status, stdout]).toEqual([0, ""]);
  });

  it("the kernel computes what its loop does", async () => {
    const { softThreshold } = await load<{
      softThreshold(s: unknown, x: Tensor, options: { threshold: number }): Tensor;
    }>("src/ops/softThreshold.ts");
    const engine = await testEngine();
    const values = randomArray(131, 4);
    using x = engine.tensor([131], values);
    const out = await evaluate(engine, (s) => softThreshold(s, x, { threshold: 0.25 }));
    expectClose(
      out,
      values.map((value) => Math.sign(value) * Math.max(Math.abs(value) - 0.25, 0)),
      1e-6,
    );
  });

  it("the rule has a value for every kind of adapter, and is kept by what it can be forced to", async () => {
    const { RULES, KINDS, columnOf } = await load<typeof import("../src/ops/adapter.js")>("src/ops/adapter.ts");
    const rule = (RULES as unknown as Record<string, NumberRule>).softThresholdWidth!;
    const values = Object.keys(KINDS).map((kind) => columnOf(rule.values, kind as keyof typeof KINDS));
    expect(values).toEqual([8, 8, 64]);
    for (const value of values) expect(rule.numbers.is(value)).toBe(true);
  });

  it("the solver finds a planted model, of a source with missing entries too", async () => {
    const { rankOne } = await load<{
      rankOne(engine: Engine, x: unknown, options?: object): Promise<import("../src/index.js").Decomposition<Model>>;
    }>("src/decompositions/rankOne.ts");
    type Model = import("../src/index.js").KruskalTensor;
    type Imputed = import("../src/sources/index.js").Resident;
    const { imputed } = await load<{ imputed(engine: Engine, x: Tensor, present: Tensor): Promise<Imputed> }>(
      "src/sources/imputed.ts",
    );
    const engine = await testEngine();
    const shape = [6, 5, 4];
    const [a, b, c] = shape.map((extent, mode) => randomArray(extent, 10 + mode)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const clean = Float32Array.from(
      { length: 120 },
      (_, at) => 1e20 * a[Math.floor(at / 20)]! * b[Math.floor(at / 4) % 5]! * c[at % 4]!,
    );
    using x = engine.tensor(shape, clean);
    const { tensor, relativeError, converged } = await rankOne(engine, x);
    expect(converged).toBe(true);
    expect(relativeError).toBeLessThan(1e-6);
    expectClose(await evaluate(engine, (s) => tensor.full(s)), clean);
    tensor.destroy();
    const mask = randomArray(120, 7).map((value) => (value > 0.6 ? 0 : 1));
    using present = engine.tensor(shape, mask);
    using holes = engine.tensor(
      shape,
      clean.map((value, at) => (mask[at] ? value : 1e19)),
    );
    {
      using source = await imputed(engine, holes, present);
      const result = await rankOne(engine, source, { sweeps: 200, tolerance: 0 });
      expectClose(await evaluate(engine, (s) => result.tensor.full(s)), clean, 1e-3);
      result.tensor.destroy();
    }
  });

  it("the layer is tanh, forwards and backwards", async () => {
    const { Tanh, tanhKind } = await load<{
      Tanh: new () => import("../src/nn/index.js").Layer;
      tanhKind: import("../src/nn/layerKind.js").LayerKind;
    }>("src/nn/tanh.ts");
    const engine = await testEngine();
    const values = randomArray(12, 3);
    using x = engine.tensor([3, 4], values);
    const layer = new Tanh();
    const [y, dx] = await evaluate(engine, (s) => {
      const output = layer.forward(s, x, { training: true });
      return [output, layer.backward(s, x, { inputGradient: true })!];
    });
    expectClose(y!, values.map(Math.tanh));
    expectClose(
      dx!,
      values.map((value) => value * (1 - Math.tanh(value) ** 2)),
    );
    const fail = (): never => expect.fail("its kind describes and reads no more than its options");
    const options = tanhKind.optionsOf(layer, fail);
    expect([tanhKind.name, tanhKind.is(layer), options]).toEqual(["tanh", true, {}]);
    expect(tanhKind.build(new Fields(options, fail, fail))).toBeInstanceOf(Tanh);
  });

  it("the part goes from state to state", async () => {
    interface State {
      settings: { side: number };
      values: readonly number[];
      task: { phase: string };
    }
    const { initial, update } = await load<{
      initial(query: URLSearchParams): State;
      update(state: State, event: object): State;
    }>("bench/page/spectrum/state.ts");
    const start = initial(new URLSearchParams("side=500"));
    expect(start.settings).toEqual({ side: 32 });
    const events = [
      { type: "change", values: { side: 8 } },
      { type: "computed", values: [2, 1] },
      { type: "task", task: { type: "begin" } },
    ];
    const state = events.reduce(update, start);
    expect([state.settings.side, state.values, state.task.phase]).toEqual([8, [2, 1], "running"]);
    expect(update(state, { type: "moved", query: new URLSearchParams("side=9") }).settings.side).toBe(9);
  });
});
