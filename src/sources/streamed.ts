/** Sources of numbers that the host has: in an array, or where only it can read them. */
import {
  bytesOf,
  checkOption,
  checkOptions,
  type DType,
  dispose,
  dtypes,
  Engine,
  elementsOf,
  formatBytes,
  formatShape,
  isList,
  type OptionRules,
  OutOfLimitsError,
  oneOf,
  optionRules,
  ShapeError,
  STAGED,
  sizeOf,
  TenfoldError,
  type Tensor,
  type TensorData,
  type TypedArray,
} from "../gpu/index.js";
import { Feed, type NumberFormat, RowFeed, type RowReader } from "./feed.js";
import { Resident, resident } from "./resident.js";
import { looked, type Placed, placeIn, Slabs } from "./slabs.js";

export interface StreamedOptions {
  /**
   * bytes of GPU memory for slabs of X and what solvers make of a slab, 512 MiB by default. Factors, and what solvers keep of their size, come
   * on top; and a slab of the host's memory
   */
  memory?: number;
}

export interface SourceOptions {
  /** of 16-bit words, what they are: u16 by default, or f16 or bf16 */
  format?: "u16" | "f16" | "bf16";
  /** as in {@link streamed}: X stays with the host, and slabs of it go to the GPU whenever they are read. Left out, all of X does, once */
  memory?: number;
}

const memoryRule = { needs: "a number of bytes above 0", is: optionRules.aboveZero.is };
const streamedRules: OptionRules<StreamedOptions> = { memory: memoryRule };
const sourceRules: OptionRules<SourceOptions> = { format: oneOf("u16", "f16", "bf16"), memory: memoryRule };

const MEBI = 2 ** 20;
const MEMORY = 512 * MEBI;
/** the most bytes of a slab as f32, unless a row has more: enough to keep the GPU busy, and few beside what solvers make of a slab and the host holds */
const SLAB = 48 * MEBI;
/** tensors of a slab's size, as f32, that solvers have at once at most: the slab, X̂ or X − X̂ of it, and a product on the way there */
const TENSORS = 3;
/** the smallest f32 that has all its digits */
const SMALLEST = 2 ** -126;
/** the part of the memory that is planned for: buffers come in sizes up to a fourth larger */
const PLANNED = 0.75;

/**
 * A source of numbers that the host has, for every solver that takes a tensor: of any size, and of any of these arrays. f32 (and f64, as f32) that
 * fits a binding of the GPU becomes one tensor. A larger one becomes several, in slabs of mode 0. Numbers of fewer bytes stay as they are, and
 * kernels read them so: u8 takes a fourth of the memory of f32, and a fourth of the reads. With `memory` only
 * so much of X is on the GPU at a time.
 *
 * Free it with `using`, or call its `[Symbol.dispose]`.
 *
 * @example 60,000 images as bytes, 47 MB on the GPU:
 * ```ts
 * using x = await source(engine, [60000, 28, 28], bytes);
 * const { tensor } = await cp(engine, x, { rank: 10 });
 * ```
 * @throws ShapeError where there are more or fewer numbers than the shape needs
 * @throws TenfoldError for NaN and infinity: how many, and where the first is
 */
export async function source(
  engine: Engine,
  shape: readonly number[],
  data: TensorData | Int8Array | Uint16Array | Int16Array | Uint8ClampedArray,
  options: SourceOptions = {},
): Promise<Resident | Slabs> {
  return await sourceOf("source", engine, shape, data, options);
}

