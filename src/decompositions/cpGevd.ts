/**
 * Generalised eigenvalues of a tensor's mixtures, for a start of CP: `cpGevdStart.ts` loads with it.
 *
 * Of an exact model of rank R, all mixtures of slices are A·diag·Bᵀ with the same A and B: for two of them, M₁ and M₂, the eigenvectors of
 * M₁·M₂⁻¹ are the columns of A (Sanchez & Kowalski 1990; Leurgans, Ross & Abel 1993; De Lathauwer, De Moor & Vandewalle 2004). A⁻¹ times the tensor
 * then has a term in each row, whose other factors are those of the best rank-one tensor. All of it in f64 on the host.
 */
import { realEigen, realSchur } from "./realEigen.js";

/** What generalised eigenvalues make of a tensor. */
export interface GevdStart {
  /** I_n×R each; terms beyond `rank` are zero */
  factors: Float64Array[];
  /** terms that were found: less than R where the tensor has a lower rank in one of the modes that were taken apart */
  rank: number;
  /** pairs of complex eigenvalues: of each the real invariant subspace makes two terms, which are no more than a guess */
  complexPairs: number;
  /** ‖X − X̂‖ / ‖X‖ */
  relativeError: number;
}

/** singular values of an unfolding below this part of the largest are what f32 left */
const SEEN = 1e-6;
/** most extents of a matrix that is taken apart on the host */
const MOST = 256;
/** pairs of mixtures that are tried, the best of which counts; multiplications that all of them may take */
const TRIES = 8;
const WORK = 2e8;
/** a model with this relative error is exact: no other mixtures are tried */
const EXACT = 1e-6;
/** a matrix with pivots below this part of the largest is singular */
const SINGULAR = 1e-13;
/** most sweeps for the best rank-one tensor, which end when its weight grows by no more than this part; an exact one needs one sweep */
const SWEEPS = 8;
const SETTLED = 1e-4;

/** Modes put together into the rows, the columns and the slices of a tensor of order 3. */
type Groups = readonly [readonly number[], readonly number[], readonly number[]];

const extentOf = (shape: readonly number[], modes: readonly number[]): number =>
  modes.reduce((product, mode) => product * shape[mode]!, 1);

/** Rows and columns of at least R entries each, of as few modes as can be, and the most slices beside them; null where there are none. */
export function gevdGroups(shape: readonly number[], rank: number): Groups | null {
  let best: Groups | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (let code = 0; code < 3 ** shape.length; code++) {
    const groups: [number[], number[], number[]] = [[], [], []];
    let rest = code;
    for (const mode of [...shape.keys()].reverse()) {
      groups[rest % 3]!.unshift(mode);
      rest = Math.floor(rest / 3);
    }
    if (!groups[0].length || !groups[1].length) continue;
    const [rows, columns, slices] = groups.map((modes) => extentOf(shape, modes)) as [number, number, number];
    if (rows < rank || columns < rank || slices < 2 || rows > MOST || columns > MOST) continue;
    const cost = groups[0].length + groups[1].length - slices / (slices + 1);
    if (cost < least) [best, least] = [groups, cost];
  }
  return best;
}

/**
 * A CP model by generalised eigenvalues; null where the shape has no two groups of modes with R entries and slices beside them, or no mixture of
 * slices has an inverse.
 *
 * @param x row-major, scaled so that its squares are finite
 */
export function gevd(x: ArrayLike<number>, shape: readonly number[], rank: number, seed: number): GevdStart | null {
  const groups = gevdGroups(shape, rank);
  if (!groups) return null;
  const modes = groups.flat();
  const extents = groups.map((group) => extentOf(shape, group)) as [number, number, number];
  const ordered = permuted(x, shape, modes);
  const [rows, columns, slices] = extents;
  const rest = columns * slices;
  const squaredNorm = ordered.reduce((sum, value) => sum + value * value, 0);
  if (!(squaredNorm > 0)) return null;
  const left = leading(gramOfMode(ordered, extents, 0), rows, rank);
  const right = leading(gramOfMode(ordered, extents, 1), columns, rank);
  const count = Math.min(left.count, right.count);
  if (!count) return null;
  // the slices, on the leading singular vectors of rows, and of columns
  const onRows = along(ordered, extents, 0, left, count);
  const narrow = along(onRows, [count, columns, slices], 1, right, count);
  const random = normalNumbers(seed);
  const tries = Math.max(1, Math.min(TRIES, Math.floor(WORK / (count * rows * rest))));
  let best: GevdStart | null = null;
  for (let turn = 0; turn < tries && !(best && best.relativeError < EXACT); turn++) {
    const eigen = eigenOfMixtures(narrow, count, slices, random);
    const inverse = eigen && inverted(eigen.vectors, count);
    if (!inverse) continue;
    // A = U·V of all rows; its pseudo-inverse V⁻¹·Uᵀ times X has a term in each row
    const a = product(left.vectors, eigen.vectors, rows, left.stride, count);
    const terms = product(inverse, onRows, count, count, rest);
    const factors = modes.map((mode) => new Float64Array(shape[mode]! * rank));
    for (let r = 0; r < count; r++) {
      const column = new Float64Array(rows);
      for (let i = 0; i < rows; i++) column[i] = a[i * count + r]!;
      const inRows = rankOne(column, shapeOf(shape, groups[0]));
      const inRest = rankOne(terms.subarray(r * rest, (r + 1) * rest), shapeOf(shape, [...groups[1], ...groups[2]]));
      const size = Math.abs(inRows.weight * inRest.weight) ** (1 / modes.length);
      const sign = inRows.weight * inRest.weight < 0 ? -1 : 1;
      for (const [at, vector] of [...inRows.vectors, ...inRest.vectors].entries()) {
        const factor = factors[at]!;
        for (let i = 0; i < vector.length; i++) factor[i * rank + r] = vector[i]! * size * (at ? 1 : sign);
      }
    }
    const relativeError = Math.sqrt(squaredDistance(ordered, shapeOf(shape, modes), factors, rank) / squaredNorm);
    if (best && !(relativeError < best.relativeError)) continue;
    const complexPairs = count + 1 - eigen.blocks.length;
    best = { factors: shape.map((_, mode) => factors[modes.indexOf(mode)]!), rank: count, complexPairs, relativeError };
  }
  return best;
}

