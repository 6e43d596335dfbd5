import choleskyShader from "../../shaders/cholesky.wgsl?late";
import choleskySmallShader from "../../shaders/cholesky_small.wgsl?late";
import { Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(choleskyShader, () => [1]);
const small = new Kernel(choleskySmallShader, () => [1]);

/**
 * R and R⁻¹ of the Cholesky factorisation G + ridge·(trace G / n)·I = RᵀR of a symmetric n×n matrix. Columns that depend on
 * those before them get a zero column in R⁻¹; nothing becomes NaN. With `unit` the ridge and the
 * threshold of dependence are those of columns of norm 1; R and R⁻¹ are still those of G.
 */
export function cholesky(
  s: Scheduler,
  g: Tensor,
  { ridge = 0, threshold = 1e-7, unit = false }: { ridge?: number; threshold?: number; unit?: boolean } = {},
): { r: Tensor; inverse: Tensor } {
  assertCall("cholesky", s, { g });
  const n = g.shape[0]!;
  assertShape("cholesky", "the matrix", g, [n, n]);
  const r = s.tensor([n, n], { label: "R" });
  const inverse = s.tensor([n, n], { label: "R⁻¹" });
  const WIDTH = setting(s.engine, "soleWorkgroup");
  const constants = { WIDTH, ACROSS: Math.min(WIDTH, 32), UNIT: unit };
  if (n <= setting(s.engine, "factoriseInside"))
    s.run(small.with(constants), { g, out_r: r, out_inverse: inverse }, { n, ridge, threshold });
  else s.run(kernel.with(constants), { g, r, inverse }, { n, ridge, threshold });
  return { r, inverse };
}
