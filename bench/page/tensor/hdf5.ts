/** HDF5 files, and MATLAB's of version 7.3, by h5wasm: it runs in the worker, and reads of the file what is asked for. */
import * as h5wasm from "h5wasm";
import { hdf5Arrays, type Numeric } from "../../../src/index.js";
import type { Member, OpenFile, Take } from "./pieces.js";

/** where the worker's own file system has the file */
const FOLDER = "/opened";
/** entries that are read at once */
const AT_ONCE = 2 ** 22;

/** Types of numbers by the letters that h5wasm has for them. */
const TYPES: Readonly<Record<string, string>> = {
  ...{ b: "i8", B: "u8", h: "i16", H: "u16", i: "i32", I: "u32", l: "i32", L: "u32", q: "i64", Q: "u64" },
  ...{ e: "f16", f: "f32", d: "f64" },
};

/** A file system of emscripten's, as far as files of the browser are mounted in it. */
interface FileSystem {
  analyzePath(path: string): { exists: boolean };
  mkdir(path: string): void;
  mount(type: unknown, options: { blobs: { name: string; data: Blob }[] }, path: string): void;
  unmount(path: string): void;
  filesystems: { WORKERFS: unknown };
}

export async function openHdf5(blob: Blob, name: string): Promise<OpenFile> {
  const { FS } = (await h5wasm.ready) as unknown as { FS: FileSystem };
  if (FS.analyzePath(FOLDER).exists) FS.unmount(FOLDER);
  else FS.mkdir(FOLDER);
  FS.mount(FS.filesystems.WORKERFS, { blobs: [{ name: "file", data: blob }] }, FOLDER);
  const isMatlab = new TextDecoder("latin1").decode(await blob.slice(0, 10).arrayBuffer()) === "MATLAB 7.3";
  let opened: h5wasm.File;
  try {
    opened = new h5wasm.File(`${FOLDER}/file`, "r");
    opened.keys();
  } catch (error) {
    throw new Error(`${name}: no whole HDF5 file (${(error as Error).message.split("\n")[0]})`);
  }
  const { arrays, skipped } = hdf5Arrays(h5wasm, opened, name, isMatlab);
  const found = [...arrays];
  const members = found.map(
    ([key, { shape, dtype }]): Member => ({
      ...{ name: key, shape, modes: null, dtype: TYPES[dtype.at(-1)!] ?? dtype },
      isColumnMajor: isMatlab && shape.length > 1,
      note: isMatlab && shape.length > 1 ? "in MATLAB's order, turned on the GPU" : "",
    }),
  );
  return {
    kind: isMatlab ? "MATLAB file, version 7.3" : "HDF5 file",
    members,
    skipped: [...skipped],
    async read(member, take) {
      const { storedShape, storedRows, chunk } = found[member]![1];
      const [extent = 1, ...rest] = storedShape;
      const width = rest.reduce((product, size) => product * size, 1);
      const together = isMatlab ? 1 : chunk;
      const step = Math.max(1, Math.floor(AT_ONCE / (width * together))) * together;
      const whole = inWholes(take);
      for (let start = 0; start < extent; start += step)
        await whole.push(storedRows(start, Math.min(extent, start + step)));
      await whole.end();
    },
  };
}

/** pieces have a multiple of so many entries, at which a view of the GPU's memory may begin */
const WHOLE = 64;

/** Hands numbers over in pieces of a multiple of 64, whatever comes. */
function inWholes(take: Take): { push(values: Numeric): Promise<void>; end(): Promise<void> } {
  let rest: Numeric | null = null;
  return {
    async push(values) {
      let all = values;
      if (rest?.length) {
        all = new (values.constructor as new (length: number) => Numeric)(rest.length + values.length);
        all.set(rest);
        all.set(values, rest.length);
      }
      const end = all.length - (all.length % WHOLE);
      rest = all.subarray(end);
      if (end) await take(all.subarray(0, end));
    },
    async end() {
      if (rest?.length) await take(rest);
    },
  };
}
