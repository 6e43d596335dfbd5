import type { GPUBuffer } from "./webgpu.js";

/** What the engine holds, in bytes of GPU buffers. */
export interface Memory {
  /** in tensors and schedules that are alive */
  live: number;
  /** kept for reuse */
  pooled: number;
  /** the most that was live at once */
  peak: number;
  /** number of buffers that exist, live and pooled */
  buffers: number;
}

/** Bytes that a pool keeps at most beside what is live, beyond the most that was live at once. */
const SLACK = 64 * 2 ** 20;

/** Rounds up to a size class: a power of two in four steps, so at most a fifth is wasted. */
export function sizeClass(bytes: number): number {
  const smallest = 256;
  if (bytes <= smallest) return smallest;
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / 4;
  return Math.ceil(bytes / step) * step;
}

export interface PoolOptions {
  create: (size: number, label: string) => GPUBuffer;
  /** bytes of the largest buffer that the device allows */
  largest: number;
  /** bytes kept for reuse; beyond them the buffers freed longest ago are destroyed */
  limit: number;
  /** counts what this pool and others hold together */
  memory: Memory;
}

/** Buffers by size class. A buffer may be used again while the GPU still works on it, because the queue runs submits in order. */
export class BufferPool {
  readonly #free = new Map<number, GPUBuffer[]>();
  /** all free buffers, the one freed longest ago first */
  readonly #idle = new Set<GPUBuffer>();
  readonly #taken = new Set<GPUBuffer>();
  /** allocations that failed: never used again */
  readonly #broken = new WeakSet<GPUBuffer>();
  #pooled = 0;

  constructor(private readonly options: PoolOptions) {}

  /** Bytes of the buffer that `acquire(bytes)` gives. */
  sizeFor(bytes: number): number {
    const { largest } = this.options;
    const size = sizeClass(bytes);
    return size <= largest ? size : Math.min(largest, Math.ceil(bytes / 16) * 16);
  }

  acquire(bytes: number, label: string): { buffer: GPUBuffer; fresh: boolean } {
    const { create, memory } = this.options;
    const size = this.sizeFor(bytes);
    const reused = this.#free.get(size)?.pop();
    if (!reused) this.#makeRoom(size);
    const buffer = reused ?? create(size, label);
    if (reused) this.#leave(reused);
    else memory.buffers++;
    memory.live += size;
    memory.peak = Math.max(memory.peak, memory.live);
    this.#taken.add(buffer);
    return { buffer, fresh: !reused };
  }

  release(buffer: GPUBuffer): void {
    const { limit, memory } = this.options;
    if (!this.#taken.delete(buffer)) return;
    memory.live -= buffer.size;
    if (buffer.size > limit || this.#broken.has(buffer)) {
      memory.buffers--;
      buffer.destroy();
      return;
    }
    this.#discardWhile(() => this.#pooled + buffer.size > limit);
    const list = this.#free.get(buffer.size);
    if (list) list.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
    this.#idle.add(buffer);
    this.#pooled += buffer.size;
    memory.pooled += buffer.size;
  }

  /** Told that the allocation of a buffer failed: the buffer is never given out again. */
  condemn(buffer: GPUBuffer): void {
    this.#broken.add(buffer);
    const list = this.#free.get(buffer.size);
    const index = list?.indexOf(buffer) ?? -1;
    if (index < 0) return;
    list!.splice(index, 1);
    this.#discard(buffer);
  }

  /** Destroys what is kept for reuse. */
  trim(): void {
    this.#free.clear();
    for (const buffer of this.#idle) this.#discard(buffer);
  }

  /** Destroys everything, in use or not. */
  destroy(): void {
    this.trim();
    for (const buffer of this.#taken) {
      this.options.memory.live -= buffer.size;
      this.options.memory.buffers--;
      buffer.destroy();
    }
    this.#taken.clear();
  }

  /** Destroys buffers of other sizes before a new one is made, so that what waits adds little to the most that was ever in use. */
  #makeRoom(size: number): void {
    const { memory } = this.options;
    const most = Math.max(memory.peak, memory.live + size) + SLACK;
    this.#discardWhile(() => memory.live + memory.pooled + size > most);
  }

  /** Destroys free buffers, the one freed longest ago first. */
  #discardWhile(isFull: () => boolean): void {
    for (const oldest of this.#idle) {
      if (!isFull()) return;
      const list = this.#free.get(oldest.size)!;
      list.splice(list.indexOf(oldest), 1);
      this.#discard(oldest);
    }
  }

  #leave(buffer: GPUBuffer): void {
    this.#idle.delete(buffer);
    this.#pooled -= buffer.size;
    this.options.memory.pooled -= buffer.size;
  }

  #discard(buffer: GPUBuffer): void {
    this.#leave(buffer);
    this.options.memory.buffers--;
    buffer.destroy();
  }
}
