/**
 * Eigenvectors of symmetric matrices: large ones on a GPU, others on the host in f64. There it is Householder's tridiagonal form, Cuppen's
 * divide and conquer on it (Golub & Van Loan, sections 8.3 and 8.4), and the reflections of the form in blocks. All but the form is
 * products of matrices, and these are made where they cost least.
 */
import { eigh } from "../../decompositions/index.js";
import { qlSteps, transpose, tridiagonalise } from "../../nn/factorised/hostMatrices.js";
import { setting } from "../../ops/adapter.js";
import type { Products } from "./products.js";
import { blockOf } from "./triangle.js";

/** tridiagonal matrices of up to so many rows are not divided */
const LEAF = 32;
/** reflections that are applied together */
const BLOCK = 64;

/**
 * Eigenvectors of a symmetric matrix, one a row, and their energies vᵀMv in f64, largest first.
 *
 * @param count how many of them
 * @param onHost sides up to which they are found on the host
 */
export async function eigenvectorsOf(
  products: Products,
  matrix: Float64Array,
  n: number,
  count = n,
  onHost = setting(products.engine, "hostEigenvectors"),
): Promise<{ values: Float64Array; vectors: Float64Array }> {
  if (n <= onHost) return await symmetricEigenvectors(products, Float64Array.from(matrix), n, count);
  let largest = 0;
  for (const value of matrix) largest = Math.max(largest, Math.abs(value));
  const scale = largest > 0 ? 2 ** -Math.round(Math.log2(largest)) : 1;
  const { engine } = products;
  using a = engine.tensor(
    [n, n],
    Float32Array.from(matrix, (value) => value * scale),
  );
  using factors = await eigh(engine, a);
  const vectors = transpose(await factors.vectors.read(), n, n).subarray(0, count * n);
  // eigenvalues of f32 are off by 1e-6 of the largest; the energies of the vectors by the square of that
  const images = await products.multiply(vectors, matrix, { rows: count, inner: n, columns: n });
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++)
    for (let j = 0, at = i * n; j < n; j++, at++) values[i]! += vectors[at]! * images[at]!;
  return { values, vectors };
}

/**
 * The largest eigenvalues of a symmetric n×n matrix, largest first, and their eigenvectors, one a row. Reads the lower triangle of `a`,
 * and overwrites it.
 *
 * @param count how many of them
 * @throws TenfoldError where an eigenvalue does not converge in 60 steps
 */
export async function symmetricEigenvectors(
  products: Products,
  a: Float64Array,
  n: number,
  count = n,
): Promise<{ values: Float64Array; vectors: Float64Array }> {
  const [diagonal, beside, halves] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)];
  tridiagonalise(a, n, diagonal, beside, halves);
  const pairs = await divided(products, diagonal, beside, count);
  const vectors = new Float64Array(count * n);
  for (let i = 0; i < count; i++) {
    const place = pairs.values.length - 1 - i;
    vectors.set(pairs.vectors.subarray(place * n, (place + 1) * n), i * n);
  }
  await reflect(products, vectors, a, halves, n, count);
  return { values: pairs.values.reverse().slice(0, count), vectors };
}

