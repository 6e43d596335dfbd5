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
} from "./convolution.js";
export { Tucker2Conv3d, type Tucker2Conv3dOptions, tucker2Conv3d } from "./convolution3d.js";
export {
  TensorRingConv,
  type TensorRingConvFit,
  type TensorRingConvOptions,
  tensorRingConv,
} from "./ringConvolution.js";
export type { DenseSource, DenseWeights, FactorisedOptions } from "./source.js";
export { type DataAware, SvdLinear, type SvdLinearFit, type SvdLinearOptions, svdLinear } from "./svd.js";
export {
  TensorRingLinear,
  type TensorRingLinearFit,
  type TensorRingLinearOptions,
  tensorRingLinear,
} from "./tensorRing.js";
export { TensorTrainLinear, type TtLinearFit, type TtLinearOptions, ttLinear } from "./tensorTrain.js";
export { TuckerLinear, type TuckerLinearFit, type TuckerLinearOptions, tuckerLinear } from "./tucker.js";
