/** Reads the tensor that a command works on. */
import { dispose, type Engine, formatShape, type TenfoldError, type Tensor } from "../gpu/index.js";
import { type NumericArray, readNpz, unravel, writeAsF32 } from "../io/index.js";
import { type NamedSlice, type Obstacle, obstacleOfSlices } from "../methods/index.js";
import { ARRAY_FILES, type ArrayFile, openArray, openArrays, type TextOptions } from "../node/arrays.js";
import { readBytes } from "../node/files.js";
import {
  type Masked,
  masked,
  type Resident,
  type RowReader,
  type Sharded,
  type Shards,
  type Slabs,
  sharded,
  source,
  streamed,
} from "../sources/index.js";
import { type Context, InputError } from "./context.js";
import { openInput, STANDARD_INPUT_HELP } from "./input.js";
import { formatCount } from "./table.js";

const LARGEST_F32 = 3.4028234663852886e38;

/** What the help texts say of the argument that {@link readTensor} reads. */
export const TENSOR_FILE = `the tensor: ${ARRAY_FILES}; one array of several as data.npz:X; ${STANDARD_INPUT_HELP}`;

/** A tensor as a command hands it to a solver. */
export interface TensorFile {
  shape: number[];
  /** the entries as f32, divided by 2^exponent so that the largest is between 1/2 and 1 */
  values: Float32Array;
  exponent: number;
  /** what the file says of modes and indices */
  text?: ArrayFile["text"];
}

/** Entries that are read at once. */
const AT_ONCE = 2 ** 22;

/** Where `-` is read from, and what ends that. */
type Reading = Pick<Context, "stdin" | "signal">;

/** Calls `work` with an array of a file. */
export async function withArray<T>(
  file: string,
  reading: Reading,
  work: (array: ArrayFile) => T | Promise<T>,
  options: TextOptions = {},
): Promise<T> {
  const array = await openInput(file, reading, options);
  try {
    return await work(array);
  } finally {
    array.close();
  }
}

/** Entries of an array in order, some millions at a time, and the place of the first of them. */
export async function* slabsOf({
  shape,
  chunk,
  rows,
}: ArrayFile): AsyncGenerator<readonly [NumericArray["data"], number]> {
  const [extent = 1, ...rest] = shape;
  const width = rest.reduce((product, size) => product * size, 1);
  const step = Math.max(1, Math.ceil(AT_ONCE / Math.max(1, width) / chunk)) * chunk;
  for (let start = 0; start < extent && width; start += step)
    yield [await rows(start, Math.min(extent, start + step)), start * width];
}

/**
 * Reads a tensor from a file. With `missing`, entries that no line of a text names are missing, as those that are NaN; else they are 0.
 *
 * @throws FileError and FormatError where it cannot be read, InputError where it has fewer than two modes, no entries, entries that are not
 * finite or beyond f32, or zeros alone
 */
export const readTensor = (file: string, reading: Reading, options: { missing?: boolean } = {}): Promise<TensorFile> =>
  withArray(file, reading, (array) => tensorOf(array, options), { absent: options.missing ? Number.NaN : 0 });

/** {@link readTensor} of an array that is open. */
export async function tensorOf(array: ArrayFile, { missing = false }: { missing?: boolean } = {}): Promise<TensorFile> {
  const shape = shapeOf(array);
  return { shape, ...(await toF32([array], array.name, missing)), ...(array.text && { text: array.text }) };
}

/** The shape of a tensor. Throws where it has fewer than two modes, or no entries. */
function shapeOf({ name, shape }: ArrayFile): number[] {
  if (shape.length < 2) throw new InputError(`${name}: shape ${formatShape(shape)}, needs at least two modes`);
  const empty = shape.indexOf(0);
  if (empty >= 0) throw new InputError(`${name}: shape ${formatShape(shape)} has no entries, mode ${empty} is empty`);
  return [...shape];
}

