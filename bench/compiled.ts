/**
 * `npm run bench -- --compiled` compiles the cases' kernels for a GPU, without a GPU. Mesa's driver for AMD GPUs, RADV, compiles
 * for a device that does not exist (RADV_FORCE_FAMILY) and prints registers and code (RADV_DEBUG). A child process runs under that
 * driver. Much of what it shows holds for other GPUs too: arrays in memory because a loop was not unrolled, so many registers
 * that few waves fit, and instructions that are not multiply-adds.
 */
import { spawnSync } from "node:child_process";
import { type Constants, Engine, type Kernel, Variants } from "../src/gpu/index.js";
import { installedDrivers } from "../src/node/driver.js";
import { type Case, operandsOf } from "./case.js";
import { plainGrid } from "./report.js";

/** The GPU that RADV compiles for. With other families Mesa 25 makes Dawn crash. */
const FAMILY = "polaris10";
/** Begins the line that the child prints in front of every kernel. */
const MARK = "@@@ ";

export interface Compiled {
  case: string;
  kernel: string;
  registers: number;
  /** waves of 64 invocations that fit on a SIMD unit at once; the most are 8 to 10 */
  waves: number;
  /** bytes of workgroup memory */
  workgroupMemory: number;
  /** bytes of memory an invocation, for arrays and for values that no register is left for */
  scratch: number;
  instructions: number;
  /** in the stretch without branches that has the most multiply-adds: their number, and that of all vector instructions */
  densest: { multiplyAdds: number; vector: number };
}

/** Compiles the cases' kernels in this process, which must be the child; the driver prints what it compiles. */
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
  // the device has no memory, and compiling needs none
  device.createBuffer = ({ size, usage, label }) =>
    ({ size, usage, label, destroy() {} }) as Partial<GPUBuffer> as GPUBuffer;
  // the kernels that GPUs use
  const variants = { matmul: "tiled", mttkrp: "tiled", kruskal: "register", residual: "register" };
  const engine = new Engine(device, { variants });
  const seen = new Set<string>();
  for (const { name, work, run } of cases) {
    // cases without `run`, sweeps and training, do not record into a scheduler
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
      const words = [kernel.name, ...Object.entries(kernel.constants).flatMap(describeConstant)].join(" ");
      if (seen.has(words)) continue;
      seen.add(words);
      process.stderr.write(`\n${MARK}${name}\t${words}\n`);
      await engine.pipelines.of(kernel);
    }
  }
}

const describeConstant = ([name, value]: [string, Constants[string]]): string[] =>
  value === true ? [name] : value ? [`${name} ${value}`] : [];

/** Reads the text that RADV prints with RADV_DEBUG=asm,shaderstats, for every marked kernel. */
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

/** Runs this command again in a child process under RADV, and reads what it prints. */
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
  const compiled = readCompiled(stderr + stdout);
  if (status !== 0) throw new Error(`RADV stopped after ${compiled.length} kernels (${signal ?? status})`);
  return compiled;
}

/** Whether this process is the child. */
export const isChild = (): boolean => process.env.RADV_FORCE_FAMILY === FAMILY;

const HEAD = ["kernel", "for", "registers", "waves", "LDS", "scratch", "instructions", "densest stretch"];

const NOTE = `
registers: 32-bit registers of an invocation; waves: of 64 invocations, at once on a SIMD unit (${FAMILY}); LDS: bytes of workgroup memory
scratch: bytes of memory an invocation for values without a register; densest stretch: multiply-adds of all vector instructions between two branches
`;

export function compiledTable(compiled: readonly Compiled[]): string {
  const rows = compiled.map(({ kernel, case: name, densest, ...counts }) => {
    const { registers, waves, workgroupMemory, scratch, instructions } = counts;
    const numbers = [registers, waves, workgroupMemory, scratch, instructions].map(String);
    return [kernel, name, ...numbers, `${densest.multiplyAdds} of ${densest.vector}`];
  });
  return `${plainGrid(HEAD, rows)}\n${NOTE}`;
}
