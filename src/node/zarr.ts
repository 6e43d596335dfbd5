/** Arrays in Zarr stores (versions 2 and 3) that are folders, by the package zarrita. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { exact, FormatError, type Numeric, UnsupportedError, unravel } from "../io/index.js";
import { type ArrayFile, type Container, listed } from "./arrayFile.js";
import { peer } from "./peers.js";

/** What is read of an array's metadata before zarrita is asked. */
interface Metadata {
  shape: number[];
  dtype: string;
}

/** The most arrays that are listed of a group. */
const MOST_LISTED = 1000;

/**
 * Opens a Zarr store, whose arrays are named by their paths. Chunks are read as rows are asked for; those that are not there hold the fill value.
 *
 * @param member the path of an array: where there is one, the store is not searched for others
 * @throws FormatError where it has no array of a path that is opened; UnsupportedError where zarrita is not installed, or the array
 * holds no real numbers
 */
export async function openZarr(folder: string, member: string | null): Promise<Container> {
  const zarr = await peer("zarrita", folder, "Zarr stores", () => import("zarrita"));
  const shapes = new Map<string, number[]>();
  const visit = (path: string): void => {
    if (shapes.size >= MOST_LISTED) return;
    const metadata = metadataOf(folder, path);
    if (metadata) return void shapes.set(path, metadata.shape);
    for (const { name, isDirectory } of entriesOf(join(folder, path)))
      if (isDirectory) visit(path ? `${path}/${name}` : name);
  };
  const named = metadataOf(folder, member ?? "");
  if (named) shapes.set(member ?? "", named.shape);
  else visit("");
  return { shapes, open: (path) => openPath(zarr, folder, path, [...shapes.keys()]), close() {} };
}

async function openPath(
  zarr: typeof import("zarrita"),
  folder: string,
  path: string,
  names: readonly string[],
): Promise<ArrayFile> {
  const metadata = metadataOf(folder, path);
  if (!metadata) throw new FormatError(folder, `holds no array ${path}; it has ${listed(names)}`);
  const name = path ? `${folder}:${path}` : folder;
  const { shape, dtype } = metadata;
  const problem = problemOf(dtype);
  if (problem) throw new UnsupportedError(name, problem);
  let array: Awaited<ReturnType<typeof openIt>>;
  const openIt = () => zarr.open(zarr.root(new Folder(folder)).resolve(`/${path}`), { kind: "array" });
  try {
    array = await openIt();
  } catch (error) {
    throw new FormatError(name, `no whole Zarr array (${(error as Error).message})`, { cause: error });
  }
  return {
    name,
    shape,
    dtype,
    isStreamed: true,
    chunk: array.chunks[0] ?? 1,
    async rows(start, stop) {
      const ranges = shape.map((_, mode) => (mode ? null : zarr.slice(start, stop)));
      let data: Numeric | BigInt64Array | BigUint64Array;
      try {
        const chunk = await zarr.get(array, shape.length ? ranges : null);
        const elements = typeof chunk === "object" && "data" in chunk ? chunk.data : [chunk];
        // booleans come in no typed array
        data = ArrayBuffer.isView(elements)
          ? (elements as typeof data)
          : Float64Array.from(elements as Iterable<number>, Number);
      } catch (error) {
        throw new FormatError(
          name,
          `a chunk of rows ${start} to ${stop} cannot be read (${(error as Error).message})`,
          {
            cause: error,
          },
        );
      }
      return exact(data, (index) => {
        const [row, ...rest] = unravel(index, [stop - start, ...shape.slice(1)]);
        return `${name}: entry [${[row! + start, ...rest].join(", ")}]`;
      });
    },
    others: names.filter((other) => other !== path),
    close() {},
  };
}

/** The metadata of the array at a path; null where there is none. */
function metadataOf(folder: string, path: string): Metadata | null {
  for (const name of ["zarr.json", ".zarray"]) {
    const file = join(folder, path, name);
    if (!existsSync(file)) continue;
    let content: Record<string, unknown>;
    try {
      content = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    } catch (error) {
      throw new FormatError(file, `not JSON (${(error as Error).message})`, { cause: error });
    }
    if (name === "zarr.json" && content.node_type !== "array") return null;
    const { shape, data_type: dtype = content.dtype } = content;
    if (!Array.isArray(shape) || !shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0))
      throw new FormatError(file, "its shape is no list of extents");
    return { shape: shape as number[], dtype: typeof dtype === "string" ? dtype : JSON.stringify(dtype) };
  }
  return null;
}

/** Why a type is not read here; null where it is. */
function problemOf(dtype: string): string | null {
  if (/^(float16|[<>|]?f2)$/.test(dtype) && !("Float16Array" in globalThis))
    return "holds float16, which needs Node 24 or newer; save it as float32";
  if (/complex|^[<>|]?c\d/.test(dtype))
    return "holds complex numbers: save the magnitude, or the real and the imaginary part as two arrays";
  if (/^(bool|u?int(8|16|32|64)|float(16|32|64)|[<>|]?[iuf][1248]|[<>|]?b1)$/.test(dtype)) return null;
  return `holds elements of type ${dtype}, needs numbers`;
}

function entriesOf(folder: string): { name: string; isDirectory: boolean }[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      isDirectory: entry.isDirectory(),
    }));
  } catch {
    return [];
  }
}

/** A folder as zarrita reads a store. */
class Folder {
  constructor(readonly folder: string) {}

  async get(key: `/${string}`): Promise<Uint8Array | undefined> {
    const file = join(this.folder, key);
    return existsSync(file) ? new Uint8Array(readFileSync(file)) : undefined;
  }

  async getRange(
    key: `/${string}`,
    range: { offset: number; length: number } | { suffixLength: number },
  ): Promise<Uint8Array | undefined> {
    const bytes = await this.get(key);
    if (!bytes) return undefined;
    if ("suffixLength" in range) return bytes.subarray(bytes.length - range.suffixLength);
    return bytes.subarray(range.offset, range.offset + range.length);
  }
}
