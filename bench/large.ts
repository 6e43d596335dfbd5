/** Tensors larger than a binding, than the memory of the GPU, or than what full decompositions take: what `bench/large.mjs` runs. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  blockTermALS,
  cp,
  hosvd,
  stHosvd,
  tensorRingALS,
  tensorRingSVD,
  ttSVD,
  tuckerHOOI,
} from "../src/decompositions/index.js";
import { Engine, Program, type Tensor } from "../src/gpu/index.js";
import { openEngine, openNpy } from "../src/node/index.js";
import { requestAdapter } from "../src/node/open.js";
import { countReads, type RowReader, type Slabs, type Source, source, streamed } from "../src/sources/index.js";
import { factorMatchScore } from "../src/tensors/components.js";
import { KruskalTensor } from "../src/tensors/index.js";
import { median } from "./statistics.js";

const MEGA = 1e6;
const HELP = `node bench/large.mjs CASE [OPTIONS]

Decomposes a tensor of a planted rank with noise, made row by row from a seed in a
temporary folder, which is deleted. CASE is one of
  images   60000x28x28 in this process, by source(), within the default limits of WebGPU
  slices   12x2900x2900 in an .npy file, by openNpy() and streamed(), --memory 200
  cube     1000x1000x1000 in an .npy file of 4 GB, --memory 512

  --shape AxBxC      another size
  --rank R           of what is planted, and of the model (5)
  --noise PART       norm of the noise, as a part of that of the planted model (0.1)
  --dtype f4|f8      of the file's numbers (f4)
  --memory MB        what streamed() may take of the GPU's memory, in 1e6 bytes
  --methods LIST     of cp, stHosvd (both); hosvd, tuckerHOOI, ttSVD, tensorRingSVD,
                     tensorRingALS, blockTermALS (R blocks of ranks 1)
  --rounds N         of passes that are timed in turn (5)
  --cold             takes the file out of the operating system's cache before each pass, so
                     that reading it is reading the disk (Linux, by dd)
  --seed N           (1)
  --help

Prints MB/s of the file's bytes: of plain reading with a buffer of a slab's size, of
reading and writing to the GPU, of passes that also compute, as the median of rounds in turn, and of each round's ratio; passes of methods, the engine's peak of bytes, the peak resident memory of
the process (with a software adapter it holds the GPU's memory, too), and errors.
`;

const CASES = {
  images: { shape: "60000x28x28", memory: null },
  slices: { shape: "12x2900x2900", memory: "200" },
  cube: { shape: "1000x1000x1000", memory: "512" },
} as const;

interface Case {
  shape: number[];
  rank: number;
  noise: number;
  seed: number;
  dtype: "f4" | "f8";
  /** bytes; null where the tensor is made in this process */
  memory: number | null;
  methods: string[];
  /** of passes that are timed */
  rounds: number;
  cold: boolean;
}

function parse(): Case | null {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...{
        shape: { type: "string" },
        rank: { type: "string", default: "5" },
        noise: { type: "string", default: "0.1" },
      },
      ...{ dtype: { type: "string", default: "f4" }, memory: { type: "string" }, help: { type: "boolean" } },
      ...{ methods: { type: "string", default: "stHosvd,cp" }, seed: { type: "string", default: "1" } },
      rounds: { type: "string", default: "5" },
      cold: { type: "boolean", default: false },
    },
  });
  const name = positionals[0] as keyof typeof CASES | undefined;
  if (values.help || !name || !CASES[name]) {
    process.stdout.write(HELP);
    if (!values.help) process.exitCode = 2;
    return null;
  }
  const defaults = CASES[name];
  const memory = defaults.memory === null ? null : Number(values.memory ?? defaults.memory) * MEGA;
  const dtype = values.dtype === "f8" ? "f8" : "f4";
  const shape = (values.shape ?? defaults.shape).split("x").map(Number);
  const [rank, noise, seed] = [Number(values.rank), Number(values.noise), Number(values.seed)];
  return {
    shape,
    rank,
    noise,
    seed,
    dtype,
    memory,
    methods: values.methods.split(",").filter(Boolean),
    rounds: Number(values.rounds),
    cold: values.cold,
  };
}

