/** Inputs of the cases. They are the same numbers for tenfold, for every peer and in the Python script. */
import { sizeOf } from "../src/gpu/index.js";
import { LENET_PARAMETERS, type Lenet, type Modelled, type Network, type Planted, type Values } from "./case.js";

/** A well-mixed 32-bit hash (Wellons' lowbias32); NumPy computes the same in the Python script. */
export function hash(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Numbers from `low` to `high`, made of the seed and the index alone. */
export function values({ shape, seed, low = -1, high = 1 }: Values): Float32Array {
  const out = new Float32Array(sizeOf(shape));
  const start = hash(seed);
  const step = (high - low) / 2 ** 32;
  for (let i = 0; i < out.length; i++) out[i] = low + hash(start + i) * step;
  return out;
}

/** Seed of the factor of a mode of a planted tensor. */
const factorSeed = (seed: number, mode: number): number => seed * 16 + mode + 1;

/** A sum of `rank` rank-one terms plus noise from −noise to noise. */
export function planted({ shape, seed, rank, noise }: Planted): Float32Array {
  const factors = shape.map((extent, mode) => values({ shape: [extent, rank], seed: factorSeed(seed, mode) }));
  const out = values({ shape, seed, low: -noise, high: noise });
  const last = factors.at(-1)!;
  const width = shape.at(-1)!;
  const rows = out.length / width;
  const weights = new Float64Array(rank);
  for (let row = 0; row < rows; row++) {
    let rest = row;
    weights.fill(1);
    for (let mode = shape.length - 2; mode >= 0; mode--) {
      const at = (rest % shape[mode]!) * rank;
      rest = Math.floor(rest / shape[mode]!);
      for (let r = 0; r < rank; r++) weights[r]! *= factors[mode]![at + r]!;
    }
    for (let k = 0; k < width; k++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += weights[r]! * last[k * rank + r]!;
      out[row * width + k]! += sum;
    }
  }
  return out;
}

/**
 * Factors of a tensor whose columns have the cosine in pairs: √c·q₀ + √(1 − c)·qᵣ of orthonormal q, made by Gram and Schmidt's process.
 * Where it is null they are uniform on ±1.
 */
export function modelFactors({ shape, seed, rank, cosine }: Modelled): Float64Array[] {
  return shape.map((extent, mode) => {
    const columns = cosine === null ? rank : rank + 1;
    const basis = Float64Array.from(values({ shape: [extent, columns], seed: factorSeed(seed, mode) }));
    if (cosine === null) return basis;
    for (let column = 0; column < columns; column++) {
      for (let before = 0; before <= column; before++) {
        let product = 0;
        for (let i = 0; i < extent; i++) product += basis[i * columns + before]! * basis[i * columns + column]!;
        for (let i = 0; i < extent; i++)
          if (before === column) basis[i * columns + column]! /= Math.sqrt(product);
          else basis[i * columns + column]! -= product * basis[i * columns + before]!;
      }
    }
    const [common, single] = [Math.sqrt(cosine), Math.sqrt(1 - cosine)];
    return Float64Array.from(
      { length: extent * rank },
      (_, at) =>
        common * basis[Math.floor(at / rank) * columns]! +
        single * basis[Math.floor(at / rank) * columns + 1 + (at % rank)]!,
    );
  });
}

/** The sum of the terms of these factors, entry by entry, in f64. */
export function sumOfTerms(
  shape: readonly number[],
  factors: readonly ArrayLike<number>[],
  weights: ArrayLike<number>,
): Float64Array {
  const rank = weights.length;
  // rows of the product of the modes so far, a column for each term
  let rows = Float64Array.from(weights);
  let count = 1;
  for (const [mode, extent] of shape.slice(0, -1).entries()) {
    const next = new Float64Array(count * extent * rank);
    for (let row = 0; row < count; row++)
      for (let i = 0; i < extent; i++)
        for (let r = 0; r < rank; r++)
          next[(row * extent + i) * rank + r] = rows[row * rank + r]! * factors[mode]![i * rank + r]!;
    rows = next;
    count *= extent;
  }
  const last = factors.at(-1)!;
  const width = shape.at(-1)!;
  const out = new Float64Array(count * width);
  for (let row = 0; row < count; row++)
    for (let k = 0; k < width; k++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += rows[row * rank + r]! * last[k * rank + r]!;
      out[row * width + k] = sum;
    }
  return out;
}

/** A tensor of these terms, with weights 1, plus noise. */
export function modelled(spec: Modelled): Float32Array {
  const { shape, seed, rank, noise } = spec;
  const model = sumOfTerms(shape, modelFactors(spec), new Float64Array(rank).fill(1));
  const mean = Math.sqrt(model.reduce((sum, value) => sum + value * value, 0) / model.length);
  // uniform numbers on ±b have the standard deviation b/√3
  const bound = noise * mean * Math.sqrt(3);
  const added = values({ shape, seed, low: -1, high: 1 });
  return Float32Array.from(model, (value, at) => value + bound * added[at]!);
}

/** Samples that are a template of their class plus noise, so that a network can learn them; `pixels` are multiples of 1/255. */
function samplesOf(count: number, width: number, classes: number, seed: number, pixels: boolean) {
  const inputs = values({ shape: [count, width], seed, low: 0, high: 0.5 });
  const templates = values({ shape: [classes, width], seed: seed + 1, low: 0, high: 0.5 });
  const labels = new Float32Array(count);
  for (let row = 0; row < count; row++) {
    const label = hash(seed * 7919 + row) % classes;
    labels[row] = label;
    for (let j = 0; j < width; j++) inputs[row * width + j]! += templates[label * width + j]!;
  }
  if (pixels) for (const [at, value] of inputs.entries()) inputs[at] = Math.round(255 * value) / 255;
  return { inputs, labels };
}

/** Start values, uniform on ±1/√terms, where terms is the number of inputs of an output. */
function startValues(shape: readonly number[], seed: number): Float32Array {
  const bound = 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1));
  return values({ shape, seed, low: -bound, high: bound });
}

/** Samples, labels, and start values of both layers' weights and (zero) biases. */
export function network({ inputs: n, hidden, classes, pixels, samples, seed }: Network): Float32Array[] {
  const { inputs, labels } = samplesOf(samples, n, classes, seed, pixels);
  return [
    inputs,
    labels,
    startValues([hidden, n], seed + 2),
    new Float32Array(hidden),
    startValues([classes, hidden], seed + 3),
    new Float32Array(classes),
  ];
}

/** Images, labels, and start values of all weights and (zero) biases. */
export function lenet({ samples, seed }: Lenet): Float32Array[] {
  const { inputs, labels } = samplesOf(samples, 784, 10, seed, true);
  const parameters = LENET_PARAMETERS.map((shape, index) =>
    shape.length > 1 ? startValues(shape, seed + 2 + index) : new Float32Array(shape[0]!),
  );
  return [inputs, labels, ...parameters];
}
