/** Small dense linear algebra in f64 on the host. Matrices are row-major. */

/** A·B of m×k by k×n. */
export function multiply(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let l = 0; l < k; l++) {
      const value = a[i * k + l]!;
      if (value === 0) continue;
      for (let j = 0, from = l * n, to = i * n; j < n; j++) out[to + j]! += value * b[from + j]!;
    }
  return out;
}

export function transpose(a: Float64Array, m: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = a[i * n + j]!;
  return out;
}

/** The thin QR factorisation by Householder reflections (Golub & Van Loan, section 5.2): Q is m×k, R k×n, k the shorter side. */
export function qr(a: Float64Array, m: number, n: number): { q: Float64Array; r: Float64Array; rank: number } {
  const k = Math.min(m, n);
  const work = a.slice();
  const scales = new Float64Array(k);
  for (let j = 0; j < k; j++) {
    let largest = 0;
    for (let i = j; i < m; i++) largest = Math.max(largest, Math.abs(work[i * n + j]!));
    if (largest === 0) continue;
    let squared = 0;
    for (let i = j; i < m; i++) squared += (work[i * n + j]! / largest) ** 2;
    const head = work[j * n + j]!;
    const length = (head > 0 ? -1 : 1) * largest * Math.sqrt(squared);
    // the reflection is I − scale·v·vᵀ with v[j] = 1
    const first = head - length;
    scales[j] = -first / length;
    for (let i = j + 1; i < m; i++) work[i * n + j]! /= first;
    work[j * n + j] = length;
    for (let c = j + 1; c < n; c++) {
      let sum = work[j * n + c]!;
      for (let i = j + 1; i < m; i++) sum += work[i * n + j]! * work[i * n + c]!;
      sum *= scales[j]!;
      work[j * n + c]! -= sum;
      for (let i = j + 1; i < m; i++) work[i * n + c]! -= sum * work[i * n + j]!;
    }
  }
  const q = new Float64Array(m * k);
  for (let j = 0; j < k; j++) q[j * k + j] = 1;
  for (let j = k - 1; j >= 0; j--)
    for (let c = j; c < k; c++) {
      let sum = q[j * k + c]!;
      for (let i = j + 1; i < m; i++) sum += work[i * n + j]! * q[i * k + c]!;
      sum *= scales[j]!;
      q[j * k + c]! -= sum;
      for (let i = j + 1; i < m; i++) q[i * k + c]! -= sum * work[i * n + j]!;
    }
  const r = new Float64Array(k * n);
  for (let i = 0; i < k; i++) for (let j = i; j < n; j++) r[i * n + j] = work[i * n + j]!;
  return { q, r, rank: k };
}

/** A = U·diag(values)·Vᵀ: U is m×k, V n×k, k the shorter side; values fall. */
export interface HostSvd {
  u: Float64Array;
  values: Float64Array;
  v: Float64Array;
}

/**
 * The thin SVD by one-sided Jacobi rotations after a QR factorisation (Demmel & Veselić 1992): singular values are right relative to the
 * largest one to 1e-15. The vectors of a singular value 0 are 0 on the longer side.
 */
export function svd(a: Float64Array, m: number, n: number): HostSvd {
  if (m < n) {
    const { u, values, v } = svd(transpose(a, m, n), n, m);
    return { u: v, values, v: u };
  }
  const { q, r } = qr(a, m, n);
  // rows of these are columns of R and of V
  const columns = transpose(r, n, n);
  const turns = new Float64Array(n * n);
  for (let j = 0; j < n; j++) turns[j * n + j] = 1;
  for (let sweep = 0, isTurned = true; isTurned && sweep < 60; sweep++) {
    isTurned = false;
    for (let p = 0; p < n; p++) for (let o = p + 1; o < n; o++) isTurned = rotate(columns, turns, p, o, n) || isTurned;
  }
  const lengths = Float64Array.from({ length: n }, (_, j) => Math.hypot(...columns.subarray(j * n, (j + 1) * n)));
  const order = [...lengths.keys()].sort((x, y) => lengths[y]! - lengths[x]!);
  const small = new Float64Array(n * n);
  const v = new Float64Array(n * n);
  order.forEach((from, k) => {
    for (let i = 0; i < n; i++) {
      small[i * n + k] = lengths[from] ? columns[from * n + i]! / lengths[from]! : 0;
      v[i * n + k] = turns[from * n + i]!;
    }
  });
  return { u: multiply(q, small, m, n, n), values: Float64Array.from(order, (from) => lengths[from]!), v };
}

/** Makes rows p and o of a matrix orthogonal, and turns those of `turns` alike; returns whether that took a rotation. */
function rotate(rows: Float64Array, turns: Float64Array, p: number, o: number, n: number): boolean {
  let [xx, yy, xy] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [x, y] = [rows[p * n + i]!, rows[o * n + i]!];
    xx += x * x;
    yy += y * y;
    xy += x * y;
  }
  if (Math.abs(xy) <= 1e-16 * Math.sqrt(xx) * Math.sqrt(yy) || xy === 0) return false;
  const zeta = (yy - xx) / (2 * xy);
  const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
  const c = 1 / Math.hypot(1, t);
  const s = c * t;
  for (const matrix of [rows, turns])
    for (let i = 0; i < n; i++) {
      const [x, y] = [matrix[p * n + i]!, matrix[o * n + i]!];
      matrix[p * n + i] = c * x - s * y;
      matrix[o * n + i] = s * x + c * y;
    }
  return true;
}
