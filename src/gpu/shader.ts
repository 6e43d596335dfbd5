import type { ShaderBinding, ShaderConstant, ShaderParam, ShaderSource } from "./kernel.js";

const rows = (text: string): string[][] => (text ? text.split(";").map((row) => row.split(" ")) : []);

/**
 * The shader that {@link packShader} packed: kernels are most of what a program carries of tenfold, and the names of fields
 * would be a third of them. `code` is the WGSL, or loads a module that has it.
 */
export function unpackShader(
  name: string,
  code: string | (() => Promise<{ default: string }>),
  paramsSize: number,
  bindings: string,
  params: string,
  constants: string,
  features: string,
): ShaderSource {
  /** of the param before */
  let end = 0;
  const source: ShaderSource = {
    name,
    code: "",
    bindings: rows(bindings).map(([name, access = "r", scalar = "f32", binding], index) => ({
      binding: Number(binding ?? index + 1),
      name,
      access: access === "r" ? "read" : "read_write",
      scalar,
    })) as ShaderBinding[],
    params: rows(params).map(([name, scalar = "u32", offset, length = 1, stride = 0]) => {
      const at = offset === undefined ? end : Number(offset);
      end = at + 4 * Number(length);
      return { name, scalar, offset: at, length: Number(length), stride: Number(stride) };
    }) as ShaderParam[],
    paramsSize,
    constants: Object.fromEntries(
      rows(constants).map(([name, value, type = "u32"]) => [
        name,
        { type, value: type === "alias" ? value : JSON.parse(value!) },
      ]),
    ) as Record<string, ShaderConstant>,
    features: features ? features.split(" ") : [],
  };
  if (typeof code === "string") source.code = code;
  else source.load = async () => void (source.code = (await code()).default);
  return source;
}

/** Columns of a row, but for those at its end that are as the columns of `usual`. */
function shortened(row: readonly unknown[], usual: readonly unknown[]): string {
  let count = row.length;
  while (count > 1 && String(row[count - 1]) === String(usual[count - 1])) count--;
  return row.slice(0, count).join(" ");
}

/** The arguments of {@link unpackShader} that follow the code. What is usual is left out: a param is a u32 behind the
 * param before it. */
export function packShader({ bindings, params, paramsSize, constants, features }: ShaderSource): unknown[] {
  let end = 0;
  return [
    paramsSize,
    bindings
      .map(({ name, access, scalar, binding }, index) =>
        shortened([name, access === "read" ? "r" : "w", scalar, binding], ["", "r", "f32", index + 1]),
      )
      .join(";"),
    params
      .map(({ name, scalar, offset, length, stride }) => {
        const row = shortened([name, scalar, offset, length, stride], ["", "u32", end, 1, 0]);
        end = offset + 4 * length;
        return row;
      })
      .join(";"),
    Object.entries(constants)
      .map(([name, { type, value }]) => shortened([name, value, type], ["", "", "u32"]))
      .join(";"),
    features.join(" "),
  ];
}
