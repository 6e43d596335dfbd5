import { formatBytes, formatShape, OutOfLimitsError, ShapeError } from "./errors.js";
import type { Faults } from "./faults.js";
import * as optionRules from "./optionRules.js";
import { checkOption, isList } from "./options.js";
import { BufferPool, type Memory } from "./pool.js";
import { bytesOf, type DType, sizeOf } from "./tensor.js";
import { COMPUTE_STAGE, GPU_USAGE, type GPUBuffer, type GPUDevice } from "./webgpu.js";

const MEBI = 2 ** 20;
/** bytes of freed buffers kept for reuse, where the engine's options do not say */
export const POOL_BYTES = 512 * MEBI;

/** @internal The buffers of a device: pools of its memory, its limits, and the buffers that a host lends. */
export class Buffers {
  readonly memory: Memory = { live: 0, pooled: 0, peak: 0, buffers: 0 };
  /** of tensors */
  readonly storage: BufferPool;
  /** that are mapped to be read */
  readonly staging: BufferPool;
  /** of the params of schedules */
  readonly uniforms: BufferPool;
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  /** the host's buffers that were bound once already, by `assertOfDevice` */
  readonly #bound = new WeakSet<GPUBuffer>();

  constructor(device: GPUDevice, faults: Faults, poolBytes = POOL_BYTES) {
    this.#device = device;
    this.#faults = faults;
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ, UNIFORM } = GPU_USAGE;
    this.storage = this.#pool(STORAGE | COPY_SRC | COPY_DST, poolBytes);
    this.staging = this.#pool(MAP_READ | COPY_DST, 64 * MEBI);
    this.uniforms = this.#pool(UNIFORM | COPY_DST, 16 * MEBI);
  }

  #pool(usage: number, limit: number): BufferPool {
    const create = (size: number, label: string): GPUBuffer => {
      const work = (): GPUBuffer => this.#device.createBuffer({ size, usage, label });
      // an allocation that fails is told later: by then the pool may hold the buffer, and must not give it out again
      const onError = (): void => pool.condemn(buffer);
      const buffer: GPUBuffer = this.#faults.guard(`allocate ${label} (${formatBytes(size)})`, [], work, onError);
      return buffer;
    };
    const pool = new BufferPool({ create, largest: this.#device.limits.maxBufferSize, limit, memory: this.memory });
    return pool;
  }

  /** Throws before anything is allocated where the device cannot hold the tensor. Returns its bytes. */
  checkFits(shape: readonly number[], dtype: DType, label: string): number {
    if (!isList(shape)) checkOption(label, "shape", shape, optionRules.shape);
    if (shape.some((extent) => !Number.isInteger(extent) || extent < 1))
      throw new ShapeError(
        // values in the place of the shape may be millions
        `${label}: shape ${formatShape([...shape.slice(0, 9)])}${shape.length > 9 ? "…" : ""}, every extent must be a positive whole number${shape.length > 9 ? "; the shape comes before the values" : ""}`,
      );
    const bytes = Math.ceil((sizeOf(shape) * bytesOf(dtype)) / 4) * 4;
    for (const limit of ["maxStorageBufferBindingSize", "maxBufferSize"] as const) {
      const most = this.#device.limits[limit];
      if (bytes > most)
        throw new OutOfLimitsError(
          `${label} (${formatShape(shape)} ${dtype}) needs ${formatBytes(bytes)}, the device's ${limit} is ${formatBytes(most)}`,
        );
    }
    return bytes;
  }

  /**
   * Makes the next one who waits hear `problem` where a host's buffer is not of this device. WebGPU tells that only when
   * the buffer is bound, so it is bound here, once.
   */
  assertOfDevice(buffer: GPUBuffer, offset: number, size: number, problem: string): void {
    if (this.#bound.has(buffer)) return;
    this.#bound.add(buffer);
    const bind = (): void => {
      const layout = this.#device.createBindGroupLayout({
        entries: [{ binding: 0, visibility: COMPUTE_STAGE, buffer: { type: "read-only-storage" } }],
      });
      this.#device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer, offset, size } }] });
    };
    this.#faults.guard(problem, [], bind, () => this.#bound.delete(buffer));
  }

  /** Destroys buffers kept for reuse. */
  trim(): void {
    for (const pool of [this.storage, this.staging, this.uniforms]) pool.trim();
  }

  /** Destroys all buffers of the pools, in use or not. */
  destroy(): void {
    for (const pool of [this.storage, this.staging, this.uniforms]) pool.destroy();
  }
}
