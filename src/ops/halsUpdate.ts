import shader from "../../shaders/hals_update.wgsl?late";
import { type Engine, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { HALS_TOLERANCE } from "./hals.js";
import { assertCall, assertShape } from "./shapes.js";
import { type ColumnParts, chunkOf } from "./unitColumns.js";

const kernel = new Kernel(shader, ({ rows, chunk }) => [Math.ceil(rows! / chunk!)]);

/** Columns that an invocation holds in registers. */
export const MOST_FUSED_HALS = 32;

/** Whether an update of non-negative CP of this rank is {@link halsUpdate}. */
export const fusesHals = (rank: number): boolean => rank <= MOST_FUSED_HALS;

export interface HalsUpdate {
  /** the MTTKRP M of the mode, I_n×R, or parts of it that are still to be added up, S×I_n×R */
  product: Tensor;
  /** a row a mode, which begins with the R×R Gram matrix of its factor */
  grams: Tensor;
  /** the mode; −1 where V is the product of all rows of `grams` */
  mode: number;
  /** I_n×R, no entry negative */
  factor: Tensor;
  /** [R], what the columns of `factor` are multiplied by; null: 1 */
  weights: Tensor | null;
  /** the most passes over the columns; 30 by default */
  passes?: number;
  /** I_n×R, written; a temporary where there is none */
  out?: Tensor;
}

/**
 * `hals` of a mode's factor from its MTTKRP and the Gram matrices of the other modes, in one dispatch, for R ≤ {@link MOST_FUSED_HALS}. The
 * last number of the parts is the share of ‖X‖² − ‖X − X̂‖².
 */
export function halsUpdate(
  s: Scheduler,
  { product, grams, mode, factor, weights, passes = 30, out }: HalsUpdate,
): { out: Tensor; parts: ColumnParts } {
  assertCall("halsUpdate", s, { product, grams, factor });
  const [rows, rank] = product.shape.slice(-2) as [number, number];
  if (product.order < 2 || product.order > 3 || rank > MOST_FUSED_HALS)
    throw new ShapeError(
      `halsUpdate: ${product}, needs a matrix of at most ${MOST_FUSED_HALS} columns, or parts of one`,
    );
  const [modes, stride] = grams.shape as [number, number];
  if (grams.order !== 2 || stride < rank ** 2)
    throw new ShapeError(`halsUpdate: grams are ${grams}, need a row of ${rank ** 2} or more a mode`);
  assertShape("halsUpdate", "factor", factor, [rows, rank]);
  if (weights) assertShape("halsUpdate", "weights", weights, [rank]);
  const solved = out ?? s.tensor([rows, rank], { label: "non-negative factor" });
  assertShape("halsUpdate", "out", solved, [rows, rank]);
  const chunk = chunkOf(s.engine, rows);
  const parts = s.tensor([Math.ceil(rows / chunk), rank ** 2 + 1], { label: "shares of a Gram matrix" });
  const unused = weights ?? s.tensor([1], { label: "no weights" });
  s.run(
    kernel.with({ WIDTH: widthOf(s.engine), PAD: 4 * Math.ceil(rank / 4), AHEAD: setting(s.engine, "readAhead") }),
    { product, grams, factor, weights: unused, out: solved, parts },
    {
      rows,
      rank,
      modes,
      mode: mode < 0 ? modes : mode,
      stride,
      chunk,
      splits: product.size / (rows * rank),
      passes,
      tolerance: HALS_TOLERANCE,
      weighted: weights ? 1 : 0,
    },
  );
  if (!weights) s.release(unused);
  return { out: solved, parts: { parts, chunk } };
}

const widthOf = (engine: Engine): number => Math.min(32, setting(engine, "soleWorkgroup"));
