import { KernelError, TenfoldError } from "./errors.js";
import { type Constants, type Kernel, listOf } from "./kernel.js";
import { checkOption, type OptionRule } from "./options.js";
import type { Scheduler } from "./schedule.js";

/** What `new Engine(device, { variants })` may force a choice to. */
interface DeclaredChoice {
  names: Set<string>;
  /** numbers that it takes besides, if any */
  numbers?: OptionRule;
}

/** All choices, by name. */
const choices = new Map<string, DeclaredChoice>();

/** Makes a choice known to engines that are opened later: names of its variants, and a rule for numbers where it takes some. */
export function declareChoice(name: string, variants: readonly string[], numbers?: OptionRule): void {
  let choice = choices.get(name);
  if (!choice) choices.set(name, (choice = { names: new Set() }));
  for (const variant of variants) choice.names.add(variant);
  if (numbers) choice.numbers = numbers;
}

/** Whether any choice is known: ops declare theirs when they are imported. */
export const knowsChoices = (): boolean => choices.size > 0;

/** Refuses forced choices by name that are not known, or whose value is not one of theirs. */
export function checkForced(operation: string, forced: Readonly<Record<string, string | number>>): void {
  for (const [name, value] of Object.entries(forced)) {
    const choice = choices.get(name);
    if (!choice) {
      const known = [...choices.keys()].sort().join(", ");
      throw new TenfoldError(`${operation}: variants has no choice "${name}"; there are ${known}`);
    }
    if (value === undefined) continue;
    const { names, numbers } = choice;
    const known = names.size ? [`one of ${[...names].join(", ")}`] : [];
    checkOption(operation, name, value, {
      needs: [...(numbers ? [numbers.needs] : []), ...known].join(", or "),
      is: (value) => names.has(value as string) || !!numbers?.is(value),
    });
  }
}

/**
 * Kernels that do the same with the same bindings and params, of which one is best on a given adapter. Record it like a
 * kernel; compiling picks one by timing `sample` once per adapter: the first, unless another one is clearly faster. A choice
 * can be forced: `new Engine(device, { variants: { matmul: "tiled" } })`. Make variants before the engine that forces one.
 */
export class Variants {
  /** others of these kernels that were asked for, by the constants that they change */
  readonly #others = new Map<string, Variants>();

  constructor(
    readonly name: string,
    readonly kernels: Readonly<Record<string, Kernel>>,
    /** records a typical problem with one of the kernels: small at size 1, with edges `size` times as long up to 8 */
    readonly sample: (s: Scheduler, kernel: Kernel, size: number) => void,
  ) {
    const face = ({ source }: Kernel): string =>
      [...source.bindings, ...source.params]
        .map((part) => part.name)
        .filter((part) => !part.startsWith("_"))
        .sort()
        .join();
    const [first, ...others] = Object.values(kernels);
    if (!first) throw new TenfoldError(`${name}: needs at least one variant`);
    declareChoice(name, Object.keys(kernels));
    for (const other of others) {
      if (face(other) !== face(first))
        throw new KernelError(
          [first.name, other.name],
          `${name}: ${first.name} and ${other.name} differ in their bindings or params`,
        );
    }
  }

  /** Every kernel specialised alike; the choice stays that of the name. */
  with(constants: Constants): Variants {
    const key = listOf(constants);
    let others = this.#others.get(key);
    if (!others) {
      others = this.#specialised(constants);
      this.#others.set(key, others);
    }
    return others;
  }

  #specialised(constants: Constants): Variants {
    for (const constant of Object.keys(constants)) {
      if (!Object.values(this.kernels).some((kernel) => constant in kernel.source.constants))
        throw new TenfoldError(`${this.name}: no variant has a constant named "${constant}"`);
    }
    const kernels = Object.entries(this.kernels).map(([name, kernel]) => {
      const known = Object.entries(constants).filter(([constant]) => constant in kernel.source.constants);
      return [name, kernel.with(Object.fromEntries(known))] as const;
    });
    return new Variants(this.name, Object.fromEntries(kernels), this.sample);
  }
}
