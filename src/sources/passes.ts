/** Several products in one pass over X, where it lies in slabs of mode 0. */
import type { Program, Tensor } from "../gpu/index.js";
import { TuckerTensor } from "../tensors/index.js";
import { overModes } from "./overModes.js";
import { TensorReader } from "./resident.js";
import { rowsOf, SlabResult } from "./slabs.js";
import type { Passes, Slab, Source } from "./source.js";

/** A source in slabs, on this machine or on others. */
export type InSlabs = Source & Required<Pick<Source, "slabSize">>;

export const liesInSlabs = (source: Source): source is InSlabs =>
  (source.eachSlab !== undefined || source.passes !== undefined) && source.slabSize !== undefined;

/** The passes of a source in slabs. */
export const passesOf = (source: InSlabs): Passes =>
  source.passes ?? new SlabPasses(source as Required<Pick<Source, "eachSlab">>);

/** The passes of what has its slabs on this machine. */
export class SlabPasses implements Passes {
  constructor(readonly source: Required<Pick<Source, "eachSlab">>) {}

  products(p: Program, factors: readonly Tensor[], out: (mode: number) => Tensor): void {
    const products = factors.map(({ shape }, mode) => new SlabResult(p, shape, out(mode)));
    this.source.eachSlab(p, (slab, start) => {
      const rows = rowsOf(p, factors[0]!, start, slab.shape[0]!);
      overModes(p, slab, [rows, ...factors.slice(1)], {}, (product, mode) => {
        if (mode === 0) products[0]!.put(product, start, { keep: true });
        else products[mode]!.add(product, { keep: true });
      });
      p.s.release(rows);
    });
  }

  projections(p: Program, bases: readonly (Tensor | null)[], out: ReadonlyMap<number, Tensor>): void {
    const results = new Map([...out].map(([mode, tensor]) => [mode, new SlabResult(p, tensor.shape, tensor)]));
    this.source.eachSlab(p, (slab, start) => {
      const rows = bases[0] ? rowsOf(p, bases[0], start, slab.shape[0]!) : null;
      projections(p, slab, [rows, ...bases.slice(1)], [...out.keys()], (part, mode) => {
        if (mode === 0 || !rows) results.get(mode)!.put(part, start, { keep: true });
        else results.get(mode)!.add(part, { keep: true });
      });
      if (rows) p.s.release(rows);
    });
  }

  core(p: Program, bases: readonly (Tensor | null)[], out: { core: Tensor; lost: Tensor }): void {
    const lined = new SlabResult(p, out.core.shape, out.core);
    const summed = new SlabResult(p, [1], out.lost);
    this.source.eachSlab(p, (slab, start) => {
      const part = slab.project(p, bases);
      summed.add(slab.residual(p, new TuckerTensor(part, bases)));
      lined.put(part, start);
    });
  }
}

/** Records the projections of x by all factors but one, for each of some modes; those of several modes share their first products. */
function projections(
  p: Program,
  x: Slab,
  factors: readonly (Tensor | null)[],
  modes: readonly number[],
  take: (projected: Tensor, mode: number) => void,
): void {
  if (modes.length === 1) {
    take(x.x, modes[0]!);
    return;
  }
  const half = Math.ceil(modes.length / 2);
  const [first, second] = [modes.slice(0, half), modes.slice(half)];
  for (const [unprojected, others] of [[first, second] as const, [second, first] as const]) {
    const some = factors.map((factor, mode) => (others.includes(mode) ? factor : null));
    const part = some.some((factor) => factor !== null) ? x.project(p, some) : null;
    projections(p, part ? new TensorReader(part) : x, factors, unprojected, take);
    if (part) p.s.release(part);
  }
}
