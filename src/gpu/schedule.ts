import { dispose } from "./dispose.js";
import type { Engine } from "./engine.js";
import { formatBytes, KernelError, TenfoldError } from "./errors.js";
import { Kernel, type Params, type ShaderSource } from "./kernel.js";
import { checkOption, oneOf, shown } from "./options.js";
import { type DType, type Storage, Tensor } from "./tensor.js";
import { Variants } from "./variants.js";
import type { GPUBuffer, GPUCommandEncoder, GPUComputePassEncoder } from "./webgpu.js";

/** Tensors by the names that the shader gives its bindings. */
export type Bindings = Record<string, Tensor>;

interface Recorded {
  kernel: Kernel | Variants;
  bindings: Bindings;
  params: Params;
  group: string;
}

/** A dispatch ready to be replayed. */
interface Dispatch {
  kernel: Kernel;
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
  paramsOffset: number;
  grid: [number, number, number];
  group: string;
}

/** A tensor at a binding of a dispatch. */
interface Use {
  kernel: string;
  binding: string;
  access: "read" | "read_write";
  tensor: Tensor;
}

function sourceOf(kernel: Kernel | Variants): ShaderSource {
  if (kernel instanceof Kernel) return kernel.source;
  if (kernel instanceof Variants) return Object.values(kernel.kernels)[0]!.source;
  throw new TenfoldError(`run: given ${shown(kernel)}, needs a Kernel or Variants first`);
}

/** what the constant `scalar` stands for */
const scalarOf = (kernel: Kernel | Variants): string =>
  String((kernel instanceof Kernel ? kernel : Object.values(kernel.kernels)[0]!).constants.scalar);

/** f32, u32, … of what a kernel's binding is an array of */
const elementOf = (type: string): string =>
  type.replace(/^atomic<(\w+)>$/, "$1").replace(/^vec[234]([fui])$/, (_, letter: string) => `${letter}32`);

const dtypeScalars: Record<DType, string> = { f32: "f32", u32: "u32", i32: "i32", u8: "u32" };

/**
 * What an op writes to: dispatches and temporaries, in order. `compile()` turns the recording into a {@link Schedule}.
 * Temporaries are uninitialised; a released one may serve again for a later `tensor` of its size class.
 */
export class Scheduler {
  readonly #recorded: Recorded[] = [];
  readonly #temporaries: TemporaryStorage[] = [];
  #free: TemporaryStorage[] = [];
  #group = "";
  #compiled = false;

  constructor(
    readonly engine: Engine,
    readonly label = "schedule",
  ) {
    // by what it needs of one: importing the class would close a circle
    if (typeof engine?.checkFits !== "function")
      throw new TenfoldError(`new Scheduler: engine is ${shown(engine)}, needs an Engine`);
  }

  /** Bytes of the buffers behind all temporaries so far: the peak, as released ones are used again. */
  get temporaryBytes(): number {
    return this.#temporaries.reduce((bytes, { buffer }) => bytes + buffer.size, 0);
  }

  /** Number of dispatches recorded so far. */
  get dispatches(): number {
    return this.#recorded.length;
  }

  /** An uninitialised temporary, alive until `release` or the end of the schedule. */
  tensor(shape: readonly number[], options: { dtype?: DType; label?: string } = {}): Tensor {
    this.#assertOpen("tensor");
    const { dtype = "f32", label = "temporary" } = options;
    // not by checkOptions: schedules make one for every op
    if (!(dtype in dtypeScalars)) checkOption("tensor", "dtype", dtype, oneOf(...Object.keys(dtypeScalars)));
    for (const name in options)
      if (name !== "dtype" && name !== "label")
        throw new TenfoldError(`tensor: unknown option "${name}"; it has dtype, label`);
    const bytes = this.engine.checkFits(shape, dtype, label);
    const size = this.engine.sizeClass(bytes);
    const index = this.#free.findIndex(({ buffer }) => buffer.size === size);
    let storage: TemporaryStorage;
    if (index >= 0) {
      // a new life of the same buffer: views of the old one stay dead
      const [old] = this.#free.splice(index, 1);
      storage = new TemporaryStorage(old!.buffer, this);
      this.#temporaries[this.#temporaries.indexOf(old!)] = storage;
    } else {
      storage = new TemporaryStorage(this.engine.acquire(bytes, label), this);
      this.#temporaries.push(storage);
    }
    return new Tensor(this.engine, storage, shape, dtype, 0, label);
  }

