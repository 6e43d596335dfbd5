export { POOL_BYTES } from "./buffers.js";
export { elementsOf } from "./data.js";
export { dispose } from "./dispose.js";
export { type Counters, type CreateOptions, Engine, type EngineOptions, isSoftware } from "./engine.js";
export * from "./errors.js";
export * from "./kernel.js";
export * as optionRules from "./optionRules.js";
export {
  checkOption,
  checkOptions,
  instanceOf,
  isList,
  type OptionRule,
  type OptionRules,
  oneOf,
  required,
  shown,
} from "./options.js";
export type { Memory } from "./pool.js";
export type { Profile, ProfileRow } from "./profile.js";
export { type HostStep, Program, Replay, type ReplayOptions, type Slab } from "./program.js";
export { type Bindings, Schedule, Scheduler } from "./schedule.js";
export { type Send, STAGED, Staging } from "./staging.js";
export * from "./tensor.js";
/** @internal */
export { type Transfer, transfer } from "./transfer.js";
export { Variants } from "./variants.js";
