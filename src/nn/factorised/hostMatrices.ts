/** Small f64 matrices on the host, for work that is done once a layer: putting weights together, small least squares problems. */
import { TenfoldError } from "../../gpu/index.js";

export type Values = Float32Array | Float64Array;

/** A·B, m×k times k×n, row-major. */
export function matrixProduct(a: Values, b: Values, m: number, k: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    const row = out.subarray(i * n, (i + 1) * n);
    for (let p = 0; p < k; p++) {
      const factor = a[i * k + p]!;
      if (factor === 0) continue;
      const from = p * n;
      for (let j = 0; j < n; j++) row[j]! += factor * b[from + j]!;
    }
  }
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
 * rounding. The ridge lifts eigenvalues of 0, which the covariance of constant inputs has.
 *
 * @throws TenfoldError unless the trace of C is a positive number
 */
export function choleskyFactor(c: Values, n: number, ridge: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += c[i * n + i]!;
  if (!(trace > 0 && Number.isFinite(trace)))
    throw new TenfoldError(`covariance: its trace is ${trace}, needs a positive number`);
  const lift = (ridge * trace) / n;
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let value = c[i * n + j]! + (i === j ? lift : 0);
      for (let k = 0; k < j; k++) value -= l[i * n + k]! * l[j * n + k]!;
      if (i === j) l[i * n + i] = Math.sqrt(Math.max(value, lift * 1e-3, Number.MIN_VALUE));
      else l[i * n + j] = value / l[j * n + j]!;
    }
  }
  return l;
}

/** X (m×n) with X·(C + ridge·mean(diag C)·I) = B, for a symmetric positive C (n×n). */
export function solveRows(c: Values, b: Values, m: number, n: number, ridge: number): Float64Array {
  const l = choleskyFactor(c, n, ridge);
  return solveTriangular(l, solveTriangular(l, b, m, n, true), m, n, false);
}

/** X (m×n) with X·L = B, or X·Lᵀ = B where `transposed`, for a lower triangular L (n×n). */
export function solveTriangular(l: Values, b: Values, m: number, n: number, transposed: boolean): Float64Array {
  const x = Float64Array.from(b);
  for (let row = 0; row < m; row++) {
    const solution = x.subarray(row * n, (row + 1) * n);
    if (transposed) {
      for (let j = 0; j < n; j++) {
        let value = solution[j]!;
        for (let k = 0; k < j; k++) value -= solution[k]! * l[j * n + k]!;
        solution[j] = value / l[j * n + j]!;
      }
    } else {
      for (let j = n - 1; j >= 0; j--) {
        let value = solution[j]!;
        for (let k = j + 1; k < n; k++) value -= solution[k]! * l[k * n + j]!;
        solution[j] = value / l[j * n + j]!;
      }
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
export function symmetricEigenvalues(a: Float64Array, n: number): Float64Array {
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  tridiagonalise(a, n, diagonal, beside);
  // QL steps with implicit shifts, without eigenvectors (Golub & Van Loan, section 8.3)
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
  return diagonal.sort().reverse();
}

/**
 * Reduces a symmetric matrix to a tridiagonal one by Householder reflections from both sides (Golub & Van Loan, section 8.3).
 * Element (i + 1, i) of the result goes to `beside[i]`.
 */
function tridiagonalise(a: Float64Array, n: number, diagonal: Float64Array, beside: Float64Array): void {
  const v = new Float64Array(n);
  const w = new Float64Array(n);
  // from the last row to the first: the rows that remain are always the leading part of the lower triangle
  for (let row = n - 1; row > 0; row--) {
    const from = row * n;
    diagonal[row] = a[from + row]!;
    let squares = 0;
    for (let j = 0; j < row; j++) squares += a[from + j]! ** 2;
    const end = a[from + row - 1]!;
    const length = end > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
    beside[row - 1] = length;
    const half = squares - end * length;
    if (half === 0) continue;
    for (let j = 0; j < row; j++) v[j] = a[from + j]!;
    v[row - 1] = end - length;
    // w = A·v ÷ half
    w.fill(0, 0, row);
    for (let i = 0; i < row; i++) {
      const start = i * n;
      const factor = v[i]!;
      let sum = a[start + i]! * factor;
      for (let j = 0; j < i; j++) {
        sum += a[start + j]! * v[j]!;
        w[j]! += a[start + j]! * factor;
      }
      w[i]! += sum;
    }
    let inner = 0;
    for (let j = 0; j < row; j++) inner += v[j]! * (w[j]! /= half);
    const share = inner / (2 * half);
    for (let j = 0; j < row; j++) w[j]! -= share * v[j]!;
    for (let i = 0; i < row; i++) {
      const start = i * n;
      const [vi, wi] = [v[i]!, w[i]!];
      for (let j = 0; j <= i; j++) a[start + j]! -= vi * w[j]! + wi * v[j]!;
    }
  }
  diagonal[0] = a[0]!;
  beside[n - 1] = 0;
}
