import { type FileHandle, open } from "node:fs/promises";
import { dispose } from "../gpu/dispose.js";
import { decode, ENCODINGS, LITTLE_ENDIAN_HOST } from "../io/array.js";
import { FormatError } from "../io/errors.js";
import { type NpyHeader, readNpyHeader } from "../io/npy.js";
import { fileFailure } from "./files.js";

/** the longest header that is read; those of NumPy have 128 bytes */
const HEADER = 2 ** 16;
/** the most bytes that one call to the operating system reads */
const PIECE = 2 ** 30;

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
  readonly #rowSize: number;

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
    this.#rowSize = header.shape.slice(1).reduce((product, extent) => product * extent, 1);
  }

  /** Writes rows into `into`; f8, 64-bit integers, booleans and big-endian numbers as f32. */
  async read(start: number, count: number, into: Uint8Array): Promise<void> {
    const encoding = ENCODINGS[this.header.descr.slice(1)]!;
    const numbers = count * this.#rowSize;
    const at = this.header.dataOffset + start * this.#rowSize * encoding.bytes;
    if (this.#isDirect) return await this.#bytes(at, into);
    const bytes = new Uint8Array(numbers * encoding.bytes);
    await this.#bytes(at, bytes);
    const values = decode(bytes, 0, numbers, encoding, this.header.descr[0] !== ">");
    new Float32Array(into.buffer, into.byteOffset, numbers).set(values);
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
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, "r");
    const { size } = await handle.stat();
    const begin = new Uint8Array(Math.min(size, HEADER));
    await handle.read(begin, 0, begin.length, 0);
    const header = readNpyHeader(begin, file);
    const needed = header.shape.reduce((p, n) => p * n, ENCODINGS[header.descr.slice(1)]!.bytes) + header.dataOffset;
    if (header.fortranOrder && header.shape.length > 1)
      throw new FormatError(
        file,
        "its last index varies slowest (Fortran order), so its rows are scattered; save numpy.ascontiguousarray(x)",
      );
    if (size < needed) throw new FormatError(file, `cut short: it needs ${needed} bytes, and has ${size}`);
    return new NpyFile(file, handle, header);
  } catch (error) {
    await handle?.close();
    if (error instanceof FormatError) throw error;
    return fileFailure(file, "read", error);
  }
}
