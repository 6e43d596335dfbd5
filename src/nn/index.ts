export { Affine, type AffineOptions } from "./affine.js";
export { Chain } from "./chain.js";
export { ConcatConstant, type ConcatConstantOptions } from "./concatConstant.js";
export { Conv1d, type Conv1dOptions } from "./conv1d.js";
export {
  AveragePool2d,
  BatchNorm,
  Conv2d,
  type Conv2dOptions,
  Conv3d,
  type Conv3dOptions,
  MaxPool2d,
  type Pool2dOptions,
} from "./convolution.js";
export { ConvTranspose2d, type ConvTranspose2dOptions } from "./convTranspose2d.js";
export * from "./factorised/index.js";
export { foldBatchNorm } from "./fold.js";
export { GlobalAveragePool } from "./globalAveragePool.js";
export { Join } from "./join.js";
export { Add, Concat, MatMul, Multiply } from "./joins.js";
export * from "./layer.js";
export { LayerNorm, type LayerNormOptions } from "./layerNorm.js";
export { Activate, Dropout, Flatten, Linear, type LinearOptions, ReLU } from "./layers.js";
export { LENET_SHAPE, lenet } from "./lenet.js";
export { crossEntropy, distillation, type Loss, meanSquaredError } from "./loss.js";
export { Reshape, Slice, Transpose, Upsample2d } from "./moves.js";
export { type AddPlace, Network, type NetworkOptions, type Place, type PlaceOptions } from "./network.js";
export * from "./optimisers.js";
export { rebuilt } from "./rebuild.js";
export { Resize, type ResizeOptions } from "./resize.js";
export { Rowwise } from "./rowwise.js";
export { cloneJoin, cloneLayer, loadModel, loadNetwork, saveModel } from "./save.js";
export { Sequential, type SequentialOptions } from "./sequential.js";
export { Softmax } from "./softmax.js";
export type { NormalStart } from "./startValues.js";
export {
  type Dataset,
  type Epoch,
  type Evaluation,
  evaluate,
  predict,
  type TargetDataset,
  type Training,
  type TrainOptions,
  train,
} from "./train.js";