  /** Ends the life of a temporary of this schedule here; what is recorded later may use its memory. */
  release(...tensors: Tensor[]): void {
    this.#assertOpen("release");
    for (const tensor of tensors) {
      if (!(tensor instanceof Tensor)) throw new TenfoldError(`release: given ${shown(tensor)}, needs Tensors`);
      const { storage } = tensor;
      if (!(storage instanceof TemporaryStorage && storage.scheduler === this))
        throw new TenfoldError(`release: ${tensor} is not a temporary of ${this.label}`);
      if (!storage.alive) throw new TenfoldError(`release: ${tensor} was released before`);
      storage.alive = false;
      this.#free.push(storage);
    }
  }

  /** @internal */
  owns({ storage }: Tensor): boolean {
    return storage instanceof TemporaryStorage && storage.scheduler === this;
  }

  /** Names the dispatches recorded by `record` in profiles: `s.group("conv1", () => …)`. */
  group<T>(name: string, record: () => T): T {
    const outer = this.#group;
    this.#group = outer ? `${outer}/${name}` : name;
    try {
      return record();
    } finally {
      this.#group = outer;
    }
  }

  /** Records one dispatch. Bindings go by the shader's names; `params` by the members of its params struct. */
  run(kernel: Kernel | Variants, bindings: Bindings, params: Params = {}): void {
    this.#assertOpen("run");
    const source = sourceOf(kernel);
    const { name } = source;
    if (typeof bindings !== "object" || bindings === null || bindings instanceof Tensor)
      throw new KernelError([name], `${name}: bindings are ${shown(bindings)}, needs tensors by name`);
    const names = source.bindings.map((binding) => binding.name);
    for (const given of Object.keys(bindings)) {
      if (!names.includes(given))
        throw new KernelError(
          [name],
          `${name}: no binding named "${given}"; it has ${["params", ...names].join(", ")}`,
        );
    }
    for (const given of Object.keys(params)) {
      if (!source.params.some((param) => param.name === given)) {
        const has = source.params.map((param) => param.name).join(", ");
        throw new KernelError([name], `${name}: no param named "${given}"; it has ${has}`);
      }
    }
    for (const param of source.params) {
      if (!(param.name in params) && !param.name.startsWith("_"))
        throw new KernelError([name], `${name}: param "${param.name}" is missing`);
    }
    const uses = new Map<GPUBuffer, { name: string; access: string; tensor: Tensor }[]>();
    for (const binding of source.bindings) {
      const tensor = bindings[binding.name];
      if (!tensor) throw new KernelError([name], `${name}: binding "${binding.name}" is missing`);
      if (tensor.engine !== this.engine)
        throw new KernelError(
          [name],
          tensor instanceof Tensor
            ? `${name}: ${binding.name} (${tensor}) belongs to another engine`
            : `${name}: ${binding.name} is ${shown(tensor)}, needs a Tensor; engine.tensor(shape, data) makes one`,
        );
      if (!tensor.storage.alive)
        throw new KernelError([name], `${name}: ${binding.name} (${tensor}) was destroyed or released before this use`);
      const expected = elementOf(binding.scalar === "scalar" ? scalarOf(kernel) : binding.scalar);
      if (["f32", "u32", "i32"].includes(expected) && dtypeScalars[tensor.dtype] !== expected)
        throw new KernelError([name], `${name}: ${binding.name} (${tensor}) is ${tensor.dtype}, needs ${expected}`);
      const others = uses.get(tensor.buffer) ?? [];
      for (const other of others) {
        const overlap =
          other.tensor.offset < tensor.offset + tensor.bytes &&
          tensor.offset < other.tensor.offset + other.tensor.bytes;
        if (other.access !== binding.access || (binding.access === "read_write" && overlap))
          throw new KernelError(
            [name],
            `${name}: ${other.name} and ${binding.name} share a buffer and one of them is written; WebGPU needs two buffers`,
          );
      }
      uses.set(tensor.buffer, [...others, { name: binding.name, access: binding.access, tensor }]);
    }
    this.#recorded.push({ kernel, bindings: { ...bindings }, params: { ...params }, group: this.#group });
  }