/** A tensor that a command works on, or slices, and how a solver gets it. */
export interface Input<X = Tensor | Resident | Slabs | Masked | Sharded> {
  shape: number[];
  /** what was read, where the tensor was read as a whole */
  read?: TensorFile;
  /** X is 2^exponent times what `open` gives */
  exponent: number;
  /** of slices of any numbers of rows: their names and rows; `shape` has the most rows, and `read` has one below the other */
  slices?: { name: string; rows: number }[];
  /** What is freed by `using`. */
  open(engine: Engine): Promise<X>;
  close(): void;
}

/** Entries of a tensor, or of all slices. */
export const entriesOf = ({ shape, slices }: Pick<Input, "shape" | "slices">): number =>
  slices
    ? shape[2]! * slices.reduce((total, { rows }) => total + rows, 0)
    : shape.reduce((product, extent) => product * extent, 1);

/** `4×9×6`, or `4 slices of 5 to 9×6` */
export function sizeOfInput({ shape, slices }: Pick<Input, "shape" | "slices">): string {
  if (!slices) return formatShape(shape);
  const least = Math.min(...slices.map(({ rows }) => rows));
  const [count, most, columns] = shape as [number, number, number];
  return `${count} slices of ${least === most ? most : `${least} to ${most}`}×${columns}`;
}

/** Slices on the GPU. */
export class SliceList {
  constructor(readonly slices: readonly NamedSlice[]) {}

  /** how many entries are known; undefined where none is missing */
  get known(): number | undefined {
    const counts = this.slices.map(({ x }) => ("known" in x ? x.known : null));
    if (counts.every((count) => count === null)) return undefined;
    return counts.reduce<number>((total, count, k) => total + (count ?? this.slices[k]!.x.size), 0);
  }

  [dispose](): void {
    for (const { x } of this.slices) x[dispose]();
  }
}

/** A tensor that is with workers of a cluster. */
export const inputOf = (shards: Shards, signal: AbortSignal): Input => ({
  shape: [...shards.shape],
  exponent: 0,
  open: (engine) => sharded(engine, shards, signal),
  close() {},
});

/**
 * Opens a tensor: as one tensor, or in slabs where it is larger than a binding; with `memory` in slabs that are read anew in every pass; with
 * `missing` as one whose NaN are missing entries.
 *
 * @throws FileError, FormatError and InputError as {@link readTensor}
 */
export async function openTensor(
  file: string,
  reading: Reading,
  { memory, missing = false }: { memory?: number; missing?: boolean },
): Promise<Input> {
  if (memory !== undefined) {
    if (missing) throw new InputError("--missing takes the tensor as a whole: give it without --memory");
    const array = await openInput(file, reading);
    try {
      const shape = shapeOf(array);
      return {
        shape,
        exponent: 0,
        open: (engine) => streamedArray(engine, array, memory),
        close: () => array.close(),
      };
    } catch (error) {
      array.close();
      throw error;
    }
  }
  const read = await readTensor(file, reading, { missing });
  const { shape, values, exponent } = read;
  return {
    shape,
    read,
    exponent,
    async open(engine) {
      const { maxStorageBufferBindingSize } = engine.device.limits;
      if (values.byteLength > maxStorageBufferBindingSize && !missing) return await source(engine, shape, values);
      const x = engine.tensor(shape, values, { label: file });
      if (!missing) return x;
      using tensor = x;
      return await masked(engine, tensor);
    },
    close() {},
  };
}

/** An array in slabs, whose entries are refused in the words in which those of a tensor in memory are. */
async function streamedArray(engine: Engine, array: ArrayFile, memory: number): Promise<Slabs> {
  try {
    const slabs = await streamed(engine, array.reader ?? readerOf(array), { memory });
    if (!slabs.isZero) return slabs;
    slabs[dispose]();
    throw new InputError(nothingIn(array.name, "0"));
  } catch (error) {
    if ((error as TenfoldError).code === "ENTRIES") await largestOf(array, false);
    throw error;
  }
}

const nothingIn = (name: string, what: "0" | "missing"): string =>
  `${name}: every entry is ${what}, there is nothing to decompose`;

/** Arrays of a file that are slices of one kind. */
interface Slices {
  /** their number, the most rows, columns */
  shape: [count: number, rows: number, columns: number];
  slices: { name: string; rows: number }[];
  arrays: ArrayFile[];
}

