import reflectorShader from "../../shaders/block_reflector.wgsl";
import blocksShader from "../../shaders/qr_blocks.wgsl";
import checkShader from "../../shaders/qr_check.wgsl";
import endShader from "../../shaders/qr_end.wgsl";
import panelShader from "../../shaders/qr_panel.wgsl";
import startShader from "../../shaders/qr_start.wgsl";
import {
  type Constants,
  type DType,
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
import { batchMatmul } from "./batchMatmul.js";
import { carefulGram } from "./carefulGram.js";
import { cholesky } from "./cholesky.js";
import { gram } from "./gram.js";
import { matmul } from "./matmul.js";
import { largestMagnitude } from "./norms.js";
import { permute } from "./permute.js";
import { assertCall, assertShape } from "./shapes.js";
import { paste, slice } from "./slice.js";

const blocks = new Kernel(blocksShader, ({ count }) => grid1d(count!, 1));
const check = new Kernel(checkShader, ({ count }) => grid1d(count!, 1));
const start = new Kernel(startShader, ({ columns, stride }, { WIDTH }) => grid1d(columns! * stride!, WIDTH!));
const panel = new Kernel(panelShader, () => [1]);
const end = new Kernel(endShader, ({ columns, stride }, { WIDTH }) => grid1d(columns! * stride!, WIDTH!));
const reflector = new Kernel(reflectorShader, () => [1]);

/** Columns of a panel: their reflections are applied together, by products. */
export const REFLECTORS = 32;
/** Columns of a matrix that is factorised by blocks. */
const MOST_IN_BLOCKS = 64;
/** Columns of matrices that are factorised together: where blocks of rows have to do it, each is one workgroup's, but all of them are at work. */
const MOST_TOGETHER = 256;
/** Rows up to which plain sums of products of orthonormal columns round little enough. */
const SHORT = 256;
/** Blocks from which on a matrix is so tall that Cholesky QR is tried first. */
const TALL = 3;

/** Rows of the blocks that the factorisation of a matrix begins with: few, but not more blocks than a grid has room for. */
const blockRows = (rows: number, columns: number): number => Math.max(256, 4 * columns, Math.ceil(rows / 60_000));

/** The kernel of blocks with so many columns. */
const blocksFor = (engine: Engine, columns: number, constants: Constants): Kernel =>
  blocks.with({
    ...reflectorTeam(engine),
    ...(columns > MOST_IN_BLOCKS && { REFLECTIONS: MOST_TOGETHER }),
    ...constants,
  });

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
  return isTall(m, n) ? byCholesky(s, a) : byBlocks(s, a, matricesOf(a));
}

/** R of `orthogonalise` alone, which takes fewer steps where blocks of rows are factorised. */
export function triangleOf(s: Scheduler, a: Tensor): Tensor {
  assertCall("triangleOf", s, { a });
  const [m, n] = a.shape as [number, number];
  if (a.order === 2 && m >= n && n <= MOST_IN_BLOCKS && !isTall(m, n)) {
    const levels = levelsOf(s, matricesOf(a), null);
    const r = trianglesByBlocks(s, a, levels);
    releaseLevels(s, levels);
    return r;
  }
  const { q, r } = orthogonalise(s, a);
  s.release(q);
  return r;
}

/**
 * QR of K matrices (K×m×n, m ≥ n), A_k = Q_k·R_k as `orthogonalise` has it, of which R_k is wanted first and a product Q_k·P_k later. Up to 256 columns
 * all of them are factorised together, in as many dispatches whatever K is: by Cholesky QR, and those for which that is not enough by blocks of rows.
 * A single matrix, and wider ones one after the other, are factorised as `orthogonalise` does it, in `triangles` and again in `apply`.
 * A matrix may have fewer rows in use than columns: R_k has rows of zeros below, and rows of P_k beside them do not count.
 */
export class EachQr {
  readonly #matrices: Matrices;
  /** the matrices together; null where they are factorised one after the other */
  readonly #together: Together | null;

