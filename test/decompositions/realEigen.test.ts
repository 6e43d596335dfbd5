/** Eigenvalues of matrices without symmetry, beside ml-matrix's. */
import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { realEigen, realSchur } from "../../src/decompositions/realEigen.js";
import { matmul, randomArray } from "../reference.js";
import { norm } from "./planted.js";

type Make = (n: number, seed: number) => Float64Array;
const entries = (n: number, of: (i: number, j: number) => number): Float64Array =>
  Float64Array.from({ length: n * n }, (_, at) => of(Math.floor(at / n), at % n));
const random: Make = (n, seed) => Float64Array.from(randomArray(n * n, seed));
/** S·D·S⁻¹ written as S·D·Sᵀ, S a reflection. */
const turned = (d: Float64Array, n: number, seed: number): Float64Array => {
  const v = randomArray(n, seed);
  const squares = v.reduce((sum, value) => sum + value * value, 0);
  const s = entries(n, (i, j) => (i === j ? 1 : 0) - (2 * v[i]! * v[j]!) / squares);
  return matmul(matmul(s, d, n, n, n), s, n, n, n);
};

const MATRICES: Record<string, Make> = {
  random,
  symmetric: (n, seed) => {
    const a = random(n, seed);
    return entries(n, (i, j) => a[i * n + j]! + a[j * n + i]!);
  },
  antisymmetric: (n, seed) => {
    const a = random(n, seed);
    return entries(n, (i, j) => a[i * n + j]! - a[j * n + i]!);
  },
  "of low rank": (n, seed) => {
    const [u, v] = [randomArray(n, seed), randomArray(n, seed + 1)];
    return entries(n, (i, j) => u[i]! * v[j]!);
  },
  "of low rank, symmetric, with the rounding of f32": (n, seed) => {
    const u = randomArray(3 * n, seed);
    const rows = 50;
    const x = Float32Array.from(matmul(u, randomArray(3 * rows, seed + 1), n, 3, rows));
    return matmul(x, x, n, rows, n, { transposeB: true });
  },
  graded: (n, seed) => {
    const a = random(n, seed);
    return entries(n, (i, j) => a[i * n + j]! * 10 ** (-(i + j) / 2));
  },
  "graded the other way": (n, seed) => {
    const a = random(n, seed);
    return entries(n, (i, j) => a[i * n + j]! * 10 ** ((i - j) / 2));
  },
  "with equal eigenvalues": (n, seed) =>
    turned(
      entries(n, (i, j) => (i === j ? 1 + (i % 2) : 0)),
      n,
      seed,
    ),
  "with eigenvalues that nearly agree": (n, seed) =>
    turned(
      entries(n, (i, j) => (i === j ? 1 + 1e-9 * i : j > i ? 0.3 : 0)),
      n,
      seed,
    ),
  defective: (n, seed) =>
    turned(
      entries(n, (i, j) => (i === j ? 2 : j === i + 1 ? 1 : 0)),
      n,
      seed,
    ),
  nilpotent: (n) => entries(n, (i, j) => (j === i + 1 ? 1 : 0)),
  companion: (n) => entries(n, (i, j) => (i === 0 ? (j === n - 1 ? 1 : 0) : j === i - 1 ? 1 : 0)),
  triangular: (n, seed) => {
    const a = random(n, seed);
    return entries(n, (i, j) => (j < i ? 0 : a[i * n + j]!));
  },
  diagonal: (n) => entries(n, (i, j) => (i === j ? i - 2 : 0)),
  zero: (n) => new Float64Array(n * n),
  "of ones": (n) => new Float64Array(n * n).fill(1),
};

/** of these, rounding moves the eigenvalues far */
const UNSURE = ["defective", "nilpotent", "with eigenvalues that nearly agree", "graded the other way"];