/**
 * Calls `work` with the arrays of a file that holds several matrices of as many columns; null where it holds one array, or the path names one.
 *
 * @param onObstacle is told why arrays are no slices; where it returns, the answer is null
 */
export async function withSlices<T>(
  file: string,
  work: (slices: Slices) => Promise<T>,
  rank?: number,
  onObstacle: (obstacle: Obstacle) => void = () => {},
): Promise<T | null> {
  const opened = await openArrays(file);
  if (!opened) return null;
  try {
    const parts = opened.map(({ name, array: { shape } }) => ({ name, shape }));
    const obstacle = obstacleOfSlices(parts, rank);
    if (obstacle) {
      onObstacle(obstacle);
      return null;
    }
    const slices = parts.map(({ name, shape }) => ({ name, rows: shape[0]! }));
    const most = Math.max(...slices.map(({ rows }) => rows));
    const shape: Slices["shape"] = [parts.length, most, parts[0]!.shape[1]!];
    return await work({ shape, slices, arrays: opened.map(({ array }) => array) });
  } finally {
    for (const { array } of opened) array.close();
  }
}

/**
 * Reads the matrices of a file that holds several as slices; null where it holds one array, or the path names one.
 *
 * @throws InputError where the arrays are no slices of one kind; FileError, FormatError and InputError as {@link readTensor}
 */
export const openSlices = (
  file: string,
  rank: number | undefined,
  missing: boolean,
): Promise<Input<SliceList> | null> =>
  withSlices(
    file,
    async ({ shape, slices, arrays }) => {
      const [, , columns] = shape;
      const { values, exponent } = await toF32(arrays, file, missing);
      const text = { modes: ["slice", "row", "column"], labels: [slices.map(({ name }) => name), null, null] };
      return {
        shape,
        read: { shape: [values.length / columns, columns], values, exponent, text },
        exponent,
        slices,
        open: (engine) => slicesOf(engine, slices, columns, values),
        close() {},
      };
    },
    rank,
    ({ words, advice }) => {
      throw new InputError(`${file}: ${words}; ${advice}`);
    },
  );

/** Slices on the GPU, those with missing entries as sources. */
async function slicesOf(
  engine: Engine,
  slices: NonNullable<Input["slices"]>,
  columns: number,
  values: Float32Array,
): Promise<SliceList> {
  const opened: NamedSlice[] = [];
  try {
    let start = 0;
    for (const { name, rows } of slices) {
      const data = values.subarray(start, start + rows * columns);
      start += data.length;
      const x = engine.tensor([rows, columns], data, { label: name });
      if (!data.some(Number.isNaN)) opened.push({ name, x });
      else {
        using tensor = x;
        opened.push({ name, x: await masked(engine, tensor) });
      }
    }
    return new SliceList(opened);
  } catch (error) {
    new SliceList(opened)[dispose]();
    throw error;
  }
}

/** The rows of an array's file as f32. */
const readerOf = ({ name, shape, chunk, rows }: ArrayFile): RowReader => {
  let vanished = false;
  return {
    shape,
    chunk,
    format: "f32",
    get vanished() {
      return vanished;
    },
    async read(start, count, into) {
      const data = await rows(start, start + count);
      // what is beyond f32 becomes infinite, which the source tells; NaN is told there, too
      if (writeAsF32(data, new Float32Array(into.buffer, into.byteOffset, data.length))) vanished = true;
      if (data.length !== into.length / 4)
        throw new InputError(`${name}: ${data.length} entries in rows ${start} to ${start + count}`);
    },
  };
};

/** Reads an array that is small: a factor. */
async function readArray(file: string): Promise<NumericArray & { name: string }> {
  const array = await openArray(file);
  try {
    const { name, shape } = array;
    return { name, shape, data: await array.rows(0, shape[0] ?? 1) };
  } finally {
    array.close();
  }
}

/**
 * Reads a factor, a matrix in a file.
 *
 * @param shape what it needs: the extent of its mode by the rank
 * @throws InputError where it has another shape, or entries that f32 does not hold
 */
