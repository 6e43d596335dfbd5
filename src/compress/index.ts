export { secondMoments } from "./calibrate.js";
export * from "./compress.js";
export {
  balancedModes,
  type Decomposer,
  evbmfRank,
  type Factorised,
  type FitContext,
  METHODS,
  type Method,
} from "./methods.js";
export { type Candidate, type Cost, selectRanks, type Target } from "./select.js";
export { type Timed, type Timer, timeForward } from "./time.js";
