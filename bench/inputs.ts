/** Inputs of the cases: the same numbers here, in every peer and in the Python script. */
import { sizeOf } from "../src/gpu/index.js";
import type { Network, Planted, Values } from "./case.js";

/** A well-mixed 32-bit hash (Wellons' lowbias32); NumPy computes the same in the Python script. */
export function hash(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

export function values({ shape, seed, low = -1, high = 1 }: Values): Float32Array {
  const out = new Float32Array(sizeOf(shape));
  const start = hash(seed);
  const step = (high - low) / 2 ** 32;
  for (let i = 0; i < out.length; i++) out[i] = low + hash(start + i) * step;
  return out;
}

/** Seeds of what a planted tensor is made of. */
const factorSeed = (seed: number, mode: number): number => seed * 16 + mode + 1;

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
 * Samples N×n, labels, and the start values of both layers (outputs×inputs, as PyTorch keeps them; biases zero). Every class
 * has a template that its samples lean to, so that there is something to learn.
 */
export function network({ inputs, hidden, classes, pixels, samples, seed }: Network): Float32Array[] {
  const noise = values({ shape: [samples, inputs], seed, low: 0, high: 0.5 });
  const templates = values({ shape: [classes, inputs], seed: seed + 1, low: 0, high: 0.5 });
  const labels = new Float32Array(samples);
  for (let row = 0; row < samples; row++) {
    const label = hash(seed * 7919 + row) % classes;
    labels[row] = label;
    for (let j = 0; j < inputs; j++) noise[row * inputs + j]! += templates[label * inputs + j]!;
  }
  if (pixels) for (const [at, value] of noise.entries()) noise[at] = Math.round(255 * value) / 255;
  const layer = (outputs: number, width: number, index: number): Float32Array => {
    const bound = 1 / Math.sqrt(width);
    return values({ shape: [outputs, width], seed: seed + 2 + index, low: -bound, high: bound });
  };
  return [
    noise,
    labels,
    layer(hidden, inputs, 0),
    new Float32Array(hidden),
    layer(classes, hidden, 1),
    new Float32Array(classes),
  ];
}
