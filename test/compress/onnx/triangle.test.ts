/** Large products and Cholesky factors in blocks, against f64 on the host. */
import { describe, expect, it } from "vitest";
import { Products } from "../../../src/compress/onnx/products.js";
import { runtimeSessions } from "../../../src/compress/onnx/session.js";
import { blockOf, Triangle } from "../../../src/compress/onnx/triangle.js";
import { isSoftware } from "../../../src/gpu/index.js";
import {
  choleskyFactor,
  matrixProduct,
  rowProducts,
  solveTriangular,
  transpose,
} from "../../../src/nn/factorised/hostMatrices.js";
import { testEngine } from "../../engine.js";
import { ort } from "../../onnx/runtime.js";
import { normals } from "./models.js";

const sessions = runtimeSessions(ort as never, { executionProviders: ["wasm"] });
const gap = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
};

describe("large products", () => {
  it("are the host's in the runtime and on the GPU, for every way that operands lie", async () => {
    const engine = await testEngine();
    const draw = normals(4);
    const [rows, inner, columns] = [131, 517, 467];
    const a = Float64Array.from(draw(rows * inner));
    const b = Float64Array.from(draw(inner * columns));
    const wanted = matrixProduct(a, b, rows, inner, columns);
    for (const [given, bound] of [
      [sessions, 1e-10],
      [null, 1e-3],
    ] as const) {
      const products = new Products(engine, given);
      expect(products.inRuntime).toBe(given !== null && isSoftware(engine.adapterName));
      for (const transposeA of [false, true])
        for (const transposeB of [false, true]) {
          const left = transposeA ? transpose(a, rows, inner) : a;
          const right = transposeB ? transpose(b, inner, columns) : b;
          const found = await products.multiply(left, right, { rows, inner, columns, transposeA, transposeB });
          expect(gap(found, wanted)).toBeLessThan(products.inRuntime ? bound : 1e-3);
        }
      // a part of a larger array
      const part = a.subarray(inner, 101 * inner);
      const found = await products.multiply(part, b, { rows: 100, inner, columns });
      expect(gap(found, wanted.subarray(columns, 101 * columns))).toBeLessThan(1e-3);
      const [x, z] = [Float32Array.from(draw(300 * 40)), Float32Array.from(draw(300 * 40))];
      for (const other of [x, z])
        expect(gap(await products.across(x, other, 300, 40), crossed(x, other, 300, 40))).toBeLessThan(1e-3);
      await products.release();
    }
  });
});

const crossed = (a: Float32Array, b: Float32Array, rows: number, n: number): Float64Array =>
  rowProducts(transpose(a, rows, n), transpose(b, rows, n), n, n, rows);

describe("Cholesky factors in blocks", () => {
  it("solve as those of the host do, by leading blocks of any size, too", async () => {
    const n = 600;
    const products = new Products(await testEngine(), sessions);
    const draw = normals(8);
    const tall = Float64Array.from(draw(n * n));
    const c = rowProducts(tall, tall, n, n, n);
    for (let i = 0; i < n; i++) c[i * (n + 1)]! += 10;
    const triangle = await Triangle.of(products, Float64Array.from(c), n);
    const lower = choleskyFactor(c, n, 1e-10);
    const m = 5;
    for (const k of [n, 512, 413, 200])
      for (const transposed of [true, false]) {
        const b = Float64Array.from(draw(m * k));
        const wanted = solveTriangular(blockOf(lower, n, 0, k, 0, k), b, m, k, transposed);
        const found = await triangle.solve(b, m, transposed, k);
        expect(gap(found, wanted), `${k} ${transposed}`).toBeLessThan(1e-8);
      }
    const s = crossed(Float32Array.from(draw(7 * n)), Float32Array.from(draw(7 * n)), 7, n);
    const wanted = matrixProduct(transpose(lower, n, n), matrixProduct(s, lower, n, n, n), n, n, n);
    const most = wanted.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    expect(gap(await triangle.between(s), wanted)).toBeLessThan(1e-9 * most);
    await products.release();
  });

  it("of a matrix of low rank stay finite", async () => {
    const n = 400;
    const products = new Products(await testEngine(), sessions);
    const rows = Float64Array.from(normals(5)(n * 3));
    const triangle = await Triangle.of(products, rowProducts(rows, rows, n, n, 3), n);
    const x = await triangle.solve(rows.subarray(0, 2 * n), 2, true);
    expect(x.every(Number.isFinite)).toBe(true);
    await products.release();
  });
});
