import { Buffers } from "./buffers.js";
import { Chooser } from "./chooser.js";
import { ARRAYS, elementsOf } from "./data.js";
import { dispose } from "./dispose.js";
import { formatShape, OutOfLimitsError, ShapeError, TenfoldError } from "./errors.js";
import { Faults } from "./faults.js";
import type { Kernel } from "./kernel.js";
import * as optionRules from "./optionRules.js";
import { checkOption, checkOptions, type OptionRules, oneOf, shown } from "./options.js";
import { Pipelines } from "./pipelines.js";
import type { Memory } from "./pool.js";
import { Schedule, Scheduler } from "./schedule.js";
import {
  type ArrayOf,
  type DType,
  type DTypeOf,
  dtypes,
  rowsApart,
  type Storage,
  sizeOf,
  Tensor,
  type TensorData,
  type TypedArray,
} from "./tensor.js";
import { checkForced, knowsChoices, type Variants } from "./variants.js";
import {
  type GPU,
  GPU_USAGE,
  type GPUAdapter,
  type GPUBuffer,
  type GPUCommandEncoder,
  type GPUComputePassEncoder,
  type GPUDevice,
} from "./webgpu.js";

export interface EngineOptions {
  /** forces what the adapter decides otherwise: a kernel by name or a rule by number, `{ matmul: "tiled", readAhead: 4 }` */
  variants?: Readonly<Record<string, string | number>>;
  /** most bytes of freed buffers kept for reuse, 512 MiB by default; no more than were in use once, and 64 MiB */
  poolBytes?: number;
}

export interface CreateOptions extends EngineOptions {
  /** where to ask for an adapter; `navigator.gpu` by default */
  gpu?: GPU;
  powerPreference?: "low-power" | "high-performance";
}

/** @internal */
export const engineRules: OptionRules<EngineOptions> = {
  variants: {
    needs: 'an object of names and numbers, as in { matmul: "tiled" }',
    is: (value) =>
      typeof value === "object" &&
      value !== null &&
      Object.values(value).every((forced) => ["undefined", "string", "number"].includes(typeof forced)),
  },
  poolBytes: { needs: "a number of bytes, 0 or more", is: (value) => typeof value === "number" && value >= 0 },
};

const createRules: OptionRules<CreateOptions> = {
  ...engineRules,
  gpu: { needs: "a GPU, as navigator.gpu is", is: (value) => has(value, "requestAdapter") },
  powerPreference: oneOf("low-power", "high-performance"),
};

const tensorRules: OptionRules<{ dtype?: DType; label?: string }> = {
  dtype: oneOf(...dtypes),
  label: optionRules.text,
};

const wrapRules: OptionRules<{ dtype?: DType; offset?: number; rowStride?: number; label?: string }> = {
  ...tensorRules,
  offset: optionRules.count,
  rowStride: optionRules.positive,
};

/** Whether a value is an object with a method of this name. WebGPU's classes are not asked for: Node has none. */
const has = (value: unknown, method: string): boolean =>
  typeof value === "object" && value !== null && typeof (value as Record<string, unknown>)[method] === "function";

/** How to get a device, for an error: by what was handed over instead of one. */
function deviceAdvice(value: unknown): string {
  if (has(value, "requestDevice")) return "Engine.fromAdapter(adapter) opens one of this adapter";
  if (has(value, "requestAdapter")) return "Engine.create({ gpu }) opens one";
  if (value instanceof Promise) return "await it first";
  return "Engine.create() opens one, in Node openEngine() from tenfold/node";
}

/** What the engine has done since it was made. */
export interface Counters {
  submits: number;
  dispatches: number;
  /** read() calls that went to the GPU */
  readbacks: number;
  bytesRead: number;
  /** kernels that were compiled for it, or had been for another engine on its device */
  pipelines: number;
}

/** Optional features that kernels can profit from; asked for where the adapter has them. */
const WANTED_FEATURES = ["timestamp-query", "shader-f16", "subgroups"] as const;
/** Limits raised to what the adapter has. Kernels need only the defaults; larger tensors need larger buffers. */
const RAISED_LIMITS = ["maxBufferSize", "maxStorageBufferBindingSize"] as const;
/** The elements of bytes that were read, of which there may be some more than elements. */
function elementsIn(bytes: ArrayBuffer, dtype: DType, size: number): TypedArray {
  return new ARRAYS[dtype](bytes, 0, size);
}

