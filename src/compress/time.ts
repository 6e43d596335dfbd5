import {
  checkOption,
  checkOptions,
  dispose,
  Engine,
  instanceOf,
  optionRules,
  type Schedule,
  type Tensor,
} from "../gpu/index.js";
import type { Layer } from "../nn/index.js";

/** A forward pass to be timed: layers in turn, on a batch of zeros. */
export interface Timed {
  layers: readonly Layer[];
  /** shape of the batch, batch×sample shape */
  shape: readonly number[];
}

/** Times forward passes: gives a number of milliseconds for each pass, or of any other unit in which less is faster. */
export type Timer = (
  engine: Engine,
  passes: readonly Timed[],
  options?: { rounds?: number; sampleMs?: number },
) => Promise<number[]>;

const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/**
 * Milliseconds of forward passes. In every round each pass has a turn of at least `sampleMs` milliseconds, so that a busy moment
 * of the machine affects all passes alike. The time of the first pass is the median of its turns. The time of another pass is
 * that median times the median ratio of its turn to the first pass's turn in the same round, because the ratios stay the same on
 * a machine that becomes slower. Many short rounds are more accurate than few long ones: on a shared machine the ratio of two
 * networks varied by 10 % with 5 rounds of 20 ms, and by 3 % with 31 rounds of 10 ms.
 *
 * @param passes their layers belong to networks
 * @param options.rounds 15 by default
 * @param options.sampleMs 10 by default
 * @throws TenfoldError where an argument is unfit
 */
export async function timeForward(
  engine: Engine,
  passes: readonly Timed[],
  options: { rounds?: number; sampleMs?: number } = {},
): Promise<number[]> {
  checkOption("timeForward", "engine", engine, instanceOf(Engine, "an Engine"));
  checkOptions("timeForward", options, { rounds: optionRules.positive, sampleMs: optionRules.atLeastZero });
  const { rounds = 15, sampleMs = 10 } = options;
  const inputs: Tensor[] = [];
  const schedules: Schedule[] = [];
  try {
    for (const { layers, shape } of passes) {
      const x = engine.tensor(shape, null, { label: "timed input" });
      inputs.push(x);
      const s = engine.scheduler("timed");
      try {
        let y = x;
        for (const layer of layers) y = layer.forward(s, y, { training: false });
        schedules.push(await s.compile());
      } finally {
        s.destroy();
      }
    }
    const turn = async (schedule: Schedule, times: number): Promise<number> => {
      const started = performance.now();
      engine.submit(schedule, times);
      await engine.idle();
      return (performance.now() - started) / times;
    };
    const repetitions: number[] = [];
    for (const schedule of schedules) {
      await turn(schedule, 1);
      const once = await turn(schedule, 3);
      repetitions.push(Math.max(1, Math.min(200, Math.ceil(sampleMs / Math.max(once, 0.01)))));
    }
    const samples = schedules.map((): number[] => []);
    for (let round = 0; round < rounds; round++)
      for (const [index, schedule] of schedules.entries())
        samples[index]!.push(await turn(schedule, repetitions[index]!));
    return timesOf(samples);
  } finally {
    for (const item of [...schedules, ...inputs]) item[dispose]();
  }
}

/** @internal The time of every pass, from its samples in all rounds, as {@link timeForward} defines it. */
export function timesOf(samples: readonly (readonly number[])[]): number[] {
  const [first = []] = samples;
  const firstTime = median([...first]);
  return samples.map((times) => firstTime * median(times.map((value, round) => value / first[round]!)));
}
