/** Reads the imports of every file and holds them against the house plan: which layer may know which. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** From the bottom up: a layer may import itself and those before it. */
const LAYERS = [
  "errors.ts",
  "gpu",
  "ops",
  "tensors",
  "sources",
  "decompositions",
  "methods",
  "nn",
  "compress",
  "experiments",
  "report",
];
const below = (layer: string): string[] => LAYERS.slice(0, LAYERS.indexOf(layer) + 1);

/** What each folder of src may import of the others. */
const MAY_IMPORT: Record<string, string[]> = {
  ...Object.fromEntries(LAYERS.map((layer) => [layer, below(layer)])),
  // results are saved and loaded; studies read data sets
  tensors: [...below("tensors"), "io"],
  nn: [...below("nn"), "io"],
  // what compresses ONNX models lies in compress/onnx, which the list of public names does not reach: see below
  compress: [...below("compress"), "io", "onnx"],
  experiments: [...below("experiments"), "io"],
  report: [...below("report"), "io"],
  io: ["errors.ts", "io"],
  // of gpu, rules for options and errors alone, which are looked at below
  onnx: ["errors.ts", "gpu", "io", "onnx"],
  // node reads the data sets of the studies; only cli and bench import node
  node: ["errors.ts", "gpu", "io", "experiments", "node"],
  // its configuration needs to know where modules lie in the package
  cli: [...LAYERS, "io", "onnx", "node", "cli", "build"],
  // what a build puts into the library
  build: ["gpu", "build"],
  // the lists of public names
  "index.ts": [...LAYERS, "io"].filter((layer) => !["methods", "experiments", "report"].includes(layer)),
  "ops.ts": ["gpu", "ops"],
  // its page is built with the loader's plugin; kernels are looked at below
  bench: [...LAYERS, "io", "onnx", "node", "bench", "index.ts", "shaders", "test/browser"],
};

interface Imported {
  file: string;
  /** as written */
  from: string;
  /** relative to the repository, or null for a package */
  path: string | null;
  /** `import type` or `export type`: erased by the compiler. `import { type X }` is not: it still loads the file. */
  typeOnly: boolean;
}

