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
