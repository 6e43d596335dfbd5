/** CP without negative entries: an update by hierarchical alternating least squares, and what belongs to it. */
import { type Program, ShapeError } from "../gpu/index.js";
import {
  fusesHals,
  hals,
  halsUpdate,
  minimum,
  scaleColumns,
  sumOfSquares,
  type UnitColumns,
  unitColumns,
} from "../ops/index.js";
import { type Source, TensorReader } from "../sources/index.js";
import type { CpState, CpUpdate, FusedUpdate } from "./cpUpdates.js";

/**
 * A ≥ 0 by hierarchical alternating least squares (Cichocki & Phan 2009), from the factor as it is. Several passes over the columns are made
 * of one MTTKRP (Gillis & Glineur 2012).
 */
export const nonnegative: CpUpdate = {
  advice: "another start",
  keepsDirections: true,
  prepare: makeNonnegative,
  record({ s }, { product, normal, factor, weights }) {
    const scaled = scaleColumns(s, factor, weights);
    const next = hals(s, normal, product, { factor: scaled });
    s.release(scaled);
    return next;
  },
  correct: ({ s }, { product, normal, scaled }) => hals(s, normal, product, { factor: scaled, step: true }),
  fused: (_, rank) => (fusesHals(rank) ? { tellsError: true, begin: fusedSweep } : null),
};

/**
 * How much less than other errors from norms one is rounded that is a single difference, ‖X‖² less what all rows gain: it is known to 1e-6 down to
 * this part of where those are.
 */
export const ONE_DIFFERENCE = 0.25;

/** Two dispatches a mode: the update, and what takes all rows' norms. */
function fusedSweep({ factors, grams, weights, squaredNorm }: CpState): ReturnType<FusedUpdate["begin"]> {
  const normalise = (
    { s }: Program,
    update: ReturnType<typeof halsUpdate>,
    mode: number,
    last?: UnitColumns["last"],
  ) => {
    const factor = factors[mode]!;
    const matrices = [{ rows: factor.shape[0]!, start: 0 }];
    const { out: stack, parts } = update;
    unitColumns(s, {
      stack,
      matrices,
      parts,
      factors: factor,
      grams,
      modes: [mode],
      weights,
      keep: true,
      ...(last && { last }),
    });
    s.release(stack);
  };
  let pending: ReturnType<typeof halsUpdate> | undefined;
  return {
    record(p, product, mode) {
      const update = halsUpdate(p.s, { product, grams, mode, factor: factors[mode]!, weights });
      if (mode === factors.length - 1) pending = update;
      else normalise(p, update, mode);
    },
    finish(p, values, trace) {
      normalise(p, pending!, factors.length - 1, { squaredNorm, values, trace });
    },
  };
}

/** Turns every column so that its larger part is positive, and sets to 0 what is negative then. */
export function makeNonnegative(start: Float32Array, rank: number): void {
  for (let r = 0; r < rank; r++) {
    let [positive, negative] = [0, 0];
    for (let at = r; at < start.length; at += rank) {
      const value = start[at]!;
      if (value > 0) positive += value ** 2;
      else negative += value ** 2;
    }
    const sign = negative > positive ? -1 : 1;
    const isZero = positive + negative === 0;
    for (let at = r; at < start.length; at += rank) start[at] = isZero ? 1 : Math.max(0, sign * start[at]!);
  }
}

/** ‖min(X, 0)‖ / ‖X‖: no model without negative entries comes closer to X. Unknown of data that are not one tensor, or that change with the model. */
export async function negativePart(source: Source): Promise<number | undefined> {
  const { engine, squaredNorm } = source;
  if (!(source instanceof TensorReader) || (source as Source).refresh || !squaredNorm) return undefined;
  using squared = engine.tensor([1], null, { label: "negative part" });
  using zero = engine.tensor([1], null, { label: "zero" });
  await engine.run((s) => {
    const negative = minimum(s, source.tensor("negativePart", s), zero);
    sumOfSquares(s, negative, { out: squared });
    s.release(negative);
  }, "negative part");
  return Math.sqrt((await engine.read(squared))[0]! / squaredNorm);
}

/** The modes that `nonnegative` names, checked. */
export function nonnegativeModes(name: string, x: Shaped, asked: boolean | readonly number[]): ReadonlySet<number> {
  const modes = asked === true ? [...x.shape.keys()] : asked || [];
  for (const mode of modes)
    if (!(Number.isInteger(mode) && mode >= 0 && mode < x.shape.length))
      throw new ShapeError(
        `${name}: nonnegative has mode ${mode}, ${x} has modes 0 to ${x.shape.length - 1}; true stands for all of them`,
      );
  return new Set(modes);
}

/** What has a shape, and a name for errors. */
type Shaped = { readonly shape: readonly number[]; toString(): string };
