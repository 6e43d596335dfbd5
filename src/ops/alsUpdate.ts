import normalizeShader from "../../shaders/als_normalize.wgsl";
import updateShader from "../../shaders/als_update.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertShape } from "./shapes.js";
import { alsChunk, soleWorkgroup } from "./variants.js";

const grid = ({ rows, chunk }: Readonly<Record<string, number>>) => [Math.ceil(rows! / chunk!)];
const update = new Kernel(updateShader, grid);
const normalize = new Kernel(normalizeShader, grid);

/** Columns that the kernels hold in workgroup memory. */
export const MOST_ALS_RANK = 32;

export interface AlsUpdate {
  /** the MTTKRP of the mode, I_n×R */
  product: Tensor;
  /** R×R Gram matrices of the factors, one a mode, each from the beginning of a row; that of `mode` is written */
  grams: Tensor;
  mode: number;
  /** I_n×R, written: columns of norm 1 */
  factor: Tensor;
  /** [R], written: the norms that the columns had */
  weights: Tensor;
  /** of the last mode: ⟨product, A⟩, the model's squared norm and −1, at multiples of a third of its size */
  values: Tensor;
  /** rows like `values`, a ring, and how many there were ([1], u32) */
  trace: Tensor;
  counter: Tensor;
  /** whether to write `values`, and to append them to `trace` too */
  report: "nothing" | "values" | "row";
  /** added to the diagonal of V, times its mean */
  ridge: number;
}

/**
 * One ALS update of a CP factor in two dispatches: A = M·V⁻¹, V the Hadamard product of the other modes' Gram matrices (Kolda &
 * Bader 2009, figure 3.3), then columns to norm 1. The same as `solveSymmetric`, `normalizeColumns` and `gram` in turn, for
 * R ≤ {@link MOST_ALS_RANK}.
 */
export function alsUpdate(s: Scheduler, given: AlsUpdate): void {
  const { product, grams, mode, factor, weights, values, trace, counter, report, ridge } = given;
  const [rows, rank] = product.shape as [number, number];
  if (product.order !== 2 || rank > MOST_ALS_RANK)
    throw new ShapeError(`alsUpdate: ${product}, needs a matrix of at most ${MOST_ALS_RANK} columns`);
  const [modes, stride] = grams.shape as [number, number];
  if (grams.order !== 2 || stride < rank ** 2)
    throw new ShapeError(`alsUpdate: grams are ${grams}, need a row of ${rank ** 2} or more a mode`);
  assertShape("alsUpdate", "factor", factor, [rows, rank]);
  assertShape("alsUpdate", "weights", weights, [rank]);
  const chunk = alsChunk(s.engine, rows);
  const count = Math.ceil(rows / chunk);
  const WIDTH = soleWorkgroup(s.engine);
  const parts = s.tensor([count, rank ** 2 + 1], { label: "ALS parts" });
  const shared = { rows, rank, modes, mode, stride, chunk };
  const PAD = [8, 16, 32].find((side) => side >= rank)!;
  s.run(update.with({ WIDTH, PAD }), { product, grams, factor, parts }, { ...shared, ridge, threshold: 1e-7 });
  s.run(
    normalize.with({ WIDTH, LAST: report !== "nothing", APPEND: report === "row" }),
    { parts, grams, factor, weights, values, trace, counter },
    { ...shared, count, step: values.size / 3, trace_rows: trace.shape[0]! },
  );
  s.release(parts);
}
