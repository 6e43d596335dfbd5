/** Patches, moments and fits of single layers of ONNX models, against f64. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type FittedScheme, firstRidge, LayerFits } from "../../../src/compress/onnx/fits.js";
import { fitsOf } from "../../../src/compress/onnx/groups.js";
import { MomentSums, type Moments } from "../../../src/compress/onnx/moments.js";
import { patchesOf } from "../../../src/compress/onnx/patches.js";
import { Products } from "../../../src/compress/onnx/products.js";
import {
  choleskyFactor,
  matrixProduct,
  rowProducts,
  solveTriangular,
} from "../../../src/nn/factorised/hostMatrices.js";
import { type OnnxReplacement, type OnnxSite, onnxSites, readOnnx } from "../../../src/onnx/index.js";
import { testEngine } from "../../engine.js";
import { feedsOf, fixture, runModel, signal } from "../../onnx/runtime.js";
import { normals } from "./models.js";

const all = { smallest: 0, join: false } as const;

describe("patches", () => {
  const inputs: Record<string, Record<string, number[]>> = {
    "convolutions.onnx": { x1: [2, 6, 13], x2: [2, 6, 11, 9], x3: [1, 4, 5, 6, 7] },
    "products.onnx": { rows: [5, 6], turned: [6, 5], stack: [2, 3, 4, 6], wide: [2, 6, 5], vector: [6] },
  };
  it.each(Object.keys(inputs))("of every layer of %s give its outputs", async (file) => {
    const outputs = await runModel(fixture(file), feedsOf(inputs[file]!));
    const { sites } = onnxSites(readOnnx(fixture(file)), all);
    let checked = 0;
    for (const site of sites.filter(({ input }) => inputs[file]![input])) {
      // a MatMul gives its outputs before a bias that an Add adds
      const result = outputs.get(site.id);
      if (!result) continue;
      const shape = inputs[file]![site.input]!;
      const x = { dtype: "float32", shape, data: signal(shape) };
      const groups = Array.from({ length: site.groups }, (_, group) => patchesOf(site, x, group));
      const [patches] = groups as [(typeof groups)[0]];
      const width = site.shape.slice(1).reduce((a, b) => a * b, 1);
      const [weights, bias] = [await site.weights(), site.op === "MatMul" ? null : await site.bias()];
      const count = site.shape[0]!;
      expect(patches.count * count, site.id).toBe(result.data.length);
      const patch = new Float32Array(width);
      // outputs along the axis of the channels, or the last one; beside a constant to the left the last but one
      const left = site.id.includes("left");
      const at = site.geometry ? 1 : result.shape.length - (left && result.shape.length > 1 ? 2 : 1);
      const inner = result.shape.slice(at + 1).reduce((a, b) => a * b, 1);
      let worst = 0;
      for (let p = 0; p < patches.count; p++) {
        for (let o = 0; o < count; o++) {
          if (o % (count / groups.length) === 0)
            groups[(o * groups.length) / count]!.write(p, patch, 0, new Float32Array(width));
          let sum = bias?.[o] ?? 0;
          for (let i = 0; i < width; i++) sum += weights[o * width + i]! * patch[i]!;
          const index = (Math.floor(p / inner) * count + o) * inner + (p % inner);
          worst = Math.max(worst, Math.abs(sum - result.data[index]!));
        }
      }
      expect(worst, site.id).toBeLessThan(1e-5);
      checked++;
    }
    expect(checked).toBeGreaterThan(file === "products.onnx" ? 3 : 12);
  });
});

describe("f64 matrices on the host", () => {
  it("factorise and solve at sizes around the blocks", () => {
    for (const n of [1, 2, 31, 32, 33, 70]) {
      const draw = normals(n);
      const b = Float64Array.from(draw(n * n));
      const c = rowProducts(b, b, n, n, n);
      for (let i = 0; i < n; i++) c[i * n + i]! += 1;
      const l = choleskyFactor(c, n, 0);
      const back = rowProducts(l, l, n, n, n);
      expect(Math.max(...back.map((value, e) => Math.abs(value - c[e]!)))).toBeLessThan(1e-11 * n * n);
      const rhs = Float64Array.from(draw(5 * n));
      const forward = solveTriangular(l, rhs, 5, n, true);
      const check = rowProducts(forward, l, 5, n, n);
      expect(Math.max(...check.map((value, e) => Math.abs(value - rhs[e]!)))).toBeLessThan(1e-11 * n);
      const backward = matrixProduct(solveTriangular(l, rhs, 5, n, false), l, 5, n, n);
      expect(Math.max(...backward.map((value, e) => Math.abs(value - rhs[e]!)))).toBeLessThan(1e-11 * n);
    }
  });
});

describe("moments", () => {
  it("of rows far from zero, in several blocks, are those of f64", async () => {
    const engine = await testEngine();
    const [width, count] = [7, 2500];
    const draw = normals(3);
    const noise = draw(count * width);
    const x = Float32Array.from(noise, (value, e) => 1000 + value + 0.5 * (noise[e - 1] ?? 0));
    const z = Float32Array.from(x, (value, e) => -3 * value + 0.1 * (noise[e + 2] ?? 0));
    const sums = new MomentSums(new Products(engine, null), width, true);
    for (let p = 0; p < count; p++)
      await sums.add((which, out, at, shift) => {
        for (let i = 0; i < width; i++) out[at + i] = (which === "x" ? x : z)[p * width + i]! - shift[i]!;
      });
    const moments = await sums.finish();
    expect(moments.count).toBe(count);
    const mean = (rows: Float32Array, i: number): number => {
      let sum = 0;
      for (let p = 0; p < count; p++) sum += rows[p * width + i]!;
      return sum / count;
    };
    for (let i = 0; i < width; i++) {
      expect(Math.abs(moments.meanX[i]! - mean(x, i))).toBeLessThan(1e-5);
      expect(Math.abs(moments.meanZ[i]! - mean(z, i))).toBeLessThan(3e-5);
      for (let j = 0; j < width; j++) {
        let [zz, xz] = [0, 0];
        for (let p = 0; p < count; p++) {
          const [b, c] = [z[p * width + i]! - mean(z, i), z[p * width + j]! - mean(z, j)];
          zz += b * c;
          xz += (x[p * width + i]! - mean(x, i)) * c;
        }
        expect(Math.abs(moments.covariance[i * width + j]! - zz / count)).toBeLessThan(3e-5);
        expect(Math.abs(moments.cross[i * width + j]! - xz / count)).toBeLessThan(1e-5);
      }
    }
  });

  it("of parts of the rows leave the moments of the other parts when they are subtracted", async () => {
    const engine = await testEngine();
    const [width, counts] = [5, [1300, 40, 700]] as const;
    const total = counts.reduce((a, b) => a + b, 0);
    const draw = normals(8);
    const [x, noise] = [draw(total * width, 2), draw(total * width, 0.3)];
    for (let e = 0; e < x.length; e++) x[e]! += 50 + Math.floor(e / width / 400);
    const z = x.map((value, e) => 0.9 * value + noise[e]!);
    for (const pair of [true, false]) {
      const right = pair ? z : x;
      const sums = new MomentSums(new Products(engine, null), width, pair, counts.length);
      const all = new MomentSums(new Products(engine, null), width, pair);
      for (let p = 0; p < total; p++) {
        const write = (which: "x" | "z", out: Float32Array, at: number, shift: Float32Array) => {
          for (let i = 0; i < width; i++) out[at + i] = (which === "x" ? x : z)[p * width + i]! - shift[i]!;
        };
        await sums.add(write, p < counts[0] ? 0 : p < counts[0] + counts[1] ? 1 : 2);
        await all.add(write);
      }
      const [moments, once] = [await sums.finish(), await all.finish()];
      expect(once.parts).toBeUndefined();
      expect(moments.parts!.map(({ count }) => count)).toEqual(counts);
      for (const key of ["meanX", "meanZ", "covariance", "cross"] as const)
        for (const [i, value] of moments[key].entries())
          expect(Math.abs(value - once[key][i]!), key).toBeLessThan(2e-5);
      // without the first part
      const others = total - counts[0];
      const part = moments.parts![0]!;
      const mean = (rows: Float32Array, i: number): number => {
        let sum = 0;
        for (let p = counts[0]; p < total; p++) sum += rows[p * width + i]!;
        return sum / others;
      };
      for (let i = 0; i < width; i++) {
        expect(Math.abs(moments.meanX[i]! - part.sumX[i]! / others - mean(x, i))).toBeLessThan(1e-4);
        expect(Math.abs(moments.meanZ[i]! - part.sumZ[i]! / others - mean(right, i))).toBeLessThan(1e-4);
        for (let j = 0; j < width; j++) {
          let [zz, xz] = [0, 0];
          for (let p = counts[0]; p < total; p++) {
            const c = right[p * width + j]! - mean(right, j);
            zz += ((right[p * width + i]! - mean(right, i)) * c) / others;
            xz += ((x[p * width + i]! - mean(x, i)) * c) / others;
          }
          const at = i * width + j;
          const left = (a: number, part: number, p: number, q: number): number =>
            (total * a - part) / others - (p / others) * (q / others);
          const [p, q] = [part.sumZ[i]!, part.sumZ[j]!];
          expect(Math.abs(left(moments.covariance[at]!, part.covariance[at]!, p, q) - zz)).toBeLessThan(1e-4);
          expect(Math.abs(left(moments.cross[at]!, part.cross[at]!, part.sumX[i]!, q) - xz)).toBeLessThan(1e-4);
        }
      }
    }
  });
});

/** The same weights and patches as in oracle.py. */
const sines = (size: number, a: number, b: number): Float64Array =>
  Float64Array.from({ length: size }, (_, k) => Math.sin(a * k + ((b * k * k) % 7)));
