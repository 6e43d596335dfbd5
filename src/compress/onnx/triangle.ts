/** Cholesky factors of large covariances, and solves by them: in blocks, so that almost all of the work is products. */
import { choleskyFactor, solveTriangular, type Values } from "../../nn/factorised/hostMatrices.js";
import type { Products } from "./products.js";

/** Columns of a block. Sides up to `ON_HOST` are one block. */
const [BLOCK, ON_HOST] = [256, 320];
/** as a share of the mean of the diagonal: what is added to it, so that the covariance of constant inputs has a factor */
const LIFT = 1e-10;

/** A lower triangular L, n×n, with L·Lᵀ = C for a symmetric positive C. */
export interface Factor {
  /** Lᵀ·S·L */
  between(s: Float64Array): Promise<Float64Array>;
  /**
   * X (m×k) with X·L = B, or X·Lᵀ = B where `transposed`, for the leading k×k block of L.
   *
   * @param b m×k
   */
  solve(b: Values, m: number, transposed: boolean, k?: number): Promise<Float64Array>;
}

/** The factor of scale²·I, for which there is nothing to compute. */
export class ScaledIdentity implements Factor {
  constructor(private readonly scale: number) {}

  async between(s: Float64Array): Promise<Float64Array> {
    return s.map((value) => value * this.scale ** 2);
  }

  async solve(b: Values): Promise<Float64Array> {
    return Float64Array.from(b, (value) => value / this.scale);
  }
}

/** A factor that is stored. */
export class Triangle implements Factor {
  private constructor(
    private readonly products: Products,
    readonly n: number,
    private readonly lower: Float64Array,
    /** of each block on the diagonal; none where there is one block */
    private readonly inverses: readonly Float64Array[],
  ) {}

  /** @param c n×n; overwritten where it is large */
  static async of(products: Products, c: Float64Array, n: number): Promise<Triangle> {
    if (n <= ON_HOST) return new Triangle(products, n, choleskyFactor(c, n, LIFT), []);
    let trace = 0;
    for (let i = 0; i < n; i++) trace += c[i * (n + 1)]!;
    const lift = (LIFT * trace) / n;
    for (let i = 0; i < n; i++) c[i * (n + 1)]! += lift;
    const inverses: Float64Array[] = [];
    for (let first = 0; first < n; first += BLOCK) {
      const end = Math.min(first + BLOCK, n);
      const side = end - first;
      // the columns of this block from the diagonal down, less what the columns before explain
      const column = blockOf(c, n, first, n, first, end);
      if (first) {
        const before = blockOf(c, n, first, n, 0, first);
        const explained = await products.multiply(before, before.subarray(0, side * first), {
          ...{ rows: n - first, inner: first, columns: side, transposeB: true },
        });
        for (let e = 0; e < column.length; e++) column[e]! -= explained[e]!;
      }
      const diagonal = column.slice(0, side * side);
      // rounding may leave less than nothing where columns depend on each other
      for (let i = 0; i < side; i++) diagonal[i * (side + 1)] = Math.max(diagonal[i * (side + 1)]!, lift, 1e-300);
      const factor = choleskyFactor(diagonal, side, 1e-14);
      const inverse = solveTriangular(factor, identity(side), side, side, false);
      inverses.push(inverse);
      const panel = await products.multiply(column.subarray(side * side), inverse, {
        ...{ rows: n - end, inner: side, columns: side, transposeB: true },
      });
      for (let i = 0; i < side; i++) {
        const row = (first + i) * n;
        c.set(factor.subarray(i * side, (i + 1) * side), row + first);
        c.fill(0, row + end, row + n);
      }
      for (let i = end; i < n; i++) c.set(panel.subarray((i - end) * side, (i - end + 1) * side), i * n + first);
    }
    return new Triangle(products, n, c, inverses);
  }

  /** A block of L. */
  block(top: number, bottom: number, left: number, right: number): Float64Array {
    return blockOf(this.lower, this.n, top, bottom, left, right);
  }

  async between(s: Float64Array): Promise<Float64Array> {
    const { n, lower, products } = this;
    const half = await products.multiply(lower, s, { rows: n, inner: n, columns: n, transposeA: true });
    return await products.multiply(half, lower, { rows: n, inner: n, columns: n });
  }

  async solve(b: Values, m: number, transposed: boolean, k = this.n): Promise<Float64Array> {
    const { n, lower, inverses, products } = this;
    if (!inverses.length) {
      const part = k === n ? lower : blockOf(lower, n, 0, k, 0, k);
      return solveTriangular(part, b, m, k, transposed);
    }
    const x = Float64Array.from(b);
    const starts = Array.from({ length: Math.ceil(k / BLOCK) }, (_, i) => i * BLOCK);
    for (const first of transposed ? starts : starts.reverse()) {
      const end = Math.min(first + BLOCK, k);
      const side = end - first;
      const right = blockOf(x, k, 0, m, first, end);
      // the columns that are solved already
      const [from, to] = transposed ? [0, first] : [end, k];
      if (to > from) {
        const solved = blockOf(x, k, 0, m, from, to);
        const entries = transposed ? blockOf(lower, n, first, end, from, to) : blockOf(lower, n, from, to, first, end);
        const explained = await products.multiply(solved, entries, {
          ...{ rows: m, inner: to - from, columns: side, transposeB: transposed },
        });
        for (let e = 0; e < right.length; e++) right[e]! -= explained[e]!;
      }
      const stored = inverses[first / BLOCK]!;
      const size = Math.sqrt(stored.length);
      // the inverse of a leading block of a triangle is the leading block of its inverse
      const inverse = size === side ? stored : blockOf(stored, size, 0, side, 0, side);
      const block = await products.multiply(right, inverse, {
        ...{ rows: m, inner: side, columns: side, transposeB: transposed },
      });
      for (let row = 0; row < m; row++) x.set(block.subarray(row * side, (row + 1) * side), row * k + first);
    }
    return x;
  }
}

/** Rows `top` to `bottom` and columns `left` to `right` of a matrix with `width` columns, as a matrix of their own. */
export function blockOf(
  values: Float64Array,
  width: number,
  top: number,
  bottom: number,
  left: number,
  right: number,
): Float64Array {
  if (left === 0 && right === width) return values.subarray(top * width, bottom * width);
  const columns = right - left;
  const out = new Float64Array((bottom - top) * columns);
  for (let row = top; row < bottom; row++)
    out.set(values.subarray(row * width + left, row * width + right), (row - top) * columns);
  return out;
}

function identity(n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * (n + 1)] = 1;
  return out;
}
