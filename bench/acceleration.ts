/**
 * What sweeps of CP cost and reach, turn by turn in one run. `sweeps`: `cpALS` with acceleration and without, from the same starts: sweeps and errors at
 * the end, and the time of both, their ratio round by round. `long`: a sweep and a Gauss-Newton iteration of a tensor whose first mode is long, beside
 * the same with its last mode long. `node bench/acceleration.mjs 5 sweeps`
 */
import { type CpOptions, cp, cpALS } from "../src/decompositions/index.js";
import { openEngine } from "../src/node/index.js";
import { modelled } from "./inputs.js";
import { median, quantile } from "./statistics.js";

const rounds = Number(process.argv[2] ?? 5);
const what = process.argv[3] ?? "sweeps";
const engine = await openEngine();

/** Numbers from 0 to 1, always the same (Park & Miller 1988). */
function uniform(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
}

const told = (values: number[], digits = 2) =>
  `${median(values).toFixed(digits)} (${quantile(values, 0.25).toFixed(digits)} to ${quantile(values, 0.75).toFixed(digits)})`;

async function timed(run: () => Promise<unknown>): Promise<number> {
  await engine.idle();
  const start = performance.now();
  await run();
  await engine.idle();
  return performance.now() - start;
}

async function sweeps(): Promise<void> {
  const cases: { name: string; shape: number[]; rank: number; data: (seed: number) => Float32Array; sweeps: number }[] =
    [
      ...[0.9, 0.95].map((cosine) => ({
        name: `37×53×71 R5, congruence ${cosine}, exact`,
        shape: [37, 53, 71],
        rank: 5,
        sweeps: 400,
        data: (seed: number) => modelled({ shape: [37, 53, 71], seed, rank: 5, cosine, noise: 0 }),
      })),
      {
        name: "18×60×30 R3, noise 0.2",
        shape: [18, 60, 30],
        rank: 3,
        sweeps: 400,
        data: (seed) => modelled({ shape: [18, 60, 30], seed, rank: 3, cosine: null, noise: 0.2 }),
      },
      {
        name: "16³ R4, random entries",
        shape: [16, 16, 16],
        rank: 4,
        sweeps: 400,
        data: (seed) => Float32Array.from({ length: 4096 }, uniform(seed)),
      },
    ];
  for (const { name, shape, rank, data, sweeps } of cases) {
    const rows: { plain: Row; fast: Row }[] = [];
    for (let round = 0; round < rounds; round++) {
      using x = engine.tensor(shape, data(70 + round));
      const run = async (acceleration: CpOptions["acceleration"]): Promise<Row> => {
        let row: Row | null = null;
        const ms = await timed(async () => {
          const { tensor, ...how } = await cpALS(engine, x, { rank, seed: round, sweeps, acceleration });
          tensor.destroy();
          row = { ms: 0, error: how.relativeError, sweeps: how.errors.length, converged: how.converged };
        });
        return { ...row!, ms };
      };
      if (!round) for (const acceleration of ["none", "nesterov"] as const) await run(acceleration);
      rows.push({ plain: await run("none"), fast: await run("nesterov") });
    }
    console.log(name);
    for (const kind of ["plain", "fast"] as const) {
      const all = rows.map((row) => row[kind]);
      console.log(
        `  ${kind}: errors ${all.map(({ error }) => error.toPrecision(4)).join(" ")}; sweeps ${all.map(({ sweeps, converged }) => `${sweeps}${converged ? "" : "…"}`).join(" ")}; ${told(
          all.map(({ ms }) => ms),
          0,
        )} ms`,
      );
    }
    console.log(
      `  time of a sweep, accelerated ÷ plain: ${told(rows.map(({ plain, fast }) => fast.ms / fast.sweeps / (plain.ms / plain.sweeps)))}`,
    );
  }
}

interface Row {
  ms: number;
  error: number;
  sweeps: number;
  converged: boolean;
}

async function long(): Promise<void> {
  const [rank, extent] = [3, 300_000];
  const random = uniform(1);
  const data = Float32Array.from({ length: 16 * extent }, random);
  using first = engine.tensor([extent, 4, 4], data);
  using last = engine.tensor([4, 4, extent], data);
  const methods: Record<string, (x: typeof first, sweeps: number) => Promise<unknown>> = {
    "cpALS, plain": async (x, sweeps) =>
      (await cpALS(engine, x, { rank, sweeps, tolerance: 0, acceleration: "none" })).tensor.destroy(),
    cpALS: async (x, sweeps) => (await cpALS(engine, x, { rank, sweeps, tolerance: 0 })).tensor.destroy(),
    "Gauss-Newton": async (x, sweeps) =>
      (
        await cp(engine, x, { rank, sweeps, tolerance: 0, starts: 1, initialize: "random", compression: "none" })
      ).tensor.destroy(),
  };
  const [few, many] = [2, 6];
  for (const [name, method] of Object.entries(methods)) {
    for (const x of [first, last]) await method(x, few);
    const rows: { first: number; last: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      const one = async (x: typeof first) =>
        (-(await timed(() => method(x, few))) + (await timed(() => method(x, many)))) / (many - few);
      rows.push({ first: await one(first), last: await one(last) });
    }
    console.log(
      `${name}: ms an iteration, 300000×4×4 ${told(
        rows.map((row) => row.first),
        1,
      )}, 4×4×300000 ${told(
        rows.map((row) => row.last),
        1,
      )}, ratio ${told(rows.map((row) => row.first / row.last))}`,
    );
  }
}

await { sweeps, long }[what]!();
process.exit(0);
