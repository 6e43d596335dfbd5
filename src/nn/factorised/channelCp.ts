import { matrixProduct, rowProducts, solveRows, transpose } from "./hostMatrices.js";

/** A small CP decomposition on the host: Σ_m a[·, m] ∘ b[·, m] ∘ c[·, m]. Each factor is extent×rank. */
export interface ChannelCp {
  a: Float64Array;
  b: Float64Array;
  c: Float64Array;
}

/**
 * CP of one channel's filters (outputs×height×width) by alternating least squares in f64. A layer has one such problem for each
 * input channel, of a few thousand numbers: too small to be worth a dispatch. A rank of height·width or more is exact.
 */
export function channelCp(
  x: Float64Array,
  [outputs, height, width]: readonly [number, number, number],
  rank: number,
  { seed, sweeps }: { seed: number; sweeps: number },
): ChannelCp {
  const places = height * width;
  if (rank >= places) return unitFilters(x, [outputs, height, width], rank);
  // the normal equations of a channel without weights have no solution
  if (x.every((value) => value === 0)) {
    const [a, b, c] = [outputs, height, width].map((extent) => new Float64Array(extent * rank));
    return { a: a!, b: b!, c: c! };
  }
  const b = randomColumns(height, rank, 2 * seed + 1);
  const c = randomColumns(width, rank, 2 * seed + 2);
  const turned = transpose(x, outputs, places);
  const solveA = (): Float64Array =>
    solveFactor(matrixProduct(x, khatriRao(b, c, rank), outputs, places, rank), [b, c], rank);
  const a = solveA();
  let lastError = Number.POSITIVE_INFINITY;
  const squaredNorm = x.reduce((sum, value) => sum + value * value, 0);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    // places×rank: what the factors of rows and of columns are both found from
    const seen = matrixProduct(turned, a, places, outputs, rank);
    b.set(unit(solveFactor(overColumns(seen, c, height, rank), [a, c], rank), rank));
    c.set(unit(solveFactor(overRows(seen, b, width, rank), [a, b], rank), rank));
    a.set(solveA());
    const near = rowProducts(a, khatriRao(b, c, rank), outputs, places, rank);
    let error = 0;
    for (let e = 0; e < x.length; e++) error += (x[e]! - near[e]!) ** 2;
    if (lastError - error < 1e-7 * squaredNorm) break;
    lastError = error;
  }
  // scale every term so that its columns in a, b and c have the same length; those of b and c have length 1 before
  for (let m = 0; m < rank; m++) {
    let squared = 0;
    for (let t = 0; t < outputs; t++) squared += a[t * rank + m]! ** 2;
    const share = Math.sqrt(squared) ** (1 / 3);
    for (let t = 0; t < outputs; t++) a[t * rank + m]! *= share ? 1 / share ** 2 : 0;
    for (let y = 0; y < height; y++) b[y * rank + m]! *= share;
    for (let p = 0; p < width; p++) c[p * rank + m]! *= share;
  }
  return { a, b, c };
}

/** The exact CP of rank height·width: term m is the filters' values at place m, times a filter that is 1 there and 0 elsewhere. */
function unitFilters(x: Float64Array, [outputs, height, width]: readonly number[], rank: number): ChannelCp {
  const places = height! * width!;
  const a = new Float64Array(outputs! * rank);
  const [b, c] = [new Float64Array(height! * rank), new Float64Array(width! * rank)];
  for (let m = 0; m < places; m++) {
    b[Math.floor(m / width!) * rank + m] = 1;
    c[(m % width!) * rank + m] = 1;
    for (let t = 0; t < outputs!; t++) a[t * rank + m] = x[t * places + m]!;
  }
  return { a, b, c };
}

/** Row (i, j) is the product of row i of `b` and row j of `c`, entry by entry. */
function khatriRao(b: Float64Array, c: Float64Array, rank: number): Float64Array {
  const [height, width] = [b.length / rank, c.length / rank];
  const out = new Float64Array(height * width * rank);
  for (let i = 0, at = 0; i < height; i++)
    for (let j = 0; j < width; j++) for (let m = 0; m < rank; m++, at++) out[at] = b[i * rank + m]! * c[j * rank + m]!;
  return out;
}

/** Σ over columns j of the rows (i, j) of `seen` times row j of `c`. */
function overColumns(seen: Float64Array, c: Float64Array, height: number, rank: number): Float64Array {
  const out = new Float64Array(height * rank);
  for (let i = 0, at = 0; i < height; i++)
    for (let j = 0; j < c.length; j += rank)
      for (let m = 0; m < rank; m++, at++) out[i * rank + m]! += seen[at]! * c[j + m]!;
  return out;
}

/** Σ over rows i of the rows (i, j) of `seen` times row i of `b`. */
function overRows(seen: Float64Array, b: Float64Array, width: number, rank: number): Float64Array {
  const out = new Float64Array(width * rank);
  for (let i = 0, at = 0; i < b.length; i += rank)
    for (let j = 0; j < width; j++) for (let m = 0; m < rank; m++, at++) out[j * rank + m]! += seen[at]! * b[i + m]!;
  return out;
}

/** The least squares solution for a factor, from X times the Khatri-Rao product of the two other factors, and these. */
function solveFactor(product: Float64Array, [p, q]: readonly [Float64Array, Float64Array], rank: number): Float64Array {
  const [first, second] = [p, q].map((factor) => {
    const columns = transpose(factor, factor.length / rank, rank);
    return rowProducts(columns, columns, rank, rank, factor.length / rank);
  }) as [Float64Array, Float64Array];
  const normals = first.map((value, e) => value * second[e]!);
  return solveRows(normals, product, product.length / rank, rank, 1e-9);
}

/** Scales every column to norm 1, in place; a column of zeros stays. */
function unit(values: Float64Array, rank: number): Float64Array {
  for (let m = 0; m < rank; m++) {
    let squared = 0;
    for (let i = m; i < values.length; i += rank) squared += values[i]! ** 2;
    const scale = squared > 0 ? 1 / Math.sqrt(squared) : 0;
    for (let i = m; i < values.length; i += rank) values[i]! *= scale;
  }
  return values;
}

/** Random columns of norm 1, the same for the same seed. */
function randomColumns(extent: number, rank: number, seed: number): Float64Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const next = (): number => {
    // Mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32 - 0.5;
  };
  return unit(Float64Array.from({ length: extent * rank }, next), rank);
}
