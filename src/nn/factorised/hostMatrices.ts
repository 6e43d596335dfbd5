/** Small f64 matrices on the host, for work that is done once a layer: putting weights together, small least squares problems. */
import { TenfoldError } from "../../gpu/index.js";

export type Values = Float32Array | Float64Array;

/** A·B, m×k times k×n, row-major. */
export function matrixProduct(a: Values, b: Values, m: number, k: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  // four columns of A at a time, so that a row of the result is read and written a quarter as often
  const end = k - (k % 4);
  for (let i = 0; i < m; i++) {
    const row = out.subarray(i * n, (i + 1) * n);
    for (let p = 0; p < end; p += 4) {
      const at = i * k + p;
      const [a0, a1, a2, a3] = [a[at]!, a[at + 1]!, a[at + 2]!, a[at + 3]!];
      if (a0 === 0 && a1 === 0 && a2 === 0 && a3 === 0) continue;
      let from = p * n;
      for (let j = 0; j < n; j++, from++)
        row[j]! += a0 * b[from]! + a1 * b[from + n]! + (a2 * b[from + 2 * n]! + a3 * b[from + 3 * n]!);
    }
    for (let p = end; p < k; p++) {
      const factor = a[i * k + p]!;
      if (factor === 0) continue;
      const from = p * n;
      for (let j = 0; j < n; j++) row[j]! += factor * b[from + j]!;
    }
  }
  return out;
}

/**
 * C −= A·Bᵀ for blocks of row-major matrices, `rows`×`columns` by `inner`: each block begins at an index of its array, and its rows
 * are a stride apart. Two rows of A by four of B at a time, because eight sums and six factors fit into registers.
 */
function subtractProducts(
  [c, c0, cs]: readonly [Float64Array, number, number],
  [a, a0, as]: readonly [Values, number, number],
  [b, b0, bs]: readonly [Values, number, number],
  [rows, columns, inner]: readonly [number, number, number],
): void {
  let j = 0;
  for (; j + 4 <= columns; j += 4) {
    const [q0, q1, q2, q3] = [b0 + j * bs, b0 + (j + 1) * bs, b0 + (j + 2) * bs, b0 + (j + 3) * bs];
    let i = 0;
    for (; i + 2 <= rows; i += 2) {
      const [p0, p1] = [a0 + i * as, a0 + (i + 1) * as];
      let [s00, s01, s02, s03, s10, s11, s12, s13] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0; k < inner; k++) {
        const x = a[p0 + k]!;
        const y = a[p1 + k]!;
        const w0 = b[q0 + k]!;
        const w1 = b[q1 + k]!;
        const w2 = b[q2 + k]!;
        const w3 = b[q3 + k]!;
        s00 += x * w0;
        s01 += x * w1;
        s02 += x * w2;
        s03 += x * w3;
        s10 += y * w0;
        s11 += y * w1;
        s12 += y * w2;
        s13 += y * w3;
      }
      const [r0, r1] = [c0 + i * cs + j, c0 + (i + 1) * cs + j];
      c[r0]! -= s00;
      c[r0 + 1]! -= s01;
      c[r0 + 2]! -= s02;
      c[r0 + 3]! -= s03;
      c[r1]! -= s10;
      c[r1 + 1]! -= s11;
      c[r1 + 2]! -= s12;
      c[r1 + 3]! -= s13;
    }
    if (i < rows) {
      const p = a0 + i * as;
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      for (let k = 0; k < inner; k++) {
        const x = a[p + k]!;
        s0 += x * b[q0 + k]!;
        s1 += x * b[q1 + k]!;
        s2 += x * b[q2 + k]!;
        s3 += x * b[q3 + k]!;
      }
      const r = c0 + i * cs + j;
      c[r]! -= s0;
      c[r + 1]! -= s1;
      c[r + 2]! -= s2;
      c[r + 3]! -= s3;
    }
  }
  for (; j < columns; j++)
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      for (let k = 0, p = a0 + i * as, q = b0 + j * bs; k < inner; k++) sum += a[p + k]! * b[q + k]!;
      c[c0 + i * cs + j]! -= sum;
    }
}

