/** Finds the fastest of several kernels. Loaded when the first choice is to be made. */
import { TenfoldError } from "./errors.js";
import type { Scheduler } from "./schedule.js";
import type { Variants } from "./variants.js";

/** a variant is preferred to those listed before it when it takes less than this share of their time */
const NEAR = 0.8;
/** variants slower than the fastest by this factor are dropped before the next, larger sample */
const HOPELESS = 3;
/** rounds in which all variants take turns, after one run each that warms up */
const ROUNDS = 3;
/** milliseconds that the runs of one turn should last, and the most runs of one turn */
const TURN = 10;
const MOST_RUNS = 16;
/** samples grow while a turn of the fastest variant takes no more than this many milliseconds, up to the largest size */
const TOO_SHORT = 8;
const LARGEST_SIZE = 8;

/** @internal A variant's sample, ready to be timed. */
export interface Trial {
  /** milliseconds that so many runs take */
  time(runs: number): Promise<number>;
  destroy(): void;
}

/** @internal Prepares a variant's sample; `size` as in {@link Variants.sample}. */
export type PrepareTrial = (variant: string, size: number) => Promise<Trial>;

/** @internal Times every variant on its sample, in turn, and names the fastest. Samples that are over at once are enlarged. */
export async function fastestOf(variants: readonly string[], prepare: PrepareTrial): Promise<string> {
  let names = variants;
  for (let size = 1; ; size *= 2) {
    /** in milliseconds: the first run, and the best turn */
    const candidates: { name: string; warmUp: number; best: number; trial: Trial }[] = [];
    try {
      for (const name of names) {
        const candidate = { name, warmUp: 0, best: Number.POSITIVE_INFINITY, trial: await prepare(name, size) };
        candidates.push(candidate);
        candidate.warmUp = await candidate.trial.time(1);
      }
      const slowest = Math.max(...candidates.map(({ warmUp }) => warmUp));
      const runs = Math.ceil(Math.min(MOST_RUNS, Math.max(1, TURN / slowest)));
      for (let round = 0; round < ROUNDS; round++) {
        for (const candidate of candidates) candidate.best = Math.min(candidate.best, await candidate.trial.time(runs));
      }
    } finally {
      for (const { trial } of candidates) trial.destroy();
    }
    // near ties go to the variant listed first, so that the choice, and with it the rounding, is the same every time
    const fastest = candidates.reduce((best, other) => (other.best < NEAR * best.best ? other : best));
    names = candidates.filter(({ best }) => best <= HOPELESS * fastest.best).map(({ name }) => name);
    if (names.length === 1 || fastest.best > TOO_SHORT || size === LARGEST_SIZE) return fastest.name;
  }
}

/** @internal Choices that were probed, by what they depend on. */
export class ProbedChoices {
  readonly #choices = new Map<string, Promise<string>>();
  /** the end of the last probe */
  #idle: Promise<void> = Promise.resolve();

  /** The choice of this key: made, being made, or made by `probe` now. One probe at a time: they would slow each other down. */
  async of(key: string, probe: () => Promise<string>): Promise<string> {
    for (;;) {
      const underWay = this.#choices.get(key);
      if (!underWay) break;
      try {
        return await underWay;
      } catch {
        // another engine failed at it, perhaps as its device was lost: try again
      }
    }
    const choice = this.#idle.then(probe);
    this.#idle = choice.then(
      () => {},
      () => {},
    );
    this.#choices.set(key, choice);
    choice.catch(() => this.#choices.delete(key));
    return choice;
  }
}

/** @internal Choices shared by all engines of the process. */
export const processChoices = new ProbedChoices();

/** @internal A variant's sample, compiled and ready to be timed; its runs are not counted among what the engine has done. */
export async function trialOf(scheduler: Scheduler, variants: Variants, name: string, size: number): Promise<Trial> {
  const { engine } = scheduler;
  try {
    variants.sample(scheduler, variants.kernels[name]!, size);
  } catch (error) {
    scheduler.destroy();
    throw error;
  }
  // a sample that records variants would wait for the probe that it is part of
  const schedule = await scheduler.compileWith(async (inner) => {
    throw new TenfoldError(`${variants.name}: its sample records the variants ${inner.name}, needs kernels alone`);
  });
  return {
    time: async (runs) => {
      const started = performance.now();
      engine.submit(schedule, runs);
      engine.counters.submits--;
      engine.counters.dispatches -= runs * schedule.dispatches;
      await engine.idle();
      return performance.now() - started;
    },
    destroy: () => schedule.destroy(),
  };
}
