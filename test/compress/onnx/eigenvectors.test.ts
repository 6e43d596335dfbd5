/** Eigenvectors of symmetric matrices on the host and on the GPU. */
import { describe, expect, it } from "vitest";
import { eigenvectorsOf, symmetricEigenvectors } from "../../../src/compress/onnx/eigenvectors.js";
import { Products } from "../../../src/compress/onnx/products.js";
import { runtimeSessions } from "../../../src/compress/onnx/session.js";
import { matrixProduct, rowProducts, symmetricEigenvalues } from "../../../src/nn/factorised/hostMatrices.js";
import { testEngine } from "../../engine.js";
import { ort } from "../../onnx/runtime.js";
import { normals } from "./models.js";

const sessions = runtimeSessions(ort as never, { executionProviders: ["wasm"] });

/** Symmetric n×n matrices that are hard in different ways, by the entry (i, j). */
const MATRICES: Record<string, (n: number) => (i: number, j: number) => number> = {
  "of random numbers": (n) => {
    const draw = normals(n)(n * n);
    return (i, j) => draw[i * n + j]!;
  },
  "of an eighth of the rank": (n) => ofRank(n, Math.ceil(n / 8), 1),
  "graded over twelve orders": (n) => ofRank(n, n, 1e-12),
  "of zeros": () => () => 0,
  "with one eigenvalue": () => (i, j) => (i === j ? 3 : 0),
  "with one eigenvalue, but for one": (n) => {
    const draw = normals(n)(n);
    return (i, j) => (i === j ? 1 : 0) + draw[i]! * draw[j]!;
  },
  "with eigenvalues in threes": () => (i, j) => (i === j ? Math.floor(i / 3) : 0),
  // pairs of eigenvalues that are equal to rounding, though the matrix does not fall apart
  "of Wilkinson": (n) => (i, j) => (i === j ? Math.abs(i - (n - 1) / 2) : i - j === 1 ? 1 : 0),
  "of second differences": () => (i, j) => (i === j ? 2 : i - j === 1 ? -1 : 0),
  "that falls apart into two": () => (i, j) => ((i - j) % 2 ? 0 : 0.5 ** ((i - j) / 2)),
  "that is negative": (n) => {
    const of = ofRank(n, n, 1);
    return (i, j) => -of(i, j);
  },
};

/** B·Bᵀ, whose columns fall to a share of the first one. */
function ofRank(n: number, rank: number, last: number): (i: number, j: number) => number {
  const draw = normals(n + rank)(n * rank);
  const b = Float64Array.from(draw, (value, e) => value * last ** ((e % rank) / (2 * rank)));
  const c = rowProducts(b, b, n, n, rank);
  return (i, j) => c[i * n + j]!;
}

/** The largest |VVᵀ − I| and |AV − VΛ| ÷ ‖A‖. */
function gaps(a: Float64Array, n: number, { values, vectors }: { values: Float64Array; vectors: Float64Array }) {
  const count = values.length;
  const turned = rowProducts(vectors, vectors, count, count, n);
  const images = matrixProduct(vectors, a, count, n, n);
  let [skew, off, largest] = [0, 0, 1e-300];
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < count; j++) skew = Math.max(skew, Math.abs(turned[i * count + j]! - (i === j ? 1 : 0)));
    for (let j = 0; j < n; j++) off = Math.max(off, Math.abs(images[i * n + j]! - values[i]! * vectors[i * n + j]!));
  }
  return { skew, off: off / largest, largest };
}

describe("eigenvectors on the host", () => {
  // around the sizes from which a matrix is divided, once and twice, and reflections are put together
  for (const [name, entry] of Object.entries(MATRICES))
    it(`of a matrix ${name} are orthogonal and right to rounding`, async () => {
      const products = new Products(await testEngine(), sessions);
      for (const n of [1, 2, 31, 32, 33, 65, 130, 200]) {
        const at = entry(n);
        const a = Float64Array.from({ length: n * n }, (_, e) => {
          const [i, j] = [Math.floor(e / n), e % n];
          return i >= j ? at(i, j) : at(j, i);
        });
        const all = await symmetricEigenvectors(products, Float64Array.from(a), n);
        const { skew, off, largest } = gaps(a, n, all);
        expect(skew, `${n}`).toBeLessThan(1e-14 * (n + 10));
        expect(off, `${n}`).toBeLessThan(1e-14 * (n + 10));
        const wanted = symmetricEigenvalues(Float64Array.from(a), n);
        for (let i = 0; i < n; i++)
          expect(Math.abs(all.values[i]! - wanted[i]!)).toBeLessThan(1e-14 * (n + 10) * largest);
        const count = Math.ceil(n / 4);
        const some = await symmetricEigenvectors(products, Float64Array.from(a), n, count);
        expect(some.values.length).toBe(count);
        for (let i = 0; i < count; i++)
          expect(Math.abs(some.values[i]! - wanted[i]!)).toBeLessThan(1e-14 * (n + 10) * largest);
        const part = gaps(a, n, some);
        expect(part.skew, `${count} of ${n}`).toBeLessThan(1e-14 * (n + 10));
        expect(part.off, `${count} of ${n}`).toBeLessThan(1e-13 * (n + 10));
      }
      await products.release();
    });

  it("are the runtime's products at sizes where these are large, and as good", async () => {
    const n = 420;
    const products = new Products(await testEngine(), sessions);
    const entry = ofRank(n, n, 1e-6);
    const a = Float64Array.from({ length: n * n }, (_, e) => entry(Math.floor(e / n), e % n));
    const { skew, off } = gaps(a, n, await eigenvectorsOf(products, a, n, n, n));
    // of f32 on a GPU
    expect(skew).toBeLessThan(products.inRuntime ? 1e-12 : 1e-5);
    expect(off).toBeLessThan(products.inRuntime ? 1e-12 : 1e-5);
    await products.release();
  });

  it("of the GPU are as good as f32 is", async () => {
    const n = 96;
    const products = new Products(await testEngine(), null);
    const entry = ofRank(n, n, 1e-3);
    const a = Float64Array.from({ length: n * n }, (_, e) => entry(Math.floor(e / n), e % n));
    const found = await eigenvectorsOf(products, a, n, 40, 0);
    expect([found.values.length, found.vectors.length]).toEqual([40, 40 * n]);
    const { skew, off } = gaps(a, n, found);
    expect(skew).toBeLessThan(1e-5);
    expect(off).toBeLessThan(1e-5);
    expect([...found.values].sort((p, q) => q - p)).toEqual([...found.values]);
  });
});
