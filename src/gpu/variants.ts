import { KernelError, TenfoldError } from "./errors.js";
import type { Constants, Kernel } from "./kernel.js";
import { shown } from "./options.js";
import type { Scheduler } from "./schedule.js";

/** The names that `new Engine(device, { variants })` may force, by choice. */
const choices = new Map<string, Set<string>>();

/** Makes a choice and its variants known to engines that are opened later. */
export function declareChoice(name: string, variants: readonly string[]): void {
  let known = choices.get(name);
  if (!known) choices.set(name, (known = new Set()));
  for (const variant of variants) known.add(variant);
}

/** Whether any choice is known: ops declare theirs when they are imported. */
export const knowsChoices = (): boolean => choices.size > 0;

/** Refuses forced choices by name that are not known, or whose variant is not. */
export function checkForced(operation: string, forced: Readonly<Record<string, string>>): void {
  for (const [name, variant] of Object.entries(forced)) {
    const known = choices.get(name);
    if (!known)
      throw new TenfoldError(
        `${operation}: variants has no choice "${name}"; there are ${[...choices.keys()].join(", ")}`,
      );
    if (variant !== undefined && !known.has(variant))
      throw new TenfoldError(
        `${operation}: ${name} has no variant ${shown(variant)}; there are ${[...known].join(", ")}`,
      );
  }
}

/**
 * Kernels that do the same with the same bindings and params, of which one is best on a given adapter. Record it like a
 * kernel; compiling picks one by timing `sample` once per adapter: the first, unless another one is clearly faster. A choice
 * can be forced: `new Engine(device, { variants: { matmul: "tiled" } })`. Make variants before the engine that forces one.
 */
export class Variants {
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
    const known = choices.get(name);
    for (const variant in kernels) if (!known?.has(variant)) declareChoice(name, [variant]);
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
