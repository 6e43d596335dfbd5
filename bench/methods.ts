/**
 * Each method that TensorLy has, too, beside TensorLy's on the same data, to the same error, turn by turn: what `bench/methods.mjs` runs. Its script makes
 * the data, chooses the fastest way to call TensorLy, times it, and computes the errors of both sides in f64. It waits while tenfold runs, and the other way round.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { parseArgs } from "node:util";
import type { Engine, Tensor } from "../src/gpu/index.js";
import { writeAtomic } from "../src/node/files.js";
import { openEngine } from "../src/node/index.js";
import { METHOD_CASES, type MethodCase, type Solved } from "./methodCases.js";
import { chosenCases, type MethodRow, type MethodsReport, methodsText } from "./methodsReport.js";
import { quoted, version } from "./provenance.js";
import { ratiosOf, type Summary, summarize } from "./statistics.js";

const HELP = `node bench/methods.mjs [OPTIONS]

Times each method of README's table that TensorLy has, too, beside TensorLy: from a tensor in
memory to the error that TensorLy's run ends at, on the same data, turn by turn.

  --rounds N       the most rounds of a case (5)
  --budget S       no round of a case begins after so many seconds, if it has three (5)
  --cases REGEX    cases whose name or call matches; all by default
  --python FILE    a Python with tensorly, and for NMF scikit-learn (python3)
  --json FILE      writes what was measured
  --list           prints the cases and stops
  --help

Examples
  node bench/methods.mjs --cases "PARAFAC2|coupled" --rounds 3
  node bench/methods.mjs --cases "tensor train"
  python3 -m venv --system-site-packages .cache/python
  .cache/python/bin/pip install tensorly scikit-learn
  node bench/methods.mjs --python .cache/python/bin/python --json bench/results/methods.json
`;

const script = join(import.meta.dirname, "peers/tensorly_methods.py");
/** iterations of the short run; an iteration's time is what a longer run takes beyond it */
const SHORT = 4;
/** iterations of the longer run */
const LONGER = 12;
/** milliseconds that one turn lasts at least, by repeating what is short */
const TURN = 60;
/** rounds that a case has whatever they take */
const LEAST_ROUNDS = 3;

interface Settings {
  rounds: number;
  budget: number;
  cases: string | undefined;
  python: string;
  json: string | undefined;
  list: boolean;
}

function parse(): Settings | null {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      budget: { type: "string", default: "5" },
      cases: { type: "string" },
      python: { type: "string", default: "python3" },
      json: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return null;
  }
  const [rounds, budget] = [Number(values.rounds), Number(values.budget)];
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds ${values.rounds}: needs a whole number from 1`);
  if (!(budget > 0)) throw new Error(`--budget ${values.budget}: needs a number of seconds above 0`);
  return { ...values, rounds, budget, cases: values.cases, json: values.json };
}

// ---- the script

interface Part {
  shape: number[];
  base64: string;
}

interface Names {
  names: string[];
  /** cases whose library is not installed */
  missing: string[];
  versions: Record<string, string>;
  /** what is called, by the case's name */
  functions: Record<string, string>;
}

interface Chosen {
  way?: string;
  goal: number;
  iterations: number;
  error: number;
  threads: number;
  failed: Record<string, string>;
}

/** The Python process, which answers one question after the other. */
class Script {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  constructor(private readonly python: string) {
    this.#child = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
    // where it cannot be started, the lines end
    this.#child.on("error", () => {});
    this.#child.stdin.on("error", () => {});
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ask<T>(question: { do: string } & Record<string, unknown>): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.python} did not run ${script}: it needs numpy and tensorly`);
    const answer = JSON.parse(value) as T & { refused?: string };
    if (answer.refused) throw new Error(answer.refused);
    return answer;
  }

  close(): void {
    this.#child.stdin.end();
  }
}

// ---- one case

interface Time {
  ms: number;
  cpu: number;
}

/** One turn of tenfold's: the mean of some runs. */
async function timeOurs(engine: Engine, run: () => Promise<Solved>, repetitions: number): Promise<Time> {
  await engine.idle();
  const before = process.cpuUsage();
  const start = performance.now();
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const result = await run();
    result.destroy();
  }
  await engine.idle();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { ms: ms / repetitions, cpu: (user + system) / 1000 / repetitions };
}

async function timeTheirs(peer: Script, iterations: number, repetitions: number): Promise<Time> {
  const times: Time[] = [];
  for (let repetition = 0; repetition < repetitions; repetition++)
    times.push(await peer.ask<Time>({ do: "time", iterations }));
  const mean = (of: (time: Time) => number): number => times.reduce((sum, time) => sum + of(time), 0) / times.length;
  return { ms: mean(({ ms }) => ms), cpu: mean(({ cpu }) => cpu) };
}

