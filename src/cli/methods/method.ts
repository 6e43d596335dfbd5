/** What `tenfold decompose` needs to know of a method. A method is one row of METHODS, in `index.ts`. */
import type { CheckpointOptions, CpStarts, StoppingOptions } from "../../decompositions/index.js";
import { type DType, type Engine, Tensor } from "../../gpu/index.js";
import type { Numeric, NumericArray } from "../../io/index.js";
import type { HostModel } from "../../report/model.js";
import type { Model, Source } from "../../sources/index.js";
import { LARGEST_F32 } from "../tensorFile.js";
import type { MethodOptions, OptionName } from "./options.js";

/** A method of `--method`. */
export interface Method {
  /** `tensor-train` */
  name: string;
  /** one line for the help: `a core and a factor a mode` */
  summary: string;
  /** the options that it takes; others are refused */
  takes: readonly OptionName[];
  /** values of `--algorithm`; the first is taken where none is asked for */
  algorithms: readonly string[];
  /** what the file of `--out` holds, and how to put it together again, in lines of 78 characters at most */
  saves: readonly string[];
  /** what its result is made of, where `--report` has a page for it */
  draws?: HostModel["kind"];
  /** command lines without `tenfold decompose` */
  examples: readonly string[];
  /** Checks what is asked for as far as it can be checked without the tensor. */
  check?(options: MethodOptions): void;
  /** Checks what is asked for beside the tensor's shape, and reads files that options name. */
  prepare(request: Request): Run | Promise<Run>;
}

/** What is asked for. */
export interface Request {
  /** the tensor's file, for errors */
  file: string;
  shape: readonly number[];
  options: MethodOptions;
  /** one of the method's `algorithms` */
  algorithm: string;
}

/** A method, ready to be run. */
export interface Run {
  /** `cp, rank 3`: names the progress bar */
  label: string;
  /** what its steps are called; `%` where it tells only how much of it is done */
  unit: "iterations" | "sweeps" | "%";
  /** the most steps there can be */
  most: number;
  /** `x` is a source for methods that take `memory` or `missing`, where one is asked for */
  solve(engine: Engine, x: Tensor<DType> | Source, watch: Watch): Promise<Solution>;
}

/** The tensor itself, for methods that take no source. Throws where it is larger than a binding, and so lies in slabs. */
export const tensorOf = (method: string, x: Tensor<DType> | Source): Tensor<DType> =>
  x instanceof Tensor ? x : x.tensor(method);

/** How a run is watched and stopped: options of the solvers. */
export interface Watch {
  /** of solvers that go by sweeps */
  stopping: Required<Pick<StoppingOptions, "sweeps" | "tolerance" | "signal" | "onIteration">> & CheckpointOptions;
  /** of those that do not */
  direct: { signal: AbortSignal; onProgress: (done: number) => void };
}

/** What a method came to. */
export interface Solution {
  /** `CP, rank 3` */
  title: string;
  /** of the result, as the method counts them */
  ranks: readonly number[];
  tensor: Result;
  /** X̂, of the tensor that was divided; needed where the method `draws` */
  model?: Model;
  relativeError: number;
  /** how its sweeps went; left out where there are none */
  course?: { fits: number[]; sweeps: number; converged: boolean; stalled: boolean };
  starts?: CpStarts;
  /** further lines of the table */
  lines?: readonly (readonly [name: string, text: string])[];
  /** the arrays to be saved, of a tensor that was divided by 2^exponent */
  arrays(exponent: number): Promise<Saved>;
}

interface Result {
  readonly parameterCount: number;
  destroy(): void;
}

export interface Saved {
  arrays: [name: string, array: NumericArray][];
  /** what was left out, and why */
  notes: string[];
}

/** Reads tensors to be saved, by their names. Those of `scaled` carry the scale of X, as one factor of each term does. */
export async function readArrays(
  engine: Engine,
  tensors: readonly (readonly [name: string, tensor: Tensor])[],
  scaled: readonly string[],
  exponent: number,
): Promise<[string, NumericArray][]> {
  const values = await engine.read(tensors.map(([, tensor]) => tensor));
  return tensors.map(([name, { shape }], index) => [
    name,
    { shape, data: scaled.includes(name) ? rescale(values[index]!, exponent) : values[index]! },
  ]);
}

/** The smallest normal f32: smaller ones have fewer than 24 bits. */
const SMALLEST_F32 = 2 ** -126;

/** The values times 2^exponent: as f64 if a result is outside of f32's normal range, otherwise as f32. */
function rescale(values: Float32Array, exponent: number): Numeric {
  const exact = Float64Array.from(values, (value) => value * 2 ** exponent);
  const fits = (value: number): boolean =>
    value === 0 || (Math.abs(value) >= SMALLEST_F32 && Math.abs(value) <= LARGEST_F32);
  return exact.every(fits) ? Float32Array.from(exact) : exact;
}

/** The largest extent of a mode without a Tucker factor for which an identity matrix is written. */
const LARGEST_IDENTITY = 4096;

/** The factors of a Tucker tensor to be saved. A mode that was left alone has the identity, which is written where it is small. */
export function tuckerFactors(
  shape: readonly number[],
  factors: readonly (Tensor | null)[],
  prefix = "",
): { present: [string, Tensor][]; identities: [string, NumericArray][]; notes: string[] } {
  const present: [string, Tensor][] = [];
  const identities: [string, NumericArray][] = [];
  const notes: string[] = [];
  for (const [mode, factor] of factors.entries()) {
    const name = `${prefix}factor_${mode}`;
    if (factor) present.push([name, factor]);
    else if (shape[mode]! <= LARGEST_IDENTITY) identities.push([name, identity(shape[mode]!)]);
    else notes.push(`${name} is the identity of ${shape[mode]} and left out`);
  }
  return { present, identities, notes };
}

function identity(extent: number): NumericArray {
  const data = new Float32Array(extent * extent);
  for (let i = 0; i < extent; i++) data[i * (extent + 1)] = 1;
  return { shape: [extent, extent], data };
}

/** Arrays in the order of their modes: `factor_0` before `factor_1`. */
export const byMode = (arrays: readonly [string, NumericArray][]): [string, NumericArray][] =>
  [...arrays].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
