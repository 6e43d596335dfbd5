import choleskyShader from "../../shaders/cholesky.wgsl";
import choleskySmallShader from "../../shaders/cholesky_small.wgsl";
import { formatShape, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { gram } from "./gram.js";
import { matmul } from "./matmul.js";
import { assertShape } from "./shapes.js";
import { factorisesInside, soleWorkgroup } from "./variants.js";

const kernel = new Kernel(choleskyShader, () => [1]);
const small = new Kernel(choleskySmallShader, () => [1]);

/**
 * R and R⁻¹ of the Cholesky factorisation G + ridge·(trace G / n)·I = RᵀR of a symmetric n×n matrix. Columns that depend on
 * those before them get a zero column in R⁻¹; nothing becomes NaN. With `unit` the columns that G is the Gram matrix of count
 * as brought to norm 1, for the ridge and for what depends on what; R and R⁻¹ are theirs as they are.
 */
export function cholesky(
  s: Scheduler,
  g: Tensor,
  { ridge = 0, threshold = 1e-7, unit = false }: { ridge?: number; threshold?: number; unit?: boolean } = {},
): { r: Tensor; inverse: Tensor } {
  const n = g.shape[0]!;
  assertShape("cholesky", "the matrix", g, [n, n]);
  const r = s.tensor([n, n], { label: "R" });
  const inverse = s.tensor([n, n], { label: "R⁻¹" });
  const WIDTH = soleWorkgroup(s.engine);
  const own = { WIDTH, ACROSS: Math.min(WIDTH, 32), UNIT: unit };
  if (factorisesInside(s.engine, n))
    s.run(small.with(own), { g, out_r: r, out_inverse: inverse }, { n, ridge, threshold });
  else s.run(kernel.with(own), { g, r, inverse }, { n, ridge, threshold });
  return { r, inverse };
}

/** Passes over a tall matrix: after the first the columns are nearly orthonormal, each further one squares what is left. */
const PASSES = 3;

/**
 * Orthonormal columns Q (m×n) and upper triangular R (n×n) with A = Q·R, m ≥ n: shifted Cholesky QR (Fukaya, Kannan,
 * Nakatsukasa, Yamamoto & Yanagisawa 2020) with columns brought to norm 1 before every pass, so that badly scaled or
 * nearly dependent columns cost no accuracy. A column that depends exactly on earlier ones becomes zero in Q.
 * Squares of entries must lie in the range of f32, so entries beyond 1e18 or below 1e-18 are not for it.
 */
export function orthogonalise(s: Scheduler, a: Tensor): { q: Tensor; r: Tensor } {
  const [m, n] = a.shape as [number, number];
  if (a.order !== 2 || m < n)
    throw new ShapeError(`orthogonalise: ${formatShape(a.shape)}, needs at least as many rows as columns`);
  let q = a;
  let total: Tensor | null = null;
  for (let pass = 0; pass < PASSES; pass++) {
    const g = gram(s, q);
    const { r, inverse } = cholesky(s, g, { ridge: pass ? 0 : 2e-6, threshold: 3e-7, unit: true });
    s.release(g);
    const next = matmul(s, q, inverse);
    if (q !== a) s.release(q);
    s.release(inverse);
    q = next;
    if (total) {
      const product = matmul(s, r, total);
      s.release(r, total);
      total = product;
    } else total = r;
  }
  return { q, r: total! };
}
