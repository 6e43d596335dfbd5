/** Decomposed tensors of random numbers, and the full tensors that they stand for, in f64. */
import type { Engine } from "../../src/gpu/index.js";
import { BlockTermTensor, KruskalTensor, TensorRing, TensorTrain, TuckerTensor } from "../../src/tensors/index.js";
import { kruskal, modeProduct, unravel } from "../decompositions/planted.js";
import { randomArray } from "../reference.js";

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export interface Modelled<T> {
  tensor: T;
  full: Float64Array;
}

export function randomKruskal(
  engine: Engine,
  shape: number[],
  rank: number,
  seed: number,
  scale = 1,
): Modelled<KruskalTensor> {
  const factors = shape.map((extent, mode) => randomArray(extent * rank, seed + mode));
  const weights = randomArray(rank, seed + 50).map((value) => scale * value);
  const tensor = new KruskalTensor(
    engine.tensor([rank], weights),
    factors.map((data, mode) => engine.tensor([shape[mode]!, rank], data)),
  );
  const weighted = Float64Array.from(factors[0]!, (value, at) => value * weights[at % rank]!);
  return { tensor, full: kruskal([weighted, ...factors.slice(1)], shape, rank) };
}

/** A rank that is the extent gives the mode no factor. */
export function randomTucker(
  engine: Engine,
  shape: number[],
  ranks: number[],
  seed: number,
  scale = 1,
): Modelled<TuckerTensor> {
  const core = randomArray(sizeOf(ranks), seed).map((value) => scale * value);
  let full: Float64Array = Float64Array.from(core);
  const current = [...ranks];
  const factors = shape.map((extent, mode) => {
    if (extent === ranks[mode]) return null;
    const data = randomArray(extent * ranks[mode]!, seed + 1 + mode);
    full = modeProduct(full, current, data, extent, mode);
    current[mode] = extent;
    return engine.tensor([extent, ranks[mode]!], data);
  });
  return { tensor: new TuckerTensor(engine.tensor(ranks, core), factors), full };
}

/** Cores r_{k−1}×n_k×r_k for the ranks r_0 … r_d, whose full tensor closes where r_0 = r_d > 1. */
export function randomCores(shape: number[], ranks: number[], seed: number): Float32Array[] {
  return shape.map((extent, k) => randomArray(ranks[k]! * extent * ranks[k + 1]!, seed + k));
}

export function chainFull(cores: readonly ArrayLike<number>[], shape: number[], ranks: number[]): Float64Array {
  return Float64Array.from({ length: sizeOf(shape) }, (_, flat) => {
    const at = unravel(flat, shape);
    let total = 0;
    for (let start = 0; start < ranks[0]!; start++) {
      let row = Float64Array.from({ length: ranks[0]! }, (_, l) => (l === start ? 1 : 0));
      shape.forEach((extent, k) => {
        const right = ranks[k + 1]!;
        const next = new Float64Array(right);
        for (let l = 0; l < ranks[k]!; l++)
          for (let r = 0; r < right; r++) next[r]! += row[l]! * cores[k]![(l * extent + at[k]!) * right + r]!;
        row = next;
      });
      total += row[start]!;
    }
    return total;
  });
}

export function randomTrain(engine: Engine, shape: number[], ranks: number[], seed: number): Modelled<TensorTrain> {
  const cores = randomCores(shape, ranks, seed);
  const tensor = new TensorTrain(
    cores.map((data, k) => engine.tensor([ranks[k]!, shape[k]!, ranks[k + 1]!], data, { label: `core ${k}` })),
  );
  return { tensor, full: chainFull(cores, shape, ranks) };
}

export function randomRing(engine: Engine, shape: number[], ranks: number[], seed: number): Modelled<TensorRing> {
  const closed = [...ranks, ranks[0]!];
  const cores = randomCores(shape, closed, seed);
  const tensor = new TensorRing(cores.map((data, k) => engine.tensor([closed[k]!, shape[k]!, closed[k + 1]!], data)));
  return { tensor, full: chainFull(cores, shape, closed) };
}

export function randomBlocks(
  engine: Engine,
  shape: number[],
  ranks: number[],
  blocks: number,
  seed: number,
): Modelled<BlockTermTensor> {
  const parts = Array.from({ length: blocks }, (_, g) => randomTucker(engine, shape, ranks, seed + 20 * g));
  const full = Float64Array.from(parts[0]!.full, (_, e) => parts.reduce((sum, part) => sum + part.full[e]!, 0));
  return { tensor: new BlockTermTensor(parts.map(({ tensor }) => tensor)), full };
}

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
