/**
 * The protocol. Of every case: inputs made once, the reference computed in f64; every party uploads its operands, runs once
 * (compiling) and is checked; then rounds, in each of which every party has its turn, in another order every time. A turn is
 * as many repetitions, one submit of them where the party can do that, as last `sampleMs`, or `MOST_REPETITIONS`; what counts
 * is its wall time until the queue is empty, divided by the repetitions. After our own turns the same work is profiled: a pass
 * and two timestamps a dispatch.
 */
import { Engine } from "../src/gpu/index.js";
import { alternativesOf } from "../src/ops/adapter.js";
import type { Case, Inputs, Peer, Prepared } from "./case.js";
import { takeErrors } from "./deviceErrors.js";
import { prepareOurs } from "./ours.js";
import { OURS, type Result, type Row } from "./result.js";
import { ratiosOf, summarize } from "./statistics.js";

export interface MeasureOptions {
  /** most rounds of a case; 0 only checks */
  rounds: number;
  /** milliseconds that one turn should last at least */
  sampleMs: number;
  /** seconds after which a case begins no further round, once it has three, or one that took longer by itself */
  budget: number;
  /** measure each variant of our kernels, not only the one chosen for the adapter */
  variants: boolean;
  /** told before each step: `tfjs: first run` */
  onStep?: (step: string) => void;
}

export const DEFAULTS: MeasureOptions = { rounds: 9, sampleMs: 100, budget: 30, variants: true };

interface Party {
  row: Row;
  /** null for peers that cannot */
  prepare: () => Promise<Prepared | null>;
  prepared?: Prepared;
  engine?: Engine;
  /** milliseconds a run */
  samples: number[];
  kernelSamples: number[];
}

/** of a turn: shorter work is not timed as long as asked */
const MOST_REPETITIONS = 512;

export async function measure(
  device: GPUDevice,
  benchCase: Case,
  peers: readonly Peer[],
  options: MeasureOptions = DEFAULTS,
): Promise<Result> {
  const steps = benchCase.steps ?? 1;
  options.onStep?.("inputs and reference");
  const inputs = benchCase.inputs();
  const check = benchCase.reference(inputs);
  const isRight = (outputs: readonly Float32Array[]): boolean => check(outputs) <= benchCase.tolerance;
  const ours = oursOf(device, benchCase, inputs, options.variants);
  const theirs = peers.map((peer) => party(peer.name, () => peer.prepare(benchCase.work, inputs, isRight)));
  const parties = [...ours, ...theirs];
  try {
    for (const party of parties) {
      options.onStep?.(`${party.row.party}: first run`);
      await firstRun(party, check, benchCase, steps);
      if (party.row.state !== "measured") release(party);
    }
    const able = options.rounds ? parties.filter(({ row }) => row.state === "measured") : [];
    for (const party of able) {
      options.onStep?.(`${party.row.party}: warm-up`);
      await attempt(party, () => calibrate(party, options.sampleMs));
    }
    const started = performance.now();
    for (let round = 0; round < options.rounds; round++) {
      const spent = performance.now() - started > 1000 * options.budget;
      if (spent && (round >= 3 || round === 1)) break;
      options.onStep?.(`round ${round + 1}`);
      const present = able.filter(({ row }) => row.state === "measured");
      for (let turn = 0; turn < present.length; turn++) {
        // every party comes first in some round, and follows another one in the next
        const forwards = (turn + round) % present.length;
        const party = present[round % 2 ? present.length - 1 - forwards : forwards]!;
        await attempt(party, async () => {
          const ms = (await timed(() => party.prepared!.run(party.row.repetitions))) / party.row.repetitions;
          const kernels = await party.prepared!.kernelTime?.();
          party.samples.push(ms);
          if (kernels) party.kernelSamples.push(kernels);
        });
      }
    }
    for (const { row, samples, kernelSamples } of able) {
      if (row.state !== "measured") continue;
      const aStep = (list: readonly number[]): number[] => list.map((ms) => ms / steps);
      row.ms = { ...summarize(aStep(samples)), samples: aStep(samples) };
      if (kernelSamples.length !== samples.length) continue;
      row.kernels = summarize(aStep(kernelSamples));
      row.wallToKernels = summarize(ratiosOf(samples, kernelSamples));
    }
  } finally {
    for (const party of parties) release(party);
  }
  const yardstick = ours[0]!;
  for (const { row, samples } of parties) {
    if (!row.ms || !yardstick.row.ms) continue;
    row.ratio = summarize(ratiosOf(samples, yardstick.samples));
  }
  return {
    name: benchCase.name,
    shapes: benchCase.shapes,
    flops: benchCase.flops / steps,
    bytes: benchCase.bytes / steps,
    steps,
    rows: parties.map(({ row }) => row),
    goals: benchCase.goals ?? [],
  };
}

