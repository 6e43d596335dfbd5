import { Matrix, SVD } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { evbmf } from "../../src/decompositions/evbmf.js";
import { randomArray } from "../reference.js";

/** Planted rank plus Gaussian-like noise (sums of uniforms) of the given deviation. */
function planted(
  rows: number,
  columns: number,
  rank: number,
  strength: number,
  deviation: number,
  seed: number,
): Matrix {
  const u = randomArray(rows * rank, seed);
  const v = randomArray(columns * rank, seed + 1);
  const noise = [2, 3, 4, 5, 6, 7].map((offset) => randomArray(rows * columns, seed + offset));
  const scale = deviation / Math.sqrt(6 / 3);
  return new Matrix(
    Array.from({ length: rows }, (_, i) =>
      Array.from({ length: columns }, (__, j) => {
        let value = 0;
        for (let r = 0; r < rank; r++) value += strength * u[i * rank + r]! * v[j * rank + r]!;
        return value + scale * noise.reduce((sum, matrix) => sum + matrix[i * columns + j]!, 0);
      }),
    ),
  );
}

describe("evbmf", () => {
  it.each([
    [60, 40, 3],
    [40, 60, 3],
    [30, 200, 5],
    [200, 30, 5],
    [50, 50, 0],
  ])("finds the planted rank of %i×%i, rank %i, and the noise", (rows, columns, rank) => {
    const matrix = planted(rows, columns, rank, 3, 0.5, 17 + rank);
    const { diagonal } = new SVD(matrix, { autoTranspose: true });
    const result = evbmf(diagonal, rows, columns);
    expect(result.rank).toBe(rank);
    expect(Math.sqrt(result.noiseVariance) / 0.5).toBeGreaterThan(0.93);
    expect(Math.sqrt(result.noiseVariance) / 0.5).toBeLessThan(1.07);
    const sorted = [...diagonal].sort((a, b) => b - a);
    for (const [i, value] of result.values.entries()) expect(value).toBeLessThan(sorted[i]!);
  });

  it("does not depend on the orientation", () => {
    const { diagonal } = new SVD(planted(35, 90, 4, 2, 0.4, 5), { autoTranspose: true });
    expect(evbmf(diagonal, 35, 90)).toEqual(evbmf(diagonal, 90, 35));
  });

  it("takes the noise as given, and says rank 0 of nothing", () => {
    const { diagonal } = new SVD(planted(40, 30, 2, 3, 0.5, 9), { autoTranspose: true });
    expect(evbmf(diagonal, 40, 30, 0.25).rank).toBe(2);
    expect(evbmf(diagonal, 40, 30, 1e6).rank).toBe(0);
    expect(evbmf(new Float64Array(30), 40, 30).rank).toBe(0);
  });

  it("shrinks what stands out of the noise, as the analytic solution does", () => {
    const [rows, columns, noise] = [40, 30, 0.25];
    const { rank, values } = evbmf([20, 15, 6, ...new Array<number>(27).fill(1)], rows, columns, noise);
    expect(rank).toBe(2);
    expect(values[0]).toBeCloseTo(19.11519, 5);
    // where the derivative of the free energy is 0
    for (const [i, s] of [20, 15].entries()) {
      const product = values[i]! * s;
      expect(((product + rows * noise) * (product + columns * noise)) / (product * s ** 2)).toBeCloseTo(1, 12);
    }
  });

  it("wants all singular values", () => {
    expect(() => evbmf([3, 2], 40, 30)).toThrow(/2 singular values for a 40×30 matrix, needs all 30/);
  });
});
