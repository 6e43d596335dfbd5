import { TenfoldError } from "../errors.js";
import {
  COMPLEX_ADVICE,
  decode,
  describeShape,
  ENCODINGS,
  elementCount,
  encode,
  encodingName,
  fromColumnMajor,
  InexactError,
  LITTLE_ENDIAN_HOST,
  type Numeric,
  type NumericArray,
  unravel,
} from "./array.js";
import { checkBytes, FormatError, UnsupportedError } from "./errors.js";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** the element types that can be read, for messages */
const KNOWN = "f2, f4, f8, i1, i2, i4, i8, u1, u2, u4, u8 or b1";

/** The header of an `.npy` file. */
export interface NpyHeader {
  /** NumPy's name of the element type, with its byte order: `<f4`, `>i2`, `|u1` */
  descr: string;
  shape: number[];
  fortranOrder: boolean;
  /** first byte of the elements */
  dataOffset: number;
}

/**
 * Reads NumPy's `.npy` (versions 1 to 3) into a row-major array. f4, f8 and integers up to 32 bits stay as they are; f2 becomes
 * f32, b1 becomes 0 and 1, and 64-bit integers become f64. Aligned little-endian elements in C order share the memory of
 * `bytes`. Bytes after the array are ignored, as by NumPy.
 *
 * @param name the file, for messages
 * @throws FormatError where the file is cut short or malformed, where its elements are not numbers (with advice for complex
 * ones), or where a 64-bit integer is not exactly an f64
 */
export function readNpy(bytes: Uint8Array, name = "npy"): NumericArray {
  checkBytes("readNpy", bytes);
  const header = readNpyHeader(bytes, name);
  const { descr, shape, fortranOrder, dataOffset } = header;
  const encoding = ENCODINGS[descr.slice(1)]!;
  const count = elementCount(shape)!;
  const needed = count * encoding.bytes;
  const present = bytes.length - dataOffset;
  const what = `${describeShape(shape)} of ${descr}`;
  if (present < needed)
    throw new FormatError(name, `cut short: ${what} needs ${needed} bytes after the header, the file has ${present}`);
  const data = elementsOf(bytes, header, count, 0, name);
  return { shape, data: fortranOrder && shape.length > 1 ? fromColumnMajor(data, shape) : data };
}

/**
 * Elements of an array in C order, from the one at place `first` on.
 *
 * @param bytes those of the elements alone
 * @param name the file, for messages
 * @throws FormatError where a 64-bit integer is not exactly an f64
 */
export function readNpyPart(bytes: Uint8Array, header: NpyHeader, first: number, name = "npy"): Numeric {
  const count = bytes.length / ENCODINGS[header.descr.slice(1)]!.bytes;
  return elementsOf(bytes, { ...header, dataOffset: 0 }, count, first, name);
}

/** `count` elements behind the header. `first` is the place of the first of them in the array. */
function elementsOf(
  bytes: Uint8Array,
  { descr, shape, fortranOrder, dataOffset }: NpyHeader,
  count: number,
  first: number,
  name: string,
): Numeric {
  try {
    return decode(bytes, dataOffset, count, ENCODINGS[descr.slice(1)]!, descr[0] !== ">");
  } catch (error) {
    if (!(error instanceof InexactError)) throw error;
    const place = unravel(first + error.index, fortranOrder ? [...shape].reverse() : shape);
    if (fortranOrder) place.reverse();
    throw new UnsupportedError(
      name,
      `entry [${place.join(", ")}] is ${error.value}, which a 64-bit float cannot hold exactly; save it as f8 or i4`,
    );
  }
}

/**
 * Reads only the header, which `bytes` must hold entirely; the elements may be missing.
 *
 * @param name the file, for messages
 * @throws FormatError as {@link readNpy} does for headers
 */
