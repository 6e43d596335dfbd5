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
  const source: ShaderSource = {
    name,
    code: "",
    bindings: rows(bindings).map(([name, binding, access, scalar]) => ({
      binding: Number(binding),
      name,
      access: access === "r" ? "read" : "read_write",
      scalar,
    })) as ShaderBinding[],
    params: rows(params).map(([name, scalar, offset, length, stride]) => ({
      name,
      scalar,
      offset: Number(offset),
      length: Number(length),
      stride: Number(stride),
    })) as ShaderParam[],
    paramsSize,
    constants: Object.fromEntries(
      rows(constants).map(([name, type, value]) => [
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

/** The arguments of {@link unpackShader} that follow the code. */
export function packShader({ bindings, params, paramsSize, constants, features }: ShaderSource): unknown[] {
  return [
    paramsSize,
    bindings
      .map(({ name, binding, access, scalar }) => [name, binding, access === "read" ? "r" : "w", scalar].join(" "))
      .join(";"),
    params
      .map(({ name, scalar, offset, length, stride }) => [name, scalar, offset, length, stride].join(" "))
      .join(";"),
    Object.entries(constants)
      .map(([name, { type, value }]) => [name, type, value].join(" "))
      .join(";"),
    features.join(" "),
  ];
}
