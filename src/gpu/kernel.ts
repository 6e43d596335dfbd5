import { KernelError, TenfoldError } from "./errors.js";

/** A tunable of a shader: a typed one-line `const`, or `alias scalar`. */
export interface ShaderConstant {
  type: "u32" | "i32" | "f32" | "bool" | "alias";
  value: number | boolean | string;
}

export interface ShaderBinding {
  binding: number;
  name: string;
  access: "read" | "read_write";
  /** type of the numbers in it, f32 of `array<vec4f>`; `scalar` where the kernel's constant of that name says which type */
  scalar: string;
}

/** One member of the `params` uniform. Offsets in bytes, lengths and strides in 4-byte words. */
export interface ShaderParam {
  name: string;
  scalar: "u32" | "i32" | "f32";
  offset: number;
  length: number;
  stride: number;
}

/** A linked and reflected shader, as the build emits it. Plain data. */
export interface ShaderSource {
  name: string;
  /** the WGSL; empty until `load` is done, where there is that */
  code: string;
  /** @internal loads the code of a shader that few adapters run: called before a kernel of it is compiled */
  load?: () => Promise<void>;
  bindings: ShaderBinding[];
  params: ShaderParam[];
  /** bytes, rounded up to 16 */
  paramsSize: number;
  constants: Record<string, ShaderConstant>;
  /** GPU features that the shader enables */
  features: string[];
}

export type Params = Record<string, number | readonly number[]>;
export type Constants = Record<string, number | boolean | string>;
/** Workgroups in x, y and z, from a dispatch's params and the kernel's constants. */
export type Grid = (params: Readonly<Record<string, number>>, constants: Readonly<Record<string, number>>) => number[];

/**
 * A shader and how its grid follows from params and constants. `with({ TILE: 64 })` is another specialisation; pipelines
 * are cached by name and constants.
 */
export class Kernel {
  readonly name: string;
  /** all constants: those that `with` changed, and the shader's values of the others */
  readonly constants: Readonly<Constants>;
  /** the cache key: `matmul_tiled{TILE=64}` */
  readonly key: string;
  /** the constants as numbers, for grids */
  readonly #numbers: Readonly<Record<string, number>>;
  /** other specialisations that were asked for, by the constants that they change */
  readonly #others = new Map<string, Kernel>();
  #code: string | undefined;

  constructor(
    readonly source: ShaderSource,
    readonly grid: Grid,
    private readonly changed: Constants = {},
  ) {
    this.name = source.name;
    for (const name of Object.keys(changed)) {
      if (!(name in source.constants))
        throw new TenfoldError(
          `${source.name}: no constant named "${name}"; it has ${Object.keys(source.constants).join(", ") || "none"}`,
        );
      checkConstant(source, name, changed[name]!);
    }
    const constants: Constants = {};
    for (const [name, { value }] of Object.entries(source.constants)) constants[name] = changed[name] ?? value;
    this.constants = constants;
    this.#numbers = Object.fromEntries(Object.entries(constants).map(([name, value]) => [name, Number(value)]));
    const listed = Object.keys(changed)
      .filter((name) => changed[name] !== source.constants[name]!.value)
      .sort()
      .map((name) => `${name}=${changed[name]}`);
    this.key = listed.length ? `${source.name}{${listed.join(",")}}` : source.name;
  }

  /** Another specialisation of the same shader. Unknown names throw. */
  with(constants: Constants): Kernel {
    const key = listOf(constants);
    let other = this.#others.get(key);
    if (!other) {
      other = new Kernel(this.source, this.grid, { ...this.changed, ...constants });
      this.#others.set(key, other);
    }
    return other;
  }

  /** The WGSL with its constants rewritten. */
  get code(): string {
    if (!this.#code) {
      let code = this.source.code;
      for (const [name, value] of Object.entries(this.changed)) {
        const { type } = this.source.constants[name]!;
        code =
          type === "alias"
            ? code.replace(new RegExp(`^alias ${name}\\s*=\\s*\\w+;`, "m"), `alias ${name} = ${value};`)
            : code.replace(
                new RegExp(`^const\\s+${name}\\s*:\\s*${type}\\s*=\\s*[^;]+;`, "m"),
                `const ${name}: ${type} = ${literal(type, value)};`,
              );
      }
      this.#code = code;
    }
    return this.#code;
  }

  /** Workgroups in x, y, z for these params. */
  workgroups(params: Params): [number, number, number] {
    // grids follow from params that are numbers, and not from lists of them
    const [x = 1, y = 1, z = 1] = this.grid(params as Record<string, number>, this.#numbers);
    return [x, y, z];
  }
}

/** Constants in a line, to find what was made of them before: `TILE=number:64,SPLIT=boolean:true,` */
export function listOf(constants: Constants): string {
  let list = "";
  for (const name in constants) list += `${name}=${typeof constants[name]}:${constants[name]},`;
  return list;
}

function checkConstant(source: ShaderSource, name: string, value: number | boolean | string): void {
  const { type } = source.constants[name]!;
  const fits =
    type === "bool"
      ? typeof value === "boolean"
      : type === "alias"
        ? typeof value === "string" && /^\w+$/.test(value)
        : typeof value === "number" &&
          (type === "f32" ? Number.isFinite(value) : Number.isInteger(value) && (type === "i32" || value >= 0));
  if (!fits) throw new KernelError([source.name], `${source.name}: constant ${name} is ${value}, needs ${type}`);
}

function literal(type: ShaderConstant["type"], value: number | boolean | string): string {
  if (type === "bool") return String(Boolean(value));
  if (type === "f32") return `${value}f`;
  return type === "u32" ? `${value}u` : String(value);
}

/** Workgroups for `items` invocations of `size` a workgroup, folded into x and y where one dimension is not enough. */
export function grid1d(items: number, size: number): number[] {
  const groups = Math.max(1, Math.ceil(items / size));
  if (groups <= 65535) return [groups];
  const y = Math.ceil(groups / 65535);
  return [Math.ceil(groups / y), y];
}
