/**
 * Links and reflects the kernels at build time: it replaces `#import`s, reads bindings, params and tunable constants with
 * wgsl_reflect, and emits plain data. Nothing else uses wgsl_reflect, so that the running library does not contain it.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { WgslReflect } from "wgsl_reflect/wgsl_reflect.module.js";
import type { ShaderBinding, ShaderConstant, ShaderParam, ShaderSource } from "../src/gpu/kernel.js";
import { packShader } from "../src/gpu/shader.js";
import { shorten, shorterNames } from "./shorten.js";

export const shaderFolder = dirname(fileURLToPath(import.meta.url));
const IMPORT = /^#import\s+(\w+)\s*$/gm;
const CONSTANT = /^(?:const\s+(\w+)\s*:\s*(u32|i32|f32|bool)\s*=\s*([^;]+);|alias\s+(scalar)\s*=\s*(\w+);)/gm;

/** A run of lines of a linked shader, of one file. */
interface Piece {
  file: string;
  code: string;
}

/**
 * The code of a shader file with every `#import name` replaced by common/name.wgsl: the first import of a file by its code, later
 * ones by nothing. `files` are the paths of all files that it consists of, `pieces` its code by file, in order.
 */
export function linkShader(file: string): { code: string; files: string[]; pieces: Piece[] } {
  const files: string[] = [];
  const link = (path: string): Piece[] => {
    if (files.includes(path)) return [];
    files.push(path);
    // text and names of imports by turns
    return readFileSync(path, "utf8")
      .split(IMPORT)
      .flatMap((part, at) => {
        if (at % 2 === 0) return { file: path, code: part };
        const imported = join(shaderFolder, "common", `${part}.wgsl`);
        if (!existsSync(imported)) throw new Error(`${basename(path)}: #import ${part}, but there is no ${imported}`);
        return link(imported);
      });
  };
  const pieces = link(file);
  return { code: pieces.map(({ code }) => code).join(""), files, pieces };
}

/** The tunables of a linked shader: its typed one-line `const`s and `alias scalar`. */
function constantsOf(code: string): Record<string, ShaderConstant> {
  const constants: Record<string, ShaderConstant> = {};
  for (const [, name, type, value, alias, target] of code.matchAll(CONSTANT)) {
    if (alias) constants[alias] = { type: "alias", value: target! };
    else if (type === "bool") constants[name!] = { type, value: value!.trim() === "true" };
    else {
      const number = Number(value!.trim().replace(/[uif]$/, ""));
      // a constant that is computed from other constants follows them, and is not a tunable
      if (Number.isFinite(number)) constants[name!] = { type: type as "u32", value: number };
    }
  }
  return constants;
}

interface ReflectedType {
  name: string;
  format?: ReflectedType | null;
  members?: { name: string; offset: number; size: number; type: ReflectedType & { stride?: number; count?: number } }[];
}

const scalarOf = (type: ReflectedType): string => {
  let inner = type;
  while (inner.format) inner = inner.format;
  return inner.name;
};

/**
 * Reflects linked WGSL into the plain data from which the engine builds layouts, pipelines and params.
 *
 * @throws Error, with the file's name, where the code breaks a rule of the house: one compute entry point called main, all
 * bindings in group 0, binding 0 the uniform `params`, at most 8 storage buffers.
 */
export function reflectShader(name: string, code: string): ShaderSource {
  const reflected = new WgslReflect(code);
  if (reflected.entry.compute.length !== 1 || reflected.entry.compute[0]!.name !== "main")
    throw new Error(`${name}.wgsl: needs exactly one compute entry point, called main`);
  const bindings: ShaderBinding[] = [];
  let params: ShaderParam[] = [];
  let paramsSize = 0;
  for (const variable of [...reflected.uniforms, ...reflected.storage]) {
    const type = variable.type as ReflectedType;
    if (variable.group !== 0) throw new Error(`${name}.wgsl: ${variable.name} must be in @group(0)`);
    if (variable.binding === 0) {
      if (variable.name !== "params") throw new Error(`${name}.wgsl: binding 0 is always the uniform called params`);
      paramsSize = variable.size;
      params = type.members!.map((member) => {
        const array = member.type.count && member.type.stride ? member.type : null;
        return {
          name: member.name,
          scalar: scalarOf(member.type) as ShaderParam["scalar"],
          offset: member.offset,
          length: member.size / 4,
          stride: array ? array.stride! / 4 : 0,
        };
      });
    } else {
      const access = variable.access === "read" || variable.access === "" ? "read" : "read_write";
      const aliased = new RegExp(`\\b${variable.name}\\s*:\\s*array<scalar>`).test(code);
      const scalar = aliased ? "scalar" : scalarOf(type);
      bindings.push({ binding: variable.binding, name: variable.name, access, scalar });
    }
  }
  bindings.sort((a, b) => a.binding - b.binding);
  if (!paramsSize) throw new Error(`${name}.wgsl: needs @group(0) @binding(0) var<uniform> params`);
  if (bindings.length > 8) throw new Error(`${name}.wgsl: ${bindings.length} storage buffers, WebGPU promises 8`);
  const features = [...code.matchAll(/^enable\s+(\w+);/gm)].map(([, feature]) =>
    feature === "f16" ? "shader-f16" : feature!,
  );
  return {
    name,
    code,
    bindings,
    params,
    paramsSize: Math.ceil(paramsSize / 16) * 16,
    constants: constantsOf(code),
    features,
  };
}

