import { dispose } from "./dispose.js";
import type { Engine } from "./engine.js";
import { formatShape, ShapeError, TenfoldError } from "./errors.js";
import * as optionRules from "./optionRules.js";
import { checkOption, isList } from "./options.js";
import type { GPUBuffer } from "./webgpu.js";

/** How elements are kept. Operations that take others than f32 say so. */
export type DType = "f32" | "u32" | "i32" | "u8" | "i8" | "u16" | "i16" | "f16" | "bf16";
/** Bytes that an element of each dtype takes. */
const BYTES: Readonly<Record<DType, number>> = {
  f32: 4,
  u32: 4,
  i32: 4,
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  f16: 2,
  bf16: 2,
};
/** In the order of KIND in shaders/common/numbers.wgsl. */
export const dtypes = Object.keys(BYTES) as DType[];
/** What elements of a dtype are read into and made from; those of f16 and bf16 are their bits. */
export interface ArrayOf {
  f32: Float32Array;
  u32: Uint32Array;
  i32: Int32Array;
  u8: Uint8Array;
  i8: Int8Array;
  u16: Uint16Array;
  i16: Int16Array;
  f16: Uint16Array;
  bf16: Uint16Array;
}
export type TypedArray = ArrayOf[DType];
/** The dtype of a tensor that is made of such data, where no option says another. */
export type DTypeOf<Data> = Data extends Uint32Array
  ? "u32"
  : Data extends Int32Array
    ? "i32"
    : Data extends Uint8Array
      ? "u8"
      : "f32";
/** Lists in lists of numbers, as deep as a tensor has modes: `[[1, 2], [3, 4]]`; rows may be typed arrays. */
export type NestedNumbers = readonly (number | TypedArray | Float64Array | NestedNumbers)[];
/** Numbers of a tensor, row by row: in one list, or in lists of the tensor's shape. */
export type TensorData = TypedArray | Float64Array | readonly number[] | NestedNumbers;

/** Whether a tensor holds elements of a dtype, for the compiler too. */
export const holds = <D extends DType>(tensor: Tensor<DType>, dtype: D): tensor is Tensor<D> => tensor.dtype === dtype;

/** Bytes an element takes. Tensors are padded to whole words of 32 bits; kernels see those of smaller elements as array<u32>. */
export const bytesOf = (dtype: DType): number => BYTES[dtype];

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1);

/** What an error says of a tensor whose rows lie apart. */
export const rowsApart = (tensor: Tensor<DType>): string =>
  `${tensor} has rows ${tensor.rowStride} elements apart; the op copy packs them, and with it as out lays packed rows apart`;

/** Counts what dispatches read of the tensors that share it: entries, each time that one is bound to be read, replay by replay. */
export interface Tally {
  entries: number;
}

/** A buffer and who frees it. A tensor and its views share one; `alive` turns false when the buffer is freed. */
export interface Storage {
  readonly buffer: GPUBuffer;
  /** @internal the buffer, where the engine may have to clear it still: `buffer` is cleared */
  readonly uncleared?: GPUBuffer;
  readonly owner: "user" | "schedule" | "host";
  alive: boolean;
  /** @internal set before a schedule is recorded: counts what dispatches read of it */
  tally?: Tally | undefined;
  release(): void;
}

/**
 * A row-major array on the GPU: shape, dtype, buffer and byte offset. Tensors from `engine.tensor` are yours until
 * `destroy()` (or `using`); those of a schedule live as long as it; `engine.wrap` borrows the host's buffer.
 * `Tensor` alone holds f32; `Tensor<DType>` may hold anything.
 */
export class Tensor<D extends DType = "f32"> {
  readonly shape: readonly number[];
  /** elements */
  readonly size: number;

  constructor(
    readonly engine: Engine,
    readonly storage: Storage,
    shape: readonly number[],
    readonly dtype: D = "f32" as D,
    /** first byte of this tensor in its buffer */
    readonly offset = 0,
    public label = "tensor",
    /**
     * elements from the beginning of a row of the first mode to that of the next, where rows lie apart in a host's buffer (see
     * `engine.wrap`); null where they follow each other. Such a tensor can be read; of the operations only `copy` takes it
     */
    readonly rowStride: number | null = null,
  ) {
    this.shape = [...shape];
    this.size = sizeOf(shape);
  }

