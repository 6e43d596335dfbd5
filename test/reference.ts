/** f64 loops with which the tests compare the kernels. Arrays are row-major, shapes are those of the ops. */

import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** Uniform values in [-1, 1), the same for the same seed. */
export function randomArray(size: number, seed = 1): Float32Array {
  const random = xoroshiro128plus(seed);
  return Float32Array.from({ length: size }, () => 2 * uniformFloat64(random) - 1);
}

type Numbers = ArrayLike<number>;

/** op(A)·op(B), rows×inner by inner×columns. */
export function matmul(
  a: Numbers,
  b: Numbers,
  rows: number,
  inner: number,
  columns: number,
  { transposeA = false, transposeB = false } = {},
): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++)
        sum += a[transposeA ? k * rows + i : i * inner + k]! * b[transposeB ? j * inner + k : k * columns + j]!;
      out[i * columns + j] = sum;
    }
  return out;
}
