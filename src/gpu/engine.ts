import { elementsOf } from "./data.js";
import { dispose } from "./dispose.js";
import {
  DeviceLostError,
  formatBytes,
  formatShape,
  KernelError,
  OutOfLimitsError,
  ShapeError,
  TenfoldError,
} from "./errors.js";
import type { Kernel, ShaderSource } from "./kernel.js";
import { checkOption, checkOptions, isList, type OptionRules, oneOf, optionRules, shown } from "./options.js";
import { BufferPool, type Memory } from "./pool.js";
import { GPU_USAGE, Schedule, Scheduler } from "./schedule.js";
import { bytesOf, type DType, type Storage, sizeOf, Tensor, type TensorData, type TypedArray } from "./tensor.js";
import { checkForced, knowsChoices, type Variants } from "./variants.js";
import type { GPU, GPUAdapter, GPUBuffer, GPUCommandEncoder, GPUComputePassEncoder, GPUDevice } from "./webgpu.js";

export interface EngineOptions {
  /** forces what the adapter decides otherwise: a kernel by name or a rule by number, `{ matmul: "tiled", readAhead: 4 }` */
  variants?: Readonly<Record<string, string | number>>;
  /** bytes of freed buffers kept for reuse, 512 MiB by default */
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
  dtype: oneOf("f32", "u32", "i32", "u8"),
  label: optionRules.text,
};

const wrapRules: OptionRules<{ dtype?: DType; offset?: number; label?: string }> = {
  ...tensorRules,
  offset: optionRules.count,
};

/** Whether a value is an object with such a method, whoever made it. */
const has = (value: unknown, method: string): boolean =>
  typeof value === "object" && value !== null && typeof (value as Record<string, unknown>)[method] === "function";

/** What to say of something that is no device. */
function deviceAdvice(given: unknown): string {
  if (has(given, "requestDevice")) return "Engine.fromAdapter(adapter) opens one of this adapter";
  if (has(given, "requestAdapter")) return "Engine.create({ gpu }) opens one";
  if (given instanceof Promise) return "await it first";
  return "Engine.create() opens one, in Node openEngine() from tenfold/node";
}

/** What the engine has done since it was made. */
export interface Counters {
  submits: number;
  dispatches: number;
  /** read() calls that went to the GPU */
  readbacks: number;
  bytesRead: number;
  pipelines: number;
}

/** Optional features that kernels can profit from; asked for where the adapter has them. */
const WANTED_FEATURES = ["timestamp-query", "shader-f16", "subgroups"] as const;
/** Limits raised to what the adapter has. Kernels need only the defaults; larger tensors need larger buffers. */
const RAISED_LIMITS = ["maxBufferSize", "maxStorageBufferBindingSize"] as const;
/** dispatches in one command buffer */
const BATCH = 4096;

