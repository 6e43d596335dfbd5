/** Arrays in files of any kind, whole or rows at a time. */
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import {
  encodingName,
  FormatError,
  gunzip,
  isMat73,
  type NamedArrays,
  type NumericArray,
  readCsv,
  readMat,
  readNpy,
  readNpz,
  readSafetensors,
  readTns,
} from "../io/index.js";
import { type ArrayFile, type Container, listed, onlyName, soleName } from "./arrayFile.js";
import { readBytes } from "./files.js";
import { NpyFile, openRows } from "./openNpy.js";

export type { ArrayFile } from "./arrayFile.js";

/** Kinds of files, for help texts. */
export const ARRAY_FILES = ".npy, .npz, .mat, .h5, .zarr, .safetensors, .csv or .tns";

/** Where an array is: a file, and a name within it. */
export interface ArrayPath {
  file: string;
  member: string | null;
}

/** How text with a line an entry is read. */
export interface TextOptions {
  /** what entries are that no line names: 0 by default, or NaN where they are missing */
  absent?: number;
}

const CONTAINERS = /^(.*\.(?:npz|mat|h5|hdf5|zarr|safetensors|csv|tsv|txt))(?::(.+))$/i;

/** `data.npz:X` is X in data.npz. What exists under the whole name is a file. */
export function arrayPath(path: string): ArrayPath {
  const [, file, member] = existsSync(path) ? [] : (CONTAINERS.exec(path) ?? []);
  return file && member ? { file, member } : { file: path, member: null };
}

/** Bytes of a file that is read whole. */
const SMALL = 2 ** 20;

/**
 * Opens an array: `X.npy`, `data.npz:X`, `data.mat:X` (MATLAB's v5 to v7, and v7.3), `data.h5:group/X`, `X.zarr` or `store.zarr:group/X`
 * (version 2 or 3), `model.safetensors:w`, `X.csv` (a matrix, or a line an entry; `X.csv:entries` and `X.csv:matrix` say which), `X.tns`
 * (FROSTT) and `X.tns.gz`; of files with other endings their first bytes say it. A name may be left out where the file holds one array. Rows of `.npy` in C order, HDF5 and Zarr are read from the
 * file when they are asked for.
 *
 * @throws FileError where the file cannot be read; FormatError where it is damaged, is of no kind known here, or holds several arrays and
 * none is named; UnsupportedError where a package is needed that is not installed
 */
export async function openArray(path: string, { absent = 0 }: TextOptions = {}): Promise<ArrayFile> {
  const { file, member } = arrayPath(path);
  const container = await containerOf(file, member);
  if (container) {
    try {
      return await container.open(member ?? soleName(file, container.shapes, container.skipped));
    } finally {
      container.close();
    }
  }
  const ending = endingOf(file);
  switch (ending) {
    case "csv":
    case "tsv":
    case "txt":
      return arrayOf("csv", readBytes(file), file, member, absent);
    case "tns":
    case "tns.gz": {
      const bytes = readBytes(file);
      const array = readTns(ending === "tns" ? bytes : gunzip(bytes, file, () => null), file, absent);
      return { ...inMemory(file, array), text: array };
    }
    default:
      if (ending === undefined && !isNpy(file)) return arrayIn(readBytes(file), file, member, { absent });
      return await npyArray(file);
  }
}

/** Whether a file begins as `.npy` files do. */
function isNpy(file: string): boolean {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return false;
  const descriptor = openSync(file, "r");
  try {
    const first = Buffer.alloc(6);
    readSync(descriptor, first, 0, 6, 0);
    return first.toString("latin1") === "\x93NUMPY";
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Opens the arrays of a file that holds several, in the natural order of their names (`run2` before `run10`); vectors are left out.
 * `data.npz:run*` names those that begin with `run`.
 *
 * @returns null where the path is of one array: that is what {@link openArray} opens
 */
export async function openArrays(path: string): Promise<{ name: string; array: ArrayFile }[] | null> {
  const { file, member } = arrayPath(path);
  const container = await containerOf(file, member);
  if (!container) return null;
  try {
    const { shapes } = container;
    if (member === null ? onlyName(shapes) !== null || !shapes.size : shapes.has(member) || !member.includes("*"))
      return null;
    const pattern = member?.split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
    const wanted = pattern ? new RegExp(`^${pattern.join(".*")}$`) : /^/;
    const names = [...shapes].flatMap(([name, { length }]) => (length > 1 && wanted.test(name) ? [name] : []));
    if (!names.length && pattern)
      throw new FormatError(file, `holds no matrix ${member}; it has ${listed([...shapes.keys()])}`);
    if (!names.length) return null;
    const arrays: { name: string; array: ArrayFile }[] = [];
    for (const name of names.sort(byNumbers)) arrays.push({ name, array: await container.open(name) });
    return arrays;
  } finally {
    container.close();
  }
}

const byNumbers = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true });

const endingOf = (file: string): string | undefined =>
  /\.(npy|npz|mat|h5|hdf5|zarr|safetensors|csv|tsv|txt|tns|tns\.gz)\/?$/i.exec(file)?.[1]?.toLowerCase();

/** A file of arrays by name; null where files of its kind hold one array. `member` is the name that is asked for, if one is. */
async function containerOf(file: string, member: string | null): Promise<Container | null> {
  const ending = endingOf(file);
  switch (ending) {
    case "npz":
    case "safetensors":
      return membersIn(ending, readBytes(file), file);
    case "mat": {
      const bytes = readBytes(file);
      if (!isMat73(bytes)) return membersIn("mat", bytes, file);
      return await (await import("./hdf5.js")).openHdf5(file, true);
    }
    case "h5":
    case "hdf5":
      if (!statSync(file, { throwIfNoEntry: false })) readBytes(file);
      return await (await import("./hdf5.js")).openHdf5(file, false);
    case "zarr":
      if (!statSync(file, { throwIfNoEntry: false })) readBytes(file);
      return await (await import("./zarr.js")).openZarr(file, member);
    default:
      return null;
  }
}