/** A·Bᵀ of an m×k and an n×k matrix. */
export function rowProducts(a: Values, b: Values, m: number, n: number, k: number): Float64Array {
  const out = new Float64Array(m * n);
  subtractProducts([out, 0, n], [a, 0, k], [b, 0, k], [m, n, k]);
  for (let i = 0; i < out.length; i++) out[i] = -out[i]!;
  return out;
}

/** Aᵀ of an m×n matrix. */
export function transpose(a: Values, m: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = a[i * n + j]!;
  return out;
}

/** Reorders the modes of a row-major array, as `permute` does on the GPU. */
export function permuteValues(x: Values, shape: readonly number[], axes: readonly number[]): Float64Array {
  const strides = new Array<number>(shape.length).fill(1);
  for (let mode = shape.length - 2; mode >= 0; mode--) strides[mode] = strides[mode + 1]! * shape[mode + 1]!;
  const extents = axes.map((axis) => shape[axis]!);
  const steps = axes.map((axis) => strides[axis]!);
  const out = new Float64Array(x.length);
  const at = new Array<number>(axes.length).fill(0);
  let from = 0;
  for (let index = 0; index < out.length; index++) {
    out[index] = x[from]!;
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++at[axis]! < extents[axis]!) break;
      from -= steps[axis]! * extents[axis]!;
      at[axis] = 0;
    }
  }
  return out;
}

/**
 * Lower triangular L with L·Lᵀ = C + ridge·mean(diag C)·I, for a symmetric n×n matrix C whose eigenvalues are 0 or more but for
 * rounding. The ridge lifts eigenvalues of 0, which the covariance of constant inputs has. Where rounding leaves eigenvalues that
 * the ridge does not lift above 0, as it does in sums of f32, the ridge is ten times as large, until they are.
 *
 * @throws TenfoldError unless the trace of C is a positive number and all of its entries are finite
 */
export function choleskyFactor(c: Values, n: number, ridge: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += c[i * n + i]!;
  if (!(trace > 0 && Number.isFinite(trace)))
    throw new TenfoldError(`covariance: its trace is ${trace}, needs a positive number`);
  let lift = (ridge * trace) / n;
  do {
    const l = liftedFactor(c, n, lift);
    if (l) return l;
    lift = Math.max(10 * lift, (1e-12 * trace) / n);
  } while (lift <= trace);
  throw new TenfoldError("covariance: it has eigenvalues far below 0, or entries that are not finite");
}

/** L with L·Lᵀ = C + lift·I; null where a pivot is not above the lift, but for rounding, as the pivots of eigenvalues of 0 or more are. */
function liftedFactor(c: Values, n: number, lift: number): Float64Array | null {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) l[i * n + j] = c[i * n + j]!;
    l[i * n + i] = c[i * n + i]! + lift;
  }
  // block columns from the left: first the products with the columns before, then the triangle on the diagonal and the rows below it
  for (let first = 0; first < n; first += BLOCK) {
    const end = Math.min(first + BLOCK, n);
    const block = [l, first * n, n] as const;
    if (first) subtractProducts([l, first * n + first, n], block, block, [n - first, end - first, first]);
    for (let i = first; i < n; i++)
      for (let j = first; j <= Math.min(i, end - 1); j++) {
        let value = l[i * n + j]!;
        for (let k = first; k < j; k++) value -= l[i * n + k]! * l[j * n + k]!;
        if (i !== j) l[i * n + j] = value / l[j * n + j]!;
        else if (value > 0 && value >= lift / 2) l[i * n + i] = Math.sqrt(value);
        else return null;
      }
  }
  // the products reach above the diagonal of their block
  for (let i = 0; i < n; i++) l.fill(0, i * n + i + 1, (i + 1) * n);
  return l;
}

/** columns of a triangle that are solved together */
const BLOCK = 32;

/** X (m×n) with X·(C + ridge·mean(diag C)·I) = B, for a symmetric positive C (n×n). */
export function solveRows(c: Values, b: Values, m: number, n: number, ridge: number): Float64Array {
  const l = choleskyFactor(c, n, ridge);
  return solveTriangular(l, solveTriangular(l, b, m, n, true), m, n, false);
}

