import { TenfoldError } from "./errors.js";

/** A check of one option's value: what it needs, in words, and whether a value is that. */
export interface OptionRule {
  needs: string;
  is(value: unknown): boolean;
}

/** A rule for every option of an operation. An option may be left out unless its rule says `required`. */
export type OptionRules<T> = { [K in keyof Required<T>]: OptionRule & { required?: boolean } };

const wholeNumber = (least: number): OptionRule => ({
  needs: least === 0 ? "a whole number, 0 or more" : `a whole number, ${least} or more`,
  is: (value) => Number.isSafeInteger(value) && (value as number) >= least,
});

/** Rules that many operations share. */
export const optionRules = {
  /** 0, 1, 2, … */
  count: wholeNumber(0),
  /** 1, 2, … */
  positive: wholeNumber(1),
  seed: {
    needs: "a whole number from 0 to 2³² − 1",
    is: (v) => Number.isInteger(v) && (v as number) >= 0 && (v as number) < 2 ** 32,
  },
  flag: { needs: "true or false", is: (v) => typeof v === "boolean" },
  callback: { needs: "a function", is: (v) => typeof v === "function" },
  signal: { needs: "an AbortSignal", is: (v) => typeof v === "object" && v !== null && "aborted" in v },
  text: { needs: "a string", is: (v) => typeof v === "string" },
  /** a finite number above 0 */
  aboveZero: { needs: "a number above 0", is: (v) => typeof v === "number" && v > 0 && Number.isFinite(v) },
  /** a finite number of at least 0 */
  atLeastZero: { needs: "a number, 0 or more", is: (v) => typeof v === "number" && v >= 0 && Number.isFinite(v) },
  /** between 0 and 1, neither included */
  fraction: { needs: "a number between 0 and 1", is: (v) => typeof v === "number" && v > 0 && v < 1 },
  /** 0 or more, and less than 1 */
  belowOne: { needs: "a number from 0 to below 1", is: (v) => typeof v === "number" && v >= 0 && v < 1 },
  /** from 0 to 1 */
  share: { needs: "a number from 0 to 1", is: (v) => typeof v === "number" && v >= 0 && v <= 1 },
  /** a list of whole numbers ≥ 1, empty for a scalar */
  shape: {
    needs: "a list of whole numbers, 1 or more, as in [2, 3]",
    is: (v) => isList(v) && v.every((extent) => wholeNumber(1).is(extent)),
  },
  /** a whole number ≥ 1, or a list of them */
  ranks: {
    needs: "a whole number, 1 or more, or a list of them",
    is: (v) => wholeNumber(1).is(v) || (isList(v) && v.length > 0 && v.every((rank) => wholeNumber(1).is(rank))),
  },
  /** anything; checked elsewhere */
  any: { needs: "a value", is: () => true },
} satisfies Record<string, OptionRule>;

/** The rule of an option that is one of these words. */
export const oneOf = (...words: readonly string[]): OptionRule => ({
  needs: `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`,
  is: (value) => words.includes(value as string),
});

/** The rule of an option that may not be left out. */
export const required = (rule: OptionRule): OptionRule & { required: true } => ({ ...rule, required: true });

/** Whether a value is an array or a typed array. */
export const isList = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value);

/** A value as errors show it: cut to a few words, or named by its class where it has no short text. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return value.name ? `a function (${value.name})` : "a function";
  if (typeof value !== "object" || value === null) return String(value);
  if (isList(value)) {
    const some = Array.from({ length: Math.min(value.length, 6) }, (_, at) => shown(value[at]));
    const list = `[${some.join(", ")}${value.length > 6 ? `, …] of ${value.length}` : "]"}`;
    return Array.isArray(value) ? list : `${value.constructor.name} ${list}`;
  }
  if (value instanceof Promise) return "a Promise (is an await missing?)";
  return `an object (${value.constructor?.name ?? "Object"})`;
}

/**
 * Refuses options that an operation does not know, lacks or cannot take, each by its name: `cpALS: unknown option "mask"; it
 * has rank, initialize, …`. An option that is undefined counts as left out.
 */
export function checkOptions<T extends object>(operation: string, options: T, rules: OptionRules<T>): void {
  const known = rules as Record<string, OptionRule & { required?: boolean }>;
  if (typeof options !== "object" || options === null || isList(options))
    throw new TenfoldError(
      `${operation}: options are ${shown(options)}, needs an object${exampleOf(known)}; it has ${namesOf(known)}`,
      { code: "OPTION" },
    );
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name))
      throw new TenfoldError(`${operation}: unknown option "${name}"; it has ${namesOf(known)}`, { code: "OPTION" });
    if (value !== undefined) checkOption(operation, name, value, known[name]!);
  }
  for (const name in known) {
    if (known[name]!.required && options[name as keyof T] === undefined)
      throw new TenfoldError(`${operation}: option "${name}" is missing, needs ${known[name]!.needs}`, {
        code: "OPTION",
      });
  }
}

/** Refuses one value, an option's or an argument's, by its name: `Linear: inputs is NaN, needs a whole number, 1 or more`. */
export function checkOption(operation: string, name: string, value: unknown, rule: OptionRule): void {
  if (!rule.is(value))
    throw new TenfoldError(`${operation}: ${name} is ${shown(value)}, needs ${rule.needs}`, { code: "OPTION" });
}

const namesOf = (rules: object): string => Object.keys(rules).join(", ") || "none";

function exampleOf(rules: Record<string, { required?: boolean }>): string {
  const needed = Object.keys(rules).filter((name) => rules[name]!.required);
  return needed.length ? ` with ${needed.join(", ")}` : "";
}

/** The rule of an option that is an instance of a class. `needs` names the class, and says where an instance comes from. */
export const instanceOf = (Class: { readonly prototype: object }, needs: string): OptionRule => ({
  needs,
  is: (value) => value instanceof (Class as unknown as new () => unknown),
});
