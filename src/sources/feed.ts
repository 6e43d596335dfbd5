import { bytesOf, type DType, type Engine, type Send, STAGED, Staging, sizeOf, type Tensor } from "../gpu/index.js";

/**
 * Brings slabs of the host to the GPU in order, each to where the last one lay. While the GPU works on a slab, the next one is read and written
 * behind that work: one slab at most waits for the GPU, however much faster than the GPU the host reads.
 */
export class Feed {
  /** which slab lies on the GPU */
  #present = -1;

  /** @param bring reads slab `index`, and writes it to `place` */
  constructor(
    readonly bring: (index: number, place: Tensor<DType>, signal: AbortSignal | undefined) => Promise<void>,
  ) {}

  /** Writes slab `index` to `place`, if it is not there. */
  async load(index: number, place: Tensor<DType>, signal: AbortSignal | undefined): Promise<void> {
    if (this.#present === index) return;
    this.#present = -1;
    await this.bring(index, place, signal);
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
  /** whether numbers were written that became 0 or nearly so in `format`, all of one read, though not all of them are 0 */
  readonly vanished?: boolean;
}

/** How numbers are kept, on the host and on the GPU; kernels take them for f32. */
export type NumberFormat = DType;

/** Reads rows, a piece after the other, into memory from which the GPU copies: one is copied while the next is read. */
export class RowFeed {
  readonly #rowBytes: number;
  /** rows of a piece */
  readonly #step: number;
  readonly #staging: Staging;

  constructor(
    engine: Engine,
    readonly reader: RowReader,
    /** rows of the largest slab */
    readonly most: number,
    /** bytes that may wait for the GPU: by default those of a slab */
    waiting?: number,
  ) {
    const { shape, format, chunk = 1 } = reader;
    this.#rowBytes = (sizeOf(shape) / shape[0]!) * bytesOf(format);
    // a write begins at a word of 32 bits
    const together = chunk * (this.#rowBytes % 4 ? 4 : 1);
    const step = Math.max(1, Math.floor(STAGED / (together * this.#rowBytes))) * together;
    this.#step = Math.min(step, most);
    this.#staging = new Staging(engine, waiting ?? most * this.#rowBytes, this.#step * this.#rowBytes);
  }

  /** Writes rows `start` to `start + count` to where they lie on the GPU. */
  async bring(start: number, count: number, place: Tensor<DType>, signal: AbortSignal | undefined): Promise<void> {
    const begin = (row: number): Promise<Send> => {
      const rows = Math.min(this.#step, count - row);
      const filled = this.#staging.fill(rows * this.#rowBytes, (into) =>
        this.reader.read(start + row, rows, into, signal),
      );
      filled.catch(() => {}); // it is awaited in its turn
      return filled;
    };
    let next = begin(0);
    try {
      for (let row = 0; row < count; row += this.#step) {
        const send = await next;
        if (row + this.#step < count) next = begin(row + this.#step);
        send(place, row * this.#rowBytes);
      }
    } finally {
      // a reader is asked for one piece at a time
      await next.catch(() => {});
    }
  }

  destroy(): void {
    this.#staging.destroy();
  }
}
