/** Thin SVD in f64 by one-sided Jacobi rotations (Demmel & Veselić 1992), of row-major matrices. */

export interface Svd {
  /** m×k */
  u: Float64Array;
  /** [k], falling */
  values: Float64Array;
  /** n×k */
  v: Float64Array;
}

/** The thin SVD of an m×n matrix. For a singular value 0, the longer side's vector is 0 too. */
export function svd(a: ArrayLike<number>, m: number, n: number): Svd {
  if (m < n) {
    const transposed = Float64Array.from({ length: m * n }, (_, at) => a[(at % m) * n + Math.floor(at / m)]!);
    const { u, values, v } = svd(transposed, n, m);
    return { u: v, values, v: u };
  }
  const columns = Array.from({ length: n }, (_, j) => Float64Array.from({ length: m }, (_, i) => a[i * n + j]!));
  const turns = Array.from({ length: n }, (_, j) => Float64Array.from({ length: n }, (_, i) => Number(i === j)));
  for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
    turned = false;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) turned = rotate(columns, turns, p, q) || turned;
  }
  const lengths = columns.map((column) => Math.hypot(...column));
  const order = lengths.map((_, k) => k).sort((p, q) => lengths[q]! - lengths[p]!);
  const u = new Float64Array(m * n);
  const v = new Float64Array(n * n);
  order.forEach((from, k) => {
    for (let i = 0; i < m; i++) u[i * n + k] = lengths[from] ? columns[from]![i]! / lengths[from]! : 0;
    for (let i = 0; i < n; i++) v[i * n + k] = turns[from]![i]!;
  });
  return { u, values: Float64Array.from(order, (from) => lengths[from]!), v };
}

/** Makes columns p and q orthogonal; returns whether that took a rotation. */
function rotate(columns: Float64Array[], turns: Float64Array[], p: number, q: number): boolean {
  const [x, y] = [columns[p]!, columns[q]!];
  let [xx, yy, xy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    xx += x[i]! * x[i]!;
    yy += y[i]! * y[i]!;
    xy += x[i]! * y[i]!;
  }
  if (!(Math.abs(xy) > 1e-15 * Math.sqrt(xx * yy))) return false;
  const slope = (yy - xx) / (2 * xy);
  const t = (slope < 0 ? -1 : 1) / (Math.abs(slope) + Math.hypot(1, slope));
  const c = 1 / Math.hypot(1, t);
  for (const [left, right] of [
    [x, y],
    [turns[p]!, turns[q]!],
  ] as const)
    for (let i = 0; i < left.length; i++) {
      const value = left[i]!;
      left[i] = c * (value - t * right[i]!);
      right[i] = c * (right[i]! + t * value);
    }
  return true;
}

/** A⁺·B (n×columns) of an m×n matrix of the given rank. */
export function pseudoSolve(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  [m, n]: readonly [number, number],
  rank: number,
): Float64Array {
  const { u, values, v } = svd(a, m, n);
  const [k, columns] = [values.length, b.length / m];
  const out = new Float64Array(n * columns);
  for (let r = 0; r < rank; r++)
    for (let c = 0; c < columns; c++) {
      let seen = 0;
      for (let i = 0; i < m; i++) seen += u[i * k + r]! * b[i * columns + c]!;
      for (let j = 0; j < n; j++) out[j * columns + c]! += (v[j * k + r]! * seen) / values[r]!;
    }
  return out;
}
