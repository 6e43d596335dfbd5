import { type FileHandle, open } from "node:fs/promises";
import { dispose } from "../gpu/dispose.js";
import { ENCODINGS, LITTLE_ENDIAN_HOST, type Numeric, writeAsF32 } from "../io/array.js";
import { FormatError } from "../io/errors.js";
import { type NpyHeader, readNpyHeader, readNpyPart } from "../io/npy.js";
import { fileFailure } from "./files.js";

/** the longest header that is read; those of NumPy have 128 bytes */
const HEADER = 2 ** 16;
/** the most bytes that one call to the operating system reads */
const PIECE = 2 ** 30;
/** bytes that become f32 at once, where a file has other numbers than the GPU takes */
const CONVERTED = 2 ** 20;

/** entries within so many bytes are read at once */
const NEAR = 2 ** 14;

/** How rows are handed over: as `streamed` takes them. */
type NumberFormat = "f32" | "f16" | "u8" | "i8" | "u16" | "i16" | "u32" | "i32";

/** Element types that the GPU takes as they are, where they are little-endian. */
const DIRECT: Readonly<Record<string, NumberFormat>> = {
  f4: "f32",
  f2: "f16",
  u1: "u8",
  i1: "i8",
  u2: "u16",
  i2: "i16",
  u4: "u32",
  i4: "i32",
};

/** An open `.npy` file, whose rows are read as they are needed: for `streamed`. */
export class NpyFile {
  readonly shape: readonly number[];
  readonly format: NumberFormat;
  readonly #isDirect: boolean;
  readonly #rowBytes: number;
  /** two pieces of rows that become f32: one is read while the other is converted */
  #pieces: [Uint8Array, Uint8Array] | null = null;
  /** of the last read into the pieces: reads at the same time take turns */
  #converting: Promise<void> = Promise.resolve();
  #vanished = false;

  /** @internal */
  constructor(
    readonly file: string,
    private readonly handle: FileHandle,
    private readonly header: NpyHeader,
  ) {
    const kind = header.descr.slice(1);
    this.shape = header.shape;
    this.#isDirect = LITTLE_ENDIAN_HOST && header.descr[0] !== ">" && kind in DIRECT;
    this.format = this.#isDirect ? DIRECT[kind]! : "f32";
    this.#rowBytes = header.shape.slice(1).reduce((product, extent) => product * extent, ENCODINGS[kind]!.bytes);
  }

  /** Whether a piece of numbers was written that are all 0 or nearly so as f32, though not in the file. */
  get vanished(): boolean {
    return this.#vanished;
  }

