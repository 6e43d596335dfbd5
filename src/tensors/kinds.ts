import { BlockTermTensor } from "./blockTerm.js";
import type { CoupledTensor } from "./coupled.js";
import { KruskalTensor } from "./kruskal.js";
import type { NonnegativeFactors } from "./nonnegativeFactors.js";
import type { Parafac2Tensor } from "./parafac2Tensor.js";
import { TensorRing } from "./tensorRing.js";
import { TensorTrain } from "./tensorTrain.js";
import { TuckerTensor } from "./tucker.js";

/** A tensor by its factors or cores: what decompositions return. */
export type DecomposedTensor = KruskalTensor | TuckerTensor | TensorTrain | TensorRing | BlockTermTensor;

/** Results of other shapes than that of one tensor, and decomposed tensors: what files hold. */
export type SavedTensor = DecomposedTensor | Parafac2Tensor | CoupledTensor | NonnegativeFactors;

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
