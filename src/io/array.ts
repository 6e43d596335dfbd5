import { TenfoldError } from "../errors.js";
import { UnsupportedError } from "./errors.js";

/** The typed arrays in which the readers of this folder return elements, and which its writers take. */
export type Numeric =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/** A dense row-major array in memory; its element type is that of `data`. */
export interface NumericArray {
  /** extents, one a mode; an empty list for a scalar */
  shape: readonly number[];
  /** as many elements as the product of the extents */
  data: Numeric;
}

/** How a file stores an element: either as a typed array does (`direct`), or in a form that has none (`widen`). */
export interface Encoding {
  /** of one element */
  bytes: number;
  /** the typed array whose elements are these bytes in the machine's byte order */
  direct?: new (
    buffer: ArrayBuffer,
    offset: number,
    length: number,
  ) => Numeric;
  /** reads `length` elements into a wider type; throws {@link InexactError} for an element that no f64 is equal to */
  widen?: (view: DataView, length: number, littleEndian: boolean) => Numeric;
}

/** A 64-bit integer of a file that no f64 is equal to. The reader catches it and names the element's place. */
export class InexactError extends TenfoldError {
  override name = "InexactError";
  override readonly code = "INEXACT";
  constructor(
    readonly index: number,
    readonly value: bigint,
  ) {
    super(`${value}`);
  }
}

/** The value of a small float's bits (sign, exponent, fraction), where no exponent is reserved for infinity and NaN. */
function smallFloat(bits: number, fractionBits: number, exponentBits: number, bias: number): number {
  const sign = bits >> (fractionBits + exponentBits) ? -1 : 1;
  const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - bias) : fraction * 2 ** (1 - bias));
}

