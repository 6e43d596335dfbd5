import normalizeShader from "../../shaders/als_normalize.wgsl?late";
import updateShader from "../../shaders/als_update.wgsl?late";
import { type Engine, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const grid = ({ rows, chunk }: Readonly<Record<string, number>>) => [Math.ceil(rows! / chunk!)];
const update = new Kernel(updateShader, grid);
const normalize = new Kernel(normalizeShader, grid);

/** Columns that the kernels hold in workgroup memory. */
export const MOST_ALS_RANK = 32;

/** Whether an update of this rank is one dispatch, {@link alsUpdate}, on this engine. */
export const fusesAls = (engine: Engine, rank: number): boolean => rank <= setting(engine, "fuseAls");

/** Rows that a workgroup solves; each factorises the same small matrix for itself. */
const chunkOf = (engine: Engine, rows: number): number =>
  Math.max(setting(engine, "alsRows"), Math.ceil(rows / setting(engine, "alsWorkgroups")));

/** A factor that is solved and not yet normalised. */
export interface UnnormalizedFactor {
  mode: number;
  factor: Tensor;
  /** sums for AᵀA and ⟨M, A⟩, a part a workgroup, to be added up; a temporary of the schedule */
  parts: Tensor;
}

export interface AlsUpdate {
  /** the MTTKRP of the mode, I_n×R, or parts of it that are still to be added up, S×I_n×R */
  product: Tensor;
  /** a row a mode: the R×R Gram matrix of its factor, and R numbers for the norms that its columns had */
  grams: Tensor;
  mode: number;
  /** I_n×R, written */
  factor: Tensor;
  /**
   * the factor of the mode before, if `product` was made with it before its columns had norm 1: they get norm 1, and its row of
   * `grams` is written
   */
  previous?: UnnormalizedFactor | undefined;
  /** a mode whose factor was brought to norm 1 after the partial result was made that `product` comes from */
  unscaled?: number | undefined;
  /** added to the diagonal of V, times its mean */
  ridge: number;
  /**
   * How much the update holds on to the present factor, in units of V's mean diagonal (0 by default): it minimises
   * ‖X − X̂‖² + proximal·‖A − A₀‖². A₀ is `factor`, whose columns have norm 1, times the present weights
   */
  proximal?: number;
  /** [R], the present weights of the model, for the first mode of a sweep; needed where `proximal` is not 0 */
  weights?: Tensor;
}

/**
 * One ALS update of a CP factor in one dispatch: A = M·V⁻¹, V the Hadamard product of the other modes' Gram matrices (Kolda &
 * Bader 2009, figure 3.3), for R ≤ {@link MOST_ALS_RANK}. The norms of A's columns take all workgroups' rows, so the next
 * mode's update divides by them, or after the last mode `alsNormalize`. Together they are the same as `solveSymmetric`,
 * `normalizeColumns` and `gram` for every mode in turn.
 */
export function alsUpdate(s: Scheduler, operands: AlsUpdate): UnnormalizedFactor {
  assertCall("alsUpdate", s);
  const { product, grams, mode, factor, previous, unscaled, ridge, proximal = 0, weights } = operands;
  const [rows, rank] = product.shape.slice(-2) as [number, number];
  if (product.order < 2 || product.order > 3 || rank > MOST_ALS_RANK)
    throw new ShapeError(`alsUpdate: ${product}, needs a matrix of at most ${MOST_ALS_RANK} columns, or parts of one`);
  const { modes, stride } = assertGrams("alsUpdate", grams, rank);
  assertShape("alsUpdate", "factor", factor, [rows, rank]);
  if (previous && previous.mode !== mode - 1)
    throw new ShapeError(`alsUpdate (mode ${mode}): mode ${previous.mode} cannot be the one before`);
  const splits = product.size / (rows * rank);
  const chunk = chunkOf(s.engine, rows);
  const parts = s.tensor([Math.ceil(rows / chunk), rank ** 2 + 1], { label: "ALS parts" });
  if (proximal && !weights) throw new ShapeError(`alsUpdate (mode ${mode}): a proximal term needs the weights`);
  if (weights) assertShape("alsUpdate", "weights", weights, [rank]);
  const unused = [...(previous ? [] : [s.tensor([1]), s.tensor([1])]), ...(weights ? [] : [s.tensor([1])])];
  const [before, beforeParts] = previous ? [previous.factor, previous.parts] : (unused as [Tensor, Tensor]);
  const WIDTH = setting(s.engine, "soleWorkgroup");
  const PAD = [4, 8, 16, 32].find((side) => side >= rank)!;
  s.run(
    update.with({
      WIDTH,
      PAD,
      // numbers of all invocations are added up in workgroup memory, a row of the small matrix at a time
      ROWWISE: PAD <= 8 && WIDTH * PAD <= 256,
      AHEAD: setting(s.engine, "readAhead"),
    }),
    {
      product,
      grams,
      factor,
      parts,
      previous: before,
      previous_parts: beforeParts,
      weights: weights ?? unused.at(-1)!,
    },
    {
      rows,
      rank,
      modes,
      mode,
      stride,
      chunk,
      ridge,
      threshold: 1e-7,
      splits,
      previous_rows: before.shape[0]!,
      previous_count: previous ? beforeParts.shape[0]! : 0,
      unscaled: unscaled ?? modes,
      proximal,
    },
  );
  s.release(...(previous ? [beforeParts] : []), ...unused);
  return { mode, factor, parts };
}

export interface AlsNormalize {
  /** the factor of the last mode: its columns get norm 1, and its row of `grams` is written */
  previous: UnnormalizedFactor;
  grams: Tensor;
  /** [R], written: the norms that its columns had */
  weights: Tensor;
  /**
   * written: three parts of equal size (2 or more), of which the first begins with ⟨M, A⟩, the second with the model's squared norm
   * and Σ‖terms‖², the third with −1
   */
  values: Tensor;
  /** a ring of rows like `values`, and a count of those written ([1], u32): the next row is written where there is a ring */
  trace?: { rows: Tensor; counter: Tensor<"u32"> } | undefined;
}

/** The end of a sweep of `alsUpdate`: brings the columns of the last factor to norm 1. */
export function alsNormalize(s: Scheduler, { previous, grams, weights, values, trace }: AlsNormalize): void {
  assertCall("alsNormalize", s);
  const { mode, factor, parts } = previous;
  const [rows, rank] = factor.shape as [number, number];
  const { modes, stride } = assertGrams("alsNormalize", grams, rank);
  assertShape("alsNormalize", "weights", weights, [rank]);
  const unused = trace ? [] : [s.tensor([1]), s.tensor([1], { dtype: "u32" })];
  const [rowsOf, counter] = trace ? [trace.rows, trace.counter] : (unused as [Tensor, Tensor]);
  const count = parts.shape[0]!;
  s.run(
    normalize.with({
      WIDTH: setting(s.engine, "soleWorkgroup"),
      APPEND: Boolean(trace),
      AHEAD: setting(s.engine, "readAhead"),
    }),
    { previous_parts: parts, grams, factor, weights, values, trace: rowsOf, counter },
    {
      rows,
      rank,
      modes,
      mode,
      stride,
      chunk: chunkOf(s.engine, rows),
      previous_count: count,
      step: values.size / 3,
      trace_rows: rowsOf.shape[0]!,
    },
  );
  s.release(parts, ...unused);
}

function assertGrams(operation: string, grams: Tensor, rank: number): { modes: number; stride: number } {
  const [modes, stride] = grams.shape as [number, number];
  const needed = rank ** 2 + rank;
  if (grams.order !== 2 || stride < needed)
    throw new ShapeError(`${operation}: grams are ${grams}, need a row of ${needed} or more a mode`);
  return { modes, stride };
}
