export * from "./accumulate.js";
export { activate, activationGradient } from "./activation.js";
export { type Activation, activations, type Epilogue, isFromOutput } from "./activations.js";
export { addToCurve } from "./addToCurve.js";
export {
  type AlsNormalize,
  type AlsUpdate,
  alsNormalize,
  alsUpdate,
  fusesAls,
  MOST_ALS_RANK,
  type UnnormalizedFactor,
} from "./alsUpdate.js";
export * from "./appendRow.js";
export * from "./argmaxRows.js";
export { type BatchMatmulOptions, batchMatmul } from "./batchMatmul.js";
export * from "./batchNorm.js";
export * from "./boundedNorm.js";
export * from "./canonicalizeColumns.js";
export * from "./carefulGram.js";
export * from "./cholesky.js";
export * from "./contract.js";
export {
  type ConvolutionOptions,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  formatPadding,
  outputExtent,
  type Padding,
  type Pair,
  paddingBefore,
  paddingsOf,
  pair,
  type Side,
} from "./conv2d.js";
export * from "./conv3d.js";
export { type CoreSteps, coreSteps, fusesCoreSteps } from "./coreSteps.js";
export { type CpSweeps, cpSweeps, fusesSweeps } from "./cpSweeps.js";
export * from "./cutOff.js";
export * from "./diagonalBlocks.js";
export * from "./dropout.js";
export * from "./elementwise.js";
export * from "./fill.js";
export * from "./gatherBatch.js";
export * from "./gatherRows.js";
export * from "./gaussNewton.js";
export * from "./gram.js";
export * from "./hadamard.js";
export { type HalsOptions, hals } from "./hals.js";
export { fusesHals, type HalsUpdate, halsUpdate } from "./halsUpdate.js";
export { HISTOGRAM_BINS, type HistogramBin, histogram, histogramBins } from "./histogram.js";
export { type Inspection, inspect, inspection } from "./inspect.js";
export * from "./khatriRao.js";
export * from "./kronecker.js";
export * from "./kruskal.js";
export { layerNorm, layerNormGradient } from "./layerNorm.js";
export {
  LINE_SEARCH_ERROR,
  LINE_SEARCH_START,
  type LineSearchSteps,
  lineSearchChoice,
  lineSearchSteps,
  lineSearchTake,
} from "./lineSearch.js";
export { lowRankMatmul, MOST_LOW_RANK, prefersLowRank } from "./lowRankMatmul.js";
export * from "./map.js";
export * from "./matmul.js";
export * from "./missing.js";
export * from "./modeProduct.js";
export { MOMENTUM_START, type Momentum, momentum } from "./momentum.js";
export * from "./mttkrp.js";
export * from "./mttkrpFromPartial.js";
export * from "./norms.js";
export * from "./optimise.js";
export { blockReflector, EachQr, orthogonalise, reflectRows, rowStride, triangleOf } from "./orthogonalise.js";
export * from "./pasteColumns.js";
export * from "./permute.js";
export { type PolarOptions, polar } from "./polar.js";
export * from "./polish.js";
export {
  averagePool2d,
  averagePool2dGradient,
  maxPool2d,
  maxPool2dGradient,
  type PoolOptions,
  poolGeometry,
} from "./pool2d.js";
export * from "./random.js";
export { randomModels } from "./randomModels.js";
export {
  reduceMaximum,
  reduceMinimum,
  squaredDistance,
  sum,
  sumOfSquares,
} from "./reduce.js";
export * from "./scaleByPower.js";
export { threeNumbers } from "./shapes.js";
export * from "./slice.js";
export { softCrossEntropy } from "./softCrossEntropy.js";
export { softmax, softmaxGradient } from "./softmax.js";
export * from "./softmaxCrossEntropy.js";
export { solveCholesky } from "./solveCholesky.js";
export { solvePseudoInverse } from "./solvePseudoInverse.js";
export * from "./solveSymmetric.js";
export {
  axesParams,
  collapseAxes,
  copy,
  inVectors,
  MOST_AXES,
  stridesOf,
} from "./stridedCopy.js";
export * from "./svd.js";
export * from "./symmetricEigen.js";
export * from "./toFloat.js";
export * from "./trainDense.js";
export * from "./tridiagonalise.js";
export * from "./tucker2Conv2d.js";
export * from "./unfoldedProduct.js";
export { type UnimodalColumnsOptions, unimodalColumns } from "./unimodalColumns.js";
export {
  type ColumnParts,
  columnParts,
  MOST_MATRICES,
  prefersUnitColumns,
  type StackedMatrix,
  type UnitColumns,
  unitColumns,
} from "./unitColumns.js";
export { type UnitColumnsStepOptions, unitColumnsStep } from "./unitColumnsStep.js";
export * from "./unpackBytes.js";
export * from "./workCost.js";
