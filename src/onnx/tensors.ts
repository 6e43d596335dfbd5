/** Tensors of a file to numbers and back. */
import { TenfoldError } from "../errors.js";
import { decode, ENCODINGS, encode, type Numeric } from "../io/array.js";
import { FormatError, UnsupportedError } from "../io/errors.js";
import { BFLOAT16, DATA_TYPES, DOUBLE, FLOAT, FLOAT16, INT32, INT64, isFloat } from "./dataTypes.js";
import type { OnnxModel } from "./model.js";
import { isExternal, makeTensor, type TensorProto } from "./proto.js";

/** The extents of a tensor. */
export function extentsOf(file: string, tensor: TensorProto): number[] {
  const extents = tensor.dims.map(Number);
  const bad = extents.find((extent) => !Number.isSafeInteger(extent) || extent < 0);
  if (bad !== undefined) throw new FormatError(file, `tensor ${quoted(tensor.name)}: an extent is ${bad}`);
  if (!Number.isSafeInteger(extents.reduce((a, b) => a * b, 16)))
    throw new FormatError(file, `tensor ${quoted(tensor.name)}: ${extents.join("×")} entries are more than can be`);
  return extents;
}

export const quoted = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);

const ENCODING: Readonly<Record<number, string>> = {
  [FLOAT]: "f4",
  [DOUBLE]: "f8",
  [FLOAT16]: "f2",
  [BFLOAT16]: "bf16",
  [INT32]: "i4",
};

/**
 * The entries of a tensor of floats as f32, row-major. They share the model's memory where they can: do not write to them.
 *
 * @throws FormatError where there are more or fewer entries than the extents say; UnsupportedError where the type is none of
 *   float32, float16, bfloat16, float64, or an external file is needed and none was handed in
 */
export async function floatsOf(model: OnnxModel, tensor: TensorProto): Promise<Float32Array> {
  const { file } = model;
  const size = extentsOf(file, tensor).reduce((a, b) => a * b, 1);
  const { name, bytes: width = 0 } = DATA_TYPES[tensor.dataType] ?? { name: `type ${tensor.dataType}` };
  if (!isFloat(tensor.dataType))
    throw new UnsupportedError(file, `tensor ${quoted(tensor.name)} has ${name} entries; weights are floats`);
  const toFloat32 = (values: Numeric): Float32Array =>
    values instanceof Float32Array ? values : Float32Array.from(values);
  if (!isExternal(tensor) && !tensor.rawData.length) {
    const typed = typedData(tensor);
    if (typed.length !== size)
      throw new FormatError(file, `tensor ${quoted(tensor.name)} has ${typed.length} entries, its extents say ${size}`);
    if (tensor.dataType !== FLOAT16 && tensor.dataType !== BFLOAT16) return Float32Array.from(typed);
    // sixteen bits of a small float each, in an int32
    const bits = encode(Uint16Array.from(typed));
    return toFloat32(decode(bits, 0, size, ENCODINGS[ENCODING[tensor.dataType]!]!, true));
  }
  const bytes = isExternal(tensor) ? await externalBytes(model, tensor, size * width) : tensor.rawData;
  if (bytes.length !== size * width)
    throw new FormatError(
      file,
      `tensor ${quoted(tensor.name)} has ${bytes.length} bytes, its extents and type need ${size * width}`,
    );
  return toFloat32(decode(bytes, 0, size, ENCODINGS[ENCODING[tensor.dataType]!]!, true));
}

const typedData = (tensor: TensorProto): readonly number[] =>
  tensor.dataType === FLOAT ? tensor.floatData : tensor.dataType === DOUBLE ? tensor.doubleData : tensor.int32Data;

/** Where the bytes of an external tensor lie. */
export function placeOf(
  file: string,
  tensor: TensorProto,
): { location: string; offset: number; length: number | null } {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const fail = (problem: string): never => {
    throw new FormatError(file, `tensor ${quoted(tensor.name)}, external data: ${problem}`);
  };
  const number = (key: string): number | null => {
    const value = entries.get(key);
    if (value === undefined || value === "") return null;
    return /^\d{1,15}$/.test(value) ? Number(value) : fail(`${key} is ${quoted(value)}, needs a number of bytes`);
  };
  const location = (entries.get("location") ?? "").replaceAll("\\", "/");
  if (!location) fail("the location is missing");
  // a model from elsewhere must not read files outside of its folder
  if (/^\/|^[a-z][a-z\d+.-]*:/i.test(location) || location.split("/").includes("..") || location.includes("\0"))
    fail(`location ${quoted(location)} is outside of the model's folder`);
  return { location, offset: number("offset") ?? 0, length: number("length") };
}

/** Bytes of a model's weights that lie in other files: what several tensors share counts once. */
export function externalSize({ graph, file }: OnnxModel): number {
  const parts = new Map<string, number>();
  for (const tensor of graph.initializer) {
    if (!isExternal(tensor)) continue;
    const { location, offset, length } = placeOf(file, tensor);
    const width = DATA_TYPES[tensor.dataType]?.bytes ?? 0;
    parts.set(`${offset} ${location}`, length ?? extentsOf(file, tensor).reduce((a, b) => a * b, width));
  }
  return [...parts.values()].reduce((a, b) => a + b, 0);
}