  /** Writes rows into `into`; f8, 64-bit integers, booleans and big-endian numbers as f32. */
  async read(start: number, count: number, into: Uint8Array): Promise<void> {
    if (this.#isDirect) return await this.#bytes(this.#place(start), into.subarray(0, count * this.#rowBytes));
    const before = this.#converting;
    const reading = before.then(() => this.#converted(start, count, into));
    this.#converting = reading.catch(() => {});
    await reading;
  }

  /**
   * Entries at `count` indices, as many numbers each as there are modes: for `ttCross`, which reads no more of the file than it needs. Those that
   * lie near each other are read at once.
   */
  async entries(indices: Uint32Array, count: number): Promise<Float64Array> {
    const { shape } = this;
    const { bytes: width } = ENCODINGS[this.dtype]!;
    const places = Float64Array.from({ length: count }, (_, at) =>
      shape.reduce((place, extent, mode) => place * extent + indices[at * shape.length + mode]!, 0),
    );
    const order = Array.from(places.keys()).sort((a, b) => places[a]! - places[b]!);
    const values = new Float64Array(count);
    const window = NEAR / width;
    const buffer = new Uint8Array(NEAR);
    for (let first = 0; first < count; ) {
      const start = places[order[first]!]!;
      let last = first;
      while (last + 1 < count && places[order[last + 1]!]! < start + window) last++;
      const bytes = buffer.subarray(0, (places[order[last]!]! - start + 1) * width);
      await this.#bytes(this.header.dataOffset + start * width, bytes);
      const numbers = readNpyPart(bytes, this.header, start, this.file);
      for (; first <= last; first++) values[order[first]!] = numbers[places[order[first]!]! - start]!;
    }
    return values;
  }

  /** @internal Rows `start` to `stop` in the file's own type, 64-bit integers as f64. */
  async rows(start: number, stop: number): Promise<Numeric> {
    const bytes = new Uint8Array((stop - start) * this.#rowBytes);
    await this.#bytes(this.#place(start), bytes);
    return readNpyPart(bytes, this.header, (start * this.#rowBytes) / ENCODINGS[this.dtype]!.bytes, this.file);
  }

  /** @internal the type of its elements: `f4`, `i2` */
  get dtype(): string {
    return this.header.descr.slice(1);
  }

  #place(row: number): number {
    return this.header.dataOffset + row * this.#rowBytes;
  }

  /** Reads piece by piece, the next one while the last is converted: a row may be large. */
  async #converted(start: number, count: number, into: Uint8Array): Promise<void> {
    const { bytes: width } = ENCODINGS[this.header.descr.slice(1)]!;
    const floats = new Float32Array(into.buffer, into.byteOffset, (count * this.#rowBytes) / width);
    const most = CONVERTED / width;
    this.#pieces ??= [new Uint8Array(CONVERTED), new Uint8Array(CONVERTED)];
    const first = (start * this.#rowBytes) / width;
    const begin = (at: number, turn: number): { bytes: Uint8Array; done: Promise<void> } => {
      const bytes = this.#pieces![turn % 2]!.subarray(0, Math.min(most, floats.length - at) * width);
      const done = this.#bytes(this.header.dataOffset + (first + at) * width, bytes);
      done.catch(() => {}); // it is awaited in its turn
      return { bytes, done };
    };
    let next = begin(0, 0);
    for (let at = 0, turn = 0; at < floats.length; at += most, turn++) {
      const { bytes, done } = next;
      await done;
      if (at + most < floats.length) next = begin(at + most, turn + 1);
      if (writeAsF32(readNpyPart(bytes, this.header, first + at, this.file), floats.subarray(at)))
        this.#vanished = true;
    }
  }

  async #bytes(at: number, into: Uint8Array): Promise<void> {
    try {
      for (let read = 0; read < into.length; ) {
        const length = Math.min(into.length - read, PIECE);
        const { bytesRead } = await this.handle.read(into, read, length, at + read);
        if (!bytesRead) throw new FormatError(this.file, `cut short: it ends at byte ${at + read}`);
        read += bytesRead;
      }
    } catch (error) {
      fileFailure(this.file, "read", error);
    }
  }

  /** Closes the file, once what is being read is read. */
  close(): Promise<void> {
    return this.handle.close();
  }

  [dispose](): void {
    void this.close();
  }
}

/**
 * Opens a NumPy file of any size to read its rows as they are needed, for `streamed`. 32-bit floats, 16-bit floats and integers up to 32 bits go to
 * the GPU as they are; f8, 64-bit integers and booleans become f32.
 *
 * @throws FileError where the file cannot be read; FormatError where it is no `.npy` file, is cut short, or has Fortran order
 */
export async function openNpy(file: string): Promise<NpyFile> {
  const opened = await openRows(file);
  if (opened instanceof FormatError) throw opened;
  return opened;
}

/** An `.npy` file, or why its rows cannot be read one after the other. */
export async function openRows(file: string): Promise<NpyFile | FormatError> {
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, "r");
    const { size } = await handle.stat();
    const begin = new Uint8Array(Math.min(size, HEADER));
    await handle.read(begin, 0, begin.length, 0);
    const header = readNpyHeader(begin, file);
    const needed = header.shape.reduce((p, n) => p * n, ENCODINGS[header.descr.slice(1)]!.bytes) + header.dataOffset;
    let problem: string | null = null;
    if (header.fortranOrder && header.shape.length > 1)
      problem =
        "its last index varies slowest (Fortran order), so its rows are scattered; save numpy.ascontiguousarray(x)";
    else if (size < needed) problem = `cut short: it needs ${needed} bytes, and has ${size}`;
    if (problem === null) return new NpyFile(file, handle, header);
    await handle.close();
    return new FormatError(file, problem);
  } catch (error) {
    await handle?.close();
    if (error instanceof FormatError) throw error;
    return fileFailure(file, "read", error);
  }
}