const [O, I, TAPS, N] = [7, 5, 9, 400];
const D = I * TAPS;
const w = sines(O * D, 0.71, 0.13);
const base = sines(N * D, 1.37, 0.29);
const x = base.map((value, e) => {
  const [row, i] = [e - (e % D), e % D];
  return 3 + value + 0.8 * base[row + ((i + D - 1) % D)]! + 0.5 * base[row + ((i + D - 3) % D)]!;
});
const change = sines(N * D, 0.53, 0.41);
const z = x.map((value, e) => value + 0.1 * change[e]!);

const site = {
  ...{ id: "y", name: "conv", kind: "convolution", op: "Conv", groups: 1, shape: [O, I, 3, 3], dtype: "float32" },
  ...{ parts: [O], input: "x", outputs: ["y"], inputAxis: 1, inputShape: [1, I, 8, 10], outputShape: [1, O, 8, 10] },
  geometry: null,
  counts: { weights: O * D, multiplications: O * D * 80 },
  weights: async () => w as unknown as Float32Array,
  bias: async () => null,
} as OnnxSite;

/** Of N vectors each. */
function momentsOf(left: Float64Array, right: Float64Array): Moments {
  const D = left.length / N;
  const mean = (rows: Float64Array) =>
    Float64Array.from({ length: D }, (_, i) => {
      let sum = 0;
      for (let p = 0; p < N; p++) sum += rows[p * D + i]!;
      return sum / N;
    });
  const [meanX, meanZ] = [mean(left), mean(right)];
  const product = (a: Float64Array, ma: Float64Array): Float64Array => {
    const out = new Float64Array(D * D);
    for (let p = 0; p < N; p++)
      for (let i = 0; i < D; i++)
        for (let j = 0; j < D; j++) out[i * D + j]! += ((a[p * D + i]! - ma[i]!) * (right[p * D + j]! - meanZ[j]!)) / N;
    return out;
  };
  return { count: N, meanX, meanZ, covariance: product(right, meanZ), cross: product(left, meanX) };
}

