import fc from "fast-check";
import { EigenvalueDecomposition, Matrix, SVD } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { cholesky, orthogonalise, solveSymmetric, svd, symmetricEigen } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import * as reference from "../reference.js";

const toMatrix = (values: ArrayLike<number>, rows: number, columns: number): Matrix =>
  Matrix.from1DArray(rows, columns, Array.from(values));

/** ‖QᵀQ − I‖ by its largest entry */
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

describe("orthogonalise", () => {
  it.each([
    [1, 1],
    [7, 3],
    [29, 29],
    [211, 17],
    [5003, 23],
    [600, 128],
    [400, 150],
  ])("gives orthonormal columns and A = QR for %i×%i", async (rows, columns) => {
    const engine = await testEngine();
    const data = reference.randomArray(rows * columns, rows);
    using a = engine.tensor([rows, columns], data);
    const [q, r] = await evaluate(engine, (s) => {
      const result = orthogonalise(s, a);
      return [result.q, result.r];
    });
    expect(orthonormality(q!, rows, columns)).toBeLessThan(1e-5);
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
    const engine = await testEngine();
    const [rows, columns] = [300, 12];
    const values = Array.from({ length: columns }, (_, i) => condition ** (-i / (columns - 1)));
    const data = planted(rows, columns, values, 5);
    using a = engine.tensor([rows, columns], data);
    const [q, r] = await evaluate(engine, (s) => {
      const result = orthogonalise(s, a);
      return [result.q, result.r];
    });
    expect(orthonormality(q!, rows, columns)).toBeLessThan(1e-5);
    expectClose(
      toMatrix(q!, rows, columns)
        .mmul(toMatrix(r!, columns, columns))
        .to1DArray(),
      data,
      1e-5,
    );
  });

  it("copes with dependent, zero and badly scaled columns", async () => {
    const engine = await testEngine();
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
  it.each([1, 2, 3, 8, 17, 40, 64, 101])("agrees with f64 for n = %i", async (n) => {
    const engine = await testEngine();
    const random = toMatrix(reference.randomArray(n * n, n), n, n);
    const symmetric = Matrix.add(random, random.transpose());
    using a = engine.tensor([n, n], Float32Array.from(symmetric.to1DArray()));
    const [values, vectors] = await evaluate(engine, (s) => {
      const result = symmetricEigen(s, a);
      return [result.values, result.vectors];
    });
    const expected = new EigenvalueDecomposition(symmetric).realEigenvalues.sort((x, y) => y - x);
    expectClose(values!, expected, 1e-5);
    const v = toMatrix(vectors!, n, n);
    expect(orthonormality(vectors!, n, n)).toBeLessThan(2e-5);
    // relative to the largest entry; the norm that rounding goes by is √n times that
    const rebuilt = v.mmul(Matrix.diag(Array.from(values!))).mmul(v.transpose());
    expectClose(rebuilt.to1DArray(), symmetric.to1DArray(), 4e-6 * Math.sqrt(n) + 1e-6);
    for (let j = 0; j < n; j++) {
      const column = v.getColumn(j);
      expect(Math.max(...column)).toBeGreaterThan(0.999 * Math.max(...column.map(Math.abs)));
    }
  });

  it("leaves diagonal, zero and repeated eigenvalues alone", async () => {
    const engine = await testEngine();
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
  it.each([
    [1, 1],
    [5, 3],
    [3, 5],
    [13, 13],
    [200, 31],
    [31, 200],
    [90, 64],
    [150, 129],
  ])("agrees with f64 for %i×%i", async (m, n) => {
    const engine = await testEngine();
    const k = Math.min(m, n);
    const data = reference.randomArray(m * n, m + n);
    using a = engine.tensor([m, n], data);
    const [u, values, v] = await evaluate(engine, (s) => {
      const result = svd(s, a);
      return [result.u, result.values, result.v];
    });
    const { diagonal } = new SVD(toMatrix(data, m, n), { autoTranspose: true });
    expectClose(values!, diagonal.sort((x, y) => y - x).slice(0, k), 1e-5);
    expect(orthonormality(u!, m, k)).toBeLessThan(2e-5);
    expect(orthonormality(v!, n, k)).toBeLessThan(2e-5);
    const product = toMatrix(u!, m, k)
      .mmul(Matrix.diag(Array.from(values!)))
      .mmul(toMatrix(v!, n, k).transpose());
    expectClose(product.to1DArray(), data, 2e-5);
  });

  it("finds singular values down to 1e-6 of the largest", async () => {
    const engine = await testEngine();
    const planned = Array.from({ length: 7 }, (_, i) => 10 ** -i);
    const data = planted(120, 7, planned, 11);
    using a = engine.tensor([120, 7], data);
    const values = await evaluate(engine, (s) => svd(s, a).values);
    // rounding the matrix to f32 moves its singular values a little already
    const exact = new SVD(toMatrix(data, 120, 7)).diagonal;
    values.forEach((value, i) => {
      expect(Math.abs(value - exact[i]!)).toBeLessThan(4e-7);
    });
  });

  it("stays finite without full rank", async () => {
    const engine = await testEngine();
    using a = engine.tensor([30, 6], planted(30, 6, [2, 1], 4));
    const [u, values, v] = await evaluate(engine, (s) => {
      const result = svd(s, a);
      return [result.u, result.values, result.v];
    });
    expect([...u!, ...values!, ...v!].every(Number.isFinite)).toBe(true);
    expect(values![0]).toBeCloseTo(2, 5);
    expect(values![1]).toBeCloseTo(1, 5);
    expect(Math.max(...values!.slice(2))).toBeLessThan(1e-5);
    using zero = engine.tensor([4, 3]);
    const none = await evaluate(engine, (s) => svd(s, zero).values);
    expect([...none]).toEqual([0, 0, 0]);
  });
});

describe("solveSymmetric", () => {
  it.each(["cholesky", "pseudoInverse"] as const)("solves every row by %s", async (method) => {
    const engine = await testEngine();
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
          expectClose(solved, x.to1DArray(), 2e-3);
        },
      ),
      { numRuns: 12 },
    );
  });

  it("adds the ridge that is asked for", async () => {
    const engine = await testEngine();
    using a = engine.tensor([2, 2], [2, 0, 0, 4]);
    using b = engine.tensor([1, 2], [1, 1]);
    const solved = await evaluate(engine, (s) => solveSymmetric(s, a, b, { ridge: 0.5 }));
    expectClose(solved, [1 / 3.5, 1 / 5.5], 1e-6);
  });

  it("stays finite where the matrix is singular; the pseudo-inverse gives the shortest solution", async () => {
    const engine = await testEngine();
    using a = engine.tensor([3, 3], [1, 1, 0, 1, 1, 0, 0, 0, 0]);
    using b = engine.tensor([2, 3], [2, 2, 0, 4, 4, 0]);
    const byCholesky = await evaluate(engine, (s) => solveSymmetric(s, a, b));
    expect([...byCholesky].every(Number.isFinite)).toBe(true);
    const shortest = await evaluate(engine, (s) => solveSymmetric(s, a, b, { method: "pseudoInverse" }));
    expectClose(shortest, [1, 1, 0, 2, 2, 0], 1e-5);
  });
});

describe("cholesky", () => {
  it.each([1, 2, 5, 33, 128, 200])("factorises n = %i", async (n) => {
    const engine = await testEngine();
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
});
