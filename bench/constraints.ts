/**
 * Constrained decompositions beside TensorLy's, turn by turn in one run: milliseconds an iteration (the time of a long run less that of a
 * short one), their ratio round by round, the same of the processors' time, which a busy machine changes less, and the errors that both end at. The Python process waits while tenfold runs, and the other way
 * round. And how long tenfold takes, start and all, to the error that TensorLy's long run ends at. A third argument names the cases that are run by a part
 * of their name. `node bench/constraints.mjs 7 python3 PARAFAC2`
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cpALS, nonnegativeTucker, parafac2 } from "../src/decompositions/index.js";
import type { Engine, Tensor } from "../src/gpu/index.js";
import { openEngine } from "../src/node/index.js";
import { median, quantile } from "./statistics.js";

const rounds = Number(process.argv[2] ?? 7);
const python = process.argv[3] ?? "python3";
const chosen = process.argv[4] ?? "";
const script = join(import.meta.dirname, "peers/tensorly_constraints.py");

/** iterations of the short and of the long run */
const [SHORT, LONG] = [4, 16];
/** the most iterations in which tenfold may come to TensorLy's error */
const MOST = 48;

const child = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();

async function ask(question: string): Promise<string> {
  child.stdin.write(`${question}\n`);
  const { value, done } = await lines.next();
  if (done) throw new Error(`${python} ${script} ended`);
  return value;
}

/** What the script wrote into a file, as tensors. */
async function tensorsOf(engine: Engine, name: string): Promise<Tensor[]> {
  const listed = JSON.parse(await ask(`data ${name}`)) as { shape: number[]; base64: string }[];
  return listed.map(({ shape, base64 }) => {
    const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
    return engine.tensor(shape, new Float32Array(bytes.buffer));
  });
}

interface Run {
  relativeError: number;
  /** after every iteration */
  errors: readonly number[];
  tensor: { destroy(): void };
}

const engine = await openEngine();
const cases: Record<string, (x: Tensor[], sweeps: number) => Promise<Run>> = {
  "non-negative CP 100³ R 10": ([x], sweeps) =>
    cpALS(engine, x!, { rank: 10, nonnegative: true, sweeps, tolerance: 0 }),
  "non-negative Tucker 100³ 10×10×10": ([x], sweeps) =>
    nonnegativeTucker(engine, x!, { ranks: 10, initialize: "random", sweeps, tolerance: 0 }),
  "PARAFAC2 50 slices of 60 to 140 rows, 40 columns, R 10": (x, sweeps) =>
    parafac2(engine, x, { rank: 10, sweeps, tolerance: 0 }),
};

console.log(`${rounds} rounds; ms an iteration, medians (quartiles)`);
for (const [name, run] of Object.entries(cases)) {
  if (!name.includes(chosen)) continue;
  const tensors = await tensorsOf(engine, name);
  const time = async (
    sweeps: number,
  ): Promise<{ ms: number; cpu: number; error: number; errors: readonly number[] }> => {
    await engine.idle();
    const before = process.cpuUsage();
    const start = performance.now();
    const { tensor, relativeError, errors } = await run(tensors, sweeps);
    const ms = performance.now() - start;
    const { user, system } = process.cpuUsage(before);
    tensor.destroy();
    return { ms, cpu: (user + system) / 1000, error: relativeError, errors };
  };
  await time(SHORT);
  const rows: {
    ours: number;
    theirs: number;
    ratio: number;
    cpu: number;
    theirCpu: number;
    whole: number;
    theirWhole: number;
    wholeCpu: number;
    theirWholeCpu: number;
  }[] = [];
  // the iterations that tenfold takes to the error that TensorLy's long run ends at
  const goal = Number((await ask(`run ${SHORT} ${LONG} ${name}`)).split(" ")[1]);
  const reached = (await time(MOST)).errors.findIndex((error) => error <= goal) + 1;
  let errors = "";
  for (let round = 0; round < rounds; round++) {
    const [short, long] = [await time(SHORT), await time(LONG)];
    const ours = (long.ms - short.ms) / (LONG - SHORT);
    const cpu = (long.cpu - short.cpu) / (LONG - SHORT);
    const whole = reached ? await time(reached) : { ms: Number.NaN, cpu: Number.NaN };
    const [theirs, error, theirCpu, theirWhole, theirWholeCpu] = (await ask(`run ${SHORT} ${LONG} ${name}`))
      .split(" ")
      .map(Number) as [number, number, number, number, number];
    const wholes = { whole: whole.ms, theirWhole, wholeCpu: whole.cpu, theirWholeCpu };
    rows.push({ ours, theirs, ratio: theirs / ours, cpu, theirCpu, ...wholes });
    errors = `errors after ${LONG}: ${long.error.toPrecision(4)}, TensorLy ${error.toPrecision(4)}`;
  }
  const told = (of: (row: (typeof rows)[number]) => number) => {
    const values = rows.map(of);
    return `${median(values).toFixed(2)} (${quantile(values, 0.25).toFixed(2)} to ${quantile(values, 0.75).toFixed(2)})`;
  };
  console.log(
    `${name}: tenfold ${told((row) => row.ours)}, TensorLy ${told((row) => row.theirs)}, ratio ${told((row) => row.ratio)}; processors' time ${told((row) => row.cpu)}, TensorLy ${told((row) => row.theirCpu)}, ratio ${told((row) => row.theirCpu / row.cpu)}; ${errors}`,
  );
  console.log(
    reached
      ? `  to TensorLy's error after ${LONG}: ${reached} iterations, ${told((row) => row.whole)} ms from the start on, TensorLy ${told((row) => row.theirWhole)}, ratio ${told((row) => row.theirWhole / row.whole)}; processors' time ${told((row) => row.wholeCpu)}, TensorLy ${told((row) => row.theirWholeCpu)}, ratio ${told((row) => row.theirWholeCpu / row.wholeCpu)}`
      : `  TensorLy's error after ${LONG} is not reached in ${MOST} iterations`,
  );
  for (const tensor of tensors) tensor.destroy();
}
child.stdin.end();
process.exit(0);
