import { unzlibSync } from "fflate";
import {
  COMPLEX_ADVICE,
  decode,
  ENCODINGS,
  elementCount,
  fromColumnMajor,
  InexactError,
  type Numeric,
  type NumericArray,
  unravel,
} from "./array.js";
import { checkBytes, FormatError, UnsupportedError } from "./errors.js";
import { NamedArrays } from "./named.js";

/** Bytes of a MAT-file's header. */
const HEADER = 128;
/** Element types of the format (MAT-File Format, table 1-1), by the name of their encoding. */
const TYPES: Readonly<Record<number, string>> = {
  ...{ 1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8" },
  // text, of which numbers are not read
  ...{ 16: "u1", 17: "u2", 18: "u4" },
};
const MATRIX = 14;
const COMPRESSED = 15;
/** Classes of arrays of numbers (table 1-3), by the encoding whose typed array holds them. */
const CLASSES: Readonly<Record<number, string>> = {
  ...{ 6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8" },
};
/** What the other classes hold, and what to do. */
const OTHERS: Readonly<Record<number, string>> = {
  1: "a cell array: save each cell as an array",
  2: "a structure: save each field as an array",
  3: "an object: save its data as an array (of a tensor of the Tensor Toolbox: X = double(T))",
  4: "text",
  5: "a sparse matrix: save full(A)",
  16: "a function",
  17: "an object: save its data as an array",
};
const IS_COMPLEX = 0x08;

/** Whether a file is one of MATLAB's v7.3, which are HDF5 behind a header of MATLAB's. */
export const isMat73 = (bytes: Uint8Array): boolean => text(bytes.subarray(0, 19)) === "MATLAB 7.3 MAT-file";

/**
 * Reads the arrays of a MAT-file of MATLAB's versions 5 to 7 (what `save` writes without `-v7.3`, and SciPy's `savemat`), by name. Arrays
 * are row-major with the shape that MATLAB shows, so `X(i, j, k)` is entry [i − 1, j − 1, k − 1]. Numbers come in the typed array of their
 * class, 64-bit integers as f64. What is no array of real numbers is skipped; `skipped` names it with the reason.
 *
 * @param name the file, for messages
 * @throws FormatError where the file is damaged, or of another version
 */
export function readMat(bytes: Uint8Array, name = "mat"): NamedArrays {
  checkBytes("readMat", bytes);
  if (isMat73(bytes))
    throw new UnsupportedError(name, "a MAT-file of version 7.3, which is HDF5; save it with save(…, '-v7')");
  const mark = bytes.length >= HEADER ? text(bytes.subarray(126, 128)) : "";
  if (mark !== "IM" && mark !== "MI")
    throw new UnsupportedError(
      name,
      bytes.length === 0 ? "the file is empty" : "not a MAT-file of version 5 or later; save it with save(…, '-v7')",
    );
  const file = new MatFile(name, mark === "IM");
  const arrays = new Map<string, NumericArray>();
  const skipped = new Map<string, string>();
  for (let at = HEADER; at < bytes.length; ) {
    const element = file.element(bytes, at);
    at = element.next;
    let matrix = element;
    if (element.type === COMPRESSED) {
      let content: Uint8Array;
      try {
        content = unzlibSync(element.data);
      } catch (error) {
        throw new FormatError(
          name,
          `damaged: the variable at byte ${at} cannot be unpacked (${(error as Error).message})`,
          {
            cause: error,
          },
        );
      }
      matrix = file.element(content, 0);
    }
    if (matrix.type !== MATRIX)
      throw new FormatError(name, `damaged: element type ${matrix.type} where a variable should be`);
    // MATLAB keeps data of its own in a variable without a name
    const variable = file.variable(matrix.data);
    if (!variable.name) continue;
    if (typeof variable.content === "string") skipped.set(variable.name, variable.content);
    else arrays.set(variable.name, variable.content);
  }
  return new NamedArrays(name, arrays, skipped);
}

interface Element {
  type: number;
  data: Uint8Array;
  /** where the next element begins */
  next: number;
}

class MatFile {
  constructor(
    readonly name: string,
    readonly isLittleEndian: boolean,
  ) {}

  /** The element at a byte: its type, its data, and where the next one begins. */
  element(bytes: Uint8Array, at: number): Element {
    if (at + 8 > bytes.length) this.cut("an element's tag is missing");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const first = view.getUint32(at, this.isLittleEndian);
    // a small element: its size, its type, and up to four bytes of data within the tag
    const small = first >>> 16;
    const type = first & 0xffff;
    const size = small || view.getUint32(at + 4, this.isLittleEndian);
    const start = small ? at + 4 : at + 8;
    if (small > 4) this.cut(`a small element has ${small} bytes`);
    if (start + size > bytes.length) this.cut(`an element of ${size} bytes has ${bytes.length - start}`);
    const end = start + size;
    // compressed elements follow each other without padding; all others begin at a multiple of eight bytes
    const next = small ? at + 8 : type === COMPRESSED ? end : at + 8 + Math.ceil(size / 8) * 8;
    return { type, data: bytes.subarray(start, end), next };
  }

  /** A variable's name, and its array or the reason why it is none. */
  variable(bytes: Uint8Array): { name: string; content: NumericArray | string } {
    if (!bytes.length) return { name: "", content: "" };
    const flags = this.element(bytes, 0);
    const word = new DataView(flags.data.buffer, flags.data.byteOffset, flags.data.byteLength).getUint32(
      0,
      this.isLittleEndian,
    );
    const kind = word & 0xff;
    // objects have no dimensions before their name
    if (kind === 17) return { name: text(this.element(bytes, flags.next).data), content: OTHERS[17]! };
    const extents = this.element(bytes, flags.next);
    const label = this.element(bytes, extents.next);
    const name = text(label.data);
    const encoding = CLASSES[kind];
    if (!encoding) return { name, content: `it is ${OTHERS[kind] ?? `of class ${kind}, which is unknown here`}` };
    if ((word >>> 8) & IS_COMPLEX) return { name, content: `complex numbers: ${COMPLEX_ADVICE}` };
    const shape = [...this.numbers(extents, name)];
    const count = elementCount(shape);
    if (count === null) this.cut(`variable ${name} has the shape ${shape.join("×")}`);
    let stored: Numeric;
    try {
      stored = this.numbers(this.element(bytes, label.next), name);
    } catch (error) {
      if (!(error instanceof InexactError)) throw error;
      const place = unravel(error.index, [...shape].reverse()).reverse();
      return {
        name,
        content: `entry (${place.map((index) => index + 1).join(", ")}) is ${error.value}, which a 64-bit float cannot hold exactly; save double(${name})`,
      };
    }
    if (stored.length !== count) this.cut(`variable ${name} has ${stored.length} elements, its shape needs ${count}`);
    // whole numbers are stored in fewer bytes than their class has
    const Class = ENCODINGS[encoding]!.direct ?? Float64Array;
    const elements = stored instanceof Class ? stored : new Class(toArrayBuffer(Class, stored), 0, stored.length);
    return { name, content: { shape, data: fromColumnMajor(elements, shape) } };
  }

  /** The numbers of an element. */
  numbers({ type, data }: Element, variable: string): Numeric {
    const encoding = ENCODINGS[TYPES[type] ?? ""];
    if (!encoding || data.length % encoding.bytes)
      this.cut(`variable ${variable} has ${data.length} bytes of element type ${type}`);
    return decode(data, 0, data.length / encoding!.bytes, encoding!, this.isLittleEndian);
  }

  cut(problem: string): never {
    throw new FormatError(this.name, `cut short or damaged: ${problem}`);
  }
}

/** The numbers in the memory of another typed array. */
function toArrayBuffer(Class: NonNullable<(typeof ENCODINGS)[string]["direct"]>, values: Numeric): ArrayBuffer {
  const buffer = new ArrayBuffer(values.length * (Class as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT);
  new Class(buffer, 0, values.length).set(values);
  return buffer;
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
