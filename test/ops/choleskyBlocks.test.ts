/** Cholesky factorisations by blocks, against f64 on the host and the factorisation by one workgroup, at sizes that fill no block or slab of blocks. */
import { describe, expect, it } from "vitest";
import { Engine } from "../../src/gpu/index.js";
import { type CholeskyOptions, cholesky, solveCholesky, solveSymmetric } from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, siblingEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** A symmetric matrix in f32, and how it is factorised. */
interface Case {
  n: number;
  g: Float32Array;
  options?: CholeskyOptions;
  /** columns that depend on those before them */
  dependent?: readonly number[];
}

/** HDH for a diagonal D and a product H of two reflections: a matrix with the eigenvalues D. */
function withEigenvalues(n: number, values: (index: number) => number): Float32Array {
  const g = new Float64Array(n * n);
  for (let i = 0; i < n; i++) g[i * n + i] = values(i);
  for (const seed of [1, 2]) {
    const v = randomArray(n, seed);
    const squared = v.reduce((sum, x) => sum + x * x, 0);
    const reflect = (at: (i: number) => number) => {
      let dot = 0;
      for (let i = 0; i < n; i++) dot += v[i]! * g[at(i)]!;
      for (let i = 0; i < n; i++) g[at(i)]! -= ((2 * dot) / squared) * v[i]!;
    };
    for (let k = 0; k < n; k++) reflect((i) => i * n + k);
    for (let k = 0; k < n; k++) reflect((i) => k * n + i);
  }
  return symmetric(n, (i, j) => g[i * n + j]!);
}

function symmetric(n: number, entry: (row: number, column: number) => number): Float32Array {
  const g = new Float32Array(n * n);
  for (let i = 0; i < n; i++) for (let j = i; j < n; j++) g[i * n + j] = g[j * n + i] = entry(i, j);
  return g;
}

const wellConditioned = (n: number): Float32Array => withEigenvalues(n, (i) => 1 + (i % 7));
const illConditioned = (n: number): Float32Array => withEigenvalues(n, (i) => 10 ** ((-6 * i) / (n - 1)));

/** Columns `to` made those `from`, of a matrix AᵀA. */
function duplicated(g: Float32Array, n: number, columns: ReadonlyMap<number, number>): Float32Array {
  const from = (i: number) => columns.get(i) ?? i;
  return symmetric(n, (i, j) => g[from(i) * n + from(j)]!);
}

function scaled(g: Float32Array, n: number, scale: (index: number) => number): Float32Array {
  return symmetric(n, (i, j) => g[i * n + j]! * scale(i) * scale(j));
}

const grade = (i: number): number => 10 ** (((i * 5) % 13) - 6);
const cases: Record<string, () => Case> = {
  "two blocks": () => ({ n: 33, g: wellConditioned(33) }),
  "blocks that are full": () => ({ n: 128, g: wellConditioned(128) }),
  "a slab of blocks and a column": () => ({ n: 129, g: wellConditioned(129) }),
  "a prime": () => ({ n: 257, g: wellConditioned(257) }),
  "a large prime": () => ({ n: 577, g: wellConditioned(577) }),
  "a condition of 1e6": () => ({ n: 311, g: illConditioned(311), options: { threshold: 0 } }),
  "a condition of 1e6 and a ridge": () => ({ n: 401, g: illConditioned(401), options: { ridge: 1e-4 } }),
  "columns that others in other blocks are": () => ({
    ...{ n: 161, dependent: [7, 40, 64, 96, 160], options: { threshold: 1e-5 } },
    g: duplicated(
      wellConditioned(161),
      161,
      new Map([
        [7, 3],
        [40, 3],
        [64, 63],
        [96, 31],
        [160, 0],
      ]),
    ),
  }),
  "columns of zeros": () => ({
    n: 97,
    g: scaled(wellConditioned(97), 97, (i) => (i === 0 || i === 31 || i === 32 || i === 96 ? 0 : 1)),
    dependent: [0, 31, 32, 96],
  }),
  zeros: () => ({ n: 65, g: new Float32Array(65 ** 2), dependent: Array.from({ length: 65 }, (_, i) => i) }),
  "zeros in columns of norm 1, with a ridge": () => ({
    ...{ n: 65, g: new Float32Array(65 ** 2), options: { unit: true, ridge: 1e-3 } },
    dependent: Array.from({ length: 65 }, (_, i) => i),
  }),
  "columns of norm 1": () => ({ n: 160, g: scaled(wellConditioned(160), 160, grade), options: { unit: true } }),
  "columns of norm 1, some of which depend, with a threshold": () => ({
    ...{ n: 100, dependent: [35, 99], options: { unit: true, threshold: 1e-5 } },
    g: scaled(
      duplicated(
        wellConditioned(100),
        100,
        new Map([
          [35, 2],
          [99, 64],
        ]),
      ),
      100,
      grade,
    ),
  }),
  "columns of norm 1 and a ridge": () => ({
    n: 131,
    g: scaled(illConditioned(131), 131, grade),
    options: { unit: true, ridge: 1e-4 },
  }),
  "a matrix whose halves differ by rounding": () => {
    const [g, noise] = [wellConditioned(99), randomArray(99 ** 2, 5)];
    return { n: 99, g: g.map((value, at) => value + 1e-4 * noise[at]!) };
  },
  "small numbers": () => ({ n: 70, g: wellConditioned(70).map((value) => value * 1e-25) }),
  "large numbers": () => ({ n: 70, g: wellConditioned(70).map((value) => value * 1e25) }),
};

