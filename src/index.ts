// The public names of `tenfold`, one by one: what is not here is internal, and may change in any version.
// test/package/api.md has what they look like; `npm run api` writes it anew.

// compressing a trained network
export {
  type Choice,
  type Compressed,
  type CompressedLayer,
  CompressionPlan,
  type CompressOptions,
  compress,
  type PlannedCandidate,
  type PlannedLayer,
  type PlanOptions,
  type SelectOptions,
} from "./compress/compress.js";
export { type Decomposer, type Factorised, type FitContext, METHODS, type Method } from "./compress/methods.js";
export type { Candidate, Cost, Target } from "./compress/select.js";
export { type Timed, timeForward } from "./compress/time.js";
// tensor decompositions
export { type BlockTermOptions, blockTermALS } from "./decompositions/blockTerm.js";
export type { Checkpoint, CheckpointOptions } from "./decompositions/checkpointOptions.js";
export { type CmtfDecomposition, type CmtfOptions, type CoupledData, cmtf } from "./decompositions/cmtf.js";
export { type CpOptions, CpSolver, type CpSolverOptions, cpALS } from "./decompositions/cp.js";
export type { CpConstraint } from "./decompositions/cpConstraints.js";
export {
  type Correction,
  type CorrectionOptions,
  cpErrorPreserving,
  degeneracy,
} from "./decompositions/cpCorrection.js";
export { type CpDecomposition, type CpGaussNewtonOptions, type CpStarts, cp } from "./decompositions/cpGaussNewton.js";
export type { GevdTold, StartsProgress } from "./decompositions/cpStarts.js";
export { type EvbmfResult, evbmf } from "./decompositions/evbmf.js";
export {
  type Convergence,
  ConvergenceError,
  type Decomposition,
  type Iteration,
  type StoppingOptions,
} from "./decompositions/iterate.js";
// matrices
export {
  EigenFactors,
  eigh,
  LeastSquares,
  type LinalgOptions,
  type LstsqOptions,
  lstsq,
  type PcaOptions,
  PrincipalComponents,
  pca,
  QrFactors,
  qr,
  SvdFactors,
  svd,
} from "./decompositions/linalg.js";
export { type NmfOptions, nmf } from "./decompositions/nmf.js";
export { type NonnegativeTuckerOptions, nonnegativeTucker } from "./decompositions/nonnegativeTucker.js";
export {
  type Parafac2Decomposition,
  type Parafac2Options,
  parafac2,
} from "./decompositions/parafac2.js";
export type { Parafac2Slice } from "./decompositions/parafac2Slices.js";
export {
  type RankFit,
  type RankProfile,
  type RankProfileOptions,
  type RankProgress,
  rankProfile,
} from "./decompositions/rankProfile.js";
export { leadingSubspace, type SubspaceOptions, type SubspaceResult } from "./decompositions/subspace.js";
export {
  type TensorRingAlsOptions,
  type TensorRingOptions,
  type TensorRingResult,
  tensorRingALS,
  tensorRingSVD,
} from "./decompositions/tensorRing.js";
export {
  type TtMatrixOptions,
  type TtMatrixResult,
  type TtOptions,
  type TtResult,
  ttMatrix,
  ttSVD,
} from "./decompositions/tensorTrain.js";
export { TruncatedSvd, type TruncatedSvdOptions, truncatedSvd } from "./decompositions/truncatedSvd.js";
export { type EntrySource, type TtCrossOptions, type TtCrossResult, ttCross } from "./decompositions/ttCross.js";
export { hosvd, stHosvd, type TuckerOptions, tuckerHOOI } from "./decompositions/tucker.js";
// the engine, schedules, tensors, and what a kernel of one's own needs
export { type Counters, type CreateOptions, Engine, type EngineOptions, isSoftware } from "./gpu/engine.js";
export {
  DeviceLostError,
  type ErrorCode,
  KernelError,
  OutOfLimitsError,
  ShapeError,
  TenfoldError,
} from "./gpu/errors.js";
export {
  type Constants,
  type Grid,
  grid1d,
  Kernel,
  type Params,
  type ShaderBinding,
  type ShaderConstant,
  type ShaderParam,
  type ShaderSource,
} from "./gpu/kernel.js";
export type { Memory } from "./gpu/pool.js";
export type { Profile, ProfileRow } from "./gpu/profile.js";
export { type HostStep, Program, Replay, type ReplayOptions, type Slab } from "./gpu/program.js";
export { type Bindings, Schedule, Scheduler } from "./gpu/schedule.js";
export {
  type ArrayOf,
  type DType,
  type DTypeOf,
  type NestedNumbers,
  type Storage,
  Tensor,
  type TensorData,
  type TypedArray,
} from "./gpu/tensor.js";
export { Variants } from "./gpu/variants.js";
// files
export type { Numeric, NumericArray } from "./io/array.js";
export {
  readCsv,
  readTns,
  type TextArray,
  type TextEntries,
  type TextForm,
  TextReader,
  type TextTable,
} from "./io/columns.js";
export { FormatError } from "./io/errors.js";
export { type Hdf5Array, type Hdf5Arrays, type Hdf5Classes, hdf5Arrays, isHdf5Signature } from "./io/hdf5.js";
export { readIdx } from "./io/idx.js";
export { readMat } from "./io/mat.js";
export { NamedArrays } from "./io/named.js";
export { type NpyHeader, readNpy, readNpyHeader, writeNpy } from "./io/npy.js";
export { readNpz, writeNpz } from "./io/npz.js";
export { readSafetensors, type SafeTensors, writeSafetensors } from "./io/safetensors.js";
// networks, their layers and training
export { Affine, type AffineOptions } from "./nn/affine.js";
export { Chain } from "./nn/chain.js";
export { ConcatConstant, type ConcatConstantOptions } from "./nn/concatConstant.js";
export { Conv1d, type Conv1dOptions } from "./nn/conv1d.js";
export {
  AveragePool2d,
  BatchNorm,
  Conv2d,
  type Conv2dOptions,
  Conv3d,
  type Conv3dOptions,
  MaxPool2d,
  type Pool2dOptions,
} from "./nn/convolution.js";
export { ConvTranspose2d, type ConvTranspose2dOptions } from "./nn/convTranspose2d.js";
// decomposed layers
export {
  type AlternatingFit,
  BlockTermConv,
  type BlockTermConvFit,
  type BlockTermConvOptions,
  blockTermConv,
  type ConvolutionFit,
  type ConvolutionShape,
  type ConvolutionSource,
  type ConvolutionWeights,
  CpConv,
  type CpConvFit,
  cpConv,
  FactorisedConv,
  type RankOptions,
  SeparableBasisConv,
  SpatialConv,
  separableBasisConv,
  spatialConv,
  Tucker2Conv,
  type Tucker2ConvFit,
  type Tucker2ConvOptions,
  tucker2Conv,
} from "./nn/factorised/factorisedConv.js";
export type { DenseSource, DenseWeights, FactorisedOptions } from "./nn/factorised/source.js";
export {
  type DataAware,
  SvdLinear,
  type SvdLinearFit,
  type SvdLinearOptions,
  svdLinear,
} from "./nn/factorised/svdLinear.js";
export {
  TensorRingConv,
  type TensorRingConvFit,
  type TensorRingConvOptions,
  tensorRingConv,
} from "./nn/factorised/tensorRingConv.js";
export {
  TensorRingLinear,
  type TensorRingLinearFit,
  type TensorRingLinearOptions,
  tensorRingLinear,
} from "./nn/factorised/tensorRingLinear.js";
export {
  TensorTrainLinear,
  type TtLinearFit,
  type TtLinearOptions,
  ttLinear,
} from "./nn/factorised/tensorTrainLinear.js";
export { Tucker2Conv3d, type Tucker2Conv3dOptions, tucker2Conv3d } from "./nn/factorised/tucker2Conv3d.js";
export {
  TuckerLinear,
  type TuckerLinearFit,
  type TuckerLinearOptions,
  tuckerLinear,
} from "./nn/factorised/tuckerLinear.js";
export { foldBatchNorm } from "./nn/fold.js";
export { GlobalAveragePool } from "./nn/globalAveragePool.js";
export { Join } from "./nn/join.js";
export { Add, Concat, MatMul, Multiply } from "./nn/joins.js";
export { type Arena, allocateParameters, type Counts, type Layer, Parameter, type Pass } from "./nn/layer.js";
export { LayerNorm, type LayerNormOptions } from "./nn/layerNorm.js";
export { Activate, Dropout, Flatten, Linear, type LinearOptions, ReLU } from "./nn/layers.js";
export { lenet } from "./nn/lenet.js";
export { crossEntropy, distillation, type Loss, meanSquaredError } from "./nn/loss.js";
export { Reshape, Slice, Transpose, Upsample2d } from "./nn/moves.js";
export { type AddPlace, Network, type NetworkOptions, type Place, type PlaceOptions } from "./nn/network.js";
export {
  type AdamOptions,
  adam,
  type Optimiser,
  type OptimiserState,
  type SgdOptions,
  sgd,
} from "./nn/optimisers.js";
export { Resize, type ResizeOptions } from "./nn/resize.js";
export { Rowwise } from "./nn/rowwise.js";
export { loadModel, loadNetwork, saveModel } from "./nn/save.js";
export { Sequential, type SequentialOptions } from "./nn/sequential.js";
export { Softmax } from "./nn/softmax.js";
export type { NormalStart } from "./nn/startValues.js";
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
} from "./nn/train.js";
export type { Activation } from "./ops/activations.js";
// operations to put into a schedule of one's own; tenfold/ops has the others
export type { Padding, Pair } from "./ops/conv2d.js";
export type { Triple } from "./ops/conv3d.js";
export { add, divide, multiply, subtract } from "./ops/elementwise.js";
export { fill } from "./ops/fill.js";
export { gram } from "./ops/gram.js";
export { hadamard } from "./ops/hadamard.js";
export { khatriRao } from "./ops/khatriRao.js";
export { kronecker } from "./ops/kronecker.js";
export { map, scale, type UnaryFunction } from "./ops/map.js";
export { type MatmulOptions, matmul } from "./ops/matmul.js";
export { type MttkrpOptions, mttkrp } from "./ops/mttkrp.js";
export { mean } from "./ops/norms.js";
export { orthogonalise } from "./ops/orthogonalise.js";
export { permute } from "./ops/permute.js";
export { normal, type RandomOptions, uniform } from "./ops/random.js";
export { sum, sumOfSquares } from "./ops/reduce.js";
export { slice } from "./ops/slice.js";
export { copy } from "./ops/stridedCopy.js";
export { jacobiSvd, type Svd } from "./ops/svd.js";
export { symmetricEigen } from "./ops/symmetricEigen.js";
export { toFloat } from "./ops/toFloat.js";
export { unpackBytes } from "./ops/unpackBytes.js";
// what decompositions read: one tensor, slabs of one, or a source of one's own
export type { NumberFormat, RowReader } from "./sources/feed.js";
export { Masked, type MaskedOptions, masked, type UnknownSlice } from "./sources/masked.js";
export { type Resident, resident, type TensorReader } from "./sources/resident.js";
export { type HostSlab, Slabs, slabs } from "./sources/slabs.js";
export type { Difference, Facts, Model, ProjectOptions, Reader, Source } from "./sources/source.js";
export { type SourceOptions, type StreamedOptions, source, streamed } from "./sources/streamed.js";
// results of decompositions
export { BlockTermTensor } from "./tensors/blockTerm.js";
export {
  arrange,
  type FactorMatch,
  type FactorMatchOptions,
  factorMatchScore,
  fixSigns,
  normalise,
  permuteTo,
} from "./tensors/components.js";
export { CoupledTensor } from "./tensors/coupled.js";
export { loadTensor, type SaveTensorOptions, saveTensor } from "./tensors/files.js";
export type { DecomposedTensor, SavedTensor } from "./tensors/kinds.js";
export { KruskalTensor } from "./tensors/kruskal.js";
export { NonnegativeFactors } from "./tensors/nonnegativeFactors.js";
export { Parafac2Tensor } from "./tensors/parafac2Tensor.js";
export { innerProduct, modeProduct, norm } from "./tensors/products.js";
export { TensorRing } from "./tensors/tensorRing.js";
export { TensorTrain } from "./tensors/tensorTrain.js";
export { TensorTrainMatrix } from "./tensors/tensorTrainMatrix.js";
export {
  ringToTrain,
  type TtOrthogonaliseOptions,
  type TtRoundOptions,
  trainToRing,
  ttAdd,
  ttEntries,
  ttHadamard,
  ttMultiply,
  ttOrthogonalise,
  ttRound,
  ttScale,
} from "./tensors/trains.js";
export { TuckerTensor } from "./tensors/tucker.js";
