/** Arrays in HDF5 files, and in MATLAB's v7.3, by the package h5wasm. */
import { closeSync, openSync, readSync } from "node:fs";
import type { File } from "h5wasm/node";
import { FormatError, hdf5Arrays, isHdf5Signature, UnsupportedError } from "../io/index.js";
import { type Container, listed } from "./arrayFile.js";
import { peer } from "./peers.js";

/**
 * Opens an HDF5 file, whose arrays are its datasets.
 *
 * @param isMatlab whether it is MATLAB's, whose modes lie in reverse
 * @throws FormatError where it is none, or has no dataset of a name that is opened; UnsupportedError where h5wasm is not installed or
 * the dataset holds no real numbers
 */
export async function openHdf5(file: string, isMatlab: boolean): Promise<Container> {
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
  return datasetsOf(hdf5, opened!, file, isMatlab);
}

/** Whether a file has HDF5's signature, which MATLAB puts behind 512 bytes of its own. */
function isHdf5(file: string): boolean {
  const descriptor = openSync(file, "r");
  try {
    const bytes = new Uint8Array(8);
    for (let at = 0; at <= 2 ** 20; at = at ? 2 * at : 512) {
      if (readSync(descriptor, bytes, 0, 8, at) < 8) return false;
      if (isHdf5Signature(bytes)) return true;
    }
    return false;
  } finally {
    closeSync(descriptor);
  }
}

function datasetsOf(hdf5: typeof import("h5wasm/node"), opened: File, file: string, isMatlab: boolean): Container {
  const { arrays, skipped } = hdf5Arrays(hdf5, opened, file, isMatlab);
  let openArrays = 0;
  return {
    shapes: new Map([...arrays].map(([name, { shape }]) => [name, shape])),
    skipped,
    open(name) {
      const array = arrays.get(name);
      const reason = skipped.get(name);
      if (reason) throw new UnsupportedError(file, `"${name}" ${reason}`);
      if (!array) throw new FormatError(file, `holds no array ${name}; it has ${listed([...arrays.keys()])}`);
      const { shape, dtype, chunk, rows } = array;
      openArrays++;
      return {
        ...{ name: `${file}:${name}`, shape, dtype, chunk, rows },
        isStreamed: true,
        others: [...arrays.keys()].filter((other) => other !== name),
        close: () => void (--openArrays || opened.close()),
      };
    },
    close: () => void (openArrays || opened.close()),
  };
}
