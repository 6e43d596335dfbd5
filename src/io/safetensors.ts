import {
  COMPLEX_ADVICE,
  decode,
  describeShape,
  ENCODINGS,
  type Encoding,
  elementCount,
  encode,
  encodingName,
  InexactError,
  type NumericArray,
  unravel,
} from "./array.js";
import { checkBytes, FormatError } from "./errors.js";
import { NamedArrays } from "./named.js";

/** The names in {@link ENCODINGS} of safetensors' element types. */
const TYPES: Readonly<Record<string, string>> = {
  F64: "f8",
  F32: "f4",
  F16: "f2",
  BF16: "bf16",
  I64: "i8",
  I32: "i4",
  I16: "i2",
  I8: "i1",
  U64: "u8",
  U32: "u4",
  U16: "u2",
  U8: "u1",
  BOOL: "b1",
  F8_E4M3: "e4m3",
  F8_E5M2: "e5m2",
  F8_E4M3FNUZ: "e4m3fnuz",
  F8_E5M2FNUZ: "e5m2fnuz",
  F8_E8M0: "e8m0",
};
/** the reference implementation's limit on headers */
const MOST_HEADER_BYTES = 100_000_000;

export interface SafeTensors {
  /** by name, in the order of the file's bytes; `tensors.skipped` gives the reason for every tensor that cannot be read */
  tensors: NamedArrays;
  /** the texts under `__metadata__`, by key */
  metadata: Record<string, string>;
}

/** A tensor of the header. */
interface Entry {
  tensor: string;
  dtype: string;
  shape: number[];
  /** first byte and end, counted from the end of the header */
  begin: number;
  end: number;
}

/**
 * Reads a `.safetensors` file. It checks the entire header: types, shapes against byte counts, offsets within the file, no
 * overlap and no gap. Floats of one and two bytes become f32, 64-bit integers f64, BOOL 0 and 1; aligned elements of other types
 * share the memory of `bytes`. Tensors of complex numbers, of unknown types and of 64-bit integers that no f64 is equal to are
 * skipped.
 *
 * @param name the file, for messages
 * @throws FormatError for a file that contradicts itself, naming the tensor
 */
export function readSafetensors(bytes: Uint8Array, name = "safetensors"): SafeTensors {
  checkBytes("readSafetensors", bytes);
  if (bytes.length < 8)
    throw new FormatError(
      name,
      bytes.length ? `cut short: ${bytes.length} bytes, within the header` : "the file is empty",
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = Number(view.getBigUint64(0, true));
  if (headerBytes > MOST_HEADER_BYTES || (bytes.length > 8 && bytes[8] !== 0x7b))
    throw new FormatError(name, "not a safetensors file: it does not begin with a header length and {");
  if (8 + headerBytes > bytes.length)
    throw new FormatError(
      name,
      `cut short: the header should end at byte ${8 + headerBytes}, the file has ${bytes.length} bytes`,
    );
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + headerBytes)));
  } catch (error) {
    throw new FormatError(name, `bad header (${(error as Error).message})`, { cause: error });
  }
  const metadata: [key: string, text: string][] = [];
  const entries: Entry[] = [];
  for (const [tensor, value] of Object.entries(header as object)) {
    if (tensor !== "__metadata__") {
      entries.push(checkEntry(tensor, value, bytes.length - 8 - headerBytes, name));
      continue;
    }
    for (const [key, text] of Object.entries((value ?? {}) as object)) {
      if (typeof text !== "string") throw new FormatError(name, `__metadata__ "${key}" must be text`);
      metadata.push([key, text]);
    }
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const { tensor, begin, end } of entries) {
    if (begin !== covered)
      throw new FormatError(
        name,
        `tensor "${tensor}" begins at byte ${begin} of the data, needs ${covered} (${begin < covered ? "it overlaps another" : "there is a gap before it"})`,
      );
    covered = end;
  }
  const present = bytes.length - 8 - headerBytes;
  if (covered !== present)
    throw new FormatError(name, `${present - covered} bytes after the last tensor belong to none`);
  const arrays = new Map<string, NumericArray>();
  const skipped = new Map<string, string>();
  for (const { tensor, dtype, shape, begin } of entries) {
    const encoding = encodingOf(dtype);
    if (!encoding) {
      const advice = /^C\d/.test(dtype) ? ` (complex numbers): ${COMPLEX_ADVICE}` : "";
      const known = Object.keys(TYPES).join(", ");
      skipped.set(tensor, `it has the type "${dtype}"${advice || `, needs one of ${known}`}`);
      continue;
    }
    try {
      arrays.set(tensor, { shape, data: decode(bytes, 8 + headerBytes + begin, elementCount(shape)!, encoding, true) });
    } catch (error) {
      if (!(error instanceof InexactError)) throw error;
      const place = unravel(error.index, shape).join(", ");
      skipped.set(tensor, `entry [${place}] is ${error.value}, which a 64-bit float cannot hold exactly`);
    }
  }
  const tensors = new NamedArrays(name, arrays, skipped);
  // fromEntries, because assignment would lose a key that is called __proto__
  return { tensors, metadata: Object.fromEntries(metadata) };
}

