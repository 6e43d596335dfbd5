/** The host's f64 solvers, against ml-matrix and by what they promise: residuals and orthonormality. */
import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { bidiagonalSvd, tridiagonalEigen, tridiagonalEigenvalues } from "../../src/decompositions/tridiagonal.js";
import { randomArray } from "../reference.js";

/** Diagonal and off-diagonal of n and n − 1 numbers. */
type Band = readonly [Float64Array, Float64Array];

const band = (n: number, diagonal: (k: number) => number, beside: (k: number) => number): Band => [
  Float64Array.from({ length: n }, (_, k) => diagonal(k)),
  Float64Array.from({ length: n - 1 }, (_, k) => beside(k)),
];

/** An entry of [-1, 1), the same for the same seed and place. */
function noise(seed: number): (k: number) => number {
  const values = randomArray(400, seed);
  return (k) => values[k]!;
}

const [one, other] = [noise(1), noise(2)];
/** 1 to 1e-8 */
const falling = (k: number, n: number): number => 10 ** ((-8 * k) / Math.max(n - 1, 1));

const BANDS: Record<string, (n: number) => Band> = {
  random: (n) => band(n, one, other),
  "graded to 1e-8": (n) =>
    band(
      n,
      (k) => one(k) * falling(k, n),
      (k) => other(k) * falling(k, n),
    ),
  "graded from 1e-8": (n) =>
    band(
      n,
      (k) => one(k) * falling(n - 1 - k, n),
      (k) => other(k) * falling(n - 2 - k, n),
    ),
  "a rank of 3 and noise that falls": (n) =>
    band(
      n,
      (k) => (k < 3 ? 1 + one(k) / 2 : 1e-7 * one(k) * 10 ** -(k % 20)),
      (k) => (k < 2 ? other(k) : 1e-7 * other(k) * 10 ** -(k % 20)),
    ),
  "noise that falls": (n) =>
    band(
      n,
      (k) => 1e-7 * one(k) * 10 ** -(k % 30),
      (k) => 1e-7 * other(k) * 10 ** -(k % 30),
    ),
  "zero diagonal": (n) => band(n, () => 0, other),
  "some zeros on the diagonal": (n) => band(n, (k) => (k % 3 ? one(k) : 0), other),
  "a last zero on the diagonal": (n) => band(n, (k) => (k < n - 1 ? one(k) : 0), other),
  "zero off-diagonals": (n) => band(n, one, () => 0),
  "some zero off-diagonals": (n) => band(n, one, (k) => (k % 4 === 1 ? 0 : other(k))),
  "only off-diagonals, every other": (n) =>
    band(
      n,
      () => 0,
      (k) => (k % 2 ? 0 : other(k)),
    ),
  "equal values": (n) =>
    band(
      n,
      () => 0.7,
      () => 0.7,
    ),
  "identity + 1e-7 noise": (n) =>
    band(
      n,
      (k) => 1 + 1e-7 * one(k),
      (k) => 1e-7 * other(k),
    ),
  // off-diagonals just above what is cut
  "identity + 5e-9 noise": (n) =>
    band(
      n,
      () => 1,
      (k) => 5e-9 * (1 + other(k) / 2),
    ),
  // as bidiagonal several singular values next to 0 beside one that is 0, in the same block
  "ones among 1e-7, a last zero": (n) =>
    band(
      n,
      (k) => (k < n - 1 ? one(k) * (one(k + 200) < -0.4 ? 1 : 1e-7) : 0),
      (k) => other(k) * (other(k + 200) < -0.4 ? 1 : 1e-7),
    ),
  // as bidiagonal the last singular value is 1.5⁻ⁿ
  "1 beside 1.5": (n) =>
    band(
      n,
      () => 1,
      () => 1.5,
    ),
  wilkinson: (n) =>
    band(
      n,
      (k) => Math.abs(k - (n - 1) / 2),
      () => 1,
    ),
  "two wilkinson, joined by 1e-7": (n) =>
    band(
      n,
      (k) => Math.abs((k % (n >> 1 || 1)) - (n >> 2)),
      (k) => (k + 1 === n >> 1 ? 1e-7 : 1),
    ),
  laplacian: (n) =>
    band(
      n,
      () => 2,
      () => -1,
    ),
  zeros: (n) =>
    band(
      n,
      () => 0,
      () => 0,
    ),
  "times 1e30": (n) =>
    band(
      n,
      (k) => 1e30 * one(k),
      (k) => 1e30 * other(k),
    ),
  "times 1e-30": (n) =>
    band(
      n,
      (k) => 1e-30 * one(k),
      (k) => 1e-30 * other(k),
    ),
};
const SIZES = [1, 2, 3, 5, 20, 129];
const CASES = [...Object.keys(BANDS).flatMap((name) => SIZES.map((n) => [name, n] as const)), ["random", 300] as const];

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Falling. */
function exactEigenvalues([d, e]: Band): number[] {
  const n = d.length;
  // ml-matrix takes no numbers of 1e-30 for what they are
  const scale = Math.max(largest(d), largest(e)) || 1;
  const a = Matrix.zeros(n, n);
  for (let k = 0; k < n; k++) {
    a.set(k, k, d[k]! / scale);
    if (k + 1 < n) for (const at of [[k, k + 1] as const, [k + 1, k] as const]) a.set(...at, e[k]! / scale);
  }
  return new EigenvalueDecomposition(a, { assumeSymmetric: true }).realEigenvalues
    .map((value) => value * scale)
    .sort((x, y) => y - x);
}

