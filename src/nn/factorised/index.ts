export type { DenseSource, DenseWeights, FactorisedOptions } from "./source.js";
export { type DataAware, SvdLinear, type SvdLinearFit, type SvdLinearOptions, svdLinear } from "./svd.js";
export { TensorTrainLinear, type TtLinearFit, type TtLinearOptions, ttLinear } from "./tensorTrain.js";
