/**
 * Frames: how processes send each other numbers. A frame is 16 bytes (`TFC1`; the length of the header, u32; that of the numbers, u64; both
 * little-endian), a header in JSON, and the numbers as they lie in memory, little-endian. The header's `arrays` name them, in their order, with
 * dtype and shape.
 */
import { TenfoldError } from "../errors.js";

/** Numbers of a frame. */
export interface FrameArray {
  shape: readonly number[];
  data: Float32Array | Float64Array | Uint8Array;
}

export interface Frame {
  /** what the header says beside the arrays */
  header: Record<string, unknown>;
  arrays: Record<string, FrameArray>;
}

const MAGIC = "TFC1";
const PREFIX = 16;
/** the longest header: names and shapes take a few hundred bytes */
const MOST_HEADER = 2 ** 26;

const DTYPES = { f32: Float32Array, f64: Float64Array, u8: Uint8Array } as const;
type FrameDType = keyof typeof DTYPES;

const newMemory = (bytes: number): Uint8Array<ArrayBuffer> => new Uint8Array(bytes);

const dtypeOf = (data: FrameArray["data"]): FrameDType =>
  data instanceof Float32Array ? "f32" : data instanceof Float64Array ? "f64" : "u8";

const bytesOf = ({ buffer, byteOffset, byteLength }: FrameArray["data"]): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** The pieces of a frame, to be written one after the other; numbers are not copied. */
export function encodeFrame(header: object, arrays: Readonly<Record<string, FrameArray>> = {}): Uint8Array[] {
  const listed = Object.entries(arrays).map(([name, { shape, data, ...others }]) => ({
    name,
    dtype: dtypeOf(data),
    shape,
    ...others,
  }));
  const text = new TextEncoder().encode(JSON.stringify({ ...header, arrays: listed }));
  const pieces = Object.values(arrays).map(({ data }) => bytesOf(data));
  const prefix = new Uint8Array(PREFIX);
  const view = new DataView(prefix.buffer);
  prefix.set(new TextEncoder().encode(MAGIC));
  view.setUint32(4, text.length, true);
  view.setBigUint64(8, BigInt(pieces.reduce((sum, { length }) => sum + length, 0)), true);
  return [prefix, text, ...pieces];
}

/** Reads frames from a stream of bytes, in order. */
export class FrameReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest = new Uint8Array(0);

  constructor(
    stream: AsyncIterable<Uint8Array>,
    /** names the stream in errors */
    readonly name: string,
  ) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /**
   * The next frame; null where the stream ends before one begins. `memory` gives memory for the numbers, so many bytes at least; by default they
   * have their own.
   *
   * @throws TenfoldError where the stream ends within a frame, or holds something else
   */
  async next(memory: (bytes: number) => Uint8Array<ArrayBuffer> = newMemory): Promise<Frame | null> {
    const prefix = await this.#take(PREFIX, true);
    if (!prefix) return null;
    const view = new DataView(prefix.buffer);
    const length = view.getUint32(4, true);
    if (new TextDecoder().decode(prefix.subarray(0, 4)) !== MAGIC || length > MOST_HEADER)
      throw new TenfoldError(`${this.name}: holds something else than frames of this version of tenfold`);
    const text = await this.#take(length);
    const numbers = (await this.#take(Number(view.getBigUint64(8, true)), false, memory))!;
    const { arrays: listed, ...header } = JSON.parse(new TextDecoder().decode(text!)) as Record<string, unknown>;
    const arrays: Record<string, FrameArray> = {};
    let at = 0;
    for (const entry of listed as { name: string; dtype: FrameDType; shape: number[] }[]) {
      const { name, dtype, shape, ...others } = entry;
      const make = DTYPES[dtype];
      const count = shape.reduce((product, extent) => product * extent, 1);
      const bytes = count * make.BYTES_PER_ELEMENT;
      // numbers begin where their type may, or are copied there
      const data =
        at % make.BYTES_PER_ELEMENT
          ? new make(numbers.slice(at, at + bytes).buffer)
          : new make(numbers.buffer, at, count);
      arrays[name] = { shape, data, ...others };
      at += bytes;
    }
    return { header, arrays };
  }

  /** So many bytes, from the begin of a buffer. */
  async #take(count: number, mayEnd = false, memory = newMemory): Promise<Uint8Array<ArrayBuffer> | null> {
    const bytes = memory(count).subarray(0, count);
    let at = 0;
    while (at < count) {
      if (!this.#rest.length) {
        const { value, done } = await this.#chunks.next();
        if (done) {
          if (mayEnd && at === 0) return null;
          throw new TenfoldError(`${this.name}: ended within a frame`);
        }
        this.#rest = value as Uint8Array<ArrayBuffer>;
        continue;
      }
      const part = this.#rest.subarray(0, count - at);
      bytes.set(part, at);
      at += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return bytes;
  }
}
