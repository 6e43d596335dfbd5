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
} from "./factorisedConv.js";
export { GroupedConv } from "./groupedConv.js";
export type { DenseSource, DenseWeights, FactorisedOptions } from "./source.js";
export { type DataAware, SvdLinear, type SvdLinearFit, type SvdLinearOptions, svdLinear } from "./svdLinear.js";
export {
  TensorRingConv,
  type TensorRingConvFit,
  type TensorRingConvOptions,
  tensorRingConv,
} from "./tensorRingConv.js";
export {
  TensorRingLinear,
  type TensorRingLinearFit,
  type TensorRingLinearOptions,
  tensorRingLinear,
} from "./tensorRingLinear.js";
export { TensorTrainLinear, type TtLinearFit, type TtLinearOptions, ttLinear } from "./tensorTrainLinear.js";
export { Tucker2Conv3d, type Tucker2Conv3dOptions, tucker2Conv3d } from "./tucker2Conv3d.js";
export { TuckerLinear, type TuckerLinearFit, type TuckerLinearOptions, tuckerLinear } from "./tuckerLinear.js";
