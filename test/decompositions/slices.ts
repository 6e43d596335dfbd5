/** Slices of PARAFAC2 models. */
import { randomArray } from "../reference.js";
import { norm } from "./planted.js";

/** Random numbers with orthonormal columns. */
export function orthonormal(rows: number, rank: number, seed: number): Float64Array {
  const q = Float64Array.from(randomArray(rows * rank, seed));
  const inner = (r: number, t: number) => {
    let sum = 0;
    for (let i = 0; i < rows; i++) sum += q[i * rank + r]! * q[i * rank + t]!;
    return sum;
  };
  for (let r = 0; r < rank; r++) {
    for (let again = 0; again < 2; again++)
      for (let t = 0; t < r; t++) {
        const part = inner(r, t);
        for (let i = 0; i < rows; i++) q[i * rank + r]! -= part * q[i * rank + t]!;
      }
    const length = Math.sqrt(inner(r, r));
    for (let i = 0; i < rows; i++) q[i * rank + r]! /= length;
  }
  return q;
}

export interface Slice {
  rows: number;
  data: Float32Array;
}

/** Slices of a model with these numbers of rows, plus noise. */
export function planted(
  heights: readonly number[],
  columns: number,
  rank: number,
  noise: number,
  seed: number,
): Slice[] {
  const a = randomArray(heights.length * rank, seed).map((value) => 0.2 + Math.abs(value));
  const b = randomArray(rank * rank, seed + 1);
  for (let r = 0; r < rank; r++) b[r * rank + r]! += 1;
  const c = randomArray(columns * rank, seed + 2).map(Math.abs);
  return heights.map((rows, k) => {
    const p = orthonormal(rows, rank, seed + 10 + k);
    const clean = slice(p, b, a.subarray(k * rank, (k + 1) * rank), c, rank);
    const errors = randomArray(rows * columns, seed + 100 + k);
    const size = (noise * norm(clean)) / norm(errors);
    return { rows, data: Float32Array.from(clean, (value, at) => value + size * errors[at]!) };
  });
}

/** P·B·diag(a)·Cᵀ */
export function slice(
  p: ArrayLike<number>,
  b: ArrayLike<number>,
  a: ArrayLike<number>,
  c: ArrayLike<number>,
  rank: number,
): Float64Array {
  const [rows, columns] = [p.length / rank, c.length / rank];
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let r = 0; r < rank; r++) {
      let evolved = 0;
      for (let t = 0; t < rank; t++) evolved += p[i * rank + t]! * b[t * rank + r]!;
      for (let j = 0; j < columns; j++) out[i * columns + j]! += evolved * a[r]! * c[j * rank + r]!;
    }
  return out;
}
