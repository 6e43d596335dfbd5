/**
 * Sixteen starts of `cp` beside one, turn by turn: medians and quartiles of both, and their ratio. Then `cp` with its defaults, four starts, beside
 * one start of `cpALS`, on well-conditioned tensors of which ALS finds the best model too. `node bench/starts.mjs 7`
 */
import { cp, cpALS } from "../src/decompositions/index.js";
import { isSoftware } from "../src/gpu/index.js";
import { openEngine } from "../src/node/index.js";
import { modelled } from "./inputs.js";
import { median, quantile } from "./statistics.js";

const rounds = Number(process.argv[2] ?? 7);
const engine = await openEngine();
/** times one start's time that sixteen may take */
const goal = isSoftware(engine.adapterName) ? 5 : 4;
const told = (values: number[], digits = 1) =>
  `${median(values).toFixed(digits)} (${quantile(values, 0.25).toFixed(digits)} to ${quantile(values, 0.75).toFixed(digits)})`;

/** Numbers from 0 to 1, always the same (Park & Miller 1988). */
function uniform(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
}

const cases: { name: string; shape: number[]; rank: number; data: (seed: number) => Float32Array }[] = [
  {
    name: "16³ R4, random entries",
    shape: [16, 16, 16],
    rank: 4,
    data: (seed) => Float32Array.from({ length: 4096 }, uniform(seed)),
  },
  ...[0, 0.1].map((noise) => ({
    name: `16³ R4, noise ${noise}`,
    shape: [16, 16, 16],
    rank: 4,
    data: (seed: number) => modelled({ shape: [16, 16, 16], seed, rank: 4, cosine: null, noise }),
  })),
  {
    name: "100³ R10, noise 0.1",
    shape: [100, 100, 100],
    rank: 10,
    data: (seed) => modelled({ shape: [100, 100, 100], seed, rank: 10, cosine: null, noise: 0.1 }),
  },
];

for (const { name, shape, rank, data } of cases) {
  const times: Record<1 | 16, number[]> = { 1: [], 16: [] };
  for (let round = -1; round < rounds; round++) {
    using x = engine.tensor(shape, data(70 + Math.max(0, round)));
    for (const starts of [1, 16] as const) {
      await engine.idle();
      const start = performance.now();
      // random starts alone: one by generalised eigenvalues would end at once where the model is exact
      const { tensor } = await cp(engine, x, { rank, starts, seed: Math.max(0, round), initialize: "random" });
      await engine.idle();
      if (round >= 0) times[starts].push(performance.now() - start);
      tensor.destroy();
    }
  }
  const ratios = times[16].map((ms, round) => ms / times[1][round]!);
  console.log(
    `${name}: 1 start ${told(times[1])} ms, 16 starts ${told(times[16])} ms, ${told(ratios, 2)} times one (${median(ratios) <= goal ? "reached" : "not reached"}: at most ${goal})`,
  );
}

const beside: [shape: number[], rank: number, noise: number][] = [
  [[18, 60, 30], 3, 0.1],
  [[40, 50, 60], 5, 0.05],
  [[20, 20, 20], 4, 0],
];
for (const [shape, rank, noise] of beside) {
  using x = engine.tensor(shape, modelled({ shape, seed: 71, rank, cosine: null, noise }));
  const ways = {
    cp: () => cp(engine, x, { rank }),
    als: () => cpALS(engine, x, { rank }),
    plain: () => cpALS(engine, x, { rank, acceleration: "none" }),
  };
  const times: Record<string, number[]> = { cp: [], als: [], plain: [] };
  const errors: Record<string, number> = {};
  for (let round = -1; round < rounds; round++)
    for (const [name, run] of Object.entries(ways)) {
      await engine.idle();
      const start = performance.now();
      const { tensor, relativeError } = await run();
      await engine.idle();
      if (round >= 0) times[name]!.push(performance.now() - start);
      errors[name] = relativeError;
      tensor.destroy();
    }
  const ratio = (name: string): string =>
    `${told(
      times.cp!.map((ms, round) => ms / times[name]![round]!),
      2,
    )} times cpALS${name === "plain" ? " without acceleration" : ""} (${told(times[name]!)} ms, error ${errors[name]!.toPrecision(3)})`;
  console.log(
    `${shape.join("×")} R${rank}, noise ${noise}: cp ${told(times.cp!)} ms, error ${errors.cp!.toPrecision(3)}; ${ratio("als")}; ${ratio("plain")}`,
  );
}
process.exit(0);
