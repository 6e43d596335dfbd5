/** Weights rounded for the least error of outputs, against all roundings and against the nearest. */
import { expect, it } from "vitest";
import { Products } from "../../../src/compress/onnx/products.js";
import { roundedBy } from "../../../src/compress/onnx/rounding.js";
import { rowProducts } from "../../../src/nn/factorised/hostMatrices.js";
import { roundHalfEven } from "../../../src/onnx/quantise.js";
import { testEngine } from "../../engine.js";
import { normals } from "./models.js";

/** dᵀ·C·d of each row d of W − Ŵ */
function losses(w: Float64Array, levels: Int8Array, scales: number[], c: Float64Array): number[] {
  const width = w.length / scales.length;
  return scales.map((scale, o) => {
    const d = Float64Array.from({ length: width }, (_, i) => w[o * width + i]! - levels[o * width + i]! * scale);
    let sum = 0;
    for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) sum += d[i]! * c[i * width + j]! * d[j]!;
    return sum;
  });
}

/** W, scales, and the covariance of inputs that hang together */
function problem(outputs: number, width: number, limit: number) {
  const draw = normals(outputs * 100 + width);
  const w = Float64Array.from(draw(outputs * width));
  const mix = Float64Array.from(draw(width * width));
  const common = draw(width);
  for (let i = 0, at = 0; i < width; i++) for (let j = 0; j < width; j++, at++) mix[at]! += j ? 0 : 4 + common[i]!;
  const c = rowProducts(mix, mix, width, width, width);
  const scales = Array.from({ length: outputs }, (_, o) =>
    Math.max(...w.subarray(o * width, (o + 1) * width).map(Math.abs)),
  ).map((largest) => largest / limit);
  return { w, c, scales };
}

it("lies between the best of all roundings of a few weights and the nearest levels", async () => {
  const products = new Products(await testEngine(), null);
  const limit = 7;
  for (const width of [2, 5]) {
    const { w, c, scales } = problem(6, width, limit);
    const levels = await roundedBy(products, w, scales, limit, c);
    const found = losses(w, levels, scales, c);
    const best = scales.map(() => Number.POSITIVE_INFINITY);
    for (let which = 0; which < 3 ** width; which++) {
      // each weight at its nearest level, one below or one above
      const tried = Int8Array.from(w, (value, at) => {
        const change = (Math.floor(which / 3 ** (at % width)) % 3) - 1;
        return Math.max(-limit, Math.min(limit, roundHalfEven(value / scales[Math.floor(at / width)]!) + change));
      });
      for (const [o, loss] of losses(w, tried, scales, c).entries()) best[o] = Math.min(best[o]!, loss);
    }
    const sum = (list: number[]): number => list.reduce((a, b) => a + b, 0);
    const nearest = Int8Array.from(w, (value, at) => roundHalfEven(value / scales[Math.floor(at / width)]!));
    const plain = sum(losses(w, nearest, scales, c));
    expect([width, sum(found) < 4 * sum(best), sum(found) <= plain]).toEqual([width, true, true]);
  }
});

it("gains on the nearest levels over several blocks, keeps to the limit, and is the nearest without covariance", async () => {
  const products = new Products(await testEngine(), null);
  const [outputs, width, limit] = [5, 261, 64];
  const { w, c, scales } = problem(outputs, width, limit);
  const nearest = Int8Array.from(w, (value, at) => roundHalfEven(value / scales[Math.floor(at / width)]!));
  const levels = await roundedBy(products, w, scales, limit, c);
  expect(Math.max(...levels.map(Math.abs))).toBeLessThanOrEqual(limit);
  const [found, plain] = [losses(w, levels, scales, c), losses(w, nearest, scales, c)];
  for (const [o, loss] of found.entries()) expect(loss).toBeLessThan(0.75 * plain[o]!);
  const diagonal = new Float64Array(width * width);
  for (let i = 0; i < width; i++) diagonal[i * (width + 1)] = 1 + (i % 3);
  expect(await roundedBy(products, w, scales, limit, diagonal)).toEqual(nearest);
});
