/**
 * Rows of a tall matrix that span a submatrix of nearly the largest volume, and the coefficients by which all rows are combinations of these:
 * `rows` of A, m×r, and B, m×r, with A = B·A[rows].
 */
export interface MaxVolume {
  rows: number[];
  coefficients: Float64Array;
}

/** no coefficient is larger than this, so that entries of the interpolation are at most so much larger than those that it is made of */
const LARGEST = 1.05;

/**
 * The maxvol algorithm (Goreinov, Oseledets, Savostyanov, Tyrtyshnikov & Zamarashkin 2010), from the pivots of Gaussian elimination.
 *
 * @param a m×r with m ≥ r, row-major, of full column rank
 */
export function maxVolume(a: Float64Array, m: number, r: number): MaxVolume {
  const rows = pivotRows(a, m, r);
  const b = solveRight(a, m, r, rows);
  for (let step = 0; step < 100; step++) {
    let at = 0;
    for (let i = 1; i < b.length; i++) if (Math.abs(b[i]!) > Math.abs(b[at]!)) at = i;
    const largest = b[at]!;
    if (Math.abs(largest) <= LARGEST) break;
    // row i takes the place of the j-th chosen one: B ← B − B[:, j]·(B[i, :] − e_j)/B[i, j]
    const [i, j] = [Math.floor(at / r), at % r];
    const column = Float64Array.from({ length: m }, (_, row) => b[row * r + j]!);
    const change = Float64Array.from({ length: r }, (_, c) => (b[i * r + c]! - (c === j ? 1 : 0)) / largest);
    for (let row = 0; row < m; row++) for (let c = 0; c < r; c++) b[row * r + c]! -= column[row]! * change[c]!;
    rows[j] = i;
  }
  return { rows, coefficients: b };
}

/** The rows that Gaussian elimination with row pivoting takes. */
function pivotRows(a: Float64Array, m: number, r: number): number[] {
  const work = a.slice();
  const rows: number[] = [];
  const isTaken = new Uint8Array(m);
  for (let j = 0; j < r; j++) {
    let best = -1;
    for (let row = 0; row < m; row++)
      if (!isTaken[row] && (best < 0 || Math.abs(work[row * r + j]!) > Math.abs(work[best * r + j]!))) best = row;
    isTaken[best] = 1;
    rows.push(best);
    const pivot = work[best * r + j]!;
    if (pivot === 0) continue;
    for (let row = 0; row < m; row++) {
      if (isTaken[row]) continue;
      const factor = work[row * r + j]! / pivot;
      for (let c = j; c < r; c++) work[row * r + c]! -= factor * work[best * r + c]!;
    }
  }
  return rows;
}

/** A·A[rows]⁻¹ by elimination with pivots. */
function solveRight(a: Float64Array, m: number, r: number, rows: readonly number[]): Float64Array {
  // columns of A[rows]ᵀ and of Aᵀ side by side: r×(r + m)
  const width = r + m;
  const work = new Float64Array(r * width);
  for (let i = 0; i < r; i++) {
    for (let j = 0; j < r; j++) work[i * width + j] = a[rows[j]! * r + i]!;
    for (let row = 0; row < m; row++) work[i * width + r + row] = a[row * r + i]!;
  }
  for (let j = 0; j < r; j++) {
    let best = j;
    for (let i = j + 1; i < r; i++) if (Math.abs(work[i * width + j]!) > Math.abs(work[best * width + j]!)) best = i;
    if (best !== j)
      for (let c = j; c < width; c++) {
        const value = work[j * width + c]!;
        work[j * width + c] = work[best * width + c]!;
        work[best * width + c] = value;
      }
    const pivot = work[j * width + j]!;
    if (pivot === 0) continue;
    for (let c = j; c < width; c++) work[j * width + c]! /= pivot;
    for (let i = 0; i < r; i++) {
      const factor = i === j ? 0 : work[i * width + j]!;
      if (factor !== 0) for (let c = j; c < width; c++) work[i * width + c]! -= factor * work[j * width + c]!;
    }
  }
  const b = new Float64Array(m * r);
  for (let row = 0; row < m; row++) for (let i = 0; i < r; i++) b[row * r + i] = work[i * width + r + row]!;
  return b;
}