/** Kinds of files that are read whole, from bytes. */
type Kind = "npy" | "npz" | "mat" | "safetensors" | "csv";

/** The array of a file whose bytes are here. */
function arrayOf(kind: Kind, bytes: Uint8Array, file: string, member: string | null, absent = 0): ArrayFile {
  switch (kind) {
    case "npy":
      return inMemory(file, readNpy(bytes, file));
    case "csv": {
      if (member !== null && member !== "entries" && member !== "matrix")
        throw new FormatError(file, `${member} is no form of it: give ${file}:entries or ${file}:matrix`);
      const array = readCsv(bytes, file, member ?? "auto", absent);
      return { ...inMemory(file, array), text: array };
    }
    default: {
      const { shapes, skipped, open } = membersIn(kind, bytes, file);
      return open(member ?? soleName(file, shapes, skipped));
    }
  }
}

/** The arrays of a file whose bytes are here. */
function membersIn(kind: "npz" | "mat" | "safetensors", bytes: Uint8Array, file: string): Members {
  if (kind === "npz") return membersOf(readNpz(bytes, file), file);
  return membersOf(kind === "mat" ? readMat(bytes, file) : readSafetensors(bytes, file).tensors, file);
}

/** What files have in their first bytes, a character a byte, from which byte on, and what they are. */
const MARKS: readonly [mark: string, at: number, Kind | { is: string }][] = [
  ["\x93NUMPY", 0, "npy"],
  ["PK\x03\x04", 0, "npz"],
  ["MATLAB 7.3", 0, { is: "a MAT-file of version 7.3: save it under a name that ends in .mat" }],
  ["IM", 126, "mat"],
  ["MI", 126, "mat"],
  ['{"', 8, "safetensors"],
  ["\x89HDF", 0, { is: "an HDF5 file: save it under a name that ends in .h5" }],
  ["\x1f\x8b", 0, { is: "packed by gzip: unpack it first, as in gunzip -c X.gz | tenfold info -" }],
  // text in UTF-16
  ["\xff\xfe", 0, "csv"],
  ["\xfe\xff", 0, "csv"],
  // the first field of a model, the version of its format
  ["\x08", 0, { is: "an ONNX model, it seems: tenfold inspect lists its layers" }],
];

/** Whether a byte may be one of text in UTF-8. */
const isOfText = (byte: number): boolean => byte >= 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;

/**
 * The array of a file that has no name of its own: its first bytes say of which kind it is.
 *
 * @param name what messages call it
 * @throws FormatError where they begin no `.npy`, `.npz`, `.mat`, `.safetensors` or text, and as {@link openArray}
 */
export function arrayIn(
  bytes: Uint8Array,
  name: string,
  member: string | null,
  { absent }: TextOptions = {},
): ArrayFile {
  const first = bytes.subarray(0, 512);
  // a line of text may have any of the marks that are letters
  if (first.every(isOfText)) return arrayOf("csv", bytes, name, member, absent);
  const text = String.fromCharCode(...first);
  const [, , kind] = MARKS.find(([mark, at]) => text.startsWith(mark, at)) ?? [];
  if (typeof kind === "string") return arrayOf(kind, bytes, name, member, absent);
  const hex = [...first.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  throw new FormatError(
    name,
    kind ? `is ${kind.is}` : `begins with ${hex}, as no .npy, .npz, .mat, .safetensors or .csv does`,
  );
}

/** An array that is in memory. */
export function inMemory(name: string, { shape, data }: NumericArray, others: readonly string[] = []): ArrayFile {
  const width = data.length / (shape[0] || 1);
  return {
    name,
    shape,
    dtype: encodingName(data),
    isStreamed: false,
    chunk: 1,
    rows: (start, stop) => (shape.length ? data.subarray(start * width, stop * width) : data),
    others,
    close() {},
  };
}

/** Arrays that were read at once. */
interface Members extends Container {
  open(name: string): ArrayFile;
}

const membersOf = (arrays: NamedArrays, file: string): Members => ({
  shapes: new Map([...arrays].map(([name, { shape }]) => [name, shape])),
  skipped: arrays.skipped,
  open(name) {
    const array = arrays.get(name);
    if (!array) throw new FormatError(file, `holds no array ${name}; it has ${listed([...arrays.keys()])}`);
    const others = [...arrays.keys()].filter((other) => other !== name);
    return inMemory(`${file}:${name}`, array, others);
  },
  close() {},
});

/** An `.npy` file: rows are read from it where they lie one after the other. */
async function npyArray(file: string): Promise<ArrayFile> {
  const stat = statSync(file, { throwIfNoEntry: false });
  const opened = stat?.isFile() && stat.size > SMALL ? await openRows(file) : null;
  // what is small, a scalar, in Fortran order or cut short is read whole, by the reader that says what is wrong
  if (!(opened instanceof NpyFile)) return inMemory(file, readNpy(readBytes(file), file));
  if (!opened.shape.length) {
    await opened.close();
    return inMemory(file, readNpy(readBytes(file), file));
  }
  return {
    name: file,
    shape: opened.shape,
    dtype: opened.dtype,
    isStreamed: true,
    chunk: 1,
    rows: (start, stop) => opened.rows(start, stop),
    reader: opened,
    others: [],
    close: () => void opened.close(),
  };
}
