import reflectorShader from "../../shaders/block_reflector.wgsl";
import blocksShader from "../../shaders/qr_blocks.wgsl";
import checkShader from "../../shaders/qr_check.wgsl";
import endShader from "../../shaders/qr_end.wgsl";
import panelShader from "../../shaders/qr_panel.wgsl";
import startShader from "../../shaders/qr_start.wgsl";
import {
  type Constants,
  type Engine,
  formatShape,
  grid1d,
  Kernel,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import { accumulate } from "./accumulate.js";
import { setting } from "./adapter.js";
import { carefulGram } from "./carefulGram.js";
import { cholesky } from "./cholesky.js";
import { gram } from "./gram.js";
import { matmul } from "./matmul.js";
import { largestMagnitude } from "./norms.js";
import { permute } from "./permute.js";
import { assertCall } from "./shapes.js";

const blocks = new Kernel(blocksShader, ({ rows, height }) => [Math.ceil(rows! / height!)]);
const check = new Kernel(checkShader, () => [1]);
const start = new Kernel(startShader, ({ columns, stride }, { WIDTH }) => grid1d(columns! * stride!, WIDTH!));
const panel = new Kernel(panelShader, () => [1]);
const end = new Kernel(endShader, ({ columns, stride }, { WIDTH }) => grid1d(columns! * stride!, WIDTH!));
const reflector = new Kernel(reflectorShader, () => [1]);

/** Columns of a panel: their reflections are applied together, by products. */
export const REFLECTORS = 32;
/** Columns that common/householder.wgsl has room for. */
const MOST_IN_BLOCKS = 64;
/** Blocks from which on a matrix is so tall that Cholesky QR is tried first. */
const TALL = 3;

/** Rows of the blocks that the factorisation of a matrix begins with: few, but not more blocks than a grid has room for. */
const blockRows = (rows: number, columns: number): number => Math.max(256, 4 * columns, Math.ceil(rows / 60_000));

/** Invocations of a workgroup of reflections, and how many of them share a column. */
function reflectorTeam(engine: Engine): { WIDTH: number; ACROSS: number } {
  const WIDTH = setting(engine, "reflectorWidth");
  return { WIDTH, ACROSS: Math.min(WIDTH, setting(engine, "reflectorTeam")) };
}

/**
 * Orthonormal columns Q (m×n) and upper triangular R (n×n, no negative diagonal) with A = Q·R, m ≥ n, by Householder
 * reflections: ‖QR − A‖ ≤ 1e-6·‖A‖ and ‖QᵀQ − I‖ ≤ 2e-6 for every finite A. Columns that depend on those before them, and
 * columns of zeros, get a column in Q all the same, orthonormal to the others, and a diagonal of R near zero.
 *
 * Up to 64 columns, blocks of rows are factorised side by side, then their triangles, up a tree (TSQR, Demmel, Grigori, Hoemmen &
 * Langou 2012). A very tall matrix is factorised by Cholesky QR, and by blocks only where a check on the device shows that this was
 * not enough. More than 64 columns are factorised in panels of 32, whose reflections reach the other columns by products (Schreiber &
 * Van Loan 1989).
 */
export function orthogonalise(s: Scheduler, a: Tensor): { q: Tensor; r: Tensor } {
  assertCall("orthogonalise", s, { a });
  const [m, n] = a.shape as [number, number];
  if (a.order !== 2 || m < n)
    throw new ShapeError(`orthogonalise: ${formatShape(a.shape)}, needs at least as many rows as columns`);
  if (n > MOST_IN_BLOCKS) return byPanels(s, a);
  return m < TALL * blockRows(m, n) ? byBlocks(s, a) : byCholesky(s, a);
}

/** R of `orthogonalise` alone, which takes fewer steps where blocks of rows are factorised. */
export function triangleOf(s: Scheduler, a: Tensor): Tensor {
  assertCall("triangleOf", s, { a });
  const [m, n] = a.shape as [number, number];
  if (a.order === 2 && m >= n && n <= MOST_IN_BLOCKS && m < TALL * blockRows(m, n)) return triangleByBlocks(s, a);
  const { q, r } = orthogonalise(s, a);
  s.release(q);
  return r;
}

/** Where a factorisation is written, and a [1] u32 tensor that is 1 where it is there already. */
interface Guarded {
  q: Tensor;
  r: Tensor;
  state: Tensor<"u32">;
}

/** How the rows are shared out to blocks. */
function blocksOf([rows, columns]: readonly number[]): { height: number; groups: number } {
  const height = Math.ceil(rows! / Math.max(1, Math.floor(rows! / blockRows(rows!, columns!))));
  return { height, groups: Math.ceil(rows! / height) };
}

function byBlocks(s: Scheduler, a: Tensor, guarded?: Guarded): { q: Tensor; r: Tensor } {
  const [rows, columns] = a.shape as [number, number];
  const { height, groups } = blocksOf(a.shape);
  const work = s.tensor([groups, 2 * columns, 4 * Math.ceil(height / 4)], { label: "QR work" });
  const factors = s.tensor([groups, columns, 3], { label: "reflection factors" });
  const q = guarded?.q ?? s.tensor([rows, columns], { label: "Q" });
  const last = groups === 1 && guarded?.r;
  const r = last || s.tensor([groups * columns, columns], { label: "R" });
  const state = guarded?.state ?? s.tensor([1], { dtype: "u32", label: "no state" });
  const run = (p: Tensor, constants: Constants) =>
    s.run(
      blocks.with({ ...reflectorTeam(s.engine), GUARDED: guarded !== undefined, ...constants }),
      { a, p, work, factors, q, r, state },
      { rows, columns, height },
    );
  let result = r;
  if (groups === 1) run(a, {});
  else {
    run(a, { BASIS: false });
    // the Q of the triangles, from which the reflections of the blocks make that of all rows
    const inner = guarded && { q: s.tensor(r.shape, { label: "Q" }), r: guarded.r, state };
    const above = byBlocks(s, r, inner);
    run(above.q, { FACTOR: false, START: false });
    s.release(r, above.q);
    result = above.r;
  }
  s.release(work, factors);
  if (!guarded) s.release(state);
  return { q, r: result };
}

function triangleByBlocks(s: Scheduler, a: Tensor): Tensor {
  const [rows, columns] = a.shape as [number, number];
  const { height, groups } = blocksOf(a.shape);
  const work = s.tensor([groups, 2 * columns, 4 * Math.ceil(height / 4)], { label: "QR work" });
  const factors = s.tensor([groups, columns, 3], { label: "reflection factors" });
  const r = s.tensor([groups * columns, columns], { label: "R" });
  const q = s.tensor([1], { label: "no Q" });
  const state = s.tensor([1], { dtype: "u32", label: "no state" });
  s.run(
    blocks.with({ ...reflectorTeam(s.engine), BASIS: false }),
    { a, p: a, work, factors, q, r, state },
    { rows, columns, height },
  );
  s.release(work, factors, q, state);
  if (groups === 1) return r;
  const above = triangleByBlocks(s, r);
  s.release(r);
  return above;
}

/**
 * Two passes of Cholesky QR, which are products, and a check of whether they were enough: not so for columns that are nearly
 * dependent, or too large or small to be squared. Then the blocks do it, which otherwise return at once.
 */
function byCholesky(s: Scheduler, a: Tensor): { q: Tensor; r: Tensor } {
  const n = a.shape[1]!;
  const state = s.tensor([1], { dtype: "u32", label: "QR state" });
  const pass = (x: Tensor, checked: boolean) => {
    // Q is as orthonormal as the second pass makes it, so its Gram matrix is the careful one
    const g = checked ? gram(s, x) : carefulGram(s, x);
    const { r, inverse } = cholesky(s, g, { threshold: 1e-4, unit: true });
    if (checked) s.run(check, { r, inverse, state }, { n });
    const q = matmul(s, x, inverse);
    s.release(g, inverse);
    return { q, r };
  };
  const first = pass(a, true);
  const second = pass(first.q, false);
  const r = matmul(s, second.r, first.r);
  s.release(first.q, first.r, second.r);
  byBlocks(s, a, { q: second.q, r, state });
  s.release(state);
  return { q: second.q, r };
}

function byPanels(s: Scheduler, a: Tensor): { q: Tensor; r: Tensor } {
  const [rows, columns] = a.shape as [number, number];
  const stride = rowStride(rows);
  // the columns of A, one after the other
  const work = s.tensor([columns, stride], { label: "QR work" });
  const v = s.tensor([columns, stride], { label: "reflections" });
  const largest = largestMagnitude(s, a);
  s.run(start, { a, largest, out: work }, { rows, columns, stride });
  const triangles: Tensor[] = [];
  for (let first = 0; first < columns; first += REFLECTORS) {
    const stop = Math.min(columns, first + REFLECTORS);
    const tau = s.tensor([stop - first], { label: "reflection factors" });
    const reflections = v.rows(first, stop);
    const params = { columns: stop - first, first, quads: stride / 4 };
    s.run(panel.with(reflectorTeam(s.engine)), { work: work.rows(first, stop), v: reflections, tau }, params);
    const t = blockReflector(s, reflections, tau);
    s.release(tau);
    triangles.push(t);
    if (stop < columns) reflectRows(s, work.rows(stop, columns), reflections, t);
  }
  const basis = s.tensor([columns, stride], { label: "Qᵀ" });
  const r = s.tensor([columns, columns], { label: "R" });
  s.run(end, { work, largest, basis, r }, { columns, stride });
  s.release(work, largest);
  for (let first = Math.floor((columns - 1) / REFLECTORS) * REFLECTORS; first >= 0; first -= REFLECTORS) {
    const t = triangles.pop()!;
    // reflections from `first` on do not change the columns of the identity before `first`
    const reflections = v.rows(first, Math.min(columns, first + REFLECTORS));
    reflectRows(s, basis.rows(first, columns), reflections, t, { forward: true });
    s.release(t);
  }
  s.release(v);
  const q = permute(s, basis, [1, 0]).rows(0, rows);
  s.release(basis);
  return { q, r };
}

/** Length of the rows that hold vectors of so many elements, so that every row begins where a binding may. */
export const rowStride = (length: number): number => Math.ceil(length / 64) * 64;

/** Records T of H_1·H_2·… = I − Vᵀ·T·V for reflections I − τ_k·v_k·v_kᵀ with v_k in the rows of `v`. */
export function blockReflector(s: Scheduler, v: Tensor, tau: Tensor): Tensor {
  assertCall("blockReflector", s, { v, tau });
  const n = v.shape[0]!;
  const gram = matmul(s, v, v, { transposeB: true, careful: true });
  const t = s.tensor([n, n], { label: "T" });
  s.run(reflector, { gram, tau, t }, { n });
  s.release(gram);
  return t;
}

/**
 * Records x ← Hᵀ·x, or H·x where `forward`, for every row x of a matrix in place, H = I − Vᵀ·T·V as `blockReflector` has it:
 * x − x·Vᵀ·T·V.
 */
export function reflectRows(
  s: Scheduler,
  x: Tensor,
  v: Tensor,
  t: Tensor,
  { forward = false }: { forward?: boolean } = {},
): void {
  assertCall("reflectRows", s, { x, v, t });
  const seen = matmul(s, x, v, { transposeB: true, careful: true });
  const weights = matmul(s, seen, t, { transposeB: forward });
  const step = matmul(s, weights, v);
  accumulate(s, step, x, { alpha: -1 });
  s.release(seen, weights, step);
}