/** Ours and our variants, each with an engine of its own on the shared device, so that it counts apart. */
function oursOf(device: GPUDevice, benchCase: Case, inputs: Inputs, variants: boolean): Party[] {
  const partyOf = (name: string, forced: Record<string, string>): Party => {
    const engine = new Engine(device, { variants: forced });
    return { ...party(name, () => prepareOurs(engine, benchCase, inputs)), engine };
  };
  const parties = [partyOf(OURS, {})];
  const { choice, alternatives = {} } = benchCase;
  for (const [name, prepare] of Object.entries(alternatives)) {
    const engine = new Engine(device);
    parties.push({ ...party(`${OURS} (${name})`, () => prepare(engine, inputs)), engine });
  }
  if (variants && choice) {
    const names = alternativesOf(parties[0]!.engine!, choice);
    if (names.length > 1) parties.push(...names.map((name) => partyOf(`${OURS} (${name})`, { [choice]: name })));
  }
  return parties;
}

const party = (name: string, prepare: Party["prepare"]): Party => ({
  row: emptyRow(name),
  prepare,
  samples: [],
  kernelSamples: [],
});

const emptyRow = (party: string): Row => ({
  party,
  state: "measured",
  interleaved: true,
  error: null,
  firstMs: null,
  ms: null,
  repetitions: 0,
  ratio: null,
  kernels: null,
  wallToKernels: null,
  counts: null,
});

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Runs a party's work; what it throws is its row's, not the run's. */
async function attempt<T>({ row }: Party, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    row.state = "failed";
    row.message = (error as Error).message ?? String(error);
    return undefined;
  }
}

async function firstRun(
  party: Party,
  check: (outputs: readonly Float32Array[]) => number,
  { tolerance, isTarget }: Case,
  steps: number,
): Promise<void> {
  const { row, engine } = party;
  takeErrors();
  await attempt(party, async () => {
    // preparing uploads; for ours it compiles too, for peers the first run does
    const started = performance.now();
    const prepared = await party.prepare();
    if (!prepared) {
      row.state = "cannot";
      return;
    }
    party.prepared = prepared;
    await prepared.run(1);
    if (prepared.way) row.way = prepared.way;
    row.firstMs = prepared.firstMs ?? performance.now() - started;
    // before the results are read: a user may leave them where they are
    const peakBytes = engine?.memory().peak ?? 0;
    row.error = check(await prepared.outputs());
    if (isTarget && row.error > tolerance) {
      row.state = "not reached";
      row.message = `error ${row.error.toExponential(1)} after ${prepared.way}, ${tolerance} asked`;
      return;
    }
    if (!(row.error <= tolerance)) {
      row.state = "WRONG";
      row.message = `relative error ${row.error.toExponential(1)}, at most ${tolerance} allowed`;
    }
    if (!engine) {
      const [complaint] = takeErrors();
      if (row.state === "WRONG" && complaint) Object.assign(row, { state: "cannot", message: complaint });
      return;
    }
    const before = { ...engine.counters };
    await prepared.run(1);
    const { counters } = engine;
    row.counts = {
      reads: prepared.reads ?? null,
      dispatches: (counters.dispatches - before.dispatches) / steps,
      submits: (counters.submits - before.submits) / steps,
      readbacks: (counters.readbacks - before.readbacks) / steps,
      peakBytes,
    };
  });
}

/** Finds how many repetitions last long enough; warms up by it. */
async function calibrate({ prepared, row }: Party, sampleMs: number): Promise<void> {
  let ms = await timed(() => prepared!.run(1));
  row.repetitions = 1;
  while (ms < sampleMs && row.repetitions < MOST_REPETITIONS) {
    // no more than eightfold at once: the first tries are slow ones
    const wanted = Math.ceil((row.repetitions * sampleMs * 1.2) / Math.max(ms, 0.01));
    row.repetitions = Math.min(MOST_REPETITIONS, 8 * row.repetitions, Math.max(row.repetitions + 1, wanted));
    ms = await timed(() => prepared!.run(row.repetitions));
  }
}

function release(party: Party): void {
  try {
    party.prepared?.destroy();
    party.engine?.destroy();
  } catch {
    // a lost device has nothing left to free
  }
  delete party.prepared;
  delete party.engine;
}
