import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  type Scheduler,
  ShapeError,
  TenfoldError,
  Tensor,
} from "../gpu/index.js";
import {
  add,
  bidiagonalStep,
  blockReflector,
  mean as columnMean,
  copy,
  inspect,
  inspection,
  jacobiSvd,
  map,
  matmul,
  maximum,
  minimum,
  multiply,
  orthogonalise,
  pasteColumns,
  permute,
  polishColumns,
  polishQr,
  polishRows,
  type Reduction,
  reduceMaximum,
  reduceMinimum,
  reflectRows,
  scaleByPower,
  scaleColumns,
  signColumns,
  slice,
  squaredDistance,
  startBidiagonal,
  startTridiagonal,
  subtract,
  sum,
  symmetricEigen,
  tridiagonalStep,
} from "../ops/index.js";
import { resident, restore, restoreValues } from "../sources/index.js";
import { TensorScope, together } from "./tensorScope.js";
import { bidiagonalSvd, tridiagonalEigen } from "./tridiagonal.js";

/** How a long factorisation is watched and stopped. */
export interface LinalgOptions {
  /** called several times with the part of the work that is done, 0 to 1 */
  onProgress?: (done: number) => void;
  /** stops between two submits of some tens of milliseconds; the promise then rejects with the signal's reason */
  signal?: AbortSignal;
}

/** What {@link LinalgOptions} may be. */
export const linalgRules: OptionRules<LinalgOptions> = {
  onProgress: optionRules.callback,
  signal: optionRules.signal,
};

/** Tensors on the GPU that are the caller's, freed together. */
abstract class Factors {
  protected abstract tensors(): Tensor[];

