import { DeviceLostError, KernelError } from "./errors.js";
import type { Faults } from "./faults.js";
import type { Kernel, ShaderSource } from "./kernel.js";
import { COMPUTE_STAGE, type GPUDevice } from "./webgpu.js";

interface Layouts {
  bindGroup: GPUBindGroupLayout;
  pipeline: GPUPipelineLayout;
}

/** @internal The pipelines of a device, one for each kernel's shader and constants, and the layouts of their bindings. */
export class Pipelines {
  /** compiled and compiling, by shader and then by the kernel's key: two shaders may have the same name */
  readonly #pipelines = new Map<ShaderSource, Map<string, Promise<GPUComputePipeline>>>();
  readonly #layouts = new Map<ShaderSource, Layouts>();
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #counters: { pipelines: number };

  /** @param counters its `pipelines` counts those that were started */
  constructor(device: GPUDevice, faults: Faults, counters: { pipelines: number }) {
    this.#device = device;
    this.#faults = faults;
    this.#counters = counters;
  }

  /** The pipeline of a kernel: compiled, compiling, or started now. One that failed is tried again when asked for again. */
  of(kernel: Kernel): Promise<GPUComputePipeline> {
    if (this.#faults.over) return Promise.reject(this.#faults.over);
    let pipelines = this.#pipelines.get(kernel.source);
    if (!pipelines) this.#pipelines.set(kernel.source, (pipelines = new Map()));
    let pipeline = pipelines.get(kernel.key);
    if (!pipeline) {
      for (const feature of kernel.source.features) {
        if (!this.#device.features.has(feature as GPUFeatureName))
          return Promise.reject(
            new KernelError([kernel.name], `${kernel.key}: needs the feature ${feature}, which the device lacks`),
          );
      }
      this.#counters.pipelines++;
      pipeline = this.#compile(kernel);
      pipelines.set(kernel.key, pipeline);
      pipeline.catch(() => pipelines.delete(kernel.key));
    }
    return pipeline;
  }

  async #compile(kernel: Kernel): Promise<GPUComputePipeline> {
    const device = this.#device;
    if (kernel.source.load) await kernel.source.load();
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
    const error = await this.#faults.untilOver(scope);
    if (error) throw new KernelError([kernel.name], `${kernel.key}: ${error.message}`);
    try {
      return await this.#faults.untilOver(pipeline);
    } catch (error) {
      if (error instanceof DeviceLostError) throw error;
      throw new KernelError([kernel.name], `${kernel.key}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** The layouts of a shader's bindings. */
  layouts(source: ShaderSource): Layouts {
    let layouts = this.#layouts.get(source);
    if (!layouts) {
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
      layouts = { bindGroup, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [bindGroup] }) };
      this.#layouts.set(source, layouts);
    }
    return layouts;
  }

  clear(): void {
    this.#pipelines.clear();
    this.#layouts.clear();
  }
}
