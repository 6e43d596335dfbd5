export { type BlockTermOptions, blockTermALS } from "./blockTerm.js";
export type { Checkpoint, CheckpointOptions } from "./checkpointOptions.js";
export { type CmtfDecomposition, type CmtfOptions, type CoupledData, cmtf } from "./cmtf.js";
export { type CpOptions, CpSolver, type CpSolverOptions, cpALS } from "./cp.js";
export type { CpConstraint } from "./cpConstraints.js";
export { type Correction, type CorrectionOptions, cpErrorPreserving, degeneracy } from "./cpCorrection.js";
export {
  type CpDecomposition,
  type CpGaussNewtonOptions,
  type CpStarts,
  cp,
  type GaussNewtonIteration,
  gaussNewtonIteration,
} from "./cpGaussNewton.js";
export type { GevdTold, StartsProgress } from "./cpStarts.js";
export { type EvbmfResult, evbmf } from "./evbmf.js";
export {
  type Convergence,
  ConvergenceError,
  type Decomposition,
  type Iteration,
  type StoppingOptions,
} from "./iterate.js";
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
} from "./linalg.js";
export { type NmfOptions, nmf } from "./nmf.js";
export { type NonnegativeTuckerOptions, nonnegativeTucker } from "./nonnegativeTucker.js";
export {
  type Parafac2Decomposition,
  type Parafac2Options,
  parafac2,
} from "./parafac2.js";
export type { Parafac2Slice } from "./parafac2Slices.js";
export {
  type RankFit,
  type RankProfile,
  type RankProfileOptions,
  type RankProgress,
  rankProfile,
} from "./rankProfile.js";
export { leadingSubspace, type SubspaceOptions, type SubspaceResult } from "./subspace.js";
export {
  type TensorRingAlsOptions,
  type TensorRingOptions,
  type TensorRingResult,
  tensorRingALS,
  tensorRingSVD,
} from "./tensorRing.js";
export {
  type TtMatrixOptions,
  type TtMatrixResult,
  type TtOptions,
  type TtResult,
  ttMatrix,
  ttSVD,
} from "./tensorTrain.js";
export { MOST_FACTORISED, TruncatedSvd, type TruncatedSvdOptions, truncatedSvd } from "./truncatedSvd.js";
export { type EntrySource, type TtCrossOptions, type TtCrossResult, ttCross } from "./ttCross.js";
export { type HooiSweep, hooiSweep, hosvd, stHosvd, type TuckerOptions, tuckerHOOI } from "./tucker.js";