/** What a result loses, in f64. */
async function errorOf(engine: Engine, peer: Script, result: Solved): Promise<number> {
  const tensors = result.parts.filter((part): part is Tensor => part !== null);
  const values = (await engine.read(tensors)) as Float32Array[];
  const numbers = new Map(tensors.map((tensor, index) => [tensor, values[index]!]));
  const parts = result.parts.map((part): Part | null => {
    if (!part) return null;
    const { buffer, byteOffset, byteLength } = numbers.get(part)!;
    return { shape: [...part.shape], base64: Buffer.from(buffer, byteOffset, byteLength).toString("base64") };
  });
  result.destroy();
  return (await peer.ask<{ error: number }>({ do: "error", parts })).error;
}

/** iterations of the first look at whether tenfold gets to the goal */
const FIRST = 6;

/** The fewest iterations after which tenfold's error in f64 is at most the goal, and that error; at the most iterations where there are none. */
async function iterationsTo(
  goal: number,
  most: number,
  solve: (sweeps: number) => Promise<Solved>,
  lost: (result: Solved) => Promise<number>,
): Promise<{ iterations: number; error: number }> {
  let error = Number.POSITIVE_INFINITY;
  for (const limit of new Set([FIRST, LONGER, most].map((count) => Math.min(count, most)))) {
    const result = await solve(limit);
    const told = result.errors.findIndex((at) => at <= goal) + 1;
    error = await lost(result);
    if (error > goal) continue;
    // told errors are f32's: the next iterations are tried where f64 says that it is not there yet
    for (let iterations = told || limit; iterations < limit; iterations++) {
      const at = await lost(await solve(iterations));
      if (at <= goal) return { iterations, error: at };
    }
    return { iterations: limit, error };
  }
  return { iterations: most, error };
}

interface Way {
  way: string;
  run(sweeps: number): Promise<Solved>;
  iterations: number;
  error: number;
  ms: number;
}

/** Whether a way reaches the goal sooner than another; of two that do not reach it, whether it comes nearer. */
const isBetter = (one: Pick<Way, "error" | "ms">, other: Pick<Way, "error" | "ms">, goal: number): boolean =>
  other.error <= goal ? one.error <= goal && one.ms < other.ms : one.error < other.error;

const repetitionsFor = (ms: number): number => Math.min(16, Math.max(1, Math.ceil(TURN / ms)));

async function measure(
  { data, call, long, most, ways }: MethodCase,
  { engine, peer, names, rounds, budget }: { engine: Engine; peer: Script; names: Names } & Settings,
): Promise<MethodRow> {
  const row: MethodRow = {
    ...{
      name: data,
      calls: { ours: call, theirs: names.functions[data]! },
      ways: { ours: "", theirs: "" },
      threads: 0,
    },
    ...{ state: "not measured", goal: null, errors: null, iterations: null, ms: null, ratio: null, cpuRatio: null },
    ...{ iteration: null, rounds: 0 },
  };
  if (names.missing.includes(data)) return { ...row, message: "scikit-learn is not installed" };
  const { tensors: packed, isDirect } = await peer.ask<{ tensors: Part[]; isDirect: boolean }>({
    do: "open",
    case: data,
  });
  const chosen = await peer.ask<Chosen>({ do: "choose", long });
  if (!chosen.way) return { ...row, message: `TensorLy failed: ${Object.values(chosen.failed).join("; ")}` };
  const { goal, iterations: theirIterations } = chosen;
  const tensors = packed.map(({ shape, base64 }) => {
    const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
    return engine.tensor(shape, new Float32Array(bytes.buffer));
  });
  try {
    const lost = (result: Solved): Promise<number> => errorOf(engine, peer, result);
    const failed: string[] = [];
    let best: Way | null = null;
    for (const [way, solve] of Object.entries(ways)) {
      const run = (sweeps: number): Promise<Solved> => solve(engine, tensors, sweeps);
      try {
        const reached = await iterationsTo(goal, isDirect ? 1 : most, run, lost);
        // what does not get there is not timed
        const ms = reached.error <= goal ? (await timeOurs(engine, () => run(reached.iterations), 1)).ms : 0;
        if (best === null || isBetter({ ms, ...reached }, best, goal)) best = { way, run, ms, ...reached };
      } catch (reason) {
        failed.push(`${way || call}: ${(reason as Error).message}`);
      }
    }
    if (!best) return { ...row, message: failed.join("; ") };
    const { way, run, iterations, error, ms: ourMs } = best;
    const isReached = error <= goal;
    let round = 0;
    const samples = { ours: [] as Time[], theirs: [] as Time[] };
    const perIteration = { ours: [] as number[], theirs: [] as number[] };
    const ours = (sweeps: number, repetitions: number) => timeOurs(engine, () => run(sweeps), repetitions);
    const theirs = (sweeps: number, repetitions: number) => timeTheirs(peer, sweeps, repetitions);
    const longer = Math.min(LONGER, long);
    const repetitions = {
      ours: repetitionsFor(ourMs),
      theirs: repetitionsFor((await theirs(theirIterations, 1)).ms),
    };
    // some rounds tell enough of an iteration
    const isTimed = (): boolean => !isDirect && round < LEAST_ROUNDS;
    const turn = {
      ours: async () => {
        if (isReached) samples.ours.push(await ours(iterations, repetitions.ours));
        if (isTimed())
          perIteration.ours.push(((await ours(longer, 1)).ms - (await ours(SHORT, 1)).ms) / (longer - SHORT));
      },
      theirs: async () => {
        samples.theirs.push(await theirs(theirIterations, repetitions.theirs));
        if (isTimed())
          perIteration.theirs.push(((await theirs(longer, 1)).ms - (await theirs(SHORT, 1)).ms) / (longer - SHORT));
      },
    };
    const begun = performance.now();
    for (; round < rounds; round++) {
      if (round >= LEAST_ROUNDS && performance.now() - begun > 1000 * budget) break;
      for (const side of round % 2 ? (["theirs", "ours"] as const) : (["ours", "theirs"] as const)) await turn[side]();
    }
    const msOf = (times: Time[]): Summary => summarize(times.map(({ ms }) => ms));
    const ratio = (of: (time: Time) => number): Summary =>
      summarize(ratiosOf(samples.ours.map(of), samples.theirs.map(of)));
    return {
      ...row,
      ways: { ours: way, theirs: chosen.way },
      threads: chosen.threads,
      state: isReached ? "reached" : "not reached",
      goal,
      errors: { ours: error, theirs: chosen.error },
      iterations: isDirect ? null : { ours: iterations, theirs: theirIterations },
      ms: isReached ? { ours: msOf(samples.ours), theirs: msOf(samples.theirs) } : null,
      ratio: isReached ? ratio(({ ms }) => ms) : null,
      cpuRatio: isReached ? ratio(({ cpu }) => cpu) : null,
      iteration: isDirect
        ? null
        : {
            ...{ ours: summarize(perIteration.ours), theirs: summarize(perIteration.theirs) },
            ratio: summarize(ratiosOf(perIteration.ours, perIteration.theirs)),
          },
      rounds: round,
      ...(failed.length && { message: `failed: ${failed.join("; ")}` }),
    };
  } finally {
    for (const tensor of tensors) tensor.destroy();
  }
}