/** The elements of a tensor whose rows lie apart, without what lies between. */
function packedRows(bytes: ArrayBuffer, { shape, size, dtype, rowStride }: Tensor<DType>): TypedArray {
  const padded = elementsIn(bytes, dtype, shape[0]! * rowStride!);
  const row = size / shape[0]!;
  const packed = padded.slice(0, size);
  for (let at = 0; at < size; at++) packed[at] = padded[Math.floor(at / row) * rowStride! + (at % row)]!;
  return packed;
}

/** the most dispatches of one command buffer */
const BATCH = 4096;

/** Whether an adapter of this name computes on the processor. */
export const isSoftware = (name: string): boolean => /swiftshader|llvmpipe|lavapipe|basic render/i.test(name);

/**
 * A device, its pipeline cache and its buffer pool. `Engine.create()` opens a device and owns it; `new Engine(device)`
 * borrows the host's: it neither destroys it nor touches its error handlers.
 */
export class Engine {
  readonly counters: Counters = { submits: 0, dispatches: 0, readbacks: 0, bytesRead: 0, pipelines: 0 };
  /** rejects with {@link DeviceLostError} when the device is lost; never resolves */
  readonly lost: Promise<never>;
  /** @internal what goes wrong on the device, and who hears of it */
  readonly faults: Faults;
  /** @internal pools of buffers, and the device's limits */
  readonly buffers: Buffers;
  /** @internal compiled kernels */
  readonly pipelines: Pipelines;
  /** of tensors without data, from the pool: they are cleared together, before whatever is submitted next; with their bytes */
  readonly #uncleared = new Map<GPUBuffer, number>();
  readonly #chooser: Chooser;
  /** kernels of the last submit, to name in errors that come from no scope */
  #lastKernels: readonly string[] = [];
  #ownsDevice = false;
  /** what writes into memory of the device's */
  readonly #filling = new Set<Promise<unknown>>();
  #destroyed = false;

