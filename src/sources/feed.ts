import { bytesOf, type DType, STAGED, type Staging, sizeOf, type Tensor } from "../gpu/index.js";

/** Writes bytes of a slab's numbers to where it lies on the GPU, from its byte `at` on (0 by default). */
type Write = (bytes: Uint8Array, at?: number) => Promise<void>;

/**
 * Brings slabs of the host to the GPU in order, each to where the last one lay. While the GPU works on a slab, the next one is read and written
 * behind that work: one slab at most waits for the GPU, however much faster than the GPU the host reads.
 */
export class Feed {
  /** which slab lies on the GPU */
  #present = -1;

  /**
   * @param staging with room for a slab; it remains the caller's
   * @param bring reads slab `index`, and writes it
   */
  constructor(
    readonly staging: Staging,
    readonly bring: (index: number, write: Write, signal: AbortSignal | undefined) => Promise<void>,
  ) {}

  /** Writes slab `index` to `place`, if it is not there. */
  async load(index: number, place: Tensor<DType>, signal: AbortSignal | undefined): Promise<void> {
    if (this.#present === index) return;
    this.#present = -1;
    await this.bring(index, (bytes, at = 0) => this.staging.write(place, at, bytes), signal);
    this.#present = index;
  }
}

/** Where the rows of a tensor are read from: a file, a database, an array. */
export interface RowReader {
  /** of the tensor: its rows, then the other modes */
  readonly shape: readonly number[];
  readonly format: NumberFormat;
  /** rows that are best read together, as those of a compressed chunk; 1 by default */
  readonly chunk?: number;
  /** Writes the numbers of rows `start` to `start + count` into `into`, row by row, little-endian, from its first byte on. */
  read(start: number, count: number, into: Uint8Array, signal: AbortSignal | undefined): void | Promise<void>;
}

/** How numbers are kept, on the host and on the GPU; kernels take them for f32. */
export type NumberFormat = DType;

/** Reads rows into two pieces of the host's memory in turn: one is written to the GPU while the other is read. */
export class RowFeed {
  readonly #rowBytes: number;
  /** rows of a piece */
  readonly #step: number;
  #pieces: [Uint8Array, Uint8Array] | null = null;

  constructor(
    readonly reader: RowReader,
    /** rows of the largest slab */
    readonly most: number,
  ) {
    const { shape, format, chunk = 1 } = reader;
    this.#rowBytes = (sizeOf(shape) / shape[0]!) * bytesOf(format);
    // a write begins at a word of 32 bits
    const together = chunk * (this.#rowBytes % 4 ? 4 : 1);
    const step = Math.max(1, Math.floor(STAGED / (together * this.#rowBytes))) * together;
    this.#step = Math.min(step, most);
  }

  /** Writes rows `start` to `start + count`. */
  async bring(start: number, count: number, write: Write, signal: AbortSignal | undefined): Promise<void> {
    const size = this.#step * this.#rowBytes;
    this.#pieces ??= [new Uint8Array(size), new Uint8Array(size)];
    const begin = (row: number): { bytes: Uint8Array; done: Promise<void> } => {
      const rows = Math.min(this.#step, count - row);
      const bytes = this.#pieces![(row / this.#step) % 2]!.subarray(0, rows * this.#rowBytes);
      const done = Promise.resolve().then(() => this.reader.read(start + row, rows, bytes, signal));
      done.catch(() => {}); // it is awaited in its turn
      return { bytes, done };
    };
    let next = begin(0);
    try {
      for (let row = 0; row < count; row += this.#step) {
        const { bytes, done } = next;
        await done;
        if (row + this.#step < count) next = begin(row + this.#step);
        await write(bytes, row * this.#rowBytes);
      }
    } finally {
      // its memory may be what the next run reads to
      await next.done.catch(() => {});
    }
  }
}
