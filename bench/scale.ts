/** How a decomposition on several machines scales: a model, and what it says of one to three workers beside a measurement here. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const HELP = `node bench/scale.mjs [OPTIONS]

Predicts the seconds of an iteration of cp on 2 to 64 workers, which hold slabs of
mode 0, and says what they go to. With --measure, runs one to three workers on this
machine and puts the prediction beside (needs python3 with numpy, zarr and dask).

  --flops N         a worker's rate at products of X (4.2e12: an H200 at a sweep of CP
                    by ALS, bench/results/nvidia-h200-node-2026-11-26-11-12.md)
  --disk N          bytes a second that a worker reads, where X is not in its memory (2e9)
  --latency S       of a message (5e-4: Dask's event loops at both ends)
  --placing S       of a step, however many workers (0.02)
  --task S          of a task of the scheduler's; a step has 2·W − 1 (1e-3)
  --measure
  --help
`;

interface Rates {
  /** floating-point operations a second */
  flops: number;
  /** bytes a second */
  disk: number;
  /** seconds */
  latency: number;
  placing: number;
  task: number;
}

interface Problem {
  shape: readonly number[];
  rank: number;
}

/** Seconds of an iteration, by what they go to. */
interface Prediction {
  compute: number;
  read: number;
  network: number;
  scheduler: number;
  total: number;
}

/** bytes a second at which a worker adds up what others send: numpy, in f64 */
const ADDING = 1e9;

/** x − x̂, and two contractions of it, each a multiplication and an addition an entry and term. */
export const operations = ({ shape, rank }: Problem): number =>
  6 * rank * shape.reduce((product, extent) => product * extent, 1);

/** Bytes of all factors. */
export const factorBytes = ({ shape, rank }: Problem): number =>
  4 * rank * shape.reduce((sum, extent) => sum + extent, 0);

/**
 * An iteration: factors go to one worker and double from there; each works on its slab; sums come back in a tree, rows of mode 0 as they are.
 * Reading overlaps with computing, nothing else does.
 */
export function predict(
  problem: Problem,
  workers: number,
  bandwidth: number,
  { flops, disk, latency, placing, task }: Rates,
  isOnDisk: boolean,
): Prediction {
  const { shape, rank } = problem;
  const bytes = 4 * shape.reduce((product, extent) => product * extent, 1);
  const factors = factorBytes(problem);
  const sums = factors - 4 * rank * shape[0]!;
  const rounds = Math.ceil(Math.log2(workers));
  const compute = operations(problem) / workers / flops;
  const read = isOnDisk ? Math.max(0, bytes / workers / disk - compute) : 0;
  const hop = latency + factors / bandwidth;
  const network = hop * (rounds + 1) + rounds * (hop + sums / ADDING) + hop;
  const scheduler = placing + task * (2 * workers - 1);
  return { compute, read, network, scheduler, total: compute + read + network + scheduler };
}

/** Bytes that a worker gets and sends an iteration: of slabs of mode 0, and of a grid of p·q·s parts (medium-grained; Smith & Karypis 2016). */
export function volumes({ shape, rank }: Problem, workers: number): { slabs: number; grid: number; parts: number[] } {
  const [first, ...others] = shape as [number, ...number[]];
  // rows of mode 0 are of use to their worker alone, and those of other modes to all
  const slabs = 2 * 4 * rank * (first / workers + others.reduce((sum, extent) => sum + extent, 0));
  let best = { grid: slabs, parts: [workers, ...others.map(() => 1)] };
  const visit = (mode: number, left: number, parts: number[]): void => {
    if (mode === shape.length - 1) {
      const all = [...parts, left];
      const grid = 2 * 4 * rank * shape.reduce((sum, extent, n) => sum + extent / all[n]!, 0);
      if (grid < best.grid) best = { grid, parts: all };
      return;
    }
    for (let part = 1; part <= left; part++) if (left % part === 0) visit(mode + 1, left / part, [...parts, part]);
  };
  visit(0, workers, []);
  return { slabs, ...best };
}

const PROBLEMS: readonly Problem[] = [
  { shape: [2000, 2000, 2000], rank: 32 },
  { shape: [30_000, 30_000, 500], rank: 64 },
];
const WORKERS = [1, 2, 4, 8, 16, 32, 64];
const LINKS = [10, 100];

const nameOf = ({ shape, rank }: Problem): string => `${shape.join("×")} R ${rank}`;
const seconds = (value: number): string =>
  value < 0.0995 ? `${(1000 * value).toFixed(1)} ms` : `${value.toPrecision(3)} s`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [head, head.map((_, column) => (column ? "---:" : "---")), ...rows];
  for (const row of all) console.log(`| ${row.join(" | ")} |`);
  console.log();
}

