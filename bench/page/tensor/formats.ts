/** Files of tensors, read in pieces: what they hold, and their numbers. Needs no page: a worker calls it, and tests do. */
import { isHdf5Signature, type Numeric, readMat, readNpy, readNpyHeader, readNpz } from "../../../src/index.js";
import { obstacleOfSlices } from "../../../src/methods/method.js";
import { openCsv } from "./csv.js";
import { ENTRIES, inPieces, type Member, type OpenFile } from "./pieces.js";

export interface Format {
  /** what file names end with */
  ending: string;
  kind: string;
  /** whether a file of this name that begins with these bytes is one */
  is(name: string, start: Uint8Array): boolean;
  open(blob: Blob, name: string): Promise<OpenFile>;
}

/** Every kind of file that is read here, tried in this order. */
export const FORMATS: readonly Format[] = [
  { ending: ".npy", kind: "NumPy array", is: (_, start) => begins(start, "\x93NUMPY"), open: openNpy },
  { ending: ".npz", kind: "NumPy archive", is: (_, start) => begins(start, "PK"), open: openNpz },
  // version 7.3 is HDF5 behind MATLAB's words; what reads it is large, and comes when it is needed
  {
    ending: ".h5",
    kind: "HDF5 file",
    is: (_, start) => isHdf5Signature(start) || begins(start, "MATLAB 7.3"),
    open: async (blob, name) => (await import("./hdf5.js")).openHdf5(blob, name),
  },
  { ending: ".mat", kind: "MATLAB file", is: (_, start) => begins(start, "MATLAB"), open: openMat },
  {
    ending: ".csv",
    kind: "text of numbers",
    is: (name, start) => /\.(csv|tsv|txt|dat)$/i.test(name) && !start.includes(0),
    open: openCsv,
  },
];
const ENDINGS = FORMATS.map(({ ending }) => ending);

/** `.npy, .npz or .csv` */
export const KNOWN_FILES = `${ENDINGS.slice(0, -1).join(", ")} or ${ENDINGS.at(-1)}`;

const begins = (bytes: Uint8Array, text: string): boolean =>
  [...text].every((letter, at) => bytes[at] === letter.charCodeAt(0));

/** bytes in which a header is looked for at first */
const HEADER = 1 << 16;

export const bytesOf = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await blob.arrayBuffer());

/** Looks what a file holds. Throws where it is of no kind that is read here, or damaged. */
export async function openFile(blob: Blob, name: string): Promise<OpenFile> {
  if (!blob.size) throw new Error(`${name}: the file is empty`);
  const start = await bytesOf(blob.slice(0, 512));
  const format = FORMATS.find((known) => known.is(name, start));
  if (!format) throw new Error(`${name}: not a file that is read here, which are ${KNOWN_FILES}${adviceFor(name)}`);
  return withSlices(await format.open(blob, name));
}

/** With a member behind the others that stands for all matrices, in the natural order of their names, where these are slices of one kind. */
export function withSlices(file: OpenFile): OpenFile {
  const arrays = file.members.flatMap(({ name, shape }, member) => (shape.length > 1 ? [{ name, shape, member }] : []));
  if (arrays.length < 2 || obstacleOfSlices(arrays, undefined)) return file;
  arrays.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const slices = arrays.map(({ name, shape, member }) => ({ name, rows: shape[0]!, member }));
  const all: Member = {
    name: `all ${slices.length} matrices, as slices`,
    shape: [slices.reduce((total, { rows }) => total + rows, 0), arrays[0]!.shape[1]!],
    dtype: [...new Set(slices.map(({ member }) => file.members[member]!.dtype))].join(", "),
    modes: null,
    isColumnMajor: false,
    note: "",
    slices,
  };
  return {
    ...file,
    members: [...file.members, all],
    async read(member, take) {
      if (member < file.members.length) return await file.read(member, take);
      for (const slice of slices) await file.read(slice.member, take);
    },
  };
}

/** What to do with files that people have and that are not read here. */
function adviceFor(name: string): string {
  if (/\.(mat|h5|hdf5|nc)$/i.test(name))
    return ". Load it in Python (h5py, scipy.io) and save one array: numpy.save('x.npy', x)";
  if (/\.(png|jpe?g|gif|webp|tiff?|bmp)$/i.test(name))
    return ". Stack the images in Python: numpy.save('x.npy', numpy.stack(images))";
  if (/\.(pt|pth|pkl|pickle)$/i.test(name)) return ". In Python: numpy.save('x.npy', x.numpy())";
  if (/\.xlsx?$/i.test(name)) return ". Save the sheet as CSV";
  return ". From Python: numpy.save('x.npy', x)";
}

const WIDE: Readonly<Record<string, string>> = { f: "f", i: "i", u: "u", b: "bool " };
/** NumPy's `<f4` as `f32`. */
function typeName(descr: string): string {
  const [kind, size] = [descr[1]!, Number(descr.slice(2))];
  return `${WIDE[kind] ?? kind}${8 * size}${descr[0] === ">" ? ", big-endian" : ""}`;
}

