import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  builtText,
  compact,
  libraryNames,
  linkShader,
  loadShader,
  reflectShader,
  shaderFolder,
  wgsl,
} from "../../shaders/loader.js";
import { shorten, shorterNames } from "../../shaders/shorten.js";
import { grid1d, Kernel } from "../../src/gpu/index.js";
import { packShader, unpackShader } from "../../src/gpu/shader.js";
import { testEngine } from "../engine.js";

const folder = mkdtempSync(join(tmpdir(), "tenfold-loader-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, code: string): string => {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), code);
  return join(folder, name);
};

const PARAMS = "struct Params { count: u32 }\n@group(0) @binding(0) var<uniform> params: Params;";
const MAIN = "@compute @workgroup_size(1)\nfn main() { out[0] = f32(params.count); }";
const OUT = "@group(0) @binding(1) var<storage, read_write> out: array<f32>;";

describe("linking", () => {
  it("pulls an import in once, however often it is asked for", () => {
    const path = file("twice.wgsl", `#import index\n#import index\n#import activation\n${PARAMS}\n${OUT}\n${MAIN}`);
    const { code, files } = linkShader(path);
    expect(code.match(/fn flat_workgroup/g)).toHaveLength(1);
    expect(code.match(/fn activate/g)).toHaveLength(1);
    expect(code).not.toContain("#import");
    expect(files).toHaveLength(3);
  });

  it("names an import that is not there", () => {
    expect(() => linkShader(file("lost.wgsl", "#import nowhere\n"))).toThrow(/lost\.wgsl.*nowhere/s);
  });
});

describe("reflection", () => {
  it("finds bindings, params and constants", () => {
    const shader = reflectShader(
      "example",
      [
        "const TILE: u32 = 64u;",
        "const SCALE: f32 = 0.5;",
        "const EDGES: bool = true;",
        "const AREA: u32 = TILE * TILE;",
        "alias scalar = f32;",
        "struct Params { count: u32, low: i32, factor: f32, shape: vec4<u32>, strides: array<vec4<u32>, 2> }",
        "@group(0) @binding(0) var<uniform> params: Params;",
        "@group(0) @binding(2) var<storage, read_write> out: array<scalar>;",
        "@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;",
        "@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;",
        "@compute @workgroup_size(TILE) fn main() { out[0] = x[0].x; atomicAdd(&counts[0], params.count); }",
      ].join("\n"),
    );
    expect(shader.bindings).toEqual([
      { binding: 1, name: "x", access: "read", scalar: "f32" },
      { binding: 2, name: "out", access: "read_write", scalar: "scalar" },
      { binding: 3, name: "counts", access: "read_write", scalar: "u32" },
    ]);
    expect(shader.params).toEqual([
      { name: "count", scalar: "u32", offset: 0, length: 1, stride: 0 },
      { name: "low", scalar: "i32", offset: 4, length: 1, stride: 0 },
      { name: "factor", scalar: "f32", offset: 8, length: 1, stride: 0 },
      { name: "shape", scalar: "u32", offset: 16, length: 4, stride: 0 },
      { name: "strides", scalar: "u32", offset: 32, length: 8, stride: 4 },
    ]);
    expect(shader.paramsSize).toBe(64);
    expect(shader.constants).toEqual({
      TILE: { type: "u32", value: 64 },
      SCALE: { type: "f32", value: 0.5 },
      EDGES: { type: "bool", value: true },
      scalar: { type: "alias", value: "f32" },
    });
  });

  it("notes the features that a shader enables", () => {
    const code = `enable f16;\n${PARAMS}\n${OUT}\n${MAIN}`;
    expect(reflectShader("half", code).features).toEqual(["shader-f16"]);
  });

  it.each([
    ["no main", `${PARAMS}\n${OUT}\n${MAIN.replace("main", "other")}`, "exactly one compute entry point"],
    ["two entry points", `${PARAMS}\n${OUT}\n${MAIN}\n${MAIN.replace("main", "other")}`, "exactly one compute entry"],
    ["no params", `${OUT}\n@compute @workgroup_size(1)\nfn main() { out[0] = 1.0; }`, "var<uniform> params"],
    ["params by another name", `${PARAMS}\n${OUT}\n${MAIN}`.replaceAll("params", "sizes"), "called params"],
    ["another group", `${PARAMS}\n${OUT.replace("group(0)", "group(1)")}\n${MAIN}`, "out must be in @group(0)"],
    [
      "nine storage buffers",
      [
        PARAMS,
        OUT,
        ...[2, 3, 4, 5, 6, 7, 8, 9].map((b) => `@group(0) @binding(${b}) var<storage> x${b}: array<f32>;`),
        MAIN,
      ].join("\n"),
      "9 storage buffers, WebGPU promises 8",
    ],
  ])("refuses a shader with %s", (_, code, message) => {
    expect(() => reflectShader("bad", code)).toThrow(`bad.wgsl: `);
    expect(() => reflectShader("bad", code)).toThrow(message);
  });
});

describe("constants", () => {
  it("are rewritten in place, and only they", () => {
    const code = `const A: u32 = 4u;\nconst AB: u32 = A;\n  const A_LOCAL: u32 = 9u;\nconst F: f32 = 1.0;\nconst B: bool = false;\nalias scalar = f32;\n${PARAMS}\n${OUT}\n${MAIN}`;
    const kernel = new Kernel(reflectShader("k", code), () => [1]);
    const rewritten = kernel.with({ A: 8, F: 2, B: true, scalar: "f16" });
    expect(rewritten.code).toContain("const A: u32 = 8u;\nconst AB: u32 = A;\n  const A_LOCAL: u32 = 9u;\n");
    expect(rewritten.code).toContain("const F: f32 = 2f;\nconst B: bool = true;\nalias scalar = f16;");
    expect(rewritten.key).toBe("k{A=8,B=true,F=2,scalar=f16}");
    expect(kernel.with({ A: 4 }).key).toBe("k");
    expect(kernel.with({ F: -1e-7 }).code).toContain("const F: f32 = -1e-7f;");
    expect(rewritten.with({ A: 16 }).constants).toMatchObject({ A: 16, F: 2, B: true });
    expect(kernel.code).toContain("const A: u32 = 4u;");
  });

  it("reach the grid as numbers", () => {
    const code = `const A: u32 = 4u;\nconst B: bool = true;\n${PARAMS}\n${OUT}\n${MAIN}`;
    const kernel = new Kernel(reflectShader("k", code), ({ count }, { A, B }) => [count! / A!, B!]);
    expect(kernel.workgroups({ count: 8 })).toEqual([2, 1, 1]);
    expect(kernel.with({ A: 2 }).workgroups({ count: 8 })).toEqual([4, 1, 1]);
  });
});

it("grid1d folds what one dimension cannot hold", () => {
  expect(grid1d(1, 64)).toEqual([1]);
  expect(grid1d(65535 * 64, 64)).toEqual([65535]);
  for (const groups of [65536, 1_000_003, 65535 * 65535]) {
    const [x, y] = grid1d(groups * 64, 64);
    expect(x).toBeLessThanOrEqual(65535);
    expect(y).toBeLessThanOrEqual(65535);
    expect(x! * y!).toBeGreaterThanOrEqual(groups);
    expect(x! * y! - groups).toBeLessThan(y!);
  }
});

/** the tokens of WGSL, in order */
const tokensOf = (wgsl: string): string[] =>
  wgsl.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, "").match(/\w[\w.]*|->|&&|\|\||<<=?|>>=?|[-+*/%&|^=!<>]=|--|\+\+|\S/g)!;

