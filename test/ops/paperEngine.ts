/** Engines on adapters that are not here: ops record on them as they would there, and nothing runs. */
import { Engine, type EngineOptions, Kernel, type Params, type Scheduler, type Variants } from "../../src/gpu/index.js";

export interface PaperAdapter {
  vendor?: string;
  architecture?: string;
  description?: string;
  /** invocations of a subgroup at least and at most; without them the device lacks the feature */
  subgroups?: readonly [least: number, most: number];
  /** bytes that a binding may have, more than any by default */
  bindingBytes?: number;
}

export const PAPER = {
  swiftshader: { vendor: "google", architecture: "swiftshader", subgroups: [4, 4] },
  lavapipe: { vendor: "mesa", description: "llvmpipe (LLVM 15.0.7, 256 bits)", subgroups: [8, 8] },
  gpu: { vendor: "nvidia", architecture: "hopper", subgroups: [32, 32] },
} satisfies Record<string, PaperAdapter>;

/** An engine on such an adapter. */
export function paperEngine(adapter: PaperAdapter, options: EngineOptions = {}): Engine {
  const { vendor = "", architecture = "", description = "", subgroups, bindingBytes = 2 ** 34 } = adapter;
  const [subgroupMinSize, subgroupMaxSize] = subgroups ?? [4, 128];
  const device = {
    adapterInfo: { vendor, architecture, device: "", description, subgroupMinSize, subgroupMaxSize },
    features: new Set(subgroups ? ["subgroups"] : []),
    limits: {
      maxBufferSize: Math.max(2 ** 28, bindingBytes),
      maxStorageBufferBindingSize: bindingBytes,
      minStorageBufferOffsetAlignment: 256,
      minUniformBufferOffsetAlignment: 256,
      maxComputeWorkgroupsPerDimension: 65535,
    },
    lost: new Promise(() => {}),
    queue: { submit() {}, writeBuffer() {} },
    createBuffer: ({ size, usage, label }: GPUBufferDescriptor) => ({ size, usage, label, destroy() {} }),
    createCommandEncoder: () => ({ clearBuffer() {}, finish: () => ({}) }),
    pushErrorScope() {},
    popErrorScope: async () => null,
  };
  return new Engine(device as unknown as GPUDevice, options);
}

/** Params that a choice sets; the others follow from shapes. */
const CHOSEN = /^(splits|parts|share|part_length|at_once)$|chunk$/;

function describeDispatch(kernel: Kernel, params: Params): string {
  const chosen = Object.entries(params).filter(([name]) => CHOSEN.test(name));
  const listed = chosen.map(([name, value]) => ` ${name}=${value}`).join("");
  const [x, y, z] = kernel.workgroups(params);
  return `${kernel.key} [${[x, ...(y > 1 || z > 1 ? [y] : []), ...(z > 1 ? [z] : [])].join("×")}]${listed}`;
}

/** What an op records on an engine: a line a dispatch, kernels that are still to be probed behind their names. */
export function recordingOf(engine: Engine, record: (s: Scheduler) => unknown): string[] {
  const s = engine.scheduler("paper");
  const lines = new Map<string, number>();
  const run = s.run.bind(s);
  s.run = (kernel: Kernel | Variants, bindings, params = {}) => {
    run(kernel, bindings, params);
    const line =
      kernel instanceof Kernel
        ? describeDispatch(kernel, params)
        : Object.entries(kernel.kernels)
            .map(([name, one]) => `${kernel.name} ${name}: ${describeDispatch(one, params)}`)
            .join(" | ");
    lines.set(line, (lines.get(line) ?? 0) + 1);
  };
  const result = record(s);
  s.destroy();
  const said = typeof result === "object" && result !== null && "engine" in result ? [] : [result].flat();
  return [
    ...[...lines].map(([line, count]) => (count > 1 ? `${count} × ${line}` : line)),
    ...said.filter((value) => ["boolean", "string", "number"].includes(typeof value)).map((value) => `→ ${value}`),
  ];
}
