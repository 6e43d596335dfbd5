/**
 * Eigenvalues and invariant subspaces of small real matrices without symmetry, in f64 on the host: the real Schur form by Francis' double steps
 * (Golub & Van Loan, sections 7.4 to 7.6), and a basis in which it falls apart into its diagonal blocks.
 */

/** rounding of f64 */
const EPSILON = 2 ** -52;
/** double steps for one eigenvalue; ten are seldom needed */
const STEPS = 60;
/** a solution is scaled down where it grows beyond this: blocks that (nearly) share an eigenvalue have no bounded one */
const LARGE = 1e100;

/** A = Q·T·Qᵀ, Q orthogonal; T is upper triangular but for 2×2 blocks on its diagonal, each of them a pair of complex eigenvalues. */
export interface RealSchur {
  /** n×n row-major */
  t: Float64Array;
  q: Float64Array;
  /** where the blocks of T begin, and n */
  blocks: number[];
}

/** A·V = V·D: D has the diagonal blocks of T. */
export interface RealEigen {
  /** columns of norm 1, n×n row-major: an eigenvector for a block of one, two vectors that span the invariant subspace for a block of two */
  vectors: Float64Array;
  /** D, n×n row-major */
  d: Float64Array;
  blocks: number[];
}

/** The real Schur form of an n×n matrix; null where an eigenvalue takes more than {@link STEPS} double steps, or entries are not finite. */
export function realSchur(a: Float64Array, n: number): RealSchur | null {
  let largest = 0;
  for (const value of a) largest = Math.max(largest, Math.abs(value));
  if (!a.every(Number.isFinite)) return null;
  const scale = largest ? 2 ** Math.round(Math.log2(largest)) : 1;
  const t = a.map((value) => value / scale);
  const q = new Float64Array(n * n);
  for (let i = 0; i < n; i++) q[i * n + i] = 1;
  for (let k = 0; k + 2 < n; k++) {
    reflect(t, q, n, k + 1, n - k - 1, k, n);
    for (let i = k + 2; i < n; i++) t[i * n + k] = 0;
  }
  const blocks: number[] = [];
  let steps = 0;
  for (let end = n - 1; end >= 0; ) {
    let start = end;
    // the largest entry is about 1, and rounding in a double step grows with n
    while (start > 0 && Math.abs(t[start * n + start - 1]!) > EPSILON * Math.max(8, n)) start--;
    if (start > 0) t[start * n + start - 1] = 0;
    if (start === end) {
      blocks.unshift(end--);
      steps = 0;
    } else if (start === end - 1) {
      if (splits(t, q, n, start)) blocks.unshift(start, end);
      else blocks.unshift(start);
      end -= 2;
      steps = 0;
    } else {
      if (steps++ === STEPS) return null;
      francis(t, q, n, start, end, steps % 10 === 0);
    }
  }
  return { t: t.map((value) => value * scale), q, blocks: [...blocks, n] };
}

/**
 * Reflects rows and columns `first` to `first + count − 1` (Householder), so that of `values` (by default: column `column` in these rows) only the
 * first is left. Columns before `column`, and rows from `bottom` on, are zero there.
 */
function reflect(
  t: Float64Array,
  q: Float64Array,
  n: number,
  first: number,
  count: number,
  column: number,
  bottom: number,
  values?: readonly number[],
): void {
  const v = new Float64Array(count);
  let largest = 0;
  for (let i = 0; i < count; i++) {
    v[i] = values ? values[i]! : t[(first + i) * n + column]!;
    largest = Math.max(largest, Math.abs(v[i]!));
  }
  if (largest === 0) return;
  let squares = 0;
  for (let i = 0; i < count; i++) {
    v[i]! /= largest;
    squares += v[i]! ** 2;
  }
  const length = Math.sqrt(squares);
  v[0]! += v[0]! < 0 ? -length : length;
  let vv = 0;
  for (const value of v) vv += value * value;
  for (let j = column; j < n; j++) {
    let along = 0;
    for (let i = 0; i < count; i++) along += v[i]! * t[(first + i) * n + j]!;
    along *= 2 / vv;
    for (let i = 0; i < count; i++) t[(first + i) * n + j]! -= along * v[i]!;
  }
  for (const [matrix, rows] of [
    [t, bottom],
    [q, n],
  ] as const)
    for (let i = 0; i < rows; i++) {
      let along = 0;
      for (let j = 0; j < count; j++) along += v[j]! * matrix[i * n + first + j]!;
      along *= 2 / vv;
      for (let j = 0; j < count; j++) matrix[i * n + first + j]! -= along * v[j]!;
    }
}

/** One double step on the block `start` to `end`, whose shifts are the eigenvalues of its last 2×2 block (others, where that does not help). */
function francis(
  t: Float64Array,
  q: Float64Array,
  n: number,
  start: number,
  end: number,
  isExceptional: boolean,
): void {
  const at = (i: number, j: number): number => t[i * n + j]!;
  let trace = at(end - 1, end - 1) + at(end, end);
  let determinant = at(end - 1, end - 1) * at(end, end) - at(end - 1, end) * at(end, end - 1);
  if (isExceptional) {
    const size = Math.abs(at(end, end - 1)) + Math.abs(at(end - 1, end - 2));
    trace = 1.5 * size;
    determinant = size * size;
  }
  const [a, b] = [start, start + 1];
  let bulge = [
    at(a, a) * at(a, a) + at(a, b) * at(b, a) - trace * at(a, a) + determinant,
    at(b, a) * (at(a, a) + at(b, b) - trace),
    at(b, a) * at(b + 1, b),
  ];
  for (let k = start; k < end; k++) {
    const count = Math.min(3, end - k + 1);
    const column = k - 1;
    reflect(t, q, n, k, count, Math.max(column, start), Math.min(k + 4, end + 1), bulge.slice(0, count));
    if (k > start) for (let i = k + 1; i < k + count; i++) t[i * n + column] = 0;
    bulge = [at(k + 1, k), k + 2 <= end ? at(k + 2, k) : 0, k + 3 <= end ? at(k + 3, k) : 0];
  }
}

