import { solveRows } from "./hostMatrices.js";

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
  const b = randomColumns(height, rank, 2 * seed + 1);
  const c = randomColumns(width, rank, 2 * seed + 2);
  const a = solve(x, [outputs, height, width], [b, c], rank, 0);
  let lastError = Number.POSITIVE_INFINITY;
  const squaredNorm = x.reduce((sum, value) => sum + value * value, 0);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    b.set(unit(solve(x, [outputs, height, width], [a, c], rank, 1), rank));
    c.set(unit(solve(x, [outputs, height, width], [a, b], rank, 2), rank));
    a.set(solve(x, [outputs, height, width], [b, c], rank, 0));
    let error = 0;
    for (let e = 0; e < x.length; e++) {
      const [t, y, p] = [Math.floor(e / places), Math.floor((e % places) / width), e % width];
      let value = x[e]!;
      for (let m = 0; m < rank; m++) value -= a[t * rank + m]! * b[y * rank + m]! * c[p * rank + m]!;
      error += value * value;
    }
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

/** The least squares solution for the factor of `mode`, from the factors of the two other modes in their order. */
function solve(
  x: Float64Array,
  shape: readonly [number, number, number],
  [p, q]: readonly [Float64Array, Float64Array],
  rank: number,
  mode: 0 | 1 | 2,
): Float64Array {
  const [, height, width] = shape;
  const extent = shape[mode];
  const product = new Float64Array(extent * rank);
  for (let e = 0; e < x.length; e++) {
    const at = [Math.floor(e / (height * width)), Math.floor((e % (height * width)) / width), e % width];
    const row = at[mode]! * rank;
    const [i, j] = at.filter((_, k) => k !== mode) as [number, number];
    for (let m = 0; m < rank; m++) product[row + m]! += x[e]! * p[i * rank + m]! * q[j * rank + m]!;
  }
  const normals = new Float64Array(rank * rank);
  for (let m = 0; m < rank; m++)
    for (let n = 0; n < rank; n++) {
      let [first, second] = [0, 0];
      for (let i = 0; i < p.length; i += rank) first += p[i + m]! * p[i + n]!;
      for (let i = 0; i < q.length; i += rank) second += q[i + m]! * q[i + n]!;
      normals[m * rank + n] = first * second;
    }
  return solveRows(normals, product, extent, rank, 1e-9);
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