async function openNpy(blob: Blob, name: string): Promise<OpenFile> {
  let start = await bytesOf(blob.slice(0, HEADER));
  // a header of version 2 may be longer
  const length = start[6]! > 1 && start.length >= 12 ? new DataView(start.buffer).getUint32(8, true) + 12 : 0;
  if (length > HEADER) start = await bytesOf(blob.slice(0, length));
  const { descr, shape, fortranOrder, dataOffset } = readNpyHeader(start, name);
  const size = shape.reduce((product, extent) => product * extent, 1);
  const width = Number(descr.slice(2));
  if (blob.size - dataOffset < size * width)
    throw new Error(
      `${name}: cut short: ${shape.join("×")} of ${descr} needs ${size * width} bytes after the header, the file has ${blob.size - dataOffset}`,
    );
  return {
    kind: "NumPy array",
    members: [
      {
        name: name.replace(/\.npy$/i, ""),
        shape,
        dtype: typeName(descr),
        modes: null,
        isColumnMajor: fortranOrder && shape.length > 1,
        note: fortranOrder && shape.length > 1 ? "in Fortran's order, turned on the GPU" : "",
      },
    ],
    skipped: [],
    async read(_, take) {
      for (let from = 0; from < size; from += ENTRIES) {
        const count = Math.min(ENTRIES, size - from);
        const at = dataOffset + from * width;
        const header = npyHeader(descr, count);
        const piece = new Uint8Array(header.length + count * width);
        piece.set(header);
        piece.set(await bytesOf(blob.slice(at, at + count * width)), header.length);
        await take(readNpy(piece, `${name}, entries from ${from}`).data);
      }
    },
  };
}

/** The header of a list of so many numbers: with it a piece of a file is a file of its own, which the library reads. */
function npyHeader(descr: string, count: number): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${count},), }`.padEnd(117);
  const header = new TextEncoder().encode(`\0NUMPY\x01\0\0\0${text}\n`);
  header[0] = 0x93;
  header[8] = header.length - 10;
  return header;
}

/** An archive is read at once, as its directory lies at its end; arrays that are not compressed share its memory. */
async function openNpz(blob: Blob, name: string): Promise<OpenFile> {
  return ofArrays("NumPy archive", readNpz(await bytesOf(blob), name));
}

/** MATLAB's arrays are compressed one by one, and column-major: they are read at once, and turned. */
async function openMat(blob: Blob, name: string): Promise<OpenFile> {
  return ofArrays("MATLAB file", readMat(await bytesOf(blob), name));
}

function ofArrays(kind: string, arrays: ReturnType<typeof readNpz>): OpenFile {
  const members = [...arrays].map(([key, { shape, data }]) => ({
    name: key,
    shape,
    dtype: arrayType(data),
    modes: null,
    isColumnMajor: false,
    note: "",
  }));
  const values = [...arrays.values()];
  return {
    kind,
    members,
    skipped: [...arrays.skipped],
    async read(member, take) {
      await inPieces(values[member]!.data, take);
    },
  };
}

const arrayType = (data: Numeric): string =>
  data.constructor.name
    .replace(/Array$/, "")
    .replace("Float", "f")
    .replace("Uint", "u")
    .replace("Int", "i");

/** What a pass over all numbers tells of them. */
export interface Inspection {
  entries: number;
  /** entries that are NaN, and that are infinite */
  missing: number;
  infinite: number;
  /** place of the first entry that is not finite, in the file's order; −1 where all are */
  firstBad: number;
  /** finite entries whose size is beyond 3.4e38, the largest f32 */
  beyond: number;
  zeros: number;
  negative: number;
  /** of those that are finite */
  least: number;
  largest: number;
  mean: number;
  /** ‖X‖ without what is not finite */
  norm: number;
}

const LARGEST_F32 = 3.4028234663852886e38;

/** Reads all numbers once. `onRead` is told the share that is read. */
export async function inspect(
  file: OpenFile,
  member: number,
  onRead: (done: number) => void = () => {},
): Promise<Inspection> {
  const entries = file.members[member]!.shape.reduce((product, extent) => product * extent, 1);
  const of: Inspection = {
    ...{ entries, missing: 0, infinite: 0, firstBad: -1, beyond: 0, zeros: 0, negative: 0 },
    ...{ least: Number.POSITIVE_INFINITY, largest: Number.NEGATIVE_INFINITY, mean: 0, norm: 0 },
  };
  let [sum, squares, read] = [0, 0, 0];
  await file.read(member, (values) => {
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!Number.isFinite(value)) {
        if (Number.isNaN(value)) of.missing++;
        else of.infinite++;
        if (of.firstBad < 0) of.firstBad = read + i;
        continue;
      }
      if (value < of.least) of.least = value;
      if (value > of.largest) of.largest = value;
      if (value === 0) of.zeros++;
      else if (value < 0) of.negative++;
      if (Math.abs(value) > LARGEST_F32) of.beyond++;
      sum += value;
      squares += value * value;
    }
    read += values.length;
    onRead(read / entries);
  });
  of.mean = sum / Math.max(1, entries - of.missing - of.infinite);
  of.norm = Math.sqrt(squares);
  return of;
}

/** A copy in f32, with `fill` in the place of what is not finite; null leaves it. */
export function toF32(values: Numeric, fill: number | null): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  out.set(values);
  if (fill !== null) for (let i = 0; i < out.length; i++) if (!Number.isFinite(values[i]!)) out[i] = fill;
  return out;
}
