// The public names of `tenfold/compress`, one by one.
export {
  type AblationStep,
  type CompressedLayer,
  type CompressedOnnx,
  type CompressOnnxOptions,
  type CurvePoint,
  compressOnnx,
  OnnxCompression,
  type OnnxRequest,
  type OnnxTarget,
  type OnnxVersion,
  type SampleDifference,
} from "./compressOnnx.js";
export type { FitCandidate, FittedScheme } from "./fits.js";
export { type ImageInput, type ImageOptions, imageInput } from "./images.js";
export type { TuningBoundary } from "./networkOf.js";
export type { Agreement, SampleAgreement } from "./outputs.js";
export type { OnnxCompressionOptions, OnnxPlan } from "./prepared.js";
export { samplesOf } from "./samples.js";
export {
  type OnnxArray,
  type OnnxFeeds,
  type OnnxRuntime,
  type OnnxSession,
  type OnnxSessions,
  runtimeSessions,
} from "./session.js";
export type { TunedStretch, Tuning } from "./tune.js";