/** X·H₁·H₂·…, for the reflections that `tridiagonalise` left in the rows of `a`: so many together as I − Vᵀ·T·V (Schreiber & Van Loan 1989). */
async function reflect(
  products: Products,
  x: Float64Array,
  a: Float64Array,
  halves: Float64Array,
  n: number,
  count: number,
): Promise<void> {
  for (let first = 1; first < n; first += BLOCK) {
    const end = Math.min(first + BLOCK, n);
    const [side, width] = [end - first, end - 1];
    const v = new Float64Array(side * width);
    for (let r = 0; r < side; r++)
      if (halves[first + r]) v.set(a.subarray((first + r) * n, (first + r) * n + first + r), r * width);
    const inner = await products.multiply(v, v, { rows: side, inner: width, columns: side, transposeB: true });
    // upper triangular: column j is −T·(V·vⱼ) ÷ half, with 1 ÷ half below
    const t = new Float64Array(side * side);
    for (let j = 0; j < side; j++) {
      const half = halves[first + j]!;
      if (half === 0) continue;
      for (let i = 0; i < j; i++) {
        let sum = 0;
        for (let k = i; k < j; k++) sum += t[i * side + k]! * inner[k * side + j]!;
        t[i * side + j] = -sum / half;
      }
      t[j * (side + 1)] = 1 / half;
    }
    const part = blockOf(x, n, 0, count, 0, width);
    const seen = await products.multiply(part, v, { rows: count, inner: width, columns: side, transposeB: true });
    const scaled = await products.multiply(seen, t, { rows: count, inner: side, columns: side });
    const change = await products.multiply(scaled, v, { rows: count, inner: side, columns: width });
    for (let row = 0, from = 0; row < count; row++)
      for (let i = 0, at = row * n; i < width; i++, at++, from++) x[at]! -= change[from]!;
  }
}

/** Eigenvalues, smallest first, and eigenvectors of the same order as rows. */
interface Pairs {
  values: Float64Array;
  vectors: Float64Array;
}

/** Of a tridiagonal matrix the `count` largest, or more. */
async function divided(
  products: Products,
  diagonal: Float64Array,
  beside: Float64Array,
  count: number,
): Promise<Pairs> {
  const n = diagonal.length;
  if (n <= LEAF) return whole(diagonal, beside);
  // the matrix is that of both halves with less at the cut, and |b|·u·uᵀ with 1 and the sign of b at the cut
  const half = n >> 1;
  const cut = beside[half - 1]!;
  const [upper, lower] = [diagonal.slice(0, half), diagonal.slice(half)];
  upper[half - 1]! -= Math.abs(cut);
  lower[0]! -= Math.abs(cut);
  const first = await divided(products, upper, beside.slice(0, half), half);
  const second = await divided(products, lower, beside.slice(half), n - half);
  return await merged(products, first, second, cut, count);
}

function whole(diagonal: Float64Array, beside: Float64Array): Pairs {
  const n = diagonal.length;
  const [values, rest, rows] = [diagonal.slice(), beside.slice(0, n), new Float64Array(n * n)];
  rest[n - 1] = 0;
  for (let i = 0; i < n; i++) rows[i * (n + 1)] = 1;
  qlSteps(n, values, rest, (at, sine, cosine) => turn(rows, n, at, at + 1, cosine, -sine));
  return ordered({ values, vectors: rows }, n, n);
}

/** Rows p and q become cosine·p + sine·q and cosine·q − sine·p. */
function turn(rows: Float64Array, n: number, p: number, q: number, cosine: number, sine: number): void {
  for (let k = 0, i = p * n, j = q * n; k < n; k++, i++, j++) {
    const [x, y] = [rows[i]!, rows[j]!];
    rows[i] = cosine * x + sine * y;
    rows[j] = cosine * y - sine * x;
  }
}