/** `slab`: bytes of the largest slab as f32 */
export async function sourceOf(
  operation: string,
  engine: Engine,
  shape: readonly number[],
  data: TensorData | Int8Array | Uint16Array | Int16Array | Uint8ClampedArray,
  options: SourceOptions,
  slab?: number,
): Promise<Resident | Slabs> {
  checkEngine(operation, engine);
  checkOption(operation, "shape", shape, optionRules.shape);
  checkOptions(operation, options, sourceRules);
  const format = formatOf(operation, data, options.format);
  const size = sizeOf(shape);
  const numbers = format === "f32" ? elementsOf(operation, data as TensorData, shape, "f32") : (data as TypedArray);
  if (numbers.length !== size)
    throw new ShapeError(`${operation}: ${numbers.length} values given, ${formatShape(shape)} needs ${size}`);
  const { maxStorageBufferBindingSize, maxBufferSize } = engine.device.limits;
  const most = slab ?? Math.min(maxStorageBufferBindingSize, maxBufferSize);
  if (format === "f32" && options.memory === undefined && 4 * size <= most)
    return await single(operation, engine, shape, numbers as Float32Array);
  const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  const rowBytes = (size / shape[0]!) * bytesOf(format);
  const reader: RowReader = {
    shape,
    format,
    read: (start, count, into) => into.set(bytes.subarray(start * rowBytes, (start + count) * rowBytes)),
  };
  if (options.memory !== undefined) return await streamedFrom(operation, engine, reader, options.memory);
  const rows = rowsOfSlab(operation, engine, reader, Math.min(SLAB, most));
  const held: Tensor<DType>[] = [];
  const feed = new RowFeed(engine, reader, rows, 4 * STAGED);
  try {
    const parts: Placed[] = [];
    for (const { start, shape } of cut(reader.shape, rows)) {
      const tensor = placeFor(engine, shape, format);
      held.push(tensor);
      await feed.bring(start, shape[0]!, tensor, undefined);
      parts.push({ start, data: tensor });
    }
    return await looked(new Slabs(engine, shape, parts, held), operation);
  } catch (error) {
    for (const tensor of held) tensor.destroy();
    throw error;
  } finally {
    feed.destroy();
  }
}

/**
 * A tensor that is larger than the GPU's memory, or than the host's: rows come from `reader`, as many at a time as `memory` allows, and the next
 * ones are read while the GPU works on the last. A sweep of `cpALS` reads X twice, an iteration of `cp` once; both are rare where a model is first
 * computed on the core of the HOSVD, as `cp` does by default. In Node, `openNpy` of `tenfold/node` makes a reader of a file.
 *
 * @example
 * ```ts
 * using file = await openNpy("X.npy");
 * using x = await streamed(engine, file, { memory: 512e6 });
 * const { tensor } = await cp(engine, x, { rank: 5 });
 * ```
 * @throws OutOfLimitsError where one row is larger than the memory or a binding allows
 * @throws TenfoldError for NaN and infinity: how many, and where the first is
 */
export async function streamed(engine: Engine, reader: RowReader, options: StreamedOptions = {}): Promise<Slabs> {
  checkEngine("streamed", engine);
  checkOptions("streamed", options, streamedRules);
  if (typeof reader?.read !== "function" || !dtypes.includes(reader.format))
    throw new TenfoldError(
      "streamed: the second argument is no reader, needs { shape, format, read(start, count, into) { … } }, as openNpy of tenfold/node gives",
    );
  checkOption("streamed", "shape of the reader", reader.shape, optionRules.shape);
  return await streamedFrom("streamed", engine, reader, options.memory ?? MEMORY);
}

async function streamedFrom(operation: string, engine: Engine, reader: RowReader, memory: number): Promise<Slabs> {
  const { shape, format } = reader;
  const share = TENSORS + (format === "f32" ? 0 : bytesOf(format) / 4);
  const most = rowsOfSlab(operation, engine, reader, (PLANNED * memory) / share, memory);
  const rows = Math.max(1, Math.min(most, Math.floor((SLAB * shape[0]!) / (4 * sizeOf(shape)))));
  const slabs = cut(shape, rows);
  const tensor = placeFor(engine, slabs[0]!.shape, format);
  const rowFeed = new RowFeed(engine, reader, rows);
  const feed = new Feed((index, place, signal) => {
    const { start, shape } = slabs[index]!;
    return rowFeed.bring(start, shape[0]!, place, signal);
  });
  const parts = slabs.map(({ start, shape }, index): Placed => {
    const data = placeIn(tensor, shape);
    return { start, data, load: (signal) => feed.load(index, data, signal) };
  });
  const source = await looked(new Slabs(engine, shape, parts, [tensor, rowFeed]), operation);
  if (!reader.vanished || source.largest * 2 ** source.exponent >= SMALLEST) return source;
  source[dispose]();
  throw new TenfoldError(
    `${operation}: all entries are below 1e-38, where f32 ends: multiply them by a constant before, for instance by 1e200`,
    { code: "ENTRIES" },
  );
}

