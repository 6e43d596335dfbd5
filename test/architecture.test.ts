/** Reads the imports of every file and holds them against the house plan: which layer may know which. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** From the bottom up: a layer may import itself and those before it. */
const LAYERS = ["gpu", "ops", "tensors", "decompositions", "nn", "compress", "experiments"];
const below = (layer: string): string[] => LAYERS.slice(0, LAYERS.indexOf(layer) + 1);

/** What each folder of src may import of the others. */
const MAY_IMPORT: Record<string, string[]> = {
  ...Object.fromEntries(LAYERS.map((layer) => [layer, below(layer)])),
  // results are saved and loaded; studies read data sets
  tensors: [...below("tensors"), "io"],
  nn: [...below("nn"), "io"],
  compress: [...below("compress"), "io"],
  experiments: [...below("experiments"), "io"],
  io: ["io"],
  // node reads the data sets of the studies; only cli and bench import node
  node: ["gpu", "io", "experiments", "node"],
  cli: [...LAYERS, "io", "node", "cli"],
  "index.ts": [...LAYERS, "io"].filter((layer) => layer !== "experiments"),
  // its page is built with the loader's plugin; kernels are looked at below
  bench: [...LAYERS, "io", "node", "bench", "index.ts", "shaders", "test/browser"],
};

interface Imported {
  file: string;
  /** as written */
  from: string;
  /** relative to the repository, or null for a package */
  path: string | null;
}

