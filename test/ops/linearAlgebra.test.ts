import { EigenvalueDecomposition, Matrix, SVD } from "ml-matrix";
import { describe, expect, it } from "vitest";
import {
  cholesky,
  jacobiSvd,
  orthogonalise,
  rightSingularVectors,
  solveSymmetric,
  symmetricEigen,
  triangleOf,
} from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, testEngine } from "../engine.js";
import fc from "../property.js";
import * as reference from "../reference.js";

const toMatrix = (values: ArrayLike<number>, rows: number, columns: number): Matrix =>
  Matrix.from1DArray(rows, columns, Array.from(values));

/** The largest entry of |QᵀQ − I|. */
function orthonormality(q: ArrayLike<number>, rows: number, columns: number): number {
  const m = toMatrix(q, rows, columns);
  return Matrix.sub(m.transpose().mmul(m), Matrix.eye(columns)).abs().max();
}

/** U·diag(values)·Vᵀ with random orthonormal U and V. */
function planted(rows: number, columns: number, values: number[], seed: number): Float32Array {
  const orthonormal = (n: number, start: number) =>
    new SVD(toMatrix(reference.randomArray(n * values.length, start), n, values.length), { autoTranspose: true })
      .leftSingularVectors;
  const u = orthonormal(rows, seed);
  const v = orthonormal(columns, seed + 1);
  return Float32Array.from(u.mmul(Matrix.diag(values)).mmul(v.transpose()).to1DArray());
}

/** Asserts that the entry of largest magnitude in every column is positive. */
function expectSigns(vectors: ArrayLike<number>, rows: number, columns: number): void {
  const m = toMatrix(vectors, rows, columns);
  for (let j = 0; j < columns; j++) {
    const column = m.getColumn(j);
    expect(Math.max(...column)).toBeGreaterThanOrEqual(0.999 * Math.max(...column.map(Math.abs)));
  }
}

/** Scales of matrices. The squares of the smallest and the largest are no f32 numbers. */
const scales = [1e-30, 1e-22, 1e-12, 1, 1e12, 1e20, 1e30];

