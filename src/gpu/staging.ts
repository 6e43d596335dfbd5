import type { Engine } from "./engine.js";
import { ShapeError } from "./errors.js";
import type { DType, Tensor } from "./tensor.js";
import { GPU_USAGE, type GPUBuffer, MAP_TO_WRITE } from "./webgpu.js";

/** Bytes that go to the GPU at once. */
export const STAGED = 2 ** 22;

/** A buffer of the host's that the GPU copies from. */
interface Slot {
  buffer: GPUBuffer;
  /** all of its memory, from when it was first asked for until it goes to the GPU */
  mapped: Uint8Array | null;
  /** resolves when the GPU has taken what was in it, and it may be written again */
  free: Promise<unknown>;
  /** what writes into its memory, which is not to be freed before */
  filling: Promise<unknown> | null;
}

/** Sends what was read to a tensor's elements from its byte `at` on. */
export type Send = (tensor: Tensor<DType>, at: number) => void;

/**
 * Memory of the host through which numbers go to the GPU, used again and again: a queue's `writeBuffer` asks for new memory whenever the GPU is
 * busy, whose pages take longer to come than the numbers to copy. What is written waits behind the work that was submitted before it. Where all
 * memory is full of what the GPU has not taken yet, `write` waits.
 */
export class Staging {
  readonly #slots: Slot[] = [];
  /** memory of a slot's size that no reading uses now, where the device is not the engine's */
  readonly #spares: Uint8Array[] = [];
  readonly #slotBytes: number;
  readonly #most: number;
  #next = 0;
  #isDestroyed = false;

  /**
   * @param bytes that may wait for the GPU
   * @param piece the most bytes that are filled at once
   */
  constructor(
    readonly engine: Engine,
    bytes: number,
    piece = Math.min(STAGED, bytes),
  ) {
    this.#slotBytes = 4 * Math.max(1, Math.ceil(piece / 4));
    this.#most = Math.max(2, Math.ceil(bytes / this.#slotBytes));
  }

  /** Writes bytes of a tensor's elements from its byte `at` on, a multiple of 4; a last word may be cut. */
  async write(tensor: Tensor<DType>, at: number, bytes: Uint8Array): Promise<void> {
    checkPlace(tensor, at, bytes.length);
    for (let from = 0; from < bytes.length; from += this.#slotBytes) {
      const piece = bytes.subarray(from, from + this.#slotBytes);
      const slot = await this.#freeSlot();
      this.#send(slot, tensor, at + from, piece.length, (mapped) => mapped.set(piece));
    }
  }

  /**
   * Lets `read` fill memory from which the GPU copies, which saves a copy of the host's. What it filled goes nowhere before the function that
   * this resolves to is called. Two may be open at a time: one being filled, and one that is to be sent.
   *
   * The memory is not freed while it is filled, since an operating system that reads a file into it would write into what is another's by then.
   * A host may destroy its device at any time, so that with a device of the host's memory of JavaScript is filled, and copied when it is sent.
   */
  async fill(size: number, read: (into: Uint8Array) => void | Promise<void>): Promise<Send> {
    if (size > this.#slotBytes) throw new ShapeError(`fill: ${size} bytes, there is room for ${this.#slotBytes}`);
    const { ownsDevice } = this.engine;
    const slot = await this.#freeSlot();
    const memory = ownsDevice ? mappedOf(slot) : (this.#spares.pop() ?? new Uint8Array(this.#slotBytes));
    const giveBack = (): void => {
      if (!ownsDevice) this.#spares.push(memory);
    };
    const filling = Promise.resolve().then(() => read(memory.subarray(0, size)));
    slot.filling = filling;
    if (ownsDevice) this.engine.keepDeviceFor(filling);
    try {
      await filling;
    } catch (error) {
      giveBack();
      throw error;
    } finally {
      slot.filling = null;
    }
    return (tensor, at) => {
      checkPlace(tensor, at, size);
      this.engine.faults.assertOpen();
      this.#send(slot, tensor, at, size, (mapped) => {
        if (mapped !== memory) mapped.set(memory.subarray(0, size));
      });
      giveBack();
    };
  }

  /** The next slot, once the GPU has taken what was in it. */
  async #freeSlot(): Promise<Slot> {
    const { faults } = this.engine;
    faults.assertOpen();
    const slot = this.#slots[this.#next] ?? this.#create();
    this.#next = (this.#next + 1) % this.#most;
    await faults.untilOver(slot.free);
    return slot;
  }

  #send(slot: Slot, tensor: Tensor<DType>, at: number, bytes: number, set: (mapped: Uint8Array) => void): void {
    const { faults, device } = this.engine;
    faults.guard(`write ${tensor}`, [], () => {
      set(mappedOf(slot));
      slot.buffer.unmap();
      slot.mapped = null;
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(slot.buffer, 0, tensor.buffer, tensor.offset + at, 4 * Math.ceil(bytes / 4));
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
    const slot: Slot = { buffer, mapped: null, free: Promise.resolve(), filling: null };
    if (this.#isDestroyed) buffer.destroy();
    this.#slots.push(slot);
    return slot;
  }

  destroy(): void {
    this.#isDestroyed = true;
    for (const { buffer, filling } of this.#slots.splice(0)) {
      const free = (): void => buffer.destroy();
      if (filling) filling.then(free, free);
      else free();
    }
  }
}

/** The memory of a slot that is free. A buffer gives it once for each time that it is mapped. */
const mappedOf = (slot: Slot): Uint8Array => (slot.mapped ??= new Uint8Array(slot.buffer.getMappedRange()));

function checkPlace(tensor: Tensor<DType>, at: number, bytes: number): void {
  if (at % 4 || at + bytes > tensor.bytes)
    throw new ShapeError(`write: ${bytes} bytes from byte ${at} on, ${tensor} has ${tensor.bytes}`);
}
