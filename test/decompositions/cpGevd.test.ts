/** Starts of CP by generalised eigenvalues, on the host. */
import { describe, expect, it } from "vitest";
import { congruences, leastOfPairs } from "../../src/decompositions/congruence.js";
import { gevd, gevdGroups } from "../../src/decompositions/cpGevd.js";
import { collinearCp, distance, EXACT, exactCp, kruskal, plantedCp } from "./planted.js";

const size = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1);

describe("generalised eigenvalues", () => {
  it.each(EXACT.filter(({ count, rank }) => count === rank % 4))(
    "find an exact model: $kind factors, rank $rank",
    (which) => {
      const { data, shape } = exactCp(which);
      const start = gevd(data, shape, which.rank, 1)!;
      const full = kruskal(start.factors, shape, which.rank);
      expect(distance(data, full)).toBeLessThan(3e-6);
      expect(start.relativeError).toBeCloseTo(distance(data, full), 9);
      expect(start).toMatchObject({ rank: which.rank, complexPairs: 0 });
    },
  );

  it.each([
    { shape: [6, 7, 8], rank: 1 },
    { shape: [6, 7, 2], rank: 6 },
    { shape: [2, 6, 7], rank: 5 },
    { shape: [4, 5, 6, 3], rank: 4 },
    { shape: [3, 3, 3, 3, 3], rank: 8 },
    { shape: [2, 3, 2, 3, 2, 2], rank: 5 },
    { shape: [8, 1, 9, 3], rank: 3 },
  ])("find the factors of $shape, rank $rank", ({ shape, rank }) => {
    for (const seed of [3, 4, 5]) {
      const { data, factors } = plantedCp(shape, rank, 0, seed);
      const start = gevd(data, shape, rank, seed)!;
      expect(start.relativeError).toBeLessThan(2e-5);
      const of = (some: readonly ArrayLike<number>[]) => some.map((factor) => Float32Array.from(factor));
      expect(leastOfPairs(congruences(of(start.factors), of(factors), rank), rank)).toBeGreaterThan(0.999);
    }
  });

  it("find collinear terms", () => {
    const data = collinearCp([13, 14, 15], 4, 0.95, 1);
    expect(gevd(data, [13, 14, 15], 4, 0)!.relativeError).toBeLessThan(1e-4);
  });

  it("are the same at every scale", () => {
    const { data, shape } = plantedCp([6, 7, 8], 3, 0.1, 2);
    const errors = [1, 1e10, 1e-10].map(
      (scale) =>
        gevd(
          data.map((value) => value * scale),
          shape,
          3,
          0,
        )!.relativeError,
    );
    for (const error of errors) expect(error).toBeCloseTo(errors[0]!, 5);
  });

  it("find fewer terms where the tensor has no more, and none of zeros", () => {
    const { data, shape } = plantedCp([6, 7, 8], 2, 0, 2);
    const start = gevd(data, shape, 4, 0)!;
    expect(start.rank).toBe(2);
    expect(start.relativeError).toBeLessThan(1e-6);
    for (const factor of start.factors)
      expect(factor.filter((_, at) => at % 4 > 1).every((value) => value === 0)).toBe(true);
    expect(gevd(new Float32Array(60), [3, 4, 5], 2, 0)).toBeNull();
  });

  it("tell pairs of complex eigenvalues, and make two terms of each", () => {
    // one pair of slices: the identity, and a rotation by 1 beside the number 3
    const slices = [
      [1, 0, 0, 0, 1, 0, 0, 0, 1],
      [Math.cos(1), -Math.sin(1), 0, Math.sin(1), Math.cos(1), 0, 0, 0, 3],
    ];
    const data = Float32Array.from({ length: 18 }, (_, at) => slices[at % 2]![Math.floor(at / 2)]!);
    const start = gevd(data, [3, 3, 2], 3, 0)!;
    expect(start).toMatchObject({ rank: 3, complexPairs: 1 });
    expect(start.relativeError).toBeGreaterThan(0.1);
    expect(start.relativeError).toBeLessThan(1);
    for (const factor of start.factors) expect(factor.every(Number.isFinite)).toBe(true);
  });

  it("are a start for noise and for columns that are all alike", () => {
    const { data, shape } = plantedCp([9, 8, 7], 3, 0.3, 2);
    expect(gevd(data, shape, 3, 0)!.relativeError).toBeLessThan(0.8);
    expect(gevd(new Float32Array(size(shape)).fill(-2), shape, 3, 0)).toMatchObject({ rank: 1 });
  });

  it("need rows and columns of R entries, and two slices", () => {
    expect(gevdGroups([6, 7, 8], 6)).toEqual([[0], [1], [2]]);
    expect(gevdGroups([6, 7, 8], 7)).toEqual([[1], [2], [0]]);
    expect(gevdGroups([6, 7, 8], 8)).toBeNull();
    expect(gevdGroups([6, 7], 2)).toBeNull();
    expect(gevdGroups([6, 7, 1], 2)).toBeNull();
    expect(gevdGroups([3, 3, 3, 3], 8)).toBeNull();
  });
});
