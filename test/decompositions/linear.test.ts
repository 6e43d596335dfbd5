/** What svd, eigh, qr, lstsq and pca have in common, and what the last two promise, against f64. */
import { describe, expect, it } from "vitest";
import { eigh, type LinalgOptions, lstsq, pca, qr, svd } from "../../src/decompositions/index.js";
import type { DType, Engine, Tensor } from "../../src/gpu/index.js";
import { freshEngine, testEngine } from "../engine.js";
import { zooMatrix } from "../fixtures/zoo.js";
import { svd as exactSvd, pseudoSolve } from "../reference/svd.js";
import { matmul, randomArray } from "../reference.js";
import { BOUNDS, departure, Findings, judged, judgeEigen, judgeQr, judgeSvd, norm } from "./judged.js";

type Numbers = ArrayLike<number>;
const minus = (a: Numbers, b: Numbers): Float64Array =>
  Float64Array.from({ length: a.length }, (_, k) => a[k]! - b[k]!);
const places = (count: number): number[] => Array.from({ length: count }, (_, k) => k);
/** Whole numbers from -100 to 100: 2⁻¹⁴⁹ times them is exact. */
const coarse = (size: number, seed: number): Float32Array =>
  randomArray(size, seed).map((value) => Math.round(100 * value));
/** M + Mᵀ */
const symmetric = (n: number, seed: number): Float32Array => {
  const a = coarse(n * n, seed);
  return a.map((value, at) => value + a[(at % n) * n + Math.floor(at / n)]!);
};

/** What a call gives: its tensors, and by which power of the scale of A each number is multiplied. */
interface Given {
  values: [numbers: Numbers, power: number][];
}
interface Row {
  name: string;
  call(engine: Engine, a: Tensor<DType>, options?: LinalgOptions): Promise<{ destroy(): void }>;
  read(engine: Engine, a: Tensor<DType>): Promise<Given>;
  /** what the error says that is beyond f32 */
  beyond: RegExp;
}

const rightSide = (engine: Engine, a: Tensor<DType>): Tensor => engine.tensor([a.shape[0]!], coarse(a.shape[0]!, 77));
const list = async (engine: Engine, tensors: Tensor[], powers: number[]): Promise<Given["values"]> =>
  (await engine.read(tensors)).map((values, index) => [values, powers[index]!]);

const ROWS: Row[] = [
  {
    name: "svd",
    call: svd,
    async read(engine, a) {
      using result = await svd(engine, a);
      return { values: await list(engine, [result.u, result.values, result.v], [0, 1, 0]) };
    },
    beyond: /svd: the singular values of the result would be \S+e\+3[89], above 3\.4e38/,
  },
  {
    name: "eigh",
    call: eigh,
    async read(engine, a) {
      using result = await eigh(engine, a);
      return { values: await list(engine, [result.values, result.vectors], [1, 0]) };
    },
    beyond: /eigh: the eigenvalues of the result would be \S+e\+3[89], above 3\.4e38/,
  },
  {
    name: "qr",
    call: qr,
    async read(engine, a) {
      using result = await qr(engine, a);
      return { values: await list(engine, [result.q, result.r], [0, 1]) };
    },
    beyond: /qr: the R of the result would be \S+e\+3[89], above 3\.4e38/,
  },
  {
    name: "lstsq",
    async call(engine, a, options) {
      using b = rightSide(engine, a);
      return await lstsq(engine, a, b, options);
    },
    async read(engine, a) {
      using b = rightSide(engine, a);
      using result = await lstsq(engine, a, b);
      const { rank, relativeError, singularValues } = result;
      return {
        values: [...(await list(engine, [result.x], [-1])), [singularValues, 1], [[rank, relativeError], 0]],
      };
    },
    beyond: /lstsq: the singular values of the result would be \S+e\+3[89], above 3\.4e38/,
  },
  {
    name: "pca",
    call: pca,
    async read(engine, a) {
      using result = await pca(engine, a, { components: 3 });
      const tensors = await list(engine, [result.components, result.scores, result.mean], [0, 1, 1]);
      return { values: [...tensors, [result.explainedVariance, 2], [result.explainedVarianceRatio, 0]] };
    },
    beyond: /pca: the scores of the result would be \S+e\+3[89], above 3\.4e38/,
  },
];