/** The outputs of a chain for a patch I×3×3. */
function chainOf(scheme: FittedScheme, factors: readonly { shape: readonly number[]; data: ArrayLike<number> }[]) {
  const axes = { kernelFirst: ["ab", ""], pointwiseFirst: ["", "ab"], vertical: ["a", "b"], horizontal: ["b", "a"] }[
    scheme as string
  ] ?? ["", "ab", ""];
  return (patch: Float64Array): Float64Array => {
    let [values, height, width] = [patch, 3, 3];
    for (const [at, { shape, data }] of factors.entries()) {
      const [made, taken] = shape as [number, number];
      const [h, v] = [axes[at]!.includes("a") ? 3 : 1, axes[at]!.includes("b") ? 3 : 1];
      const [rows, columns] = [height / h, width / v];
      const out = new Float64Array(made * rows * columns);
      for (let r = 0; r < made; r++)
        for (let i = 0; i < taken; i++)
          for (let a = 0; a < height; a++)
            for (let b = 0; b < width; b++) {
              const tap = (h === 3 ? a : 0) * v + (v === 3 ? b : 0);
              const to = (r * rows + (h === 3 ? 0 : a)) * columns + (v === 3 ? 0 : b);
              out[to]! += data[(r * taken + i) * h * v + tap]! * values[(i * height + a) * width + b]!;
            }
      [values, height, width] = [out, rows, columns];
    }
    return values;
  };
}