/**
 * Largest errors of R and R⁻¹: of RᵀR − (G + ridge), relative to the diagonal, or with `unit` entry by entry to the columns' norms; and of R·R⁻¹ − I in
 * columns that do not depend.
 */
function errorsOf({ n, g, options = {}, dependent = [] }: Case, r: Float32Array, inverse: Float32Array) {
  const { unit = false, ridge = 0 } = options;
  let trace = 0;
  let largest = 0;
  for (let i = 0; i < n; i++) {
    trace += unit ? Number(g[i * n + i] !== 0) : g[i * n + i]!;
    largest = Math.max(largest, g[i * n + i]!);
  }
  const scaleOf = (i: number): number => Math.sqrt(unit ? g[i * n + i]! : largest) || 1;
  const isDependent = new Set(dependent);
  let residual = 0;
  let identity = 0;
  const row = new Float64Array(n);
  // row i of RᵀR, then of R·R⁻¹
  for (let i = 0; i < n; i++) {
    row.fill(0);
    for (let k = 0; k <= i; k++) {
      const factor = r[k * n + i]!;
      for (let j = i; j < n; j++) row[j]! += factor * r[k * n + j]!;
    }
    for (let j = i; j < n; j++) {
      const mean = (g[i * n + j]! + g[j * n + i]!) / 2;
      const added = i === j && !isDependent.has(i) ? (ridge * trace) / n / (unit ? 1 : largest) : 0;
      residual = Math.max(residual, Math.abs((row[j]! - mean) / scaleOf(i) / scaleOf(j) - added));
    }
    row.fill(0);
    for (let k = i; k < n; k++) {
      const factor = r[i * n + k]!;
      for (let j = k; j < n; j++) row[j]! += factor * inverse[k * n + j]!;
    }
    if (isDependent.has(i)) continue;
    for (let j = i; j < n; j++)
      if (!isDependent.has(j)) identity = Math.max(identity, Math.abs(row[j]! - Number(i === j)));
  }
  return { residual, identity };
}

describe.each([
  ["with its features", testEngine, Object.keys(cases)],
  // emulated, and slow
  ["without subgroups", plainEngine, ["a slab of blocks and a column", "columns of zeros"]],
] as const)("Cholesky by blocks on an adapter %s", (_, open, names) => {
  it.each(names)("factorises %s as one workgroup does", async (name) => {
    const { device } = await open();
    const problem = cases[name]!();
    const { n, g, options, dependent = [] } = problem;
    const results = [];
    for (const choleskyAlone of [0, "always"]) {
      const engine = new Engine(device, { variants: { choleskyAlone } });
      using matrix = engine.tensor([n, n], g);
      const [r, inverse] = await evaluate(engine, (s) => {
        const factors = cholesky(s, matrix, options);
        return [factors.r, factors.inverse];
      });
      expect([...r!, ...inverse!].every(Number.isFinite)).toBe(true);
      for (let i = 0; i < n; i++) {
        const isZero = dependent.includes(i);
        expect(r![i * n + i] === 0, `R[${i}, ${i}]`).toBe(isZero);
        for (let j = 0; j < n; j++) {
          if (j < i && (r![i * n + j] || inverse![i * n + j])) throw new Error(`not upper triangular at ${i}, ${j}`);
          if (isZero && (r![i * n + j] || inverse![i * n + j] || inverse![j * n + i]))
            throw new Error(`column ${i} depends, but is not zero at ${j}`);
        }
      }
      results.push(errorsOf(problem, r!, inverse!));
    }
    const [blocks, alone] = results as [(typeof results)[0], (typeof results)[0]];
    // f32 rounds by 6e-8; the sums that are subtracted have a few hundred terms
    expect(blocks.residual).toBeLessThan(2e-6);
    expect(blocks.residual).toBeLessThan(1.5 * alone.residual + 3e-7);
    expect(blocks.identity).toBeLessThan(2 * alone.identity + 1e-6);
  });
});

it("is what solves a large system", async () => {
  const engine = await testEngine();
  const [n, m] = [193, 5];
  const g = wellConditioned(n);
  const x = randomArray(m * n, 3);
  const b = new Float32Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) for (let k = 0; k < n; k++) b[i * n + j]! += x[i * n + k]! * g[k * n + j]!;
  using a = engine.tensor([n, n], g);
  using right = engine.tensor([m, n], b);
  for (const solve of [solveCholesky, solveSymmetric])
    expectClose(await evaluate(engine, (s) => solve(s, a, right)), x, 5e-6);
});

it("writes the inverse where it is asked to, and factorises one matrix of a batch", async () => {
  const engine = await siblingEngine({ variants: { choleskyAlone: 0 } });
  const n = 40;
  using g = engine.tensor([1, n, n], wellConditioned(n));
  using inverse = engine.tensor([1, n, n]);
  const [r, written] = await evaluate(engine, (s) => {
    const factors = cholesky(s, g, { inverse });
    expect(factors.inverse).toBe(inverse);
    expect(factors.r.shape).toEqual([1, n, n]);
    return [factors.r, inverse];
  });
  expect(errorsOf({ n, g: wellConditioned(n) }, r!, written!).identity).toBeLessThan(1e-6);
});

it("takes three dispatches for 32 columns", async () => {
  const engine = await siblingEngine({ variants: { choleskyAlone: 0 } });
  for (const [n, dispatches] of [
    [20, 3],
    [64, 7],
    [573, 55],
  ] as const) {
    using s = engine.scheduler("dispatches");
    cholesky(s, s.tensor([n, n]));
    expect(s.dispatches).toBe(dispatches);
  }
});
