import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { describe, it } from "vitest";
import { testEngine } from "../engine.js";
import { records } from "../fixtures/lapack.js";
import { MEMBERS, SYMMETRIC_MEMBERS, zooMatrix, zooSymmetric } from "../fixtures/zoo.js";
import fc from "../property.js";
import { Findings, judged, judgeEigen, judgeQr, judgeSvd, recordedOps, testMatrices, testSymmetric } from "./judged.js";

describe("svd and qr of the zoo", () => testMatrices(records.quick));
describe("eigh of the zoo", () => testSymmetric(records.quickSymmetric));

/** One workgroup does these, in sweeps. */
const isSmall = (...sides: number[]): boolean => Math.min(...sides) <= 40;
describe("the recorded ops, of the zoo", () => {
  const small = records.quick.filter(({ matrix: [, m, n] }) => isSmall(m, n));
  testMatrices(small, recordedOps);
  const symmetric = records.quickSymmetric.filter(({ matrix: [, n] }) => isSmall(n));
  testSymmetric(symmetric, recordedOps);
});

/** Falling. */
const exactEigenvalues = (a: Matrix): number[] =>
  new EigenvalueDecomposition(a, { assumeSymmetric: true }).realEigenvalues.sort((x, y) => y - x);

/** Of [0 A; Aᵀ 0] the largest eigenvalues: ml-matrix' own SVD never ends on some matrices of rank 1, such as 20×32 ones. */
function exactSingularValues(data: Float32Array, m: number, n: number): number[] {
  const both = Matrix.zeros(m + n, m + n);
  data.forEach((value, at) => {
    const [i, j] = [Math.floor(at / n), m + (at % n)];
    both.set(i, j, value);
    both.set(j, i, value);
  });
  // of a matrix of zeros none is negative
  return exactEigenvalues(both)
    .slice(0, Math.min(m, n))
    .map((value) => Math.max(value, 0));
}

describe("of any shape", () => {
  // beyond 48 another way is taken
  const side = fc.integer({ min: 1, max: 72 });
  const all = (count: number): number[] => Array.from({ length: count }, (_, k) => k);

  it("svd and qr keep what is promised", async () => {
    const engine = await testEngine();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...MEMBERS), side, side, async (member, m, n) => {
        const data = zooMatrix(member, m, n);
        using a = engine.tensor([m, n], data);
        const exact = exactSingularValues(data, m, n);
        const findings = new Findings();
        const right = { exact, places: all(Math.min(m, n)), best: {} };
        judgeSvd(findings, data, [m, n], await judged.svd(engine, a), right);
        judgeQr(findings, data, [m, n], await judged.qr(engine, a));
        findings.check();
      }),
      { numRuns: 40 },
    );
  });

  it("eigh keeps what is promised", async () => {
    const engine = await testEngine();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...SYMMETRIC_MEMBERS), side, async (member, n) => {
        const data = zooSymmetric(member, n);
        using a = engine.tensor([n, n], data);
        const exact = exactEigenvalues(Matrix.from1DArray(n, n, [...data]));
        const findings = new Findings();
        const right = { exact, places: all(n), largest: Math.max(...exact.map(Math.abs)) };
        judgeEigen(findings, data, n, await judged.eigh(engine, a), right);
        findings.check();
      }),
      { numRuns: 40 },
    );
  });
});
