import { formatShape, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { planFromPartial } from "./families/mttkrpFromPartial.js";
import { mergeModes } from "./mergeModes.js";
import type { MttkrpOptions } from "./mttkrp.js";
import { addUp } from "./product.js";
import { assertCall, assertShape } from "./shapes.js";

/** Factors that the kernel binds. */
const MOST_WEIGHTS = 6;

/**
 * The rest of an MTTKRP from `partialMttkrp`'s result P over modes [start, stop): M[i, r], Iₙ×R, for a mode n in that range.
 * `factors` are those of modes start to stop − 1, in order; the one of `mode` is ignored.
 */
export function mttkrpFromPartial(
  s: Scheduler,
  partial: Tensor,
  factors: readonly Tensor[],
  modes: readonly [start: number, stop: number],
  mode: number,
  options: MttkrpOptions = {},
): Tensor {
  assertCall("mttkrpFromPartial", s, { partial }, { factors });
  const [start, stop] = modes;
  const operation = `mttkrpFromPartial (mode ${mode} of ${start} to ${stop})`;
  if (!(Number.isInteger(mode) && mode >= start && mode < stop))
    throw new ShapeError(`${operation}: the mode is outside the partial result`);
  if (partial.order !== stop - start + 1 || factors.length !== stop - start)
    throw new ShapeError(
      `${operation}: partial result ${formatShape(partial.shape)} with ${factors.length} factors, ` +
        `needs ${stop - start} modes and the rank`,
    );
  const columns = partial.shape.at(-1)!;
  const rows = partial.shape[mode - start]!;
  factors.forEach((factor, index) => {
    if (index !== mode - start)
      assertShape(operation, `factor ${start + index}`, factor, [partial.shape[index]!, columns]);
  });
  const shape = [rows, columns];
  if (options.out) assertShape(operation, "out", options.out, shape);
  const behind = factors.slice(mode - start + 1);
  const left = mergeModes(s, factors.slice(0, mode - start), behind.length ? MOST_WEIGHTS - 1 : MOST_WEIGHTS);
  const right = mergeModes(s, behind, MOST_WEIGHTS - left.factors.length);
  const weights = [...left.factors, ...right.factors];
  const outer = partial.size / rows / columns;
  const { kernel, split } = planFromPartial(s.engine, { rows, columns }, outer);
  const cut = split.count > 1;
  const out = cut
    ? s.tensor([split.count, ...shape], { label: "partial sums" })
    : (options.out ?? s.tensor(shape, { label: "mttkrp" }));
  const unused = s.tensor([1], { label: "no factor" });
  const weight = (index: number) => weights[index] ?? unused;
  s.run(
    kernel.with({ WEIGHTS: weights.length }),
    {
      x: partial,
      weight0: weight(0),
      weight1: weight(1),
      weight2: weight(2),
      weight3: weight(3),
      weight4: weight(4),
      weight5: weight(5),
      out,
    },
    {
      rows,
      columns,
      after: sizeOf(partial.shape.slice(mode - start + 1, -1)),
      outer,
      outer_chunk: split.outer,
      splits: split.count,
      extents: Array.from({ length: 8 }, (_, index) => weights[index]?.shape[0] ?? 1),
    },
  );
  s.release(unused, ...left.temporaries, ...right.temporaries);
  return cut && !options.unsummed ? addUp(s, out, options.out) : out;
}
