import { dispose } from "./dispose.js";
import type { Engine } from "./engine.js";
import { formatBytes, KernelError, TenfoldError } from "./errors.js";
import { Kernel, type Params, type ShaderSource } from "./kernel.js";
import { checkOption, oneOf, shown } from "./options.js";
import { packAll } from "./params.js";
import type { Profile } from "./profile.js";
import { bytesOf, type DType, dtypes, rowsApart, type Storage, type Tally, Tensor } from "./tensor.js";
import { Variants } from "./variants.js";
import type { GPUBuffer, GPUCommandEncoder, GPUComputePassEncoder } from "./webgpu.js";

/** Tensors by the names that the shader gives its bindings. */
export type Bindings = Record<string, Tensor<DType>>;

interface Recorded {
  kernel: Kernel | Variants;
  bindings: Bindings;
  params: Params;
  group: string;
}

/** A dispatch whose kernel was chosen. */
interface Resolved extends Recorded {
  kernel: Kernel;
}

/** A dispatch ready to be replayed. */
interface Dispatch {
  kernel: Kernel;
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
  paramsOffset: number;
  grid: [number, number, number];
  group: string;
  /** tensors with a tally that it reads; null for most dispatches */
  counted: readonly Tensor<DType>[] | null;
}

/** A tensor at a binding of a dispatch. */
interface Use {
  kernel: string;
  binding: string;
  access: "read" | "read_write";
  tensor: Tensor<DType>;
}

function sourceOf(kernel: Kernel | Variants): ShaderSource {
  if (kernel instanceof Kernel) return kernel.source;
  if (kernel instanceof Variants) return Object.values(kernel.kernels)[0]!.source;
  throw new TenfoldError(`run: given ${shown(kernel)}, needs a Kernel or Variants first`);
}

/** The type that the kernel's constant `scalar` stands for: f32, u32, … */
const scalarOf = (kernel: Kernel | Variants): string =>
  String((kernel instanceof Kernel ? kernel : Object.values(kernel.kernels)[0]!).constants.scalar);

/** The type of the numbers in a binding: f32 of `vec4f`, u32 of `atomic<u32>`. */
const elementOf = (type: string): string =>
  type.replace(/^atomic<(\w+)>$/, "$1").replace(/^vec[234]([fui])$/, (_, letter: string) => `${letter}32`);

