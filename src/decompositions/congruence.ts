/** How alike the rank-one terms of CP models are: Tucker's congruence, the product over modes of the cosines between columns. */

/**
 * The congruence of every term of a model with every term of another, R×R: the product of the cosines between their columns, over the modes
 * that are listed. A column of zeros is like no other.
 *
 * @param a of each listed mode, I_n×R row-major
 * @param b the same modes of the other model
 */
export function congruences(a: readonly Float32Array[], b: readonly Float32Array[], rank: number): Float64Array {
  const congruence = new Float64Array(rank * rank).fill(1);
  for (const [mode, factor] of a.entries()) {
    const other = b[mode]!;
    const across = products(factor, other, rank);
    const [first, second] = [products(factor, factor, rank), products(other, other, rank)];
    for (let i = 0; i < rank; i++)
      for (let j = 0; j < rank; j++) {
        const norms = Math.sqrt(first[i * rank + i]! * second[j * rank + j]!);
        congruence[i * rank + j]! *= norms ? across[i * rank + j]! / norms : 0;
      }
  }
  return congruence;
}

/** a_i·b_j of all columns of two matrices of as many rows, R×R. */
export function products(a: Float32Array, b: Float32Array, rank: number): Float64Array {
  const sums = new Float64Array(rank * rank);
  for (let row = 0; row < a.length; row += rank)
    for (let i = 0; i < rank; i++) for (let j = 0; j < rank; j++) sums[i * rank + j]! += a[row + i]! * b[row + j]!;
  return sums;
}

/** The congruence of the pair that is least alike, when each term of one model is paired with a term of the other, the most alike first. */
export function leastOfPairs(congruence: Float64Array, rank: number): number {
  const pairs = [...congruence.keys()].sort((a, b) => congruence[b]! - congruence[a]!);
  const [rows, columns] = [new Set<number>(), new Set<number>()];
  let least = 1;
  for (const at of pairs) {
    const [row, column] = [Math.floor(at / rank), at % rank];
    if (rows.has(row) || columns.has(column)) continue;
    rows.add(row);
    columns.add(column);
    least = Math.min(least, congruence[at]!);
  }
  return least;
}