/** Uniform numbers from −1 to 1 (xorshift). */
function randomOf(seed: number): () => number {
  let state = (seed * 0x9e3779b1) >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 31 - 1;
  };
  for (let skip = 0; skip < 16; skip++) next();
  return next;
}

/** Rows of the planted model with noise, one after the other. */
function planted({ shape, rank, noise, seed }: Case): {
  factors: Float32Array[];
  row(index: number, out: Float32Array): void;
} {
  const random = randomOf(seed);
  const factors = shape.map((extent) => Float32Array.from({ length: extent * rank }, random));
  const [, ...rest] = shape;
  const width = rest.reduce((product, extent) => product * extent, 1);
  // rows of the Khatri-Rao product of all factors but the first and the last
  let middle: Float64Array[] = [new Float64Array(rank).fill(1)];
  for (const [mode, extent] of rest.slice(0, -1).entries())
    middle = middle.flatMap((before) =>
      Array.from({ length: extent }, (_, i) => before.map((value, r) => value * factors[mode + 1]![i * rank + r]!)),
    );
  const last = factors.at(-1)!;
  const columns = Array.from({ length: rank }, (_, r) =>
    Float64Array.from({ length: rest.at(-1)! }, (_, k) => last[k * rank + r]!),
  );
  // entries of the model have a variance of R/3^N, uniform noise from −1 to 1 one of 1/3
  const size = noise * Math.sqrt(rank / 3 ** (shape.length - 1));
  return {
    factors,
    row(index, out) {
      const errors = randomOf(seed + 1 + index);
      const extent = rest.at(-1)!;
      for (let at = 0, group = 0; at < width; at += extent, group++) {
        const line = out.subarray(at, at + extent);
        for (let k = 0; k < extent; k++) line[k] = size * errors();
        for (let r = 0; r < rank; r++) {
          const weight = factors[0]![index * rank + r]! * middle[group]![r]!;
          const column = columns[r]!;
          for (let k = 0; k < extent; k++) line[k]! += weight * column[k]!;
        }
      }
    },
  };
}

