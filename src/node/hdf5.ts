/** Arrays in HDF5 files, and in MATLAB's v7.3, by the package h5wasm. */
import { closeSync, openSync, readSync } from "node:fs";
import type { Dataset, File, Group } from "h5wasm/node";
import { FormatError, fromColumnMajor, type Numeric, UnsupportedError, unravel } from "../io/index.js";
import { type ArrayFile, exact, listed, soleName } from "./arrayFile.js";
import { peer } from "./peers.js";

/** The most datasets that are listed of a file. */
const MOST_LISTED = 1000;

/**
 * Opens a dataset of an HDF5 file.
 *
 * @param isMatlab whether it is MATLAB's, whose modes lie in reverse
 * @throws FormatError where there is none of the name, or several and no name is given; UnsupportedError where h5wasm is not installed or
 * the dataset holds no real numbers
 */
export async function openHdf5(file: string, member: string | null, isMatlab: boolean): Promise<ArrayFile> {
  const kind = isMatlab ? "MAT-files of version 7.3 (save(…, '-v7') needs none)" : "HDF5 files";
  const hdf5 = await peer("h5wasm", file, kind, () => import("h5wasm/node"));
  await hdf5.ready;
  const damaged = (error: unknown): never => {
    throw new FormatError(file, `no whole HDF5 file (${(error as Error).message.split("\n")[0]})`, { cause: error });
  };
  if (!isHdf5(file)) throw new FormatError(file, "no HDF5 file: it does not begin as they do");
  let opened: File;
  try {
    opened = new hdf5.File(file, "r");
    opened.keys();
  } catch (error) {
    damaged(error);
  }
  return openDataset(hdf5, opened!, file, member, isMatlab);
}

/** Whether a file has HDF5's signature, which MATLAB puts behind 512 bytes of its own. */
function isHdf5(file: string): boolean {
  const descriptor = openSync(file, "r");
  try {
    const bytes = new Uint8Array(8);
    for (let at = 0; at <= 2 ** 20; at = at ? 2 * at : 512) {
      if (readSync(descriptor, bytes, 0, 8, at) < 8) return false;
      if (SIGNATURE.every((byte, index) => bytes[index] === byte)) return true;
    }
    return false;
  } finally {
    closeSync(descriptor);
  }
}

const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

function openDataset(
  hdf5: typeof import("h5wasm/node"),
  opened: File,
  file: string,
  member: string | null,
  isMatlab: boolean,
): ArrayFile {
  try {
    const shapes = new Map<string, readonly number[]>();
    const skipped = new Map<string, string>();
    const visit = (group: Group, prefix: string): void => {
      for (const key of group.keys()) {
        if (shapes.size + skipped.size >= MOST_LISTED || key.startsWith("#")) continue;
        const item = group.get(key);
        const path = `${prefix}${key}`;
        if (item instanceof hdf5.Group) visit(item, `${path}/`);
        else if (item instanceof hdf5.Dataset) {
          const reason = problemOf(item, isMatlab);
          if (reason) skipped.set(path, reason);
          else shapes.set(path, shapeOf(item, isMatlab));
        }
      }
    };
    visit(opened, "");
    const name = member ?? soleName(file, shapes, skipped);
    const shape = shapes.get(name);
    const reason = skipped.get(name);
    if (reason) throw new UnsupportedError(file, `"${name}" ${reason}`);
    if (!shape) throw new FormatError(file, `holds no array ${name}; it has ${listed([...shapes.keys()])}`);
    const data = opened.get(name) as Dataset;
    const array = `${file}:${name}`;
    return {
      name: array,
      shape,
      dtype: dtypeOf(data),
      isStreamed: true,
      chunk: (isMatlab ? data.metadata.chunks?.at(-1) : data.metadata.chunks?.[0]) ?? 1,
      rows: (start, stop) => rowsOf(data, shape, start, stop, isMatlab, array),
      others: [...shapes.keys()].filter((other) => other !== name),
      close: () => void opened.close(),
    };
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** MATLAB's class of a dataset; an empty word for others' files. */
const classOf = (data: Dataset): string => String(data.attrs.MATLAB_class?.value ?? "");

const dtypeOf = ({ dtype }: Dataset): string => (typeof dtype === "string" ? dtype : "");

/** `f8` of h5wasm's names, which are those of Python's struct module, and the bytes of an element. */
const NUMBERS = /^[<>|=]?[bBhHiIlLqQefd]$/;

/** Why a dataset is no array of real numbers known here; null where it is one. */
function problemOf(data: Dataset, isMatlab: boolean): string | null {
  if (isMatlab) {
    const name = classOf(data);
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
    return "holds half-precision floats, which need Node 24 or newer; save it as float32";
  return null;
}

const shapeOf = ({ shape }: Dataset, isMatlab: boolean): number[] => (isMatlab ? [...shape!].reverse() : [...shape!]);

function rowsOf(
  data: Dataset,
  shape: readonly number[],
  start: number,
  stop: number,
  isMatlab: boolean,
  name: string,
): Numeric {
  if (!shape.length) return Float64Array.of(Number(data.value));
  const all = shape.map((extent): [number, number] => [0, extent]);
  all[0] = [start, stop];
  const values = data.slice(isMatlab ? all.reverse() : all) as Numeric | BigInt64Array | BigUint64Array;
  const sliced = [stop - start, ...shape.slice(1)];
  const numbers = exact(values, (index) => {
    const place = isMatlab ? unravel(index, [...sliced].reverse()).reverse() : unravel(index, sliced);
    return `${name}: entry [${[place[0]! + start, ...place.slice(1)].join(", ")}]`;
  });
  return isMatlab ? fromColumnMajor(numbers, sliced) : numbers;
}
