/** Which of several kernels an engine takes. How the fastest is found is in probe.ts. */
import { TenfoldError } from "./errors.js";
import type { Kernel } from "./kernel.js";
import type { ProbedChoices, Trial } from "./probe.js";
import { checkForced, knowsChoices, type Variants } from "./variants.js";

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
    const { adapterName, features, prepare } = this.#options;
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
    // code that is not there yet loads together with the probe; where that fails, compiling says so
    for (const variant of able) kernels[variant]!.source.load?.().catch(() => {});
    const key = [adapterName(), name, ...able].join("|");
    // loaded only where there is something to choose
    const { fastestOf, processChoices } = await import("./probe.js");
    const { choices = processChoices } = this.#options;
    const chosen = await choices.of(key, () => fastestOf(able, (variant, size) => prepare(variants, variant, size)));
    return kernels[chosen]!;
  }
}