  get buffer(): GPUBuffer {
    return this.storage.buffer;
  }

  /** @internal The buffer for commands that the engine submits: it clears new tensors before them. */
  get held(): GPUBuffer {
    return this.storage.uncleared ?? this.storage.buffer;
  }

  get order(): number {
    return this.shape.length;
  }

  get bytes(): number {
    const elements = this.rowStride === null ? this.size : this.rowStride * this.shape[0]!;
    return Math.ceil((elements * bytesOf(this.dtype)) / 4) * 4;
  }

  /** `loadings 8480×3` */
  toString(): string {
    return `${this.label} ${formatShape(this.shape)}`;
  }

  /** @internal The memory of a tensor whose rows lie apart, as a matrix with what lies between. */
  get padded(): Tensor<D> {
    return new Tensor(
      this.engine,
      this.storage,
      [this.shape[0]!, this.rowStride!],
      this.dtype,
      this.offset,
      this.label,
    );
  }

  #assertPacked(operation: string): void {
    if (this.rowStride !== null) throw new ShapeError(`${operation}: ${rowsApart(this)}`);
  }

  /** The same elements under another shape. Shares the buffer; one extent may be -1. */
  reshape(shape: readonly number[]): Tensor<D> {
    if (!isList(shape)) checkOption("reshape", "shape", shape, optionRules.shape);
    this.#assertPacked("reshape");
    const known = shape.reduce((product, extent) => (extent === -1 ? product : product * extent), 1);
    const full = shape.map((extent) => (extent === -1 ? this.size / known : extent));
    if (sizeOf(full) !== this.size || full.some((extent) => !(Number.isInteger(extent) && extent > 0)))
      throw new ShapeError(`reshape: ${this} has ${this.size} elements, ${formatShape(shape)} does not fit`);
    return new Tensor(this.engine, this.storage, full, this.dtype, this.offset, this.label);
  }

  /**
   * Rows `start` to `stop` of the first mode as a view on the same buffer. The view must begin at a multiple of the
   * device's storage offset alignment (256 bytes by default); use the op `copy` where it does not.
   */
  rows(start: number, stop: number): Tensor<D> {
    this.#assertPacked("rows");
    const extent = this.shape[0] ?? 1;
    if (!(Number.isInteger(start) && Number.isInteger(stop) && start >= 0 && start < stop && stop <= extent))
      throw new ShapeError(`rows: ${start} to ${stop} of ${this}, needs 0 ≤ start < stop ≤ ${extent}`);
    const rowBytes = (this.size / extent) * bytesOf(this.dtype);
    const offset = this.offset + start * rowBytes;
    if ((stop * rowBytes) % 4 && stop !== extent)
      throw new ShapeError(
        `rows: rows ${start} to ${stop} of ${this} end within a word, writing them would spill over`,
      );
    const alignment = this.engine.device.limits.minStorageBufferOffsetAlignment;
    if (offset % alignment)
      throw new ShapeError(
        `rows: row ${start} of ${this} begins at byte ${offset}, views begin at multiples of ${alignment}`,
      );
    return new Tensor(
      this.engine,
      this.storage,
      [stop - start, ...this.shape.slice(1)],
      this.dtype,
      offset,
      this.label,
    );
  }

  /** Reads the elements back. */
  read(): Promise<ArrayOf[D]> {
    return this.engine.read(this);
  }

  /** Replaces the elements. */
  write(data: TensorData): void {
    this.engine.write(this, data);
  }

  /** Gives the buffer back to the pool, for all views of it. Temporaries belong to their schedule: they throw. */
  destroy(): void {
    if (this.storage.owner === "schedule")
      throw new TenfoldError(
        `destroy: ${this} is a temporary; its schedule frees it (scheduler.release ends it early)`,
      );
    this.storage.release();
  }

  [dispose](): void {
    if (this.storage.owner !== "schedule") this.destroy();
  }
}