describe("the plugin", () => {
  const load = (id: string, command: "build" | "serve"): string => {
    const plugin = wgsl() as unknown as {
      configResolved(config: { command: string }): void;
      load(this: { addWatchFile(file: string): void }, id: string): { code: string } | null;
    };
    plugin.configResolved({ command });
    return plugin.load.call({ addWatchFile: () => {} }, id)?.code ?? "";
  };

  it("emits what gives the shader back, without comments in a build", () => {
    const path = file("commented.wgsl", `// said\n${PARAMS}\n\n\n// more\n${OUT}\n${MAIN} // kept`);
    const built = load(path, "build");
    const call = /^export default \/\* @__PURE__ \*\/ unpackShader\((.*)\);$/m.exec(built)![1]!;
    const { files, pieces, ...shader } = loadShader(path);
    const unpacked = unpackShader(...(JSON.parse(`[${call}]`) as Parameters<typeof unpackShader>));
    expect({ ...unpacked, code: "" }).toEqual({ ...shader, code: "" });
    expect(tokensOf(unpacked.code)).toEqual(tokensOf(`${PARAMS}\n${OUT}\n${MAIN}`));
    expect(unpacked.code).not.toMatch(/said|more|kept|\n\n/);
    expect(load(path, "serve")).toContain("said");
    expect(load("x.ts", "build")).toBe("");
  });

  it("emits late code as a module of its own in a build, which is loaded when it is needed", async () => {
    const path = file("late.wgsl", `enable subgroups;\n#import reduction\n${PARAMS}\n${OUT}\n${MAIN}`);
    const built = load(`${path}?late`, "build");
    const [, id] = /unpackShader\("late", \(\) => import\("(.*?)"\), /.exec(built)!;
    const { files, pieces, code, ...shader } = loadShader(path);
    const [, json] = /^export default (.*);$/.exec(load(id!, "build"))!;
    const loaded = JSON.parse(json!) as string;
    expect(tokensOf(loaded)).toEqual(tokensOf(code));
    const packed = packShader({ ...shader, code }) as [number, string, string, string, string];
    const late = unpackShader("late", async () => ({ default: loaded }), ...packed);
    expect(late).toMatchObject({ ...shader, code: "" });
    const special = new Kernel(late, () => [1]).with({ AHEAD: 32 });
    expect(special.code).toBe("");
    await late.load!();
    expect(tokensOf(special.code)).toEqual(
      tokensOf(code.replace(/const AHEAD: u32 = \d+u;/, "const AHEAD: u32 = 32u;")),
    );
    expect(load(`${path}?late`, "serve")).toContain("enable subgroups;");
    expect(load(path, "build")).toContain("enable subgroups;");
  });

  it("shares the text of imports between shaders in a build, also of those that load late", () => {
    const path = join(shaderFolder, "reduce.wgsl");
    const expected = tokensOf(builtText(linkShader(path).code));
    for (const [id, pattern] of [
      [path, /unpackShader\("reduce", (.*?), \d+, "/],
      [`${path}?code`, /^export default (.*);$/m],
    ] as const) {
      const built = load(id, "build");
      const text = Object.fromEntries(
        [...built.matchAll(/^import (common\d+) from "(.*)";$/gm)].map(([, name, id]) => {
          const [, json] = /^export default (.*);$/.exec(load(id!, "build"))!;
          return [name!, JSON.parse(json!) as string];
        }),
      );
      expect(Object.keys(text).length).toBeGreaterThan(0);
      const [, terms] = pattern.exec(built)!;
      const code = terms!.split(" + ").map((term) => text[term] ?? (JSON.parse(term) as string));
      expect(tokensOf(code.join(""))).toEqual(expected);
      expect(code.every((part) => part.endsWith("\n"))).toBe(true);
    }
  });

  it("leaves the names of shaders alone that are not the library's", () => {
    const path = file("foreign.wgsl", `#import reduction\n${PARAMS}\n${OUT}\n${MAIN}`);
    for (const id of [path, `${path}?code`])
      expect(load(id, "build")).toContain(JSON.stringify(compact(linkShader(path).code)));
  });
});

describe("short names", () => {
  const shortened = (kept: string[], ...codes: string[]): string[] => {
    const names = shorterNames(codes.map((code) => ({ code, kept })));
    return codes.map((code) => shorten(code, names));
  };

  it("are different where the names are, in every shader and in what shaders share", () => {
    const shared = "fn scaled(value: f32) -> f32 { return value * 2.0; }";
    const [first, second] = shortened([], `${shared} fn other(a: f32) -> f32 { let c = a; return scaled(c); }`, shared);
    expect(first!.startsWith(second!)).toBe(true);
    const [, name, argument] = /^fn (\w) ?\((\w): f32\)/.exec(second!)!;
    expect(second).toBe(`fn ${name}(${argument}: f32) -> f32 { return ${argument} * 2.0; }`);
    expect(new Set([name, argument, "a", "c"]).size).toBe(4);
  });

  it("are given to what a shader declares, not to what WGSL or the library knows by name", () => {
    const code =
      "const TILE: u32 = 4u; struct Pair { first: vec2<f32>, index: u32 } @group(0) @binding(1) var<storage> pairs: array<Pair>; " +
      "@compute fn main(@builtin(local_invocation_index) lane: u32) { let step = pairs[lane * TILE].first.xy; for (var index = 0u; index < 4u; index++) {} }";
    const [short] = shortened(["TILE"], code);
    for (const kept of [
      "const TILE: u32",
      "struct",
      "main(@builtin(local_invocation_index)",
      ".xy",
      "let step",
      "@group(0)",
    ])
      expect(short).toContain(kept);
    for (const name of ["Pair", "first", "pairs", "lane", "index"])
      expect(short).not.toMatch(new RegExp(`\\b${name}\\b`));
    // a field and a variable of one name stay of one name
    expect(short!.match(/(\w): u32 }/)![1]).toBe(short!.match(/var (\w) = 0u/)![1]);
  });

  it("are no names that another shader takes from WGSL", () => {
    const [first, second] = shortened([], "fn example() { let made_up = 1; }", "fn other() { made_up(); }");
    expect(first).toContain("made_up");
    expect(second).toContain("made_up");
  });
});

it("spaces go only where tokens stay apart", () => {
  const code = "let a = b - -c * (d + e) / *p; // f\n  x = -y && !z;\nif a < b { return -c; }\n";
  expect(compact(code)).toBe("let a=b - -c*(d+e)/ *p;\nx = -y && !z;\nif a < b{return-c;}\n");
});

describe("every shader of the library", () => {
  const names = readdirSync(shaderFolder).filter((name) => name.endsWith(".wgsl"));
  const loaded = new Map<string, ReturnType<typeof loadShader>>();
  it.each(names)("%s links, reflects and stays within WebGPU's default limits", (name) => {
    const shader = loadShader(join(shaderFolder, name));
    loaded.set(name, shader);
    expect(shader.name).toBe(name.replace(".wgsl", ""));
    expect(shader.code.split("\n")[0]).toMatch(/^\/\/ /);
    const packed = packShader(shader) as [number, string, string, string, string];
    const { files, pieces, ...source } = shader;
    expect(unpackShader(shader.name, shader.code, ...packed)).toEqual(source);
    for (const { scalar } of shader.params) expect(["u32", "i32", "f32"]).toContain(scalar);
    const plain = compact(shader.code);
    expect(tokensOf(plain)).toEqual(tokensOf(shader.code));
    expect(reflectShader(shader.name, plain)).toEqual({ ...source, code: plain });
  });

  it.each(names)("%s is the same with short names, as a build has it, and its constants are found", async (name) => {
    const { files, pieces, ...source } = loaded.get(name) ?? loadShader(join(shaderFolder, name));
    const plain = compact(source.code);
    const built = builtText(source.code);
    // which name became which; the names that are left are words of WGSL and of the engine
    const words = new Set(plain.match(/(?<!@)\b[A-Za-z_]\w*/g));
    const back = new Map([...libraryNames()].filter(([long]) => words.has(long)).map(([long, short]) => [short, long]));
    expect(back.size).toBe([...libraryNames().keys()].filter((long) => words.has(long)).length);
    for (const short of back.keys()) expect(words.has(short) && !libraryNames().has(short)).toBe(false);
    expect(shorten(built, back)).toBe(plain);
    const changed = Object.fromEntries(
      Object.entries(source.constants).map(([constant, { type, value }]) => [
        constant,
        type === "alias" ? "vec4f" : type === "bool" ? !value : Number(value) + 1,
      ]),
    );
    const kernelOf = (code: string) => new Kernel({ ...source, code }, () => [1]).with(changed);
    expect(shorten(kernelOf(built).code, back)).toBe(kernelOf(plain).code);
    const { device } = await testEngine();
    if (!source.features.every((feature) => device.features.has(feature as GPUFeatureName))) return;
    const { messages } = await device.createShaderModule({ code: built }).getCompilationInfo();
    expect(messages.filter(({ type }) => type === "error").map(({ message }) => message)).toEqual([]);
  });
});