/** Of every eigenvalue of D: real part and magnitude of the imaginary one, in order. */
function eigenvaluesOf(d: Float64Array, blocks: readonly number[], n: number): [number, number][] {
  return blocks.slice(0, -1).flatMap((first, at): [number, number][] => {
    if (blocks[at + 1]! === first + 1) return [[d[first * n + first]!, 0]];
    const [a, b, c, e] = [0, 1, n, n + 1].map((step) => d[first * n + first + step]!) as [
      number,
      number,
      number,
      number,
    ];
    const imaginary = Math.sqrt(-(((a - e) / 2) ** 2 + b * c));
    return [
      [(a + e) / 2, imaginary],
      [(a + e) / 2, -imaginary],
    ];
  });
}

/** How far two sets of eigenvalues are apart, when each is paired with the nearest one left. */
function apart(a: readonly [number, number][], b: readonly [number, number][]): number {
  const left = [...b];
  let most = 0;
  for (const [re, im] of a) {
    const distances = left.map(([x, y]) => Math.hypot(re - x, im - y));
    const nearest = distances.indexOf(Math.min(...distances));
    most = Math.max(most, distances[nearest]!);
    left.splice(nearest, 1);
  }
  return most;
}

describe.each(Object.entries(MATRICES))("a matrix %s", (what, make) => {
  it.each([1, 2, 3, 5, 8, 17, 40, 60])("of %i rows falls apart into its invariant subspaces, at every scale", (n) => {
    for (const scale of n > 20 ? [1] : [1, 1e10, 1e-10, 1e150, 1e-150]) {
      const a = make(n, 7 * n).map((value) => value * scale);
      const size = norm(a.map((value) => value / scale)) * scale;
      const { t, q, blocks } = realSchur(a, n)!;
      const close = (x: Float64Array, y: Float64Array, bound: number) =>
        expect(norm(x.map((value, at) => (value - y[at]!) / scale)) * scale).toBeLessThanOrEqual(bound);
      const sizes = blocks.slice(1).map((next, at) => next - blocks[at]!);
      expect(sizes.every((count) => count === 1 || count === 2)).toBe(true);
      expect([blocks[0], blocks.at(-1)]).toEqual([0, n]);
      const below = t.filter((_, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        return i > j && !(i === j + 1 && blocks.includes(j) && !blocks.includes(i));
      });
      expect(below.every((value) => value === 0)).toBe(true);
      close(matmul(q, t, n, n, n), matmul(a, q, n, n, n), 1e-14 * n * size);
      expect(norm(matmul(q, q, n, n, n, { transposeA: true }).map((v, at) => v - (at % (n + 1) ? 0 : 1)))).toBeLessThan(
        1e-14 * n,
      );
      const { vectors, d, blocks: same } = realEigen(a, n)!;
      expect(same).toEqual(blocks);
      close(matmul(a, vectors, n, n, n), matmul(vectors, d, n, n, n), 1e-13 * n * size);
      for (let c = 0; c < n; c++) {
        const length = norm(vectors.filter((_, at) => at % n === c));
        expect(length).toBeLessThan(1 + 1e-12);
        if (blocks.includes(c) && (blocks.includes(c + 1) || c === n)) expect(length).toBeGreaterThan(1 - 1e-12);
      }
      if (UNSURE.includes(what) || Math.abs(Math.log10(scale)) > 50) continue;
      const evd = new EigenvalueDecomposition(
        new Matrix([...Array(n).keys()].map((i) => [...a.subarray(i * n, (i + 1) * n)])),
      );
      const expected = evd.realEigenvalues.map((re, at): [number, number] => [re, evd.imaginaryEigenvalues[at]!]);
      expect(apart(eigenvaluesOf(d, blocks, n), expected)).toBeLessThanOrEqual(1e-11 * size);
    }
  });
});

it("a matrix that is not finite has none", () => {
  expect(realEigen(Float64Array.of(1, Number.NaN, 0, 1), 2)).toBeNull();
  expect(realEigen(Float64Array.of(1, Number.POSITIVE_INFINITY, 0, 1), 2)).toBeNull();
});