/** Turns the 2×2 block from `k` on into two of one, where its eigenvalues are real. */
function splits(t: Float64Array, q: Float64Array, n: number, k: number): boolean {
  const [b, c, d] = [t[k * n + k + 1]!, t[(k + 1) * n + k]!, t[(k + 1) * n + k + 1]!];
  const half = (t[k * n + k]! - d) / 2;
  const size = Math.max(Math.abs(half), Math.sqrt(Math.abs(b)) * Math.sqrt(Math.abs(c)));
  const under = size && (half / size) ** 2 + (b / size) * (c / size);
  if (under < 0) return false;
  const z = half + (half < 0 ? -size : size) * Math.sqrt(under);
  const length = Math.hypot(z, c);
  const [cosine, sine] = length ? [z / length, c / length] : [1, 0];
  for (let j = 0; j < n; j++) {
    const [x, y] = [t[k * n + j]!, t[(k + 1) * n + j]!];
    t[k * n + j] = cosine * x + sine * y;
    t[(k + 1) * n + j] = cosine * y - sine * x;
  }
  for (const matrix of [t, q])
    for (let i = 0; i < n; i++) {
      const [x, y] = [matrix[i * n + k]!, matrix[i * n + k + 1]!];
      matrix[i * n + k] = cosine * x + sine * y;
      matrix[i * n + k + 1] = cosine * y - sine * x;
    }
  t[(k + 1) * n + k] = 0;
  return true;
}

/** Eigenvectors, and for pairs of complex eigenvalues bases of their invariant subspaces; null where {@link realSchur} is. */
export function realEigen(a: Float64Array, n: number): RealEigen | null {
  const schur = realSchur(a, n);
  if (!schur) return null;
  const { t, q, blocks } = schur;
  let norm = 0;
  for (const value of t) norm = Math.max(norm, Math.abs(value));
  const vectors = new Float64Array(n * n);
  const d = new Float64Array(n * n);
  for (let block = 0; block + 1 < blocks.length; block++) {
    const first = blocks[block]!;
    const width = blocks[block + 1]! - first;
    /** columns that T maps to themselves times the block: the block's own rows are I, those above solve a Sylvester equation each */
    const x = new Float64Array(n * width);
    for (let c = 0; c < width; c++) x[(first + c) * width + c] = 1;
    for (let above = block - 1; above >= 0; above--) {
      const row = blocks[above]!;
      const height = blocks[above + 1]! - row;
      // (T_row·X) − X·T_block = −Σ T·X of the rows in between
      const count = height * width;
      const m = new Float64Array(count * count);
      const right = new Float64Array(count);
      for (let i = 0; i < height; i++)
        for (let c = 0; c < width; c++) {
          const equation = i * width + c;
          for (let k = 0; k < height; k++) m[equation * count + k * width + c]! += t[(row + i) * n + row + k]!;
          for (let k = 0; k < width; k++) m[equation * count + i * width + k]! -= t[(first + k) * n + first + c]!;
          for (let k = row + height; k < first + width; k++)
            right[equation]! -= t[(row + i) * n + k]! * x[k * width + c]!;
        }
      solveSmall(m, right, count, EPSILON * norm || 1);
      let largest = 0;
      for (const [at, value] of right.entries()) {
        x[row * width + at] = value;
        largest = Math.max(largest, Math.abs(value));
      }
      if (largest > LARGE) for (const at of x.keys()) x[at]! /= largest;
    }
    let longest = 0;
    for (let c = 0; c < width; c++) {
      let squares = 0;
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let k = 0; k < first + width; k++) sum += q[i * n + k]! * x[k * width + c]!;
        vectors[i * n + first + c] = sum;
        squares += sum * sum;
      }
      longest = Math.max(longest, Math.sqrt(squares));
      for (let k = 0; k < width; k++) d[(first + k) * n + first + c] = t[(first + k) * n + first + c]!;
    }
    for (let i = 0; i < n; i++) for (let c = 0; c < width; c++) vectors[i * n + first + c]! /= longest;
  }
  return { vectors, d, blocks };
}

/** Solves m·y = b in place of b, by elimination with pivots, none of which is taken to be less than `least`. */
function solveSmall(m: Float64Array, b: Float64Array, n: number, least: number): void {
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(m[i * n + k]!) > Math.abs(m[pivot * n + k]!)) pivot = i;
    for (let j = 0; j < n; j++) [m[k * n + j], m[pivot * n + j]] = [m[pivot * n + j]!, m[k * n + j]!];
    [b[k], b[pivot]] = [b[pivot]!, b[k]!];
    if (Math.abs(m[k * n + k]!) < least) m[k * n + k] = m[k * n + k]! < 0 ? -least : least;
    for (let i = k + 1; i < n; i++) {
      const part = m[i * n + k]! / m[k * n + k]!;
      for (let j = k; j < n; j++) m[i * n + j]! -= part * m[k * n + j]!;
      b[i]! -= part * b[k]!;
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    for (let j = k + 1; j < n; j++) b[k]! -= m[k * n + j]! * b[j]!;
    b[k]! /= m[k * n + k]!;
  }
}