const shapeOf = (shape: readonly number[], modes: readonly number[]): number[] => modes.map((mode) => shape[mode]!);

/** Eigenvectors of M₁·M₂⁻¹, of two random mixtures of the slices; null where M₂ has no inverse. */
function eigenOfMixtures(narrow: Float64Array, n: number, slices: number, random: () => number) {
  const [first, second] = [0, 1].map(() => {
    const weights = Float64Array.from({ length: slices }, random);
    const mixture = new Float64Array(n * n);
    for (let at = 0; at < n * n; at++)
      for (let k = 0; k < slices; k++) mixture[at]! += weights[k]! * narrow[at * slices + k]!;
    return mixture;
  }) as [Float64Array, Float64Array];
  const inverse = inverted(second, n);
  return inverse && realEigen(product(first, inverse, n, n, n), n);
}

/** x with its modes in another order. */
function permuted(x: ArrayLike<number>, shape: readonly number[], modes: readonly number[]): Float64Array {
  const strides = shape.map((_, mode) => extentOf(shape, [...shape.keys()].slice(mode + 1)));
  const out = new Float64Array(x.length);
  const index = modes.map(() => 0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = x[from]!;
    for (let at = modes.length - 1; at >= 0; at--) {
      const mode = modes[at]!;
      from += strides[mode]!;
      if (++index[at]! < shape[mode]!) break;
      from -= strides[mode]! * shape[mode]!;
      index[at] = 0;
    }
  }
  return out;
}

/** Three numbers: what lies before a mode of a tensor of order 3, its extent, and what lies behind. */
const around = (extents: readonly number[], mode: number) =>
  [extentOf(extents, [0, 1].slice(0, mode)), extents[mode]!, extentOf(extents, [1, 2].slice(mode))] as const;

/** The Gram matrix of the rows of an unfolding. */
function gramOfMode(x: Float64Array, extents: readonly number[], mode: number): Float64Array {
  const [before, n, after] = around(extents, mode);
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let b = 0; b < before; b++) {
        const [first, second] = [(b * n + i) * after, (b * n + j) * after];
        for (let a = 0; a < after; a++) sum += x[first + a]! * x[second + a]!;
      }
      gram[i * n + j] = sum;
      gram[j * n + i] = sum;
    }
  return gram;
}

/** Leading singular vectors, `stride` of them side by side, of which `count` are not rounding. */
interface Leading {
  vectors: Float64Array;
  stride: number;
  count: number;
}

/** From a Gram matrix, at most `rank` of them. */
function leading(gram: Float64Array, n: number, rank: number): Leading {
  const schur = realSchur(gram, n);
  if (!schur) return { vectors: new Float64Array(0), stride: 0, count: 0 };
  const squares = Array.from({ length: n }, (_, i) => schur.t[i * n + i]!);
  const order = [...squares.keys()].sort((a, b) => squares[b]! - squares[a]!).slice(0, rank);
  const count = order.filter((at) => squares[at]! > SEEN ** 2 * squares[order[0]!]!).length;
  const vectors = Float64Array.from(
    { length: n * count },
    (_, at) => schur.q[Math.floor(at / count) * n + order[at % count]!]!,
  );
  return { vectors, stride: count, count };
}

/** x times the transpose of the first `count` vectors along a mode of order 3. */
function along(
  x: Float64Array,
  extents: readonly number[],
  mode: number,
  { vectors, stride }: Leading,
  count: number,
): Float64Array {
  const [before, n, after] = around(extents, mode);
  const out = new Float64Array(before * count * after);
  for (let b = 0; b < before; b++)
    for (let i = 0; i < n; i++)
      for (let r = 0; r < count; r++) {
        const factor = vectors[i * stride + r]!;
        const [to, from] = [(b * count + r) * after, (b * n + i) * after];
        for (let a = 0; a < after; a++) out[to + a]! += factor * x[from + a]!;
      }
  return out;
}

