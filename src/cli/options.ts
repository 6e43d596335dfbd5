import { InvalidArgumentError } from "commander";
import { POOL_BYTES } from "../gpu/index.js";

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

/** `512MB` as a number of bytes. */
export function bytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim()) ?? [];
  const value = Number(number) * 1000 ** ["", "k", "m", "g", "t"].indexOf(unit?.toLowerCase() ?? "");
  if (!(value > 0)) throw new InvalidArgumentError("It needs a number of bytes, as in 512MB or 2GB.");
  return value;
}

/** Freed buffers that wait to be used again are memory, too: how many bytes of them are kept beside so many of `--memory`. */
export const poolFor = (memory: number | undefined): { poolBytes?: number } =>
  memory === undefined ? {} : { poolBytes: Math.min(POOL_BYTES, memory) };
