import type { Constants, Kernel } from "./kernel.js";
import type { Scheduler } from "./schedule.js";

/**
 * Kernels that do the same with the same bindings and params, of which one is best on a given adapter. Record it like a
 * kernel; compiling picks one by timing `sample` once per adapter. A choice can be forced: `new Engine(device,
 * { variants: { matmul: "tiled" } })`.
 */
export class Variants {
  constructor(
    readonly name: string,
    readonly kernels: Readonly<Record<string, Kernel>>,
    /** records a small typical problem with one of the kernels */
    readonly sample: (s: Scheduler, kernel: Kernel) => void,
  ) {}

  /** Every kernel specialised alike; the choice stays that of the name. */
  with(constants: Constants): Variants {
    const kernels = Object.entries(this.kernels).map(([name, kernel]) => {
      const known = Object.entries(constants).filter(([constant]) => constant in kernel.source.constants);
      return [name, kernel.with(Object.fromEntries(known))] as const;
    });
    return new Variants(this.name, Object.fromEntries(kernels), this.sample);
  }
}
