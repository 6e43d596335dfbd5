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

/** What is timed: layers on a batch of one sample shape. */
export interface Timed {
  layers: readonly Layer[];
  /** batch×sample shape */
  shape: readonly number[];
}

/** How passes are timed: a number of milliseconds for every one of them, or any other measure in which less is faster. */
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
 * Milliseconds of forward passes, from rounds in which all take their turn, so that a busy moment hits all alike. The first
 * pass has its median; every other one the first's, times the median of its ratios to the first in the same round: a machine
 * that slows down half way leaves the ratios as they are. A turn replays its pass for `sampleMs` at least. Many short rounds
 * beat few long ones: on a shared machine the ratio of two networks varied by 10 % with 5 rounds of 20 ms, by 3 % with 31 of
 * 10 ms. The layers belong to networks already.
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

/** @internal One time a pass from the samples of all rounds: the first's median, scaled by the median of paired ratios. */
export function timesOf(samples: readonly (readonly number[])[]): number[] {
  const [first = []] = samples;
  const whole = median([...first]);
  return samples.map((own) => whole * median(own.map((value, round) => value / first[round]!)));
}
