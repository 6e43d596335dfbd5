/** Planted models in f64: tensors whose decomposition is known. */
import { randomArray } from "../reference.js";

export interface Planted {
  data: Float32Array;
  shape: number[];
}

/** Multi-index of a flat row-major index. */
export function unravel(index: number, shape: readonly number[]): number[] {
  const indices = new Array<number>(shape.length);
  let rest = index;
  for (let mode = shape.length - 1; mode >= 0; mode--) {
    indices[mode] = rest % shape[mode]!;
    rest = Math.floor(rest / shape[mode]!);
  }
  return indices;
}

/** Σ_r Π_n A⁽ⁿ⁾[i_n, r] for given factors (row-major I_n×R). */
export function kruskal(factors: ArrayLike<number>[], shape: number[], rank: number): Float64Array {
  const size = shape.reduce((a, b) => a * b, 1);
  const out = new Float64Array(size);
  for (let index = 0; index < size; index++) {
    const at = unravel(index, shape);
    for (let r = 0; r < rank; r++) {
      let product = 1;
      for (let mode = 0; mode < shape.length; mode++) product *= factors[mode]![at[mode]! * rank + r]!;
      out[index]! += product;
    }
  }
  return out;
}

/** A tensor of CP rank `rank` plus noise of the given size relative to it; the error of the plant is returned. */
export function plantedCp(
  shape: number[],
  rank: number,
  noise = 0,
  seed = 1,
): Planted & { noiseError: number; factors: Float32Array[] } {
  const factors = shape.map((extent, mode) => randomArray(extent * rank, seed + mode));
  const clean = kruskal(factors, shape, rank);
  const errors = randomArray(clean.length, seed + 100);
  const scale = noise ? (noise * norm(clean)) / norm(errors) : 0;
  const data = Float32Array.from(clean, (value, i) => value + scale * errors[i]!);
  return { data, shape, factors, noiseError: (scale * norm(errors)) / norm(data) };
}

/** A tensor of multilinear rank `ranks` plus noise. */
export function plantedTucker(shape: number[], ranks: number[], noise = 0, seed = 1): Planted & { noiseError: number } {
  let data: Float64Array = Float64Array.from(
    randomArray(
      ranks.reduce((a, b) => a * b, 1),
      seed,
    ),
  );
  let current = [...ranks];
  shape.forEach((extent, mode) => {
    if (extent === ranks[mode]) return;
    const factor = randomArray(extent * ranks[mode]!, seed + 10 + mode);
    data = modeProduct(data, current, factor, extent, mode);
    current = current.map((value, k) => (k === mode ? extent : value));
  });
  const errors = randomArray(data.length, seed + 100);
  const scale = noise ? (noise * norm(data)) / norm(errors) : 0;
  const noisy = Float32Array.from(data, (value, i) => value + scale * errors[i]!);
  return { data: noisy, shape, noiseError: (scale * norm(errors)) / norm(noisy) };
}

/** X ×ₙ U with U (rows × I_n), f64. */
export function modeProduct(
  x: ArrayLike<number>,
  shape: readonly number[],
  u: ArrayLike<number>,
  rows: number,
  mode: number,
): Float64Array {
  const extent = shape[mode]!;
  const before = shape.slice(0, mode).reduce((a, b) => a * b, 1);
  const after = shape.slice(mode + 1).reduce((a, b) => a * b, 1);
  const out = new Float64Array(before * rows * after);
  for (let b = 0; b < before; b++)
    for (let j = 0; j < rows; j++)
      for (let i = 0; i < extent; i++) {
        const weight = u[j * extent + i]!;
        for (let a = 0; a < after; a++) out[(b * rows + j) * after + a]! += weight * x[(b * extent + i) * after + a]!;
      }
  return out;
}

/** Mode-n unfolding as rows (I_n × rest), row-major order of the other modes. */
export function unfold(x: ArrayLike<number>, shape: readonly number[], mode: number): number[][] {
  const extent = shape[mode]!;
  const before = shape.slice(0, mode).reduce((a, b) => a * b, 1);
  const after = shape.slice(mode + 1).reduce((a, b) => a * b, 1);
  return Array.from({ length: extent }, (_, i) => {
    const row: number[] = [];
    for (let b = 0; b < before; b++) for (let a = 0; a < after; a++) row.push(x[(b * extent + i) * after + a]!);
    return row;
  });
}

export const norm = (values: ArrayLike<number>): number =>
  Math.sqrt(Array.from(values).reduce((sum, v) => sum + v * v, 0));

/** ‖a − b‖ / ‖a‖ in f64 */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let squared = 0;
  for (let i = 0; i < a.length; i++) squared += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(squared) / norm(a);
}

/** Standard normal numbers, the same for the same seed. */
export function normalArray(size: number, seed: number): Float32Array {
  const uniform = randomArray(2 * size, seed);
  return Float32Array.from({ length: size }, (_, at) => {
    const [u, v] = [(uniform[2 * at]! + 1) / 2, (uniform[2 * at + 1]! + 1) / 2];
    return Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
  });
}

/** An exact CP tensor whose factors' columns have the same cosine with each other in every mode: alternating least squares creeps on it. */
export function collinearCp(shape: number[], rank: number, cosine: number, seed: number): Float32Array {
  // √(1 − c)·q_r + √c·q_0 with orthonormal q
  const factors = shape.map((extent, mode) => {
    const columns: number[][] = [];
    for (let r = 0; r <= rank; r++) {
      const column = [...normalArray(extent, seed + 31 * mode + 7 * r)];
      for (const earlier of columns) {
        const along = earlier.reduce((sum, value, at) => sum + value * column[at]!, 0);
        for (const at of column.keys()) column[at]! -= along * earlier[at]!;
      }
      const length = Math.hypot(...column);
      columns.push(column.map((value) => value / length));
    }
    return Float64Array.from({ length: extent * rank }, (_, at) => {
      const [row, r] = [Math.floor(at / rank), at % rank];
      return Math.sqrt(1 - cosine) * columns[r + 1]![row]! + Math.sqrt(cosine) * columns[0]![row]!;
    });
  });
  return Float32Array.from(kruskal(factors, shape, rank));
}

/** Exact CP tensors of order 3: normal and uniform factors, ranks 2 to 8, four of each. */
export const EXACT = (["normal", "uniform"] as const).flatMap((kind) =>
  [2, 3, 4, 5, 6, 8].flatMap((rank) => Array.from({ length: 4 }, (_, count) => ({ kind, rank, count }))),
);

/** One of EXACT. */
export function exactCp({ kind, rank, count }: (typeof EXACT)[number]): { data: Float32Array; shape: number[] } {
  const shape = [
    [12, 10, 9],
    [30, 20, 15],
    [20, 21, 22],
    [40, 9, 10],
  ][count]!;
  const factors = shape.map((extent, mode) => {
    const seed = 1000 * count + 10 * rank + mode + (kind === "normal" ? 1 : 500);
    return kind === "normal"
      ? normalArray(extent * rank, seed)
      : randomArray(extent * rank, seed).map((value) => (value + 1) / 2);
  });
  return { data: Float32Array.from(kruskal(factors, shape, rank)), shape };
}
