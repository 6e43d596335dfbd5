import { InvalidArgumentError } from "commander";

/** Reads an option's value: a whole number from `least` to 2³¹ − 1. */
export const wholeFrom =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > 2 ** 31 - 1)
      throw new InvalidArgumentError(`It needs a whole number of ${least} or more.`);
    return value;
  };

/** Reads an option's value: a number between 0 and 1. */
export function fraction(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1))
    throw new InvalidArgumentError("It needs a number above 0 and below 1, as in 0.01 for one per cent.");
  return value;
}
