/** The options of methods on a command line: how they are read and checked. What they are, `src/methods/` says. */
import { existsSync } from "node:fs";
import { InvalidArgumentError, Option } from "commander";
import { formatShape } from "../gpu/index.js";
import {
  type Algorithm,
  type Asked,
  algorithmOf,
  METHODS,
  type Method,
  OPTIONS,
  type OptionInfo,
  type OptionName,
  obstacleOf,
  type SizeOption,
  takesOption,
} from "../methods/index.js";
import { InputError } from "./context.js";
import { bytes, fraction, wholeFrom } from "./options.js";
import { readFactor, readFactors } from "./tensorFile.js";

/** Options of methods as they stand on a command line. */
export interface MethodOptions extends Omit<Asked, "init" | "fixed"> {
  method?: string;
  algorithm?: string;
  /** a word, or the file of an earlier result */
  init?: string;
  /** files by mode */
  fixed?: Map<number, string>;
  memory?: number;
  missing?: boolean;
  checkpoint?: string;
}

export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

const FLAGS: Readonly<Record<OptionName, string>> = {
  rank: "-r, --rank <R>",
  ranks: "--ranks <R,R,…>",
  error: "--error <e>",
  blocks: "--blocks <G>",
  starts: "--starts <K>",
  sweeps: "--sweeps <n>",
  tolerance: "--tolerance <t>",
  init: "--init <how>",
  fixed: "--fixed <MODE:F.npy>",
  nonnegative: "--nonnegative",
  seed: "--seed <n>",
  memory: "--memory <size>",
  missing: "--missing",
  checkpoint: "--checkpoint <file>",
};

/** How a value is read; words and files are as they stand. */
const PARSERS: Partial<Record<OptionInfo["values"], (least: number) => (text: string, before: never) => unknown>> = {
  whole: wholeFrom,
  wholes: wholeNumbers,
  part: () => fraction,
  tolerance: () => tolerance,
  factors: () => factorFile,
  bytes: () => bytes,
};

/** The options of all methods for commander: each says which methods take it, where not all do. */
export function methodOptions(): Option[] {
  const algorithm = new Option("--algorithm <name>", "how it is computed");
  const all = OPTION_NAMES.map((name) => {
    const takers = METHODS.filter((method) => takesOption(method, name));
    const { text, values, least = 1 } = OPTIONS[name];
    const option = new Option(FLAGS[name], takers.length < METHODS.length ? `${text} (${namesOf(takers)})` : text);
    const parse = PARSERS[values]?.(least);
    return parse ? option.argParser(parse as (text: string, before: unknown) => unknown) : option;
  });
  const place = OPTION_NAMES.indexOf("starts");
  return [...all.slice(0, place), algorithm, ...all.slice(place)];
}

const namesOf = (methods: readonly { name: string }[]): string => methods.map(({ name }) => name).join(", ");

/** The method that is asked for, or that the ranks ask for, and its algorithm. Throws for options that they do not take, or need. */
export function chooseMethod(options: MethodOptions): { method: Method; algorithm: Algorithm } {
  const { rank, ranks } = options;
  if (rank !== undefined && ranks) throw new InputError("--rank is for cp and --ranks for tucker: give one of them");
  const name = options.method ?? (ranks ? "tucker" : "cp");
  const method = METHODS.find((one) => one.name === name)!;
  const algorithm = algorithmOf(method, options.algorithm, options.nonnegative);
  if (!algorithm)
    throw new InputError(
      `--algorithm ${options.algorithm} is none of ${name}. Allowed choices are ${namesOf(method.algorithms)}.`,
    );
  for (const option of OPTION_NAMES) {
    if (options[option] === undefined || algorithm.takes.includes(option)) continue;
    if (takesOption(method, option)) {
      const takers = method.algorithms.filter(({ takes }) => takes.includes(option));
      throw new InputError(`--${option} is for --algorithm ${namesOf(takers)}, and not for ${algorithm.name}`);
    }
    // what the method needs in place of ranks that it does not take
    if (option === "rank" || option === "ranks") checkSize(method, options);
    const takers = METHODS.filter((other) => takesOption(other, option));
    throw new InputError(`--${option} is for ${namesOf(takers)}, and not for ${name}`);
  }
  checkSize(method, options);
  for (const pair of method.apart ?? [])
    if (pair.every((option) => options[option] !== undefined))
      throw new InputError(`--${pair[0]} and --${pair[1]}: give one of them`);
  const { init } = options;
  const isWord = init === undefined || algorithm.inits!.includes(init);
  if (!isWord && !algorithm.startsFromFactors) {
    const other = method.algorithms.find(({ startsFromFactors }) => startsFromFactors);
    throw new InputError(
      `--init ${init} is none of ${other ? `--algorithm ${algorithm.name}` : name}. Allowed choices are ${algorithm.inits!.join(", ")}${other ? `; --algorithm ${other.name} takes a file` : ""}.`,
    );
  }
  return { method, algorithm };
}