/** A·B of an m×`columns of B's rows` part of a matrix whose rows are `k` long and an n-column matrix. */
function product(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  const inner = b.length / n;
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let l = 0; l < inner; l++) {
      const factor = a[i * k + l]!;
      for (let j = 0; j < n; j++) out[i * n + j]! += factor * b[l * n + j]!;
    }
  return out;
}

/** The inverse by elimination with pivots; null of a singular matrix. */
function inverted(matrix: Float64Array, n: number): Float64Array | null {
  const a = Float64Array.from(matrix);
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) inverse[i * n + i] = 1;
  let largest = 0;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(a[i * n + k]!) > Math.abs(a[pivot * n + k]!)) pivot = i;
    for (const m of [a, inverse])
      for (let j = 0; j < n; j++) [m[k * n + j], m[pivot * n + j]] = [m[pivot * n + j]!, m[k * n + j]!];
    const size = Math.abs(a[k * n + k]!);
    largest = Math.max(largest, size);
    if (!(size > SINGULAR * largest)) return null;
    const over = 1 / a[k * n + k]!;
    for (const m of [a, inverse]) for (let j = 0; j < n; j++) m[k * n + j]! *= over;
    for (let i = 0; i < n; i++) {
      const part = a[i * n + k]!;
      if (i === k || part === 0) continue;
      for (const m of [a, inverse]) for (let j = 0; j < n; j++) m[i * n + j]! -= part * m[k * n + j]!;
    }
  }
  return inverse;
}

/** The best rank-one tensor: vectors of norm 1, and the weight; by alternating steps from the fibres through the largest entry. */
function rankOne(x: Float64Array, shape: readonly number[]): { weight: number; vectors: Float64Array[] } {
  let peak = 0;
  for (let at = 0; at < x.length; at++) if (Math.abs(x[at]!) > Math.abs(x[peak]!)) peak = at;
  const vectors = shape.map((extent, mode) => {
    const stride = extentOf(shape, [...shape.keys()].slice(mode + 1));
    const start = peak - (Math.floor(peak / stride) % extent) * stride;
    const fibre = new Float64Array(extent);
    for (let i = 0; i < extent; i++) fibre[i] = x[start + i * stride]!;
    return unit(fibre).vector;
  });
  let weight = 0;
  if (shape.length === 1) weight = unit(x).length * (x[peak]! * vectors[0]![peak]! < 0 ? -1 : 1);
  else
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
      const before = weight;
      for (const mode of shape.keys()) {
        const { vector, length } = unit(contracted(x, shape, vectors, mode));
        vectors[mode] = vector;
        weight = length;
      }
      if (weight <= (1 + SETTLED) * before) break;
    }
  return { weight, vectors };
}

function unit(values: Float64Array): { vector: Float64Array; length: number } {
  const length = Math.hypot(...values);
  return { vector: values.map((value) => value / (length || 1)), length };
}

/** x times the vectors of all modes but one. */
function contracted(
  x: Float64Array,
  shape: readonly number[],
  vectors: readonly Float64Array[],
  mode: number,
): Float64Array {
  let values = x;
  let size = x.length;
  for (let last = shape.length - 1; last > mode; last--) {
    size /= shape[last]!;
    const vector = vectors[last]!;
    const next = new Float64Array(size);
    for (let i = 0; i < size; i++)
      for (let j = 0; j < vector.length; j++) next[i]! += values[i * vector.length + j]! * vector[j]!;
    values = next;
  }
  for (let first = 0; first < mode; first++) {
    const vector = vectors[first]!;
    size /= vector.length;
    const next = new Float64Array(size);
    for (let j = 0; j < vector.length; j++)
      for (let i = 0; i < size; i++) next[i]! += values[j * size + i]! * vector[j]!;
    values = next;
  }
  return values;
}

/** ‖x − x̂‖². */
function squaredDistance(
  x: Float64Array,
  shape: readonly number[],
  factors: readonly Float64Array[],
  rank: number,
): number {
  // row by row of all modes but the last: what they make of each term
  let products = new Float64Array(rank).fill(1);
  for (const [mode, extent] of shape.slice(0, -1).entries()) {
    const next = new Float64Array(products.length * extent);
    for (let row = 0; row < products.length / rank; row++)
      for (let at = 0; at < extent * rank; at++)
        next[row * extent * rank + at] = products[row * rank + (at % rank)]! * factors[mode]![at]!;
    products = next;
  }
  const last = factors.at(-1)!;
  const length = shape.at(-1)!;
  let squares = 0;
  for (let at = 0, row = 0; at < x.length; row += rank)
    for (let column = 0; column < length * rank; column += rank, at++) {
      let difference = x[at]!;
      for (let r = 0; r < rank; r++) difference -= products[row + r]! * last[column + r]!;
      squares += difference * difference;
    }
  return squares;
}

/** Normal numbers, the same for the same seed (mulberry32, Box & Muller). */
function normalNumbers(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
