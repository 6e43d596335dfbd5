/** Arrays of HDF5 files, and of MATLAB's v7.3, as the package h5wasm opens them: in Node and in browsers. */
import { exact, fromColumnMajor, type Numeric, unravel } from "./array.js";

/** The most datasets that are listed of a file. */
const MOST_LISTED = 1000;

/** What is used of h5wasm's datasets. */
interface Hdf5Dataset {
  readonly shape: readonly number[] | null;
  readonly dtype: unknown;
  readonly metadata: { readonly chunks?: readonly number[] | null; readonly compound_type?: unknown };
  readonly attrs: Record<string, { readonly value: unknown }>;
  readonly value: unknown;
  slice(ranges: [start: number, stop: number][]): unknown;
}

/** What is used of its groups, and of files, which are groups. */
interface Hdf5Group {
  keys(): string[];
  get(name: string): unknown;
}

/** The classes of h5wasm. */
export interface Hdf5Classes {
  Group: abstract new (...parameters: never[]) => Hdf5Group;
  Dataset: abstract new (...parameters: never[]) => Hdf5Dataset;
}

/** An array of a file. */
export interface Hdf5Array {
  shape: readonly number[];
  /** as the file has it: MATLAB's modes lie in reverse */
  storedShape: readonly number[];
  /** `f8`, as Python's struct module calls types */
  dtype: string;
  /** rows of mode 0 that are stored together */
  chunk: number;
  /** Rows of the array's first mode, row by row. */
  rows(start: number, stop: number): Numeric;
  /** Rows of the first mode that the file has, in the file's order. */
  storedRows(start: number, stop: number): Numeric;
}

/** Arrays by their names, and why other datasets are none. */
export interface Hdf5Arrays {
  arrays: ReadonlyMap<string, Hdf5Array>;
  skipped: ReadonlyMap<string, string>;
}

/**
 * The arrays of real numbers in an open file.
 *
 * @param classes the module h5wasm
 * @param opened its `File`
 * @param name the file, for messages
 * @param isMatlab whether it is MATLAB's, whose modes lie in reverse
 */
export function hdf5Arrays(classes: Hdf5Classes, opened: Hdf5Group, name: string, isMatlab: boolean): Hdf5Arrays {
  const arrays = new Map<string, Hdf5Array>();
  const skipped = new Map<string, string>();
  const visit = (group: Hdf5Group, prefix: string): void => {
    for (const key of group.keys()) {
      if (arrays.size + skipped.size >= MOST_LISTED || key.startsWith("#")) continue;
      const item = group.get(key);
      const path = `${prefix}${key}`;
      if (item instanceof classes.Group) visit(item, `${path}/`);
      else if (item instanceof classes.Dataset) {
        const reason = problemOf(item, isMatlab);
        if (reason) skipped.set(path, reason);
        else arrays.set(path, arrayOf(item, `${name}:${path}`, isMatlab));
      }
    }
  };
  visit(opened, "");
  return { arrays, skipped };
}

const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

/** Whether these are the bytes that HDF5 begins with. MATLAB puts them behind 512 bytes of its own. */
export const isHdf5Signature = (bytes: Uint8Array): boolean => SIGNATURE.every((byte, index) => bytes[index] === byte);

const dtypeOf = ({ dtype }: Hdf5Dataset): string => (typeof dtype === "string" ? dtype : "");

/** `f8` of h5wasm's names, which are those of Python's struct module, and the bytes of an element. */
const NUMBERS = /^[<>|=]?[bBhHiIlLqQefd]$/;

/** Why a dataset is no array of real numbers known here; null where it is one. */
function problemOf(data: Hdf5Dataset, isMatlab: boolean): string | null {
  if (isMatlab) {
    const name = String(data.attrs.MATLAB_class?.value ?? "");
    if (data.attrs.MATLAB_empty) return "is empty";
    if (name === "char") return "holds text";
    if (name === "cell") return "is a cell array: save each cell as an array";
    if (data.attrs.MATLAB_sparse) return "is a sparse matrix: save full(A)";
  }
  if (data.shape === null) return "is empty";
  if (data.metadata.compound_type)
    return "holds records or complex numbers: save the magnitude, or the real and the imaginary part as two arrays";
  if (!NUMBERS.test(dtypeOf(data))) return "holds no numbers";
  if (/e$/.test(dtypeOf(data)) && !("Float16Array" in globalThis))
    return "holds half-precision floats, which need Node 24 or a browser with Float16Array; save it as float32";
  return null;
}

function arrayOf(data: Hdf5Dataset, name: string, isMatlab: boolean): Hdf5Array {
  const stored = [...data.shape!];
  const shape = isMatlab ? [...stored].reverse() : stored;
  const { chunks } = data.metadata;
  /** `ranges` of the stored modes */
  const read = (ranges: [number, number][]): Numeric => {
    if (!stored.length) return Float64Array.of(Number(data.value));
    const values = data.slice(ranges) as Numeric | BigInt64Array | BigUint64Array;
    const extents = ranges.map(([from, to]) => to - from);
    return exact(values, (index) => {
      const place = unravel(index, extents).map((at, mode) => at + ranges[mode]![0]);
      return `${name}: entry [${(isMatlab ? place.reverse() : place).join(", ")}]`;
    });
  };
  const rangesOf = (mode: number, start: number, stop: number): [number, number][] =>
    stored.map((extent, at) => (at === mode ? [start, stop] : [0, extent]));
  return {
    shape,
    storedShape: stored,
    dtype: dtypeOf(data),
    chunk: (isMatlab ? chunks?.at(-1) : chunks?.[0]) ?? 1,
    rows(start, stop) {
      if (!isMatlab || !stored.length) return read(rangesOf(0, start, stop));
      return fromColumnMajor(read(rangesOf(stored.length - 1, start, stop)), [stop - start, ...shape.slice(1)]);
    },
    storedRows: (start, stop) => read(rangesOf(0, start, stop)),
  };
}