describe("fits of a convolution", () => {
  interface Row {
    refit: boolean;
    scheme: FittedScheme;
    ranks: number[];
    lost: number;
    rms: number;
  }
  const rows = JSON.parse(readFileSync(join(import.meta.dirname, "oracle.json"), "utf8")) as Row[];
  const fitsOf = async (refit: boolean) =>
    LayerFits.of(new Products(await testEngine(), null), site, momentsOf(x, refit ? z : x), {
      ridge: 1e-3,
      multiple: 8,
      refit,
    });

  it("lose what SciPy's lose, on samples of the network itself and of a compressed one", async () => {
    for (const refit of [false, true]) {
      const fits = await fitsOf(refit);
      const candidates = refit ? [] : await fits.candidates();
      for (const { scheme, ranks, lost, rms } of rows.filter((row) => row.refit === refit)) {
        const { factors, bias } = await fits.fit(scheme, ranks);
        const chain = chainOf(scheme, factors);
        let squares = 0;
        for (let p = 0; p < N; p++) {
          const made = chain((refit ? z : x).subarray(p * D, (p + 1) * D));
          for (let o = 0; o < O; o++) {
            let wanted = 0;
            for (let i = 0; i < D; i++) wanted += w[o * D + i]! * x[p * D + i]!;
            squares += (wanted - made[o]! - bias![o]!) ** 2;
          }
        }
        expect(Math.sqrt(squares / N / O), `${scheme} ${ranks} ${refit}`).toBeCloseTo(rms, 4);
        const candidate = candidates.find((one) => one.scheme === scheme && one.ranks.join() === ranks.join());
        if (candidate) expect(candidate.error).toBeCloseTo(lost, 8);
      }
      if (!refit) expect(candidates.length).toBeGreaterThan(4);
    }
  });

  it("where outputs count by a metric lose least of that, and what they say they lose", async () => {
    // L·Lᵀ with some outputs that count far more
    const mixing = sines(O * O, 1.9, 0.37);
    const metric = matrixProduct(
      mixing,
      Float64Array.from({ length: O * O }, (_, e) => mixing[(e % O) * O + Math.floor(e / O)]!),
      O,
      O,
      O,
    );
    for (let o = 0; o < O; o++) metric[o * (O + 1)]! += 0.05 + (o === 2 ? 9 : 0);
    const moments = momentsOf(x, x);
    const options = { ridge: 1e-6, multiple: 1, refit: false };
    const products = new Products(await testEngine(), null);
    const weighed = await LayerFits.of(products, site, momentsOf(x, x), { ...options, metric });
    const plain = await LayerFits.of(products, site, momentsOf(x, x), options);
    const lost = async (fits: LayerFits, scheme: FittedScheme, ranks: readonly number[]): Promise<number> => {
      const { factors, bias } = await fits.fit(scheme, ranks);
      const chain = chainOf(scheme, factors);
      let [sum, energy] = [0, 0];
      for (let p = 0; p < N; p++) {
        const patch = x.subarray(p * D, (p + 1) * D);
        const made = chain(patch);
        const [gap, level] = [new Float64Array(O), new Float64Array(O)];
        for (let o = 0; o < O; o++) {
          for (let i = 0; i < D; i++) level[o]! += w[o * D + i]! * (patch[i]! - moments.meanX[i]!);
          gap[o] = -made[o]! - bias![o]!;
          for (let i = 0; i < D; i++) gap[o]! += w[o * D + i]! * patch[i]!;
        }
        for (let o = 0; o < O; o++)
          for (let q = 0; q < O; q++) {
            sum += gap[o]! * metric[o * O + q]! * gap[q]!;
            energy += level[o]! * metric[o * O + q]! * level[q]!;
          }
      }
      return sum / energy;
    };
    const told = await weighed.everyCandidate();
    let better = 0;
    for (const [scheme, ranks] of [
      ["kernelFirst", [3]],
      ["pointwiseFirst", [2]],
      ["vertical", [4]],
      ["horizontal", [4]],
      ["tucker2", [3, 4]],
    ] as [FittedScheme, number[]][]) {
      const [by, without] = [await lost(weighed, scheme, ranks), await lost(plain, scheme, ranks)];
      const candidate = told.find((one) => one.scheme === scheme && one.ranks.join() === ranks.join());
      if (candidate) expect(by / candidate.error, scheme).toBeCloseTo(1, 2);
      if (scheme === "kernelFirst") expect(by).toBeLessThan(without);
      if (by < 0.9 * without) better++;
    }
    expect(better).toBeGreaterThan(2);
    // a metric that counts all outputs alike changes nothing
    const alike = Float64Array.from({ length: O * O }, (_, e) => (e % (O + 1) ? 0 : 4));
    const same = await LayerFits.of(products, site, momentsOf(x, x), { ...options, metric: alike });
    const wanted = await plain.candidates();
    for (const [at, { error }] of (await same.candidates()).entries()) expect(error).toBeCloseTo(wanted[at]!.error, 9);
    // at full rank it is the layer
    const { factors } = await weighed.fit("whole", []);
    for (let e = 0; e < O * D; e++) expect(factors[0]!.data[e]).toBeCloseTo(w[e]!, 4);
  });

  it("at full rank give the layer's outputs", async () => {
    const fits = await fitsOf(false);
    const schemes = [
      ["kernelFirst", [7]],
      ["pointwiseFirst", [5]],
      ["tucker2", [5, 7]],
    ] as const;
    for (const [scheme, ranks] of schemes) {
      const { factors, bias } = await fits.fit(scheme, ranks);
      const chain = chainOf(scheme, factors);
      for (const p of [0, 17, 399]) {
        const patch = x.subarray(p * D, (p + 1) * D);
        const made = chain(patch);
        for (let o = 0; o < O; o++) {
          let wanted = 0;
          for (let i = 0; i < D; i++) wanted += w[o * D + i]! * patch[i]!;
          expect(Math.abs(made[o]! + bias![o]! - wanted), scheme).toBeLessThan(1e-5 * 40);
        }
      }
    }
  });

  it("of a layer that stays whole are the regression on what it gets, and its own weights with a bias", async () => {
    const moments = momentsOf(x, z);
    const { covariance, cross, meanX, meanZ } = moments;
    let trace = 0;
    for (let i = 0; i < D; i++) trace += covariance[i * (D + 1)]!;
    const r = (1e-3 * trace) / D + 1e-12;
    const lifted = covariance.map((value, e) => value + (e % (D + 1) ? 0 : r));
    const wanted = matrixProduct(w, cross, O, D, D).map((value, e) => value + r * w[e]!);
    const fits = await fitsOf(true);
    const fit = await fits.fit("whole", []);
    expect(fit.factors.map(({ shape }) => shape)).toEqual([site.shape]);
    const found = fit.factors[0]!.data as Float32Array;
    const largest = Math.max(...wanted.map(Math.abs));
    const solved = matrixProduct(found, lifted, O, D, D);
    for (let e = 0; e < O * D; e++) expect(Math.abs(solved[e]! - wanted[e]!)).toBeLessThan(1e-5 * largest);
    const kept = await fits.rebiased({
      site: "y",
      scheme: "whole",
      factors: [{ shape: site.shape, data: Float32Array.from(w) }],
    });
    for (const { factors, bias } of [fit, kept])
      for (let o = 0; o < O; o++) {
        let difference = 0;
        for (let i = 0; i < D; i++)
          difference += w[o * D + i]! * meanX[i]! - (factors[0]!.data as Float32Array)[o * D + i]! * meanZ[i]!;
        expect(Math.abs(bias![o]! - difference)).toBeLessThan(1e-4);
      }
  });

  it("of inputs that are always the same keep the outputs by the bias", async () => {
    const still = Float64Array.from({ length: N * D }, (_, e) => 2 + (e % D) / D);
    const moments = momentsOf(still, still);
    const fits = await LayerFits.of(new Products(await testEngine(), null), site, moments, {
      ridge: 1e-3,
      multiple: 8,
      refit: false,
    });
    const { factors, bias } = await fits.fit("kernelFirst", [1]);
    const made = chainOf("kernelFirst", factors)(still.subarray(0, D));
    for (let o = 0; o < O; o++) {
      let wanted = 0;
      for (let i = 0; i < D; i++) wanted += w[o * D + i]! * still[i]!;
      expect(made[o]! + bias![o]!).toBeCloseTo(wanted, 3);
    }
  });
});