/** One tensor, which is the source's. */
async function single(
  operation: string,
  engine: Engine,
  shape: readonly number[],
  numbers: Float32Array,
): Promise<Resident> {
  const x = engine.tensor(shape, numbers, { label: "X" });
  try {
    const made = await resident(engine, operation, x);
    if (made.x === x) return new Resident(x, made, true);
    x.destroy();
    return made;
  } catch (error) {
    x.destroy();
    throw error;
  }
}

function checkEngine(operation: string, engine: Engine): void {
  if (!(engine instanceof Engine))
    throw new TenfoldError(`${operation}: the first argument is no engine, needs one: Engine.create() opens it`);
}

const FORMATS: Readonly<Record<string, NumberFormat>> = {
  Uint8Array: "u8",
  Uint8ClampedArray: "u8",
  Int8Array: "i8",
  Uint16Array: "u16",
  Int16Array: "i16",
  Float16Array: "f16",
  Uint32Array: "u32",
  Int32Array: "i32",
};

function formatOf(operation: string, data: unknown, asked: SourceOptions["format"]): NumberFormat {
  if (!isList(data)) throw new TenfoldError(`${operation}: data is no list of numbers, needs a typed array or a list`);
  const format = FORMATS[data.constructor.name] ?? "f32";
  if (asked === undefined) return format;
  if (format !== "u16") throw new TenfoldError(`${operation}: format ${asked} is for a Uint16Array, data is ${format}`);
  return asked;
}

/** A tensor of the GPU's for a slab. */
const placeFor = (engine: Engine, shape: readonly number[], dtype: NumberFormat): Tensor<DType> =>
  engine.tensor(shape, null, { dtype, label: "slab" });

/** How many rows a slab of so many bytes as f32 has, within what a binding holds. */
function rowsOfSlab(operation: string, engine: Engine, { shape }: RowReader, bytes: number, memory?: number): number {
  const { maxStorageBufferBindingSize, maxBufferSize } = engine.device.limits;
  const binding = Math.min(maxStorageBufferBindingSize, maxBufferSize);
  const row = (4 * sizeOf(shape)) / shape[0]!;
  const advice = "permute the modes so that a longer one comes first";
  if (row > binding)
    throw new OutOfLimitsError(
      `${operation}: a row of ${formatShape(shape)} takes ${formatBytes(row)} as f32, a binding of this device holds ${formatBytes(binding)}; ${advice}`,
    );
  if (row > bytes && memory !== undefined)
    throw new OutOfLimitsError(
      `${operation}: a row of ${formatShape(shape)} takes ${formatBytes(row)} as f32, and memory of ${formatBytes(memory)} has room for slabs of ${formatBytes(bytes)}; allow ${formatBytes((row / bytes) * memory)}, or ${advice}`,
    );
  return Math.max(1, Math.floor(Math.min(bytes, binding) / row));
}

/** Slabs of so many rows; the last one may have fewer. */
function cut(shape: readonly number[], rows: number): { start: number; shape: number[] }[] {
  const [extent, ...rest] = shape as [number, ...number[]];
  return Array.from({ length: Math.ceil(extent / rows) }, (_, index) => ({
    start: index * rows,
    shape: [Math.min(rows, extent - index * rows), ...rest],
  }));
}
