import { EigenvalueDecomposition, Matrix, pseudoInverse } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { boundedNormByNewton } from "../../src/decompositions/boundedNormByNewton.js";
import { cpALS, cpErrorPreserving, degeneracy, type Iteration } from "../../src/decompositions/index.js";
import { type Engine, Program, type Tensor } from "../../src/gpu/index.js";
import { boundedNorm, copy } from "../../src/ops/index.js";
import { KruskalTensor } from "../../src/tensors/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance, kruskal, plantedCp } from "./planted.js";

/** a∘a∘b + a∘b∘a + b∘a∘a: of rank 3, and as near as one likes to tensors of rank 2, whose terms then cancel. */
function degenerate(n: number): { data: Float32Array; shape: number[] } {
  const [a, b] = [randomArray(n, 1), randomArray(n, 2)] as const;
  const data = Float32Array.from({ length: n ** 3 }, (_, e) => {
    const [i, j, k] = [Math.floor(e / n / n), Math.floor(e / n) % n, e % n] as const;
    return a[i]! * a[j]! * b[k]! + a[i]! * b[j]! * a[k]! + b[i]! * a[j]! * a[k]!;
  });
  return { data, shape: [n, n, n] };
}

describe("boundedNorm", () => {
  it("is the least squares solution with the ridge that spends the bound, in f64 too", async () => {
    const engine = await testEngine();
    const [m, n, rest] = [7, 4, 30];
    const z = new Matrix(rest, n);
    const values = randomArray(rest * n, 3);
    for (let i = 0; i < rest; i++) for (let j = 0; j < n; j++) z.set(i, j, values[i * n + j]! * 3 ** -j);
    const x = Matrix.from1DArray(m, rest, [...randomArray(m * rest, 4)]);
    const normals = z.transpose().mmul(z);
    const product = x.mmul(z);
    const least =
      x
        .clone()
        .sub(x.mmul(pseudoInverse(z.transpose())).mmul(z.transpose()))
        .norm() ** 2;
    const squaredNorm = x.norm() ** 2;
    for (const bound of [least + 0.02 * (squaredNorm - least), least + 0.4 * (squaredNorm - least)]) {
      using a = engine.tensor([n, n], normals.to1DArray());
      using b = engine.tensor([m, n], product.to1DArray());
      const factor = Matrix.from1DArray(m, n, [
        ...(await evaluate(engine, (s) => boundedNorm(s, a, b, { squaredNorm, bound }))),
      ]);
      const residual = x.clone().sub(factor.mmul(z.transpose())).norm() ** 2;
      expect(residual / bound).toBeCloseTo(1, 4);
      // stationary: (X − A·Zᵀ)·Z = μ·A with one μ > 0
      const pull = x.clone().sub(factor.mmul(z.transpose())).mmul(z);
      const mu = pull.norm() / factor.norm();
      expect(pull.sub(factor.clone().mul(mu)).norm() / (mu * factor.norm())).toBeLessThan(1e-3);
    }
    expect(new EigenvalueDecomposition(normals).realEigenvalues.every((value) => value > 0)).toBe(true);
  });
});