/** X (m×n) with X·L = B, or X·Lᵀ = B where `transposed`, for a lower triangular L (n×n). */
export function solveTriangular(l: Values, b: Values, m: number, n: number, transposed: boolean): Float64Array {
  const x = Float64Array.from(b);
  if (transposed) {
    for (let first = 0; first < n; first += BLOCK) {
      const end = Math.min(first + BLOCK, n);
      if (first) subtractProducts([x, first, n], [x, 0, n], [l, first * n, n], [m, end - first, first]);
      for (let row = 0; row < m * n; row += n)
        for (let j = first; j < end; j++) {
          let value = x[row + j]!;
          for (let k = first; k < j; k++) value -= x[row + k]! * l[j * n + k]!;
          x[row + j] = value / l[j * n + j]!;
        }
    }
    return x;
  }
  // a row of Lᵀ lies together, a column of L does not
  const u = transpose(l, n, n);
  for (let end = n; end > 0; end -= BLOCK) {
    const first = Math.max(0, end - BLOCK);
    if (end < n) subtractProducts([x, first, n], [x, end, n], [u, first * n + end, n], [m, end - first, n - end]);
    for (let row = 0; row < m * n; row += n)
      for (let j = end - 1; j >= first; j--) {
        let value = x[row + j]!;
        for (let k = j + 1; k < end; k++) value -= x[row + k]! * u[j * n + k]!;
        x[row + j] = value / l[j * n + j]!;
      }
  }
  return x;
}

/**
 * All singular values of an m×n matrix, largest first, as roots of the eigenvalues of the Gram matrix of its smaller side. A value
 * below 1e-8 of the largest is rounding error. For matrices that are too large for an SVD on the GPU; takes about 3 n³
 * operations for an n×n matrix.
 */
export function singularValues(a: Values, m: number, n: number): Float64Array {
  const rows = m <= n ? Float64Array.from(a) : transpose(a, m, n);
  const [side, length] = [Math.min(m, n), Math.max(m, n)];
  const gram = new Float64Array(side * side);
  // tiles of rows, because a row that is read again within a tile still lies in the cache
  const TILE = 16;
  for (let at = 0; at < side; at += TILE)
    for (let other = 0; other <= at; other += TILE)
      for (let i = at; i < Math.min(at + TILE, side); i++)
        for (let j = other; j < Math.min(other + TILE, i + 1); j++) {
          let sum = 0;
          for (let k = 0, p = i * length, q = j * length; k < length; k++) sum += rows[p + k]! * rows[q + k]!;
          gram[i * side + j] = sum;
        }
  return symmetricEigenvalues(gram, side).map((value) => Math.sqrt(Math.max(value, 0)));
}

/**
 * The eigenvalues of a symmetric n×n matrix, largest first. Reads the lower triangle of `a`, and overwrites it.
 *
 * @throws TenfoldError where an eigenvalue does not converge in 60 steps
 */
export const symmetricEigenvalues = (a: Float64Array, n: number): Float64Array => {
  const [diagonal, beside, half] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)];
  tridiagonalise(a, n, diagonal, beside, half);
  qlSteps(n, diagonal, beside, () => {});
  return diagonal.sort().reverse();
};

/**
 * The eigenvalues of a symmetric tridiagonal matrix, in place of its diagonal and in no order; `beside` is lost. Each rotation of
 * neighbouring coordinates is told.
 */
export function qlSteps(
  n: number,
  diagonal: Float64Array,
  beside: Float64Array,
  rotate: (at: number, sine: number, cosine: number) => void,
): void {
  // QL steps with implicit shifts (Golub & Van Loan, section 8.3)
  for (let first = 0; first < n; first++) {
    for (let step = 0; ; step++) {
      let last = first;
      for (; last < n - 1; last++) {
        const scale = Math.abs(diagonal[last]!) + Math.abs(diagonal[last + 1]!);
        if (Math.abs(beside[last]!) <= Number.EPSILON * scale) break;
      }
      if (last === first) break;
      if (step === 60)
        throw new TenfoldError(`symmetricEigenvalues: ${n}×${n}, eigenvalue ${first} did not converge in 60 steps`, {
          code: "CONVERGENCE",
        });
      let g = (diagonal[first + 1]! - diagonal[first]!) / (2 * beside[first]!);
      g = diagonal[last]! - diagonal[first]! + beside[first]! / (g + (g < 0 ? -1 : 1) * Math.hypot(g, 1));
      let [sine, cosine, taken, at] = [1, 1, 0, last - 1];
      for (; at >= first; at--) {
        const f = sine * beside[at]!;
        const b = cosine * beside[at]!;
        const length = Math.sqrt(f * f + g * g);
        beside[at + 1] = length;
        if (length === 0) {
          diagonal[at + 1]! -= taken;
          beside[last] = 0;
          break;
        }
        sine = f / length;
        cosine = g / length;
        rotate(at, sine, cosine);
        g = diagonal[at + 1]! - taken;
        const turn = (diagonal[at]! - g) * sine + 2 * cosine * b;
        taken = sine * turn;
        diagonal[at + 1] = g + taken;
        g = cosine * turn - b;
      }
      if (at >= first) continue;
      diagonal[first]! -= taken;
      beside[first] = g;
      beside[last] = 0;
    }
  }
}

