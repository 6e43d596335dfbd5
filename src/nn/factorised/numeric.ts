/** Small f64 matrices on the host, for what is done once a layer: weights put together, least squares of a few unknowns. */
import { TenfoldError } from "../../gpu/index.js";

export type Values = Float32Array | Float64Array;

/** A·B, m×k times k×n, row-major. */
export function multiply(a: Values, b: Values, m: number, k: number, n: number): Float64Array {
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
 * Lower triangular L with L·Lᵀ = C + ridge·mean(diag C)·I of a symmetric n×n matrix that is positive but for rounding.
 * The ridge lifts eigenvalues of 0, as the covariance of constant inputs has them.
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

/** X with X·(C + ridge·mean(diag C)·I) = B for the m rows of B and a symmetric positive C (n×n). */
export function solveRows(c: Values, b: Values, m: number, n: number, ridge: number): Float64Array {
  const l = choleskyFactor(c, n, ridge);
  return solveTriangular(l, solveTriangular(l, b, m, n, true), m, n, false);
}

/** X with X·L = B (or X·Lᵀ = B) for the m rows of B and a lower triangular L (n×n). */
export function solveTriangular(l: Values, b: Values, m: number, n: number, transposed: boolean): Float64Array {
  const x = Float64Array.from(b);
  for (let row = 0; row < m; row++) {
    const own = x.subarray(row * n, (row + 1) * n);
    if (transposed) {
      for (let j = 0; j < n; j++) {
        let value = own[j]!;
        for (let k = 0; k < j; k++) value -= own[k]! * l[j * n + k]!;
        own[j] = value / l[j * n + j]!;
      }
    } else {
      for (let j = n - 1; j >= 0; j--) {
        let value = own[j]!;
        for (let k = j + 1; k < n; k++) value -= own[k]! * l[k * n + j]!;
        own[j] = value / l[j * n + j]!;
      }
    }
  }
  return x;
}
