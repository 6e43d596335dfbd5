import shader from "../../shaders/jacobi_svd.wgsl";
import blockShader from "../../shaders/jacobi_svd_block.wgsl";
import endShader from "../../shaders/jacobi_svd_end.wgsl";
import startShader from "../../shaders/jacobi_svd_start.wgsl";
import signShader from "../../shaders/sign_columns.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { matmul } from "./matmul.js";
import { largestMagnitude } from "./norms.js";
import { orthogonalise, triangleOf } from "./orthogonalise.js";
import { permute } from "./permute.js";
import { assertCall } from "./shapes.js";
import { recordCheck } from "./symmetricEigen.js";

const BLOCK = 16;
const kernel = new Kernel(shader, () => [1]);
const start = new Kernel(startShader, ({ n }, { WIDTH }) => grid1d(n! * Math.ceil(n! / 4), WIDTH!));
const between = new Kernel(blockShader, ({ blocks }) => [blocks! / 2]).with({ BLOCK });
const within = new Kernel(blockShader, ({ blocks }) => [blocks!]).with({ BLOCK, WITHIN: true });
const end = new Kernel(endShader, () => [1]);
const sign = new Kernel(signShader, ({ columns }) => [columns!]);
/** The most columns that rounds are recorded for, and how many sweeps of them. */
const LARGEST = 1024;
const SWEEPS = 14;

/** A = U·diag(values)·Vᵀ with k = min(m, n): U m×k and V n×k with orthonormal columns, values falling. */
export interface Svd {
  u: Tensor;
  values: Tensor;
  v: Tensor;
}

/**
 * Thin singular value decomposition of an m×n matrix, min(m, n) ≤ 1024: orthogonalisation of the long side, then one-sided
 * Jacobi rotations on the small triangle (Demmel & Veselić 1992), so that no Gram matrix squares the condition number.
 * The entry of largest magnitude in every column of U is positive. Columns are orthonormal also where a singular value is
 * zero. Up to 128 columns one workgroup does the rotations in one dispatch; beyond, rounds of blocks over the whole grid are
 * recorded for 14 sweeps, and return at once when all is done. Outside of schedules `svd` is faster and more exact.
 */
export function jacobiSvd(s: Scheduler, a: Tensor): Svd {
  assertCall("jacobiSvd", s, { a });
  const [m, n] = a.shape as [number, number];
  if (a.order !== 2) throw new ShapeError(`jacobiSvd: ${formatShape(a.shape)}, needs a matrix`);
  if (Math.min(m, n) > LARGEST)
    throw new ShapeError(`jacobiSvd: ${formatShape(a.shape)}, needs a side of at most ${LARGEST}`);
  const result = m < n ? wide(s, a) : m > n ? tall(s, a) : square(s, a);
  signColumns(s, result.u, result.v);
  return result;
}

/**
 * Singular values of an m×n matrix, m ≥ n, and its right singular vectors alone, for a part of what `jacobiSvd` records: no sign of a column is
 * settled.
 */
export function rightSingularVectors(s: Scheduler, a: Tensor): Pick<Svd, "values" | "v"> {
  assertCall("rightSingularVectors", s, { a });
  const [m, n] = a.shape as [number, number];
  if (a.order !== 2 || m < n || n > LARGEST)
    throw new ShapeError(
      `rightSingularVectors: ${formatShape(a.shape)}, needs a matrix with at most ${LARGEST} columns, and as many rows or more`,
    );
  const r = m > n ? triangleOf(s, a) : a;
  const { u, values, v } = rotated(s, r);
  s.release(u);
  if (r !== a) s.release(r);
  return { values, v };
}

/**
 * Records the signs of singular vectors, or of eigenvectors, in place: the entry of largest magnitude in every column of `u`
 * becomes positive, and columns of `v` change with those of `u`.
 */
export function signColumns(s: Scheduler, u: Tensor, v?: Tensor): void {
  assertCall("signColumns", s, v ? { u, v } : { u });
  const [rows_u, columns] = u.shape as [number, number];
  const other = v ?? s.tensor([1], { label: "no other vectors" });
  s.run(
    sign.with({ WIDTH: Math.min(64, setting(s.engine, "soleWorkgroup")) }),
    { u, v: other },
    { rows_u, rows_v: v?.shape[0] ?? 0, columns },
  );
  if (!v) s.release(other);
}

function wide(s: Scheduler, a: Tensor): Svd {
  const transposed = permute(s, a, [1, 0]);
  const { u, values, v } = tall(s, transposed);
  s.release(transposed);
  return { u: v, values, v: u };
}

function tall(s: Scheduler, a: Tensor): Svd {
  const { q, r } = orthogonalise(s, a);
  const small = square(s, r);
  const u = matmul(s, q, small.u);
  s.release(q, r, small.u);
  return { u, values: small.values, v: small.v };
}

function square(s: Scheduler, a: Tensor): Svd {
  const { u, values, v } = rotated(s, a);
  // where a singular value is zero, so is the column of U: an orthonormal column takes its place, and the others stay the same
  const { q, r } = orthogonalise(s, u);
  s.release(u, r);
  return { u: q, values, v };
}

/** As of `square`, but columns of U whose singular value is zero are zero. */
function rotated(s: Scheduler, a: Tensor): Svd {
  const n = a.shape[0]!;
  const quads = Math.ceil(n / 4);
  const temporary = (label: string, ...shape: number[]) => s.tensor(shape, { label });
  const [u, values, v] = [temporary("U", n, n), temporary("singular values", n), temporary("V", n, n)];
  const work = temporary("SVD work", n, 4 * quads);
  const rotation = temporary("SVD rotation", n, 4 * quads);
  const norms = temporary("SVD norms", n);
  const WIDTH = setting(s.engine, "soleWorkgroup");
  const TEAM = Math.min(WIDTH, setting(s.engine, n > 32 && n <= 128 ? "jacobiTeamMiddle" : "jacobiTeam"));
  if (n <= setting(s.engine, "jacobiAlone")) {
    s.run(kernel.with({ WIDTH, TEAM }), { a, work, rotation, norms, u, values, v }, { n });
  } else {
    const largest = largestMagnitude(s, a);
    const state = s.tensor([2], { dtype: "u32", label: "SVD state" });
    const blocks = 2 * Math.ceil(n / BLOCK / 2);
    s.run(start, { a, largest, work, rotation }, { n });
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
      recordCheck(s, state, sweep === 0);
      s.run(within.with({ WIDTH, TEAM }), { work, rotation, state }, { n, blocks, round: 0 });
      for (let round = 0; round < blocks - 1; round++)
        s.run(between.with({ WIDTH, TEAM }), { work, rotation, state }, { n, blocks, round });
    }
    s.run(end, { work, rotation, largest, norms, u, values, v }, { n });
    s.release(largest, state);
  }
  s.release(work, rotation, norms);
  return { u, values, v };
}