/** The bytes of an external tensor, of which there must be `bytes`. */
export async function externalBytes(model: OnnxModel, tensor: TensorProto, bytes: number): Promise<Uint8Array> {
  const { location, offset, length } = placeOf(model.file, tensor);
  const what = `tensor ${quoted(tensor.name)}, external data in ${quoted(location)}`;
  if (length !== null && length !== bytes)
    throw new FormatError(model.file, `${what}: length is ${length}, its extents and type need ${bytes}`);
  if (!model.external)
    throw new UnsupportedError(model.file, `${what}: give readOnnx the option external, which reads that file`);
  const read = await model.external(location, offset, bytes);
  if (read.length !== bytes)
    throw new FormatError(model.file, `${what}: has ${read.length} bytes at ${offset}, needs ${bytes}`);
  return read;
}

/** The most entries of integer tensors that shapes are inferred with. */
const MOST_INTEGERS = 64;

/** A small tensor of integers (a shape, axes, …) of at most one mode; null where it is none. */
export function integersOf(tensor: TensorProto): number[] | null {
  const size = tensor.dims.length > 1 ? Number.NaN : Number(tensor.dims[0] ?? 1);
  if (!(size >= 0 && size <= MOST_INTEGERS) || isExternal(tensor)) return null;
  const { rawData, dataType } = tensor;
  if (dataType === INT64) {
    if (!rawData.length) return tensor.int64Data.length === size ? tensor.int64Data.map(Number) : null;
    const view = new DataView(rawData.buffer, rawData.byteOffset, rawData.byteLength);
    return rawData.length === 8 * size
      ? Array.from({ length: size }, (_, i) => Number(view.getBigInt64(8 * i, true)))
      : null;
  }
  if (dataType === INT32) {
    if (!rawData.length) return tensor.int32Data.length === size ? [...tensor.int32Data] : null;
    return rawData.length === 4 * size ? [...decode(rawData, 0, size, ENCODINGS.i4!, true)] : null;
  }
  return null;
}

/** A small inline tensor of float32 of at most one mode, as the scales of Resize; null where it is none. */
export function smallFloatsOf(tensor: TensorProto): number[] | null {
  const size = tensor.dims.length > 1 ? Number.NaN : Number(tensor.dims[0] ?? 1);
  if (!(size >= 0 && size <= MOST_INTEGERS) || isExternal(tensor) || tensor.dataType !== FLOAT) return null;
  const { rawData, floatData } = tensor;
  if (!rawData.length) return floatData.length === size ? [...floatData] : null;
  return rawData.length === 4 * size ? [...decode(rawData, 0, size, ENCODINGS.f4!, true)] : null;
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** The 16 bits of the half-precision float nearest to x; ties go to even. */
export function toHalf(x: number): number {
  f32[0] = x;
  const bits = u32[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // 65520 and above round to infinity
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  // multiples of 2⁻²⁴: the sum's last bits are those of the rounded multiple
  f32[0] = Math.abs(f32[0]!) + 0.5;
  return sign | (u32[0]! - 0x3f000000);
}

/** The 16 bits of the bfloat16 nearest to x; ties go to even. */
export function toBfloat16(x: number): number {
  f32[0] = x;
  const bits = u32[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/**
 * A tensor of floats for a file.
 *
 * @throws TenfoldError (LIMITS) where a finite entry does not fit into the type
 */
export function tensorFrom(
  what: string,
  name: string,
  dataType: number,
  dims: readonly number[],
  values: ArrayLike<number>,
): TensorProto {
  const data = new ARRAYS[dataType as keyof typeof ARRAYS](values.length);
  const convert = dataType === FLOAT16 ? toHalf : dataType === BFLOAT16 ? toBfloat16 : null;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    data[i] = convert ? convert(value) : value;
    if (overflows(dataType, data[i]!) && Number.isFinite(value))
      throw new TenfoldError(
        `${what}: ${value} does not fit into ${DATA_TYPES[dataType]!.name}, the type of its weights`,
        {
          code: "LIMITS",
        },
      );
  }
  return makeTensor(name, dataType, dims, encode(data));
}

const ARRAYS = {
  [FLOAT]: Float32Array,
  [DOUBLE]: Float64Array,
  [FLOAT16]: Uint16Array,
  [BFLOAT16]: Uint16Array,
} as const;

/** Whether an entry as it is stored is infinite. */
const overflows = (dataType: number, stored: number): boolean =>
  dataType === FLOAT16
    ? (stored & 0x7fff) === 0x7c00
    : dataType === BFLOAT16
      ? (stored & 0x7fff) === 0x7f80
      : Math.abs(stored) === Number.POSITIVE_INFINITY;

/** Numbers one list after the other. */
export function concatenated(lists: readonly ArrayLike<number>[]): Float32Array {
  const all = new Float32Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}