  /**
   * `heights` says how many rows of each matrix are in use, the others are 0; null stands for all rows. `allocate` makes what lives between
   * `triangles` and `apply`: as much as the matrices and R.
   */
  constructor(
    readonly a: Tensor,
    readonly heights: Tensor<"u32"> | null,
    allocate: <D extends DType = "f32">(shape: readonly number[], label: string, dtype?: D) => Tensor<D>,
  ) {
    const [count, rows, columns] = a.shape as [number, number, number];
    if (a.order !== 3 || rows < columns)
      throw new ShapeError(`EachQr: ${formatShape(a.shape)}, needs K×m×n with m at least n`);
    this.#matrices = { count, rows, columns };
    const shape = [count, columns, columns];
    this.#together =
      count === 1 || columns > MOST_TOGETHER
        ? null
        : {
            once: allocate(a.shape, "Q of one pass"),
            inverse: allocate(shape, "R⁻¹ of the second pass"),
            state: allocate([count], "QR states", "u32"),
          };
  }

  /** Records the R_k, K×n×n. */
  triangles(s: Scheduler, { out }: { out?: Tensor | undefined } = {}): Tensor {
    const { count, columns } = this.#matrices;
    const shape = [count, columns, columns];
    if (out) assertShape("EachQr", "out", out, shape);
    const triangles = out ?? s.tensor(shape, { label: "R" });
    if (this.#together) {
      const { state } = this.#together;
      choleskyPasses(s, this.a, { ...this.#together, r: triangles });
      const levels = levelsOf(s, this.#matrices, this.heights);
      trianglesByBlocks(s, this.a, levels, { r: triangles, state });
      releaseLevels(s, levels);
      return triangles;
    }
    this.#each(s, (matrix, k) => {
      const r = triangleOf(s, matrix);
      paste(s, r.reshape([1, columns, columns]), triangles, [k, 0, 0]);
      s.release(r);
    });
    return triangles;
  }

  /** Records the Q_k·P_k of matrices P_k (K×n×w, w ≤ n) in rows that are in use, K×m×w; `triangles` was recorded before. */
  apply(s: Scheduler, p: Tensor, { out }: { out?: Tensor | undefined } = {}): Tensor {
    const { count, rows, columns } = this.#matrices;
    const width = p.shape[2]!;
    assertShape("EachQr", "p", p, [count, columns, width]);
    if (width > columns) throw new ShapeError(`EachQr: p ${formatShape(p.shape)}, needs at most ${columns} columns`);
    const shape = [count, rows, width];
    if (out) assertShape("EachQr", "out", out, shape);
    const result = out ?? s.tensor(shape, { label: "Q·P" });
    if (this.#together) this.#applyTogether(s, this.#together, p, result);
    else
      this.#each(s, (matrix, k) => {
        const { q, r } = orthogonalise(s, matrix);
        const part = slice(s, p, [k, 0, 0], [1, columns, width]);
        const product = matmul(s, q, part.reshape([columns, width]));
        paste(s, product.reshape([1, rows, width]), result, [k, 0, 0]);
        s.release(q, r, part, product);
      });
    return result;
  }

  #applyTogether(s: Scheduler, { once, inverse, state }: Together, p: Tensor, result: Tensor): void {
    const right = batchMatmul(s, inverse, p);
    batchMatmul(s, once, right, { out: result });
    s.release(right);
    const levels = levelsOf(s, this.#matrices, this.heights);
    s.release(trianglesByBlocks(s, this.a, levels, { state }));
    let above = p;
    for (const level of [...levels].reverse()) {
      const q = level === levels[0] ? result : s.tensor([level.count * level.rows, p.shape[2]!], { label: "Q·P" });
      runLevel(s, level, { read: above, q, state }, { FACTOR: false, START: false });
      if (above !== p) s.release(above);
      above = q;
    }
    releaseLevels(s, levels);
  }

  /** Records something of each matrix in turn. */
  #each(s: Scheduler, use: (matrix: Tensor, k: number) => void): void {
    const { count, rows, columns } = this.#matrices;
    if (count === 1) return void use(this.a.reshape([rows, columns]), 0);
    for (let k = 0; k < count; k++) {
      const matrix = slice(s, this.a, [k, 0, 0], [1, rows, columns]);
      use(matrix.reshape([rows, columns]), k);
      s.release(matrix);
    }
  }
}

/** Matrices that are factorised together. */
interface Together {
  /** Q_k as the first pass of Cholesky QR leaves them, K×m×n, and the R_k⁻¹ of the second pass, K×n×n: Q_k is the product of both */
  once: Tensor;
  inverse: Tensor;
  /** of each matrix, 1 where these are enough */
  state: Tensor<"u32">;
}

