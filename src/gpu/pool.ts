/** What the engine holds, in bytes of GPU buffers. */
export interface Memory {
  /** in tensors and schedules that are alive */
  live: number;
  /** kept for reuse */
  pooled: number;
  /** the most that was live at once */
  peak: number;
  /** buffers that exist, live and pooled */
  buffers: number;
}

/** Rounds up to a size class: a power of two in four steps, so at most a fifth is wasted. */
export function sizeClass(bytes: number): number {
  const smallest = 256;
  if (bytes <= smallest) return smallest;
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / 4;
  return Math.ceil(bytes / step) * step;
}

/** Buffers by size class. Freed buffers are kept up to `limit` bytes; the queue's order makes early reuse safe. */
export class BufferPool {
  readonly #free = new Map<number, GPUBuffer[]>();
  readonly #taken = new Set<GPUBuffer>();
  #live = 0;
  #pooled = 0;
  #peak = 0;
  #buffers = 0;

  constructor(
    private readonly create: (size: number, label: string) => GPUBuffer,
    /** the largest buffer that the device allows */
    private readonly largest: number,
    private readonly limit: number,
  ) {}

  /** Bytes of the buffer that `acquire(bytes)` gives. */
  sizeFor(bytes: number): number {
    const size = sizeClass(bytes);
    return size <= this.largest ? size : Math.min(this.largest, Math.ceil(bytes / 16) * 16);
  }

  acquire(bytes: number, label: string): { buffer: GPUBuffer; fresh: boolean } {
    const size = this.sizeFor(bytes);
    const reused = this.#free.get(size)?.pop();
    if (reused) this.#pooled -= size;
    else this.#buffers++;
    this.#live += size;
    this.#peak = Math.max(this.#peak, this.#live);
    const buffer = reused ?? this.create(size, label);
    this.#taken.add(buffer);
    return { buffer, fresh: !reused };
  }

  release(buffer: GPUBuffer): void {
    this.#taken.delete(buffer);
    this.#live -= buffer.size;
    if (this.#pooled + buffer.size > this.limit) {
      this.#buffers--;
      buffer.destroy();
      return;
    }
    this.#pooled += buffer.size;
    const list = this.#free.get(buffer.size);
    if (list) list.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
  }

  /** Destroys what is kept for reuse. */
  trim(): void {
    for (const list of this.#free.values()) for (const buffer of list) buffer.destroy();
    for (const list of this.#free.values()) this.#buffers -= list.length;
    this.#free.clear();
    this.#pooled = 0;
  }

  /** Destroys everything, in use or not. */
  destroy(): void {
    this.trim();
    for (const buffer of this.#taken) buffer.destroy();
    this.#buffers -= this.#taken.size;
    this.#taken.clear();
    this.#live = 0;
  }

  memory(): Memory {
    return { live: this.#live, pooled: this.#pooled, peak: this.#peak, buffers: this.#buffers };
  }
}