/** Of the rows of stride `stride`: largest entry of XXᵀ − I. */
function departure(rows: Float32Array, n: number, stride: number): number {
  let most = 0;
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? -1 : 0;
      for (let k = 0; k < n; k++) sum += rows[i * stride + k]! * rows[j * stride + k]!;
      if (!(Math.abs(sum) <= most)) most = Math.abs(sum);
    }
  return most;
}

/** Largest ‖image(row) − value·target‖∞ over all k. */
function residual(
  n: number,
  stride: number,
  image: (row: Float32Array, i: number) => number,
  values: Float64Array,
  from: Float32Array,
  to: Float32Array,
): number {
  let most = 0;
  for (let k = 0; k < n; k++) {
    const row = from.subarray(k * stride, k * stride + n);
    for (let i = 0; i < n; i++) {
      const rest = Math.abs(image(row, i) - values[k]! * to[k * stride + i]!);
      if (!(rest <= most)) most = rest;
    }
  }
  return most;
}

const at = (values: ArrayLike<number>, k: number): number => (k >= 0 && k < values.length ? values[k]! : 0);
const fall = (values: Float64Array): boolean => values.every((value, k) => k === 0 || value <= values[k - 1]!);
/** What stands behind a row is 0. */
const isPadded = (rows: Float32Array, n: number, stride: number): boolean =>
  rows.every((value, k) => k % stride < n || value === 0);

/** a vector's rounding to f32, with that of a residual */
const ROUNDING = 2e-7;

describe.each(CASES)("%s, n = %i", (name, n) => {
  const stride = n + 3;
  const [d, e] = BANDS[name]!(n);

  it("tridiagonal", () => {
    const exact = exactEigenvalues([d, e]);
    const norm = largest(exact) || 1;
    const alone = tridiagonalEigenvalues(d, e);
    expect(alone.length).toBe(n);
    expect(fall(alone)).toBe(true);
    expect(largest(alone.map((value, k) => value - exact[k]!)) / norm).toBeLessThan(1e-13);
    const { values, vectors, close } = tridiagonalEigen(d, e, stride);
    expect(fall(values)).toBe(true);
    // what is cut is below f32's rounding
    expect(largest(values.map((value, k) => value - exact[k]!)) / norm).toBeLessThan(1e-8);
    const image = (x: Float32Array, i: number) => d[i]! * x[i]! + at(e, i - 1) * at(x, i - 1) + at(e, i) * at(x, i + 1);
    expect(residual(n, stride, image, values, vectors, vectors) / norm).toBeLessThan(ROUNDING);
    expect(departure(vectors, n, stride)).toBeLessThan(close ? 1e-4 : ROUNDING);
    expect(isPadded(vectors, n, stride)).toBe(true);
  });

  it("bidiagonal", () => {
    // ml-matrix' own SVD never ends on some matrices
    const between = Float64Array.from({ length: 2 * n - 1 }, (_, k) => (k % 2 ? e[k >> 1]! : d[k >> 1]!));
    const exact = exactEigenvalues([new Float64Array(2 * n), between]).slice(0, n);
    const norm = largest(exact) || 1;
    const { values, u, v, close } = bidiagonalSvd(d, e, stride);
    expect(values.length).toBe(n);
    expect(fall(values)).toBe(true);
    expect(values[n - 1]!).toBeGreaterThanOrEqual(0);
    expect(largest(values.map((value, k) => value - exact[k]!)) / norm).toBeLessThan(1e-8);
    const image = (x: Float32Array, i: number) => d[i]! * x[i]! + at(e, i) * at(x, i + 1);
    const transposed = (x: Float32Array, i: number) => d[i]! * x[i]! + at(e, i - 1) * at(x, i - 1);
    expect(residual(n, stride, image, values, v, u) / norm).toBeLessThan(ROUNDING);
    expect(residual(n, stride, transposed, values, u, v) / norm).toBeLessThan(ROUNDING);
    for (const rows of [u, v]) {
      expect(departure(rows, n, stride)).toBeLessThan(close ? 1e-4 : ROUNDING);
      expect(isPadded(rows, n, stride)).toBe(true);
    }
  });
});

describe("close", () => {
  it("is said of eigenvalues within 1e-8 of the norm, unless they are of blocks that share no row", () => {
    const close = (name: string, n: number) => tridiagonalEigen(...BANDS[name]!(n)).close;
    expect(close("laplacian", 129)).toBe(false);
    expect(close("zero off-diagonals", 129)).toBe(false);
    expect(close("identity + 5e-9 noise", 20)).toBe(true);
    expect(close("wilkinson", 5)).toBe(false);
    expect(close("wilkinson", 129)).toBe(true);
  });

  it("is said of singular values next to 0, whose negatives are near", () => {
    const close = (name: string, n: number) => bidiagonalSvd(...BANDS[name]!(n)).close;
    expect(close("1 beside 1.5", 20)).toBe(false);
    expect(close("1 beside 1.5", 129)).toBe(true);
    expect(close("zeros", 5)).toBe(false);
    expect(close("zero off-diagonals", 129)).toBe(false);
  });
});

it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("ends with an error on %f", (value) => {
  for (const n of [1, 2, 3, 20])
    for (const place of [0, n >> 1, n - 1])
      for (const which of [0, 1] as const) {
        const [d, e] = BANDS.random!(n);
        if (which === 1 && n === 1) continue;
        (which ? e : d)[Math.min(place, n - 1 - which)] = value;
        expect(() => tridiagonalEigen(d, e)).toThrow(/NaN or infinity/);
        expect(() => bidiagonalSvd(d, e)).toThrow(/NaN or infinity/);
      }
});
