import { EigenvalueDecomposition, Matrix, pseudoInverse } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { cpALS, cpErrorPreserving, degeneracy } from "../../src/decompositions/index.js";
import { boundedNorm } from "../../src/ops/index.js";
import { KruskalTensor } from "../../src/tensors/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance } from "./planted.js";

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
      const found = Matrix.from1DArray(m, n, [
        ...(await evaluate(engine, (s) => boundedNorm(s, a, b, { squaredNorm, bound }))),
      ]);
      const residual = x.clone().sub(found.mmul(z.transpose())).norm() ** 2;
      expect(residual / bound).toBeCloseTo(1, 4);
      // stationary: (X − A·Zᵀ)·Z = μ·A with one μ > 0
      const pull = x.clone().sub(found.mmul(z.transpose())).mmul(z);
      const mu = pull.norm() / found.norm();
      expect(pull.sub(found.clone().mul(mu)).norm() / (mu * found.norm())).toBeLessThan(1e-3);
    }
    expect(new EigenvalueDecomposition(normals).realEigenvalues.every((value) => value > 0)).toBe(true);
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
});
