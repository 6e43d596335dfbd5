/**
 * What missing entries cost: milliseconds an iteration of `cp` and a sweep of `cpALS` for 100×100×100, R 10, with all entries and with a fifth of
 * them missing, by turns in one run. An iteration's time is that of a long run less that of a short one. `node bench/masked.mjs 7`
 */
import { cp, cpALS } from "../src/decompositions/index.js";
import type { Tensor } from "../src/gpu/index.js";
import { openEngine } from "../src/node/index.js";
import { masked, type Source } from "../src/sources/index.js";
import { planted, values } from "./inputs.js";
import { median, quantile } from "./statistics.js";

const rounds = Number(process.argv[2] ?? 7);
const SHAPE = [100, 100, 100];
const RANK = 10;
/** iterations of the short and of the long run */
const [SHORT, LONG] = [4, 16];

const engine = await openEngine();
using plain = engine.tensor(SHAPE, planted({ shape: SHAPE, seed: 31, rank: RANK, noise: 0.05 }));
const mask = values({ shape: SHAPE, seed: 77, low: 0, high: 1 }).map((value) => (value < 0.2 ? 0 : 1));
using holes = await masked(engine, plain, { mask });

const options = { rank: RANK, tolerance: 0, starts: 1, initialize: "random" } as const;
const solvers: Record<string, (x: Tensor | Source, sweeps: number) => Promise<{ tensor: { destroy(): void } }>> = {
  "cp iteration": (x, sweeps) => cp(engine, x, { ...options, compression: "none", sweeps }),
  "cpALS sweep": (x, sweeps) => cpALS(engine, x, { ...options, sweeps }),
};

console.log(`${SHAPE.join("×")} R ${RANK} on ${engine.adapterName}; ${rounds} rounds, medians (quartiles)`);
for (const [name, solve] of Object.entries(solvers)) {
  const time = async (x: Tensor | Source, sweeps: number): Promise<{ ms: number; cpu: number }> => {
    await engine.idle();
    const before = process.cpuUsage();
    const start = performance.now();
    (await solve(x, sweeps)).tensor.destroy();
    const ms = performance.now() - start;
    const { user, system } = process.cpuUsage(before);
    return { ms, cpu: (user + system) / 1000 };
  };
  const aSweep = async (x: Tensor | Source): Promise<{ ms: number; cpu: number }> => {
    const [short, long] = [await time(x, SHORT), await time(x, LONG)];
    return { ms: (long.ms - short.ms) / (LONG - SHORT), cpu: (long.cpu - short.cpu) / (LONG - SHORT) };
  };
  for (const x of [plain, holes]) await time(x, SHORT);
  const rows: { plain: number; masked: number; ratio: number; cpu: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const [all, some] = [await aSweep(plain), await aSweep(holes)];
    rows.push({ plain: all.ms, masked: some.ms, ratio: some.ms / all.ms, cpu: some.cpu / all.cpu });
  }
  const told = (which: keyof (typeof rows)[number]): string => {
    const sorted = rows.map((row) => row[which]);
    return `${median(sorted).toFixed(2)} (${quantile(sorted, 0.25).toFixed(2)}–${quantile(sorted, 0.75).toFixed(2)})`;
  };
  console.log(
    `${name}: ${told("plain")} ms, a fifth missing ${told("masked")} ms, ratio ${told("ratio")}, of processors' time ${told("cpu")}`,
  );
}
engine.destroy();
