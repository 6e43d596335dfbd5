import {
  checkOption,
  checkOptions,
  type Engine,
  formatShape,
  instanceOf,
  isList,
  type OptionRules,
  oneOf,
  optionRules,
  ShapeError,
  shown,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import type { HostTrain } from "./hostTrain.js";
import * as host from "./hostTrain.js";
import { TensorRing } from "./tensorRing.js";
import { TensorTrain } from "./tensorTrain.js";
import { TensorTrainMatrix } from "./tensorTrainMatrix.js";

const train = instanceOf(TensorTrain, "a TensorTrain, as of ttSVD(engine, x, …)");

/** A train's cores in f64. */
export async function readTrain({ engine, cores }: TensorTrain | TensorRing): Promise<HostTrain> {
  const values = await engine.read(cores as Tensor[]);
  return cores.map(({ shape: [left, extent, right] }, k) => ({
    left: left!,
    extent: extent!,
    right: right!,
    data: Float64Array.from(values[k]!),
  }));
}

/**
 * Cores as tensors of the GPU's, in f32.
 *
 * @throws TenfoldError where a number leaves f32
 */
export function writeTrain(operation: string, engine: Engine, cores: HostTrain): TensorTrain {
  return new TensorTrain(writeCores(operation, engine, cores));
}

function writeCores(operation: string, engine: Engine, cores: HostTrain): Tensor[] {
  const made: Tensor[] = [];
  try {
    cores.forEach(({ left, extent, right, data }, k) => {
      const values = Float32Array.from(data);
      const at = values.findIndex((value) => !Number.isFinite(value));
      if (at >= 0)
        throw new TenfoldError(
          `${operation}: core ${k} of the result holds ${data[at]}, which f32 cannot; divide the train by a power of ten first (ttScale)`,
        );
      made.push(engine.tensor([left, extent, right], values, { label: `core ${k}` }));
    });
    return made;
  } catch (error) {
    for (const tensor of made) tensor.destroy();
    throw error;
  }
}

/** What f32 makes of cores. */
export const asSingle = (cores: HostTrain): HostTrain =>
  cores.map((core) => ({ ...core, data: core.data.map(Math.fround) }));

/** ‖a − b‖ / ‖a‖; 0 where both are 0. */
export function distance(a: HostTrain, b: HostTrain): number {
  const difference = host.norm(host.add(a, host.scale(b, -1)));
  return difference === 0 ? 0 : difference / host.norm(a);
}

function checkTrains(operation: string, trains: Record<string, TensorTrain>): void {
  for (const [name, value] of Object.entries(trains)) checkOption(operation, name, value, train);
}

function checkPair(operation: string, a: TensorTrain, b: TensorTrain): void {
  checkTrains(operation, { a, b });
  if (formatShape(a.shape) !== formatShape(b.shape))
    throw new ShapeError(
      `${operation}: a is a train of shape ${formatShape(a.shape)}, b of ${formatShape(b.shape)}, they need the same shape`,
    );
}

export interface TtRoundOptions {
  /** most ranks r_1…r_{d-1}, or one number for all */
  ranks?: number | readonly number[];
  /** instead of ranks, or with them: ‖a − result‖ ≤ relativeError · ‖a‖ is promised where ranks do not forbid it */
  relativeError?: number;
}

const roundRules: OptionRules<TtRoundOptions> = { ranks: optionRules.ranks, relativeError: optionRules.fraction };

/** the part of the promised error that truncation may take; the rest is for cores in f32 */
const SHARE = 0.99;

/**
 * A tensor train with smaller ranks: TT rounding by a QR sweep and truncated SVDs (Oseledets 2011, algorithm 2), on the host in f64. Sums and
 * products of trains have larger ranks than they need; this brings them back. The full tensor is never formed. The last core holds the
 * norm, the others are left-orthogonal.
 *
 * @returns the train, and ‖a − result‖ / ‖a‖ of the result as f32 holds it
 * @throws TenfoldError where f32 cannot keep `relativeError`
 */
export async function ttRound(
  a: TensorTrain,
  options: TtRoundOptions,
): Promise<{ tensor: TensorTrain; relativeError: number }> {
  checkTrains("ttRound", { a });
  checkOptions("ttRound", options, roundRules);
  const { ranks, relativeError } = options;
  if (ranks === undefined && relativeError === undefined)
    throw new TenfoldError("ttRound: give ranks, relativeError or both");
  const d = a.cores.length;
  const list = typeof ranks === "number" ? new Array<number>(d - 1).fill(ranks) : ranks;
  if (list && list.length !== d - 1)
    throw new ShapeError(`ttRound: ${list.length} ranks for a train of ${d} cores, needs ${d - 1}`);
  const cores = await readTrain(a);
  const rounded = host.round(cores, SHARE * (relativeError ?? 0), list);
  const reached = distance(cores, asSingle(rounded));
  if (list === undefined && reached > relativeError!)
    throw new TenfoldError(
      `ttRound: relativeError ${relativeError} is less than cores in f32 can promise; the least here is about ${reached.toExponential(1)}`,
    );
  return { tensor: writeTrain("ttRound", a.engine, rounded), relativeError: reached };
}

/**
 * a + b as a train whose ranks are the sums of theirs (Oseledets 2011, section 4.1): exact, but for cores in f32. `ttRound` brings the ranks down.
 */
export async function ttAdd(a: TensorTrain, b: TensorTrain): Promise<TensorTrain> {
  checkPair("ttAdd", a, b);
  return writeTrain("ttAdd", a.engine, host.add(await readTrain(a), await readTrain(b)));
}

/** The Hadamard product a ∗ b as a train whose ranks are the products of theirs (Oseledets 2011, section 4.2). */
export async function ttHadamard(a: TensorTrain, b: TensorTrain): Promise<TensorTrain> {
  checkPair("ttHadamard", a, b);
  return writeTrain("ttHadamard", a.engine, host.hadamard(await readTrain(a), await readTrain(b)));
}

/** A train times a number. */
export async function ttScale(a: TensorTrain, factor: number): Promise<TensorTrain> {
  checkTrains("ttScale", { a });
  if (typeof factor !== "number" || !Number.isFinite(factor))
    throw new TenfoldError(`ttScale: the factor is ${shown(factor)}, needs a finite number`);
  return writeTrain("ttScale", a.engine, host.scale(await readTrain(a), factor));
}

export interface TtOrthogonaliseOptions {
  /** "left" (the default): all cores but the last have orthonormal columns, as (r_{k-1}·n_k)×r_k; "right": all but the first orthonormal rows */
  side?: "left" | "right";
}

const sideRules: OptionRules<TtOrthogonaliseOptions> = { side: oneOf("left", "right") };

/** The same tensor with orthogonal cores by a sweep of QR factorisations; the core at the end holds the norm. Ranks may fall. */
export async function ttOrthogonalise(a: TensorTrain, options: TtOrthogonaliseOptions = {}): Promise<TensorTrain> {
  checkTrains("ttOrthogonalise", { a });
  checkOptions("ttOrthogonalise", options, sideRules);
  const centre = options.side === "right" ? 0 : a.cores.length - 1;
  return writeTrain("ttOrthogonalise", a.engine, host.orthogonalise(await readTrain(a), centre));
}

/**
 * The product of a matrix and a vector that are trains, y = W·x: a train of W's row modes whose ranks are the products of theirs
 * (Oseledets 2011, section 4.3).
 */
export async function ttMultiply(matrix: TensorTrainMatrix, vector: TensorTrain): Promise<TensorTrain> {
  checkOption(
    "ttMultiply",
    "the matrix",
    matrix,
    instanceOf(TensorTrainMatrix, "a TensorTrainMatrix, as of ttMatrix(…)"),
  );
  checkOption("ttMultiply", "the vector", vector, train);
  if (formatShape(matrix.columnModes) !== formatShape(vector.shape))
    throw new ShapeError(
      `ttMultiply: the matrix has the column modes ${formatShape(matrix.columnModes)}, the vector ${formatShape(vector.shape)}: they need to be the same`,
    );
  const { engine, cores } = matrix;
  const values = await engine.read(cores as Tensor[]);
  const factors = cores.map(({ shape: [left, rows, columns, right] }, k) => ({
    left: left!,
    rows: rows!,
    columns: columns!,
    right: right!,
    data: Float64Array.from(values[k]!),
  }));
  return writeTrain("ttMultiply", engine, host.matrixProduct(factors, await readTrain(vector)));
}

/**
 * Entries of a train, or of a ring, at a list of indices: `ttEntries(train, [[0, 3, 2], [1, 1, 4]])`. Σ r_{k-1}·r_k multiplications an entry, in f64.
 *
 * @throws ShapeError where an index has not one number a mode, or lies outside
 */
export async function ttEntries(
  a: TensorTrain | TensorRing,
  indices: readonly ArrayLike<number>[],
): Promise<Float64Array> {
  if (!(a instanceof TensorRing)) checkTrains("ttEntries", { a });
  if (!isList(indices)) throw new TenfoldError(`ttEntries: indices are ${shown(indices)}, needs a list of lists`);
  const { shape } = a;
  const flat = new Uint32Array(indices.length * shape.length);
  for (const [at, index] of indices.entries()) {
    const isFitting =
      isList(index) &&
      index.length === shape.length &&
      shape.every((extent, k) => Number.isInteger(index[k]) && index[k]! >= 0 && index[k]! < extent);
    if (!isFitting)
      throw new ShapeError(
        `ttEntries: index ${at} is ${shown(index)}, needs ${shape.length} whole numbers below ${formatShape(shape)}`,
      );
    flat.set(index as ArrayLike<number> & number[], at * shape.length);
  }
  const cores = await readTrain(a);
  return host.entries(a instanceof TensorRing ? host.fromRing(cores) : cores, flat);
}

/** The same tensor as a ring whose first and last rank is 1. */
export async function trainToRing(a: TensorTrain): Promise<TensorRing> {
  checkTrains("trainToRing", { a });
  if (a.cores.length < 2) throw new ShapeError("trainToRing: a train of one core, a ring needs two at least");
  return new TensorRing(writeCores("trainToRing", a.engine, await readTrain(a)));
}

/** The same tensor as a train: the ranks are at most r_1 times the ring's, and are rounded down where that loses no more than f32 does. */
export async function ringToTrain(a: TensorRing): Promise<TensorTrain> {
  checkOption("ringToTrain", "the ring", a, instanceOf(TensorRing, "a TensorRing, as of tensorRingSVD(engine, x, …)"));
  return writeTrain("ringToTrain", a.engine, host.round(host.fromRing(await readTrain(a)), 1e-9));
}

/** ⟨a, b⟩ of two trains or rings of one shape. */
export const innerProductOf = async (a: TensorTrain | TensorRing, b: TensorTrain | TensorRing): Promise<number> =>
  host.innerProduct(await asTrain(a), await asTrain(b));

/** ‖a‖ of a train or a ring. */
export const normOf = async (a: TensorTrain | TensorRing): Promise<number> => host.norm(await asTrain(a));

const asTrain = async (a: TensorTrain | TensorRing): Promise<HostTrain> => {
  const cores = await readTrain(a);
  return a instanceof TensorRing ? host.fromRing(cores) : cores;
};

/** The mode product of a train or a ring; `u` is checked. */
export async function modeProductOf<T extends TensorTrain | TensorRing>(a: T, u: Tensor, mode: number): Promise<T> {
  const values = Float64Array.from(await u.read());
  const cores = await readTrain(a);
  const rows = u.order === 1 ? null : u.shape[0]!;
  const isRing = a instanceof TensorRing;
  if (isRing && rows === null && cores.length < 3)
    throw new ShapeError("modeProduct: a ring of two cores times a vector would have one core; ringToTrain first");
  const product = host.modeProduct(cores, values, rows, mode);
  const written = writeCores("modeProduct", a.engine, product);
  return (isRing ? new TensorRing(written) : new TensorTrain(written)) as T;
}