  /** Builds all pipelines at once, writes all params and makes the bind groups. The recording is closed by it. */
  async compile(): Promise<Schedule> {
    this.#assertOpen("compile");
    this.#compiled = true;
    try {
      return await Schedule.build(this, this.#recorded, () => this.#freeTemporaries());
    } catch (error) {
      this.#freeTemporaries();
      throw error;
    }
  }

  /** Drops a recording that will not be compiled, and its temporaries. */
  destroy(): void {
    if (this.#compiled) return;
    this.#compiled = true;
    this.#freeTemporaries();
  }

  [dispose](): void {
    this.destroy();
  }

  #freeTemporaries(): void {
    for (const storage of this.#temporaries.splice(0)) {
      storage.alive = false;
      this.engine.recycle(storage.buffer);
    }
    this.#free = [];
  }

  #assertOpen(what: string): void {
    if (this.#compiled) throw new TenfoldError(`${what}: ${this.label} is closed; record into a new Scheduler`);
  }
}

class TemporaryStorage implements Storage {
  readonly owner = "schedule";
  alive = true;
  constructor(
    readonly buffer: GPUBuffer,
    readonly scheduler: Scheduler,
  ) {}
  release(): void {
    throw new TenfoldError("a temporary is freed by its schedule");
  }
}

/** Time of the dispatches of one kernel in one group. */
export interface ProfileRow {
  kernel: string;
  group: string;
  dispatches: number;
  /** milliseconds, summed */
  ms: number;
}

export interface Profile {
  /** how it was measured; wall clock includes a submit per dispatch */
  by: "timestamps" | "wall clock";
  rows: ProfileRow[];
  /** milliseconds of all dispatches */
  ms: number;
}

/**
 * A compiled recording: one uniform buffer, bind groups made once, replayed as often as wanted by `engine.submit` or
 * inside a host's frame by `encode`.
 */
export class Schedule {
  #destroyed = false;

  readonly engine: Engine;
  readonly label: string;
  /** @internal names of the kernels, each once */
  readonly kernelNames: readonly string[];
  /** one use of every tensor that somebody else may destroy */
  readonly #foreign: Use[];

  private constructor(
    private readonly scheduler: Scheduler,
    private readonly dispatchList: Dispatch[],
    private readonly uses: Use[],
    private readonly uniforms: GPUBuffer | null,
    private readonly free: () => void,
  ) {
    this.engine = scheduler.engine;
    this.label = scheduler.label;
    this.kernelNames = [...new Set(dispatchList.map(({ kernel }) => kernel.name))];
    const foreign = new Map<Storage, Use>();
    for (const use of uses) if (!scheduler.owns(use.tensor)) foreign.set(use.tensor.storage, use);
    this.#foreign = [...foreign.values()];
  }

  /** @internal */
  static async build(scheduler: Scheduler, recorded: Recorded[], free: () => void): Promise<Schedule> {
    const { engine, label } = scheduler;
    const since = engine.now;
    const kernels = await Promise.all(
      recorded.map(({ kernel }) => (kernel instanceof Variants ? engine.choose(kernel) : kernel)),
    );
    const pipelines = await Promise.all(kernels.map((kernel) => engine.pipeline(kernel)));
    const { device } = engine;
    const uses: Use[] = [];
    const alignment = device.limits.minUniformBufferOffsetAlignment;
    const blocks: ArrayBuffer[] = [];
    const offsets = new Map<string, number>();
    let end = 0;
    const placed = recorded.map(({ params }, index) => {
      const block = packParams(kernels[index]!.source, params);
      const key = `${block.byteLength}:${new Uint32Array(block).join()}`;
      let offset = offsets.get(key);
      if (offset === undefined) {
        offset = end;
        offsets.set(key, offset);
        blocks.push(block);
        end += Math.ceil(block.byteLength / alignment) * alignment;
      }
      return offset;
    });
    let uniforms: GPUBuffer | null = null;
    if (end) {
      uniforms = engine.acquireUniforms(end, `${label} params`);
      const all = new Uint8Array(end);
      let at = 0;
      for (const block of blocks) {
        all.set(new Uint8Array(block), at);
        at += Math.ceil(block.byteLength / alignment) * alignment;
      }
      const target = uniforms;
      engine.guard(`${label}: params`, [], () => device.queue.writeBuffer(target, 0, all));
    }
    const bindGroups = new Map<string, GPUBindGroup>();
    const ids = new Map<GPUBuffer | ShaderSource, number>();
    const idOf = (object: GPUBuffer | ShaderSource): number => {
      const id = ids.get(object) ?? ids.size;
      ids.set(object, id);
      return id;
    };
    const names = [...new Set(kernels.map(({ name }) => name))];
    const bind = () =>
      recorded.map(({ bindings, params, group }, index): Dispatch => {
        const kernel = kernels[index]!;
        const { source } = kernel;
        const grid = kernel.workgroups(params);
        const limit = device.limits.maxComputeWorkgroupsPerDimension;
        if (grid.some((count) => !(Number.isInteger(count) && count >= 1 && count <= limit)))
          throw new KernelError(
            [kernel.name],
            `${kernel.key}: grid ${grid.join("×")}, needs 1 to ${limit} a dimension`,
          );
        const entries: GPUBindGroupEntry[] = [
          { binding: 0, resource: { buffer: uniforms!, offset: 0, size: source.paramsSize } },
        ];
        let key = `${idOf(source)}`;
        for (const { binding, name, access } of source.bindings) {
          const tensor = bindings[name]!;
          uses.push({ kernel: kernel.name, binding: name, access, tensor });
          // whole vec4s where the buffer goes on; whole words in any case
          const rest = Math.floor((tensor.buffer.size - tensor.offset) / 4) * 4;
          const size = Math.min(Math.ceil(tensor.bytes / 16) * 16, rest);
          key += `|${idOf(tensor.buffer)}:${tensor.offset}:${size}`;
          entries.push({ binding, resource: { buffer: tensor.buffer, offset: tensor.offset, size } });
        }
        let bindGroup = bindGroups.get(key);
        if (!bindGroup) {
          bindGroup = device.createBindGroup({ label: kernel.key, layout: engine.layouts(source).bindGroup, entries });
          bindGroups.set(key, bindGroup);
        }
        return { kernel, pipeline: pipelines[index]!, bindGroup, paramsOffset: placed[index]!, grid, group };
      });
    try {
      const dispatchList = engine.guard(`${label}: bind`, names, bind);
      const schedule = new Schedule(scheduler, dispatchList, uses, uniforms, free);
      await engine.settled(since);
      return schedule;
    } catch (error) {
      if (uniforms) engine.recycleUniforms(uniforms);
      throw error; // compile() frees the temporaries
    }
  }

