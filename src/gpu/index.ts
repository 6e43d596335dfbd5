export { dispose } from "./dispose.js";
export * from "./engine.js";
export * from "./errors.js";
export * from "./kernel.js";
export { checkOptions, type OptionRule, type OptionRules, oneOf, optionRules } from "./options.js";
export type { Memory } from "./pool.js";
export { type Bindings, type Profile, type ProfileRow, Schedule, Scheduler } from "./schedule.js";
export * from "./tensor.js";
export { Variants } from "./variants.js";