/** Whether Cholesky QR is tried first. */
const isTall = (rows: number, columns: number): boolean => rows >= TALL * blockRows(rows, columns);

const matricesOf = (a: Tensor): Matrices => ({ count: 1, rows: a.shape[0]!, columns: a.shape[1]! });

/** Where a factorisation is written. With `state`, one number a matrix, nothing happens to those where that is 1: they are written there already. */
interface Outs {
  q?: Tensor | undefined;
  r?: Tensor | undefined;
  state?: Tensor<"u32"> | undefined;
}

/** How many matrices follow each other in a tensor, and what they have. */
interface Matrices {
  count: number;
  rows: number;
  columns: number;
}

/** How the rows of a matrix are shared out to blocks. */
function blocksOf({ rows, columns }: Matrices): { height: number; groups: number } {
  const height = Math.ceil(rows / Math.max(1, Math.floor(rows / blockRows(rows, columns))));
  return { height, groups: Math.ceil(rows / height) };
}

/** Records Q (as `a`) and the triangles R, one below the other, of matrices. */
function byBlocks(s: Scheduler, a: Tensor, matrices: Matrices, outs: Outs = {}): { q: Tensor; r: Tensor } {
  const { count, rows, columns } = matrices;
  const { height, groups } = blocksOf(matrices);
  const all = count * groups;
  const work = s.tensor([all, 2 * columns, 4 * Math.ceil(height / 4)], { label: "QR work" });
  const factors = s.tensor([all, columns, 3], { label: "reflection factors" });
  const q = outs.q ?? s.tensor([count * rows, columns], { label: "Q" });
  const last = groups === 1 && outs.r;
  const r = last || s.tensor([all * columns, columns], { label: "R" });
  const state = outs.state ?? s.tensor([1], { dtype: "u32", label: "no state" });
  const run = (p: Tensor, constants: Constants) =>
    s.run(
      blocksFor(s.engine, columns, { GUARDED: outs.state !== undefined, ...constants }),
      { a, p, work, factors, q, r, state, heights: state },
      { rows, columns, height, blocks: groups, count: all, width: columns },
    );
  let result = r;
  if (groups === 1) run(a, {});
  else {
    run(a, { BASIS: false });
    // the Q of the triangles, from which the reflections of the blocks make that of all rows
    const inner = { ...(outs.r && { r: outs.r }), ...(outs.state && { state: outs.state }) };
    const above = byBlocks(s, r, { count, rows: groups * columns, columns }, inner);
    run(above.q, { FACTOR: false, START: false });
    s.release(r, above.q);
    result = above.r;
  }
  s.release(work, factors);
  if (!outs.state) s.release(state);
  return { q, r: result };
}

/** The reflections of blocks of rows. */
interface Level extends Matrices {
  /** blocks of a matrix, and the rows of one */
  groups: number;
  height: number;
  work: Tensor;
  factors: Tensor;
  /** rows of the matrices that are in use; null where they all are */
  heights: Tensor<"u32"> | null;
}

/** The blocks of matrices, and then of their triangles, up to one block a matrix: temporaries, for `releaseLevels`. */
function levelsOf(s: Scheduler, matrices: Matrices, heights: Tensor<"u32"> | null): Level[] {
  const { count, columns } = matrices;
  const levels: Level[] = [];
  for (let { rows } = matrices; ; rows = levels.at(-1)!.groups * columns) {
    const { height, groups } = blocksOf({ count, rows, columns });
    const work = s.tensor([count * groups, 2 * columns, 4 * Math.ceil(height / 4)], { label: "QR work" });
    const factors = s.tensor([count * groups, columns, 3], { label: "reflection factors" });
    levels.push({
      ...{ count, rows, columns, groups, height },
      work,
      factors,
      heights: levels.length ? null : heights,
    });
    if (groups === 1) return levels;
  }
}

function releaseLevels(s: Scheduler, levels: readonly Level[]): void {
  for (const { work, factors } of levels) s.release(work, factors);
}

