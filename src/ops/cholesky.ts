import choleskyShader from "../../shaders/cholesky.wgsl?late";
import besideShader from "../../shaders/cholesky_beside.wgsl?late";
import blockShader from "../../shaders/cholesky_block.wgsl?late";
import endShader from "../../shaders/cholesky_end.wgsl?late";
import choleskySmallShader from "../../shaders/cholesky_small.wgsl?late";
import startShader from "../../shaders/cholesky_start.wgsl?late";
import updateShader from "../../shaders/cholesky_update.wgsl?late";
import { type Grid, grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const grid: Grid = ({ count }) => grid1d(count!, 1);
const kernel = new Kernel(choleskyShader, grid);
const small = new Kernel(choleskySmallShader, grid);

const start = new Kernel(startShader, ({ stride }, { ROWS }) => grid1d(stride!, ROWS!));
const block = new Kernel(blockShader, () => [1]);
const beside = new Kernel(besideShader, ({ stride }, { WIDTH, BLOCK }) => grid1d((stride! - BLOCK!) / 4, WIDTH!));
const update = new Kernel(updateShader, ({ stride, rows }, { BLOCK }) => [stride! / BLOCK!, rows!]);
const end = new Kernel(endShader, ({ n }, { WIDTH }) => grid1d(n! ** 2, WIDTH!));
/** Columns of a block of a factorisation by blocks: as few as keep the one workgroup's part of the work small. */
const BLOCK = 32;
/** Blocks whose rows are subtracted from all rows below together: the sums of an update are as long. */
const SLAB = 4;

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
 * those before them get a zero row in R, and a zero row and column in R⁻¹; nothing becomes NaN. With `unit` the ridge and the
 * threshold of dependence are those of columns of norm 1; R and R⁻¹ are still those of G.
 * A single large matrix is factorised by blocks over the whole grid, K of them by a workgroup each.
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
  if (count === 1 && n > setting(s.engine, "choleskyAlone")) {
    byBlocks(s, g, { n, ridge, threshold, unit, r, inverse });
    return { r, inverse };
  }
  const WIDTH = setting(s.engine, "soleWorkgroup");
  const constants = { WIDTH, ACROSS: Math.min(WIDTH, 32), UNIT: unit };
  if (n <= setting(s.engine, "factoriseInside"))
    s.run(small.with(constants), { g, out_r: r, out_inverse: inverse }, { n, ridge, threshold, count });
  else s.run(kernel.with(constants), { g, r, inverse }, { n, ridge, threshold, count });
  return { r, inverse };
}

/** What is factorised by blocks, and where it is written. */
interface Blocks extends Required<Omit<CholeskyOptions, "inverse">> {
  n: number;
  r: Tensor;
  inverse: Tensor;
}

/**
 * Records a factorisation by blocks of columns over the whole grid. For one block after the other: what the rows above leave of its
 * rows, the block on the diagonal by one workgroup, then the rows beside that by forward substitution, which is as backward stable as
 * the elimination by columns. R grows downwards in the upper half of the work, and R⁻ᵀ, which the same steps make of the identity, in
 * the lower half.
 */
function byBlocks(s: Scheduler, g: Tensor, { n, ridge, threshold, unit, r, inverse }: Blocks): void {
  const blocks = Math.ceil(n / BLOCK);
  const stride = BLOCK * blocks;
  // below, the blocks on the diagonal of R⁻ᵀ
  const work = s.tensor([stride + BLOCK, stride], { label: "Cholesky work" });
  const diagonals = s.tensor([stride], { label: "diagonal" });
  const widest = setting(s.engine, "soleWorkgroup");
  const WIDTH = Math.min(64, widest);
  const ACROSS = Math.min(8, WIDTH);
  const sums = update.with({ WIDTH, ACROSS, ROWS: WIDTH / ACROSS > 4 ? 4 : 8 });
  const sole = block.with({ WIDTH: widest, ACROSS: Math.min(BLOCK, widest) });
  s.run(start.with({ WIDTH, UNIT: unit }), { g, work, diagonals }, { n, stride, ridge });
  for (let k = 0; k < blocks; k++) {
    const inSlab = k % SLAB;
    // rows of a slab are subtracted from the slab's next block; at its end, together, from all rows below
    const above = { first: inSlab ? k - inSlab : k - SLAB, last: k - 1, rows: inSlab ? 1 : blocks - k };
    if (k) s.run(sums, { work }, { stride, below: k, ...above });
    s.run(sole, { diagonals, work }, { stride, first: k * BLOCK, threshold });
    if (blocks > 1) s.run(beside.with({ WIDTH }), { work }, { stride, first: k * BLOCK });
  }
  s.run(end.with({ UNIT: unit }), { g, work, r, inverse }, { n, stride });
  s.release(work, diagonals);
}
