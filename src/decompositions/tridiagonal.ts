/**
 * Eigenvalues and eigenvectors of symmetric tridiagonal matrices, and singular triplets of bidiagonal ones, in f64 on the host:
 * n numbers come from the GPU and n vectors go back, in O(n²). Eigenvalues by implicit QL steps (Golub & Van Loan, section 8.3.5), vectors by inverse
 * iteration (Ipsen 1997). The numbers were rounded to f32, so off-diagonals below
 * CUT of the norm are taken for 0: the matrix falls apart into blocks there, which keeps clusters of close eigenvalues small.
 */

import { TenfoldError } from "../gpu/index.js";

/** off-diagonals below this part of the norm count as 0: f32 cannot tell them from it */
const CUT = 2e-9;
/** neighbours nearer than this part of the norm are orthogonalised against each other; the rest are orthonormal to 1e-4 */
const CLUSTER = 1e-11;
/** where no neighbours are nearer than this, vectors are orthonormal to 1e-7 as they are */
const APART = 1e-8;

/** Eigenvalues, falling. `offDiagonal` has one element less than `diagonal`, or more, which are not looked at. */
export function tridiagonalEigenvalues(diagonal: ArrayLike<number>, offDiagonal: ArrayLike<number>): Float64Array {
  const n = diagonal.length;
  const d = Float64Array.from(diagonal);
  const e = new Float64Array(n);
  for (let i = 0; i + 1 < n; i++) e[i] = offDiagonal[i]!;
  for (let low = 0; low < n; low++) {
    for (let iteration = 0; ; iteration++) {
      let high = low;
      while (high + 1 < n && Math.abs(e[high]!) > 1.2e-16 * (Math.abs(d[high]!) + Math.abs(d[high + 1]!))) high++;
      if (high === low) break;
      if (iteration === 60)
        throw new TenfoldError(
          "eigenvalues of the tridiagonal matrix: no convergence in 60 steps; please report the matrix",
          { code: "CONVERGENCE" },
        );
      let g = (d[low + 1]! - d[low]!) / (2 * e[low]!);
      let r = Math.sqrt(g * g + 1);
      g = d[high]! - d[low]! + e[low]! / (g + (g < 0 ? -r : r));
      let [s, c, p] = [1, 1, 0];
      let i = high - 1;
      for (; i >= low; i--) {
        const f = s * e[i]!;
        const b = c * e[i]!;
        r = Math.sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= p;
          e[high] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1]! - p;
        r = (d[i]! - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (i >= low) continue;
      d[low]! -= p;
      e[low] = g;
      e[high] = 0;
    }
  }
  return d.sort().reverse();
}

/**
 * Eigenvalues (falling) and eigenvectors of a symmetric tridiagonal matrix. Vector k is at k·stride of `vectors`, each with a
 * residual of rounding; vectors are orthonormal to 1e-7, or to 1e-4 where some eigenvalues are `close`.
 */
export function tridiagonalEigen(
  diagonal: ArrayLike<number>,
  offDiagonal: ArrayLike<number>,
  stride = diagonal.length,
): { values: Float64Array; vectors: Float32Array; close: boolean } {
  const n = diagonal.length;
  const pairs: Pair[] = [];
  let close = false;
  for (const block of blocksOf(diagonal, offDiagonal)) {
    const values = tridiagonalEigenvalues(block.d, block.e);
    const solver = new InverseIteration(block);
    const columns = solver.vectors(values, 1);
    close ||= solver.close;
    values.forEach((value, k) => {
      pairs.push({ value, start: block.start, vector: columns[k]! });
    });
  }
  pairs.sort((a, b) => b.value - a.value);
  const vectors = new Float32Array(n * stride);
  pairs.forEach(({ start, vector }, k) => {
    vectors.set(vector, k * stride + start);
  });
  return { values: Float64Array.from(pairs, ({ value }) => value), vectors, close };
}

/**
 * Singular values (falling) and vectors of an upper bidiagonal matrix B, from the eigenvectors (v_0, u_0, v_1, u_1, …)/√2 of a
 * tridiagonal matrix of twice its size with zero diagonal (Golub & Kahan 1965): B·v = σ·u. Vectors as `tridiagonalEigen` gives
 * them, also where a singular value is zero.
 */
export function bidiagonalSvd(
  diagonal: ArrayLike<number>,
  offDiagonal: ArrayLike<number>,
  stride = diagonal.length,
): { values: Float64Array; u: Float32Array; v: Float32Array; close: boolean } {
  const n = diagonal.length;
  const between = new Float64Array(2 * n - 1);
  for (let i = 0; i < n; i++) {
    between[2 * i] = diagonal[i]!;
    if (i + 1 < n) between[2 * i + 1] = offDiagonal[i]!;
  }
  const pairs: Pair[] = [];
  /** vectors of σ = 0 that are all v, or all u */
  const null_: Pair[][] = [[], []];
  let close = false;
  for (const block of blocksOf(new Float64Array(2 * n), between)) {
    const size = block.d.length;
    const half = size >> 1;
    const values = tridiagonalEigenvalues(block.d, block.e).slice(0, half);
    const solver = new InverseIteration(block);
    const zeros = size % 2 ? [solver.nullVector()] : [];
    const columns = solver.vectors(values, 2, zeros);
    close ||= solver.close || (half > 0 && 2 * values[half - 1]! < APART * block.norm);
    values.forEach((value, k) => {
      pairs.push({ value: Math.abs(value), start: block.start, vector: columns[k]! });
    });
    for (const vector of zeros) null_[block.start % 2]!.push({ value: 0, start: block.start, vector });
  }
  pairs.sort((a, b) => b.value - a.value);
  const u = new Float32Array(n * stride);
  const v = new Float32Array(n * stride);
  const place = ({ start, vector }: Pair, k: number): void => {
    vector.forEach((value, i) => {
      const at = start + i;
      (at % 2 ? u : v)[k * stride + (at >> 1)] = value;
    });
  };
  pairs.forEach(place);
  null_[0]!.forEach((vector, k) => {
    place(vector, pairs.length + k);
    place(null_[1]![k]!, pairs.length + k);
  });
  const values = new Float64Array(n);
  pairs.forEach(({ value }, k) => {
    values[k] = value;
  });
  return { values, u, v, close };
}

interface Pair {
  value: number;
  /** row of the vector's first element */
  start: number;
  vector: Float64Array;
}

/** A block on the diagonal, tridiagonal itself, and in which row of the matrix it begins. */
interface Block {
  start: number;
  d: Float64Array;
  e: Float64Array;
  /** of the matrix that the block is of, by its largest row sum */
  norm: number;
}

function blocksOf(diagonal: ArrayLike<number>, offDiagonal: ArrayLike<number>): Block[] {
  const n = diagonal.length;
  const beside = (i: number) => (i >= 0 && i + 1 < n ? Math.abs(offDiagonal[i]!) : 0);
  let norm = 0;
  for (let i = 0; i < n; i++) norm = Math.max(norm, Math.abs(diagonal[i]!) + beside(i - 1) + beside(i));
  if (!Number.isFinite(norm))
    throw new TenfoldError(
      "the reduced matrix holds NaN or infinity, though the matrix does not: a kernel went wrong on this adapter; please report it with what `tenfold doctor` prints",
      { code: "KERNEL" },
    );
  const blocks: Block[] = [];
  for (let start = 0; start < n; ) {
    let stop = start + 1;
    while (stop < n && beside(stop - 1) > CUT * norm) stop++;
    const d = Float64Array.from({ length: stop - start }, (_, i) => diagonal[start + i]!);
    const e = Float64Array.from({ length: stop - start - 1 }, (_, i) => offDiagonal[start + i]!);
    blocks.push({ start, d, e, norm });
    start = stop;
  }
  return blocks;
}

/** Inverse iteration for the vectors of one block. */
class InverseIteration {
  readonly #n: number;
  // T − λI = P·L·U by rows with pivoting: multipliers, whether rows changed places, and three diagonals of U
  readonly #l: Float64Array;
  readonly #swapped: Uint8Array;
  readonly #u0: Float64Array;
  readonly #u1: Float64Array;
  readonly #u2: Float64Array;
  #seed = 1;
  /** whether some eigenvalues were so close that their vectors are orthonormal to 1e-4 only */
  close = false;

  constructor(readonly block: Block) {
    this.#n = block.d.length;
    this.#l = new Float64Array(this.#n);
    this.#swapped = new Uint8Array(this.#n);
    this.#u0 = new Float64Array(this.#n);
    this.#u1 = new Float64Array(this.#n);
    this.#u2 = new Float64Array(this.#n);
  }

  /**
   * Vectors of eigenvalues that fall. With two `parts`, elements of even and of odd number are each brought to norm 1. `zeros` are
   * vectors of eigenvalue 0, which those of values near it are made orthogonal to.
   */
  vectors(values: Float64Array, parts: 1 | 2, zeros: readonly Float64Array[] = []): Float64Array[] {
    const { norm } = this.block;
    const vectors: Float64Array[] = [];
    let first = 0; // of the cluster
    let shift = Number.POSITIVE_INFINITY;
    for (let k = 0; k < values.length; k++) {
      const gap = k ? values[k - 1]! - values[k]! : Number.POSITIVE_INFINITY;
      if (gap > CLUSTER * norm) first = k;
      if (gap < APART * norm) this.close = true;
      // equal shifts would give equal vectors
      shift = Math.min(values[k]!, k === first ? Number.POSITIVE_INFINITY : shift - 4e-16 * norm);
      const cluster = vectors.slice(first);
      if (Math.abs(values[k]!) <= CLUSTER * norm) cluster.push(...zeros);
      vectors.push(this.#vector(shift, cluster, parts));
    }
    return vectors;
  }

  /** The vector of eigenvalue 0 of a block of odd size with zero diagonal: elements of even number alone are not zero. */
  nullVector(): Float64Array {
    const { e } = this.block;
    const z = new Float64Array(this.#n);
    // e_{2i}·z_{2i} + e_{2i+1}·z_{2i+2} = 0, in the direction in which the numbers do not grow (their logarithms say which)
    z[0] = 1;
    for (let i = 0; i + 2 < this.#n; i += 2) {
      z[i + 2] = (-z[i]! * e[i]!) / e[i + 1]!;
      if (Math.abs(z[i + 2]!) > 1e100) for (let j = 0; j <= i + 2; j += 2) z[j]! *= 1e-100;
    }
    normalise(z, 0, 1);
    return z;
  }

  #vector(shift: number, cluster: readonly Float64Array[], parts: 1 | 2): Float64Array {
    this.#factor(shift);
    const n = this.#n;
    for (let attempt = 0; ; attempt++) {
      const z = Float64Array.from({ length: n }, () => this.#random());
      let good = true;
      for (let iteration = 0; iteration < 3 && good; iteration++) {
        this.#solve(z);
        for (let part = 0; part < parts; part++) {
          for (let pass = 0; pass < (cluster.length ? 2 : 1); pass++) {
            const before = normalise(z, part, parts);
            if (!(before > 0 && Number.isFinite(before))) good = false;
            for (const other of cluster) {
              let inner = 0;
              for (let i = part; i < n; i += parts) inner += z[i]! * other[i]!;
              for (let i = part; i < n; i += parts) z[i]! -= inner * other[i]!;
            }
            if (cluster.length && normalise(z, part, parts) < 1e-8) good = false;
          }
        }
      }
      if (good) return z;
      if (attempt === 4)
        throw new TenfoldError(
          "vectors of the tridiagonal matrix: none found in 5 attempts; please report the matrix",
          { code: "CONVERGENCE" },
        );
    }
  }

  /** LU factors of T − shift·I, with pivots of at least a rounding of the norm. */
  #factor(shift: number): void {
    const n = this.#n;
    const { d, e, norm } = this.block;
    // of a matrix of zeros every vector is one: any pivot will do
    const least = 1e-17 * norm || 1;
    let pivot = d[0]! - shift;
    let beside = n > 1 ? e[0]! : 0;
    for (let i = 0; i + 1 < n; i++) {
      const below = e[i]!;
      const next = d[i + 1]! - shift;
      const after = i + 2 < n ? e[i + 1]! : 0;
      if (Math.abs(below) > Math.abs(pivot)) {
        const m = pivot / below;
        this.#swapped[i] = 1;
        this.#l[i] = m;
        this.#u0[i] = below;
        this.#u1[i] = next;
        this.#u2[i] = after;
        pivot = beside - m * next;
        beside = -m * after;
      } else {
        if (Math.abs(pivot) < least) pivot = pivot < 0 ? -least : least;
        const m = below / pivot;
        this.#swapped[i] = 0;
        this.#l[i] = m;
        this.#u0[i] = pivot;
        this.#u1[i] = beside;
        this.#u2[i] = 0;
        pivot = next - m * beside;
        beside = after;
      }
    }
    if (Math.abs(pivot) < least) pivot = pivot < 0 ? -least : least;
    this.#u0[n - 1] = pivot;
    this.#u1[n - 1] = 0;
    this.#u2[n - 1] = 0;
  }

  #solve(z: Float64Array): void {
    const n = this.#n;
    for (let i = 0; i + 1 < n; i++) {
      if (this.#swapped[i]) {
        const upper = z[i + 1]!;
        z[i + 1] = z[i]! - this.#l[i]! * upper;
        z[i] = upper;
      } else z[i + 1]! -= this.#l[i]! * z[i]!;
    }
    let [one, two] = [0, 0];
    for (let i = n - 1; i >= 0; i--) {
      let value = (z[i]! - this.#u1[i]! * one - this.#u2[i]! * two) / this.#u0[i]!;
      if (Math.abs(value) > 1e200) {
        // a vector keeps its direction
        for (let j = 0; j < n; j++) z[j]! *= 1e-200;
        value *= 1e-200;
        one *= 1e-200;
      }
      z[i] = value;
      two = one;
      one = value;
    }
  }

  /** −1 to 1, the same in every run */
  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return this.#seed / 2 ** 31 - 1;
  }
}

/** Brings the elements part, part + step, … to norm 1; returns the norm that they had. */
function normalise(z: Float64Array, part: number, step: number): number {
  let largest = 0;
  for (let i = part; i < z.length; i += step) largest = Math.max(largest, Math.abs(z[i]!));
  if (!(largest > 0 && Number.isFinite(largest))) return largest;
  let sum = 0;
  for (let i = part; i < z.length; i += step) sum += (z[i]! / largest) ** 2;
  const norm = largest * Math.sqrt(sum);
  for (let i = part; i < z.length; i += step) z[i] = z[i]! / norm;
  return norm;
}