/** Records the triangles alone, and the reflections that make them; with `state`, those of matrices whose number there is not 1. */
function trianglesByBlocks(
  s: Scheduler,
  a: Tensor,
  levels: readonly Level[],
  { r: out, state }: Pick<Outs, "r" | "state"> = {},
): Tensor {
  let below = a;
  for (const level of levels) {
    const isLast = level === levels.at(-1);
    const { count, groups, columns } = level;
    const r = (isLast && out) || s.tensor([count * groups * columns, columns], { label: "R" });
    runLevel(s, level, { read: below, r, state }, { BASIS: false });
    if (below !== a) s.release(below);
    below = r;
  }
  return below;
}

function runLevel(
  s: Scheduler,
  { count, rows, columns, groups, height, work, factors, heights }: Level,
  { read, r, q, ...outs }: { read: Tensor } & Outs,
  constants: Constants,
): void {
  const state = outs.state ?? s.tensor([1], { dtype: "u32", label: "no state" });
  const unused = s.tensor([1], { label: "nothing" });
  const width = q?.shape.at(-1) ?? columns;
  s.run(
    blocksFor(s.engine, columns, { RAGGED: heights !== null, GUARDED: outs.state !== undefined, ...constants }),
    { a: read, p: read, work, factors, q: q ?? unused, r: r ?? unused, state, heights: heights ?? state },
    { rows, columns, height, blocks: groups, count: count * groups, width },
  );
  s.release(unused);
  if (!outs.state) s.release(state);
}

/**
 * Two passes of Cholesky QR, which are products, and a check of whether they were enough: not so for columns that are nearly
 * dependent, or too large or small to be squared. Then the blocks do it, which otherwise return at once.
 */
function byCholesky(s: Scheduler, a: Tensor): { q: Tensor; r: Tensor } {
  const state = s.tensor([1], { dtype: "u32", label: "QR state" });
  const { once, inverse, r } = choleskyPasses(s, a, { state });
  const q = matmul(s, once, inverse);
  s.release(once, inverse);
  byBlocks(s, a, matricesOf(a), { q, r, state });
  s.release(state);
  return { q, r };
}

/**
 * Records both passes for a matrix, or for each of K matrices (K×m×n): R, Q as the first one leaves it, `once`, R⁻¹ of the second, and in `state`, one
 * number a matrix, 1 where they are enough. Q is `once` times that R⁻¹.
 *
 * A·R⁻¹·R is off by rounding times the condition of R. For K matrices, where blocks would be one workgroup's each, what it is off by is made up for, so
 * that columns may be much nearer to dependent: those of noise of some per cent beside a few components, as slices of PARAFAC2 have them.
 */
function choleskyPasses(
  s: Scheduler,
  a: Tensor,
  { state, ...outs }: { state: Tensor<"u32">; once?: Tensor; inverse?: Tensor; r?: Tensor },
): { r: Tensor; once: Tensor; inverse: Tensor } {
  const isMany = a.order === 3;
  const product = (left: Tensor, right: Tensor, out?: Tensor): Tensor =>
    isMany ? batchMatmul(s, left, right, { out }) : matmul(s, left, right, { out });
  const gramOf = (x: Tensor, careful: boolean): Tensor => {
    if (isMany) return batchMatmul(s, x, x, { transposeA: true, careful: careful && x.shape[1]! > SHORT });
    return careful ? carefulGram(s, x) : gram(s, x);
  };
  const size = { n: a.shape.at(-1)!, count: state.size };
  const g = gramOf(a, false);
  const first = cholesky(s, g, { threshold: isMany ? 1e-6 : 1e-4, unit: true });
  s.run(check, { ...first, state }, { ...size, limit: isMany ? 10_000 : 4 });
  const once = product(a, first.inverse, outs.once);
  if (isMany) {
    const missed = product(once, first.r);
    accumulate(s, a, missed, { beta: -1 });
    const more = product(missed, first.inverse);
    accumulate(s, more, once);
    s.release(missed, more);
  }
  // Q is as orthonormal as the second pass makes it, so its Gram matrix is the careful one
  const again = gramOf(once, true);
  const second = cholesky(s, again, { threshold: 1e-4, unit: true, inverse: outs.inverse });
  // of nearly orthonormal columns
  if (isMany) s.run(check.with({ AGAIN: true }), { ...second, state }, { ...size, limit: 2 });
  const r = product(second.r, first.r, outs.r);
  s.release(g, first.r, first.inverse, again, second.r);
  return { r, once, inverse: second.inverse };
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
