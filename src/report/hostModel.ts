/** Results of the GPU as models on the host, which figures are made of. */
import { TenfoldError } from "../gpu/index.js";
import { namedTensors, scaledParts } from "../tensors/files.js";
import {
  BlockTermTensor,
  KruskalTensor,
  NonnegativeFactors,
  Parafac2Tensor,
  type SavedTensor,
  TensorRing,
  TensorTrain,
  TuckerTensor,
} from "../tensors/index.js";
import type { HostModel, KruskalModel, TuckerModel, Values } from "./model.js";

/** Whether f32 holds a number of this size with all of its 24 bits, or as 0. */
export const fitsF32 = (value: number): boolean =>
  value === 0 || (Math.abs(value) >= 2 ** -126 && Math.abs(value) <= 3.4028234663852886e38);

/**
 * Reads a result of a tensor that was divided by 2^exponent.
 *
 * @returns the model of the tensor, or, where its numbers leave f32, of the divided one
 */
export async function hostModelOf(
  tensor: SavedTensor,
  exponent = 0,
): Promise<{ model: HostModel; isDivided: boolean }> {
  const parts = namedTensors(tensor);
  const read = await tensor.engine.read(parts.map(([, part]) => part));
  const arrays = new Map(parts.map(([name, { shape }], at): [string, Values] => [name, { shape, data: read[at]! }]));
  const scaled = scaledParts(tensor).map((name) => arrays.get(name)!);
  const scale = 2 ** exponent;
  // what is scaled to 0 is too small
  const fits = (value: number): boolean => value === 0 || (value * scale !== 0 && fitsF32(value * scale));
  const isDivided = exponent !== 0 && !scaled.every(({ data }) => data.every(fits));
  if (exponent !== 0 && !isDivided)
    for (const values of scaled) values.data = values.data.map((value) => value * scale);
  return { model: modelOf(tensor, arrays), isDivided };
}

function modelOf(tensor: SavedTensor, arrays: ReadonlyMap<string, Values>): HostModel {
  const numbered = (name: string, count: number): Values[] =>
    Array.from({ length: count }, (_, at) => arrays.get(`${name}_${at}`)!);
  const tucker = ({ factors }: TuckerTensor, prefix = ""): TuckerModel => ({
    kind: "tucker",
    core: arrays.get(`${prefix}core`)!,
    factors: factors.map((_, mode) => arrays.get(`${prefix}factor_${mode}`) ?? null),
  });
  if (tensor instanceof KruskalTensor)
    return {
      kind: "kruskal",
      weights: arrays.get("weights")!.data,
      factors: numbered("factor", tensor.factors.length),
    };
  if (tensor instanceof TuckerTensor) return tucker(tensor);
  if (tensor instanceof BlockTermTensor)
    return { kind: "blocks", blocks: tensor.blocks.map((block, g) => tucker(block, `block_${g}_`)) };
  if (tensor instanceof TensorTrain) return { kind: "train", cores: numbered("core", tensor.cores.length) };
  if (tensor instanceof TensorRing) return { kind: "ring", cores: numbered("ring_core", tensor.cores.length) };
  if (tensor instanceof NonnegativeFactors) return asKruskal(arrays.get("w")!, arrays.get("h")!);
  if (tensor instanceof Parafac2Tensor)
    return {
      kind: "kruskal",
      weights: arrays.get("weights")!.data,
      factors: ["a", "b", "c"].map((name) => arrays.get(name)!),
      projections: numbered("projection", tensor.projections.length),
    };
  throw new TenfoldError("hostModelOf: figures are made of models of one tensor, not of coupled tensors");
}

/** W·H as terms with columns of length 1. */
function asKruskal(w: Values, h: Values): KruskalModel {
  const [rows, rank] = w.shape as [number, number];
  const columns = h.shape[1]!;
  const left = Float32Array.from(w.data);
  const right = new Float32Array(columns * rank);
  const weights = new Float32Array(rank);
  for (let r = 0; r < rank; r++) {
    for (let j = 0; j < columns; j++) right[j * rank + r] = h.data[r * columns + j]!;
    weights[r] = normalise(left, rows, rank, r) * normalise(right, columns, rank, r);
  }
  return {
    kind: "kruskal",
    weights,
    factors: [
      { shape: [rows, rank], data: left },
      { shape: [columns, rank], data: right },
    ],
  };
}

/** Divides a column by its norm, which it returns. */
function normalise(data: Float32Array, rows: number, rank: number, r: number): number {
  let squares = 0;
  for (let i = 0; i < rows; i++) squares += data[i * rank + r]! ** 2;
  const norm = Math.sqrt(squares);
  if (norm > 0) for (let i = 0; i < rows; i++) data[i * rank + r]! /= norm;
  return norm;
}
