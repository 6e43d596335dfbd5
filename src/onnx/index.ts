// The public names of `tenfold/onnx`, one by one.
export type { LeftAlone, OnnxGeometry } from "./layers.js";
export type { ExternalData, OnnxModel, OnnxValue } from "./model.js";
export { type FoldedOnnx, type FoldOnnxOptions, foldOnnx } from "./passes.js";
export {
  type ActivationRange,
  type QuantisableOp,
  type QuantisedLayer,
  type QuantisedLayersOptions,
  type QuantisedOnnx,
  type QuantiseOnnxOptions,
  quantiseOnnx,
  type Rounded,
  type RoundedRows,
} from "./quantise.js";
export {
  ActivationHistogram,
  type ActivationRangesOptions,
  activationRanges,
  type CalibrationSession,
  type RangeMethod,
  type RangeOptions,
} from "./ranges.js";
export { type ReadOnnxOptions, readOnnx } from "./read.js";
export {
  type OnnxFactor,
  type OnnxReplacement,
  type OnnxScheme,
  type ReplaceSitesOptions,
  replaceSites,
} from "./replace.js";
export type { KnownShapes } from "./shapes.js";
export { type OnnxSite, type OnnxSites, type OnnxSitesOptions, onnxSites } from "./sites.js";
export { type SplitOnnx, type SplitOnnxOptions, splitOnnx, writeOnnx } from "./write.js";
