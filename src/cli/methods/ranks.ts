/** Ranks as `--ranks` and `--error` ask for them. */
import { formatShape } from "../../gpu/index.js";
import { InputError } from "../context.js";
import type { Request } from "./method.js";
import type { MethodOptions } from "./options.js";

/** Throws where neither or both of `--ranks` and `--error` are there. `count` says how many ranks: `one number a mode`. */
export function checkRanksOrError(name: string, { ranks, error }: MethodOptions, count: string): void {
  if (ranks && error !== undefined) throw new InputError("--ranks and --error: give one of them");
  if (!ranks && error === undefined)
    throw new InputError(`--method ${name} needs --ranks, ${count}, or --error e, which finds them`);
}

/** The ranks of a Tucker tensor: one for all modes, which solvers lower where a mode is smaller, or one a mode. */
export function multilinear({ file, shape, options }: Request): number | number[] {
  const ranks = options.ranks!;
  if (ranks.length === 1) return ranks[0]!;
  countRanks(file, shape, ranks, shape.length, "modes");
  shape.forEach((extent, mode) => {
    if (ranks[mode]! > extent)
      throw new InputError(
        `${file}: rank ${ranks[mode]} is larger than mode ${mode}, which has ${extent} (shape ${formatShape(shape)})`,
      );
  });
  return ranks;
}

/** Ranks between cores: one for all, or as many as there are. */
export function between({ file, shape, options }: Request, places: number, what: string): number | number[] {
  const ranks = options.ranks!;
  if (ranks.length === 1) return ranks[0]!;
  countRanks(file, shape, ranks, places, what);
  return ranks;
}

function countRanks(file: string, shape: readonly number[], ranks: readonly number[], needed: number, what: string) {
  if (ranks.length !== needed)
    throw new InputError(`${file}: ${ranks.length} ranks for ${needed} ${what} (shape ${formatShape(shape)})`);
}

/** `ranks 3,4,5`, or `error 0.01`, for the label of a run */
export const askedOf = ({ ranks, error }: MethodOptions): string =>
  ranks ? `ranks ${ranks.join(",")}` : `error ${error}`;
