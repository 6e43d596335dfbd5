/** CP's first start by generalised eigenvalues: in a file that nothing else imports, so that it loads when it pays. */
import type { Tensor } from "../gpu/index.js";
import { Resident, type Source } from "../sources/index.js";
import { gevd } from "./cpGevd.js";
import { GEVD_ENTRIES, type GevdTold, LEAST_WEIGHT, normaliseColumns, type Task } from "./cpStarts.js";
import type { TensorScope } from "./tensorScope.js";

/** A start by generalised eigenvalues, in units, and what they told. */
interface StartByGevd {
  factors: Float32Array[];
  told: GevdTold;
}

/**
 * The first start by generalised eigenvalues; null where there are none. A tensor that is too large for the host gives them by a core with these
 * extents.
 *
 * @param random the start without them
 */
export async function gevdStart(
  source: Source,
  reduced: Source,
  task: Task,
  ranks: readonly number[],
  random: readonly Float32Array[],
  scope: TensorScope,
): Promise<StartByGevd | null> {
  const { rank } = task;
  if (reduced instanceof Resident && reduced.size <= GEVD_ENTRIES)
    return await beginByGevd(reduced.tensor("cp"), random, task);
  const { coreOfHosvd } = await import("./cpCompression.js");
  const core = await coreOfHosvd(source, ranks, task, scope);
  const narrow = random.map((factor, mode) => factor.subarray(0, core.tensor.core.shape[mode]! * rank));
  const start = await beginByGevd(core.tensor.core, narrow, task);
  return start && { ...start, factors: [...(await core.widen(start.factors, rank))] };
}

/** The start that x itself gives. Terms that x has no rank for are random, and next to nothing. */
async function beginByGevd(
  x: Tensor,
  random: readonly Float32Array[],
  { rank, unit, seed }: Task,
): Promise<StartByGevd | null> {
  const values = await x.engine.read(x);
  const start = gevd(values, x.shape, rank, seed);
  if (!start) return null;
  const { rank: terms, complexPairs, factors } = start;
  const scale = unit ** (-1 / x.order);
  const least = LEAST_WEIGHT ** (1 / x.order);
  return {
    factors: random.map((factor, mode) => {
      const { columns } = normaliseColumns(factor, rank);
      return columns.map((value, at) => (at % rank < terms ? factors[mode]![at]! * scale : value * least));
    }),
    told: { terms, complexPairs },
  };
}
