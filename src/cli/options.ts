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