  /** Number of dispatches a replay. */
  get dispatches(): number {
    return this.dispatchList.length;
  }

  /** The kernels in order, with their constants. */
  get kernels(): string[] {
    return this.dispatchList.map(({ kernel }) => kernel.key);
  }

  /** How many dispatches read this tensor (or a view of it): its traffic in units of its size, where each reads it once. */
  reads(tensor: Tensor): number {
    return this.uses.filter(({ access, tensor: used }) => access === "read" && used.storage === tensor.storage).length;
  }

  /**
   * Puts one replay into a host's command encoder, as a compute pass of its own, or into a compute pass that is open
   * (whose pipeline and bind group 0 it changes). Keep the schedule and its tensors until the host has submitted.
   */
  encode(target: GPUCommandEncoder | GPUComputePassEncoder): void {
    this.assertUsable();
    if ("beginComputePass" in target) {
      const pass = target.beginComputePass({ label: this.label });
      this.record(pass);
      pass.end();
    } else this.record(target);
  }

  /** @internal */
  record(pass: GPUComputePassEncoder, only?: number): void {
    let current: GPUComputePipeline | null = null;
    const list = only === undefined ? this.dispatchList : [this.dispatchList[only]!];
    for (const { pipeline, bindGroup, paramsOffset, grid } of list) {
      if (pipeline !== current) pass.setPipeline((current = pipeline));
      pass.setBindGroup(0, bindGroup, [paramsOffset]);
      pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
    }
  }

  /** @internal Dispatches `start` to `stop` alone. They share what this schedule holds, and are gone when it is destroyed. */
  part(start: number, stop: number): Schedule {
    return new Schedule(this.scheduler, this.dispatchList.slice(start, stop), this.uses, null, () => {});
  }

