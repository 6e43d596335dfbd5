/**
 * Rules that many operations share: `optionRules.count`. Each is an export of its own, so that a program carries those that its
 * operations name.
 */
import { isList, type OptionRule } from "./options.js";

const wholeNumber = (least: number): OptionRule => ({
  needs: least === 0 ? "a whole number, 0 or more" : `a whole number, ${least} or more`,
  is: (value) => Number.isSafeInteger(value) && (value as number) >= least,
});

/** 0, 1, 2, … */
export const count = /* @__PURE__ */ wholeNumber(0);
/** 1, 2, … */
export const positive = /* @__PURE__ */ wholeNumber(1);
export const seed: OptionRule = {
  needs: "a whole number from 0 to 2³² − 1",
  elsewhere: "randomstate rng",
  is: (v) => Number.isInteger(v) && (v as number) >= 0 && (v as number) < 2 ** 32,
};
export const flag: OptionRule = { needs: "true or false", is: (v) => typeof v === "boolean" };
export const callback: OptionRule = { needs: "a function", is: (v) => typeof v === "function" };
export const signal: OptionRule = {
  needs: "an AbortSignal",
  is: (v) => typeof v === "object" && v !== null && "aborted" in v,
};
export const text: OptionRule = { needs: "a string", is: (v) => typeof v === "string" };
/** a finite number above 0 */
export const aboveZero: OptionRule = {
  needs: "a number above 0",
  is: (v) => typeof v === "number" && v > 0 && Number.isFinite(v),
};
/** a finite number of at least 0 */
export const atLeastZero: OptionRule = {
  needs: "a number, 0 or more",
  is: (v) => typeof v === "number" && v >= 0 && Number.isFinite(v),
};
/** between 0 and 1, neither included */
export const fraction: OptionRule = {
  needs: "a number between 0 and 1",
  is: (v) => typeof v === "number" && v > 0 && v < 1,
};
/** 0 or more, and less than 1 */
export const belowOne: OptionRule = {
  needs: "a number from 0 to below 1",
  is: (v) => typeof v === "number" && v >= 0 && v < 1,
};
/** from 0 to 1 */
export const share: OptionRule = {
  needs: "a number from 0 to 1",
  is: (v) => typeof v === "number" && v >= 0 && v <= 1,
};
/** a list of whole numbers ≥ 1, empty for a scalar */
export const shape: OptionRule = {
  needs: "a list of whole numbers, 1 or more, as in [2, 3]",
  is: (v) => isList(v) && v.every((extent) => wholeNumber(1).is(extent)),
};
/** a whole number ≥ 1, or a list of them */
export const ranks: OptionRule = {
  needs: "a whole number, 1 or more, or a list of them",
  is: (v) => wholeNumber(1).is(v) || (isList(v) && v.length > 0 && v.every((rank) => wholeNumber(1).is(rank))),
};
/** anything; checked elsewhere */
export const any: OptionRule = { needs: "a value", is: () => true };
