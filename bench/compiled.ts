/**
 * `npm run bench -- --compiled`: what a GPU's compiler makes of the cases' kernels, without a GPU. Mesa's driver for AMD GPUs, RADV,
 * compiles for a device that is not there (RADV_FORCE_FAMILY) and prints registers and code (RADV_DEBUG); a child process
 * runs under it. What it shows holds for other GPUs too: arrays in memory because a loop was not unrolled, registers that
 * leave room for few waves, instructions beside the multiply-adds.
 */
import { spawnSync } from "node:child_process";
import { type Constants, Engine, type Kernel, Variants } from "../src/gpu/index.js";
import { installedDrivers } from "../src/node/driver.js";
import { type Case, operandsOf } from "./case.js";
import { plainGrid } from "./report.js";

/** Others of Mesa 25's make Dawn crash. */
const FAMILY = "polaris10";
const MARK = "@@@ ";

export interface Compiled {
  case: string;
  kernel: string;
  registers: number;
  /** waves of 64 invocations that fit on a SIMD unit, of 8 to 10 */
  waves: number;
  /** bytes of workgroup memory */
  workgroupMemory: number;
  /** bytes of memory for registers and arrays that have no place, an invocation */
  scratch: number;
  instructions: number;
  /** of the stretch without branches that has the most multiply-adds: those, and all instructions that a vector unit gets */
  densest: { multiplyAdds: number; vector: number };
}

/** In this process: compiles and lets the driver print. */
export async function compileAll(cases: readonly Case[]): Promise<void> {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  const gpu = create(["backend=vulkan"]);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error("RADV opens no device here");
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: ["subgroups"],
    requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
  });
  // it has no memory, and none is needed to compile
  device.createBuffer = ({ size, usage, label }) =>
    ({ size, usage, label, destroy() {} }) as Partial<GPUBuffer> as GPUBuffer;
  // what GPUs run
  const variants = { matmul: "tiled", mttkrp: "tiled", kruskal: "register", residual: "register" };
  const engine = new Engine(device, { variants });
  const seen = new Set<string>();
  for (const { name, work, run } of cases) {
    // sweeps and training run as they are prepared
    if (!run) continue;
    const s = engine.scheduler(name);
    const kernels: (Kernel | Variants)[] = [];
    const record = s.run.bind(s);
    s.run = (kernel, ...rest) => {
      kernels.push(kernel);
      return record(kernel, ...rest);
    };
    run(
      s,
      operandsOf(work).map(({ shape }) => s.tensor(shape)),
    );
    for (const either of kernels) {
      const kernel = either instanceof Variants ? await engine.choose(either) : either;
      const words = [kernel.name, ...Object.entries(kernel.constants).flatMap(spoken)].join(" ");
      if (seen.has(words)) continue;
      seen.add(words);
      process.stderr.write(`\n${MARK}${name}\t${words}\n`);
      await engine.pipelines.of(kernel);
    }
  }
}

const spoken = ([name, value]: [string, Constants[string]]): string[] =>
  value === true ? [name] : value ? [`${name} ${value}`] : [];

/** What RADV_DEBUG=asm,shaderstats printed of each marked kernel. */
export function readCompiled(text: string): Compiled[] {
  return text.split(`\n${MARK}`).flatMap((part): Compiled[] => {
    const [first, ...lines] = part.split("\n");
    const [name, kernel] = first!.split("\t");
    const at = lines.indexOf("disasm:");
    const stats = lines.lastIndexOf("*** SHADER STATS ***");
    if (at < 0 || stats < 0) return [];
    const stat = (label: string): number => Number(new RegExp(`^${label}: (\\d+)`, "m").exec(part)?.[1]);
    let densest = { multiplyAdds: 0, vector: 0 };
    let block = { ...densest };
    for (const line of lines.slice(at, stats)) {
      if (/^BB\d+:/.test(line)) block = { multiplyAdds: 0, vector: 0 };
      const [, instruction] = /^\t(\w+)/.exec(line) ?? [];
      if (!instruction || !/^(v|ds|buffer)_/.test(instruction)) continue;
      block.vector++;
      if (/^v_(mac|mad|fma|fmac)_f32/.test(instruction)) block.multiplyAdds++;
      if (block.multiplyAdds >= densest.multiplyAdds) densest = block;
    }
    return [
      {
        case: name!,
        kernel: kernel!,
        registers: stat("VGPRs"),
        waves: stat("Subgroups per SIMD"),
        workgroupMemory: stat("LDS size"),
        scratch: stat("Scratch size"),
        instructions: stat("Instructions"),
        densest,
      },
    ];
  });
}

/** Runs this command again under RADV's device that is not there. */
export function compiledByChild(): Compiled[] {
  const driver = installedDrivers().find((file) => /radeon_icd[^/]*\.json$/.test(file));
  if (!driver)
    throw new Error("--compiled needs Mesa's RADV (of Debian's mesa-vulkan-drivers); no radeon_icd.json found");
  const { stderr, stdout, status, signal } = spawnSync(process.execPath, process.argv.slice(1), {
    env: {
      ...process.env,
      RADV_FORCE_FAMILY: FAMILY,
      RADV_DEBUG: "asm,shaderstats",
      MESA_SHADER_CACHE_DISABLE: "true",
      VK_DRIVER_FILES: driver,
      VK_ICD_FILENAMES: driver,
    },
    encoding: "utf8",
    maxBuffer: 2 ** 30,
  });
  const found = readCompiled(stderr + stdout);
  if (status !== 0) throw new Error(`RADV stopped after ${found.length} kernels (${signal ?? status})`);
  return found;
}

/** Whether this is the child. */
export const isChild = (): boolean => process.env.RADV_FORCE_FAMILY === FAMILY;

const HEAD = ["kernel", "for", "registers", "waves", "LDS", "scratch", "instructions", "densest stretch"];

const NOTE = `
registers: 32-bit ones of an invocation; waves: of 64 invocations, that fit on a SIMD unit (${FAMILY}); LDS: bytes of workgroup memory
scratch: bytes of memory for what has no register; densest stretch: multiply-adds of the vector instructions, between two branches
`;

export function compiledTable(compiled: readonly Compiled[]): string {
  const rows = compiled.map(({ kernel, case: name, densest, ...counts }) => {
    const { registers, waves, workgroupMemory, scratch, instructions } = counts;
    const numbers = [registers, waves, workgroupMemory, scratch, instructions].map(String);
    return [kernel, name, ...numbers, `${densest.multiplyAdds} of ${densest.vector}`];
  });
  return `${plainGrid(HEAD, rows)}\n${NOTE}`;
}