describe.each(ROWS)("$name", ({ name, call, read, beyond }) => {
  it.each([
    [9, [-149, -120, -23, -10, 9, 40, 100, 119]],
    [52, [-149, -23, 100]],
  ])("is the same at every scale, bit for bit: %i×%i", async (n, exponents) => {
    const engine = await testEngine();
    const data = symmetric(n, 5);
    using a = engine.tensor([n, n], data);
    const base = await read(engine, a);
    for (const exponent of exponents) {
      using scaled = engine.tensor(
        [n, n],
        data.map((value) => value * 2 ** exponent),
      );
      if (name === "lstsq" && exponent < -120) {
        await expect(read(engine, scaled)).rejects.toThrow(/lstsq: the solution of the result .* above 3\.4e38/);
        continue;
      }
      const result = await read(engine, scaled);
      for (const [index, [values, power]] of base.values.entries()) {
        const kind = values instanceof Float64Array ? Float64Array : Float32Array;
        const expected = Array.from(values, (value) => value * 2 ** (exponent * power));
        expect(kind.from(result.values[index]![0]), `result ${index} at 2^${exponent}`).toEqual(kind.from(expected));
      }
    }
  });

  it("says what leaves f32, and leaves no memory behind", async () => {
    const engine = await testEngine();
    // signs that no mean takes away
    const data = Float32Array.from({ length: 36 }, (_, at) => (Math.floor(at / 6) % 2 === (at % 6) % 2 ? 3e38 : -3e38));
    using a = engine.tensor([6, 6], data);
    await call(engine, a).catch(() => {});
    const { live } = engine.memory();
    await expect(call(engine, a)).rejects.toThrow(beyond);
    expect(engine.memory().live).toBe(live);
  });

  it("names what is no matrix, not finite, or another engine's, and leaves no memory behind", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    using bad = engine.tensor([2, 2], [1, Number.NaN, 2, 3], { label: "A" });
    await expect(call(engine, bad)).rejects.toThrow(
      `${name}: A 2×2 has 1 entry that is not finite, NaN at [0, 1]; remove or replace it`,
    );
    bad.destroy();
    for (const shape of [[8], [2, 2, 2]]) {
      using cube = engine.tensor(shape, new Float32Array(8).fill(1));
      await expect(call(engine, cube)).rejects.toThrow(new RegExp(`^${name}: .*order ${shape.length}, needs a matrix`));
    }
    using a = engine.tensor([2, 2], [1, 2, 2, 3]);
    using other = await freshEngine();
    await expect(call(other, a)).rejects.toThrow(/belongs to another engine/);
    await expect(call(engine, a, { sweeps: 3 } as LinalgOptions)).rejects.toThrow(/sweeps/);
    await expect(call(engine, a, { onProgress: 3 } as never)).rejects.toThrow(/onProgress/);
    a.destroy();
    await expect(call(engine, a)).rejects.toThrow(/was destroyed/);
    expect(engine.memory().live).toBe(live);
  });

  it("takes integers and bytes by value", async () => {
    const engine = await testEngine();
    const bytes = Uint8Array.from(symmetric(7, 6), (value) => Math.abs(value));
    using floats = engine.tensor([7, 7], Float32Array.from(bytes));
    const base = await read(engine, floats);
    for (const data of [bytes, Int32Array.from(bytes), Uint32Array.from(bytes)]) {
      using a = engine.tensor([7, 7], data);
      expect(await read(engine, a)).toEqual(base);
    }
  });

  it.each([6, 60])("tells how far it is, up to 1, and frees all: %i×%i", async (n) => {
    const engine = await testEngine();
    using a = engine.tensor([n, n], symmetric(n, 8));
    (await call(engine, a)).destroy();
    const { live } = engine.memory();
    const told: number[] = [];
    (await call(engine, a, { onProgress: (done) => void told.push(done) })).destroy();
    expect(engine.memory().live).toBe(live);
    expect(told.at(-1)).toBe(1);
    expect(told.every((done, k) => done > (told[k - 1] ?? 0))).toBe(true);
    if (n > 48 && name !== "qr") expect(told.length).toBeGreaterThan(4);
  });

  it("stops before it starts, and between submits, with the signal's reason", async () => {
    const engine = await testEngine();
    const reason = new Error("enough");
    using small = engine.tensor([6, 6], symmetric(6, 8));
    using large = engine.tensor([300, 300], symmetric(300, 9));
    const { live } = engine.memory();
    await expect(call(engine, small, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(call(engine, large, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    if (name !== "qr") {
      const controller = new AbortController();
      const told: number[] = [];
      const onProgress = (done: number) => {
        told.push(done);
        if (told.length === 2) controller.abort(reason);
      };
      await expect(call(engine, large, { signal: controller.signal, onProgress })).rejects.toBe(reason);
      expect(told.length).toBe(2);
      const failing = () => {
        throw reason;
      };
      await expect(call(engine, large, { onProgress: failing })).rejects.toBe(reason);
    }
    expect(engine.memory().live).toBe(live);
  });
});

describe("svd, eigh and qr of", () => {
  const SHAPES = [
    [1, 1],
    [1, 7],
    [7, 1],
    [5, 5],
    [6, 70],
    [70, 6],
    [64, 64],
    [50, 90],
    [90, 50],
  ] as const;

  it.each(SHAPES)("zeros, %i×%i", async (m, n) => {
    const engine = await testEngine();
    const data = new Float32Array(m * n);
    using a = engine.tensor([m, n], data);
    const findings = new Findings();
    const result = await judged.svd(engine, a);
    judgeSvd(findings, data, [m, n], result, {
      exact: new Float32Array(Math.min(m, n)),
      places: places(Math.min(m, n)),
      best: {},
    });
    const factors = await judged.qr(engine, a);
    judgeQr(findings, data, [m, n], factors);
    for (const values of [result.values, factors.r])
      expect(Array.from(values).every((value) => value === 0)).toBe(true);
    if (m === n) {
      const eigen = await judged.eigh(engine, a);
      judgeEigen(findings, data, n, eigen, { exact: new Float32Array(n), places: places(n), largest: 0 });
      expect(Array.from(eigen.values).every((value) => value === 0)).toBe(true);
    }
    findings.check();
  });

  it.each([
    [1, 7],
    [5, 70],
    [47, 48],
    [49, 51],
    [66, 130],
  ])("a wide matrix, %i×%i", async (m, n) => {
    const engine = await testEngine();
    for (const member of ["uniform", "columns 1e-6 apart", "graded rows", "zero columns"]) {
      const data = zooMatrix(member, m, n);
      using a = engine.tensor([m, n], data);
      const findings = new Findings();
      judgeQr(findings, data, [m, n], await judged.qr(engine, a));
      const exact = exactSvd(data, m, n).values;
      judgeSvd(findings, data, [m, n], await judged.svd(engine, a), { exact, places: places(m), best: {} });
      findings.check();
    }
  });

  it.each([3, -3, 2 ** -140, 3e38])("one number, %f", async (value) => {
    const engine = await testEngine();
    using a = engine.tensor([1, 1], [value]);
    const size = Math.fround(Math.abs(value));
    const { u, values, v } = await judged.svd(engine, a);
    expect([...Array.from(u), ...Array.from(values), ...Array.from(v)]).toEqual([1, size, Math.sign(value)]);
    const eigen = await judged.eigh(engine, a);
    expect([...Array.from(eigen.values), ...Array.from(eigen.vectors)]).toEqual([Math.fround(value), 1]);
    const { q, r } = await judged.qr(engine, a);
    expect([...Array.from(q), ...Array.from(r)]).toEqual([Math.sign(value), size]);
  });
});

describe("eigh", () => {
  it("takes the mean of A and Aᵀ where rounding sets them apart, and refuses what is not symmetric or square", async () => {
    const engine = await testEngine();
    const data = symmetric(8, 3);
    using near = engine.tensor(
      [8, 8],
      data.map((value, at) => value * (1 + 1e-6 * (at % 3))),
    );
    using a = engine.tensor([8, 8], data);
    const [ofNear, exact] = [await judged.eigh(engine, near), await judged.eigh(engine, a)];
    expect(norm(minus(ofNear.values, exact.values)) / norm(exact.values)).toBeLessThan(1e-5);
    const { live } = engine.memory();
    using skew = engine.tensor([2, 2], [1, 2, 3, 4]);
    await expect(eigh(engine, skew)).rejects.toThrow(
      /eigh: .*2×2 differs from its transpose by 0\.\d+ of its norm, needs a symmetric matrix/,
    );
    skew.destroy();
    using tall = engine.tensor([3, 2], [1, 2, 3, 4, 5, 6]);
    await expect(eigh(engine, tall)).rejects.toThrow(/eigh: .*3×2, needs a square matrix/);
    tall.destroy();
    expect(engine.memory().live).toBe(live);
  });
});

describe("lstsq", () => {
  /** Its answer and f64's, and how far the answer is from it. */
  async function solved(
    data: Float32Array,
    [m, n]: readonly [number, number],
    right: Float32Array,
    { rank = Math.min(m, n), rcond }: { rank?: number; rcond?: number } = {},
  ) {
    const engine = await testEngine();
    using a = engine.tensor([m, n], data);
    const columns = right.length / m;
    using b = engine.tensor([m, columns], right);
    using result = await lstsq(engine, a, b, rcond === undefined ? {} : { rcond });
    const x = (await engine.read(result.x)) as Float32Array;
    expect(result.x.shape).toEqual([n, columns]);
    const exact = pseudoSolve(data, right, [m, n], rank);
    const residual = (of: Numbers) => norm(minus(right, matmul(data, of, m, n, columns))) / (norm(right) || 1);
    const { relativeError, singularValues } = result;
    const size = (singularValues[0]! * norm(x)) / (norm(right) || 1);
    expect(Math.abs(relativeError - residual(x)), "what is told of the residual").toBeLessThan(1e-6 + 1e-8 * size);
    return { result, x, exact, size, singularValues, residual: residual(x), best: residual(exact) };
  }

  it.each([
    [1, 1, 1],
    [20, 7, 1],
    [7, 20, 1],
    [12, 12, 3],
    [200, 30, 4],
    [30, 200, 4],
    [90, 60, 2],
    [60, 90, 2],
  ])("of %i×%i and %i right sides gives f64's shortest solution", async (m, n, columns) => {
    const data = randomArray(m * n, m + n);
    const { result, x, exact, size, singularValues, residual, best } = await solved(
      data,
      [m, n],
      randomArray(m * columns, 3),
    );
    const { values } = exactSvd(data, m, n);
    const condition = values[0]! / values.at(-1)!;
    expect(result.rank).toBe(Math.min(m, n));
    expect(norm(minus(x, exact)) / norm(exact)).toBeLessThan(1e-6 * condition);
    expect(norm(minus(singularValues, values)) / values[0]!).toBeLessThan(1e-6 * Math.sqrt(values.length));
    expect(residual).toBeLessThanOrEqual(best + 1e-6 + 1e-7 * size);
  });

  it.each([
    [2, 2, 1],
    [3, 3, 2],
    [3, 3, 1],
    [5, 4, 2],
    [30, 12, 3],
    [12, 30, 3],
    [80, 60, 10],
    [60, 80, 10],
  ])("of %i×%i of rank %i finds the rank and the shortest solution", async (m, n, rank) => {
    for (let seed = 1; seed <= (m > 50 ? 1 : 5); seed++) {
      const small = (size: number, of: number) => randomArray(size, of).map((value) => Math.round(5 * value) || 1);
      const left = small(m * rank, seed);
      const data = Float32Array.from(matmul(left, small(rank * n, seed + 50), m, rank, n));
      const { values } = exactSvd(data, m, n);
      const actual = values.filter((value) => value > 1e-9 * values[0]!).length;
      const outcome = await solved(data, [m, n], randomArray(2 * m, seed), { rank: actual });
      expect(outcome.result.rank).toBe(actual);
      const condition = values[0]! / values[actual - 1]!;
      expect(norm(minus(outcome.x, outcome.exact)) / norm(outcome.exact)).toBeLessThan(2e-6 * condition);
    }
  });

  it("takes a vector, and zeros", async () => {
    const engine = await testEngine();
    using a = engine.tensor([3, 2], [1, 0, 0, 2, 0, 0]);
    using b = engine.tensor([3], [3, 4, 12]);
    using result = await lstsq(engine, a, b);
    expect(result.x.shape).toEqual([2]);
    expect([...(await result.x.read())]).toEqual([3, 2]);
    expect(result.relativeError).toBeCloseTo(12 / 13, 6);
    expect([...result.singularValues]).toEqual([2, 1]);
    using zeros = engine.tensor([3, 2]);
    using none = await lstsq(engine, zeros, b);
    expect([...(await none.x.read())]).toEqual([0, 0]);
    expect(none).toMatchObject({ rank: 0, relativeError: 1 });
    using nothing = engine.tensor([3, 1]);
    using zero = await lstsq(engine, a, nothing);
    expect([...(await zero.x.read())]).toEqual([0, 0]);
    expect(zero).toMatchObject({ rank: 2, relativeError: 0 });
  });

  it("counts singular values by rcond", async () => {
    const data = Float32Array.of(1, 0, 0, 0, 1e-2, 0, 0, 0, 1e-5);
    const right = Float32Array.of(1, 1, 1);
    for (const [rcond, rank] of [
      [0.1, 1],
      [1e-3, 2],
      [1e-6, 3],
      [0, 3],
    ] as const) {
      const { result, x, exact } = await solved(data, [3, 3], right, { rcond, rank });
      expect(result.rank).toBe(rank);
      expect(norm(minus(x, exact)) / norm(exact)).toBeLessThan(1e-6);
    }
  });

  it.each(["1 + noise", "1000 + noise", "graded columns", "gaussian", "columns 1e-3 apart"])(
    "leaves the least residual of %s",
    async (member) => {
      for (const [m, n] of [
        [100, 20],
        [70, 55],
      ] as const) {
        const data = zooMatrix(member, m, n);
        // a line of it, and what no x reaches
        const reached = matmul(data, randomArray(n, 2), m, n, 1);
        const other = randomArray(m, 4);
        const right = Float32Array.from(reached, (value, i) => value / norm(reached) + (0.1 * other[i]!) / norm(other));
        const { residual, best, result, x } = await solved(data, [m, n], right);
        // singular values that are not counted leave more
        const counted = residualOf(data, [m, n], right, result.rank);
        expect(residual).toBeLessThanOrEqual(counted * (1 + 1e-3) + 2e-6);
        expect(best).toBeLessThanOrEqual(residual + 1e-12);
        expect(norm(x)).toBeLessThan(2 * norm(pseudoSolve(data, right, [m, n], result.rank)));
      }
    },
  );

  const residualOf = (data: Float32Array, [m, n]: readonly [number, number], right: Float32Array, rank: number) =>
    norm(minus(right, matmul(data, pseudoSolve(data, right, [m, n], rank), m, n, 1))) / norm(right);

  it.each([
    [1e-30, 1],
    [1e30, 1],
    [1, 1e30],
    [1, 1e-30],
    [1e30, 1e30],
    [1e-30, 1e-30],
    [1e25, 1e-10],
  ])("does not depend on the scales %f of A and %f of b", async (ofA, ofB) => {
    const [m, n] = [15, 6];
    const data = randomArray(m * n, 5).map((value) => value * ofA);
    const right = randomArray(m, 6).map((value) => value * ofB);
    const { x, exact } = await solved(data, [m, n], right);
    expect(norm(minus(x, exact)) / norm(exact)).toBeLessThan(3e-6);
  });

  it("says what does not fit, leaves f32 or is no tensor, and leaves no memory behind", async () => {
    const engine = await testEngine();
    using a = engine.tensor([3, 2], [1, 2, 3, 4, 5, 7]);
    using b = engine.tensor([3], [1, 2, 3]);
    (await lstsq(engine, a, b)).destroy();
    const { live } = engine.memory();
    const failing = async (error: RegExp, shape: number[], values: number[], left = a, options = {}) => {
      using right = engine.tensor(shape, values, { label: "b" });
      await expect(lstsq(engine, left, right, options)).rejects.toThrow(error);
    };
    await failing(/lstsq: b is 2, needs 3 rows as A \(3×2\) has/, [2], [1, 2]);
    await failing(/lstsq: b is 2×3, needs 3 rows/, [2, 3], [1, 2, 3, 4, 5, 6]);
    await failing(/lstsq: b is 3×1×1, needs/, [3, 1, 1], [1, 2, 3]);
    await failing(/b 3 has 1 entry that is not finite, NaN at \[1\]/, [3], [1, Number.NaN, 3]);
    await failing(/lstsq: rcond/, [3], [1, 2, 3], a, { rcond: -1 });
    await failing(/lstsq: rcond/, [3], [1, 2, 3], a, { rcond: Number.NaN });
    await expect(lstsq(engine, a, undefined as unknown as Tensor)).rejects.toThrow(
      /^lstsq: b is undefined, needs a tensor: call lstsq\(engine, a, b, options\)/,
    );
    {
      using tiny = engine.tensor([2, 2], [1e-20, 0, 0, 1e-20]);
      await failing(/lstsq: the solution of the result would be 1\.00e\+40, above 3\.4e38/, [2], [1e20, 1], tiny);
      // singular values that rcond would have cut
      const diagonal = Float32Array.from({ length: 3600 }, (_, at) => (at % 61 ? 0 : at < 3599 ? 1 : 1e-37));
      using split = engine.tensor([60, 60], diagonal);
      const right = new Array<number>(60).fill(1e4);
      await failing(/lstsq: the solution is above 3\.4e38/, [60], right, split, { rcond: 0 });
    }
    expect(engine.memory().live).toBe(live);
  });
});

describe("pca", () => {
  /** Against the f64 SVD of what f64 centres. */
  async function compared(data: Float32Array, samples: number, features: number, components?: number) {
    const engine = await testEngine();
    using x = engine.tensor([samples, features], data);
    using result = await pca(engine, x, components === undefined ? {} : { components });
    const [directions, scores, mean] = (await engine.read([result.components, result.scores, result.mean])) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const count = result.explainedVariance.length;
    expect(result.components.shape).toEqual([features, count]);
    expect(result.scores.shape).toEqual([samples, count]);
    // from the first sample on, which a large constant cancels with
    const beyond = Float64Array.from(data, (value, at) => value - data[at % features]!);
    const rest = Float64Array.from({ length: features }, (_, j) => {
      let total = 0;
      for (let i = 0; i < samples; i++) total += beyond[i * features + j]! / samples;
      return total;
    });
    const average = rest.map((value, j) => data[j]! + value);
    const centred = beyond.map((value, at) => value - rest[at % features]!);
    const exact = exactSvd(centred, samples, features);
    const variance = exact.values.map((value) => value ** 2 / (samples - 1));
    const total = variance.reduce((sum, value) => sum + value, 0);
    return { result, count, directions, scores, mean, average, centred, exact, variance, total };
  }

  type Compared = Awaited<ReturnType<typeof compared>>;
  function check(
    { result, count, directions, scores, mean, average, centred, exact, variance, total }: Compared,
    samples: number,
    features: number,
  ) {
    expect(departure(directions, features, count)[0]).toBeLessThanOrEqual(BOUNDS.orthonormal);
    for (const [j, value] of mean.entries())
      expect(Math.abs(value - average[j]!)).toBeLessThanOrEqual(
        1.2e-7 * Math.abs(average[j]!) + 1e-6 * exact.values[0]!,
      );
    for (const [c, value] of result.explainedVariance.entries()) {
      expect(Math.abs(value - variance[c]!)).toBeLessThan(4e-6 * variance[0]! + 1e-300);
      expect(Math.abs(result.explainedVarianceRatio[c]! - variance[c]! / (total || 1))).toBeLessThan(4e-6);
    }
    // what is left of the centred samples is what the best directions leave, and scores are those along the directions
    const along = matmul(centred, directions, samples, features, count);
    expect(norm(minus(along, scores))).toBeLessThanOrEqual(3e-6 * norm(centred));
    const rest = norm(minus(centred, matmul(scores, directions, samples, count, features, { transposeB: true })));
    const least = norm(exact.values.slice(count));
    expect(rest).toBeLessThanOrEqual(least * (1 + 1e-3) + 2e-6 * norm(centred));
    for (let c = 0; c < count; c++) {
      const column = Array.from({ length: samples }, (_, i) => scores[i * count + c]!);
      const most = Math.max(...column.map(Math.abs));
      if (most > 1e-5 * exact.values[0]!) expect(Math.max(...column) / most, `sign of ${c}`).toBeGreaterThan(1 - 1e-6);
    }
  }

  it.each([
    [2, 1],
    [2, 5],
    [40, 1],
    [40, 7],
    [7, 40],
    [9, 9],
    [300, 12],
    [70, 60],
  ])("of %i samples of %i features is f64's", async (samples, features) => {
    const data = randomArray(samples * features, 5).map((value, at) => value / (1 + (at % features)) + (at % features));
    const outcome = await compared(data, samples, features);
    expect(outcome.count).toBe(Math.min(samples, features));
    check(outcome, samples, features);
    const sum = outcome.result.explainedVarianceRatio.reduce((total, value) => total + value, 0);
    expect(sum).toBeCloseTo(1, 6);
    const two = await compared(data, samples, features, 1);
    expect(two.count).toBe(1);
    check(two, samples, features);
  });

  it.each([1e3, 1e6, -3e6])("keeps the digits of noise beside an offset of %f", async (offset) => {
    const [samples, features] = [200, 8];
    const data = randomArray(samples * features, 6).map((value, at) => offset * (1 + (at % features)) + value);
    check(await compared(data, samples, features), samples, features);
  });

  it("keeps a small feature beside a large constant one", async () => {
    const [samples, features] = [20, 3];
    const noise = randomArray(samples * features, 7);
    const data = noise.map((value, at) => [1e14, value * 1e-9, value * 1e-10][at % features]!);
    const outcome = await compared(data, samples, features);
    check(outcome, samples, features);
    expect(outcome.result.explainedVarianceRatio[0]!).toBeGreaterThan(0.9);
  });

  it("of features that do not vary has no variance", async () => {
    const [samples, features] = [7, 3];
    for (const values of [
      [0, 0, 0],
      [0.1, 0.3, 1e6 / 7],
    ]) {
      const data = Float32Array.from({ length: samples * features }, (_, at) => values[at % features]!);
      const { result, scores, mean, directions, count } = await compared(data, samples, features);
      expect([...result.explainedVariance]).toEqual([0, 0, 0]);
      expect([...result.explainedVarianceRatio]).toEqual([0, 0, 0]);
      expect(scores.every((value) => value === 0)).toBe(true);
      expect([...mean]).toEqual([...Float32Array.from(values)]);
      expect(departure(directions, features, count)[0]).toBeLessThanOrEqual(BOUNDS.orthonormal);
    }
    // one of them varies
    const data = randomArray(samples * features, 8).map((value, at) => (at % features === 1 ? value : 0.1));
    const outcome = await compared(data, samples, features);
    check(outcome, samples, features);
    expect([...outcome.result.explainedVarianceRatio]).toEqual([1, 0, 0]);
  });

  it.each([1e-30, 1e30])("does not depend on the scale %f", async (scale) => {
    const [samples, features] = [30, 5];
    const data = randomArray(samples * features, 9).map((value) => value * scale);
    check(await compared(data, samples, features), samples, features);
  });

  it("says what does not fit, and leaves no memory behind", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 3], randomArray(12));
    (await pca(engine, x)).destroy();
    const { live } = engine.memory();
    await expect(pca(engine, x, { components: 4 })).rejects.toThrow(/pca: 4 components of .*4×3, needs 1 to 3/);
    await expect(pca(engine, x, { components: 0 })).rejects.toThrow(/pca: components/);
    using one = engine.tensor([1, 3], [1, 2, 3]);
    await expect(pca(engine, one)).rejects.toThrow(/pca: .*1×3, needs at least two samples \(rows\)/);
    one.destroy();
    // the mean is within f32, and scores are not
    using far = engine.tensor([2, 3], [3e38, 3e38, 3e38, -3e38, -3e38, -3e38]);
    await expect(pca(engine, far)).rejects.toThrow(/pca: the scores of the result would be 5\.20e\+38/);
    far.destroy();
    expect(engine.memory().live).toBe(live);
  });
});