// ---- the run

const nameOf = ({ data, call }: MethodCase): string => `${data}: ${call}`;

async function main(settings: Settings): Promise<void> {
  const chosen = new Set(chosenCases(METHOD_CASES.map(nameOf), settings.cases));
  if (settings.list) {
    for (const name of chosen) console.log(name);
    return;
  }
  const peer = new Script(settings.python);
  const names = await peer.ask<Names>({ do: "names" });
  const unknown = METHOD_CASES.filter(({ data }) => !names.names.includes(data));
  if (unknown.length) throw new Error(`${script} has no ${unknown.map(({ data }) => data).join(", ")}`);
  const engine = await openEngine();
  const report: MethodsReport = {
    adapter: engine.adapterName,
    environment: `Node ${process.versions.node} with Dawn`,
    machine: { processor: cpus()[0]!.model.trim(), cores: cpus().length },
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    command: `node bench/methods.mjs ${process.argv.slice(2).map(quoted).join(" ")}`.trim(),
    version: version(),
    peers: names.versions,
    load: [loadavg()[0]!, Number.NaN],
    rounds: settings.rounds,
    rows: [],
  };
  for (const of of METHOD_CASES) {
    if (!chosen.has(nameOf(of))) continue;
    const start = performance.now();
    process.stderr.write(`${nameOf(of)} … `);
    const row = await measure(of, { engine, peer, names, ...settings }).catch(
      (error: Error): MethodRow => ({
        ...{
          name: of.data,
          calls: { ours: of.call, theirs: names.functions[of.data]! },
          ways: { ours: "", theirs: "" },
          threads: 0,
        },
        ...{ state: "not measured", message: error.message.split("\n")[0]!, goal: null, errors: null },
        ...{ iterations: null, ms: null, ratio: null, cpuRatio: null, iteration: null, rounds: 0 },
      }),
    );
    report.rows.push(row);
    const told = row.ratio ? `ours ÷ ${row.ratio.median.toPrecision(3)}` : (row.message ?? row.state);
    process.stderr.write(`${told}, ${((performance.now() - start) / 1000).toFixed(0)} s\n`);
  }
  report.load[1] = loadavg()[0]!;
  console.log(methodsText(report));
  if (settings.json) {
    writeAtomic(settings.json, `${JSON.stringify(report, null, 1)}\n`);
    console.log(`wrote ${settings.json}`);
  }
  peer.close();
  engine.destroy();
}

try {
  const settings = parse();
  if (settings) await main(settings);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
process.exit();
