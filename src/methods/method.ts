/** What a command or a page needs to know of a method to offer it. A method is one row of METHODS, in `list.ts`. */

import type {
  CheckpointOptions,
  Convergence,
  CpStarts,
  Iteration,
  Parafac2Slice,
  StartsProgress,
} from "../decompositions/index.js";
import { type DType, type Engine, formatShape, Tensor } from "../gpu/index.js";
import type { Source } from "../sources/index.js";
import type { DecomposedTensor, NonnegativeFactors, Parafac2Tensor } from "../tensors/index.js";

/** What is asked of a method. What is left out is as its algorithm's `defaults` say. */
export interface Asked {
  rank?: number;
  /** one for all places, or one each */
  ranks?: readonly number[];
  /** relative error to keep, in place of ranks */
  error?: number;
  blocks?: number;
  starts?: number;
  sweeps?: number;
  tolerance?: number;
  /** a word of the algorithm's `inits`, or the factors of a start */
  init?: string | readonly Float32Array[];
  /** factors that stay as they are, by mode */
  fixed?: Readonly<Record<number, Float32Array>>;
  nonnegative?: boolean;
  seed?: number;
}

/** Options of a method: what is asked of it, and how its tensor is read (`memory`: in slabs; `missing`: with holes) and its state kept. */
export type OptionName = keyof Asked | "memory" | "missing" | "checkpoint";

/** A way to compute a method's result. */
export interface Algorithm {
  /** `gauss-newton` */
  name: string;
  /** how it goes, and who says so, in sentences */
  note: string;
  /** what its steps are called; null where it tells only how much of it is done */
  steps: "iterations" | "sweeps" | null;
  takes: readonly OptionName[];
  /** values of options that are left out */
  defaults: Asked;
  /** words that `init` may be */
  inits?: readonly string[];
  /** whether `init` may be factors */
  startsFromFactors?: true;
  /** whether nothing of its result is negative, asked for or not */
  isNonnegative?: true;
}

/** What says how large a result is. */
export type SizeOption = "rank" | "ranks" | "error" | "blocks";

/** A method of decomposing a tensor, as it is offered. */
export interface Method {
  /** `tensor-train` */
  name: string;
  /** `Tensor train` */
  title: string;
  /** one line for lists, no sentence: `a core and a factor a mode` */
  summary: string;
  /** the ways to compute it; the first is taken where none is asked for */
  algorithms: readonly [Algorithm, ...Algorithm[]];
  /** options of which one is needed and no other may be there, in groups: `[["ranks", "error"]]` */
  needs: readonly (readonly SizeOption[])[];
  /** pairs of options of which one at most is given */
  apart?: readonly (readonly [OptionName, OptionName])[];
  /** the least and the most modes, and what to take for other tensors */
  order: { least: number; most: number; otherwise: string };
  /** of methods with ranks */
  places?: {
    /** how many ranks a tensor of this order has */
    count(order: number): number;
    /** what they are of, one and several: `["mode", "modes"]` */
    of: readonly [one: string, several: string];
    /** whether a rank is at most the extent of its mode */
    isBounded: boolean;
  };
  /** of methods with one rank: the largest that a tensor of this shape needs or has */
  mostRank?(shape: readonly number[]): number;
  /** names that a file has for the parts of its result, where they are others than those of `saveTensor` */
  names?: Readonly<Record<string, string>>;
  /** what the file of its result holds, and how to put it together again, in lines of 78 characters at most */
  saves: readonly string[];
  /** command lines without `tenfold decompose` */
  examples: readonly string[];
  run(engine: Engine, x: Tensor<DType> | Source, task: Task): Promise<Solution>;
  /** of methods that also take matrices of as many columns and any numbers of rows, by name */
  runSlices?(engine: Engine, slices: readonly NamedSlice[], task: Task): Promise<Solution>;
}

/** A matrix that is one of several. */
export interface NamedSlice {
  name: string;
  x: Parafac2Slice;
}

/** What a method is run with. */
export interface Task {
  algorithm: Algorithm;
  asked: Asked;
  watch: Watch;
}

/** How a run is watched and stopped. */
export interface Watch extends CheckpointOptions {
  signal: AbortSignal;
  /** of algorithms with steps */
  onIteration?: (iteration: Iteration) => void;
  /** of those with several starts: what comes before the steps of the best one */
  onStarts?: (progress: StartsProgress) => void;
  /** of those without: the part that is done, from 0 to 1 */
  onProgress?: (done: number) => void;
  sweepsPerSubmit?: number;
}