/** Writes the tensor as an .npy file, row by row. */
async function write(
  file: string,
  { shape, dtype }: Case,
  row: (index: number, out: Float32Array) => void,
): Promise<void> {
  const handle = await open(file, "w");
  try {
    const fields = `{'descr': '<${dtype}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
    const length = 64 * Math.ceil((fields.length + 11) / 64);
    const header = Buffer.from(`\x93NUMPY\x01\x00..${fields.padEnd(length - 11)}\n`, "latin1");
    header.writeUInt16LE(length - 10, 8);
    await all(handle, header);
    const floats = new Float32Array(shape.slice(1).reduce((product, extent) => product * extent, 1));
    for (let index = 0; index < shape[0]!; index++) {
      row(index, floats);
      const numbers = dtype === "f8" ? Float64Array.from(floats) : floats;
      await all(handle, new Uint8Array(numbers.buffer));
    }
  } finally {
    await handle.close();
  }
}

async function all(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at, bytes.length - at)).bytesWritten;
}

/** Milliseconds of wall time, and of all processors. */
interface Spent {
  ms: number;
  processors: number;
}

async function spent(work: () => Promise<void>): Promise<Spent> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - start, processors: (user + system) / 1000 };
}

/** Reads the file into a buffer of so many bytes, from its begin to its end. */
async function plainRead(file: string, buffer: Uint8Array): Promise<void> {
  const handle = await open(file, "r");
  try {
    for (let at = 0; ; ) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
      if (!bytesRead) return;
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

const mega = (bytes: number): string => `${Math.round(bytes / MEGA).toLocaleString("en")} MB`;
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const resident = (): number => process.resourceUsage().maxRSS * 1024;

/** What a method came to. */
interface Outcome {
  tensor: Disposable;
  relativeError: number;
  sweeps?: number;
}

const rankForAll = (x: Source, rank: number): number[] => x.shape.map((extent) => Math.min(rank, extent));

const METHODS: Record<string, (engine: Engine, x: Source, rank: number) => Promise<Outcome>> = {
  cp: (engine, x, rank) => cp(engine, x, { rank }),
  stHosvd: (engine, x, rank) => stHosvd(engine, x, { ranks: rankForAll(x, rank) }),
  hosvd: (engine, x, rank) => hosvd(engine, x, { ranks: rankForAll(x, rank) }),
  tuckerHOOI: (engine, x, rank) => tuckerHOOI(engine, x, { ranks: rankForAll(x, rank) }),
  ttSVD: (engine, x, rank) => ttSVD(engine, x, { ranks: rank }),
  tensorRingSVD: (engine, x, rank) => tensorRingSVD(engine, x, { ranks: rank }),
  tensorRingALS: (engine, x, rank) => tensorRingALS(engine, x, { ranks: rank }),
  blockTermALS: (engine, x, rank) => blockTermALS(engine, x, { blocks: rank, ranks: 1 }),
};

/** Each method on x, with what `passes` tells. */
async function solve(
  engine: Engine,
  x: Source,
  task: Case,
  factors: readonly Float32Array[],
  passes: () => number,
): Promise<void> {
  const { shape, rank, noise } = task;
  const floor = noise / Math.hypot(1, noise);
  for (const method of task.methods) {
    passes();
    const start = performance.now();
    const run = METHODS[method];
    if (!run) throw new Error(`--methods ${method}: is none of ${Object.keys(METHODS).join(", ")}`);
    const how = await run(engine, x, rank);
    const ms = performance.now() - start;
    const count = passes();
    using tensor = how.tensor;
    let match = "";
    if (tensor instanceof KruskalTensor) {
      using ones = engine.tensor([rank], new Float32Array(rank).fill(1));
      const truth = factors.map((factor, mode) => engine.tensor([shape[mode]!, rank], factor));
      const { score } = await factorMatchScore(tensor, new KruskalTensor(ones, truth), { considerWeights: false });
      for (const factor of truth) factor.destroy();
      match = `, factor match score ${score.toFixed(6)}`;
    }
    const bytes = count * shape.reduce((product, extent) => product * extent, task.dtype === "f8" ? 8 : 4);
    console.log(
      `${method}: error ${how.relativeError.toFixed(7)} (noise alone ${floor.toFixed(7)})${match}; ${how.sweeps ? `${how.sweeps} sweeps, ` : ""}` +
        `${count.toFixed(2)} passes in ${seconds(ms)}, ${mega(bytes / (ms / 1000))}/s`,
    );
  }
  console.log(`engine: peak ${mega(engine.memory().peak)}; process: peak ${mega(resident())} resident`);
}

/** Takes a file out of the operating system's cache. */
function leaveCache(file: string): void {
  const options = ["oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"];
  execFileSync("dd", ["if=/dev/null", `of=${file}`, ...options]);
}

/** What a pass over a file takes, beside plain reading of it: by rounds in turn, in each of which everything is run once. */
async function timePasses(engine: Engine, x: Slabs, file: string, reader: RowReader, task: Case): Promise<void> {
  const bytes = statSync(file).size;
  const buffer = new Uint8Array(Math.ceil((x.slabSize * bytes) / x.size));
  // a device of the host's gets its numbers by way of the host's memory
  const borrowed = new Engine(engine.device);
  using borrowing = await streamed(borrowed, reader, { memory: task.memory! });
  const load = (source: Slabs) => async (): Promise<void> => {
    for (const { load } of source.parts) await load?.(undefined);
    await engine.idle();
  };
  const factors: Tensor[] = [];
  const product = (columns: number): (() => Promise<void>) => {
    const all = x.shape.map((extent) => engine.tensor([extent, columns], new Float32Array(extent * columns).fill(0.5)));
    factors.push(...all);
    return async () => {
      await Program.run(engine, (p) => void p.s.release(x.mttkrp(p, all, 1)), "a pass of MTTKRP");
      await engine.idle();
    };
  };
  const works: [what: string, work: () => Promise<void>][] = [
    ["plain reading", () => plainRead(file, buffer)],
    ["reading and writing to the GPU", load(x)],
    ["the same to a device of the host's", load(borrowing)],
    ["the look at all entries", () => x.look("bench")],
    ...[1, 4, 16, 64].map((columns): [string, () => Promise<void>] => [
      `an MTTKRP of ${columns} columns`,
      product(columns),
    ]),
  ];
  const times = works.map((): Spent[] => []);
  for (let round = 0; round <= task.rounds; round++)
    for (const [index, [, work]] of works.entries()) {
      if (task.cold) leaveCache(file);
      const time = await spent(work);
      // the first round compiles and fills caches
      if (round) times[index]!.push(time);
    }
  for (const [index, [what]] of works.entries()) {
    const ms = median(times[index]!.map((time) => time.ms));
    const part = median(times[index]!.map((time, round) => times[0]![round]!.ms / time.ms));
    const processors = median(times[index]!.map((time) => time.processors));
    console.log(
      `${what}: ${mega(bytes / (ms / 1000))}/s, ${Math.round(100 * part)} % of plain reading; ${(processors / 1000).toFixed(2)} s of processors`,
    );
  }
  for (const factor of factors) factor.destroy();
  borrowed.destroy();
}

async function main(task: Case): Promise<void> {
  const { shape, memory } = task;
  const { factors, row } = planted(task);
  const entries = shape.reduce((product, extent) => product * extent, 1);
  const bytes = entries * (task.dtype === "f8" && memory !== null ? 8 : 4);
  if (memory === null) {
    const { adapter } = await requestAdapter();
    // a device without more than the default limits
    const engine = new Engine(await adapter.requestDevice());
    const limit = engine.device.limits.maxStorageBufferBindingSize;
    const values = new Float32Array(entries);
    const width = entries / shape[0]!;
    for (let index = 0; index < shape[0]!; index++) row(index, values.subarray(index * width, (index + 1) * width));
    console.log(`${shape.join("×")}, ${mega(bytes)}, on ${engine.adapterName}, bindings of up to ${mega(limit)}`);
    console.log(`process with the array: ${mega(resident())} resident at most`);
    using x = await source(engine, shape, values);
    console.log(`${x}; process: ${mega(resident())} resident at most`);
    const reads = countReads(x);
    let before = 0;
    await solve(engine, x, task, factors, () => {
      const passes = reads.passes - before;
      before = reads.passes;
      return passes;
    });
    engine.destroy();
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "tenfold-large-"));
  try {
    const { bavail, bsize } = statfsSync(folder);
    if (bavail * bsize < 1.5 * bytes)
      throw new Error(`${folder} has ${mega(bavail * bsize)} left, needs ${mega(1.5 * bytes)}`);
    const file = join(folder, "x.npy");
    await write(file, task, row);
    const engine = await openEngine();
    console.log(
      `${shape.join("×")} of ${task.dtype}, ${mega(bytes)}, on ${engine.adapterName}; memory ${mega(memory)}`,
    );
    console.log(`process before: ${mega(resident())} resident at most`);
    using npy = await openNpy(file);
    let rows = 0;
    const counted: RowReader = {
      shape: npy.shape,
      format: npy.format,
      read(start, count, into) {
        rows += count;
        return npy.read(start, count, into);
      },
    };
    const passes = (): number => {
      const count = rows / shape[0]!;
      rows = 0;
      return count;
    };
    {
      using x = await streamed(engine, counted, { memory });
      console.log(`${x} of ${mega((x.slabSize * bytes) / entries)}`);
      await timePasses(engine, x, file, counted, task);
    }
    using held = await streamed(engine, counted, { memory });
    await solve(engine, held, task, factors, passes);
    engine.destroy();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const task = parse();
if (task) await main(task);