/** How elements of a type are stored; null for a type that is not known here. */
const encodingOf = (dtype: string): Encoding | null => (Object.hasOwn(TYPES, dtype) ? ENCODINGS[TYPES[dtype]!]! : null);

function checkEntry(tensor: string, value: unknown, present: number, name: string): Entry {
  const fail = (problem: string): never => {
    throw new FormatError(name, `tensor "${tensor}" ${problem}`);
  };
  if (typeof value !== "object" || value === null) return fail("has no description");
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== "string") return fail(`has the type ${JSON.stringify(dtype)}, needs a name as "F32"`);
  const count = Array.isArray(shape) ? elementCount(shape) : null;
  if (count === null) return fail(`has the shape ${JSON.stringify(shape)}, needs a list of extents`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || elementCount(offsets) === null || offsets[0] > offsets[1])
    return fail(`has the offsets ${JSON.stringify(offsets)}, needs its first byte and its end`);
  const [begin, end] = offsets as [number, number];
  const encoding = encodingOf(dtype);
  const needed = encoding ? count * encoding.bytes : end - begin;
  if (end - begin !== needed)
    return fail(`has ${end - begin} bytes, its shape ${describeShape(shape as number[])} of ${dtype} needs ${needed}`);
  if (end > present) return fail(`ends at byte ${end} of the data, the file has ${present}: it is cut short`);
  return { tensor, dtype, shape: shape as number[], begin, end };
}

/**
 * Writes a `.safetensors` file. Tensors with wide elements come first, so that every tensor is aligned; among equal widths the
 * order is that of the names.
 *
 * @throws FormatError where two names are equal, or a tensor has more or fewer elements than its shape needs
 */
export function writeSafetensors(
  tensors: Iterable<readonly [string, NumericArray]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const list = [...tensors].sort(([a, { data: x }], [b, { data: y }]) => {
    return y.BYTES_PER_ELEMENT - x.BYTES_PER_ELEMENT || (a < b ? -1 : 1);
  });
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length) entries.push(["__metadata__", metadata]);
  let size = 0;
  const names = new Set(["__metadata__"]);
  for (const [name, { shape, data }] of list) {
    if (names.has(name)) throw new FormatError("safetensors", `the name "${name}" is taken`);
    names.add(name);
    const count = elementCount(shape);
    if (count !== data.length)
      throw new FormatError(
        "safetensors",
        `tensor "${name}" has ${data.length} elements, shape ${describeShape(shape)} needs ${count}`,
      );
    const kind = encodingName(data);
    const dtype = Object.keys(TYPES).find((type) => TYPES[type] === kind)!;
    entries.push([name, { dtype, shape, data_offsets: [size, (size += data.byteLength)] }]);
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + headerBytes + size);
  new DataView(out.buffer).setBigUint64(0, BigInt(headerBytes), true);
  out.fill(0x20, 8, 8 + headerBytes);
  out.set(json, 8);
  let at = 8 + headerBytes;
  for (const [, { data }] of list) {
    out.set(encode(data), at);
    at += data.byteLength;
  }
  return out;
}