it("fits of a transposed convolution keep the means of its outputs by the bias", async () => {
  const [outputs, inputs, kernel, strides] = [3, 6, [3, 2], [2, 1]] as const;
  const taps = kernel[0] * kernel[1];
  // 400 places of a torus, so that each output has all taps that the strides leave it
  const [height, width] = [20, 20];
  const weights = sines(outputs * inputs * taps, 0.9, 0.17);
  const bias = sines(outputs, 0.4, 0.1);
  const channels = sines(N * inputs, 1.3, 0.3).map((value, e) => value + 2 + (e % inputs));
  const transposed = {
    ...site,
    ...{ kind: "transposedConvolution", op: "ConvTranspose", shape: [outputs, inputs, ...kernel] },
    geometry: { kernel, strides, dilations: [1, 1], pads: [0, 0, 0, 0], autoPad: "NOTSET" },
    counts: { weights: weights.length, multiplications: weights.length * N },
    weights: async () => Float32Array.from(weights),
    bias: async () => Float32Array.from(bias),
  } as unknown as OnnxSite;
  /** the mean of every output, for weights outputs×made×taps and vectors of `made` entries a place */
  const means = (w: ArrayLike<number>, made: number, vectors: Float64Array, b: ArrayLike<number>): number[] => {
    const image = new Float64Array(outputs * height * strides[0] * width * strides[1]);
    const [rows, columns] = [height * strides[0], width * strides[1]];
    for (let place = 0; place < N; place++)
      for (let o = 0; o < outputs; o++)
        for (let tap = 0; tap < taps; tap++) {
          const row = (Math.floor(place / width) * strides[0] + Math.floor(tap / kernel[1])) % rows;
          const column = ((place % width) * strides[1] + (tap % kernel[1])) % columns;
          for (let i = 0; i < made; i++)
            image[(o * rows + row) * columns + column]! += w[(o * made + i) * taps + tap]! * vectors[place * made + i]!;
        }
    const area = rows * columns;
    return Array.from(
      { length: outputs },
      (_, o) => b[o]! + image.subarray(o * area, (o + 1) * area).reduce((sum, value) => sum + value, 0) / area,
    );
  };
  const fits = await LayerFits.of(new Products(await testEngine(), null), transposed, momentsOf(channels, channels), {
    ...{ ridge: 1e-3, multiple: 8, refit: false },
  });
  const wanted = means(weights, inputs, channels, bias);
  for (const rank of [1, 3]) {
    const fit = await fits.fit("pointwiseFirst", [rank]);
    const [first, last] = fit.factors.map(({ data }) => data) as [Float32Array, Float32Array];
    const seen = Float64Array.from({ length: N * rank }, (_, e) => {
      let sum = 0;
      for (let i = 0; i < inputs; i++)
        sum += first[(e % rank) * inputs + i]! * channels[Math.floor(e / rank) * inputs + i]!;
      return sum;
    });
    const gaps = (b: ArrayLike<number>): number[] =>
      means(last, rank, seen, b).map((mean, o) => Math.abs(mean - wanted[o]!));
    expect(Math.max(...gaps(fit.bias!)), `rank ${rank}`).toBeLessThan(1e-4);
    expect(Math.max(...gaps(bias)), `rank ${rank}`).toBeGreaterThan(0.05);
    expect((await fits.rebiased(fit)).bias).toEqual(fit.bias);
  }
});