export async function readFactor(file: string, shape: readonly [extent: number, rank: number]): Promise<Float32Array> {
  const array = await readArray(file);
  return factorOf(array.name, array, shape);
}

/**
 * Reads all factors of a CP model from the file that `tenfold decompose --out` writes.
 *
 * @throws InputError where one is missing, has another shape, or entries that f32 does not hold
 */
export function readFactors(file: string, shape: readonly number[], rank: number): Float32Array[] {
  const members = readNpz(readBytes(file), file);
  return shape.map((extent, mode) => {
    const name = `factor_${mode}`;
    const member = members.get(name);
    if (!member) throw new InputError(`${file}: no ${name}, needs one for each of ${shape.length} modes`);
    return factorOf(`${file}: ${name}`, member, [extent, rank]);
  });
}

function factorOf(
  name: string,
  { shape, data }: NumericArray,
  needed: readonly [extent: number, rank: number],
): Float32Array {
  if (formatShape(shape) !== formatShape(needed))
    throw new InputError(
      `${name}: shape ${formatShape(shape)}, needs ${formatShape(needed)}: a row for each index of the mode, a column for each term`,
    );
  const values = Float32Array.from(data);
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new InputError(`${name}: entry [${unravel(wrong, shape).join(", ")}] is ${data[wrong]}, needs an f32`);
  return values;
}

/**
 * The entries of arrays, one behind the other, as f32 and divided by 2^exponent so that the largest is between 1/2 and 1. Then squares neither
 * overflow nor vanish, and scaling by a power of two changes no digit. Reads the arrays twice: once to find the largest entry.
 *
 * @param all names them together
 */
async function toF32(
  arrays: readonly ArrayFile[],
  all: string,
  missing: boolean,
): Promise<{ values: Float32Array; exponent: number }> {
  let largest = 0;
  let absent = 0;
  for (const array of arrays) {
    const content = await largestOf(array, missing);
    largest = Math.max(largest, content.largest);
    absent += content.absent;
  }
  const size = arrays.reduce((total, { shape }) => total + shape.reduce((product, extent) => product * extent, 1), 0);
  if (absent && absent === size) throw new InputError(nothingIn(all, "missing"));
  if (largest === 0) throw new InputError(nothingIn(all, "0"));
  const exponent = Math.floor(Math.log2(largest)) + 1;
  // in two steps, because 2^-exponent may be too large for f64
  const half = Math.trunc(exponent / 2);
  const [one, two] = [2 ** -half, 2 ** -(exponent - half)];
  const values = new Float32Array(size);
  let place = 0;
  for (const array of arrays)
    for await (const [data] of slabsOf(array))
      for (let i = 0; i < data.length; i++) values[place++] = data[i]! * one * two;
  return { values, exponent };
}

/** The largest magnitude in an array, and how many entries are missing. */
async function largestOf(array: ArrayFile, missing: boolean): Promise<{ largest: number; absent: number }> {
  const { name, shape } = array;
  let largest = 0;
  let first: { place: number; value: number } | null = null;
  let wrong = 0;
  let absent = 0;
  for await (const [data, start] of slabsOf(array)) {
    for (let i = 0; i < data.length; i++) {
      const size = Math.abs(data[i]!);
      if (size <= LARGEST_F32) {
        if (size > largest) largest = size;
        continue;
      }
      if (missing && Number.isNaN(size)) {
        absent++;
        continue;
      }
      wrong++;
      first ??= { place: start + i, value: data[i]! };
    }
  }
  if (first) {
    const { place, value } = first;
    const others = wrong > 1 ? `, and ${formatCount(wrong - 1)} more are like it` : "";
    const problem = Number.isFinite(value) ? "beyond 3.4e38, the largest f32" : "not finite";
    const advice = Number.isNaN(value)
      ? "--missing takes entries that are NaN for missing ones"
      : Number.isFinite(value)
        ? "divide all entries by a constant"
        : `replace ${wrong > 1 ? "them" : "it"}`;
    throw new InputError(
      `${name}: entry [${unravel(place, shape).join(", ")}] is ${value}, ${problem}${others}; ${advice}`,
    );
  }
  return { largest, absent };
}
