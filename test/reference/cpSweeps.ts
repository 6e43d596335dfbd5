/** Sweeps of CP-ALS over a tensor of order 3 in f64, with a proximal term. */

/** A copy with columns of norm 1, and their norms. */
export function columnsOfNormOne(factor: ArrayLike<number>, rank: number): { factor: Float64Array; norms: number[] } {
  const norms = Array.from({ length: rank }, (_, r) => {
    let sum = 0;
    for (let e = r; e < factor.length; e += rank) sum += factor[e]! ** 2;
    return Math.sqrt(sum);
  });
  return { factor: Float64Array.from(factor, (value, e) => (norms[e % rank] ? value / norms[e % rank]! : 0)), norms };
}

/** (M + ρ·A₀·diag(λ)) (V + ρ·I)⁻¹ with ρ in units of V's mean diagonal, by Gaussian elimination. */
function solved(m: Float64Array, v: Float64Array, before: Float64Array, weights: readonly number[], proximal: number) {
  const rank = weights.length;
  let mean = 0;
  for (let r = 0; r < rank; r++) mean += v[r * rank + r]! / rank;
  const shift = proximal * mean;
  const out = new Float64Array(m.length);
  for (let row = 0; row < m.length / rank; row++) {
    const a = Float64Array.from(v, (value, e) => value + (e % (rank + 1) === 0 ? shift : 0));
    const b = Float64Array.from(weights, (weight, r) => m[row * rank + r]! + shift * weight * before[row * rank + r]!);
    for (let c = 0; c < rank; c++)
      for (let r = c + 1; r < rank; r++) {
        const factor = a[r * rank + c]! / a[c * rank + c]!;
        for (let t = c; t < rank; t++) a[r * rank + t]! -= factor * a[c * rank + t]!;
        b[r]! -= factor * b[c]!;
      }
    for (let c = rank - 1; c >= 0; c--) {
      for (let t = c + 1; t < rank; t++) b[c]! -= a[c * rank + t]! * b[t]!;
      b[c]! /= a[c * rank + c]!;
    }
    out.set(b, row * rank);
  }
  return out;
}

const gram = (factor: Float64Array, rank: number): Float64Array => {
  const out = new Float64Array(rank * rank);
  for (let e = 0; e < factor.length; e += rank)
    for (let r = 0; r < rank; r++) for (let t = 0; t < rank; t++) out[r * rank + t]! += factor[e + r]! * factor[e + t]!;
  return out;
};

/** The factors, columns of norm 1, and the weights after so many sweeps. */
export function sweepsInF64(
  x: ArrayLike<number>,
  shape: readonly number[],
  begin: readonly ArrayLike<number>[],
  sweeps: number,
  proximal: number,
): { factors: Float64Array[]; weights: number[] } {
  const rank = begin[0]!.length / shape[0]!;
  const normal = begin.map((factor) => columnsOfNormOne(factor, rank));
  const factors = normal.map(({ factor }) => factor);
  let weights = Array.from({ length: rank }, (_, r) => normal.reduce((product, { norms }) => product * norms[r]!, 1));
  const [, n1, n2] = shape as [number, number, number];
  for (let sweep = 0; sweep < sweeps; sweep++)
    for (const mode of [0, 1, 2]) {
      const others = [0, 1, 2].filter((other) => other !== mode) as [number, number];
      const m = new Float64Array(factors[mode]!.length);
      for (let flat = 0; flat < x.length; flat++) {
        const place = [Math.floor(flat / (n1 * n2)), Math.floor(flat / n2) % n1, flat % n2];
        for (let r = 0; r < rank; r++)
          m[place[mode]! * rank + r]! += others.reduce(
            (product, other) => product * factors[other]![place[other]! * rank + r]!,
            x[flat]!,
          );
      }
      const [one, two] = others.map((other) => gram(factors[other]!, rank)) as [Float64Array, Float64Array];
      const v = one.map((value, e) => value * two[e]!);
      const next = columnsOfNormOne(solved(m, v, factors[mode]!, weights, proximal), rank);
      factors[mode] = next.factor;
      weights = next.norms;
    }
  return { factors, weights };
}
