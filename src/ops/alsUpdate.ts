import normalizeShader from "../../shaders/als_normalize.wgsl";
import updateShader from "../../shaders/als_update.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import { alsChunk, readsAhead, soleWorkgroup } from "./variants.js";

const grid = ({ rows, chunk }: Readonly<Record<string, number>>) => [Math.ceil(rows! / chunk!)];
const update = new Kernel(updateShader, grid);
const normalize = new Kernel(normalizeShader, grid);

/** Columns that the kernels hold in workgroup memory. */
export const MOST_ALS_RANK = 32;

/** A factor that is solved and not yet normalised. */
export interface UnnormalizedFactor {
  mode: number;
  factor: Tensor;
  /** what is known of AᵀA and ⟨M, A⟩, in parts; a temporary of the schedule */
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
  /** the mode before, where `product` was made with its factor as it is: is normalised, and its row of `grams` written */
  previous?: UnnormalizedFactor | undefined;
  /** a mode that is normalised by now, and was not yet in the partial result that `product` was made from */
  unscaled?: number | undefined;
  /** added to the diagonal of V, times its mean */
  ridge: number;
  /**
   * How much of the factor as it is is kept, in units of V's mean diagonal: the update minimises ‖X − X̂‖² + proximal·‖A − A₀‖² (0 by
   * default). A₀ is `factor`, columns of norm 1, times the weights of the model as it is
   */
  proximal?: number;
  /** [R], the weights of the model as it is, for the first mode of a sweep; needed where `proximal` is not 0 */
  weights?: Tensor;
}

/**
 * One ALS update of a CP factor in one dispatch: A = M·V⁻¹, V the Hadamard product of the other modes' Gram matrices (Kolda &
 * Bader 2009, figure 3.3), for R ≤ {@link MOST_ALS_RANK}. To bring A's columns to norm 1 takes all of A, so that is left to the next
 * mode's update, or after the last mode to `alsNormalize`. Together they are the same as `solveSymmetric`,
 * `normalizeColumns` and `gram` for every mode in turn.
 */
export function alsUpdate(s: Scheduler, given: AlsUpdate): UnnormalizedFactor {
  assertCall("alsUpdate", s);
  const { product, grams, mode, factor, previous, unscaled, ridge, proximal = 0, weights } = given;
  const [rows, rank] = product.shape.slice(-2) as [number, number];
  if (product.order < 2 || product.order > 3 || rank > MOST_ALS_RANK)
    throw new ShapeError(`alsUpdate: ${product}, needs a matrix of at most ${MOST_ALS_RANK} columns, or parts of one`);
  const { modes, stride } = assertGrams("alsUpdate", grams, rank);
  assertShape("alsUpdate", "factor", factor, [rows, rank]);
  if (previous && previous.mode !== mode - 1)
    throw new ShapeError(`alsUpdate (mode ${mode}): mode ${previous.mode} cannot be the one before`);
  const splits = product.size / (rows * rank);
  const chunk = alsChunk(s.engine, rows);
  const parts = s.tensor([Math.ceil(rows / chunk), rank ** 2 + 1], { label: "ALS parts" });
  if (proximal && !weights) throw new ShapeError(`alsUpdate (mode ${mode}): a proximal term needs the weights`);
  if (weights) assertShape("alsUpdate", "weights", weights, [rank]);
  const unused = [...(previous ? [] : [s.tensor([1]), s.tensor([1])]), ...(weights ? [] : [s.tensor([1])])];
  const [before, beforeParts] = previous ? [previous.factor, previous.parts] : (unused as [Tensor, Tensor]);
  s.run(
    update.with({
      WIDTH: soleWorkgroup(s.engine),
      PAD: [8, 16, 32].find((side) => side >= rank)!,
      AHEAD: readsAhead(s.engine, 16),
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
  /** of the last mode; is normalised, and its row of `grams` written */
  previous: UnnormalizedFactor;
  grams: Tensor;
  /** [R], written: the norms that its columns had */
  weights: Tensor;
  /** written: ⟨M, A⟩, the model's squared norm and behind it Σ‖terms‖², and −1, at multiples of a third of its size (2 or more) */
  values: Tensor;
  /** rows like `values`, a ring, and how many there were ([1], u32); the next is written, where they are given */
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
      WIDTH: soleWorkgroup(s.engine),
      APPEND: Boolean(trace),
      AHEAD: readsAhead(s.engine, 16),
    }),
    { previous_parts: parts, grams, factor, weights, values, trace: rowsOf, counter },
    {
      rows,
      rank,
      modes,
      mode,
      stride,
      chunk: alsChunk(s.engine, rows),
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