/** What a method came to. */
export interface Solution {
  /** `CP, rank 3` */
  title: string;
  /** of the result, as the method counts them: one, one a mode of a Tucker tensor, those between the cores of a train */
  ranks: readonly number[];
  tensor: DecomposedTensor | NonnegativeFactors | Parafac2Tensor;
  relativeError: number;
  /** how its steps went; left out where there are none */
  course?: Convergence;
  starts?: CpStarts;
  /** what else there is to know: `["worst slice", "2, with an error of 0.1"]` */
  remarks: readonly (readonly [name: string, text: string])[];
}

/** The algorithm that is asked for; where none is, the first, or the first that keeps to what is not negative. */
export function algorithmOf(
  { algorithms }: Method,
  name: string | undefined,
  nonnegative = false,
): Algorithm | undefined {
  if (name !== undefined) return algorithms.find((algorithm) => algorithm.name === name);
  return nonnegative ? (algorithms.find(({ takes }) => takes.includes("nonnegative")) ?? algorithms[0]) : algorithms[0];
}

/** Whether an algorithm of the method takes the option. */
export const takesOption = ({ algorithms }: Method, option: OptionName): boolean =>
  algorithms.some(({ takes }) => takes.includes(option));

/** Why something cannot be done, and what to do instead: no sentences yet. */
export interface Obstacle {
  words: string;
  advice: string;
}

const count = (number: number, [one, several]: readonly [string, string]): string =>
  `${number} ${number === 1 ? one : several}`;

/** Why a tensor of this shape cannot be decomposed as asked; null where it can. `modes` are the modes' names. */
export function obstacleOf(
  method: Method,
  shape: readonly number[],
  { rank, ranks }: Asked,
  modes: readonly string[] = shape.map((_, mode) => `mode ${mode}`),
): Obstacle | null {
  const { least, most, otherwise } = method.order;
  if (shape.length < least || shape.length > most) {
    const needed =
      least === most ? `needs ${least}` : shape.length < least ? `needs ${least} or more` : `takes ${most}`;
    return {
      words: `shape ${formatShape(shape)} has ${count(shape.length, ["mode", "modes"])}, ${method.title} ${needed}`,
      advice: otherwise,
    };
  }
  const mostRank = method.mostRank?.(shape);
  if (rank !== undefined && mostRank !== undefined && rank > mostRank)
    return {
      words: `rank ${rank} is larger than ${mostRank}, the largest for shape ${formatShape(shape)}`,
      advice: `give at most ${mostRank}`,
    };
  // one number stands for all places; solvers lower it where a mode has no room for it
  if (!method.places || !ranks || ranks.length === 1) return null;
  const { count: countOf, of, isBounded } = method.places;
  const needed = countOf(shape.length);
  if (ranks.length !== needed)
    return {
      words: `${ranks.length} ranks for ${count(needed, of)} (shape ${formatShape(shape)})`,
      advice: `give ${needed === 1 ? "one" : `${needed} of them, or one for all`}`,
    };
  const mode = isBounded ? ranks.findIndex((value, at) => value > shape[at]!) : -1;
  if (mode < 0) return null;
  return {
    words: `rank ${ranks[mode]} is larger than ${modes[mode]}, which has ${shape[mode]} (shape ${formatShape(shape)})`,
    advice: `give at most ${shape[mode]}`,
  };
}

/** Why slices cannot be decomposed as asked; null where they can. */
export function obstacleOfSlices(
  slices: readonly { name: string; shape: readonly number[] }[],
  rank: number | undefined,
): Obstacle | null {
  const [first] = slices;
  for (const { name, shape } of slices) {
    const told = `${name} is ${formatShape(shape)}`;
    if (shape.length !== 2) return { words: `${told}, a slice is a matrix`, advice: "name the array or the slices" };
    if (shape[0] === 0 || shape[1] === 0) return { words: `${told} and has no entries`, advice: "leave it out" };
    if (shape[1] !== first!.shape[1])
      return {
        words: `${told}, and the slice ${first!.name} ${formatShape(first!.shape)}`,
        advice:
          "slices need as many columns, or rows the other way round: transpose them, or name those that belong together",
      };
    if (rank !== undefined && rank > Math.min(shape[0]!, shape[1]!))
      return {
        words: `rank ${rank} is larger than the slice ${name}, ${formatShape(shape)}`,
        advice: `give at most ${Math.min(shape[0]!, shape[1]!)}, or leave the slice out`,
      };
  }
  return null;
}

/** The tensor itself, for methods that take no source. Throws where it is larger than a binding, and so lies in slabs. */
export const tensorOf = (method: string, x: Tensor<DType> | Source): Tensor<DType> =>
  x instanceof Tensor ? x : x.tensor(method);