/** Throws where what says how large the result is lacks, or is said twice. */
function checkSize(method: Method, options: MethodOptions): void {
  const { name, needs, places } = method;
  const written: Record<SizeOption, string> = {
    rank: "--rank R, one number",
    ranks: places ? `--ranks, one number for each ${places.of[0]}` : "--ranks",
    error: "--error e, which finds them",
    blocks: "--blocks G",
  };
  for (const group of needs)
    if (group.every((option) => options[option] === undefined)) {
      if (!options.method && !options.ranks)
        throw new InputError("--rank R (cp) or --ranks R,R,… (tucker) is needed; tenfold rank suggests one");
      const all = needs.map((choices) => choices.map((option) => written[option]).join(", or "));
      throw new InputError(`--method ${name} needs ${all.join(" and ")}`);
    }
  for (const group of needs) {
    const there = group.filter((option) => options[option] !== undefined);
    if (there.length > 1) throw new InputError(`--${there[0]} and --${there[1]}: give one of them`);
  }
}

/** What is asked of a method, checked beside the shape of a tensor (null: of slices, which are checked). Reads the files that options name. */
export async function askedOf(
  file: string,
  shape: readonly number[] | null,
  method: Method,
  algorithm: Algorithm,
  options: MethodOptions,
): Promise<Asked> {
  const asked: Asked = {};
  for (const option of OPTION_NAMES)
    if (option !== "memory" && option !== "missing" && option !== "checkpoint" && options[option] !== undefined)
      Object.assign(asked, { [option]: options[option] });
  const { init, fixed } = options;
  if (!shape) return asked;
  const obstacle = obstacleOf(method, shape, asked);
  if (obstacle) throw new InputError(`${file}: ${obstacle.words}; ${obstacle.advice}`);
  if (init !== undefined) {
    const isWord = algorithm.inits!.includes(init);
    if (!isWord && !existsSync(init))
      throw new InputError(`--init ${init} is neither ${algorithm.inits!.join(" nor ")}, nor a file that exists`);
    asked.init = isWord ? init : readFactors(init, shape, options.rank!);
  }
  if (fixed) asked.fixed = await fixedFactors(file, shape, fixed, options.rank!);
  return asked;
}

/** The factors that `--fixed` names, by mode. */
async function fixedFactors(
  file: string,
  shape: readonly number[],
  fixed: ReadonlyMap<number, string>,
  rank: number,
): Promise<Record<number, Float32Array>> {
  for (const mode of fixed.keys())
    if (mode >= shape.length)
      throw new InputError(
        `--fixed ${mode}:${fixed.get(mode)}: ${file} has modes 0 to ${shape.length - 1} (shape ${formatShape(shape)})`,
      );
  if (fixed.size === shape.length) throw new InputError("--fixed names every mode; at least one must be free");
  const factors: Record<number, Float32Array> = {};
  for (const [mode, name] of fixed) factors[mode] = await readFactor(name, [shape[mode]!, rank]);
  return factors;
}

// ---- values

function wholeNumbers(least: number): (text: string) => number[] {
  const parse = wholeFrom(least);
  return (text) => {
    try {
      return text.split(",").map((part) => parse(part.trim()));
    } catch {
      throw new InvalidArgumentError("It needs whole numbers of 1 or more with commas between, as in 15,10,10.");
    }
  };
}

function tolerance(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value < 1))
    throw new InvalidArgumentError("It needs a number from 0 to below 1, as in 1e-6.");
  return value;
}

function factorFile(text: string, before: Map<number, string> = new Map()): Map<number, string> {
  const [, mode, name] = /^(\d+):(.+)$/.exec(text) ?? [];
  if (mode === undefined || name === undefined)
    throw new InvalidArgumentError("It needs a mode and a file with a colon between, as in 0:spectra.npy.");
  if (before.has(Number(mode))) throw new InvalidArgumentError(`Mode ${mode} has a factor already.`);
  return new Map([...before, [Number(mode), name]]);
}
