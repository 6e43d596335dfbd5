import { TenfoldError } from "../gpu/index.js";

export interface EvbmfResult {
  /** rank that the data supports; 0 where everything looks like noise */
  rank: number;
  /** variance of the noise: the option's, or the estimate */
  noiseVariance: number;
  /** shrunken singular values, `rank` of them */
  values: Float64Array;
}

/** From Marchenko–Pastur: the τ at which a singular value of noise stops looking like noise, per √α. */
const TAU_UPPER = 2.5129;

const tau = (x: number, alpha: number): number => {
  const y = x - (1 + alpha);
  return 0.5 * (y + Math.sqrt(Math.max(0, y * y - 4 * alpha)));
};

/** Minimises a function of one variable on an interval by golden sections of log x, to a relative 1e-10. */
function minimise(f: (x: number) => number, low: number, high: number): number {
  const golden = (Math.sqrt(5) - 1) / 2;
  let [a, b] = [Math.log(low), Math.log(high)];
  let c = b - golden * (b - a);
  let d = a + golden * (b - a);
  let [fc, fd] = [f(Math.exp(c)), f(Math.exp(d))];
  while (b - a > 1e-10) {
    if (fc < fd) {
      [b, d, fd] = [d, c, fc];
      c = b - golden * (b - a);
      fc = f(Math.exp(c));
    } else {
      [a, c, fc] = [c, d, fd];
      d = a + golden * (b - a);
      fd = f(Math.exp(d));
    }
  }
  return Math.exp((a + b) / 2);
}

/**
 * Empirical variational Bayes matrix factorisation, the global analytic solution (Nakajima, Sugiyama, Babacan & Tomioka
 * 2013): how many singular values of a noisy matrix are signal. Kim et al. 2016 choose Tucker ranks by it.
 *
 * @param singularValues all min(rows, columns) of them, in any order
 * @param noiseVariance estimated from the data by default
 */
export function evbmf(
  singularValues: ArrayLike<number>,
  rows: number,
  columns: number,
  noiseVariance?: number,
): EvbmfResult {
  const small = Math.min(rows, columns);
  const large = Math.max(rows, columns);
  const s = Float64Array.from(singularValues).sort().reverse();
  if (s.length !== small)
    throw new TenfoldError(`evbmf: ${s.length} singular values for a ${rows}×${columns} matrix, needs all ${small}`);
  if (!s.every((value) => Number.isFinite(value) && value >= 0))
    throw new TenfoldError("evbmf: singular values must be finite and not negative");
  const energy = s.reduce((sum, value) => sum + value * value, 0);
  if (energy === 0) return { rank: 0, noiseVariance: 0, values: new Float64Array() };
  const alpha = small / large;
  const tauUpper = TAU_UPPER * Math.sqrt(alpha);
  const xUpper = (1 + tauUpper) * (1 + alpha / tauUpper);
  const objective = (variance: number): number => {
    let sum = 0;
    for (const value of s) {
      const x = Math.max((value * value) / (large * variance), Number.MIN_VALUE);
      if (x > xUpper) {
        const t = tau(x, alpha);
        sum += x - t + Math.log((t + 1) / x) + alpha * Math.log(t / alpha + 1);
      } else sum += x - Math.log(x);
    }
    // the −log x of every term already carries L·log σ²
    return sum;
  };
  let variance = noiseVariance;
  if (variance === undefined) {
    // at most: everything is noise. At least: the mean square of the singular values that are too many to be signal
    const mostSignal = Math.min(Math.ceil(small / (1 + alpha)) - 1, small - 1);
    const tail = s.subarray(Math.max(mostSignal, 0));
    const tailMean = tail.reduce((sum, value) => sum + value * value, 0) / tail.length;
    const floor = Math.max(tail[0]! ** 2 / (large * xUpper), tailMean / large);
    const upper = energy / (small * large);
    const lower = Math.max(floor, upper * 1e-12);
    variance = lower < upper ? minimise(objective, lower, upper) : upper;
  }
  const threshold = Math.sqrt(large * variance * xUpper);
  const values: number[] = [];
  for (const value of s) {
    if (value <= threshold) break;
    const shrink = 1 - ((small + large) * variance) / value ** 2;
    values.push(
      (value / 2) * (shrink + Math.sqrt(Math.max(0, shrink ** 2 - (4 * small * large * variance ** 2) / value ** 4))),
    );
  }
  return { rank: values.length, noiseVariance: variance, values: Float64Array.from(values) };
}
