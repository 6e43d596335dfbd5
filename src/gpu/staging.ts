import type { Engine } from "./engine.js";
import { ShapeError } from "./errors.js";
import type { DType, Tensor } from "./tensor.js";
import { GPU_USAGE, type GPUBuffer, MAP_TO_WRITE } from "./webgpu.js";

/** Bytes that go to the GPU at once. */
export const STAGED = 2 ** 22;

/** A buffer of the host's that the GPU copies from. */
interface Slot {
  buffer: GPUBuffer;
  /** resolves when the GPU has taken what was in it, and it may be written again */
  free: Promise<unknown>;
}

/**
 * Memory of the host through which numbers go to the GPU, used again and again: a queue's `writeBuffer` asks for new memory whenever the GPU is
 * busy, whose pages take longer to come than the numbers to copy. What is written waits behind the work that was submitted before it. Where all
 * memory is full of what the GPU has not taken yet, `write` waits.
 */
export class Staging {
  readonly #slots: Slot[] = [];
  readonly #slotBytes: number;
  readonly #most: number;
  #next = 0;
  #isDestroyed = false;

  /** @param bytes that may wait for the GPU */
  constructor(
    readonly engine: Engine,
    bytes: number,
  ) {
    this.#slotBytes = Math.min(STAGED, 4 * Math.max(1, Math.ceil(bytes / 4)));
    this.#most = Math.max(2, Math.ceil(bytes / STAGED));
  }

  /** Writes bytes of a tensor's elements from its byte `at` on, a multiple of 4; a last word may be cut. */
  async write(tensor: Tensor<DType>, at: number, bytes: Uint8Array): Promise<void> {
    if (at % 4 || at + bytes.length > tensor.bytes)
      throw new ShapeError(`write: ${bytes.length} bytes from byte ${at} on, ${tensor} has ${tensor.bytes}`);
    for (let from = 0; from < bytes.length; from += this.#slotBytes)
      await this.#send(tensor, at + from, bytes.subarray(from, from + this.#slotBytes));
  }

  async #send(tensor: Tensor<DType>, at: number, bytes: Uint8Array): Promise<void> {
    const { faults, device } = this.engine;
    faults.assertOpen();
    const slot = this.#slots[this.#next] ?? this.#create();
    this.#next = (this.#next + 1) % this.#most;
    await faults.untilOver(slot.free);
    const size = 4 * Math.ceil(bytes.length / 4);
    faults.guard(`write ${tensor}`, [], () => {
      new Uint8Array(slot.buffer.getMappedRange(0, size)).set(bytes);
      slot.buffer.unmap();
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(slot.buffer, 0, tensor.buffer, tensor.offset + at, size);
      device.queue.submit([encoder.finish()]);
    });
    slot.free = slot.buffer.mapAsync(MAP_TO_WRITE);
    slot.free.catch(() => {}); // it is awaited when the memory is needed
  }

  #create(): Slot {
    const { MAP_WRITE, COPY_SRC } = GPU_USAGE;
    const size = this.#slotBytes;
    const buffer = this.engine.faults.guard("staging", [], () =>
      this.engine.device.createBuffer({ size, usage: MAP_WRITE | COPY_SRC, mappedAtCreation: true, label: "staging" }),
    );
    const slot = { buffer, free: Promise.resolve() };
    if (this.#isDestroyed) buffer.destroy();
    this.#slots.push(slot);
    return slot;
  }

  destroy(): void {
    this.#isDestroyed = true;
    for (const { buffer } of this.#slots.splice(0)) buffer.destroy();
  }
}
