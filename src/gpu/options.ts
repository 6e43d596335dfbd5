import { TenfoldError } from "./errors.js";

/** A check of one option's value: what it needs, in words, and whether a value is that. */
export interface OptionRule {
  needs: string;
  is(value: unknown): boolean;
}

/** The options of an operation: a rule each, and whether it may be left out (the default). */
export type OptionRules<T> = { [K in keyof Required<T>]: OptionRule & { required?: boolean } };

const whole = (least: number): OptionRule => ({
  needs: least === 0 ? "a whole number, 0 or more" : `a whole number, ${least} or more`,
  is: (value) => Number.isSafeInteger(value) && (value as number) >= least,
});

/** Rules that many operations share. */
export const optionRules = {
  /** 0, 1, 2, … */
  count: whole(0),
  /** 1, 2, … */
  positive: whole(1),
  seed: {
    needs: "a whole number from 0 to 2³² − 1",
    is: (v) => Number.isInteger(v) && (v as number) >= 0 && (v as number) < 2 ** 32,
  },
  flag: { needs: "true or false", is: (v) => typeof v === "boolean" },
  callback: { needs: "a function", is: (v) => typeof v === "function" },
  signal: { needs: "an AbortSignal", is: (v) => typeof v === "object" && v !== null && "aborted" in v },
  /** a finite number of at least 0 */
  atLeastZero: { needs: "a number, 0 or more", is: (v) => typeof v === "number" && v >= 0 && Number.isFinite(v) },
  /** between 0 and 1, neither included */
  fraction: { needs: "a number between 0 and 1", is: (v) => typeof v === "number" && v > 0 && v < 1 },
  /** a whole number ≥ 1, or a list of them */
  ranks: {
    needs: "a whole number, 1 or more, or a list of them",
    is: (v) => whole(1).is(v) || (isList(v) && v.length > 0 && v.every((rank) => whole(1).is(rank))),
  },
  /** anything; checked elsewhere */
  any: { needs: "a value", is: () => true },
} satisfies Record<string, OptionRule>;

/** A rule for one of some words. */
export const oneOf = (...words: readonly string[]): OptionRule => ({
  needs: `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`,
  is: (value) => words.includes(value as string),
});

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value) || ArrayBuffer.isView(value);

const shown = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value);
  if (isList(value))
    return `[${Array.from(value as readonly unknown[])
      .slice(0, 6)
      .map(String)
      .join(", ")}]`;
  return typeof value === "object" && value !== null
    ? `an object (${value.constructor?.name ?? "Object"})`
    : String(value);
};

/**
 * Refuses options that an operation does not know, lacks or cannot take, each by its name: `cpALS: unknown option "mask"; it
 * has rank, initialize, …`. An option that is undefined counts as left out.
 */
export function checkOptions<T extends object>(operation: string, options: T, rules: OptionRules<T>): void {
  const names = Object.keys(rules) as (keyof typeof rules & string)[];
  if (typeof options !== "object" || options === null || isList(options))
    throw new TenfoldError(
      `${operation}: options are ${shown(options)}, needs an object${exampleOf(names, rules)}; it has ${names.join(", ")}`,
    );
  for (const [name, value] of Object.entries(options)) {
    const rule = (rules as Record<string, OptionRule | undefined>)[name];
    if (!rule) throw new TenfoldError(`${operation}: unknown option "${name}"; it has ${names.join(", ")}`);
    if (value !== undefined && !rule.is(value))
      throw new TenfoldError(`${operation}: ${name} is ${shown(value)}, needs ${rule.needs}`);
  }
  for (const name of names) {
    if (rules[name].required && options[name as unknown as keyof T] === undefined)
      throw new TenfoldError(`${operation}: option "${name}" is missing, needs ${rules[name].needs}`);
  }
}

function exampleOf(names: readonly string[], rules: Record<string, { required?: boolean }>): string {
  const required = names.filter((name) => rules[name]!.required);
  return required.length ? ` with ${required.join(", ")}` : "";
}