/** The type of the numbers that a shader finds in a tensor: smaller ones lie in words of 32 bits. */
const scalarIn = (dtype: DType): string => (bytesOf(dtype) === 4 ? dtype : "u32");

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
    // by what a scheduler needs of an engine: importing the class for `instanceof` would close a circle of imports
    if (typeof engine?.buffers?.checkFits !== "function")
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
  tensor<D extends DType = "f32">(shape: readonly number[], options: { dtype?: D; label?: string } = {}): Tensor<D> {
    this.#assertOpen("tensor");
    const { dtype = "f32" as D, label = "temporary" } = options;
    // without checkOptions, which is slower: every op makes a temporary
    if (!dtypes.includes(dtype)) checkOption("tensor", "dtype", dtype, oneOf(...dtypes));
    for (const name in options)
      if (name !== "dtype" && name !== "label")
        throw new TenfoldError(`tensor: unknown option "${name}"; it has dtype, label`, { code: "OPTION" });
    const { buffers, faults } = this.engine;
    const bytes = buffers.checkFits(shape, dtype, label);
    const size = buffers.storage.sizeFor(bytes);
    const index = this.#free.findIndex(({ buffer }) => buffer.size === size);
    let storage: TemporaryStorage;
    if (index >= 0) {
      // the buffer gets a new storage, so that views of the released tensor stay unusable
      const [old] = this.#free.splice(index, 1);
      storage = new TemporaryStorage(old!.buffer, this);
      this.#temporaries[this.#temporaries.indexOf(old!)] = storage;
    } else {
      faults.assertOpen();
      storage = new TemporaryStorage(buffers.storage.acquire(bytes, label).buffer, this);
      this.#temporaries.push(storage);
    }
    return new Tensor(this.engine, storage, shape, dtype, 0, label);
  }

  /** Ends the life of a temporary of this schedule here; what is recorded later may use its memory. */
  release(...tensors: Tensor<DType>[]): void {
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
  owns({ storage }: Tensor<DType>): boolean {
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
    for (const binding of Object.keys(bindings)) {
      if (!names.includes(binding))
        throw new KernelError(
          [name],
          `${name}: no binding named "${binding}"; it has ${["params", ...names].join(", ")}`,
        );
    }
    for (const param of Object.keys(params)) {
      if (!source.params.some(({ name }) => name === param)) {
        const known = source.params.map((param) => param.name).join(", ");
        throw new KernelError([name], `${name}: no param named "${param}"; it has ${known}`);
      }
    }
    for (const param of source.params) {
      if (!(param.name in params) && !param.name.startsWith("_"))
        throw new KernelError([name], `${name}: param "${param.name}" is missing`);
    }
    const uses = new Map<GPUBuffer, { name: string; access: string; tensor: Tensor<DType> }[]>();
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
      if (tensor.rowStride !== null) throw new KernelError([name], `${name}: ${binding.name} (${rowsApart(tensor)})`);
      const expected = elementOf(binding.scalar === "scalar" ? scalarOf(kernel) : binding.scalar);
      if (["f32", "u32", "i32"].includes(expected) && scalarIn(tensor.dtype) !== expected)
        throw new KernelError([name], `${name}: ${binding.name} (${tensor}) is ${tensor.dtype}, needs ${expected}`);
      const others = uses.get(tensor.held) ?? [];
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
      uses.set(tensor.held, [...others, { name: binding.name, access: binding.access, tensor }]);
    }
    this.#recorded.push({ kernel, bindings: { ...bindings }, params: { ...params }, group: this.#group });
  }

  /** Builds all pipelines at once, writes all params and makes the bind groups. The recording is closed by it. */
  compile(): Promise<Schedule> {
    return this.compileWith((variants) => this.engine.choose(variants));
  }

  /** @internal The same, where `choose` says which kernel of variants is taken. */
  async compileWith(choose: (variants: Variants) => Promise<Kernel>): Promise<Schedule> {
    this.#assertOpen("compile");
    this.#compiled = true;
    try {
      const since = this.engine.faults.now;
      const kernels = await Promise.all(
        this.#recorded.map(({ kernel }) => (kernel instanceof Variants ? choose(kernel) : kernel)),
      );
      const resolved = this.#recorded.map((dispatch, index) => ({ ...dispatch, kernel: kernels[index]! }));
      return await Schedule.build(this, resolved, since, () => this.#freeTemporaries());
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
      this.engine.buffers.storage.release(storage.buffer);
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
  /** one use of every tensor that is not a temporary: somebody else may destroy it */
  readonly #foreign: Use[];
  /** what a replay reads of tensors that are counted */
  readonly #tallied = new Map<Tally, number>();
  readonly #scheduler: Scheduler;

  private constructor(
    scheduler: Scheduler,
    private readonly dispatchList: Dispatch[],
    private readonly uses: Use[],
    private readonly uniforms: GPUBuffer | null,
    private readonly free: () => void,
  ) {
    this.#scheduler = scheduler;
    this.engine = scheduler.engine;
    this.label = scheduler.label;
    this.kernelNames = [...new Set(dispatchList.map(({ kernel }) => kernel.name))];
    const foreign = new Map<Storage, Use>();
    for (const use of uses) if (!scheduler.owns(use.tensor)) foreign.set(use.tensor.storage, use);
    this.#foreign = [...foreign.values()];
    for (const { counted } of dispatchList)
      for (const { storage, size } of counted ?? [])
        this.#tallied.set(storage.tally!, (this.#tallied.get(storage.tally!) ?? 0) + size);
  }

  /** @internal */
  static async build(scheduler: Scheduler, recorded: Resolved[], since: number, free: () => void): Promise<Schedule> {
    const { engine, label } = scheduler;
    const { device, faults, buffers } = engine;
    const pipelines = await Promise.all(recorded.map(({ kernel }) => engine.pipelines.of(kernel)));
    const uses: Use[] = [];
    const packed = packAll(
      recorded.map(({ kernel: { source }, params }) => ({ source, params })),
      device.limits.minUniformBufferOffsetAlignment,
    );
    let uniforms: GPUBuffer | null = null;
    if (packed.bytes.length) {
      faults.assertOpen();
      const buffer = buffers.uniforms.acquire(packed.bytes.length, `${label} params`).buffer;
      uniforms = buffer;
      faults.guard(`${label}: params`, [], () => device.queue.writeBuffer(buffer, 0, packed.bytes));
    }
    const bindGroups = new Map<string, GPUBindGroup>();
    const ids = new Map<GPUBuffer | ShaderSource, number>();
    const idOf = (object: GPUBuffer | ShaderSource): number => {
      const id = ids.get(object) ?? ids.size;
      ids.set(object, id);
      return id;
    };
    const names = [...new Set(recorded.map(({ kernel }) => kernel.name))];
    const bind = () =>
      recorded.map(({ kernel, bindings, params, group }, index): Dispatch => {
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
        let counted: Tensor<DType>[] | null = null;
        for (const { binding, name, access } of source.bindings) {
          const tensor = bindings[name]!;
          uses.push({ kernel: kernel.name, binding: name, access, tensor });
          // a tensor at two bindings of a dispatch, as in the product with itself, is read once
          const isSame = ({ storage, offset }: Tensor<DType>) => storage === tensor.storage && offset === tensor.offset;
          if (tensor.storage.tally && access === "read" && !counted?.some(isSame)) (counted ??= []).push(tensor);
          // shaders read vec4s: bind up to a multiple of 16 bytes where the buffer is that long, else to one of 4
          const rest = Math.floor((tensor.held.size - tensor.offset) / 4) * 4;
          const size = Math.min(Math.ceil(tensor.bytes / 16) * 16, rest);
          key += `|${idOf(tensor.held)}:${tensor.offset}:${size}`;
          entries.push({ binding, resource: { buffer: tensor.held, offset: tensor.offset, size } });
        }
        let bindGroup = bindGroups.get(key);
        if (!bindGroup) {
          bindGroup = device.createBindGroup({
            label: kernel.key,
            layout: engine.pipelines.layouts(source).bindGroup,
            entries,
          });
          bindGroups.set(key, bindGroup);
        }
        return {
          kernel,
          pipeline: pipelines[index]!,
          bindGroup,
          paramsOffset: packed.offsets[index]!,
          grid,
          group,
          counted,
        };
      });
    try {
      const dispatchList = faults.guard(`${label}: bind`, names, bind);
      const schedule = new Schedule(scheduler, dispatchList, uses, uniforms, free);
      await faults.settled(since);
      return schedule;
    } catch (error) {
      if (uniforms) buffers.uniforms.release(uniforms);
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

  /** How many dispatches read this tensor (or a view of it): its traffic in units of its size, if a dispatch reads it once. */
  reads(tensor: Tensor<DType>): number {
    return this.uses.filter(({ access, tensor: used }) => access === "read" && used.storage === tensor.storage).length;
  }

  /**
   * Puts one replay into a host's command encoder, as a compute pass of its own, or into a compute pass that is open
   * (whose pipeline and bind group 0 it changes). Keep the schedule and its tensors until the host has submitted.
   */
  encode(target: GPUCommandEncoder | GPUComputePassEncoder): void {
    this.assertUsable();
    this.engine.clearTensors();
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
    for (const [tally, entries] of this.#tallied) if (only === undefined) tally.entries += entries;
  }

  /** @internal Dispatches `start` to `stop` alone. They share what this schedule holds, and are gone when it is destroyed. */
  part(start: number, stop: number): Schedule {
    return new Schedule(this.#scheduler, this.dispatchList.slice(start, stop), this.uses, null, () => {});
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
    this.engine.clearTensors();
    const { engine, label, dispatchList: dispatches } = this;
    // few programs profile: the others do not load it
    const { timeDispatches } = await import("./profile.js");
    this.assertUsable();
    const record = (pass: GPUComputePassEncoder, index: number): void => this.record(pass, index);
    return await timeDispatches(engine.device, engine.faults, { label, dispatches, record });
  }

  /** Gives temporaries and params back. Tensors of the engine and of the host stay. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.free();
    if (this.uniforms) this.engine.buffers.uniforms.release(this.uniforms);
  }

  [dispose](): void {
    this.destroy();
  }

  /** `cp sweep: 14 dispatches, 1.2 MiB of params` */
  toString(): string {
    return `${this.label}: ${this.dispatches} dispatches, ${formatBytes(this.uniforms?.size ?? 0)} of params`;
  }
}
