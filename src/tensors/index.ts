export * from "./blockTerm.js";
export type { DecomposedTensor, SavedTensor } from "./kinds.js";
export * from "./kruskal.js";
export * from "./nonnegativeFactors.js";
export * from "./parafac2Tensor.js";
export * from "./tensorRing.js";
export * from "./tensorTrain.js";
export * from "./tensorTrainMatrix.js";
export * from "./tucker.js";