export function readNpyHeader(bytes: Uint8Array, name = "npy"): NpyHeader {
  checkBytes("readNpyHeader", bytes);
  if (MAGIC.some((byte, index) => bytes[index] !== byte))
    throw new UnsupportedError(
      name,
      bytes.length === 0
        ? "the file is empty"
        : `not an .npy file: it ${bytes[0] === 0x50 && bytes[1] === 0x4b ? "is a zip archive, as .npz are" : "does not begin with \\x93NUMPY"}`,
    );
  if (bytes.length < 10) throw new FormatError(name, `cut short: ${bytes.length} bytes, within the header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6]!;
  if (version < 1 || version > 3)
    throw new UnsupportedError(name, `version ${version}.${bytes[7]} of the .npy format, needs 1, 2 or 3`);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) throw new FormatError(name, `cut short: ${bytes.length} bytes, within the header`);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (start + length > bytes.length)
    throw new FormatError(
      name,
      `cut short: the header should end at byte ${start + length}, the file has ${bytes.length} bytes`,
    );
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(bytes.subarray(start, start + length));
  let header: Literal;
  try {
    header = parseLiteral(text);
  } catch (error) {
    throw new FormatError(name, `bad header, ${(error as Error).message}`);
  }
  if (!(header instanceof Map)) throw new FormatError(name, "bad header, needs a dictionary");
  for (const key of ["descr", "fortran_order", "shape"]) {
    if (!header.has(key)) throw new FormatError(name, `bad header, "${key}" is missing`);
  }
  const type = header.get("descr")!;
  const shape = header.get("shape")!;
  const fortranOrder = header.get("fortran_order")!;
  const descr = checkType(type, name);
  if (typeof fortranOrder !== "boolean") throw new FormatError(name, "bad header, fortran_order must be True or False");
  if (!Array.isArray(shape) || elementCount(shape) === null)
    throw new FormatError(name, `bad header, shape must be a tuple of extents, not ${printLiteral(shape)}`);
  const dataOffset = start + length;
  return { descr, shape: shape as number[], fortranOrder, dataOffset };
}

/** NumPy's other names of the element types: the characters of C types, and words. */
const ALIASES: Readonly<Record<string, string>> = {
  ...{ "?": "b1", b: "i1", B: "u1", h: "i2", H: "u2", i: "i4", I: "u4", q: "i8", Q: "u8", e: "f2", f: "f4", d: "f8" },
  ...{ bool: "b1", int8: "i1", int16: "i2", int32: "i4", int64: "i8", float16: "f2", float32: "f4", float64: "f8" },
  ...{ uint8: "u1", uint16: "u2", uint32: "u4", uint64: "u8" },
  ...{ half: "f2", single: "f4", double: "f8", float: "f8" },
};

/** What NumPy's unsupported types hold, and how to save the array instead. */
const OTHERS: readonly [type: RegExp, holds: string, advice?: string][] = [
  [/^(c8|c16|c24|c32|F|D|G|complex\d*)$/, "complex numbers", `${COMPLEX_ADVICE} (numpy.abs(x), or x.real and x.imag)`],
  [/^(f12|f16|g|longdouble|float96|float128)$/, "extended precision", "save it as f8 (x.astype('f8'))"],
  [
    /^(l|L|p|P|u?(int|intp|long))$/,
    "integers of a width that differs between machines",
    "save it as i4 or i8 (x.astype('i4'))",
  ],
  [/^([Mm]8|datetime64|timedelta64)/, "dates or durations", "save it as numbers (x.astype('i8'))"],
  [/^([SUaT]\d*|str|bytes)$/, "text"],
  [/^(O\d*|object)$/, "Python objects"],
  [/^(V\d*|void)$/, "raw bytes"],
];

/** The short name of a header's element type, with its byte order: `<f4`, or `|u1` for one byte. */
function checkType(type: Literal, name: string): string {
  if (typeof type !== "string")
    throw new UnsupportedError(
      name,
      `holds records with named fields, needs plain numbers (${KNOWN}): save each field as an array`,
    );
  const [, order, typeName] = /^([<>|=]?)(.*)$/s.exec(type)!;
  const kind = Object.hasOwn(ALIASES, typeName!) ? ALIASES[typeName!]! : typeName!;
  const encoding = /^[fiub][1248]$/.test(kind) && Object.hasOwn(ENCODINGS, kind) ? ENCODINGS[kind]! : null;
  if (!encoding) {
    const [, holds, advice] = OTHERS.find(([letters]) => letters.test(typeName!)) ?? [];
    const what = holds ? ` (${holds})` : "";
    throw new UnsupportedError(
      name,
      `holds elements of type ${JSON.stringify(type)}${what}, needs ${KNOWN}${advice ? `: ${advice}` : ""}`,
    );
  }
  if (encoding.bytes === 1) return `|${kind}`;
  // `=`, `|` and nothing mean the byte order of the machine that reads
  return `${order === "<" || order === ">" ? order : LITTLE_ENDIAN_HOST ? "<" : ">"}${kind}`;
}

/**
 * Writes an `.npy` file, version 1.0, little-endian, C order. NumPy reads it as the same type and shape.
 *
 * @throws FormatError where `data` has more or fewer elements than `shape` needs
 */
export function writeNpy({ shape, data }: NumericArray): Uint8Array {
  const count = elementCount(shape);
  if (count !== data.length)
    throw new FormatError("npy", `${data.length} elements given, shape ${describeShape(shape)} needs ${count}`);
  const kind = encodingName(data);
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const header = `{'descr': '${kind.endsWith("1") ? "|" : "<"}${kind}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // elements begin at a multiple of 64 bytes, so that NumPy can map the file into memory
  const dataOffset = Math.ceil((10 + header.length + 1) / 64) * 64;
  const out = new Uint8Array(dataOffset + data.byteLength);
  out.set(MAGIC);
  out[6] = 1;
  new DataView(out.buffer).setUint16(8, dataOffset - 10, true);
  out.set(new TextEncoder().encode(`${header.padEnd(dataOffset - 11)}\n`), 10);
  out.set(encode(data), dataOffset);
  return out;
}

type Literal = string | number | boolean | null | Literal[] | Map<string, Literal>;

const TOKEN = /\s*(?:([{}()[\]:,])|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(-?\d+)L?\b|(True|False|None)\b)/y;

/** Reads a Python literal as NumPy writes it into headers: dictionaries, tuples, lists, strings, integers, True, False, None. */
function parseLiteral(text: string): Literal {
  let at = 0;
  const next = (): { mark?: string; value?: Literal } => {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) {
      const rest = text.slice(at).trim();
      throw new TenfoldError(rest ? `cannot read ${JSON.stringify(rest.slice(0, 20))}` : "it ends too early");
    }
    at = TOKEN.lastIndex;
    const [, mark, single, double, integer, word] = match;
    if (mark) return { mark };
    if (integer !== undefined) return { value: Number(integer) };
    if (word !== undefined) return { value: word === "None" ? null : word === "True" };
    return { value: single ?? double! };
  };
  const fail = (wanted: string, got: { mark?: string; value?: Literal }): never => {
    throw new TenfoldError(`needs ${wanted} where it has ${got.mark ?? printLiteral(got.value!)}`);
  };
  const item = (token = next()): Literal => {
    if (!token.mark) return token.value!;
    if (token.mark === "{") {
      const map = new Map<string, Literal>();
      for (let key = next(); key.mark !== "}"; ) {
        if (typeof key.value !== "string") fail("a key", key);
        const colon = next();
        if (colon.mark !== ":") fail("a colon", colon);
        map.set(key.value as string, item());
        const mark = next();
        if (mark.mark === "}") break;
        if (mark.mark !== ",") fail("a comma", mark);
        key = next();
      }
      return map;
    }
    const closing = { "(": ")", "[": "]" }[token.mark];
    if (!closing) return fail("a value", token);
    const list: Literal[] = [];
    let commas = 0;
    for (let entry = next(); entry.mark !== closing; ) {
      list.push(item(entry));
      const mark = next();
      if (mark.mark === closing) break;
      if (mark.mark !== ",") fail("a comma", mark);
      commas++;
      entry = next();
    }
    // in Python (3) is the number 3, and (3,) is a tuple
    return closing === ")" && list.length === 1 && !commas ? list[0]! : list;
  };
  const literal = item();
  if (text.slice(at).trim())
    throw new TenfoldError(`has ${JSON.stringify(text.slice(at).trim().slice(0, 20))} after its end`);
  return literal;
}

function printLiteral(value: Literal): string {
  if (value instanceof Map) return "a dictionary";
  return Array.isArray(value) ? `(${value.map(printLiteral).join(", ")})` : String(JSON.stringify(value));
}