describe("boundedNormByNewton", () => {
  /** X, m×rest, and Z, rest×n, whose columns fall by `grade`; the last two are the same where `isDependent`. */
  const problem = (m: number, n: number, rest: number, grade: number, isDependent = false) => {
    const columns = randomArray(rest * n, 3).map((value, e) => value * grade ** -(e % n));
    const z = Matrix.from1DArray(rest, n, [...columns]);
    if (isDependent) z.setColumn(n - 1, z.getColumn(n - 2));
    const x = Matrix.from1DArray(m, rest, [...randomArray(m * rest, 4)]);
    const least =
      x
        .clone()
        .sub(x.mmul(pseudoInverse(z.transpose())).mmul(z.transpose()))
        .norm() ** 2;
    return { x, z, least, squaredNorm: x.norm() ** 2 };
  };
  const problems = {
    plain: problem(7, 4, 30, 1),
    graded: problem(7, 5, 30, 3),
    "with more unknowns than data": problem(13, 61, 40, 1),
    "with columns that depend on others": problem(3, 9, 30, 1, true),
    "of one row": problem(1, 131, 300, 1),
  };

  it.each(Object.entries(problems))(
    "%s: spends the bound as eigenvectors do, and tells the error",
    async (_, given) => {
      const engine = await testEngine();
      const { x, z, least, squaredNorm } = given;
      using a = engine.tensor([z.columns, z.columns], z.transpose().mmul(z).to1DArray());
      using b = engine.tensor([x.rows, z.columns], x.mmul(z).to1DArray());
      using out = engine.tensor(b.shape);
      using residual = engine.tensor([1]);
      const errorOf = (factor: Float32Array): number =>
        x
          .clone()
          .sub(Matrix.from1DArray(x.rows, z.columns, [...factor]).mmul(z.transpose()))
          .norm() ** 2;
      const solve = async (bound: number, share: number, start?: Tensor): Promise<Float32Array> => {
        const ridge = { share };
        const options = { bound, residual, ...(start ? { from: start } : { squaredNorm }) };
        await Program.run(engine, (p) => void copy(p.s, boundedNormByNewton(p, a, b, options, ridge), { out }), "test");
        return out.read();
      };
      for (const part of [1e-3, 0.03, 0.5]) {
        const bound = least + part * (squaredNorm - least);
        const length = Math.hypot(...(await evaluate(engine, (s) => boundedNorm(s, a, b, { squaredNorm, bound }))));
        // from a ridge that is too small, from one that is too large, and from a factor that is near
        for (const share of [1e-5, 30]) {
          const factor = await solve(bound, share);
          const error = errorOf(factor);
          expect(error).toBeLessThanOrEqual(bound + 2e-6 * squaredNorm);
          expect(error - least).toBeGreaterThan(0.8 * (bound - least) - 2e-6 * squaredNorm);
          expect(Math.abs((await residual.read())[0]! - error)).toBeLessThan(3e-6 * squaredNorm);
          expect(Math.hypot(...factor)).toBeLessThan(1.15 * length);
        }
        using start = engine.tensor(b.shape, await solve(1.2 * bound, 1e-4));
        const startError = errorOf(await start.read());
        engine.write(residual, Float32Array.of(startError));
        const error = errorOf(await solve(bound, 1e-2, start));
        expect(error).toBeLessThanOrEqual(bound + 2e-6 * squaredNorm);
        expect(error - least).toBeGreaterThan(0.8 * (bound - least) - 2e-6 * squaredNorm);
      }
    },
  );

  it("is nearly the least squares solution where no factor meets the bound", async () => {
    const engine = await testEngine();
    const { x, z, least, squaredNorm } = problems.plain;
    using a = engine.tensor([z.columns, z.columns], z.transpose().mmul(z).to1DArray());
    using b = engine.tensor([x.rows, z.columns], x.mmul(z).to1DArray());
    using residual = engine.tensor([1]);
    const options = { bound: least / 2, residual, squaredNorm };
    await Program.run(engine, (p) => void boundedNormByNewton(p, a, b, options, { share: 1e-2 }), "test");
    expect((await residual.read())[0]! / least).toBeCloseTo(1, 5);
  });
});

describe("degeneracy", () => {
  it("is 1 for orthogonal terms and grows as terms cancel", async () => {
    const engine = await testEngine();
    const make = (first: number[], second: number[]) =>
      new KruskalTensor(
        engine.tensor([2], [2, 3]),
        [0, 1, 2].map(() => engine.tensor([2, 2], [first[0]!, second[0]!, first[1]!, second[1]!])),
      );
    using orthogonal = make([1, 0], [0, 1]);
    expect(await degeneracy(engine, orthogonal)).toBeCloseTo(1, 6);
    using opposed = new KruskalTensor(
      engine.tensor([2], [10, -9]),
      [0, 1].map(() => engine.tensor([2, 2], [1, 1, 0, 0])),
    );
    expect(await degeneracy(engine, opposed)).toBeCloseTo(181, 2);
  });
});