describe.each([
  ["with its features", testEngine],
  ["without subgroups", plainEngine],
] as const)("on an adapter %s:", (kind, open) => {
  const software = kind === "with its features";
  /** Without subgroups wide workgroups are emulated, which is slow: only the cases that take another path run there. */
  const cases = <T>(all: T[], emulated: (item: T) => boolean) => (software ? all : all.filter(emulated));

  describe("orthogonalise", () => {
    it.each(
      cases(
        [
          [1, 1],
          [7, 3],
          [29, 29],
          [211, 17],
          [5003, 23],
          [30_000, 16],
          [600, 128],
          [400, 150],
        ],
        ([rows]) => rows! < 300,
      ),
    )("gives orthonormal columns and A = QR for %i×%i", async (rows, columns) => {
      const engine = await open();
      const data = reference.randomArray(rows * columns, rows);
      using a = engine.tensor([rows, columns], data);
      const [q, r, triangle] = await evaluate(engine, (s) => {
        const result = orthogonalise(s, a);
        return [result.q, result.r, triangleOf(s, a)];
      });
      expectClose(triangle!, r!, 1e-6);
      expect(orthonormality(q!, rows, columns)).toBeLessThan(2e-6);
      expectClose(
        toMatrix(q!, rows, columns)
          .mmul(toMatrix(r!, columns, columns))
          .to1DArray(),
        data,
        1e-5,
      );
      for (let i = 1; i < columns; i++)
        for (let j = 0; j < i; j++) expect(Math.abs(r![i * columns + j]!)).toBeLessThan(1e-6);
    });

    it.each([1e3, 1e5, 1e7])("stays orthonormal at condition %f", async (condition) => {
      const engine = await open();
      const [rows, columns] = [300, 12];
      const values = Array.from({ length: columns }, (_, i) => condition ** (-i / (columns - 1)));
      const data = planted(rows, columns, values, 5);
      using a = engine.tensor([rows, columns], data);
      const [q, r] = await evaluate(engine, (s) => {
        const result = orthogonalise(s, a);
        return [result.q, result.r];
      });
      expect(orthonormality(q!, rows, columns)).toBeLessThan(2e-6);
      expectClose(
        toMatrix(q!, rows, columns)
          .mmul(toMatrix(r!, columns, columns))
          .to1DArray(),
        data,
        1e-5,
      );
    });

    it("copes with dependent, zero and badly scaled columns", async () => {
      const engine = await open();
      const rows = 50;
      const data = new Float32Array(rows * 5);
      const random = reference.randomArray(rows * 3, 3);
      for (let i = 0; i < rows; i++) {
        const [x, y, z] = [random[i * 3]!, random[i * 3 + 1]!, random[i * 3 + 2]!];
        data.set([x * 1e-12, x * 1e8, 0, y, z], i * 5);
      }
      using a = engine.tensor([rows, 5], data);
      const [q, r] = await evaluate(engine, (s) => {
        const result = orthogonalise(s, a);
        return [result.q, result.r];
      });
      expect([...q!, ...r!].every(Number.isFinite)).toBe(true);
      const product = toMatrix(q!, rows, 5).mmul(toMatrix(r!, 5, 5));
      for (let column = 0; column < 5; column++) {
        const expected = Array.from({ length: rows }, (_, i) => data[i * 5 + column]!);
        expectClose(product.getColumn(column), expected, 2e-5);
      }
    });
  });

  describe("symmetricEigen", () => {
    it.each(cases([1, 2, 3, 8, 17, 40, 64, 101, 128, 131], (n) => n < 50))("agrees with f64 for n = %i", async (n) => {
      const engine = await open();
      const random = toMatrix(reference.randomArray(n * n, n), n, n);
      const symmetric = Matrix.add(random, random.transpose());
      using a = engine.tensor([n, n], Float32Array.from(symmetric.to1DArray()));
      const [values, vectors] = await evaluate(engine, (s) => {
        const result = symmetricEigen(s, a);
        return [result.values, result.vectors];
      });
      const expected = new EigenvalueDecomposition(symmetric).realEigenvalues.sort((x, y) => y - x);
      expectClose(values!, expected, 3e-6);
      const v = toMatrix(vectors!, n, n);
      expect(orthonormality(vectors!, n, n)).toBeLessThan(2e-6);
      // expectClose compares with the largest entry, but rounding is relative to the norm, up to √n times that entry
      const rebuilt = v.mmul(Matrix.diag(Array.from(values!))).mmul(v.transpose());
      expectClose(rebuilt.to1DArray(), symmetric.to1DArray(), 1e-6 * Math.sqrt(n) + 1e-6);
      expectSigns(vectors!, n, n);
    });

    it("finds a planted spectrum with clusters, in order", async () => {
      const engine = await open();
      const planned = [5, 5, 5, 2, 1 + 1e-6, 1, 0.5, 0, 0, -1, -1, -3];
      const n = planned.length;
      const { leftSingularVectors: q } = new SVD(toMatrix(reference.randomArray(n * n, 7), n, n));
      const data = q.mmul(Matrix.diag(planned)).mmul(q.transpose()).to1DArray();
      using a = engine.tensor([n, n], data);
      const [values, vectors] = await evaluate(engine, (s) => {
        const result = symmetricEigen(s, a);
        return [result.values, result.vectors];
      });
      expectClose(values!, planned, 1e-6);
      expect(orthonormality(vectors!, n, n)).toBeLessThan(1e-6);
    });

    it("keeps the digits of small eigenvalues of a graded matrix", async () => {
      const engine = await open();
      const n = 6;
      const half = toMatrix(reference.randomArray(2 * n * n, 3), 2 * n, n);
      const well = half.transpose().mmul(half);
      const data = Float32Array.from(well.to1DArray(), (v, e) => v * 10 ** -(Math.floor(e / n) + (e % n)));
      using a = engine.tensor([n, n], data);
      const values = await evaluate(engine, (s) => symmetricEigen(s, a).values);
      // f64 has enough digits for eigenvalues that differ by a factor of 1e10
      const exact = new EigenvalueDecomposition(toMatrix(data, n, n), { assumeSymmetric: true }).realEigenvalues.sort(
        (x, y) => y - x,
      );
      values.forEach((value, i) => {
        expect(Math.abs(value / exact[i]! - 1)).toBeLessThan(i < 5 ? 1e-5 : 1e-3);
      });
    });

    it("does not depend on the scale of the matrix", async () => {
      const engine = await open();
      const n = 9;
      const random = toMatrix(reference.randomArray(n * n, 2), n, n);
      const symmetric = Matrix.add(random, random.transpose());
      const expected = new EigenvalueDecomposition(symmetric).realEigenvalues.sort((x, y) => y - x);
      for (const scale of scales) {
        using a = engine.tensor(
          [n, n],
          symmetric.to1DArray().map((v) => v * scale),
        );
        const values = await evaluate(engine, (s) => symmetricEigen(s, a).values);
        expectClose(
          Array.from(values, (v) => v / scale),
          expected,
          1e-6,
        );
      }
    });

    it("is finite for a matrix of zeros", async () => {
      const engine = await open();
      using a = engine.tensor([5, 5]);
      const [values, vectors] = await evaluate(engine, (s) => {
        const result = symmetricEigen(s, a);
        return [result.values, result.vectors];
      });
      expect([...values!]).toEqual([0, 0, 0, 0, 0]);
      expect(orthonormality(vectors!, 5, 5)).toBe(0);
    });

    it("leaves diagonal, zero and repeated eigenvalues alone", async () => {
      const engine = await open();
      using a = engine.tensor([4, 4], [0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0, 0, 0, 0, -5]);
      const [values, vectors] = await evaluate(engine, (s) => {
        const result = symmetricEigen(s, a);
        return [result.values, result.vectors];
      });
      expect([...values!]).toEqual([3, 3, 0, -5]);
      expect(orthonormality(vectors!, 4, 4)).toBeLessThan(1e-6);
    });
  });

  describe("svd", () => {
    it.each(
      cases(
        [
          [1, 1],
          [5, 3],
          [3, 5],
          [13, 13],
          [200, 31],
          [31, 200],
          [90, 64],
          [131, 131],
          [150, 129],
        ],
        ([m, n]) => m === n || m! < 10,
      ),
    )("agrees with f64 for %i×%i", async (m, n) => {
      const engine = await open();
      const k = Math.min(m, n);
      const data = reference.randomArray(m * n, m + n);
      using a = engine.tensor([m, n], data);
      const [u, values, v] = await evaluate(engine, (s) => {
        const result = jacobiSvd(s, a);
        return [result.u, result.values, result.v];
      });
      const { diagonal } = new SVD(toMatrix(data, m, n), { autoTranspose: true });
      expectClose(values!, diagonal.sort((x, y) => y - x).slice(0, k), 1e-6);
      expect(orthonormality(u!, m, k)).toBeLessThan(3e-6);
      expect(orthonormality(v!, n, k)).toBeLessThan(3e-6);
      expectSigns(u!, m, k);
      const product = toMatrix(u!, m, k)
        .mmul(Matrix.diag(Array.from(values!)))
        .mmul(toMatrix(v!, n, k).transpose());
      expectClose(product.to1DArray(), data, 1e-6 * Math.sqrt(k) + 1e-6);
      if (m < n) return expect(() => rightSingularVectors(engine.scheduler(), a)).toThrow(/as many rows or more/);
      const [values2, right] = await evaluate(engine, (s) => {
        const result = rightSingularVectors(s, a);
        return [result.values, result.v];
      });
      expectClose(values2!, values!, 1e-6);
      // that of U·diag(values): orthogonal columns with the singular values as norms
      const turned = toMatrix(data, m, n).mmul(toMatrix(right!, n, n));
      const squares = Matrix.diag(Array.from(values!, (value) => value ** 2));
      expectClose(turned.transpose().mmul(turned).to1DArray(), squares.to1DArray(), 2e-6 * Math.sqrt(k));
    });

    it.each([
      [120, 7],
      [7, 7],
      [7, 120],
    ])("keeps the digits of singular values 1e-6 of the largest (%i×%i, graded)", async (m, n) => {
      const engine = await open();
      const data = reference.randomArray(m * n, 5).map((v, e) => v * 10 ** -(m < n ? Math.floor(e / n) : e % n));
      using a = engine.tensor([m, n], data);
      const values = await evaluate(engine, (s) => jacobiSvd(s, a).values);
      const exact = new SVD(toMatrix(data, m, n), { autoTranspose: true }).diagonal.sort((x, y) => y - x);
      values.forEach((value, i) => {
        expect(Math.abs(value / exact[i]! - 1)).toBeLessThan(2e-6);
      });
    });

    it("does not depend on the scale of a square matrix", async () => {
      const engine = await open();
      const n = 8;
      const data = reference.randomArray(n * n, 2);
      const expected = new SVD(toMatrix(data, n, n)).diagonal;
      for (const scale of scales) {
        using a = engine.tensor(
          [n, n],
          data.map((v) => v * scale),
        );
        const values = await evaluate(engine, (s) => jacobiSvd(s, a).values);
        expectClose(
          Array.from(values, (v) => v / scale),
          expected,
          1e-6,
        );
      }
    });

    it("finds singular values down to 1e-6 of the largest", async () => {
      const engine = await open();
      const planned = Array.from({ length: 7 }, (_, i) => 10 ** -i);
      const data = planted(120, 7, planned, 11);
      using a = engine.tensor([120, 7], data);
      const values = await evaluate(engine, (s) => jacobiSvd(s, a).values);
      // compared with the singular values of the f32 matrix, because rounding to f32 moves them
      const exact = new SVD(toMatrix(data, 120, 7)).diagonal;
      values.forEach((value, i) => {
        expect(Math.abs(value - exact[i]!)).toBeLessThan(4e-7);
      });
    });

    it("stays finite without full rank", async () => {
      const engine = await open();
      using a = engine.tensor([30, 6], planted(30, 6, [2, 1], 4));
      const [u, values, v] = await evaluate(engine, (s) => {
        const result = jacobiSvd(s, a);
        return [result.u, result.values, result.v];
      });
      expect([...u!, ...values!, ...v!].every(Number.isFinite)).toBe(true);
      expect(values![0]).toBeCloseTo(2, 5);
      expect(values![1]).toBeCloseTo(1, 5);
      expect(Math.max(...values!.slice(2))).toBeLessThan(1e-5);
      using zero = engine.tensor([4, 3]);
      const none = await evaluate(engine, (s) => jacobiSvd(s, zero).values);
      expect([...none]).toEqual([0, 0, 0]);
    });
  });

  describe("solveSymmetric", () => {
    it.each(["cholesky", "pseudoInverse"] as const)("solves every row by %s", async (method) => {
      const engine = await open();
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 40 }),
          fc.integer({ min: 1, max: 60 }),
          fc.nat(1000),
          async (n, m, seed) => {
            const half = toMatrix(reference.randomArray(n * 2 * n, seed), 2 * n, n);
            const gramian = Matrix.add(half.transpose().mmul(half), Matrix.eye(n).mul(0.1));
            const x = toMatrix(reference.randomArray(m * n, seed + 1), m, n);
            using a = engine.tensor([n, n], Float32Array.from(gramian.to1DArray()));
            using b = engine.tensor([m, n], Float32Array.from(x.mmul(gramian).to1DArray()));
            const solved = await evaluate(engine, (s) => solveSymmetric(s, a, b, { method }));
            const { realEigenvalues } = new EigenvalueDecomposition(gramian, { assumeSymmetric: true });
            const condition = Math.max(...realEigenvalues) / Math.min(...realEigenvalues);
            // about 20 here; rounding b alone moves x by 6e-8 times that
            expectClose(solved, x.to1DArray(), 1e-6 * condition);
          },
        ),
        { numRuns: 12 },
      );
    });

    it("adds the ridge that is asked for", async () => {
      const engine = await open();
      using a = engine.tensor([2, 2], [2, 0, 0, 4]);
      using b = engine.tensor([1, 2], [1, 1]);
      const solved = await evaluate(engine, (s) => solveSymmetric(s, a, b, { ridge: 0.5 }));
      expectClose(solved, [1 / 3.5, 1 / 5.5], 1e-6);
    });

    it("stays finite where the matrix is singular; the pseudo-inverse gives the shortest solution", async () => {
      const engine = await open();
      using a = engine.tensor([3, 3], [1, 1, 0, 1, 1, 0, 0, 0, 0]);
      using b = engine.tensor([2, 3], [2, 2, 0, 4, 4, 0]);
      const byCholesky = await evaluate(engine, (s) => solveSymmetric(s, a, b));
      expect([...byCholesky].every(Number.isFinite)).toBe(true);
      const shortest = await evaluate(engine, (s) => solveSymmetric(s, a, b, { method: "pseudoInverse" }));
      expectClose(shortest, [1, 1, 0, 2, 2, 0], 1e-5);
    });
  });

  describe("cholesky", () => {
    it.each(cases([1, 2, 5, 33, 128, 200], (n) => n < 50))("factorises n = %i", async (n) => {
      const engine = await open();
      const half = toMatrix(reference.randomArray(2 * n * n, n), 2 * n, n);
      const gramian = half.transpose().mmul(half);
      using g = engine.tensor([n, n], Float32Array.from(gramian.to1DArray()));
      const [r, inverse] = await evaluate(engine, (s) => {
        const result = cholesky(s, g);
        return [result.r, result.inverse];
      });
      const upper = toMatrix(r!, n, n);
      expectClose(upper.transpose().mmul(upper).to1DArray(), gramian.to1DArray(), 1e-5);
      expectClose(upper.mmul(toMatrix(inverse!, n, n)).to1DArray(), Matrix.eye(n).to1DArray(), 1e-4);
    });

    it("does not depend on the scale of the matrix", async () => {
      const engine = await open();
      const n = 6;
      const half = toMatrix(reference.randomArray(2 * n * n, 4), 2 * n, n);
      const gramian = half.transpose().mmul(half);
      for (const scale of [1e-25, 1e-12, 1, 1e25]) {
        using g = engine.tensor(
          [n, n],
          gramian.to1DArray().map((v) => v * scale),
        );
        const upper = toMatrix(await evaluate(engine, (s) => cholesky(s, g).r), n, n);
        expectClose(
          upper
            .transpose()
            .mmul(upper)
            .to1DArray()
            .map((v) => v / scale),
          gramian.to1DArray(),
          1e-6,
        );
      }
    });
  });
});
