import columnShader from "../../shaders/bidiagonal_column.wgsl";
import productShader from "../../shaders/bidiagonal_product.wgsl";
import rowShader from "../../shaders/bidiagonal_row.wgsl";
import updateShader from "../../shaders/rank_two_update.wgsl";
import reflectShader from "../../shaders/tridiagonal_reflect.wgsl";
import { type Bindings, type Engine, grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { rowStride } from "./orthogonalise.js";
import { assertCall } from "./shapes.js";

const reflect = new Kernel(reflectShader, () => [1]);
const column = new Kernel(columnShader, () => [1]);
const row = new Kernel(rowShader, () => [1]);
const update = new Kernel(updateShader, ({ left, chunk, across }) => grid1d(across! * Math.ceil(left! / chunk!), 1));
const product = new Kernel(productShader, ({ left }, { ROWS }) => grid1d(Math.ceil(left! / ROWS!), 1));

/** Matrix, vectors and numbers of a reduction; rows are `stride` long, and zero from n on. */
export interface Reduction {
  n: number;
  stride: number;
  /** n×stride: the matrix to be reduced, which the steps overwrite */
  matrix: Tensor;
  /** n×stride, a reflection a row: those of the columns (bidiagonal) */
  u: Tensor;
  /** n×stride, a reflection a row: those of the rows */
  v: Tensor;
  /** 5×stride: diagonal, off-diagonal (one less than the diagonal), τ of `u`, τ of `v`, scratch */
  scalars: Tensor;
  /** temporaries of a step, and the number of the present step */
  work: { parts: Tensor; w: Tensor; x: Tensor; t: Tensor; state: Tensor<"u32"> };
  destroy(): void;
}

/** Rows of a part of the product that a step adds up. */
const partRows = (engine: Engine, n: number): number =>
  setting(engine, n <= 256 ? "reductionRows" : "reductionRowsLarge");

function allocate(engine: Engine, n: number, symmetric: boolean): Reduction {
  const stride = rowStride(n);
  const tensor = (label: string, ...shape: number[]): Tensor => engine.tensor(shape, null, { label });
  const chunk = partRows(engine, n);
  const matrix = tensor("matrix", n, stride);
  const v = tensor("reflections", n, stride);
  const u = symmetric ? v : tensor("reflections", n, stride);
  const scalars = tensor("reduction", 5, stride);
  const work = {
    parts: tensor("parts", Math.ceil(n / chunk), stride),
    w: tensor("w", stride),
    x: tensor("x", stride),
    t: tensor("t", stride),
    state: engine.tensor([1], null, { dtype: "u32", label: "step" }),
  };
  const destroy = () => {
    for (const part of new Set([matrix, u, v, scalars, ...Object.values(work)])) part.destroy();
  };
  return { n, stride, matrix, u, v, scalars, work, destroy };
}

/** Buffers for n steps of `tridiagonalStep`: write a symmetric matrix into `matrix` first, with a largest entry near 2³⁰. */
export const startTridiagonal = (engine: Engine, n: number): Reduction => allocate(engine, n, true);

/** Buffers for n steps of `bidiagonalStep`: write a square matrix into `matrix` first, with a largest entry near 2³⁰. */
export const startBidiagonal = (engine: Engine, n: number): Reduction => allocate(engine, n, false);

/**
 * Records one step. It is the same for every column, because the number of the column is in GPU memory: a step is recorded once
 * and replayed. After n of them QᵀAQ is tridiagonal, with Q = H_0·H_1·… of the reflections in `v` (Golub & Van Loan, section 8.3).
 * At most `left` rows of the matrix are still to be reduced.
 */
export function tridiagonalStep(s: Scheduler, { n, stride, matrix, v, scalars, work }: Reduction, left = n): void {
  assertCall("tridiagonalStep", s);
  const { parts, w, state } = work;
  const chunk = partRows(s.engine, n);
  s.run(
    reflect.with({ WIDTH: setting(s.engine, "soleWorkgroup") }),
    { matrix, parts, v, w, scalars, state },
    { n, stride, chunk },
  );
  recordUpdate(s, { matrix, u: v, y: w, x: w, v, parts, state }, { n, stride, chunk }, left, true);
}

/**
 * Records one step of bidiagonalisation, the same for every column. After n of them UᵀAV is upper bidiagonal, with U and V the
 * products of the reflections in `u` and `v` (Golub & Kahan 1965).
 */
export function bidiagonalStep(s: Scheduler, { n, stride, matrix, u, v, scalars, work }: Reduction, left = n): void {
  assertCall("bidiagonalStep", s);
  const { parts, w: y, x, t, state } = work;
  const chunk = partRows(s.engine, n);
  const WIDTH = setting(s.engine, "reductionWidth");
  const ROWS = setting(s.engine, "reductionProductRows");
  const sole = { WIDTH: setting(s.engine, "soleWorkgroup") };
  s.run(column.with(sole), { matrix, t, y, v, x, u, scalars, state }, { n, stride });
  recordUpdate(s, { matrix, u, y, x, v, parts, state }, { n, stride, chunk }, left, false);
  s.run(row.with(sole), { matrix, parts, state, y, v, scalars }, { n, stride, chunk });
  s.run(product.with({ WIDTH, ROWS }), { matrix, v, state, t }, { n, stride, left });
}

function recordUpdate(
  s: Scheduler,
  bindings: Bindings,
  { n, stride, chunk }: { n: number; stride: number; chunk: number },
  left: number,
  SYMMETRIC: boolean,
): void {
  const WIDTH = setting(s.engine, "reductionWidth");
  // one vec4 more, because the rest of a row need not begin at a vec4
  const across = Math.ceil((Math.ceil(left / 4) + 1) / WIDTH);
  s.run(update.with({ WIDTH, SYMMETRIC }), bindings, { n, stride, chunk, across, left });
}