describe("from few patches", () => {
  /** Samples of 12 patches each, which share most of what they are: x, and z of a network that changes it. */
  const drawn = normals(5);
  const mixing = drawn(D * D, 1 / Math.sqrt(D));
  const rowsOf = (samples: number): { x: Float64Array; z: Float64Array } => {
    const out = { x: new Float64Array(samples * 12 * D), z: new Float64Array(samples * 12 * D) };
    for (let sample = 0, at = 0; sample < samples; sample++) {
      const shared = drawn(D);
      for (let patch = 0; patch < 12; patch++) {
        const own = drawn(D, 0.4);
        for (let i = 0; i < D; i++, at++) {
          let value = 1;
          for (let j = 0; j < D; j++) value += mixing[i * D + j]! * (shared[j]! + own[j]!);
          out.x[at] = value;
          out.z[at] = value + drawn(1, 0.3)[0]!;
        }
      }
    }
    return out;
  };
  const collected = async (
    rows: { x: Float64Array; z: Float64Array },
    parts: number,
    pair = true,
  ): Promise<Moments> => {
    const sums = new MomentSums(new Products(await testEngine(), null), D, pair, parts);
    const count = rows.x.length / D;
    for (let p = 0; p < count; p++)
      await sums.add(
        (which, out, at, shift) => {
          for (let i = 0; i < D; i++) out[at + i] = rows[which][p * D + i]! - shift[i]!;
        },
        Math.floor((p * parts) / count),
      );
    return await sums.finish();
  };
  const [few, many, fresh] = [rowsOf(6), rowsOf(400), rowsOf(60)];
  /** what of the energy of new samples' centred outputs a fit loses */
  const lostBy = (
    fit: Pick<OnnxReplacement, "factors" | "bias">,
    scheme: FittedScheme,
    inputs: Float64Array,
    targets = fresh.x,
  ): number => {
    const chain = chainOf(scheme, fit.factors);
    const count = targets.length / D;
    const sums = Array.from({ length: O }, () => [0, 0, 0] as [sum: number, squares: number, lost: number]);
    for (let p = 0; p < count; p++) {
      const made = chain(inputs.subarray(p * D, (p + 1) * D));
      for (let o = 0; o < O; o++) {
        let wanted = 0;
        for (let i = 0; i < D; i++) wanted += w[o * D + i]! * targets[p * D + i]!;
        const sum = sums[o]!;
        sum[0] += wanted;
        sum[1] += wanted ** 2;
        sum[2] += (wanted - made[o]! - fit.bias![o]!) ** 2;
      }
    }
    const energy = sums.reduce((total, [sum, squares]) => total + squares - sum ** 2 / count, 0);
    return sums.reduce((total, [, , lost]) => total + lost, 0) / energy;
  };
  const fitsFrom = async (train: typeof few, parts: number, refit: boolean) =>
    LayerFits.of(new Products(await testEngine(), null), site, await collected(train, parts, refit), {
      ...{ ridge: refit ? 1e-2 : 1e-3, multiple: 8, refit },
    });
  const refitted = async (train: typeof few, scheme: FittedScheme, ranks: number[], parts: number) => {
    const fits = await fitsFrom(train, parts, true);
    return { lost: lostBy(await fits.fit(scheme, ranks), scheme, fresh.z), ridge: fits.ridgeTaken };
  };

  it.each([
    ["horizontal", [5]],
    ["vertical", [5]],
    ["pointwiseFirst", [4]],
    ["tucker2", [4, 6]],
    ["kernelFirst", [6]],
  ] as [FittedScheme, number[]][])(
    "a refit by %s loses less on new samples by the ridge that parts choose",
    async (scheme, ranks) => {
      const [fixed, chosen] = [await refitted(few, scheme, ranks, 1), await refitted(few, scheme, ranks, 3)];
      expect(fixed.ridge).toBeCloseTo(0.01, 6);
      expect(chosen.ridge).toBeGreaterThan(0.2);
      expect(chosen.lost).toBeLessThan(0.8 * fixed.lost);
    },
  );

  it("first fits are drawn to the weights, and lose about what their candidates say of new samples", async () => {
    const moments = await collected(few, 1, false);
    const ridge = firstRidge(site, moments.count);
    expect(ridge).toBeCloseTo(1e-3 + D / 144, 10);
    expect([firstRidge(site, 12 * D), firstRidge({ ...site, groups: 5 }, 20)]).toEqual([1e-3, 1e-3]);
    const of = async (ridge: number) => {
      const given = { ...moments, covariance: Float64Array.from(moments.covariance) };
      const fits = await LayerFits.of(new Products(await testEngine(), null), site, given, {
        ...{ ridge, multiple: 8, refit: false },
      });
      const out = new Map<string, { told: number; seen: number; lost: number; train: number }>();
      for (const candidate of await fits.candidates()) {
        const { scheme, ranks, error } = candidate;
        const fit = await fits.fit(scheme, ranks);
        const [lost, train] = [lostBy(fit, scheme, fresh.x), lostBy(fit, scheme, few.x, few.x)];
        const seen = error - (await fits.ridgePart(candidate));
        out.set(`${scheme} ${ranks}`, { told: error, seen, lost, train });
      }
      return out;
    };
    const [small, large] = [await of(1e-3), await of(ridge)];
    for (const all of [small, large]) {
      // of the patches themselves they lose what is left without the ridge, in another unit
      const units = [...all.values()].map(({ seen, train }) => seen / train);
      expect(Math.max(...units) / Math.min(...units)).toBeLessThan(1.001);
    }
    const schemes = new Set<string>();
    for (const [name, { told, lost }] of large) {
      const before = small.get(name);
      if (!before || before.told > 0.1) continue;
      schemes.add(name.split(" ")[0]!);
      expect(before.told / before.lost, name).toBeLessThan(0.11);
      expect(told / lost, name).toBeGreaterThan(0.28);
      expect(told / lost, name).toBeLessThan(1);
      expect(lost, name).toBeLessThan(1.12 * before.lost);
    }
    expect([...schemes].sort()).toEqual(["horizontal", "vertical"]);
  });

  it("what the ridge adds to the error of groups is that of each", async () => {
    const products = new Products(await testEngine(), null);
    const options = { ridge: 0.3, multiple: 8, refit: false };
    const twice = (values: Float64Array): Float64Array => Float64Array.from([...values, ...values]);
    const one = await collected(few, 1, false);
    const both = { ...one, meanX: twice(one.meanX), meanZ: twice(one.meanZ), covariance: twice(one.covariance) };
    const grouped = await fitsOf(
      products,
      {
        ...site,
        ...{ groups: 2, shape: [2 * O, I, 3, 3], counts: { weights: 2 * O * D, multiplications: 2 * O * D * 80 } },
        weights: async () => Float32Array.from(twice(w)),
      },
      { ...both, cross: both.covariance },
      options,
    );
    const alone = await LayerFits.of(products, { ...site, weights: async () => Float32Array.from(w) }, one, options);
    const [candidate] = await alone.candidates();
    const [part, wanted] = [await grouped.ridgePart(candidate!), await alone.ridgePart(candidate!)];
    expect(wanted).toBeGreaterThan(0.01);
    expect(part).toBeCloseTo(wanted, 6);
  });

  it("a refit keeps a small ridge where there are many patches", async () => {
    const [fixed, chosen] = [await refitted(many, "horizontal", [5], 1), await refitted(many, "horizontal", [5], 3)];
    expect(chosen.ridge).toBeLessThan(0.06);
    expect(chosen.lost).toBeLessThan(1.1 * fixed.lost);
  });
});
