import { KernelError, TenfoldError } from "./errors.js";
import type { Faults } from "./faults.js";
import type { Kernel, ShaderSource } from "./kernel.js";
import { COMPUTE_STAGE, type GPUDevice } from "./webgpu.js";

interface Layouts {
  bindGroup: GPUBindGroupLayout;
  pipeline: GPUPipelineLayout;
}

/** What a device has compiled and is compiling, by shader and then by the kernel's key (two shaders may have the same name). */
interface Compiled {
  pipelines: Map<ShaderSource, Map<string, Promise<GPUComputePipeline>>>;
  layouts: Map<ShaderSource, Layouts>;
}

/** Engines on one device share what it has compiled, which stays for as long as the device does. */
const devices = new WeakMap<GPUDevice, Compiled>();

/** Compiles a kernel; rejects with a {@link KernelError} where its WGSL is wrong, and with the device's error otherwise. */
async function compile(
  device: GPUDevice,
  kernel: Kernel,
  layoutOf: () => GPUPipelineLayout,
): Promise<GPUComputePipeline> {
  if (kernel.source.load) await kernel.source.load();
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: kernel.key, code: kernel.code });
  const pipeline = device.createComputePipelineAsync({
    label: kernel.key,
    layout: layoutOf(),
    compute: { module, entryPoint: "main" },
  });
  const scope = device.popErrorScope();
  pipeline.catch(() => {});
  const error = await scope;
  if (error) throw new KernelError([kernel.name], `${kernel.key}: ${error.message}`);
  return await pipeline;
}

/** The value of `key`, made where there is none. */
function upsert<K, V>(map: { get(key: K): V | undefined; set(key: K, value: V): unknown }, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** @internal The pipelines of an engine, one for each kernel's shader and constants, and the layouts of their bindings. */
export class Pipelines {
  /** those that this engine asked for; each ends with the engine */
  readonly #pipelines = new Map<ShaderSource, Map<string, Promise<GPUComputePipeline>>>();
  readonly #compiled: Compiled;
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #counters: { pipelines: number };

  /** @param counters its `pipelines` counts those that this engine asked for */
  constructor(device: GPUDevice, faults: Faults, counters: { pipelines: number }) {
    this.#device = device;
    this.#faults = faults;
    this.#counters = counters;
    this.#compiled = upsert(
      devices,
      device,
      (): Compiled => ({
        pipelines: new Map(),
        layouts: new Map(),
      }),
    );
  }

  /** The pipeline of a kernel: compiled, compiling, or started now. One that failed is tried again when asked for again. */
  of(kernel: Kernel): Promise<GPUComputePipeline> {
    if (this.#faults.over) return Promise.reject(this.#faults.over);
    const pipelines = upsert(this.#pipelines, kernel.source, () => new Map<string, Promise<GPUComputePipeline>>());
    let pipeline = pipelines.get(kernel.key);
    if (!pipeline) {
      for (const feature of kernel.source.features) {
        if (!this.#device.features.has(feature as GPUFeatureName))
          return Promise.reject(
            new KernelError([kernel.name], `${kernel.key}: needs the feature ${feature}, which the device lacks`),
          );
      }
      this.#counters.pipelines++;
      pipeline = this.#faults.untilOver(this.#shared(kernel)).catch((error: Error) => {
        if (error instanceof TenfoldError) throw error;
        throw new KernelError([kernel.name], `${kernel.key}: ${error.message}`, { cause: error });
      });
      pipelines.set(kernel.key, pipeline);
      pipeline.catch(() => pipelines.delete(kernel.key));
    }
    return pipeline;
  }

  /** The device's pipeline of a kernel, which does not end with the engine. */
  #shared(kernel: Kernel): Promise<GPUComputePipeline> {
    const pipelines = upsert(this.#compiled.pipelines, kernel.source, () => new Map());
    return upsert(pipelines, kernel.key, () => {
      const pipeline = compile(this.#device, kernel, () => this.layouts(kernel.source).pipeline);
      pipeline.catch(() => pipelines.delete(kernel.key));
      return pipeline;
    });
  }

  /** The layouts of a shader's bindings. */
  layouts(source: ShaderSource): Layouts {
    return upsert(this.#compiled.layouts, source, () => {
      const bindGroup = this.#device.createBindGroupLayout({
        label: source.name,
        entries: [
          {
            binding: 0,
            visibility: COMPUTE_STAGE,
            buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: source.paramsSize },
          },
          ...source.bindings.map(({ binding, access }) => ({
            binding,
            visibility: COMPUTE_STAGE,
            buffer: { type: access === "read" ? ("read-only-storage" as const) : ("storage" as const) },
          })),
        ],
      });
      return { bindGroup, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [bindGroup] }) };
    });
  }

  clear(): void {
    this.#pipelines.clear();
  }
}
