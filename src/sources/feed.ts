import type { DType, Engine, Tensor, TensorData } from "../gpu/index.js";

/**
 * Brings slabs of the host to the GPU in order, each to where the last one lay. While the GPU works on a slab, the next one is read: at most two
 * slabs of numbers are with the host, and one waits for the GPU, however much faster than the GPU the host reads.
 */
export class Feed {
  /** the slab after the last one, which is being read */
  #ahead: { index: number; data: Promise<TensorData> } | null = null;
  /** which slab lies on the GPU */
  #present = -1;
  /** resolves when the GPU has done its work on the slab before the last one */
  #done: Promise<void> | null = null;

  constructor(
    readonly engine: Engine,
    readonly count: number,
    readonly read: (index: number, signal: AbortSignal | undefined) => TensorData | Promise<TensorData>,
  ) {}

  /** Writes slab `index` to `place`, if it is not there. */
  async load(index: number, place: Tensor<DType>, signal: AbortSignal | undefined): Promise<void> {
    if (this.#present === index) return;
    const data = await this.#take(index, signal);
    if (index + 1 < this.count) this.#ahead = this.#begin(index + 1, signal);
    await this.#done;
    this.#present = -1;
    this.engine.write(place, data);
    this.#present = index;
    this.#done = this.engine.idle();
    this.#done.catch(() => {}); // it is awaited with the next slab
  }

  async #take(index: number, signal: AbortSignal | undefined): Promise<TensorData> {
    const ahead = this.#ahead;
    this.#ahead = null;
    if (ahead?.index === index) return await ahead.data;
    // a run that has ended has left it: its memory may be what the next read writes to
    await ahead?.data.catch(() => {});
    return await this.#begin(index, signal).data;
  }

  #begin(index: number, signal: AbortSignal | undefined): { index: number; data: Promise<TensorData> } {
    const data = Promise.resolve().then(() => this.read(index, signal));
    data.catch(() => {}); // it is awaited when the slab is needed
    return { index, data };
  }
}