/** The value of a half-precision float's 16 bits. */
export function halfToNumber(bits: number): number {
  if ((bits & 0x7c00) !== 0x7c00) return smallFloat(bits, 10, 5, 15);
  return bits & 0x3ff ? Number.NaN : bits & 0x8000 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** Floats of one or two bytes, which are looked up in a table of all 256 or 65,536 values. The first read makes the table. */
function small(bytes: 1 | 2, decodeBits: (bits: number) => number): Encoding {
  let values: Float32Array | undefined;
  return {
    bytes,
    widen(view, length, littleEndian) {
      values ??= Float32Array.from({ length: 256 ** bytes }, (_, bits) => decodeBits(bits));
      const out = new Float32Array(length);
      for (let i = 0; i < length; i++)
        out[i] = values[bytes === 1 ? view.getUint8(i) : view.getUint16(2 * i, littleEndian)]!;
      return out;
    },
  };
}

/** Reads 64-bit integers as f64. */
function widenBigInts(signed: boolean) {
  return (view: DataView, length: number, littleEndian: boolean): Float64Array => {
    const out = new Float64Array(length);
    for (let i = 0; i < length; i++) {
      const value = signed ? view.getBigInt64(8 * i, littleEndian) : view.getBigUint64(8 * i, littleEndian);
      out[i] = Number(value);
      if (BigInt(out[i]!) !== value) throw new InexactError(i, value);
    }
    return out;
  };
}

/** Element encodings by NumPy's names, a kind and the size in bytes, and by safetensors' names for the small floats. */
export const ENCODINGS: Readonly<Record<string, Encoding>> = {
  f8: { bytes: 8, direct: Float64Array },
  f4: { bytes: 4, direct: Float32Array },
  i4: { bytes: 4, direct: Int32Array },
  u4: { bytes: 4, direct: Uint32Array },
  i2: { bytes: 2, direct: Int16Array },
  u2: { bytes: 2, direct: Uint16Array },
  i1: { bytes: 1, direct: Int8Array },
  u1: { bytes: 1, direct: Uint8Array },
  // any byte but 0 is true
  b1: {
    bytes: 1,
    widen: (view, length) => new Uint8Array(view.buffer, view.byteOffset, length).map((byte) => (byte ? 1 : 0)),
  },
  i8: { bytes: 8, widen: widenBigInts(true) },
  u8: { bytes: 8, widen: widenBigInts(false) },
  f2: small(2, halfToNumber),
  // bfloat16, the upper half of an f32: only in safetensors
  bf16: {
    bytes: 2,
    widen: (view, length, littleEndian) => {
      const out = new Uint32Array(length);
      for (let i = 0; i < length; i++) out[i] = view.getUint16(2 * i, littleEndian) << 16;
      return new Float32Array(out.buffer);
    },
  },
  // eight-bit floats, only in safetensors; the name counts the bits of exponent and mantissa (Micikevicius et al. 2022,
  // arXiv:2209.05433)
  e4m3: small(1, (bits) => ((bits & 0x7f) === 0x7f ? Number.NaN : smallFloat(bits, 3, 4, 7))),
  e5m2: small(1, (bits) => halfToNumber(bits << 8)),
  // without infinity, and the bits of negative zero are NaN (Noune et al. 2022, arXiv:2206.02915)
  e4m3fnuz: small(1, (bits) => (bits === 0x80 ? Number.NaN : smallFloat(bits, 3, 4, 8))),
  e5m2fnuz: small(1, (bits) => (bits === 0x80 ? Number.NaN : smallFloat(bits, 2, 5, 16))),
  // a power of two: no sign and no mantissa
  e8m0: small(1, (bits) => (bits === 0xff ? Number.NaN : 2 ** (bits - 127))),
};

/** The end of an error message about complex numbers, which no decomposition here takes. */
export const COMPLEX_ADVICE = "save the magnitude, or the real and the imaginary part as two arrays";

/** The name in {@link ENCODINGS} of an array's element type: `f4`, `u1`, … */
export function encodingName(data: Numeric): string {
  const float = data instanceof Float32Array || data instanceof Float64Array;
  const kind = float ? "f" : /^Uint/.test(data.constructor.name) ? "u" : "i";
  return `${kind}${data.BYTES_PER_ELEMENT}`;
}

export const LITTLE_ENDIAN_HOST = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * Reads `length` elements that begin at byte `start`. The array shares the memory of `bytes` where the element type has a typed
 * array, the byte order is the machine's and the first element is aligned; otherwise it is a copy.
 */
export function decode(
  bytes: Uint8Array,
  start: number,
  length: number,
  encoding: Encoding,
  littleEndian: boolean,
): Numeric {
  const size = length * encoding.bytes;
  const at = bytes.byteOffset + start;
  if (encoding.widen) return encoding.widen(new DataView(bytes.buffer, at, size), length, littleEndian);
  const swap = encoding.bytes > 1 && littleEndian !== LITTLE_ENDIAN_HOST;
  const Direct = encoding.direct!;
  if (!swap && at % encoding.bytes === 0) return new Direct(bytes.buffer as ArrayBuffer, at, length);
  // a new array, because the slice of a Node Buffer does not copy
  const copy = new Uint8Array(bytes.subarray(start, start + size));
  if (swap) swapBytes(copy, encoding.bytes);
  return new Direct(copy.buffer as ArrayBuffer, 0, length);
}

/** The elements as little-endian bytes. They share the memory of `data` on little-endian machines. */
export function encode(data: Numeric): Uint8Array {
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  if (LITTLE_ENDIAN_HOST || data.BYTES_PER_ELEMENT === 1) return bytes;
  const copy = bytes.slice();
  swapBytes(copy, data.BYTES_PER_ELEMENT);
  return copy;
}

function swapBytes(bytes: Uint8Array, width: number): void {
  for (let at = 0; at < bytes.length; at += width) bytes.subarray(at, at + width).reverse();
}

/** Row-major copy of column-major (Fortran) elements. */
export const fromColumnMajor = (data: Numeric, shape: readonly number[]): Numeric =>
  permuted(data, [...shape].reverse(), [...shape.keys()].reverse());

/** Row-major copy of row-major elements of a shape, with modes in another order: mode k is mode `axes[k]` of `data`. */
export function permuted<T extends Numeric>(data: T, shape: readonly number[], axes: readonly number[]): T {
  // writes the copy in order, and moves `from` by the source's strides as the target's index counts up
  const out = data.slice() as T;
  const strides: number[] = [];
  let stride = 1;
  for (const extent of [...shape].reverse()) {
    strides.unshift(stride);
    stride *= extent;
  }
  const index = new Array<number>(axes.length).fill(0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from]!;
    for (let mode = axes.length - 1; mode >= 0; mode--) {
      const axis = axes[mode]!;
      from += strides[axis]!;
      if (++index[mode]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[mode] = 0;
    }
  }
  return out;
}

/** `2×3×4`, or `a scalar` */
export const describeShape = (shape: readonly number[]): string => shape.join("×") || "a scalar";

/** The number of elements; null where an extent is not a non-negative integer, or the product exceeds 2^53 − 1. */
export function elementCount(shape: readonly unknown[]): number | null {
  let count = 1;
  for (const extent of shape) {
    if (typeof extent !== "number" || !Number.isSafeInteger(extent) || extent < 0) return null;
    count *= extent;
  }
  return Number.isSafeInteger(count) ? count : null;
}

/** The index, one number a mode, of the element at a flat place of a row-major array. */
export function unravel(index: number, shape: readonly number[]): number[] {
  const out: number[] = [];
  let rest = index;
  for (const extent of [...shape].reverse()) {
    out.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return out;
}

/** 64-bit integers as f64, where each of them is equal to one. */
export function exact(values: Numeric | BigInt64Array | BigUint64Array, entry: (index: number) => string): Numeric {
  if (!(values instanceof BigInt64Array || values instanceof BigUint64Array)) return values;
  const numbers = new Float64Array(values.length);
  for (const [index, value] of values.entries()) {
    numbers[index] = Number(value);
    if (BigInt(numbers[index]!) !== value)
      throw new UnsupportedError(
        entry(index),
        `is ${value}, which a 64-bit float cannot hold exactly; save it as f8 or i4`,
      );
  }
  return numbers;
}

/** the smallest f32 that has all its digits: adapters may take smaller ones for 0 */
const SMALLEST_F32 = 2 ** -126;

/** Copies numbers as f32; whether all became 0, or smaller than all adapters know, though not all were 0. */
export function writeAsF32(numbers: Numeric, into: Float32Array): boolean {
  into.set(numbers);
  for (let at = 0; at < numbers.length; at++) if (!(Math.abs(into[at]!) < SMALLEST_F32)) return false;
  return numbers.some((value) => value !== 0);
}