/** Code without comments; strings stay. */
const withoutComments = (code: string): string =>
  code.replace(/("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\/.*|\/\*[\s\S]*?\*\//g, "$1");

function importsOf(file: string, code: string): Imported[] {
  const found = withoutComments(code).matchAll(
    /\bfrom\s*["']([^"'\n]+)["']|\bimport\s*\(\s*["']([^"'\n]+)["']\s*[,)]|^\s*import\s*["']([^"'\n]+)["']/gm,
  );
  return [...found].map(([, a, b, c]) => {
    const from = (a ?? b ?? c)!;
    // the bundler's `?url` asks for the file's address
    const path = from.startsWith(".")
      ? relative(root, resolve(dirname(join(root, file)), from.replace(/\?url$/, "")))
      : null;
    return { file, from, path };
  });
}

const files = ["src", "bench", "shaders"]
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((f) => join(folder, f)),
  )
  .map((file) => file.replaceAll("\\", "/"))
  .filter(
    (file) =>
      /\.(ts|mts|js|mjs)$/.test(file) && !file.endsWith(".d.ts") && !/(^|\/)(node_modules|dist|peers)\//.test(file),
  )
  .map((file) => ({ file, code: readFileSync(join(root, file), "utf8") }));
const imports = files.flatMap(({ file, code }) => importsOf(file, code));

/** `gpu` of src/gpu/engine.ts, `bench` of bench/cases.ts, `index.ts` of src/index.ts */
const layerOf = (path: string): string => {
  const [top, next] = path.split("/");
  return top === "src" ? next!.replace(/^index\.js$/, "index.ts") : top === "test" ? `test/${next}` : top!;
};
const isWgsl = ({ from }: Imported): boolean => from.endsWith(".wgsl");
const isNode = ({ from }: Imported): boolean => from.startsWith("node:") || builtinModules.includes(from);

/** The rules that an import breaks. */
function broken(imported: Imported): string[] {
  const { file, from, path } = imported;
  const layer = layerOf(file);
  const said = (rule: string): string => `${file} imports ${from}: ${rule}`;
  const wrong: string[] = [];
  if (isWgsl(imported)) {
    // the benchmark's probes are its own
    const own = layer === "bench" && path?.startsWith("bench/");
    if (layer !== "ops" && !own) wrong.push(said("only ops import shaders"));
  } else if (path !== null && layer !== "shaders") {
    const target = layerOf(path);
    const allowed = MAY_IMPORT[layer];
    // errors are plain classes without a GPU
    const errors = layer === "io" && path === "src/gpu/errors.js";
    if (!allowed) wrong.push(said(`${layer} has no place in the house plan`));
    else if (!allowed.includes(target) && !errors) wrong.push(said(`${layer} may import ${allowed.join(", ")}`));
  }
  if (layer === "shaders" && path !== null && path !== "src/gpu/kernel.js") wrong.push(said("shaders stand alone"));
  if (from.startsWith("wgsl_reflect") && file !== "shaders/loader.ts") wrong.push(said("only the loader reflects"));
  if (isNode(imported) && !["node", "cli", "bench", "shaders"].includes(layer))
    wrong.push(said("only node and cli use Node"));
  if (from === "webgpu" && layer !== "node" && layer !== "bench") wrong.push(said("only node opens Dawn"));
  return wrong;
}

/** Everything that a file pulls in, by itself and by others. */
function closure(entry: string): Imported[] {
  const seen = new Set<string>();
  const visit = (file: string): Imported[] => {
    if (seen.has(file)) return [];
    seen.add(file);
    const own = imports.filter((imported) => imported.file === file);
    return [...own, ...own.flatMap(({ path }) => (path === null ? [] : visit(path.replace(/\.js$/, ".ts"))))];
  };
  return visit(entry);
}

/** Packages that the build takes in: fflate's few kB inflate .npz files. */
const BUNDLED = ["fflate"];

/** WebGPU's globals and calls. */
const WEBGPU =
  /\bnavigator\.gpu\b|\bGPU(?:Buffer|Texture|Shader|Map)(?:Usage|Stage|Mode)\b|\.(?:create(?:Buffer|Texture|Sampler|ShaderModule|BindGroup|BindGroupLayout|PipelineLayout|ComputePipeline|ComputePipelineAsync|CommandEncoder|QuerySet)|beginComputePass|dispatchWorkgroups|writeBuffer|mapAsync|pushErrorScope|requestAdapter|requestDevice)\(/;

describe("the house plan", () => {
  it("finds the files", () => {
    expect(files.length).toBeGreaterThan(20);
    expect(imports.length).toBeGreaterThan(60);
    for (const { file, path } of imports) {
      if (path === null) continue;
      const source = join(root, path.replace(/\.js$/, ".ts"));
      expect(existsSync(source) || existsSync(join(root, path)), `${file} imports ${path}`).toBe(true);
    }
  });

  it("imports point down, each layer knows what it may", () => {
    expect(imports.flatMap(broken)).toEqual([]);
  });

  it("only gpu calls WebGPU, and node opens it", () => {
    const calling = files
      .filter(({ file }) => file.startsWith("src/") && !["gpu", "node"].includes(layerOf(file)))
      .flatMap(({ file, code }) => {
        const found = WEBGPU.exec(withoutComments(code));
        return found ? [`${file}: ${found[0]}`] : [];
      });
    expect(calling).toEqual([]);
  });

  it("only families know what an adapter has; whoever else decides by it reads a rule", () => {
    const facts = /\b(?:adapterOf|lanesOf|candidatesOf)\b|\badapterInfo\b|\bsubgroup(?:Min|Max)Size\b/;
    const knowing = files
      .filter(({ file }) => file.startsWith("src/") && !/^src\/(gpu\/|ops\/(adapter\.ts|families\/))/.test(file))
      .flatMap(
        ({ file, code }) =>
          facts
            .exec(withoutComments(code))
            ?.slice(0, 1)
            .map((fact) => `${file}: ${fact}`) ?? [],
      );
    expect(knowing).toEqual([]);
  });

  it("what a software adapter is called is said in one place", () => {
    const saying = files.filter(({ code }) => /llvmpipe/i.test(withoutComments(code))).map(({ file }) => file);
    expect(saying.filter((file) => !file.startsWith("src/gpu/"))).toEqual([]);
    expect(saying.length).toBe(1);
  });

  it("the demo page uses the library as an embedding app would", () => {
    const page = imports.filter(({ file }) => /^bench\/page\/[^/]+\.ts$/.test(file));
    expect(page.length).toBeGreaterThan(20);
    const inner = page.filter(
      ({ path }) => path && ["gpu", "ops", "tensors", "decompositions", "nn", "io"].includes(layerOf(path)),
    );
    expect(inner.map(({ file, from }) => `${file} imports ${from}`)).toEqual([]);
  });

  it("the library's entry needs no package, no Node and no command line", () => {
    const reached = closure("src/index.ts");
    expect(reached.length).toBeGreaterThan(5);
    const outside = reached.filter(({ path, from }) => path === null && !BUNDLED.includes(from));
    expect(outside.map(({ file, from }) => `${file} imports ${from}`)).toEqual([]);
    expect(reached.filter(({ path }) => path && ["node", "cli"].includes(layerOf(path)))).toEqual([]);
  });

  it("tenfold/node needs nothing but webgpu", () => {
    const outside = closure("src/node/index.ts").filter((imported) => imported.path === null && !isNode(imported));
    expect(outside.map(({ from }) => from).filter((from) => from !== "webgpu" && !BUNDLED.includes(from))).toEqual([]);
  });
});

describe("the test itself", () => {
  const check = (file: string, code: string): string[] => importsOf(file, code).flatMap(broken);

  it.each([
    ["src/gpu/engine.ts", 'import { matmul } from "../ops/matmul.js";', "gpu may import gpu"],
    ["src/ops/matmul.ts", 'import type { Kruskal } from "../tensors/kruskal.js";', "ops may import gpu, ops"],
    ["src/nn/linear.ts", 'export { compress } from "../compress/index.js";', "nn may import"],
    ["src/io/npy.ts", 'import { Engine } from "../gpu/engine.js";', "io may import io"],
    ["src/nn/linear.ts", 'import shader from "../../shaders/linear.wgsl";', "only ops import shaders"],
    ["bench/probes.ts", 'import shader from "../shaders/matmul.wgsl";', "only ops import shaders"],
    ["src/gpu/kernel.ts", 'import { WgslReflect } from "wgsl_reflect";', "only the loader reflects"],
    ["src/experiments/mnist.ts", 'import {\n  readFileSync,\n} from "node:fs";', "only node and cli use Node"],
    ["src/io/npy.ts", 'const fs = await import("fs");', "only node and cli use Node"],
    ["src/cli/main.ts", 'const { create } = await import("webgpu");', "only node opens Dawn"],
    ["src/extra/x.ts", 'import "../gpu/index.js";', "extra has no place"],
    ["src/index.ts", 'export * from "./node/index.js";', "index.ts may import"],
  ])("sees what is wrong in %s", (file, code, rule) => {
    expect(check(file, code).join()).toContain(rule);
  });

  it("sees nothing in comments, strings and what is allowed", () => {
    expect(check("src/gpu/engine.ts", '// import "../ops/matmul.js"\n/* from "../nn/x.js" */')).toEqual([]);
    expect(
      check("src/cli/main.ts", 'import { readFileSync } from "node:fs";\nimport "../experiments/mnist.js";'),
    ).toEqual([]);
    expect(check("src/io/npz.ts", 'import { TenfoldError } from "../gpu/errors.js";')).toEqual([]);
  });

  it("knows WebGPU when it sees it", () => {
    for (const code of [
      "device.createBuffer({})",
      "navigator.gpu",
      "GPUBufferUsage.STORAGE",
      "pass.dispatchWorkgroups(1)",
    ])
      expect(code).toMatch(WEBGPU);
    expect("engine.tensor(shape)").not.toMatch(WEBGPU);
  });
});
