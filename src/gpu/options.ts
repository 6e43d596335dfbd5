import { TenfoldError } from "./errors.js";

/** A check of one option's value: what it needs, in words, and whether a value is that. */
export interface OptionRule {
  needs: string;
  is(value: unknown): boolean;
  /** what other libraries call the option, in small letters with spaces between: an error then says what it is called here */
  elsewhere?: string;
}

/** A rule for every option of an operation. An option may be left out unless its rule says `required`. */
export type OptionRules<T> = { [K in keyof Required<T>]: OptionRule & { required?: boolean } };

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
 * Refuses options that an operation does not know, lacks or cannot take, each by its name: `cpALS: unknown option "tol"; it
 * has rank, initialize, …; did you mean tolerance?`. An option that is undefined counts as left out.
 *
 * @param instead what to do in place of an option that users may look for
 */
export function checkOptions<T extends object>(
  operation: string,
  options: T,
  rules: OptionRules<T>,
  instead: Readonly<Record<string, string>> = {},
): void {
  const known = rules as Record<string, OptionRule & { required?: boolean }>;
  if (typeof options !== "object" || options === null || isList(options))
    throw new TenfoldError(
      `${operation}: options are ${shown(options)}, needs an object${exampleOf(known)}; it has ${namesOf(known)}`,
      { code: "OPTION" },
    );
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) {
      const plain = name.toLowerCase().replace(/[^a-z]/g, "");
      // the option that goes by this name elsewhere, or begins as it does
      const like = Object.keys(known).find(
        (one) => known[one]!.elsewhere?.split(" ").includes(plain) || one.toLowerCase().startsWith(plain.slice(0, 4)),
      );
      const advice = instead[name] ?? (like && `did you mean ${like}?`);
      const all = `it has ${namesOf(known)}${advice ? `; ${advice}` : ""}`;
      throw new TenfoldError(`${operation}: unknown option "${name}"; ${all}`, { code: "OPTION" });
    }
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