/** The largest pairs in their order. */
function ordered({ values, vectors }: Pairs, n: number, count: number): Pairs {
  const order = Array.from(values, (_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const taken = order.slice(order.length - count);
  const rows = new Float64Array(count * n);
  for (const [place, i] of taken.entries()) rows.set(vectors.subarray(i * n, (i + 1) * n), place * n);
  return { values: Float64Array.from(taken, (i) => values[i]!), vectors: rows };
}

/** The pairs of two halves with a matrix of rank one between them. */
async function merged(products: Products, first: Pairs, second: Pairs, cut: number, count: number): Promise<Pairs> {
  const [m, more] = [first.values.length, second.values.length];
  const n = m + more;
  const d = new Float64Array(n);
  const z = new Float64Array(n);
  const rows = new Float64Array(n * n);
  d.set(first.values);
  d.set(second.values, m);
  for (let i = 0; i < m; i++) {
    z[i] = first.vectors[i * m + m - 1]!;
    rows.set(first.vectors.subarray(i * m, (i + 1) * m), i * n);
  }
  for (let i = 0; i < more; i++) {
    z[m + i] = Math.sign(cut) * second.vectors[i * more]!;
    rows.set(second.vectors.subarray(i * more, (i + 1) * more), (m + i) * n + m);
  }
  // ‖z‖² is 2
  const weight = 2 * Math.abs(cut);
  for (let i = 0; i < n; i++) z[i]! *= Math.SQRT1_2;
  let largest = weight;
  for (const value of d) largest = Math.max(largest, Math.abs(value));
  const tolerance = 8 * Number.EPSILON * largest;
  // in which half a row has entries
  const has = { left: new Uint8Array(n), right: new Uint8Array(n) };
  has.left.fill(1, 0, m);
  has.right.fill(1, m);
  // pairs that stay as they are: z has nothing of them, or they are turned so that it has not
  const kept: number[] = [];
  const active: number[] = [];
  for (const j of Array.from(d, (_, i) => i).sort((p, q) => d[p]! - d[q]!)) {
    if (weight * Math.abs(z[j]!) <= tolerance) {
      kept.push(j);
      continue;
    }
    const p = active.at(-1);
    if (p !== undefined) {
      const length = Math.hypot(z[p]!, z[j]!);
      const [cosine, sine] = [z[j]! / length, -z[p]! / length];
      if (Math.abs((d[j]! - d[p]!) * cosine * sine) <= tolerance) {
        [z[p], z[j]] = [0, length];
        turn(rows, n, p, j, cosine, sine);
        const [low, high] = [d[p]!, d[j]!];
        d[p] = low * cosine ** 2 + high * sine ** 2;
        d[j] = low * sine ** 2 + high * cosine ** 2;
        for (const one of [has.left, has.right]) one[p] = one[j] = one[p]! | one[j]!;
        active.pop();
        kept.push(p);
      }
    }
    active.push(j);
  }
  const k = active.length;
  const { values, differences } = secularRoots(
    Float64Array.from(active, (i) => d[i]!),
    Float64Array.from(active, (i) => z[i]!),
    weight,
  );
  // the largest pairs of all
  const all = Float64Array.from([...kept.map((i) => d[i]!), ...values]);
  const order = Array.from(all, (_, i) => i).sort((i, j) => all[i]! - all[j]!);
  const taken = order.slice(n - Math.min(count, n));
  const roots = taken.filter((i) => i >= kept.length).map((i) => i - kept.length);
  const coordinates = secularVectors(differences, active, z, d, roots);
  const made = new Float64Array(roots.length * n);
  for (const [side, from, to] of [
    [has.left, 0, m],
    [has.right, m, n],
  ] as const) {
    const places = active.flatMap((row, at) => (side[row] ? [at] : []));
    const [inner, columns] = [places.length, to - from];
    if (!inner || !roots.length) continue;
    const weights = new Float64Array(roots.length * inner);
    for (let r = 0, at = 0; r < roots.length; r++)
      for (const place of places) weights[at++] = coordinates[r * k + place]!;
    const basis = new Float64Array(inner * columns);
    for (const [at, place] of places.entries()) {
      const start = active[place]! * n;
      basis.set(rows.subarray(start + from, start + to), at * columns);
    }
    const part = await products.multiply(weights, basis, { rows: roots.length, inner, columns });
    for (let r = 0; r < roots.length; r++) made.set(part.subarray(r * columns, (r + 1) * columns), r * n + from);
  }
  const vectors = new Float64Array(taken.length * n);
  let root = 0;
  for (const [place, i] of taken.entries()) {
    const row = i < kept.length ? kept[i]! : root++;
    const source = i < kept.length ? rows : made;
    vectors.set(source.subarray(row * n, (row + 1) * n), place * n);
  }
  return { values: Float64Array.from(taken, (i) => all[i]!), vectors };
}

/**
 * The roots λ of 1 + weight·Σ zⱼ² ÷ (dⱼ − λ), one above each d, and all differences dⱼ − λ, a row a root: these are exact to rounding even
 * where a root is next to a pole, because a root is kept as its distance from the nearer one. Each step fits both poles beside the root (Li
 * 1993, the middle way), and is halved where that leaves the interval.
 */
function secularRoots(d: Float64Array, z: Float64Array, weight: number) {
  const k = d.length;
  const values = new Float64Array(k);
  const differences = new Float64Array(k * k);
  const squares = z.map((value) => weight * value ** 2);
  const total = squares.reduce((sum, value) => sum + value, 0);
  const delta = new Float64Array(k);
  for (let i = 0; i < k; i++) {
    const last = i === k - 1;
    const gap = last ? total : d[i + 1]! - d[i]!;
    let middle = 1;
    for (let j = 0; j < k; j++) middle += squares[j]! / (d[j]! - d[i]! - gap / 2);
    const origin = middle >= 0 || last ? i : i + 1;
    // where the root lies, from the origin
    let [low, high] = origin === i ? [0, last ? gap : gap / 2] : [-gap / 2, 0];
    if (last && middle < 0) low = gap / 2;
    else if (last) high = gap / 2;
    for (let j = 0; j < k; j++) delta[j] = d[j]! - d[origin]!;
    // of the pair of poles that steps fit
    const p = last ? Math.max(0, i - 1) : i;
    const q = last ? i : i + 1;
    let at = (low + high) / 2;
    for (let step = 0; step < 100; step++) {
      let [before, behind, slopeBefore, slopeBehind, size] = [0, 0, 0, 0, 1];
      for (let j = 0; j < k; j++) {
        const inverse = 1 / (delta[j]! - at);
        const term = squares[j]! * inverse;
        size += Math.abs(term);
        if (j <= p) {
          before += term;
          slopeBefore += term * inverse;
        } else {
          behind += term;
          slopeBehind += term * inverse;
        }
      }
      const f = 1 + before + behind;
      if (Math.abs(f) <= Number.EPSILON * size) break;
      if (f < 0) low = at;
      else high = at;
      const [left, right] = [delta[p]! - at, delta[q]! - at];
      const a = (left + right) * f - left * right * (slopeBefore + slopeBehind);
      const b = left * right * f;
      const c = f - left * slopeBefore - right * slopeBehind;
      const root = Math.sqrt(Math.max(0, a * a - 4 * b * c));
      const change = last === a >= 0 ? (a + (last ? root : -root)) / (2 * c) : (2 * b) / (a + (last ? -root : root));
      let next = at + change;
      if (!(next > low && next < high) || step % 8 === 7) next = (low + high) / 2;
      if (next === at || next === low || next === high) break;
      at = next;
    }
    values[i] = d[origin]! + at;
    for (let j = 0; j < k; j++) differences[i * k + j] = delta[j]! - at;
  }
  return { values, differences };
}

/** The eigenvectors of some roots, by a z of which the roots are exact (Gu & Eisenstat 1994): orthogonal to rounding. */
function secularVectors(
  differences: Float64Array,
  active: readonly number[],
  z: Float64Array,
  d: Float64Array,
  roots: readonly number[],
): Float64Array {
  const k = active.length;
  const products = new Float64Array(k).fill(1);
  for (let i = 0; i < k; i++) {
    const pole = d[active[i]!]!;
    for (let j = 0; j < k; j++)
      products[j]! *= i === j ? -differences[i * k + j]! : differences[i * k + j]! / (d[active[j]!]! - pole);
  }
  const exact = products.map((value, j) => Math.sign(z[active[j]!]!) * Math.sqrt(Math.abs(value)));
  const out = new Float64Array(roots.length * k);
  for (const [row, i] of roots.entries()) {
    let squares = 0;
    for (let j = 0; j < k; j++) {
      const value = exact[j]! / differences[i * k + j]!;
      out[row * k + j] = value;
      squares += value ** 2;
    }
    const scale = 1 / Math.sqrt(squares);
    for (let j = 0; j < k; j++) out[row * k + j]! *= scale;
  }
  return out;
}
