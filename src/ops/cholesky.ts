import choleskyShader from "../../shaders/cholesky.wgsl?late";
import choleskySmallShader from "../../shaders/cholesky_small.wgsl?late";
import { type Grid, grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const grid: Grid = ({ count }) => grid1d(count!, 1);
const kernel = new Kernel(choleskyShader, grid);
const small = new Kernel(choleskySmallShader, grid);

export interface CholeskyOptions {
  ridge?: number;
  /** a pivot at or below this part of its diagonal element is none */
  threshold?: number;
  /** takes ridge and threshold as those of columns of norm 1 */
  unit?: boolean;
  /** of g's shape, R⁻¹, written instead of a temporary */
  inverse?: Tensor | undefined;
}

/**
 * R and R⁻¹ of the Cholesky factorisation G + ridge·(trace G / n)·I = RᵀR of a symmetric n×n matrix, or of K of them, K×n×n. Columns that depend on
 * those before them get a zero column in R⁻¹; nothing becomes NaN. With `unit` the ridge and the
 * threshold of dependence are those of columns of norm 1; R and R⁻¹ are still those of G.
 */
export function cholesky(
  s: Scheduler,
  g: Tensor,
  { ridge = 0, threshold = 1e-7, unit = false, ...outs }: CholeskyOptions = {},
): { r: Tensor; inverse: Tensor } {
  assertCall("cholesky", s, { g });
  const n = g.shape.at(-1)!;
  const isBatch = g.order === 3;
  assertShape("cholesky", isBatch ? "the matrices" : "the matrix", g, isBatch ? [g.shape[0]!, n, n] : [n, n]);
  const count = isBatch ? g.shape[0]! : 1;
  if (outs.inverse) assertShape("cholesky", "inverse", outs.inverse, g.shape);
  const r = s.tensor(g.shape, { label: "R" });
  const inverse = outs.inverse ?? s.tensor(g.shape, { label: "R⁻¹" });
  const WIDTH = setting(s.engine, "soleWorkgroup");
  const constants = { WIDTH, ACROSS: Math.min(WIDTH, 32), UNIT: unit };
  if (n <= setting(s.engine, "factoriseInside"))
    s.run(small.with(constants), { g, out_r: r, out_inverse: inverse }, { n, ridge, threshold, count });
  else s.run(kernel.with(constants), { g, r, inverse }, { n, ridge, threshold, count });
  return { r, inverse };
}