/** Choices of variants by adapter, shared by all engines of the process. */
const choices = new Map<string, Promise<string>>();
/** what a later variant must save to be preferred */
const NEAR = 0.8;
/** how many times slower a variant must be not to be tried on a larger problem */
const HOPELESS = 3;
/** the end of the last probe */
let probing: Promise<void> = Promise.resolve();

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
  readonly #memory: Memory = { live: 0, pooled: 0, peak: 0, buffers: 0 };
  readonly #pool: BufferPool;
  readonly #staging: BufferPool;
  readonly #uniforms: BufferPool;
  /** finished and in flight, by shader and then by the kernel's key: two shaders may have the same name */
  readonly #pipelines = new Map<ShaderSource, Map<string, Promise<GPUComputePipeline>>>();
  readonly #layouts = new Map<ShaderSource, { bindGroup: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();
  readonly #scopes = new Set<Promise<void>>();
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #forced: Readonly<Record<string, string | number>>;
  /** the first error that nobody has been told of */
  #failure: Error | null = null;
  /** the last error that somebody was told of: those who waited at that time hear of it too */
  #told: { error: Error; at: number } | null = null;
  #clock = 0;
  /** kernels of the last submit, to name in errors that come from no scope */
  #lastKernels: readonly string[] = [];
  /** why nothing works any more: the device was lost or the engine destroyed */
  #over: TenfoldError | null = null;
  #ownsDevice = false;
  /** forced choices cannot be judged before ops are imported, which know them */
  #forcedChecked = false;
  /** of wrapped buffers, those whose device was asked for */
  readonly #wrapped = new WeakSet<GPUBuffer>();
  #destroyed = false;

  constructor(
    readonly device: GPUDevice,
    options: EngineOptions = {},
  ) {
    if (!has(device, "createBuffer"))
      throw new TenfoldError(`new Engine: device is ${shown(device)}, needs a GPUDevice; ${deviceAdvice(device)}`);
    checkOptions("new Engine", options, engineRules);
    this.#forced = { ...options.variants };
    this.#checkForced("new Engine");
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ, UNIFORM } = GPU_USAGE;
    const mebi = 2 ** 20;
    const pool = (usage: number, limit: number): BufferPool => {
      const create = (size: number, label: string): GPUBuffer => {
        const work = (): GPUBuffer => device.createBuffer({ size, usage, label });
        const buffer: GPUBuffer = this.guard(`allocate ${label} (${formatBytes(size)})`, [], work, () =>
          made.condemn(buffer),
        );
        return buffer;
      };
      const made = new BufferPool({ create, largest: device.limits.maxBufferSize, limit, memory: this.#memory });
      return made;
    };
    this.#pool = pool(STORAGE | COPY_SRC | COPY_DST, options.poolBytes ?? 512 * mebi);
    this.#staging = pool(MAP_READ | COPY_DST, 64 * mebi);
    this.#uniforms = pool(UNIFORM | COPY_DST, 16 * mebi);
    this.lost = new Promise((_, reject) => {
      device.lost.then((info) => {
        if (this.#destroyed) return;
        const error = new DeviceLostError(info.reason ?? "unknown", info.message);
        reject(error);
        this.#end(error);
      });
    });
    this.lost.catch(() => {});
  }

  /** Opens a device of the best adapter, with default limits except for larger buffers. */
  static async create(options: CreateOptions = {}): Promise<Engine> {
    checkOptions("Engine.create", options, createRules);
    const { gpu: given, powerPreference, ...own } = options;
    const gpu = given ?? (typeof navigator === "undefined" ? undefined : navigator.gpu);
    if (!gpu)
      throw new TenfoldError(
        "Engine.create: there is no navigator.gpu. In a browser: Chrome or Edge 113+, Safari 26+ or Firefox 141+. In Node: openEngine from tenfold/node.",
      );
    const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : undefined);
    if (!adapter)
      throw new TenfoldError("Engine.create: WebGPU is there, but it gave no adapter (no usable GPU or driver)");
    return Engine.fromAdapter(adapter, own);
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
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      const kernels = [...engine.#lastKernels];
      const last = kernels.length ? ` (kernels submitted last: ${kernels.join(", ")})` : "";
      engine.#failure ??= new KernelError(kernels, `uncaptured device error${last}: ${event.error.message}`);
    });
    return engine;
  }

  /** `google swiftshader (SwiftShader driver 5.0.0)` */
  get adapterName(): string {
    const { vendor, architecture, device, description } = this.device.adapterInfo;
    const name = [vendor, architecture].filter(Boolean).join(" ");
    // a description may name the driver alone
    const both = description && device && !isSoftware(description);
    const detail = both ? `${device}, ${description}` : description || device;
    return name && detail ? `${name} (${detail})` : name || detail || "unknown adapter";
  }

  // ---- tensors

  /**
   * A tensor that is yours until `destroy()`. Without data it holds zeros. Data is a typed array or a list of all elements, row
   * by row, or lists in lists of the tensor's shape; numbers are f32, and u32, i32 or u8 where data is such an array or
   * `dtype` says so.
   *
   * @throws ShapeError where data does not fit the shape; TenfoldError where it holds no numbers, or numbers that the dtype does not
   */
  tensor(shape: readonly number[], data?: TensorData | null, options: { dtype?: DType; label?: string } = {}): Tensor {
    this.#assertOpen();
    checkOptions("tensor", options, tensorRules);
    const { dtype = dtypeOf(data), label = "tensor" } = options;
    const bytes = this.checkFits(shape, dtype, label);
    const values = data === undefined || data === null ? null : elementsOf(label, data, shape, dtype);
    const { buffer, fresh } = this.#pool.acquire(bytes, label);
    const storage: Storage = {
      buffer,
      owner: "user",
      alive: true,
      release: () => {
        if (!storage.alive) return;
        storage.alive = false;
        this.recycle(buffer);
      },
    };
    const tensor = new Tensor(this, storage, shape, dtype, 0, label);
    if (values) this.write(tensor, values);
    else if (!fresh) {
      // WebGPU clears new buffers; one from the pool still holds what it held
      this.guard(`clear ${tensor}`, [], () => {
        const encoder = this.device.createCommandEncoder();
        encoder.clearBuffer(buffer);
        this.device.queue.submit([encoder.finish()]);
      });
    }
    return tensor;
  }

  /** Borrows a host's buffer (usage STORAGE) as a tensor; destroying the tensor leaves the buffer alone. */
  wrap(
    buffer: GPUBuffer,
    shape: readonly number[],
    options: { dtype?: DType; offset?: number; label?: string } = {},
  ): Tensor {
    this.#assertOpen();
    if (!has(buffer, "mapAsync"))
      throw new TenfoldError(`wrap: buffer is ${shown(buffer)}, needs a GPUBuffer of the engine's device`);
    checkOptions("wrap", options, wrapRules);
    const { dtype = "f32", offset = 0, label = buffer.label || "host buffer" } = options;
    const bytes = this.checkFits(shape, dtype, label);
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
    const tensor = new Tensor(this, storage, shape, dtype, offset, label);
    this.#probeDevice(tensor);
    return tensor;
  }

  /** Binds a host's buffer once, as WebGPU tells in no other way that it is another device's; the next wait hears of it. */
  #probeDevice(tensor: Tensor): void {
    const { buffer, offset, bytes } = tensor;
    if (this.#wrapped.has(buffer)) return;
    this.#wrapped.add(buffer);
    const { device } = this;
    const bind = (): void => {
      const visibility = 4; // GPUShaderStage.COMPUTE
      const layout = device.createBindGroupLayout({
        entries: [{ binding: 0, visibility, buffer: { type: "read-only-storage" } }],
      });
      device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer, offset, size: bytes } }] });
    };
    const problem = `wrap: ${tensor} is no buffer of this engine's device (${this.adapterName}); wrap it with an engine of the device that made it`;
    this.guard(problem, [], bind, () => this.#wrapped.delete(buffer));
  }

  /** Writes all elements of a tensor; data as `tensor` takes it. */
  write(tensor: Tensor, data: TensorData): void {
    this.#assertOpen();
    this.#assertAlive("write", tensor);
    if (!(tensor.buffer.usage & GPU_USAGE.COPY_DST))
      throw new TenfoldError(`write: ${tensor.label} is the host's and lacks GPUBufferUsage.COPY_DST`);
    let values = elementsOf("write", data, tensor.shape, tensor.dtype, String(tensor));
    if (values.byteLength % 4) {
      const padded = new Uint8Array(tensor.bytes);
      padded.set(values as Uint8Array);
      values = padded;
    }
    this.guard(`write ${tensor}`, [], () =>
      this.device.queue.writeBuffer(
        tensor.buffer,
        tensor.offset,
        values.buffer as ArrayBuffer,
        values.byteOffset,
        values.byteLength,
      ),
    );
  }

  /** Reads one tensor back, or several in one round trip. Rejects with whatever went wrong on the GPU before. */
  async read(tensor: Tensor): Promise<TypedArray>;
  async read(tensors: readonly Tensor[]): Promise<TypedArray[]>;
  async read(tensors: Tensor | readonly Tensor[]): Promise<TypedArray | TypedArray[]> {
    this.#assertOpen();
    const since = this.#clock;
    const list = tensors instanceof Tensor ? [tensors] : tensors;
    if (!Array.isArray(list)) throw new TenfoldError(`read: given ${shown(list)}, needs a Tensor or a list of them`);
    for (const tensor of list) {
      this.#assertAlive("read", tensor);
      if (!(tensor.buffer.usage & GPU_USAGE.COPY_SRC))
        throw new TenfoldError(`read: ${tensor.label} is the host's and lacks GPUBufferUsage.COPY_SRC`);
    }
    let bytes = 0;
    const places = list.map((tensor) => {
      const place = bytes;
      bytes += Math.ceil(tensor.bytes / 8) * 8;
      return place;
    });
    if (bytes > this.device.limits.maxBufferSize && list.length > 1) {
      // together they need more than one buffer
      const half = list.length >> 1;
      const [first, second] = await Promise.all([this.read(list.slice(0, half)), this.read(list.slice(half))]);
      return [...first, ...second];
    }
    this.counters.readbacks++;
    this.counters.bytesRead += list.reduce((sum, tensor) => sum + tensor.bytes, 0);
    const { buffer: staging } = this.#staging.acquire(Math.max(bytes, 4), "staging");
    try {
      const mapping = this.guard("read", [], () => {
        const encoder = this.device.createCommandEncoder({ label: "read" });
        list.forEach((tensor, index) => {
          encoder.copyBufferToBuffer(tensor.buffer, tensor.offset, staging, places[index]!, tensor.bytes);
        });
        this.device.queue.submit([encoder.finish()]);
        return staging.mapAsync(1, 0, staging.size);
      });
      try {
        await this.untilOver(mapping);
      } catch (error) {
        await this.settled(since); // says more
        throw error;
      }
      const mapped = staging.getMappedRange();
      const arrays = list.map((tensor, index) => {
        const copy = mapped.slice(places[index]!, places[index]! + tensor.bytes);
        if (tensor.dtype === "u8") return new Uint8Array(copy, 0, tensor.size);
        if (tensor.dtype === "u32") return new Uint32Array(copy);
        return tensor.dtype === "i32" ? new Int32Array(copy) : new Float32Array(copy);
      });
      await this.settled(since);
      return tensors instanceof Tensor ? arrays[0]! : arrays;
    } finally {
      if (staging.mapState !== "unmapped") staging.unmap();
      this.#staging.release(staging);
    }
  }

  // ---- running

  /** A recorder for ops. */
  scheduler(label?: string): Scheduler {
    this.#checkForced("scheduler");
    return new Scheduler(this, label);
  }

  /** Records, compiles, replays once and frees: for one-off work. The result must not be a temporary. */
  async run(record: (s: Scheduler) => void, label = "run"): Promise<void> {
    if (typeof record !== "function")
      throw new TenfoldError(`run: given ${shown(record)}, needs a function that records: (s) => { … }`);
    const since = this.#clock;
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
    await this.settled(since);
  }

  /**
   * Replays a schedule `times` times in one submit; or several schedules in turn, each so many times, and all of that
   * `times` times. Returns at once; what goes wrong on the GPU rejects the next `read` or `idle`, naming the schedules
   * and their kernels.
   */
  submit(work: Schedule | readonly (readonly [schedule: Schedule, times: number])[], times = 1): void {
    this.#assertOpen();
    const round = work instanceof Schedule ? ([[work, 1]] as const) : work;
    if (!Array.isArray(round) || !round.every((pair) => Array.isArray(pair) && pair[0] instanceof Schedule))
      throw new TenfoldError(
        `submit: given ${shown(work)}, needs a Schedule (await scheduler.compile()), or pairs of one and how often`,
      );
    for (const count of [times, ...round.map(([, each]) => each)])
      checkOption("submit", "times", count, optionRules.count);
    for (const [schedule] of round) {
      if (schedule.engine !== this) throw new TenfoldError(`submit: ${schedule.label} belongs to another engine`);
      schedule.assertUsable();
    }
    const all = Array.from({ length: Math.max(0, times) }, () => round).flat();
    const dispatches = all.reduce((sum, [schedule, replays]) => sum + replays * schedule.dispatches, 0);
    if (dispatches === 0) return;
    const label = round.map(([schedule]) => schedule.label).join(", ");
    this.#lastKernels = [...new Set(round.flatMap(([schedule]) => schedule.kernelNames))];
    this.guard(label, this.#lastKernels, () => {
      const commands: GPUCommandBuffer[] = [];
      let encoder: GPUCommandEncoder | null = null;
      let pass: GPUComputePassEncoder | null = null;
      let recorded = 0;
      const close = (): void => {
        pass?.end();
        if (encoder) commands.push(encoder.finish());
        [encoder, pass, recorded] = [null, null, 0];
      };
      for (const [schedule, replays] of all) {
        for (let replay = 0; replay < replays; replay++) {
          if (recorded && recorded + schedule.dispatches > BATCH) close();
          encoder ??= this.device.createCommandEncoder({ label });
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
    this.#assertOpen();
    const since = this.#clock;
    await this.untilOver(this.device.queue.onSubmittedWorkDone());
    await this.settled(since);
  }

  // ---- what the scheduler needs

  /** @internal The pipeline of a kernel: finished, in flight, or started now. */
  pipeline(kernel: Kernel): Promise<GPUComputePipeline> {
    if (this.#over) return Promise.reject(this.#over);
    let pipelines = this.#pipelines.get(kernel.source);
    if (!pipelines) this.#pipelines.set(kernel.source, (pipelines = new Map()));
    let pipeline = pipelines.get(kernel.key);
    if (!pipeline) {
      for (const feature of kernel.source.features) {
        if (!this.device.features.has(feature as GPUFeatureName))
          return Promise.reject(
            new KernelError([kernel.name], `${kernel.key}: needs the feature ${feature}, which the device lacks`),
          );
      }
      this.counters.pipelines++;
      pipeline = this.#compile(kernel);
      pipelines.set(kernel.key, pipeline);
      pipeline.catch(() => pipelines.delete(kernel.key));
    }
    return pipeline;
  }

  async #compile(kernel: Kernel): Promise<GPUComputePipeline> {
    const { device } = this;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: kernel.key, code: kernel.code });
    const layout = this.layouts(kernel.source).pipeline;
    const pipeline = device.createComputePipelineAsync({
      label: kernel.key,
      layout,
      compute: { module, entryPoint: "main" },
    });
    const scope = device.popErrorScope();
    pipeline.catch(() => {});
    const error = await this.untilOver(scope);
    if (error) throw new KernelError([kernel.name], `${kernel.key}: ${error.message}`);
    try {
      return await this.untilOver(pipeline);
    } catch (error) {
      if (error instanceof DeviceLostError) throw error;
      throw new KernelError([kernel.name], `${kernel.key}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** @internal */
  layouts(source: ShaderSource): { bindGroup: GPUBindGroupLayout; pipeline: GPUPipelineLayout } {
    let layouts = this.#layouts.get(source);
    if (!layouts) {
      const visibility = 4; // GPUShaderStage.COMPUTE
      const bindGroup = this.device.createBindGroupLayout({
        label: source.name,
        entries: [
          {
            binding: 0,
            visibility,
            buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: source.paramsSize },
          },
          ...source.bindings.map(({ binding, access }) => ({
            binding,
            visibility,
            buffer: { type: access === "read" ? ("read-only-storage" as const) : ("storage" as const) },
          })),
        ],
      });
      layouts = { bindGroup, pipeline: this.device.createPipelineLayout({ bindGroupLayouts: [bindGroup] }) };
      this.#layouts.set(source, layouts);
    }
    return layouts;
  }

  /** What the engine's options force for the choice of this name, if anything. */
  forced(name: string): string | number | undefined {
    return this.#forced[name];
  }

  #checkForced(operation: string): void {
    if (this.#forcedChecked || !knowsChoices()) return;
    checkForced(operation, this.#forced);
    this.#forcedChecked = true;
  }

  /** The variant in force on this adapter; probes the first time. */
  async choose(variants: Variants): Promise<Kernel> {
    if (this.#over) throw this.#over;
    const forced = this.#forced[variants.name];
    if (forced !== undefined) {
      const kernel = variants.kernels[forced];
      if (!kernel)
        throw new TenfoldError(
          `${variants.name}: no variant "${forced}"; there are ${Object.keys(variants.kernels).join(", ")}`,
        );
      return kernel;
    }
    const names = Object.entries(variants.kernels)
      .filter(([, { source }]) =>
        source.features.every((feature) => this.device.features.has(feature as GPUFeatureName)),
      )
      .map(([name]) => name);
    if (names.length === 1) return variants.kernels[names[0]!]!;
    const key = [this.adapterName, variants.name, ...names].join("|");
    for (;;) {
      const others = choices.get(key);
      try {
        if (others) return variants.kernels[await others]!;
      } catch {
        continue; // another engine failed at it, perhaps as its device was lost
      }
      // one probe at a time: they would slow each other down
      const choice = probing.then(() => this.#probe(variants, names));
      probing = choice.then(
        () => {},
        () => {},
      );
      choices.set(key, choice);
      choice.catch(() => choices.delete(key));
      return variants.kernels[await choice]!;
    }
  }

  /** Times every variant on its sample problem, in turn, and names the fastest; enlarges it while it is over at once. */
  async #probe(variants: Variants, all: readonly string[]): Promise<string> {
    let names = all;
    for (let size = 1; ; size *= 2) {
      const candidates: { name: string; warm: number; best: number; schedule: Schedule }[] = [];
      try {
        for (const name of names) {
          const scheduler = this.scheduler(`probe ${variants.name} ${name}`);
          variants.sample(scheduler, variants.kernels[name]!, size);
          const schedule = await scheduler.compile();
          const candidate = { name, warm: 0, best: Number.POSITIVE_INFINITY, schedule };
          candidates.push(candidate);
          candidate.warm = await this.#time(schedule, 1);
        }
        const replays = Math.ceil(Math.min(16, Math.max(1, 10 / Math.max(...candidates.map(({ warm }) => warm)))));
        for (let round = 0; round < 3; round++) {
          for (const candidate of candidates)
            candidate.best = Math.min(candidate.best, await this.#time(candidate.schedule, replays));
        }
      } finally {
        for (const { schedule } of candidates) schedule.destroy();
      }
      // near ties go to the one listed first, so that the choice, and with it the rounding, is the same every time
      const fastest = candidates.reduce((best, other) => (other.best < NEAR * best.best ? other : best));
      names = candidates.filter(({ best }) => best <= HOPELESS * fastest.best).map(({ name }) => name);
      if (names.length === 1 || fastest.best > 8 || size === 8) return fastest.name;
    }
  }

  /** Milliseconds that a schedule takes; not counted among what the engine has done. */
  async #time(schedule: Schedule, times: number): Promise<number> {
    const started = performance.now();
    this.submit(schedule, times);
    this.counters.submits--;
    this.counters.dispatches -= times * schedule.dispatches;
    await this.idle();
    return performance.now() - started;
  }

  /** @internal Throws before anything is allocated where the device cannot hold the tensor. Returns its bytes. */
  checkFits(shape: readonly number[], dtype: DType, label: string): number {
    if (!isList(shape)) checkOption(label, "shape", shape, optionRules.shape);
    if (shape.some((extent) => !Number.isInteger(extent) || extent < 1))
      throw new ShapeError(`${label}: shape ${formatShape(shape)}, every extent must be a positive whole number`);
    const bytes = Math.ceil((sizeOf(shape) * bytesOf(dtype)) / 4) * 4;
    for (const limit of ["maxStorageBufferBindingSize", "maxBufferSize"] as const) {
      const most = this.device.limits[limit];
      if (bytes > most)
        throw new OutOfLimitsError(
          `${label} (${formatShape(shape)} ${dtype}) needs ${formatBytes(bytes)}, the device's ${limit} is ${formatBytes(most)}`,
        );
    }
    return bytes;
  }

  /** @internal Bytes of the buffer that the pool gives for this many. */
  sizeClass(bytes: number): number {
    return this.#pool.sizeFor(bytes);
  }

  /** @internal */
  acquire(bytes: number, label: string): GPUBuffer {
    this.#assertOpen();
    return this.#pool.acquire(bytes, label).buffer;
  }

  /** @internal */
  recycle(buffer: GPUBuffer): void {
    if (!this.#destroyed) this.#pool.release(buffer);
  }

  /** @internal */
  acquireUniforms(bytes: number, label: string): GPUBuffer {
    this.#assertOpen();
    return this.#uniforms.acquire(bytes, label).buffer;
  }

  /** @internal */
  recycleUniforms(buffer: GPUBuffer): void {
    if (!this.#destroyed) this.#uniforms.release(buffer);
  }

  // ---- errors

  /** @internal Runs `work` inside error scopes; an error is kept for the next thing that waits, with its name. */
  guard<T>(label: string, kernels: readonly string[], work: () => T, onError?: () => void): T {
    const { device } = this;
    const filters = ["validation", "out-of-memory", "internal"] as const;
    for (const filter of filters) device.pushErrorScope(filter);
    try {
      return work();
    } finally {
      const popped = Promise.all(filters.map(() => device.popErrorScope())).then(
        (errors) => {
          const error = errors.find(Boolean);
          if (!error) return;
          const of = kernels.length ? ` (kernels: ${kernels.join(", ")})` : "";
          this.#failure ??= new KernelError([...kernels], `${label}${of}: ${error.message}`);
          onError?.();
        },
        () => {}, // the device is gone; `lost` tells
      );
      this.#scopes.add(popped);
      popped.finally(() => this.#scopes.delete(popped));
    }
  }

  /**
   * @internal Waits for the error scopes that are open and throws what they caught. Everyone who waits at that time
   * hears of an error, not only the first: `since` is when one began.
   */
  async settled(since = this.#clock): Promise<void> {
    await this.untilOver(Promise.all([...this.#scopes]));
    if (this.#failure) {
      this.#told = { error: this.#failure, at: ++this.#clock };
      this.#failure = null;
    }
    if (this.#told && this.#told.at > since) throw this.#told.error;
  }

  /** @internal The moment, for `settled`. */
  get now(): number {
    return this.#clock;
  }

  /** @internal `promise`, or a rejection with the reason once the device is lost or the engine destroyed. */
  untilOver<T>(promise: Promise<T>): Promise<T> {
    if (this.#over) {
      promise.catch(() => {});
      return Promise.reject(this.#over);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      promise.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (error) => {
          // a lost device also fails the promise itself, with less to say: give its reason time to arrive
          const patience = error instanceof Error && error.name === "GPUPipelineError" ? 0 : 100;
          setTimeout(() => {
            this.#waiting.delete(reject);
            reject(this.#over ?? error);
          }, patience);
        },
      );
    });
  }

  /** Rejects everything pending, and everything from now on. */
  #end(error: TenfoldError): void {
    this.#over ??= error;
    for (const fail of this.#waiting) fail(this.#over);
    this.#waiting.clear();
  }

  #assertOpen(): void {
    if (this.#over) throw this.#over;
  }

  #assertAlive(what: string, tensor: Tensor): void {
    if (!(tensor instanceof Tensor)) throw new TenfoldError(`${what}: given ${shown(tensor)}, needs a Tensor`);
    if (tensor.engine !== this) throw new TenfoldError(`${what}: ${tensor} belongs to another engine`);
    if (!tensor.storage.alive) throw new TenfoldError(`${what}: ${tensor} was destroyed or released`);
  }

  /** Bytes held on the GPU. */
  memory(): Memory {
    return { ...this.#memory };
  }

  /** Destroys buffers kept for reuse. */
  trim(): void {
    for (const pool of [this.#pool, this.#staging, this.#uniforms]) pool.trim();
  }

  /** Frees what the engine holds and rejects what is pending; destroys the device only if the engine opened it. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#end(new TenfoldError("the engine was destroyed"));
    this.#pipelines.clear();
    this.#layouts.clear();
    for (const pool of [this.#pool, this.#staging, this.#uniforms]) pool.destroy();
    if (this.#ownsDevice) this.device.destroy();
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