  constructor(
    readonly device: GPUDevice,
    options: EngineOptions = {},
  ) {
    if (!has(device, "createBuffer"))
      throw new TenfoldError(`new Engine: device is ${shown(device)}, needs a GPUDevice; ${deviceAdvice(device)}`);
    checkOptions("new Engine", options, engineRules);
    this.#chooser = new Chooser({
      adapterName: () => this.adapterName,
      features: device.features,
      forced: { ...options.variants },
      prepare: async (variants, name, size) => {
        const { trialOf } = await import("./probe.js");
        return trialOf(new Scheduler(this, `probe ${variants.name} ${name}`), variants, name, size);
      },
    });
    this.#chooser.check("new Engine");
    this.faults = new Faults(device);
    this.lost = this.faults.lost;
    this.buffers = new Buffers(device, this.faults, options.poolBytes);
    this.pipelines = new Pipelines(device, this.faults, this.counters);
  }

  /** Opens a device of the best adapter, with default limits except for larger buffers. */
  static async create(options: CreateOptions = {}): Promise<Engine> {
    checkOptions("Engine.create", options, createRules);
    const { gpu: host, powerPreference, ...engineOptions } = options;
    const gpu = host ?? (typeof navigator === "undefined" ? undefined : navigator.gpu);
    if (!gpu)
      throw new TenfoldError(
        "Engine.create: there is no navigator.gpu. In a browser: Chrome or Edge 113+, Safari 26+ or Firefox 141+. In Node or Bun: openEngine from tenfold/node.",
        { code: "NO_GPU" },
      );
    const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : undefined);
    if (!adapter)
      throw new TenfoldError("Engine.create: WebGPU is there, but it gave no adapter (no usable GPU or driver)", {
        code: "NO_GPU",
      });
    return Engine.fromAdapter(adapter, engineOptions);
  }

  /** Opens a device of this adapter. */
  static async fromAdapter(adapter: GPUAdapter, options: EngineOptions = {}): Promise<Engine> {
    if (!has(adapter, "requestDevice"))
      throw new TenfoldError(
        `Engine.fromAdapter: adapter is ${shown(adapter)}, needs a GPUAdapter, as await navigator.gpu.requestAdapter() is`,
      );
    checkOptions("Engine.fromAdapter", options, engineRules);
    if (options.variants && knowsChoices()) checkForced("Engine.fromAdapter", options.variants);
    const requiredFeatures = WANTED_FEATURES.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[];
    const requiredLimits = Object.fromEntries(RAISED_LIMITS.map((limit) => [limit, adapter.limits[limit]]));
    const device = await adapter.requestDevice({ label: "tenfold", requiredFeatures, requiredLimits });
    const engine = new Engine(device, options);
    engine.#ownsDevice = true;
    engine.faults.listen(() => engine.#lastKernels);
    return engine;
  }

  /** `google swiftshader (SwiftShader driver 5.0.0)` */
  get adapterName(): string {
    const { vendor, architecture, device, description } = this.device.adapterInfo;
    const name = [vendor, architecture].filter(Boolean).join(" ");
    // a description that does not name a software adapter may be the driver's alone: show the device's name, too
    const both = description && device && !isSoftware(description);
    const detail = both ? `${device}, ${description}` : description || device;
    return name && detail ? `${name} (${detail})` : name || detail || "unknown adapter";
  }

  // ---- tensors

  /**
   * A tensor that is yours until `destroy()`. Without data it holds zeros. Data is a typed array or a list of all elements, row
   * by row, or lists in lists of the tensor's shape; numbers are f32, and u32, i32 or u8 where data is such an array; or what
   * `dtype` says. Elements of f16 and bf16 are given as their bits, in a Uint16Array.
   *
   * @throws ShapeError where data does not fit the shape; TenfoldError where it holds no numbers, or numbers that the dtype does not
   */
  tensor<Data extends TensorData | null | undefined = null>(
    shape: readonly number[],
    data?: Data,
    options?: { dtype?: undefined; label?: string },
  ): Tensor<DTypeOf<Data>>;
  tensor<D extends DType = "f32">(
    shape: readonly number[],
    data: TensorData | null | undefined,
    options: { dtype?: D; label?: string } | undefined,
  ): Tensor<D>;
  tensor(
    shape: readonly number[],
    data?: TensorData | null,
    options: { dtype?: DType; label?: string } = {},
  ): Tensor<DType> {
    this.faults.assertOpen();
    checkOptions("tensor", options, tensorRules);
    const { dtype = dtypeOf(data), label = "tensor" } = options;
    const bytes = this.buffers.checkFits(shape, dtype, label);
    const values = data === undefined || data === null ? null : elementsOf(label, data, shape, dtype);
    const { buffer, fresh } = this.buffers.storage.acquire(bytes, label);
    const uncleared = this.#uncleared;
    const clear = (): void => this.clearTensors();
    const storage: Storage = {
      get buffer(): GPUBuffer {
        if (uncleared.size) clear();
        return buffer;
      },
      uncleared: buffer,
      owner: "user",
      alive: true,
      release: () => {
        if (!storage.alive) return;
        storage.alive = false;
        uncleared.delete(buffer);
        this.buffers.storage.release(buffer);
      },
    };
    const tensor = new Tensor(this, storage, shape, dtype, 0, label);
    // WebGPU clears new buffers; one from the pool still holds another tensor's elements
    if (values) this.write(tensor, values);
    else if (!fresh) uncleared.set(buffer, bytes);
    return tensor;
  }

  /** @internal Clears the buffers of new tensors, in one submit, before somebody else uses one of them. */
  clearTensors(): void {
    if (!this.#uncleared.size) return;
    this.faults.guard("clear new tensors", [], () => {
      this.device.queue.submit([this.encoder("clear").finish()]);
    });
  }

  /** @internal An encoder that clears the buffers of new tensors first. */
  encoder(label: string): GPUCommandEncoder {
    const encoder = this.device.createCommandEncoder({ label });
    for (const buffer of this.#uncleared.keys()) encoder.clearBuffer(buffer);
    this.#uncleared.clear();
    return encoder;
  }

  /**
   * Borrows a host's buffer (usage STORAGE) as a tensor; destroying the tensor leaves the buffer alone.
   *
   * Rows of the first mode follow each other, unless `rowStride` says how many elements lie between the beginnings of two: 4 for an
   * `array<vec3f>`, whose elements WGSL pads to 16 bytes. Such a tensor is read as it is, and the op `copy` packs its rows into one that other
   * operations take, or writes packed rows into it and leaves what lies between alone.
   *
   * @param options.offset first byte
   * @throws OutOfLimitsError where the buffer is too small; ShapeError where `rowStride` is less than a row has elements
   */
  wrap<D extends DType = "f32">(
    buffer: GPUBuffer,
    shape: readonly number[],
    options: { dtype?: D; offset?: number; rowStride?: number; label?: string } = {},
  ): Tensor<D> {
    this.faults.assertOpen();
    if (!has(buffer, "mapAsync"))
      throw new TenfoldError(`wrap: buffer is ${shown(buffer)}, needs a GPUBuffer of the engine's device`);
    checkOptions("wrap", options, wrapRules);
    const { dtype = "f32" as D, offset = 0, label = buffer.label || "host buffer" } = options;
    const packed = this.buffers.checkFits(shape, dtype, label);
    const row = sizeOf(shape.slice(1));
    const rowStride = options.rowStride === row ? null : (options.rowStride ?? null);
    if (rowStride !== null && (rowStride < row || shape.length === 0))
      throw new ShapeError(`wrap: rowStride is ${rowStride}, a row of ${formatShape(shape)} has ${row} elements`);
    const bytes = rowStride === null ? packed : this.buffers.checkFits([shape[0] ?? 1, rowStride], dtype, label);
    if (!(buffer.usage & GPU_USAGE.STORAGE)) throw new TenfoldError(`wrap: ${label} needs GPUBufferUsage.STORAGE`);
    if (offset % this.device.limits.minStorageBufferOffsetAlignment)
      throw new TenfoldError(
        `wrap: ${label} begins at byte ${offset}, needs a multiple of ${this.device.limits.minStorageBufferOffsetAlignment}`,
      );
    if (offset + bytes > buffer.size)
      throw new OutOfLimitsError(
        `wrap: ${label} has ${buffer.size} bytes, ${formatShape(shape)} from byte ${offset} needs ${offset + bytes}`,
      );
    const storage: Storage = { buffer, owner: "host", alive: true, release: () => (storage.alive = false) };
    const tensor = new Tensor(this, storage, shape, dtype, offset, label, rowStride);
    const problem = `wrap: ${tensor} is no buffer of this engine's device (${this.adapterName}); wrap it with an engine of the device that made it`;
    this.buffers.assertOfDevice(buffer, offset, bytes, problem);
    return tensor;
  }

  /** Writes all elements of a tensor; data as `tensor` takes it. */
  write(tensor: Tensor<DType>, data: TensorData): void {
    this.faults.assertOpen();
    this.assertAlive("write", tensor);
    if (tensor.rowStride !== null) throw new ShapeError(`write: ${rowsApart(tensor)}`);
    if (!(tensor.held.usage & GPU_USAGE.COPY_DST))
      throw new TenfoldError(`write: ${tensor.label} is the host's and lacks GPUBufferUsage.COPY_DST`);
    let values = elementsOf("write", data, tensor.shape, tensor.dtype, String(tensor));
    if (values.byteLength % 4) {
      const padded = new Uint8Array(tensor.bytes);
      padded.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      values = padded;
    }
    // what is written in full need not be cleared
    if (tensor.bytes >= (this.#uncleared.get(tensor.held) ?? Number.POSITIVE_INFINITY))
      this.#uncleared.delete(tensor.held);
    this.faults.guard(`write ${tensor}`, [], () =>
      this.device.queue.writeBuffer(
        this.#uncleared.has(tensor.held) ? tensor.buffer : tensor.held,
        tensor.offset,
        values.buffer as ArrayBuffer,
        values.byteOffset,
        values.byteLength,
      ),
    );
  }

  /** Reads one tensor back, or several in one round trip. Rejects with whatever went wrong on the GPU before. */
  async read<D extends DType>(tensor: Tensor<D>): Promise<ArrayOf[D]>;
  async read<const Tensors extends readonly Tensor<DType>[]>(
    tensors: Tensors,
  ): Promise<{ -readonly [index in keyof Tensors]: Awaited<ReturnType<Tensors[index]["read"]>> }>;
  async read(tensors: Tensor<DType> | readonly Tensor<DType>[]): Promise<TypedArray | TypedArray[]> {
    this.faults.assertOpen();
    const since = this.faults.now;
    const list = tensors instanceof Tensor ? [tensors] : tensors;
    if (!Array.isArray(list)) throw new TenfoldError(`read: given ${shown(list)}, needs a Tensor or a list of them`);
    for (const tensor of list) {
      this.assertAlive("read", tensor);
      if (!(tensor.held.usage & GPU_USAGE.COPY_SRC))
        throw new TenfoldError(`read: ${tensor.label} is the host's and lacks GPUBufferUsage.COPY_SRC`);
    }
    let bytes = 0;
    const places = list.map((tensor) => {
      const place = bytes;
      bytes += Math.ceil(tensor.bytes / 8) * 8;
      return place;
    });
    if (bytes > this.device.limits.maxBufferSize && list.length > 1) {
      // together they need a staging buffer that is larger than the device allows: read two halves
      const half = list.length >> 1;
      const [first, second] = await Promise.all([this.read(list.slice(0, half)), this.read(list.slice(half))]);
      return [...first, ...second];
    }
    this.counters.readbacks++;
    this.counters.bytesRead += list.reduce((sum, tensor) => sum + tensor.bytes, 0);
    const { buffer: staging } = this.buffers.staging.acquire(Math.max(bytes, 4), "staging");
    try {
      const mapping = this.faults.guard("read", [], () => {
        const encoder = this.encoder("read");
        list.forEach((tensor, index) => {
          encoder.copyBufferToBuffer(tensor.held, tensor.offset, staging, places[index]!, tensor.bytes);
        });
        this.device.queue.submit([encoder.finish()]);
        return staging.mapAsync(1, 0, staging.size);
      });
      try {
        await this.faults.untilOver(mapping);
      } catch (error) {
        await this.faults.settled(since); // an error of a scope says more than that of the mapping
        throw error;
      }
      const mapped = staging.getMappedRange();
      const arrays = list.map((tensor, index) => {
        const copy = mapped.slice(places[index]!, places[index]! + tensor.bytes);
        return tensor.rowStride === null ? elementsIn(copy, tensor.dtype, tensor.size) : packedRows(copy, tensor);
      });
      await this.faults.settled(since);
      return tensors instanceof Tensor ? arrays[0]! : arrays;
    } finally {
      if (staging.mapState !== "unmapped") staging.unmap();
      this.buffers.staging.release(staging);
    }
  }

  // ---- running

  /** A recorder for ops. */
  scheduler(label?: string): Scheduler {
    this.#chooser.check("scheduler");
    return new Scheduler(this, label);
  }

  /** Records, compiles, replays once and frees: for one-off work. The result must not be a temporary. */
  async run(record: (s: Scheduler) => void, label = "run"): Promise<void> {
    if (typeof record !== "function")
      throw new TenfoldError(`run: given ${shown(record)}, needs a function that records: (s) => { … }`);
    const since = this.faults.now;
    const scheduler = this.scheduler(label);
    try {
      record(scheduler);
      const schedule = await scheduler.compile();
      try {
        this.submit(schedule);
      } finally {
        schedule.destroy();
      }
    } finally {
      scheduler.destroy();
    }
    await this.faults.settled(since);
  }

  /**
   * Replays a schedule `times` times in one submit; or several schedules in turn, each so many times, and all of that
   * `times` times. Returns at once; what goes wrong on the GPU rejects the next `read` or `idle`, naming the schedules
   * and their kernels.
   */
  submit(work: Schedule | readonly (readonly [schedule: Schedule, times: number])[], times = 1): void {
    this.faults.assertOpen();
    const round = work instanceof Schedule ? ([[work, 1]] as const) : work;
    if (!Array.isArray(round) || !round.every((pair) => Array.isArray(pair) && pair[0] instanceof Schedule))
      throw new TenfoldError(
        `submit: given ${shown(work)}, needs a Schedule (await scheduler.compile()), or pairs of one and how often`,
      );
    for (const count of [times, ...round.map(([, replays]) => replays)])
      checkOption("submit", "times", count, optionRules.count);
    for (const [schedule] of round) {
      if (schedule.engine !== this) throw new TenfoldError(`submit: ${schedule.label} belongs to another engine`);
      schedule.assertUsable();
    }
    const turns = Array.from({ length: Math.max(0, times) }, () => round).flat();
    const dispatches = turns.reduce((sum, [schedule, replays]) => sum + replays * schedule.dispatches, 0);
    if (dispatches === 0) return;
    const label = round.map(([schedule]) => schedule.label).join(", ");
    this.#lastKernels = [...new Set(round.flatMap(([schedule]) => schedule.kernelNames))];
    this.faults.guard(label, this.#lastKernels, () => {
      const commands: GPUCommandBuffer[] = [];
      let encoder: GPUCommandEncoder | null = null;
      let pass: GPUComputePassEncoder | null = null;
      let recorded = 0;
      const close = (): void => {
        pass?.end();
        if (encoder) commands.push(encoder.finish());
        [encoder, pass, recorded] = [null, null, 0];
      };
      for (const [schedule, replays] of turns) {
        for (let replay = 0; replay < replays; replay++) {
          if (recorded && recorded + schedule.dispatches > BATCH) close();
          encoder ??= this.encoder(label);
          pass ??= encoder.beginComputePass({ label });
          schedule.record(pass);
          recorded += schedule.dispatches;
        }
      }
      close();
      this.device.queue.submit(commands);
    });
    this.counters.submits++;
    this.counters.dispatches += dispatches;
  }

  /** Resolves when the GPU has done everything submitted so far; rejects with what went wrong. */
  async idle(): Promise<void> {
    this.faults.assertOpen();
    const since = this.faults.now;
    await this.faults.untilOver(this.device.queue.onSubmittedWorkDone());
    await this.faults.settled(since);
  }

  // ---- choosing kernels

  /** What the engine's options force for the choice of this name, if anything. */
  forced(name: string): string | number | undefined {
    return this.#chooser.forced(name);
  }

  /** The variant in force on this adapter; probes the first time. */
  async choose(variants: Variants): Promise<Kernel> {
    this.faults.assertOpen();
    return this.#chooser.choose(variants);
  }

  // ---- the end

  /** @internal @throws where a tensor is of another engine, or gone */
  assertAlive(operation: string, tensor: Tensor<DType>): void {
    if (!(tensor instanceof Tensor)) throw new TenfoldError(`${operation}: given ${shown(tensor)}, needs a Tensor`);
    if (tensor.engine !== this) throw new TenfoldError(`${operation}: ${tensor} belongs to another engine`);
    if (!tensor.storage.alive) throw new TenfoldError(`${operation}: ${tensor} was destroyed or released`);
  }

  /** Bytes held on the GPU. */
  memory(): Memory {
    return { ...this.buffers.memory };
  }

  /** Destroys buffers kept for reuse. */
  trim(): void {
    this.buffers.trim();
  }

  /** Frees what the engine holds and rejects what is pending; destroys the device only if the engine opened it. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.faults.end(new TenfoldError("the engine was destroyed", { code: "DESTROYED" }));
    this.pipelines.clear();
    this.buffers.destroy();
    if (!this.#ownsDevice) return;
    const free = (): void => this.device.destroy();
    if (this.#filling.size) void Promise.allSettled(this.#filling).then(free);
    else free();
  }

  /** @internal whether the engine opened the device, so that nobody else destroys it */
  get ownsDevice(): boolean {
    return this.#ownsDevice;
  }

  /** @internal The device, and its memory with it, is not destroyed before this is settled. */
  keepDeviceFor(filling: Promise<unknown>): void {
    this.#filling.add(filling);
    const over = (): void => void this.#filling.delete(filling);
    filling.then(over, over);
  }

  [dispose](): void {
    this.destroy();
  }
}

function dtypeOf(data: TensorData | null | undefined): DType {
  if (data instanceof Uint32Array) return "u32";
  if (data instanceof Int32Array) return "i32";
  return data instanceof Uint8Array ? "u8" : "f32";
}
