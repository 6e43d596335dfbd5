/** Cases of the small dense problems inside sweeps, and of entire factorisations as users call them. */
import { eigh, qr, svd } from "../../src/decompositions/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { jacobiSvd, orthogonalise, solveSymmetric, symmetricEigen } from "../../src/ops/index.js";
import type { Case, Inputs, Values } from "../case.js";
import type { Goal } from "../goals.js";
import { values } from "../inputs.js";
import { readAll } from "../ours.js";
import * as reference from "../reference.js";

/** (M + Mᵀ)/2 */
function symmetric(a: Values): Float32Array {
  const n = a.shape[0]!;
  const m = values(a);
  return m.map((value, index) => (value + m[(index % n) * n + Math.floor(index / n)]!) / 2);
}

/** MᵀM/n + I, whose condition number is below ten */
function positive(a: Values): Float32Array {
  const n = a.shape[0]!;
  const m = values(a);
  const out = new Float32Array(n * n);
  for (let k = 0; k < n; k++)
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[i * n + j]! += (m[k * n + i]! * m[k * n + j]!) / n;
  for (let i = 0; i < n; i++) out[i * n + i]! += 1;
  return out;
}

/** M/√n + 2·I, whose condition number is below four, so that methods by the Gram matrix can take part */
function moderate(a: Values): Float32Array {
  const n = a.shape[0]!;
  return values(a).map((value, index) => value / Math.sqrt(n) + (index % (n + 1) === 0 ? 2 : 0));
}

export function eigenCase(n: number): Case {
  const a: Values = { shape: [n, n], seed: 21 };
  return {
    name: `eigen ${n}`,
    shapes: `symmetric ${n}×${n}`,
    flops: 9 * n ** 3,
    bytes: 4 * (2 * n * n + n),
    work: { op: "eigen", a },
    tolerance: 1e-4,
    // above 128 rows: two dispatches a round, at most 14 sweeps
    counts: { dispatches: n <= 128 ? 1 : 4 + 14 * (1 + 2 * (n - 1 + (n % 2))), submits: 1, readbacks: 0 },
    run(s, [x]) {
      const { values: eigenvalues, vectors } = symmetricEigen(s, x!);
      return [eigenvalues, vectors];
    },
    inputs: () => [symmetric(a)],
    reference: ([x]) => reference.spectral(x!, n, n),
  };
}

/** The most dispatches of `orthogonalise` for a square matrix. */
const orthogonalisation = (n: number): number => (n <= 64 ? 1 : 6 + 14 * Math.ceil(n / 32));

export function svdCase(n: number): Case {
  const a: Values = { shape: [n, n], seed: 22 };
  return {
    name: `SVD ${n}`,
    shapes: `${n}×${n}, all of U and V`,
    flops: 22 * n ** 3,
    bytes: 4 * (3 * n * n + n),
    work: { op: "svd", a },
    tolerance: 1e-4,
    // above 128 columns: rounds of blocks of 16 columns, at most 14 sweeps; then U's columns for zero values are orthonormalised
    counts: {
      dispatches: (n <= 128 ? 2 : 5 + 14 * (1 + 2 * Math.ceil(n / 32))) + orthogonalisation(n),
      submits: 1,
      readbacks: 0,
    },
    run(s, [x]) {
      const { values: singular, u, v } = jacobiSvd(s, x!);
      return [singular, u, v];
    },
    inputs: () => [moderate(a)],
    reference: ([x]) => reference.spectral(x!, n, n),
  };
}