/** Code without comments; strings stay. */
const withoutComments = (code: string): string =>
  code.replace(/("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\/.*|\/\*[\s\S]*?\*\//g, "$1");

function importsOf(file: string, code: string): Imported[] {
  const text = withoutComments(code);
  const statements = text.matchAll(
    /\bfrom\s*["']([^"'\n]+)["']|\bimport\s*\(\s*["']([^"'\n]+)["']\s*[,)]|^\s*import\s*["']([^"'\n]+)["']/gm,
  );
  return [...statements].map(({ index, 1: a, 2: b, 3: c }) => {
    const from = (a ?? b ?? c)!;
    const typeOnly = a !== undefined && /(?:^|[\n;])\s*(?:import|export)\s+type\b[^;"']*$/.test(text.slice(0, index));
    // the bundler's `?url` asks for the file's address, the loader's `?late` for code that loads later
    const path = from.startsWith(".")
      ? relative(root, resolve(dirname(join(root, file)), from.replace(/\?(url|late)$/, "")))
      : null;
    return { file, from, path, typeOnly };
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
  return top === "src" ? next!.replace(/^(index|errors)\.js$/, "$1.ts") : top === "test" ? `test/${next}` : top!;
};
const isWgsl = ({ from }: Imported): boolean => /\.wgsl(\?late)?$/.test(from);
const isNode = ({ from }: Imported): boolean => from.startsWith("node:") || builtinModules.includes(from);

/** The rules that an import breaks. */
function broken(imported: Imported): string[] {
  const { file, from, path } = imported;
  const layer = layerOf(file);
  const said = (rule: string): string => `${file} imports ${from}: ${rule}`;
  const wrong: string[] = [];
  if (isWgsl(imported)) {
    // the benchmark's probes are its own
    const ofBenchmark = layer === "bench" && path?.startsWith("bench/");
    if (layer !== "ops" && !ofBenchmark) wrong.push(said("only ops import shaders"));
  } else if (path !== null && layer !== "shaders") {
    const target = layerOf(path);
    const allowed = MAY_IMPORT[layer];
    if (!allowed) wrong.push(said(`${layer} has no place in the house plan`));
    else if (!allowed.includes(target)) wrong.push(said(`${layer} may import ${allowed.join(", ")}`));
  }
  const ofKernels = path !== null && ["src/gpu/kernel.js", "src/gpu/shader.js", "shaders/shorten.js"].includes(path);
  if (layer === "shaders" && path !== null && !ofKernels) wrong.push(said("shaders stand alone"));
  if (from.startsWith("wgsl_reflect") && file !== "shaders/loader.ts") wrong.push(said("only the loader reflects"));
  const ofBuild = ["build", "shaders"].includes(layer) || file.endsWith("/vite.config.ts");
  if (isNode(imported) && !ofBuild && !["node", "cli", "bench"].includes(layer))
    wrong.push(said("only node and cli use Node"));
  if (from === "webgpu" && layer !== "node" && layer !== "bench") wrong.push(said("only node opens Dawn"));
  return wrong;
}

/**
 * Where two classes name each other, one of them points back by a type alone. The compiler erases it, so the files still load
 * in one order. Their public types need it: a tensor and a scheduler have an `engine`, and the engine makes both; a scheduler
 * records variants, whose samples record into a scheduler.
 */
const TYPES_THAT_POINT_BACK = [
  ["src/gpu/tensor.ts", "src/gpu/engine.ts"],
  ["src/gpu/schedule.ts", "src/gpu/engine.ts"],
  ["src/gpu/variants.ts", "src/gpu/schedule.ts"],
] as const;
const pointsBack = ({ file, path, typeOnly }: Imported): boolean =>
  typeOnly && TYPES_THAT_POINT_BACK.some(([from, to]) => file === from && path === to.replace(/\.ts$/, ".js"));

/** The first circle of files that import each other: `a.ts → b.ts → a.ts`; null where there is none. */
function circleOf(list: readonly Imported[]): string | null {
  const targets = new Map<string, string[]>();
  for (const { file, path } of list)
    if (path !== null) targets.set(file, [...(targets.get(file) ?? []), path.replace(/\.js$/, ".ts")]);
  /** files that lead into no circle */
  const cleared = new Set<string>();
  const visit = (file: string, way: readonly string[]): string | null => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file].join(" → ");
    if (cleared.has(file)) return null;
    for (const target of targets.get(file) ?? []) {
      const circle = visit(target, [...way, file]);
      if (circle) return circle;
    }
    cleared.add(file);
    return null;
  };
  for (const file of targets.keys()) {
    const circle = visit(file, []);
    if (circle) return circle;
  }
  return null;
}

/** Everything that a file pulls in, by itself and by others. */
function closure(entry: string): Imported[] {
  const seen = new Set<string>();
  const visit = (file: string): Imported[] => {
    if (seen.has(file)) return [];
    seen.add(file);
    const direct = imports.filter((imported) => imported.file === file);
    return [...direct, ...direct.flatMap(({ path }) => (path === null ? [] : visit(path.replace(/\.js$/, ".ts"))))];
  };
  return visit(entry);
}

/** Packages that the build takes in: fflate's few kB inflate .npz files. */
const BUNDLED = ["fflate"];

/** Errors of JavaScript's, which have no code: tenfold throws its own. */
const PLAIN_ERROR =
  /\bnew (?:Error|RangeError|TypeError|SyntaxError|EvalError|AggregateError|DOMException)\(|\bthrow ["'`]/g;

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

  it("errors are of tenfold's classes, and each class has a code of its own", () => {
    const source = files.filter(({ file }) => file.startsWith("src/"));
    const plain = source.flatMap(({ file, code }) => {
      const text = withoutComments(code);
      return [...text.matchAll(PLAIN_ERROR)].map(([thrown]) => `${file}: ${thrown}`);
    });
    expect(plain).toEqual([]);
    const classes = source.flatMap(({ code }) =>
      [
        ...withoutComments(code).matchAll(
          /\bclass (\w+) extends \w*Error \{(?:(?!\bclass )[\s\S])*?\bcode\b[^=;]*= "(\w+)"/g,
        ),
      ].map(([, name, errorCode]) => [name!, errorCode!] as const),
    );
    const declared = source.flatMap(({ code }) =>
      [...withoutComments(code).matchAll(/\bclass (\w+) extends \w*Error\b/g)].map(([, name]) => name),
    );
    // the base has `USAGE`, and what else the place that throws it says
    expect(declared.filter((name) => name !== "TenfoldError").sort()).toEqual(classes.map(([name]) => name).sort());
    const codes = classes.map(([, code]) => code);
    expect(new Set([...codes, "USAGE"]).size).toBe(codes.length + 1);
    // every code is in the list of src/errors.ts, with what it means, and none is there for nothing
    const { code: list } = source.find(({ file }) => file === "src/errors.ts")!;
    const listed = [...list.matchAll(/^ {2}\| "(\w+)"/gm)].map(([, code]) => code!);
    const explained = [...list.matchAll(/^ \* - `(\w+)`: /gm)].map(([, code]) => code!);
    const thrown = source.flatMap(({ code }) =>
      [...withoutComments(code).matchAll(/\bcode: "([A-Z_]+)"/g)].map(([, thrownCode]) => thrownCode!),
    );
    expect(explained).toEqual(listed);
    expect(listed.toSorted()).toEqual([...new Set(["USAGE", ...codes, ...thrown])].sort());
  });

  it("no files import each other in a circle, by values or by types", () => {
    expect(circleOf(imports.filter(({ typeOnly }) => !typeOnly))).toBeNull();
    expect(circleOf(imports.filter((imported) => !pointsBack(imported)))).toBeNull();
    // and every type that is let through is needed: without it there is a circle
    for (const [from, to] of TYPES_THAT_POINT_BACK) {
      const back = imports.filter((imported) => pointsBack(imported) && imported.file === from);
      const others = imports.filter((imported) => !pointsBack(imported));
      expect(circleOf([...others, ...back]), `${from} → ${to}`).toContain(from);
    }
  });

  it("only gpu calls WebGPU, and node opens it", () => {
    const calling = files
      .filter(({ file }) => file.startsWith("src/") && !["gpu", "node"].includes(layerOf(file)))
      .flatMap(({ file, code }) => {
        const call = WEBGPU.exec(withoutComments(code));
        return call ? [`${file}: ${call[0]}`] : [];
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
    const page = imports.filter(({ file }) => /^bench\/page\/(?!headless\/).+\.ts$/.test(file));
    expect(page.length).toBeGreaterThan(20);
    const inner = page.filter(
      ({ path }) => path && ["gpu", "ops", "tensors", "sources", "decompositions", "nn", "io"].includes(layerOf(path)),
    );
    expect(inner.map(({ file, from }) => `${file} imports ${from}`)).toEqual([]);
  });

  it.each(["src/index.ts", "src/ops.ts", "src/node/index.ts", "src/onnx/index.ts", "src/compress/onnx/index.ts"])(
    "%s lists its names one by one",
    (entry) => {
      expect(files.find(({ file }) => file === entry)!.code).not.toMatch(/export \*/);
    },
  );

  it("the library's entry needs no package, no Node and no command line", () => {
    const reached = closure("src/index.ts");
    expect(reached.length).toBeGreaterThan(5);
    const outside = reached.filter(({ path, from }) => path === null && !BUNDLED.includes(from));
    expect(outside.map(({ file, from }) => `${file} imports ${from}`)).toEqual([]);
    expect(reached.filter(({ path }) => path && ["node", "cli"].includes(layerOf(path)))).toEqual([]);
  });

  it("tenfold/onnx needs no GPU, and nothing else needs it but the command, the benchmark and tenfold/compress", () => {
    const reached = closure("src/onnx/index.ts");
    const ofGpu = reached.filter(({ path }) => path && layerOf(path) === "gpu").map(({ path }) => path);
    expect([...new Set(ofGpu)].sort()).toEqual(
      ["errors", "optionRules", "options"].map((name) => `src/gpu/${name}.js`),
    );
    expect(reached.filter(({ path }) => path === null).map(({ file, from }) => `${file} imports ${from}`)).toEqual([]);
    const users = imports.filter(({ path, file }) => path && layerOf(path) === "onnx" && layerOf(file) !== "onnx");
    expect([...new Set(users.map(({ file }) => layerOf(file)))].sort()).toEqual(["bench", "cli", "compress"]);
    const compressing = users.filter(({ file }) => layerOf(file) === "compress").map(({ file }) => file);
    expect(compressing.filter((file) => !file.startsWith("src/compress/onnx/"))).toEqual([]);
    const library = closure("src/index.ts").filter(({ path }) => path && layerOf(path) === "onnx");
    expect(library.map(({ file, from }) => `${file} imports ${from}`)).toEqual([]);
  });

  it("tenfold/node needs nothing but webgpu", () => {
    const outside = closure("src/node/index.ts").filter((imported) => imported.path === null && !isNode(imported));
    expect(outside.map(({ from }) => from).filter((from) => from !== "webgpu" && !BUNDLED.includes(from))).toEqual([]);
  });
});

describe("the test itself", () => {
  const check = (file: string, code: string): string[] => importsOf(file, code).flatMap(broken);

  it.each([
    ["src/gpu/engine.ts", 'import { matmul } from "../ops/matmul.js";', "gpu may import errors.ts, gpu"],
    [
      "src/ops/matmul.ts",
      'import type { Kruskal } from "../tensors/kruskal.js";',
      "ops may import errors.ts, gpu, ops",
    ],
    ["src/sources/slabs.ts", 'import { iterate } from "../decompositions/iterate.js";', "sources may import"],
    ["src/tensors/tucker.ts", 'import type { Model } from "../sources/source.js";', "tensors may import"],
    ["src/nn/linear.ts", 'export { compress } from "../compress/index.js";', "nn may import"],
    ["src/io/npy.ts", 'import { Engine } from "../gpu/engine.js";', "io may import errors.ts, io"],
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
    expect(check("src/io/npz.ts", 'import { TenfoldError } from "../errors.js";')).toEqual([]);
  });

  it("names a circle, and tells types from values", () => {
    const circle = (code: string): string | null =>
      circleOf(
        [
          importsOf("src/a.ts", 'import { b } from "./b.js";'),
          importsOf("src/b.ts", 'import { c } from "./c.js";\nimport { d } from "./d.js";'),
          importsOf("src/c.ts", 'import { d } from "./d.js";'),
          importsOf("src/d.ts", code),
        ]
          .flat()
          .filter(({ typeOnly }) => !typeOnly),
      );
    expect(circle('import { e } from "./e.js";')).toBeNull();
    expect(circle('import { b } from "./b.js";')).toBe("src/b.ts → src/c.ts → src/d.ts → src/b.ts");
    expect(circle('export * from "./d.js";')).toBe("src/d.ts → src/d.ts");
    expect(circle('import { e } from "./e.js";\nimport type {\n  B,\n} from "./b.js";')).toBeNull();
    expect(circle('export type { B } from "./b.js";')).toBeNull();
    expect(circle('import type { E } from "./e.js";\nimport { b } from "./b.js";')).toContain("src/b.ts");
    // erased are the names, not the import
    expect(circle('import { type B } from "./b.js";')).toContain("src/b.ts");
    expect(circle('const b = await import("./b.js");')).toContain("src/b.ts");
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
