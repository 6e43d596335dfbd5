import { BlockTermTensor } from "./blockTerm.js";
import { KruskalTensor } from "./kruskal.js";
import { TensorRing } from "./tensorRing.js";
import { TensorTrain } from "./tensorTrain.js";
import { TuckerTensor } from "./tucker.js";

/** A tensor by its factors or cores: what decompositions return. */
export type DecomposedTensor = KruskalTensor | TuckerTensor | TensorTrain | TensorRing | BlockTermTensor;

/** The kinds of decomposed tensors, by the names that files have for them. */
export const KINDS = {
  kruskal: KruskalTensor,
  tucker: TuckerTensor,
  tensorTrain: TensorTrain,
  tensorRing: TensorRing,
  blockTerm: BlockTermTensor,
} as const;

export const isDecomposed = (x: unknown): x is DecomposedTensor =>
  Object.values(KINDS).some((Kind) => x instanceof Kind);
