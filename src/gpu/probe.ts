import { TenfoldError } from "./errors.js";
import type { Kernel } from "./kernel.js";
import { checkForced, knowsChoices, type Variants } from "./variants.js";

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

/** Choices shared by all engines of the process. */
const processChoices = new ProbedChoices();

/** @internal What a chooser knows of the device that it chooses for. */
export interface ChooserOptions {
  adapterName: () => string;
  features: { has(feature: string): boolean };
  /** variants or numbers by the name of their choice, from the options of the engine */
  forced: Readonly<Record<string, string | number>>;
  /** prepares the sample of a kernel of `variants`, to be timed */
  prepare: (variants: Variants, variant: string, size: number) => Promise<Trial>;
  /** choices made before; those of the process where left out */
  choices?: ProbedChoices;
}

/** @internal Chooses among variants for one engine: what its options force, or what a probe finds fastest on its adapter. */
export class Chooser {
  readonly #options: ChooserOptions;
  /** forced choices cannot be judged before ops are imported, which declare them */
  #checked = false;

  constructor(options: ChooserOptions) {
    this.#options = options;
  }

  /** What the options of the engine force for this choice, if anything. */
  forced(choice: string): string | number | undefined {
    return this.#options.forced[choice];
  }

  /** Refuses forced choices that no op declares, once any op declares its own. */
  check(operation: string): void {
    if (this.#checked || !knowsChoices()) return;
    checkForced(operation, this.#options.forced);
    this.#checked = true;
  }

  /** The kernel in force; probes the first time on an adapter. */
  async choose(variants: Variants): Promise<Kernel> {
    const { adapterName, features, prepare, choices = processChoices } = this.#options;
    const { name, kernels } = variants;
    const forced = this.forced(name);
    if (forced !== undefined) {
      const kernel = kernels[forced];
      if (!kernel)
        throw new TenfoldError(`${name}: no variant "${forced}"; there are ${Object.keys(kernels).join(", ")}`);
      return kernel;
    }
    const able = Object.keys(kernels).filter((variant) =>
      kernels[variant]!.source.features.every((feature) => features.has(feature)),
    );
    if (able.length === 1) return kernels[able[0]!]!;
    const key = [adapterName(), name, ...able].join("|");
    const chosen = await choices.of(key, () => fastestOf(able, (variant, size) => prepare(variants, variant, size)));
    return kernels[chosen]!;
  }
}