  destroy(): void {
    for (const tensor of this.tensors()) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** A = U·diag(values)·Vᵀ with k = min(m, n). */
export class SvdFactors extends Factors {
  constructor(
    /** m×k, orthonormal columns, the entry of largest magnitude in each positive */
    readonly u: Tensor,
    /** [k], falling, none negative */
    readonly values: Tensor,
    /** n×k, orthonormal columns */
    readonly v: Tensor,
  ) {
    super();
  }

  protected tensors(): Tensor[] {
    return [this.u, this.values, this.v];
  }
}

/** A = V·diag(values)·Vᵀ. */
export class EigenFactors extends Factors {
  constructor(
    /** [n], falling */
    readonly values: Tensor,
    /** n×n, orthonormal columns, the entry of largest magnitude in each positive */
    readonly vectors: Tensor,
  ) {
    super();
  }

  protected tensors(): Tensor[] {
    return [this.values, this.vectors];
  }
}

/** A = Q·R. */
export class QrFactors extends Factors {
  constructor(
    /** m×k, k = min(m, n), orthonormal columns */
    readonly q: Tensor,
    /** k×n, upper triangular, no negative diagonal */
    readonly r: Tensor,
  ) {
    super();
  }

  protected tensors(): Tensor[] {
    return [this.q, this.r];
  }
}

/** sides up to this many are rotated by Jacobi's method in one dispatch (see ops/svd.ts and ops/symmetricEigen.ts) */
const JACOBI = 48;
/** reflections that are applied together; rows of 64 numbers begin where a binding may */
const TOGETHER = 64;
/** parts that a reduction is cut into, with smaller and smaller grids */
const SEGMENTS = 8;
/** entries of the matrix that the steps of one submit go over: some tens of milliseconds */
const ENTRIES_A_SUBMIT = 2 ** 27;

/**
 * Thin singular value decomposition of an m×n matrix. Values are within 1e-6·σ₁ of what f64 gives for the same f32 matrix, and
 * vectors orthonormal to 2e-6, zero singular values included.
 *
 * Small sides: one-sided Jacobi rotations. Else the longer side is orthogonalised (Householder QR), the triangle brought to
 * bidiagonal form on the GPU (Golub & Kahan 1965), the bidiagonal matrix solved on the host in f64 (2n numbers there and n
 * vectors back), and its vectors taken back by products.
 *
 * @throws ShapeError where A is no matrix
 * @throws TenfoldError where A holds NaN or infinity, or a singular value is beyond the range of f32
 */
export async function svd(engine: Engine, a: Tensor<DType>, options: LinalgOptions = {}): Promise<SvdFactors> {
  checkOptions("svd", options, linalgRules);
  using source = await resident(engine, "svd", a);
  const { x, exponent } = source;
  assertMatrix("svd", a);
  const [m, n] = x.shape as [number, number];
  const k = Math.min(m, n);
  using scope = new TensorScope(engine);
  const u = scope.allocate([m, k], "U");
  const values = scope.allocate([k], "singular values");
  const v = scope.allocate([n, k], "V");
  if (k <= JACOBI) {
    options.signal?.throwIfAborted();
    await engine.run((s) => {
      const factors = jacobiSvd(s, x);
      polishColumns(s, factors.u, { out: u });
      copy(s, factors.values, { out: values });
      polishColumns(s, factors.v, { out: v });
    }, "SVD");
  } else await largeSvd(engine, x, scaleExponent(source.largest), { u, values, v }, options);
  options.onProgress?.(1);
  return scope.handOut(new SvdFactors(u, await restore(engine, "svd", "singular values", values, exponent), v));
}

async function largeSvd(
  engine: Engine,
  x: Tensor,
  power: number,
  { u, values, v }: { u: Tensor; values: Tensor; v: Tensor },
  { onProgress, signal }: LinalgOptions,
): Promise<void> {
  const [m, n] = x.shape as [number, number];
  const k = Math.min(m, n);
  using scope = new TensorScope(engine);
  const reduction = scope.keep(startBidiagonal(engine, k));
  // of a matrix that is not square: Q of its longer side, and the triangle
  const square = m === n ? x : scope.allocate([k, k], "triangle");
  const q = m === n ? null : scope.allocate([Math.max(m, n), k], "Q");
  await engine.run((s) => {
    const scaled = scaleByPower(s, x, power);
    if (!q) return void pasteColumns(s, scaled, reduction.matrix);
    const tall = m > n ? scaled : permute(s, scaled, [1, 0]);
    const factors = polishedQr(s, tall);
    copy(s, factors.q, { out: q });
    // of a wide matrix A = (QR)ᵀ: the triangle is transposed
    const triangle = m > n ? factors.r : permute(s, factors.r, [1, 0]);
    pasteColumns(s, triangle, reduction.matrix);
    scaleByPower(s, triangle, -power, { out: square });
  }, "SVD start");
  await reduce(engine, reduction, bidiagonalStep, (done) => onProgress?.(0.6 * done), signal);
  const [d, e] = await bandOf(engine, reduction);
  const { stride } = reduction;
  const host = bidiagonalSvd(d, e, stride);
  signal?.throwIfAborted();
  onProgress?.(0.8);
  engine.write(
    values,
    host.values.map((value) => value * 2 ** -power),
  );
  const rows = scope.keep(engine.tensor([k, stride], host.u, { label: "Uᵀ" }));
  const shortfall = scope.allocate([k], "shortfall");
  const rowsV = scope.keep(engine.tensor([k, stride], host.v, { label: "Vᵀ" }));
  await engine.run((s) => {
    reflectBack(s, rows, reduction.u, scalarRow(reduction, 2));
    reflectBack(s, rowsV, reduction.v, scalarRow(reduction, 3));
    const left = polishColumns(s, orthonormal(s, rows, k, host.close));
    const right = polishColumns(s, orthonormal(s, rowsV, k, host.close));
    recordShortfall(s, square, left, values, right, shortfall);
    if (q && m > n) polishColumns(s, matmul(s, q, left), { out: u });
    else copy(s, left, { out: u });
    if (q && m < n) polishColumns(s, matmul(s, q, right), { out: v });
    else copy(s, right, { out: v });
    signColumns(s, u, v);
  }, "SVD vectors");
  await correct(engine, values, shortfall, 0);
}

/**
 * Eigenvalues and eigenvectors of a symmetric matrix (the mean of A and Aᵀ is taken). Values are within 1e-6 of the largest
 * magnitude among them of what f64 gives for the same f32 matrix, and vectors orthonormal to 2e-6.
 *
 * Small matrices: Jacobi rotations. Else the matrix is brought to tridiagonal form on the GPU (Golub & Van Loan, section 8.3),
 * solved on the host in f64, and the vectors are taken back by products.
 *
 * @throws ShapeError where A is not square
 * @throws TenfoldError where A holds NaN or infinity, is not symmetric, or an eigenvalue is beyond the range of f32
 */
export async function eigh(engine: Engine, a: Tensor<DType>, options: LinalgOptions = {}): Promise<EigenFactors> {
  checkOptions("eigh", options, linalgRules);
  using source = await resident(engine, "eigh", a);
  const { x, exponent } = source;
  assertMatrix("eigh", a);
  const [n, columns] = x.shape as [number, number];
  if (n !== columns) throw new ShapeError(`eigh: ${a}, needs a square matrix`);
  await assertSymmetric(engine, x, source.squaredNorm);
  using scope = new TensorScope(engine);
  const values = scope.allocate([n], "eigenvalues");
  const vectors = scope.allocate([n, n], "eigenvectors");
  using shortfall = engine.tensor([n], null, { label: "shortfall" });
  const finish = (s: Scheduler): void => {
    signColumns(s, vectors);
    recordShortfall(s, symmetricPart(s, x), vectors, values, vectors, shortfall);
  };
  options.signal?.throwIfAborted();
  if (n <= JACOBI)
    await engine.run((s) => {
      const result = symmetricEigen(s, symmetricPart(s, x));
      copy(s, result.values, { out: values });
      polishColumns(s, result.vectors, { out: vectors });
      finish(s);
    }, "eigen");
  else await largeEigen(engine, x, scaleExponent(source.largest), values, vectors, finish, options);
  await correct(engine, values, shortfall);
  options.onProgress?.(1);
  return scope.handOut(new EigenFactors(await restore(engine, "eigh", "eigenvalues", values, exponent), vectors));
}

async function largeEigen(
  engine: Engine,
  x: Tensor,
  power: number,
  values: Tensor,
  vectors: Tensor,
  finish: (s: Scheduler) => void,
  { signal, onProgress }: LinalgOptions,
): Promise<void> {
  const n = values.size;
  using scope = new TensorScope(engine);
  const reduction = scope.keep(startTridiagonal(engine, n));
  await engine.run(
    (s) => pasteColumns(s, scaleByPower(s, symmetricPart(s, x), power), reduction.matrix),
    "eigen start",
  );
  await reduce(engine, reduction, tridiagonalStep, (done) => onProgress?.(0.6 * done), signal);
  const [d, e] = await bandOf(engine, reduction);
  const host = tridiagonalEigen(d, e, reduction.stride);
  signal?.throwIfAborted();
  onProgress?.(0.8);
  engine.write(
    values,
    host.values.map((value) => value * 2 ** -power),
  );
  const rows = scope.keep(engine.tensor([n, reduction.stride], host.vectors, { label: "vectors" }));
  await engine.run((s) => {
    reflectBack(s, rows, reduction.v, scalarRow(reduction, 2));
    polishColumns(s, orthonormal(s, rows, n, host.close), { out: vectors });
    finish(s);
  }, "eigenvectors");
}

/**
 * Thin QR factorisation of an m×n matrix by Householder reflections, Q m×k and R k×n with k = min(m, n).
 *
 * @throws TenfoldError where A holds NaN or infinity
 */
export async function qr(engine: Engine, a: Tensor<DType>, options: LinalgOptions = {}): Promise<QrFactors> {
  checkOptions("qr", options, linalgRules);
  using source = await resident(engine, "qr", a);
  const { x, exponent } = source;
  assertMatrix("qr", a);
  const [m, n] = x.shape as [number, number];
  const k = Math.min(m, n);
  options.signal?.throwIfAborted();
  using scope = new TensorScope(engine);
  const q = scope.allocate([m, k], "Q");
  const r = scope.allocate([k, n], "R");
  await engine.run((s) => {
    // of a wide matrix the first columns make Q, and R is QᵀA
    const first = m < n ? columnsFrom(s, x, 0, m) : x;
    const factors = polishedQr(s, first);
    copy(s, factors.q, { out: q });
    if (m >= n) return void copy(s, factors.r, { out: r });
    const rest = matmul(s, factors.q, columnsFrom(s, x, m, n), { transposeA: true });
    pasteColumns(s, factors.r, r);
    pasteColumns(s, rest, r, m);
  }, "QR");
  options.onProgress?.(1);
  return scope.handOut(new QrFactors(q, await restore(engine, "qr", "R", r, exponent)));
}

/** The solution of a least squares problem. */
export class LeastSquares extends Factors {
  constructor(
    /** n×k, or [n] where b is a vector */
    readonly x: Tensor,
    /** how many singular values of A count as not zero */
    readonly rank: number,
    /** [min(m, n)], of A, falling */
    readonly singularValues: Float32Array,
    /** ‖Ax − b‖ / ‖b‖, from the difference itself, to 1e-6 and 1e-8·‖A‖·‖x‖ / ‖b‖; 0 where b is zero */
    readonly relativeError: number,
  ) {
    super();
  }

  protected tensors(): Tensor[] {
    return [this.x];
  }
}

/** Options of {@link lstsq}. */
export interface LstsqOptions extends LinalgOptions {
  /** singular values up to this part of the largest count as zero; max(m, n)·2⁻²³ by default, as NumPy has it for f32 */
  rcond?: number;
}

/**
 * The shortest x with the least ‖Ax − b‖, for an m×n matrix of any rank and b of m elements or m×k: by the SVD of A, with the
 * residual solved for once more.
 *
 * @throws ShapeError where b has not as many rows as A
 * @throws TenfoldError where A or b holds NaN or infinity, or x is beyond the range of f32
 */
export async function lstsq(
  engine: Engine,
  a: Tensor<DType>,
  b: Tensor<DType>,
  options: LstsqOptions = {},
): Promise<LeastSquares> {
  checkOptions("lstsq", options, { ...linalgRules, rcond: optionRules.atLeastZero });
  using left = await resident(engine, "lstsq", a);
  assertMatrix("lstsq", a);
  if (!(b instanceof Tensor))
    throw new TenfoldError(`lstsq: b is ${b}, needs a tensor: call lstsq(engine, a, b, options)`);
  using right = await resident(engine, "lstsq (b)", b);
  const [m, n] = a.shape as [number, number];
  if (b.order > 2 || b.shape[0] !== m)
    throw new ShapeError(`lstsq: b is ${formatShape(b.shape)}, needs ${m} rows as A (${formatShape(a.shape)}) has`);
  const { rcond = Math.max(m, n) * 2 ** -23, ...others } = options;
  using factors = await svd(engine, left.x, others);
  const values = await engine.read(factors.values);
  const rank = values.filter((value) => value > rcond * values[0]!).length;
  const columns = b.size / m;
  using scope = new TensorScope(engine);
  const solution = scope.allocate(b.order === 1 ? [n] : [n, columns], "solution");
  using residual = engine.tensor([1], null, { label: "residual" });
  using inspected = engine.tensor([4], new Uint32Array(4), { label: "inspection" });
  using inverse = engine.tensor(
    [values.length, 1],
    values.map((value, i) => (i < rank ? 1 / value : 0)),
  );
  await engine.run((s) => {
    const rhs = right.x.reshape([m, columns]);
    const solve = (y: Tensor): Tensor => {
      const along = matmul(s, factors.u, y, { transposeA: true });
      return matmul(s, factors.v, multiply(s, along, inverse));
    };
    const first = solve(rhs);
    const image = (of: Tensor): Tensor => matmul(s, left.x, of, { careful: true });
    const rest = subtract(s, rhs, image(first));
    const x = add(s, first, solve(rest), { out: solution.reshape([n, columns]) });
    squaredDistance(s, rhs, image(x), { out: residual });
    inspect(s, x, inspected);
  }, "least squares");
  const [squared, words] = await engine.read([residual, inspected]);
  // a small rcond keeps singular values near 0, whose inverses leave f32
  if (inspection(words!).first)
    throw new TenfoldError("lstsq: the solution is above 3.4e38, the largest f32; take a larger rcond");
  const singular = restoreValues("lstsq", "singular values", values, left.exponent);
  const x = await restore(engine, "lstsq", "solution", solution, right.exponent - left.exponent);
  const relativeError = right.squaredNorm ? Math.sqrt(squared![0]! / right.squaredNorm) : 0;
  return scope.handOut(new LeastSquares(x, rank, singular, relativeError));
}

/** Options of {@link pca}. */
export interface PcaOptions extends LinalgOptions {
  /** c, at most min(samples, features); all of them by default */
  components?: number;
}

/** Principal components; the score of largest magnitude along each is positive. */
export class PrincipalComponents extends Factors {
  constructor(
    /** features×c, orthonormal columns: the directions of most variance */
    readonly components: Tensor,
    /** samples×c: the centred samples along the components */
    readonly scores: Tensor,
    /** [features] */
    readonly mean: Tensor,
    /** of each component, over samples − 1 */
    readonly explainedVariance: Float64Array,
    /** the same as parts of the variance of all features */
    readonly explainedVarianceRatio: Float64Array,
  ) {
    super();
  }

  protected tensors(): Tensor[] {
    return [this.components, this.scores, this.mean];
  }
}

/**
 * Principal component analysis of samples×features: the SVD of the samples less their mean (Jolliffe 2002). The mean is taken
 * twice, so that a large offset costs no digits.
 *
 * @throws ShapeError where x is no matrix of at least two samples
 * @throws TenfoldError where x holds NaN or infinity
 */
export async function pca(engine: Engine, x: Tensor<DType>, options: PcaOptions = {}): Promise<PrincipalComponents> {
  checkOptions("pca", options, { ...linalgRules, components: optionRules.positive });
  using source = await resident(engine, "pca", x);
  assertMatrix("pca", x);
  const [samples, features] = x.shape as [number, number];
  if (samples < 2) throw new ShapeError(`pca: ${x}, needs at least two samples (rows)`);
  const { components: count = Math.min(samples, features), ...others } = options;
  const most = Math.min(samples, features);
  if (count > most) throw new ShapeError(`pca: ${count} components of ${x}, needs 1 to ${most}`);
  using scope = new TensorScope(engine);
  const mean = scope.allocate([features], "mean");
  const components = scope.allocate([features, count], "components");
  const scores = scope.allocate([samples, count], "scores");
  using centred = engine.tensor([samples, features], null, { label: "centred samples" });
  await engine.run((s) => {
    // the mean is kept between the least and largest entry, so that a constant feature becomes exactly 0
    const [least, most] = [reduceMinimum(s, source.x, { axis: 0 }), reduceMaximum(s, source.x, { axis: 0 })];
    const rough = minimum(s, maximum(s, columnMean(s, source.x, { axis: 0 }), least), most);
    const near = subtract(s, source.x, rough);
    const rest = columnMean(s, near, { axis: 0 });
    subtract(s, near, rest, { out: centred });
    add(s, rough, rest, { out: mean });
  }, "PCA mean");
  using factors = await svd(engine, centred, others);
  await engine.run((s) => {
    slice(s, factors.v, [0, 0], [features, count], { out: components });
    const u = slice(s, factors.u, [0, 0], [samples, count]);
    scaleColumns(s, u, slice(s, factors.values, [0], [count]), { out: scores });
  }, "PCA scores");
  const squares = Float64Array.from(await engine.read(factors.values), (value) => value ** 2);
  const total = squares.reduce((sum, value) => sum + value, 0);
  const scale = 4 ** source.exponent / (samples - 1);
  const restoredScores = scope.keep(await restore(engine, "pca", "scores", scores, source.exponent));
  const restoredMean = await restore(engine, "pca", "mean", mean, source.exponent);
  const leading = squares.subarray(0, count);
  return scope.handOut(
    new PrincipalComponents(
      components,
      restoredScores,
      restoredMean,
      leading.map((value) => value * scale),
      leading.map((value) => value / (total || 1)),
    ),
  );
}

/** exponent of the power of two that brings the largest magnitude to 2³⁰, as the reductions need it (shaders/common/reflector.wgsl) */
const scaleExponent = (largest: number): number => (largest ? 30 - Math.floor(Math.log2(largest)) : 0);

/** Records a QR factorisation whose Q is orthonormal to rounding. */
function polishedQr(s: Scheduler, a: Tensor): { q: Tensor; r: Tensor } {
  const { q, r } = orthogonalise(s, a);
  const polished = polishQr(s, q, r);
  s.release(q, r);
  return polished;
}

function assertMatrix(operation: string, a: Tensor<DType>): void {
  if (a.order !== 2) throw new ShapeError(`${operation}: ${a} has order ${a.order}, needs a matrix`);
}

/** a matrix is called symmetric where ‖A − Aᵀ‖ is at most this part of ‖A‖ */
const ASYMMETRY = 1e-3;

async function assertSymmetric(engine: Engine, x: Tensor, squaredNorm: number): Promise<void> {
  using distance = engine.tensor([1], null, { label: "asymmetry" });
  await engine.run((s) => void squaredDistance(s, x, permute(s, x, [1, 0]), { out: distance }), "asymmetry");
  const asymmetry = Math.sqrt((await engine.read(distance))[0]! / (squaredNorm || 1));
  if (asymmetry > ASYMMETRY)
    throw new TenfoldError(
      `eigh: ${x} differs from its transpose by ${asymmetry.toPrecision(3)} of its norm, needs a symmetric matrix; take svd, or (A + Aᵀ) / 2`,
    );
}

/** (A + Aᵀ) / 2 */
function symmetricPart(s: Scheduler, a: Tensor): Tensor {
  return map(s, add(s, a, permute(s, a, [1, 0])), "identity", { alpha: 0.5 });
}

/** Columns `start` to `stop` of a matrix. */
const columnsFrom = (s: Scheduler, a: Tensor, start: number, stop: number): Tensor =>
  slice(s, a, [0, start], [a.shape[0]!, stop - start]);

/** The first n elements of every row as columns: n×rows. */
const columnsOf = (s: Scheduler, rows: Tensor, n: number): Tensor => permute(s, rows, [1, 0]).rows(0, n);

const scalarRow = ({ scalars, stride }: Reduction, index: number): Tensor =>
  scalars.rows(index, index + 1).reshape([stride]);

/** Replays the steps of a reduction, the same two or four dispatches each, with grids that shrink with what is left. */
async function reduce(
  engine: Engine,
  reduction: Reduction,
  step: (s: Scheduler, reduction: Reduction, left: number) => void,
  onProgress: (done: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { n } = reduction;
  const length = Math.ceil(n / SEGMENTS);
  const starts = Array.from({ length: Math.ceil(n / length) }, (_, index) => index * length);
  using scope = new TensorScope(engine);
  const schedules = await together(
    starts.map(async (start) => {
      const s = engine.scheduler("reduction");
      step(s, reduction, n - start);
      return scope.keep(await s.compile());
    }),
  );
  for (const [index, start] of starts.entries()) {
    signal?.throwIfAborted();
    const stop = Math.min(n, start + length);
    const atOnce = Math.max(1, Math.floor(ENTRIES_A_SUBMIT / n ** 2));
    for (let step = start; step < stop; step += atOnce) {
      signal?.throwIfAborted();
      engine.submit(schedules[index]!, Math.min(atOnce, stop - step));
      // the host waits between submits only where it may have to stop, or where steps take long
      if (signal || n > 512) await engine.idle();
    }
    onProgress(Math.min(start + length, n) / n);
  }
}

/** Diagonal and off-diagonal of what a reduction left. */
async function bandOf(engine: Engine, { n, stride, scalars }: Reduction): Promise<[Float32Array, Float32Array]> {
  const all = await engine.read(scalars);
  return [all.slice(0, n), all.slice(stride, stride + n - 1)];
}

/** Records the product of all reflections times the vectors in `rows`, in place, blocks of reflections last to first. */
function reflectBack(s: Scheduler, rows: Tensor, v: Tensor, tau: Tensor): void {
  const n = v.shape[0]!;
  for (let first = Math.floor((n - 1) / TOGETHER) * TOGETHER; first >= 0; first -= TOGETHER) {
    const stop = Math.min(n, first + TOGETHER);
    const block = v.rows(first, stop);
    const t = blockReflector(s, block, tau.rows(first, stop));
    reflectRows(s, rows, block, t, { forward: true });
    s.release(t);
  }
}

/** Nearly orthonormal rows as the columns of an n×n matrix, near enough to orthonormal for one more polish to reach rounding. */
const orthonormal = (s: Scheduler, rows: Tensor, n: number, lacksMuch: boolean): Tensor =>
  columnsOf(s, lacksMuch ? polishRows(s, rows) : rows, n);

/**
 * Records the correction uᵢᵀ·A·vᵢ − σᵢ·(‖uᵢ‖² + ‖vᵢ‖²) / 2 of every value σᵢ. Where many values are close together, rounding in the
 * reductions moves them by up to 1e-6 of the largest; corrected, they are right to some 1e-7.
 */
function recordShortfall(s: Scheduler, a: Tensor, u: Tensor, values: Tensor, v: Tensor, out: Tensor): void {
  const half = (transposeA: boolean, from: Tensor, to: Tensor): Tensor => {
    const image = matmul(s, a, from, { transposeA, careful: true });
    const model = scaleColumns(s, to, values);
    const rest = subtract(s, image, model);
    s.release(image, model);
    const products = multiply(s, to, rest);
    s.release(rest);
    const lack = sum(s, products, { axis: 0 });
    s.release(products);
    return lack;
  };
  const left = half(false, v, u);
  if (u === v) return void copy(s, left, { out });
  const both = add(s, left, half(true, u, v));
  map(s, both, "identity", { alpha: 0.5, out });
}

/** Adds the corrections to the values, sorts them so that they fall, and lets none be below `least`. */
async function correct(
  engine: Engine,
  values: Tensor,
  shortfall: Tensor,
  least = Number.NEGATIVE_INFINITY,
): Promise<void> {
  const [rough, lack] = await engine.read([values, shortfall]);
  engine.write(
    values,
    Float32Array.from(rough!, (value, k) => Math.max(value + lack![k]!, least))
      .sort()
      .reverse(),
  );
}