  /** @internal Throws where the schedule, or a tensor that it uses, is gone. */
  assertUsable(): void {
    if (this.#destroyed) throw new TenfoldError(`${this.label}: the schedule was destroyed`);
    for (const { kernel, binding, tensor } of this.#foreign) {
      if (!tensor.storage.alive)
        throw new KernelError([kernel], `${this.label}: ${kernel}'s ${binding} (${tensor}) was destroyed`);
    }
  }

  /** Runs once and times every dispatch: by timestamps where the device has them, else by wall clock. */
  async profile(): Promise<Profile> {
    this.assertUsable();
    const { engine } = this;
    const by = engine.device.features.has("timestamp-query") ? "timestamps" : "wall clock";
    const times = by === "timestamps" ? await this.#timestamps() : await this.#wallClock();
    const rows = new Map<string, ProfileRow>();
    this.dispatchList.forEach(({ kernel, group }, index) => {
      const key = `${group}|${kernel.key}`;
      const row = rows.get(key) ?? { kernel: kernel.key, group, dispatches: 0, ms: 0 };
      row.dispatches++;
      row.ms += times[index]!;
      rows.set(key, row);
    });
    return { by, rows: [...rows.values()], ms: times.reduce((sum, ms) => sum + ms, 0) };
  }

  async #timestamps(): Promise<number[]> {
    const { device } = this.engine;
    const since = this.engine.now;
    const times: number[] = [];
    const most = 2048; // queries a set: WebGPU's limit is 4096
    for (let start = 0; start < this.dispatches; start += most) {
      const count = Math.min(most, this.dispatches - start);
      const made: { destroy(): void }[] = [];
      const keep = <T extends { destroy(): void }>(object: T): T => {
        made.push(object);
        return object;
      };
      try {
        const { mapped, mapping } = this.engine.guard(`${this.label}: profile`, this.kernelNames, () => {
          const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPU_USAGE;
          const size = 16 * count;
          const querySet = keep(device.createQuerySet({ type: "timestamp", count: 2 * count }));
          const resolved = keep(device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC }));
          const mapped = keep(device.createBuffer({ size, usage: MAP_READ | COPY_DST }));
          const encoder = device.createCommandEncoder();
          for (let index = 0; index < count; index++) {
            const pass = encoder.beginComputePass({
              timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * index, endOfPassWriteIndex: 2 * index + 1 },
            });
            this.record(pass, start + index);
            pass.end();
          }
          encoder.resolveQuerySet(querySet, 0, 2 * count, resolved, 0);
          encoder.copyBufferToBuffer(resolved, 0, mapped, 0, size);
          device.queue.submit([encoder.finish()]);
          return { mapped, mapping: mapped.mapAsync(1) };
        });
        await this.engine.untilOver(mapping);
        const stamps = new BigInt64Array(mapped.getMappedRange());
        for (let index = 0; index < count; index++) {
          // clocks may step back: a dispatch takes no less than nothing
          times.push(Math.max(0, Number(stamps[2 * index + 1]! - stamps[2 * index]!) / 1e6));
        }
      } finally {
        for (const object of made) object.destroy();
      }
    }
    await this.engine.settled(since);
    return times;
  }

  async #wallClock(): Promise<number[]> {
    const { device } = this.engine;
    const since = this.engine.now;
    const times: number[] = [];
    for (let index = 0; index < this.dispatches; index++) {
      const started = performance.now();
      this.engine.guard(`${this.label}: profile`, [this.dispatchList[index]!.kernel.name], () => {
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        this.record(pass, index);
        pass.end();
        device.queue.submit([encoder.finish()]);
      });
      await this.engine.untilOver(device.queue.onSubmittedWorkDone());
      times.push(performance.now() - started);
    }
    await this.engine.settled(since);
    return times;
  }

  /** Gives temporaries and params back. Tensors of the engine and of the host stay. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.free();
    if (this.uniforms) this.engine.recycleUniforms(this.uniforms);
  }

  [dispose](): void {
    this.destroy();
  }

  /** `cp sweep: 14 dispatches, 1.2 MiB of params` */
  toString(): string {
    return `${this.label}: ${this.dispatches} dispatches, ${formatBytes(this.uniforms?.size ?? 0)} of params`;
  }
}

/** GPUBufferUsage's numbers: Node has no such global. */
export const GPU_USAGE = {
  MAP_READ: 0x1,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  QUERY_RESOLVE: 0x200,
} as const;

const RANGES = {
  u32: "a whole number from 0 to 2³² − 1",
  i32: "a whole number from −2³¹ to 2³¹ − 1",
  f32: "a finite number in the range of f32",
};

/** Writes params into the bytes that the shader's struct lays out. */
export function packParams(source: ShaderSource, params: Params): ArrayBuffer {
  const block = new ArrayBuffer(source.paramsSize);
  const views = { u32: new Uint32Array(block), i32: new Int32Array(block), f32: new Float32Array(block) };
  for (const { name, scalar, offset, length, stride } of source.params) {
    if (!(name in params)) continue;
    const value = params[name]!;
    const view = views[scalar];
    const values = typeof value === "number" ? [value] : value;
    const step = stride > 1 && length / stride === values.length ? stride : 1;
    if (values.length * step > length)
      throw new KernelError(
        [source.name],
        `${source.name}: param "${name}" holds ${length} values, given ${values.length}`,
      );
    values.forEach((item, index) => {
      const at = offset / 4 + index * step;
      view[at] = item;
      // what does not survive the way there was no u32 or i32, or is too large
      if (!Number.isFinite(item) || (scalar === "f32" ? !Number.isFinite(view[at]) : view[at] !== item))
        throw new KernelError([source.name], `${source.name}: param "${name}" is ${item}, needs ${RANGES[scalar]}`);
    });
  }
  return block;
}
