/** The options of all methods of `tenfold decompose`: which of them a method takes, its row says. */
import { InvalidArgumentError, Option } from "commander";
import { fraction, wholeFrom } from "../options.js";

export interface MethodOptions {
  rank?: number;
  ranks?: number[];
  error?: number;
  blocks?: number;
  algorithm?: string;
  starts?: number;
  sweeps?: number;
  tolerance?: number;
  init?: string;
  fixed?: Map<number, string>;
  nonnegative?: boolean;
  seed?: number;
  memory?: number;
  missing?: boolean;
  checkpoint?: string;
}

export type OptionName = keyof MethodOptions;

/** An option, described by what it says of itself and, in brackets, by the methods that take it. */
interface Described {
  flags: string;
  text: string;
  parse?: (text: string, before: never) => unknown;
}

/** What options are where nobody gives them. */
export const DEFAULT_TOLERANCE = 1e-6;

export const OPTIONS: Record<OptionName, Described> = {
  rank: { flags: "-r, --rank <R>", text: "number of terms", parse: wholeFrom(1) },
  ranks: {
    flags: "--ranks <R,R,…>",
    text: "ranks, or one for all; a full rank leaves its mode alone",
    parse: wholeNumbers,
  },
  error: {
    flags: "--error <e>",
    text: "instead of ranks: the smallest that keep the relative error at e or below",
    parse: fraction,
  },
  blocks: { flags: "--blocks <G>", text: "number of blocks", parse: wholeFrom(1) },
  algorithm: { flags: "--algorithm <name>", text: "how it is computed" },
  starts: { flags: "--starts <K>", text: "starts, of which the best is kept", parse: wholeFrom(1) },
  sweeps: { flags: "--sweeps <n>", text: "most sweeps, or iterations of gauss-newton", parse: wholeFrom(1) },
  tolerance: {
    flags: "--tolerance <t>",
    text: `converged when the relative error changes by less in a sweep; for gauss-newton, when it would fall by less than this part of it; 0 never (default: ${DEFAULT_TOLERANCE.toExponential()})`,
    parse: tolerance,
  },
  init: {
    flags: "--init <how>",
    text: "first start: random (default of cp), hosvd, or the .npz of an earlier result (gauss-newton, which then has 1 start); nndsvd (default of nmf); svd (default of parafac2)",
  },
  fixed: {
    flags: "--fixed <MODE:F.npy>",
    text: "a factor of gauss-newton that stays as it is; once for each such mode",
    parse: fixedFactor,
  },
  nonnegative: { flags: "--nonnegative", text: "no negative entry in any factor, of parafac2 in A and C" },
  seed: { flags: "--seed <n>", text: "seed of random numbers (default: 0)", parse: wholeFrom(0) },
  memory: {
    flags: "--memory <size>",
    text: "read the tensor anew in every pass, with so much of it on the GPU at a time, as in 512MB; .npy, .h5 and .zarr are never in memory in full",
    parse: bytes,
  },
  missing: { flags: "--missing", text: "entries that are NaN are missing: the others are fitted, and predict them" },
  checkpoint: {
    flags: "--checkpoint <file>",
    text: "keep the state there every minute and at Ctrl-C; the same command goes on from it",
  },
};

/** An option for commander. `methods` are the names of those that take it; none are named where all do. */
export function optionFor(name: OptionName, methods: readonly string[]): Option {
  const { flags, text, parse } = OPTIONS[name];
  const option = new Option(flags, methods.length ? `${text} (${methods.join(", ")})` : text);
  return parse ? option.argParser(parse as (text: string, before: unknown) => unknown) : option;
}

function wholeNumbers(text: string): number[] {
  const parse = wholeFrom(1);
  try {
    return text.split(",").map((part) => parse(part.trim()));
  } catch {
    throw new InvalidArgumentError("It needs whole numbers of 1 or more with commas between, as in 15,10,10.");
  }
}

function bytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim()) ?? [];
  const value = Number(number) * 1000 ** ["", "k", "m", "g", "t"].indexOf(unit?.toLowerCase() ?? "");
  if (!(value > 0)) throw new InvalidArgumentError("It needs a number of bytes, as in 512MB or 2GB.");
  return value;
}

function tolerance(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value < 1))
    throw new InvalidArgumentError("It needs a number from 0 to below 1, as in 1e-6.");
  return value;
}

function fixedFactor(text: string, before: Map<number, string> = new Map()): Map<number, string> {
  const [, mode, name] = /^(\d+):(.+)$/.exec(text) ?? [];
  if (mode === undefined || name === undefined)
    throw new InvalidArgumentError("It needs a mode and a file with a colon between, as in 0:spectra.npy.");
  if (before.has(Number(mode))) throw new InvalidArgumentError(`Mode ${mode} has a factor already.`);
  return new Map([...before, [Number(mode), name]]);
}