/** The shader of one file, linked and reflected. */
export function loadShader(file: string): ShaderSource & { files: string[]; pieces: Piece[] } {
  const { code, files, pieces } = linkShader(file);
  return { ...reflectShader(basename(file, ".wgsl"), code), files, pieces };
}

/**
 * WGSL without comments, indentation, empty lines, and spaces beside brackets, commas and operators. Lines stay, as messages of compilers
 * count them and constants are found at their beginnings.
 */
export const compact = (code: string): string => {
  const lines = code.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, "").split("\n");
  const texts = lines.map((line) => line.trim().replace(/\s+/g, " ")).filter((line) => line);
  return texts.map((line) => `${line.replace(AROUND, "$1").replace(BETWEEN, "$1")}\n`).join("");
};

/** spaces around what can be no part of a longer token */
const AROUND = / ?([,;:{}()]) ?/g;
/** spaces around an operator between a name, number or bracket and another: `a - -b` keeps its own, and so do `<` and `>` */
const BETWEEN = /(?<=[\w)\]]) ?((?:[-+*/%&|^=!]|<<|>>)=?|&&|\|\|) ?(?=[\w(])/g;

let shorter: ReadonlyMap<string, string> | undefined;

/** Short names for the shaders of the library, by their names. */
export function libraryNames(): ReadonlyMap<string, string> {
  shorter ??= shorterNames(
    readdirSync(shaderFolder)
      .filter((name) => name.endsWith(".wgsl"))
      .map((name) => linkShader(join(shaderFolder, name)))
      .map(({ code }) => ({ code: compact(code), kept: Object.keys(constantsOf(code)) })),
  );
  return shorter;
}

/** What a build has of a part of a shader of the library: no comments, and short names. */
export const builtText = (code: string): string => shorten(compact(code), libraryNames());

/** Asks for what a file of common/ adds to a linked shader, as a module that all who import it share. */
const TEXT = "?text";
/**
 * `import shader from "x.wgsl?late"`: a shader whose code is a module of its own in a build, `x.wgsl?code`, which loads when the first
 * kernel of it is compiled. For kernels that most programs never compile, and for those among which an adapter chooses.
 */
const LATE = "?late";
const CODE = "?code";

/**
 * The code of a shader as an expression of JavaScript, with the imports that it needs. A shader of somebody else, as of a test, has
 * names that the library's map does not know: its code stays in one piece, with long names.
 */
function builtCode(path: string, pieces: readonly Piece[]): { imports: string; code: string } {
  if (dirname(path) !== shaderFolder)
    return { imports: "", code: JSON.stringify(compact(pieces.map(({ code }) => code).join(""))) };
  const texts = pieces.map(({ file, code }) => ({ file, text: builtText(code) })).filter(({ text }) => text);
  const imports: string[] = [];
  const terms = texts.map(({ file, text }) => {
    const alone = texts.filter((other) => other.file === file).length === 1;
    if (!alone || dirname(file) !== join(shaderFolder, "common")) return JSON.stringify(text);
    imports.push(`import common${imports.length} from ${JSON.stringify(`${file}${TEXT}`)};\n`);
    return `common${imports.length - 1}`;
  });
  return { imports: imports.join(""), code: terms.join(" + ") };
}

const unpacking = join(shaderFolder, "../src/gpu/shader.ts");

/** Vite plugin: `import shader from "x.wgsl"`, or from "x.wgsl?late", gives a {@link ShaderSource}. */
export function wgsl(): Plugin {
  let build = false;
  return {
    name: "tenfold-wgsl",
    enforce: "pre",
    configResolved(config) {
      build = config.command === "build";
    },
    load(id) {
      if (id.endsWith(`.wgsl${TEXT}`)) {
        const text = builtText(readFileSync(id.slice(0, -TEXT.length), "utf8").replace(IMPORT, ""));
        return { code: `export default ${JSON.stringify(text)};`, moduleType: "js" };
      }
      if (id.endsWith(`.wgsl${CODE}`)) {
        const path = id.slice(0, -CODE.length);
        const { imports, code } = builtCode(path, linkShader(path).pieces);
        return { code: `${imports}export default ${code};`, moduleType: "js" };
      }
      const isLate = id.endsWith(`.wgsl${LATE}`);
      const path = isLate ? id.slice(0, -LATE.length) : id;
      if (!path.endsWith(".wgsl")) return null;
      const { files, pieces, ...shader } = loadShader(path);
      for (const file of files) this.addWatchFile(file);
      const late = { imports: "", code: `() => import(${JSON.stringify(`${path}${CODE}`)})` };
      const here = { imports: "", code: JSON.stringify(shader.code) };
      const { imports, code } = build ? (isLate ? late : builtCode(path, pieces)) : here;
      const rest = packShader(shader).map((argument) => JSON.stringify(argument));
      const call = `/* @__PURE__ */ unpackShader(${[JSON.stringify(shader.name), code, ...rest].join(", ")})`;
      const unpack = `import { unpackShader } from ${JSON.stringify(unpacking)};\n`;
      return { code: `${unpack}${imports}export default ${call};`, moduleType: "js" };
    },
  };
}