describe("cpErrorPreserving", () => {
  it("makes a degenerate decomposition's terms small at the same error, falling sweep by sweep", async () => {
    const engine = await testEngine();
    const { data, shape } = degenerate(8);
    using x = engine.tensor(shape, data);
    // m·(a + b/m)³ − m·a³ comes as near as m is large, with terms that cancel
    const [a, b, m] = [randomArray(8, 1), randomArray(8, 2), 12] as const;
    const columns = Float32Array.from({ length: 16 }, (_, e) => a[e >> 1]! + (e % 2 ? 0 : b[e >> 1]! / m));
    using start = new KruskalTensor(
      engine.tensor([2], [m, -m]),
      [0, 1, 2].map(() => engine.tensor([8, 2], columns)),
    );
    const before = await degeneracy(engine, start);
    const error = distance(data, await evaluate(engine, (s) => start.full(s)));
    const bound = 1.5 * error;
    const corrected = await cpErrorPreserving(engine, x, start, { relativeError: bound, sweeps: 80 });
    const after = await degeneracy(engine, corrected.tensor);
    expect(before).toBeGreaterThan(20);
    expect(after).toBeLessThan(before / 2);
    expect(corrected.relativeError).toBeLessThan(bound * 1.002);
    expect(distance(data, await evaluate(engine, (s) => corrected.tensor.full(s)))).toBeCloseTo(
      corrected.relativeError,
      4,
    );
    expect(corrected.norms.slice(1).every((value, k) => value <= corrected.norms[k]! * 1.0001)).toBe(true);
    corrected.tensor.destroy();
  });

  it("keeps the error of its start, in four modes, and refuses a bound below it", async () => {
    const engine = await testEngine();
    const shape = [8, 6, 3, 3];
    const data = randomArray(8 * 6 * 9, 5);
    using x = engine.tensor(shape, data);
    const plain = await cpALS(engine, x, { rank: 8, sweeps: 60, tolerance: 0, seed: 1 });
    const corrected = await cpErrorPreserving(engine, x, plain.tensor, { sweeps: 40 });
    expect(corrected.relativeError).toBeLessThan(plain.relativeError + 1e-3);
    expect(await degeneracy(engine, corrected.tensor)).toBeLessThanOrEqual(
      (await degeneracy(engine, plain.tensor)) * 1.001,
    );
    await expect(
      cpErrorPreserving(engine, x, plain.tensor, { relativeError: plain.relativeError / 2 }),
    ).rejects.toThrow(/more than the/);
    plain.tensor.destroy();
    corrected.tensor.destroy();
  });

  it("does so with more terms than eigenvectors are recorded for", async () => {
    const engine = await testEngine();
    const shape = [24, 20, 9];
    const data = randomArray(24 * 20 * 9, 6);
    using x = engine.tensor(shape, data);
    const plain = await cpALS(engine, x, { rank: 131, sweeps: 12, tolerance: 0, seed: 1 });
    using start = plain.tensor;
    const relativeError = 1.05 * plain.relativeError;
    const before = engine.memory().live;
    const corrected = await cpErrorPreserving(engine, x, start, { relativeError, sweeps: 4 });
    const { tensor, norms } = corrected;
    expect(corrected.relativeError).toBeLessThanOrEqual(relativeError);
    expect(distance(data, await evaluate(engine, (s) => tensor.full(s)))).toBeCloseTo(corrected.relativeError, 4);
    expect(norms.slice(1).every((value, k) => value <= norms[k]! * 1.0001)).toBe(true);
    expect(await degeneracy(engine, tensor)).toBeLessThan((await degeneracy(engine, start)) / 1.05);
    tensor.destroy();
    expect(engine.memory().live).toBe(before);
  });

  it.each([20, 120, 131])("makes %d terms that are nearly the same smaller, too", async (rank) => {
    const engine = await testEngine();
    const shape = [5, 7, 40];
    const data = randomArray(5 * 7 * 40, 8).map((value) => 2 + value);
    using x = engine.tensor(shape, data);
    const plain = await cpALS(engine, x, { rank, sweeps: 15, starts: 1, tolerance: 0, ridge: 1e-5 });
    using start = plain.tensor;
    const relativeError = Math.max(1e-3, 1.2 * plain.relativeError);
    const {
      tensor,
      norms,
      relativeError: reached,
    } = await cpErrorPreserving(engine, x, start, { relativeError, sweeps: 6 });
    expect(reached).toBeLessThanOrEqual(relativeError);
    expect(reached).toBeGreaterThan(0.85 * relativeError);
    expect(norms.slice(1).every((value, k) => value <= norms[k]! * 1.0001)).toBe(true);
    expect(await degeneracy(engine, tensor)).toBeLessThan(await degeneracy(engine, start));
    tensor.destroy();
  });

  /** Three terms, and X = their sum and noise. */
  const shape = [9, 8, 7];
  const planted = (noise: number) => {
    const { data, factors } = plantedCp(shape, 3, noise, 6);
    return { data, factors };
  };
  const startOf = (engine: Engine, factors: readonly Float32Array[], weights: readonly number[]) =>
    new KruskalTensor(
      engine.tensor([weights.length], weights),
      factors.map((factor) => engine.tensor([factor.length / weights.length, weights.length], factor)),
    );

  it.each([0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-5])(
    "keeps a bound of %d, tells true errors, and norms fall",
    async (bound) => {
      const engine = await testEngine();
      const { data, factors } = planted(bound / 4);
      using x = engine.tensor(shape, data);
      using start = startOf(engine, factors, [1, 1, 1]);
      for (const sweeps of [1, 2, 7]) {
        const result = await cpErrorPreserving(engine, x, start, { relativeError: bound, sweeps, tolerance: 0 });
        const error = distance(data, await evaluate(engine, (s) => result.tensor.full(s)));
        expect(error).toBeLessThanOrEqual(bound);
        // what may be spent is spent
        expect(error).toBeGreaterThan(0.85 * bound);
        expect(result.errors).toHaveLength(sweeps);
        for (const told of [result.errors.at(-1)!, result.relativeError])
          expect(Math.abs(told - error)).toBeLessThan(1e-6);
        expect(result.norms).toHaveLength(sweeps);
        expect(result.norms.slice(1).every((value, k) => value <= result.norms[k]! * 1.00001)).toBe(true);
        result.tensor.destroy();
      }
    },
  );

  it("goes on until the norms stand still, and stops by a signal", async () => {
    const engine = await testEngine();
    const { data } = degenerate(8);
    using x = engine.tensor([8, 8, 8], data);
    const [a, b, m] = [randomArray(8, 1), randomArray(8, 2), 12] as const;
    const columns = Float32Array.from({ length: 16 }, (_, e) => a[e >> 1]! + (e % 2 ? 0 : b[e >> 1]! / m));
    using start = startOf(engine, [columns, columns, columns], [m, -m]);
    const told: number[] = [];
    const onIteration = ({ relativeError }: Iteration) => void told.push(relativeError);
    const options = { relativeError: 0.2, sweeps: 400, tolerance: 1e-5, onIteration };
    const result = await cpErrorPreserving(engine, x, start, options);
    expect(result.converged).toBe(true);
    expect(result.sweeps).toBeGreaterThan(8);
    expect(told).toEqual(result.errors);
    const [before, last] = result.norms.slice(-2) as [number, number];
    expect(Math.abs(before - last)).toBeLessThan(2e-5);
    const controller = new AbortController();
    const stopped = await cpErrorPreserving(engine, x, start, {
      ...options,
      tolerance: 0,
      signal: controller.signal,
      onIteration: () => controller.abort(),
    });
    expect(stopped.aborted).toBe(true);
    expect(stopped.sweeps).toBeLessThan(20);
    for (const { tensor } of [result, stopped]) tensor.destroy();
  });

  it("refuses by name what f32 cannot keep", async () => {
    const engine = await testEngine();
    const { data, factors } = planted(0);
    using x = engine.tensor(shape, data);
    using start = startOf(engine, factors, [1, 1, 1]);
    await expect(cpErrorPreserving(engine, x, start, { relativeError: 1e-7 })).rejects.toThrow(
      "cpErrorPreserving: relativeError 1e-7 cannot be kept in f32, the least is 5e-7; allow that much",
    );
    // terms that cancel to a hundredth
    const m = 200;
    const near = shape.map((extent, mode) => {
      const [a, b] = [randomArray(extent, 1 + mode), randomArray(extent, 5 + mode)];
      return Float32Array.from({ length: 2 * extent }, (_, e) => a[e >> 1]! + (e % 2 ? 0 : b[e >> 1]! / m));
    });
    const terms = Float64Array.from(near[0]!, (value, e) => (e % 2 ? -m : m) * value);
    const cancelled = Float32Array.from(kruskal([terms, near[1]!, near[2]!], shape, 2));
    using y = engine.tensor(shape, cancelled);
    using opposed = startOf(engine, near, [m, -m]);
    for (const relativeError of [0.1, 1e-2, 1e-3, 1e-4]) {
      const { live } = engine.memory();
      try {
        const { tensor } = await cpErrorPreserving(engine, y, opposed, { relativeError, sweeps: 40 });
        const full = await evaluate(engine, (s) => tensor.full(s));
        expect(distance(cancelled, full)).toBeLessThanOrEqual(relativeError);
        tensor.destroy();
      } catch (error) {
        expect(relativeError).toBeLessThan(1e-2);
        expect((error as Error).message).toMatch(/an error of \S+ cannot be kept in f32 by terms .* Allow a larger/);
      }
      expect(engine.memory().live).toBe(live);
    }
  });

  it("is the same at every scale, wherever the start has it", async () => {
    const engine = await testEngine();
    const { data, factors } = planted(0.1);
    using x = engine.tensor(shape, data);
    using start = startOf(engine, factors, [1, 1, 1]);
    const options = { relativeError: 0.2, sweeps: 6, tolerance: 0 };
    const base = await cpErrorPreserving(engine, x, start, options);
    const [weights, ...baseFactors] = await engine.read([base.tensor.weights, ...base.tensor.factors]);
    for (const exponent of [-100, -20, 7, 110]) {
      using other = engine.tensor(
        shape,
        data.map((value) => value * 2 ** exponent),
      );
      const large = factors.map((factor, mode) => (mode ? factor : factor.map((value) => value * 2 ** exponent)));
      using inWeights = startOf(engine, factors, [2 ** exponent, 2 ** exponent, 2 ** exponent]);
      using inFactor = startOf(engine, large, [1, 1, 1]);
      for (const scaled of [inWeights, inFactor]) {
        const result = await cpErrorPreserving(engine, other, scaled, options);
        expect(result.norms).toEqual(base.norms);
        expect(result.errors).toEqual(base.errors);
        expect(await engine.read([...result.tensor.factors])).toEqual(baseFactors);
        expect(await engine.read(result.tensor.weights)).toEqual(weights!.map((value) => value * 2 ** exponent));
        result.tensor.destroy();
        expect(await degeneracy(engine, scaled)).toBeCloseTo(await degeneracy(engine, start), 4);
      }
    }
    base.tensor.destroy();
  });

  it("answers zeros, and names what is wrong", async () => {
    const engine = await testEngine();
    const { data, factors } = planted(0.1);
    using x = engine.tensor(shape, data, { label: "X" });
    using zeros = engine.tensor(shape);
    using start = startOf(engine, factors, [1, 1, 1]);
    const zero = await cpErrorPreserving(engine, zeros, start);
    expect(zero).toMatchObject({ relativeError: 0, errors: [], norms: [], converged: true });
    expect((await evaluate(engine, (s) => zero.tensor.full(s))).every((value) => value === 0)).toBe(true);
    zero.tensor.destroy();
    using broken = startOf(engine, factors, [1, Number.NaN, 1]);
    await expect(cpErrorPreserving(engine, x, broken)).rejects.toThrow(
      /start: .* has 1 entry that is not finite, NaN at \[1\]/,
    );
    data[3] = Number.POSITIVE_INFINITY;
    x.write(data);
    await expect(cpErrorPreserving(engine, x, start)).rejects.toThrow(
      "cpErrorPreserving: X 9×8×7 has 1 entry that is not finite, infinity at [0, 0, 3]",
    );
    const call = (options: object) => cpErrorPreserving(engine, zeros, start, options);
    await expect(call({ bound: 0.1 })).rejects.toThrow(
      'cpErrorPreserving: unknown option "bound"; it has relativeError',
    );
    await expect(call({ relativeError: 2 })).rejects.toThrow(/relativeError is 2, needs a number between 0 and 1/);
    const none = {} as KruskalTensor;
    await expect(cpErrorPreserving(engine, zeros, none)).rejects.toThrow(/the third argument is no KruskalTensor/);
  });
});
