/** Measures the adapter's peak rates, with which the report compares every row. */
import { type Engine, grid1d, Kernel, type Schedule, type Scheduler } from "../src/gpu/index.js";
import copyShader from "./shaders/copy_probe.wgsl";
import fmaShader from "./shaders/fma_probe.wgsl";

const copy = new Kernel(copyShader, ({ vectors }, { WIDTH, RUN }) => grid1d(vectors!, WIDTH! * RUN!));

const INVOCATIONS = 2 ** 16;

export interface Probes {
  /** flop/s of fused multiply-adds in registers */
  flops: number;
  /** bytes/s of a copy, reads and writes added up */
  bytes: number;
}

/** The best rates over a few shapes of both probes; about a second of work. */
export async function probe(engine: Engine): Promise<Probes> {
  let flops = 0;
  for (const FUSED of [true, false]) {
    const time = async (rounds: number, invocations: number): Promise<number> => {
      const kernel = new Kernel(fmaShader, (_, { WIDTH }) => [invocations / WIDTH!], { FUSED });
      return fastest(engine, (s) => s.run(kernel, { out: s.tensor([invocations]) }, { rounds, factor: 0.5 }));
    };
    // more rounds until a dispatch lasts 20 ms, because a GPU takes far less for the first try
    let rounds = 64;
    let seconds = await time(rounds, INVOCATIONS);
    while (seconds < 0.02 && rounds < 2 ** 18) {
      rounds *= 4;
      seconds = await time(rounds, INVOCATIONS);
    }
    flops = Math.max(flops, (64 * rounds * INVOCATIONS) / seconds);
    // a large GPU needs more invocations at once
    if (rounds > 2 ** 10)
      flops = Math.max(flops, (64 * rounds * 4 * INVOCATIONS) / (await time(rounds, 4 * INVOCATIONS)));
  }
  let bytes = 0;
  // 128 MiB: more than any cache, and at most what a binding may have
  const size = 2 ** 27 / 4;
  for (const RUN of [1, 4, 16]) {
    const record = (s: Scheduler) =>
      s.run(copy.with({ RUN }), { x: s.tensor([size]), out: s.tensor([size]) }, { vectors: size / 4 });
    bytes = Math.max(bytes, (2 * 4 * size) / (await fastest(engine, record)));
  }
  return { flops, bytes };
}

/** Seconds of one replay, the least of five measurements. */
async function fastest(engine: Engine, record: (s: Scheduler) => void): Promise<number> {
  const s = engine.scheduler("probe");
  let schedule: Schedule | null = null;
  try {
    record(s);
    schedule = await s.compile();
    const time = async (times: number): Promise<number> => {
      const started = performance.now();
      engine.submit(schedule!, times);
      await engine.idle();
      return (performance.now() - started) / 1000 / times;
    };
    // replays for 20 ms or more, so that the time of submitting and waiting hardly counts
    await time(1);
    let times = 1;
    for (let once = await time(1); once * times < 0.02 && times < 2048; once = await time(times)) times *= 2;
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 5; round++) least = Math.min(least, await time(times));
    return least;
  } finally {
    schedule?.destroy();
    s.destroy();
  }
}
