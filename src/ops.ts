// The public names of `tenfold/ops`, one by one: operations that a schedule records, for authors of kernels, solvers and layers.
// Each takes a Scheduler, its tensors and options, and returns its output.

export { accumulate } from "./ops/accumulate.js";
export { activate, activationGradient } from "./ops/activation.js";
export type { Activation, Epilogue } from "./ops/activations.js";
export { addToCurve } from "./ops/addToCurve.js";
export { appendRow } from "./ops/appendRow.js";
export { argmaxRows } from "./ops/argmaxRows.js";
export { type BatchNormOptions, type BatchNormTensors, batchNorm, batchNormGradient } from "./ops/batchNorm.js";
export { carefulGram } from "./ops/carefulGram.js";
// factorising and solving
export { cholesky } from "./ops/cholesky.js";
// networks
export {
  type ConvolutionOptions,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  type Padding,
  type Pair,
  type Side,
} from "./ops/conv2d.js";
export {
  type Convolution3dOptions,
  conv3d,
  conv3dInputGradient,
  conv3dWeightGradient,
  type Triple,
} from "./ops/conv3d.js";
export { type DiagonalBlocksOptions, diagonalBlocks } from "./ops/diagonalBlocks.js";
export { type DropoutOptions, dropout } from "./ops/dropout.js";
// numbers
export {
  add,
  addRelu,
  divide,
  maximum,
  minimum,
  multiply,
  safeDivide,
  subtract,
} from "./ops/elementwise.js";
export { fill } from "./ops/fill.js";
export { type BatchOptions, gatherBatch } from "./ops/gatherBatch.js";
export { gatherRows } from "./ops/gatherRows.js";
export { gram } from "./ops/gram.js";
export { hadamard } from "./ops/hadamard.js";
export { khatriRao } from "./ops/khatriRao.js";
export { kronecker } from "./ops/kronecker.js";
export { kruskalResidual, kruskalToTensor, type MissingOptions } from "./ops/kruskal.js";
export { lowRankMatmul } from "./ops/lowRankMatmul.js";
export { map, scale, type UnaryFunction } from "./ops/map.js";
// products
export { type MatmulOptions, matmul } from "./ops/matmul.js";
export { markMissing } from "./ops/missing.js";
export { modeProduct } from "./ops/modeProduct.js";
export { type MttkrpOptions, mttkrp, partialMttkrp } from "./ops/mttkrp.js";
export { mttkrpFromPartial } from "./ops/mttkrpFromPartial.js";
export {
  columnNorms,
  innerProduct,
  largestMagnitude,
  mean,
  norm,
  normalizeColumns,
  scaleColumns,
  sumOfMagnitudes,
} from "./ops/norms.js";
export { type AdamSettings, adamStep, type SgdSettings, sgdStep } from "./ops/optimise.js";
export { orthogonalise } from "./ops/orthogonalise.js";
export { pasteColumns } from "./ops/pasteColumns.js";
// moving elements
export { permute } from "./ops/permute.js";
export {
  averagePool2d,
  averagePool2dGradient,
  maxPool2d,
  maxPool2dGradient,
  type PoolOptions,
} from "./ops/pool2d.js";
export { normal, type RandomOptions, uniform } from "./ops/random.js";
// sums and norms
export {
  reduceMaximum,
  reduceMinimum,
  squaredDistance,
  sum,
  sumOfSquares,
} from "./ops/reduce.js";
export { paste, slice } from "./ops/slice.js";
export { softCrossEntropy } from "./ops/softCrossEntropy.js";
export { type Curve, softmaxCrossEntropy } from "./ops/softmaxCrossEntropy.js";
export { type SolveOptions, solveSymmetric } from "./ops/solveSymmetric.js";
export { copy } from "./ops/stridedCopy.js";
export { jacobiSvd, type Svd } from "./ops/svd.js";
export { symmetricEigen } from "./ops/symmetricEigen.js";
export { toFloat } from "./ops/toFloat.js";
export { type Tucker2Weights, tucker2Conv2d } from "./ops/tucker2Conv2d.js";
export { unfoldedProduct } from "./ops/unfoldedProduct.js";
export { unpackBytes } from "./ops/unpackBytes.js";