/**
 * Reduces a symmetric matrix to a tridiagonal one by Householder reflections from both sides (Golub & Van Loan, section 8.3).
 * Element (i + 1, i) of the result goes to `beside[i]`. Row i of `a` then begins with the i entries of a vector v: the reflection is
 * I − v·vᵀ ÷ `halves[i]`, and none where that is 0. Reads the lower triangle of `a`.
 */
export function tridiagonalise(
  a: Float64Array,
  n: number,
  diagonal: Float64Array,
  beside: Float64Array,
  halves: Float64Array,
): void {
  // of the reflection before: A becomes A − v·wᵀ − w·vᵀ, in the pass that multiplies A by the next vector, as memory is what takes the time
  let [v, next] = [new Float64Array(n), new Float64Array(n)];
  let [w, product] = [new Float64Array(n), new Float64Array(n)];
  // from the last row to the first: the rows that remain are always the leading part of the lower triangle
  for (let row = n - 1; row > 0; row--) {
    const from = row * n;
    subtract(a, from, row + 1, v, w, row);
    diagonal[row] = a[from + row]!;
    let squares = 0;
    for (let j = 0; j < row; j++) squares += a[from + j]! ** 2;
    const end = a[from + row - 1]!;
    const length = end > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
    beside[row - 1] = length;
    const half = squares - end * length;
    next.fill(0);
    product.fill(0);
    if (half !== 0) {
      for (let j = 0; j < row; j++) next[j] = a[from + j]!;
      next[row - 1] = end - length;
    }
    for (let i = 0; i < row; i++) pass(a, i * n, i, v, w, next, product);
    if (half !== 0) {
      let inner = 0;
      for (let j = 0; j < row; j++) inner += next[j]! * (product[j]! /= half);
      const share = inner / (2 * half);
      for (let j = 0; j < row; j++) product[j]! -= share * next[j]!;
      halves[row] = half;
      for (let j = 0; j < row; j++) a[from + j] = next[j]!;
    }
    [v, next] = [next, v];
    [w, product] = [product, w];
  }
  subtract(a, 0, 1, v, w, 0);
  diagonal[0] = a[0]!;
  beside[n - 1] = 0;
}

/** Row i of the lower triangle, whose entries begin at `from`, less v·wᵀ + w·vᵀ. */
function subtract(a: Float64Array, from: number, entries: number, v: Float64Array, w: Float64Array, i: number): void {
  const [vi, wi] = [v[i]!, w[i]!];
  for (let j = 0; j < entries; j++) a[from + j]! -= vi * w[j]! + wi * v[j]!;
}

/** The same, and what row i and its mirror image add to the product with the next vector. */
function pass(
  a: Float64Array,
  from: number,
  i: number,
  v: Float64Array,
  w: Float64Array,
  next: Float64Array,
  product: Float64Array,
): void {
  const [vi, wi, factor] = [v[i]!, w[i]!, next[i]!];
  let sum = 0;
  for (let j = 0; j < i; j++) {
    const value = a[from + j]! - (vi * w[j]! + wi * v[j]!);
    a[from + j] = value;
    sum += value * next[j]!;
    product[j]! += value * factor;
  }
  const value = a[from + i]! - 2 * vi * wi;
  a[from + i] = value;
  product[i]! += sum + value * factor;
}
