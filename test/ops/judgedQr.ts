/** Judges `orthogonalise` on difficult matrices, by norms in f64. */
import { expect } from "vitest";
import type { Engine } from "../../src/gpu/index.js";
import { Findings, judgeQr, norm, recordedOps } from "../decompositions/judged.js";
import { zooMatrix } from "../fixtures/zoo.js";
import { randomArray } from "../reference.js";

type Make = (m: number, n: number) => Float32Array;
const zoo =
  (member: string): Make =>
  (m, n) =>
    zooMatrix(member, m, n);
const byColumn =
  (scale: (j: number) => number): Make =>
  (m, n) =>
    randomArray(m * n, m + n).map((value, at) => value * scale(at % n));

export const MATRICES: Record<string, Make> = {
  random: byColumn(() => 1),
  "times 1e30": byColumn(() => 1e30),
  "times 1e-30": byColumn(() => 1e-30),
  "columns of 1e-12 beside 1e8": byColumn((j) => [1e-12, 1e8, 1][j % 3]!),
  "graded rows": zoo("graded rows"),
  dependent: zoo("columns twice"),
  "of rank 3": zoo("integers of rank 3"),
  "columns 1e-3 apart": zoo("columns 1e-3 apart"),
  "columns 1e-5 apart": zoo("columns 1e-5 apart"),
  "columns 1e-7 apart": zoo("columns 1e-7 apart"),
  "zero columns": zoo("zero columns"),
  "zero rows": zoo("zero rows"),
  "one entry, the last": zoo("one entry"),
  zeros: zoo("zeros"),
};

/** Compares every column of A − QR with the norm of that column of A: Householder's QR has this bound (Higham 2002, theorem 19.4). */
function judgeColumns(findings: Findings, a: Float32Array, m: number, n: number, q: Float32Array, r: Float32Array) {
  for (let j = 0; j < n; j++) {
    const rest = Float64Array.from({ length: m }, (_, i) => {
      let value = a[i * n + j]!;
      for (let k = 0; k <= j; k++) value -= q[i * n + k]! * r[k * n + j]!;
      return value;
    });
    const size = norm(Float64Array.from({ length: m }, (_, i) => a[i * n + j]!));
    findings.atMost(`column ${j} of A − QR`, size ? norm(rest) / size : norm(rest), 2e-6);
  }
  for (let k = 0; k < n; k++) findings.require(`diagonal ${k} of R is negative`, r[k * n + k]! >= 0);
}

/** Asserts the accuracy of the QR of the named matrices, m×n. */
export async function judgeOrthogonalise(engine: Engine, names: readonly string[], m: number, n: number) {
  const all: string[] = [];
  for (const name of names) {
    const data = MATRICES[name]!(m, n);
    using a = engine.tensor([m, n], data);
    const { q, r } = await recordedOps.qr(engine, a);
    const findings = new Findings();
    judgeQr(findings, data, [m, n], { q, r });
    judgeColumns(findings, data, m, n, q as Float32Array, r as Float32Array);
    try {
      findings.check();
    } catch (error) {
      all.push(`${name}: ${(error as Error).message}`);
    }
  }
  expect(all).toEqual([]);
}