/** B·A⁻¹ with A symmetric positive definite, the equation of an ALS update. */
export function choleskyCase(n: number, rows: number): Case {
  const a: Values = { shape: [n, n], seed: 23 };
  const b: Values = { shape: [rows, n], seed: 24 };
  return {
    name: `Cholesky solve ${n}`,
    shapes: `${rows}×${n} · (${n}×${n})⁻¹`,
    flops: n ** 3 / 3 + 2 * rows * n * n,
    bytes: 4 * (n * n + 2 * rows * n),
    work: { op: "cholesky", a, b },
    tolerance: 1e-4,
    counts: { dispatches: 5, submits: 1, readbacks: 0 },
    run: (s, [matrix, right]) => [solveSymmetric(s, matrix!, right!)],
    inputs: () => [positive(a), values(b)],
    reference([matrix, right]: Inputs) {
      const solved = reference.solveRows(Float64Array.from(matrix!), n, Float64Array.from(right!));
      return reference.entries(solved.length, 1, (index) => solved[index]!);
    },
  };
}

export function orthogonaliseCase(rows: number, columns: number): Case {
  const a: Values = { shape: [rows, columns], seed: 25 };
  return {
    name: `orthogonalise ${rows}×${columns}`,
    shapes: `${rows}×${columns} = Q·R`,
    flops: 4 * rows * columns * columns,
    bytes: 4 * (2 * rows * columns + columns * columns),
    work: { op: "orthogonalise", a },
    tolerance: 1e-4,
    counts: { dispatches: 40, submits: 1, readbacks: 0 },
    run(s, [x]) {
      const { q, r } = orthogonalise(s, x!);
      return [q, r];
    },
    inputs: () => [values(a)],
    reference: ([x]) => reference.qr(x!, columns),
  };
}

/** A factorisation as users call it. Its wall time includes its compilation and its readbacks. */
type Factorise = (engine: Engine, a: Tensor) => Promise<Tensor[]>;

/** A case with the work of `inside`, whose kernels are one recording, done by a function that users call. */
const byFunction = (inside: Case, rest: Pick<Case, "name" | "goals" | "counts">, factorise: Factorise): Case => ({
  ...inside,
  ...rest,
  run: undefined,
  async prepare(engine, [data]) {
    const { work } = inside as Case & { work: { a: Values } };
    const a = engine.tensor(work.a.shape, data);
    let results: Tensor[] = [];
    const drop = (): void => {
      for (const result of results.splice(0)) result.destroy();
    };
    return {
      async run(times) {
        for (let i = 0; i < times; i++) {
          drop();
          results = await factorise(engine, a);
        }
        await engine.idle();
      },
      outputs: () => readAll(engine, results),
      destroy() {
        drop();
        a.destroy();
      },
    };
  },
});

export function fullSvdCase(n: number, goals: readonly Goal[] = []): Case {
  // four dispatches a step of the reduction; up to 48 columns one recording, and one readback that inspects the input
  const counts =
    n > 48 ? { dispatches: 60 + 4.25 * n, submits: 11, readbacks: 3 } : { dispatches: 20, submits: 2, readbacks: 1 };
  return byFunction(svdCase(n), { name: `whole SVD ${n}`, goals, counts }, async (engine, a) => {
    const { values: singular, u, v } = await svd(engine, a);
    return [singular, u, v];
  });
}

export function fullEigenCase(n: number, goals: readonly Goal[] = []): Case {
  const counts =
    n > 48 ? { dispatches: 40 + 2.125 * n, submits: 12, readbacks: 4 } : { dispatches: 28, submits: 3, readbacks: 3 };
  return byFunction(eigenCase(n), { name: `whole eigen ${n}`, goals, counts }, async (engine, a) => {
    const { values: eigenvalues, vectors } = await eigh(engine, a);
    return [eigenvalues, vectors];
  });
}

export function fullQrCase(rows: number, columns: number): Case {
  const name = `whole QR ${rows}×${columns}`;
  const counts = { dispatches: 30 + (columns > 64 ? 14 * Math.ceil(columns / 32) : 0), submits: 2, readbacks: 1 };
  return byFunction(orthogonaliseCase(rows, columns), { name, counts }, async (engine, a) => {
    const { q, r } = await qr(engine, a);
    return [q, r];
  });
}
