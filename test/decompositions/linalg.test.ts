import fc from "fast-check";
import { EigenvalueDecomposition, Matrix, SingularValueDecomposition } from "ml-matrix";
import { describe, it } from "vitest";
import { testEngine } from "../engine.js";
import { records } from "../fixtures/lapack.js";
import { MEMBERS, SYMMETRIC_MEMBERS, zooMatrix, zooSymmetric } from "../fixtures/zoo.js";
import { Findings, judged, judgeEigen, judgeQr, judgeSvd, recordedOps, testMatrices, testSymmetric } from "./judged.js";

describe("SVD and QR of the zoo", () => testMatrices(records.quick));
describe("symmetric eigen of the zoo", () => testSymmetric(records.quickSymmetric));

// one workgroup does these
describe("recorded SVD and QR of the zoo", () =>
  testMatrices(
    records.quick.filter(({ matrix: [, m, n] }) => Math.min(m, n) <= 40),
    recordedOps,
  ));
describe("recorded symmetric eigen of the zoo", () =>
  testSymmetric(
    records.quickSymmetric.filter(({ matrix: [, n] }) => n <= 40),
    recordedOps,
  ));

describe("of any shape", () => {
  const side = fc.integer({ min: 1, max: 48 });
  const all = (count: number): number[] => Array.from({ length: count }, (_, k) => k);

  it("SVD and QR keep what is promised", async () => {
    const engine = await testEngine();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...MEMBERS), side, side, async (member, m, n) => {
        const data = zooMatrix(member, m, n);
        using a = engine.tensor([m, n], data);
        const exact = new SingularValueDecomposition(Matrix.from1DArray(m, n, [...data]), { autoTranspose: true })
          .diagonal;
        const findings = new Findings();
        const right = { exact, places: all(Math.min(m, n)), best: {} };
        judgeSvd(findings, data, [m, n], await judged.svd(engine, a), right);
        if (m >= n) judgeQr(findings, data, [m, n], await judged.qr(engine, a));
        findings.check();
      }),
      { numRuns: 40 },
    );
  });

  it("symmetric eigen keeps what is promised", async () => {
    const engine = await testEngine();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...SYMMETRIC_MEMBERS), side, async (member, n) => {
        const data = zooSymmetric(member, n);
        using a = engine.tensor([n, n], data);
        const oracle = new EigenvalueDecomposition(Matrix.from1DArray(n, n, [...data]), { assumeSymmetric: true });
        const exact = oracle.realEigenvalues.sort((x, y) => y - x);
        const findings = new Findings();
        const right = { exact, places: all(n), largest: Math.max(...exact.map(Math.abs)) };
        judgeEigen(findings, data, n, await judged.eigh(engine, a), right);
        findings.check();
      }),
      { numRuns: 40 },
    );
  });
});