function predictions(rates: Rates): void {
  for (const problem of PROBLEMS)
    for (const gigabits of LINKS) {
      console.log(`${nameOf(problem)}, ${gigabits} Gbit/s: seconds of an iteration\n`);
      const of = (workers: number, isOnDisk: boolean) =>
        predict(problem, workers, (gigabits * 1e9) / 8, rates, isOnDisk);
      const [alone, aloneOnDisk] = [of(1, false), of(1, true)];
      table(
        ["workers", "computing", "network", "scheduler", "in memory", "efficiency", "from disk", "efficiency"],
        WORKERS.map((workers) => {
          const [memory, disk] = [of(workers, false), of(workers, true)];
          const part = (one: Prediction, other: Prediction) =>
            `${Math.round((100 * one.total) / other.total / workers)} %`;
          return [
            String(workers),
            seconds(memory.compute),
            seconds(memory.network),
            seconds(memory.scheduler),
            seconds(memory.total),
            part(alone, memory),
            seconds(disk.total),
            part(aloneOnDisk, disk),
          ];
        }),
      );
      const end = Array.from({ length: 4096 }, (_, n) => n + 1).find(
        (workers) => of(2 * workers, false).total > 0.75 * of(workers, false).total,
      );
      console.log(`Twice as many workers take less than a quarter off an iteration from ${end} workers on.\n`);
    }
  console.log("Bytes that a worker gets and sends an iteration, at least: slabs of mode 0 beside a grid\n");
  table(
    ["tensor", "workers", "slabs", "grid", "parts", "less by"],
    PROBLEMS.flatMap((problem) =>
      [8, 64].map((workers) => {
        const { slabs, grid, parts } = volumes(problem, workers);
        const mega = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;
        const less = `${Math.round(100 * (1 - grid / slabs))} %`;
        return [nameOf(problem), String(workers), mega(slabs), mega(grid), parts.join("×"), less];
      }),
    ),
  );
}

/** Iterations of cp on a cluster of this machine, one thread of a software adapter a worker. Prints JSON. */
const MEASURE = `
import json, os, sys
import numpy as np, zarr
from distributed import Client, LocalCluster
from tenfold import cluster
folder, workers, shape, rank, sweeps = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
rng = np.random.default_rng(0)
path = f"{folder}/{'x'.join(map(str, shape))}.zarr"
if not os.path.exists(path):
    array = zarr.open(path, mode="w", shape=shape, chunks=(max(1, shape[0] // 12), *shape[1:]), dtype="f4")
    array[:] = rng.standard_normal(shape).astype("f4")
start = [rng.standard_normal((extent, rank)) for extent in shape]
from tenfold.cluster import dispatch
steps = []
close = dispatch.Dispatch.close
def closing(self):
    steps.extend(self.steps)
    close(self)
dispatch.Dispatch.close = closing
if __name__ == "__main__":
    env = {"LP_NUM_THREADS": "1", "PYTHONPATH": os.environ["PYTHONPATH"]}
    with LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0, env=env) as local, Client(local) as client:
        cluster.cp(path, rank, client, initialize=start, sweeps=sweeps, tolerance=0)
    # the first ones compile kernels
    kept = [step for step in steps if step["verb"] == "evaluate"][3:]
    median = lambda name: float(np.median([step[name] for step in kept]))
    print(json.dumps({"seconds": median("seconds"), "overhead": median("overhead"), "down": median("down"), "up": median("up")}))
`;

interface Measured {
  seconds: number;
  overhead: number;
  down: number;
  up: number;
}

function measure(): void {
  const folder = mkdtempSync(join(tmpdir(), "scale-"));
  const run = (workers: number, shape: readonly number[], rank: number, sweeps: number): Measured => {
    const python = process.env.PYTHON ?? "python3";
    const root = join(import.meta.dirname, "..");
    const env = { ...process.env, PYTHONPATH: join(root, "python"), TENFOLD_CLI: join(root, "dist/cli.js") };
    const words = [folder, String(workers), JSON.stringify(shape), String(rank), String(sweeps)];
    const { stdout, stderr, status } = spawnSync(python, ["-c", MEASURE, ...words], { encoding: "utf8", env });
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout.trim().split("\n").at(-1)!) as Measured;
  };
  try {
    const problem = { shape: [240, 160, 160], rank: 16 };
    const tiny = { shape: [24, 8, 8], rank: 2 };
    const cores = cpus().length;
    const counts = [1, 2, 3];
    const idle = counts.map((workers) => run(workers, tiny.shape, tiny.rank, 20));
    const measured = counts.map((workers) => run(workers, problem.shape, problem.rank, 10));
    const rate = operations(problem) / (measured[0]!.seconds - idle[0]!.seconds);
    console.log(
      `${nameOf(problem)} on this machine (${cores} cores, a thread of the software adapter a worker), medians:\n`,
    );
    table(
      ["workers", "a step of a tiny tensor", "predicted", "measured", "measured / predicted", "down", "up"],
      counts.map((workers, index) => {
        const predicted = idle[index]!.seconds + operations(problem) / rate / Math.min(workers, cores);
        const { seconds: taken, down, up } = measured[index]!;
        const bound = factorBytes(problem);
        return [
          String(workers),
          seconds(idle[index]!.seconds),
          seconds(predicted),
          seconds(taken),
          (taken / predicted).toFixed(2),
          `${(down / bound).toFixed(3)}·4RΣI`,
          `${(up / bound).toFixed(3)}·4RΣI`,
        ];
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const { values } = parseArgs({
  options: {
    flops: { type: "string", default: "4.2e12" },
    disk: { type: "string", default: "2e9" },
    latency: { type: "string", default: "5e-4" },
    placing: { type: "string", default: "0.02" },
    task: { type: "string", default: "1e-3" },
    measure: { type: "boolean" },
    help: { type: "boolean" },
  },
});
if (values.help) console.log(HELP);
else {
  const { flops, disk, latency, placing, task } = values;
  predictions({
    flops: Number(flops),
    disk: Number(disk),
    latency: Number(latency),
    placing: Number(placing),
    task: Number(task),
  });
  if (values.measure) measure();
}
