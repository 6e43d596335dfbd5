import { KernelError, TenfoldError } from "./errors.js";
import type { Constants, Kernel } from "./kernel.js";
import type { Scheduler } from "./schedule.js";

/**
 * Kernels that do the same with the same bindings and params, of which one is best on a given adapter. Record it like a
 * kernel; compiling picks one by timing `sample` once per adapter, the first where none is clearly faster. A choice can be
 * forced: `new Engine(device,
 * { variants: { matmul: "tiled" } })`.
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
