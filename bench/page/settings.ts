/** Settings that several parts have, as the URL writes them. */
import { ALL_DIGITS } from "../../src/experiments/digits.js";

/** how many of the 10,000 images are looked at */
export const IMAGES = [1000, 3000, 10_000] as const;

/** `347` as [3, 4, 7]; null where it is no set of at least two digits. */
export function parseDigits(text: string | null): number[] | null {
  const digits = [...new Set(text ?? "")].map(Number).sort((a, b) => a - b);
  return digits.length >= 2 && digits.every((digit) => ALL_DIGITS.includes(digit)) ? digits : null;
}

/** The whole number that a field of the URL holds; `otherwise` where the field holds none within these bounds. */
export function parseInteger<T extends number | null>(
  text: string | null,
  least: number,
  most: number,
  otherwise: T,
): number | T {
  const value = Number(text || Number.NaN);
  return Number.isInteger(value) && value >= least && value <= most ? value : otherwise;
}

/** The set of digits with `digit` added, or removed where it is in the set. The last two digits stay: one class leaves nothing to tell apart. */
export function toggleDigit(digits: readonly number[], digit: number): readonly number[] {
  const next = digits.includes(digit) ? digits.filter((other) => other !== digit) : [...digits, digit];
  return next.length < 2 ? digits : next.sort((a, b) => a - b);
}

/** The whole number within bounds that is nearest to the typed one; `before` where the text is no number. */
export function nearestInteger(text: string, { min, max }: { min: number; max: number }, before: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  return Math.min(max, Math.max(min, Math.round(Number.isNaN(value) ? before : value)));
}
