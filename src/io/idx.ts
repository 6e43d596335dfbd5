import { decode, describeShape, ENCODINGS, type Encoding, elementCount, type NumericArray } from "./array.js";
import { checkBytes, FormatError } from "./errors.js";
import { gunzip, isGzip } from "./gzip.js";

/** Element types by the third byte of the file. */
const TYPES: Readonly<Record<number, string>> = { 8: "u1", 9: "i1", 11: "i2", 12: "i4", 13: "f4", 14: "f8" };

/**
 * Reads an IDX file, the format of MNIST (LeCun, Cortes & Burges): two zeros, the element type, the order, the extents,
 * the elements, all big-endian. Gzipped files are unpacked. Elements of one byte share the memory of the file.
 *
 * @param name the file, for messages
 * @throws FormatError where the file is no IDX file, is cut short or has bytes left over
 */
export function readIdx(file: Uint8Array, name = "idx"): NumericArray {
  checkBytes("readIdx", file);
  const bytes = isGzip(file) ? gunzip(file, name, (begin) => lengthOf(begin, name)) : file;
  const { shape, encoding, start, count, what, needed } = readHeader(bytes, name);
  const present = bytes.length - start;
  if (present < needed)
    throw new FormatError(name, `cut short: ${what} needs ${needed} bytes after the header, the file has ${present}`);
  if (present > needed)
    throw new FormatError(
      name,
      `${what} needs ${needed} bytes after the header, the file has ${present - needed} more`,
    );
  return { shape, data: decode(bytes, start, count, encoding, false) };
}

/** The length in bytes that a file's begin promises; null where the begin does not hold the entire header. */
function lengthOf(begin: Uint8Array, name: string): number | null {
  if (begin.length < 4 || begin.length < 4 + 4 * begin[3]!) return null;
  const { start, needed } = readHeader(begin, name);
  return start + needed;
}

function readHeader(bytes: Uint8Array, name: string) {
  if (bytes.length === 0) throw new FormatError(name, "the file is empty");
  const kind = TYPES[bytes[2]!];
  const order = bytes[3]!;
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0 || !kind || !order) {
    const magic = [...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw new FormatError(name, `not an IDX file: it begins with ${magic}, needs 00 00, a known type, the order`);
  }
  const start = 4 + 4 * order;
  if (bytes.length < start)
    throw new FormatError(name, `cut short: the header has ${start} bytes, the file ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: order }, (_, mode) => view.getUint32(4 + 4 * mode));
  const count = elementCount(shape);
  if (count === null)
    throw new FormatError(name, `shape ${describeShape(shape)} has more elements than can be counted`);
  const encoding = ENCODINGS[kind] as Encoding;
  const needed = count * encoding.bytes;
  const what = `${describeShape(shape)} of ${kind}`;
  return { shape, encoding, start, count, what, needed };
}
