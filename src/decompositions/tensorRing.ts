import {
  checkOptions,
  type DType,
  type Engine,
  type OptionRules,
  optionRules,
  Program,
  ShapeError,
  sizeOf,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { appendRow, multiply, norm, normal, paste, permute } from "../ops/index.js";
import { checkCall, restore, type Source, withSource } from "../sources/index.js";
import { TensorRing } from "../tensors/index.js";
import {
  type Decomposition,
  iterate,
  relativeResidual,
  type Scope,
  type StoppingOptions,
  type SweepMethod,
  seedAt,
  stoppingRules,
} from "./iterate.js";
import { type LinalgOptions, linalgRules } from "./linalg.js";
import { Reduced } from "./reduced.js";
import { recordTruncation } from "./subspace.js";
import { RingSweep } from "./tensorRingSweep.js";
import { TensorScope } from "./tensorScope.js";
import { Allowance, keepPromise, truncateByError, truncateByRank } from "./truncation.js";

export interface TensorRingOptions extends LinalgOptions {
  /** r_1…r_d, core k being r_k×n_k×r_{k+1}, or one rank for all; each is lowered to what its unfolding has */
  ranks?: number | readonly number[];
  /** instead of ranks: ‖X − X̂‖ ≤ relativeError · ‖X‖ is promised */
  relativeError?: number;
  seed?: number;
}

const svdRules: OptionRules<TensorRingOptions> = {
  ...linalgRules,
  ranks: optionRules.ranks,
  relativeError: optionRules.fraction,
  seed: optionRules.seed,
};

export interface TensorRingResult {
  tensor: TensorRing;
  /** ‖X − X̂‖ / ‖X‖, from the difference itself */
  relativeError: number;
}

/**
 * The tensor ring of X by successive truncated SVDs (TR-SVD, Zhao et al. 2016, algorithm 1): the rank of the first SVD is
 * shared out to the two ends of the first core, then as for a tensor train. By relative error ε they
 * may lose ε·‖X‖ together, and each an equal part of what is left of that. X in slabs is read as by `ttSVD`.
 */
export async function tensorRingSVD(
  engine: Engine,
  x: Tensor<DType> | Source,
  options: TensorRingOptions,
): Promise<TensorRingResult> {
  const name = "tensorRingSVD";
  checkCall(engine, name, x);
  checkOptions(name, options, svdRules);
  const { ranks, relativeError } = options;
  if ((ranks === undefined) === (relativeError === undefined))
    throw new TenfoldError(`${name}: give either ranks or relativeError`);
  const asked = ranks === undefined ? null : ringRanks(name, ranks, x);
  assertOrder(name, x);
  return await withSource(engine, name, x, async (source) => {
    if (source.isZero) return { tensor: zeroRing(engine, x.shape, asked ?? x.shape.map(() => 1)), relativeError: 0 };
    const wanted = asked ? { ranks: modeRanks(x.shape, asked) } : { relativeError: relativeError! };
    using reduced = await Reduced.create(name, source, wanted, options);
    const attempt = async (error: number | null) => {
      const left = error === null ? null : reduced.left(error);
      const ring = await ringBySvd(name, reduced.source, asked, left, options);
      return { ...ring, relativeError: reduced.told(ring.relativeError), destroy: () => ring.tensor.destroy() };
    };
    const ring = relativeError === undefined ? await attempt(null) : await keepPromise(name, relativeError, attempt);
    const tensor = new TensorRing(await reduced.cores(engine, ring.tensor.cores));
    return {
      tensor: await restoreRing(engine, name, tensor, source.exponent),
      relativeError: ring.relativeError,
    };
  });
}

/** TR-SVD of x, by ranks or by an error. Every SVD takes an unfolding apart, so x has to be one tensor. */
async function ringBySvd(
  name: string,
  source: Source,
  ranks: readonly number[] | null,
  relativeError: number | null,
  { seed = 0, signal, onProgress }: TensorRingOptions = {},
): Promise<TensorRingResult> {
  const { engine, shape, squaredNorm } = source;
  const x = source.tensor(name);
  const d = shape.length;
  const allowance = new Allowance((relativeError ?? 0) ** 2 * squaredNorm, d - 1);
  using tensorScope = new TensorScope(engine);
  const first = x.reshape([shape[0]!, -1]);
  const most = Math.min(...first.shape);
  const ends = ranks ? sharedWithin(ranks[0]!, ranks[1]!, most) : null;
  const step = ends
    ? await truncateByRank(engine, first, ends[0] * ends[1], seed, signal)
    : await truncateByError(engine, first, allowance, squaredNorm, { signal });
  using firstCore = step.core;
  using firstRest = step.rest;
  const [a, b] = ends ?? divided(firstCore.shape[1]!);
  const cores = [tensorScope.allocate([a, shape[0]!, b], "core 0")];
  let rest = tensorScope.allocate([b, x.size / shape[0]!, a], "TR rest");
  await engine.run((s) => {
    permute(s, firstCore.reshape([shape[0]!, a, b]), [1, 0, 2], { out: cores[0]! });
    permute(s, firstRest.reshape([a, b, -1]), [1, 2, 0], { out: rest });
  }, "TR-SVD");
  firstCore.destroy();
  firstRest.destroy();
  onProgress?.(1 / (d - 1));
  for (let k = 1; k < d - 1; k++) {
    signal?.throwIfAborted();
    const rows = cores.at(-1)!.shape[2]! * shape[k]!;
    const unfolded = rest.reshape([rows, -1]);
    const next = ranks
      ? await truncateByRank(engine, unfolded, ranks[k + 1]!, seedAt(seed, k), signal)
      : await truncateByError(engine, unfolded, allowance, squaredNorm, { signal });
    tensorScope.keep(next.core);
    rest.destroy();
    rest = tensorScope.keep(next.rest);
    cores.push(next.core.reshape([rows / shape[k]!, shape[k]!, -1]));
    onProgress?.((k + 1) / (d - 1));
  }
  cores.push(rest.reshape([-1, shape[d - 1]!, a]));
  const tensor = new TensorRing(cores);
  const error = await relativeResidual(source, (p, out) => void source.residual(p, tensor, { out }));
  return tensorScope.handOut({ tensor, relativeError: error });
}

function assertOrder(name: string, x: Tensor<DType> | Source): void {
  if (x.order < 2) throw new ShapeError(`${name}: ${x} has order ${x.order}, needs at least 2`);
}

/** The ring of a tensor of zeros. */
function zeroRing(engine: Engine, shape: readonly number[], ranks: readonly number[]): TensorRing {
  return new TensorRing(
    shape.map((extent, k) =>
      engine.tensor([ranks[k]!, extent, ranks[(k + 1) % shape.length]!], null, { label: `core ${k}` }),
    ),
  );
}

/** A ring times 2^exponent, shared out evenly over its cores, so that none leaves the range of f32 before X does. */
async function restoreRing(engine: Engine, name: string, ring: TensorRing, exponent: number): Promise<TensorRing> {
  if (!exponent) return ring;
  using tensorScope = new TensorScope(engine);
  tensorScope.keep(ring);
  const cores: Tensor[] = [];
  for (const [k, core] of ring.cores.entries()) {
    const upTo = (count: number) => Math.trunc((exponent * count) / ring.cores.length);
    cores.push(tensorScope.keep(await restore(engine, name, `core ${k}`, core, upTo(k + 1) - upTo(k))));
  }
  return tensorScope.handOut(new TensorRing(cores));
}

function ringRanks(name: string, ranks: number | readonly number[], x: Tensor<DType> | Source): number[] {
  const d = x.order;
  const list = typeof ranks === "number" ? new Array<number>(d).fill(ranks) : [...ranks];
  if (list.length !== d || list.some((rank) => !Number.isInteger(rank) || rank < 1))
    throw new ShapeError(`${name}: ranks ${list.join(", ")} for ${x}, needs ${d} positive whole numbers`);
  return list;
}

/** The ranks of a ring's modes: of each, its two ranks together at most. */
const modeRanks = (shape: readonly number[], ranks: readonly number[]): number[] =>
  shape.map((extent, k) => Math.min(extent, ranks[k]! * ranks[(k + 1) % ranks.length]!));

/** Lowers two ranks, the larger one first, until their product is at most `most`. */
function sharedWithin(a: number, b: number, most: number): [number, number] {
  while (a * b > most) {
    if (a > b) a--;
    else b--;
  }
  return [a, b];
}

/** The two factors of a number that lie closest together. */
function divided(rank: number): [number, number] {
  let small = Math.floor(Math.sqrt(rank));
  while (rank % small) small--;
  return [small, rank / small];
}

export interface TensorRingAlsOptions extends StoppingOptions {
  /** r_1…r_d, or one rank for all; they may exceed what TR-SVD can give */
  ranks: number | readonly number[];
  seed?: number;
  /** of the proximal term, times the mean of the normal matrix's diagonal; 1e-6 by default */
  ridge?: number;
}

const alsRules: OptionRules<TensorRingAlsOptions> = {
  ranks: { ...optionRules.ranks, required: true },
  seed: optionRules.seed,
  ridge: optionRules.atLeastZero,
  ...stoppingRules,
};

/**
 * A tensor ring of given ranks by alternating least squares (TR-ALS, Zhao et al. 2016, algorithm 2): a core after the other
 * is solved for with the others fixed, X₍ₖ₎ ≈ G₍ₖ₎·Qᵀ with Q the chain of the others. Starts near TR-SVD, widened by small
 * random numbers where ranks exceed it. A proximal term keeps the solutions finite, and the error never rises. A sweep goes by the two halves of the
 * ring, and forms no Q: it holds X, the residual of its size, and the products of the cores in each half. Of X in slabs the ring is that of a core,
 * as by `ttSVD`: X itself is not read in a sweep.
 */
export async function tensorRingALS(
  engine: Engine,
  x: Tensor<DType> | Source,
  options: TensorRingAlsOptions,
): Promise<Decomposition<TensorRing>> {
  const name = "tensorRingALS";
  checkCall(engine, name, x);
  checkOptions(name, options, alsRules);
  const { ranks, seed = 0, ridge = 1e-6, ...stopping } = options;
  const asked = ringRanks(name, ranks, x);
  assertOrder(name, x);
  return await withSource(engine, name, x, async (source) => {
    const wanted = { ranks: modeRanks(x.shape, asked) };
    using reduced = await Reduced.create(name, source, wanted, { seed, signal: stopping.signal });
    const result = await iterate<TensorRing>(reduced.source, {
      name,
      stopping: reduced.stopping(stopping),
      seed,
      zero: () => zeroRing(engine, x.shape, asked),
      begin: (scope) => ringMethod(scope, asked, seed, ridge, stopping.signal),
    });
    const tensor = new TensorRing(await reduced.cores(engine, result.tensor.cores));
    return reduced.decomposition({ ...result, tensor });
  });
}

/** TR-ALS as a method of `iterate`: a sweep goes on from the cores and the residual that the sweep before left. */
async function ringMethod(
  scope: Scope,
  ranks: readonly number[],
  seed: number,
  ridge: number,
  signal: AbortSignal | undefined,
): Promise<SweepMethod<TensorRing>> {
  const { engine, source } = scope;
  signal?.throwIfAborted();
  const sweep = new RingSweep(scope, ranks, ridge);
  await Program.run(
    engine,
    (p) => {
      const start = startRing(p, source, ranks, seed);
      sweep.begin(p.s, start);
      p.s.release(...start);
    },
    "TR-ALS start",
  );
  return {
    columns: 1,
    advice: "a larger ridge",
    record({ s }, { rows, counter }) {
      const squared = s.tensor([1], { label: "squared norm" });
      sweep.record(s, squared);
      appendRow(s, squared, rows, counter);
      s.release(squared);
    },
    errorOf: (row) => ({ fromResidual: Math.sqrt(row[0]! / source.squaredNorm) }),
    async finish() {
      using tensorScope = new TensorScope(engine);
      const cores = source.shape.map((extent, k) =>
        tensorScope.allocate([ranks[k]!, extent, ranks[(k + 1) % ranks.length]!], `core ${k}`),
      );
      await engine.run((s) => sweep.standard(s, cores), "TR-ALS result");
      return tensorScope.handOut(new TensorRing(cores));
    },
    residual: (p, tensor, out) => void source.residual(p, tensor, { out }),
    restore: (tensor, exponent) => restoreRing(engine, "tensorRingALS", tensor, exponent),
  };
}

/**
 * Records a start: TR-SVD as near as few dispatches come to it, each core in the corner of one of the ranks asked for, whose other entries
 * are small random numbers.
 */
function startRing(p: Program, source: Source, ranks: readonly number[], seed: number): Tensor[] {
  const { s } = p;
  const { shape } = source;
  const last = shape.length - 1;
  const cut = (matrix: Tensor, rank: number, place: number) =>
    recordTruncation(p, matrix, Math.min(rank, ...matrix.shape), seedAt(seed, place));
  const x = source.tensor("tensorRingALS").reshape([shape[0]!, -1]);
  const [a, b] = sharedWithin(ranks[0]!, ranks[1]!, Math.min(...x.shape));
  const first = cut(x, a * b, 0);
  const corners = [permute(s, first.core.reshape([shape[0]!, a, b]), [1, 0, 2])];
  let rest = permute(s, first.rest.reshape([a, b, -1]), [1, 2, 0]);
  s.release(first.core, first.rest);
  for (let k = 1; k < last; k++) {
    const left = corners[k - 1]!.shape[2]!;
    const next = cut(rest.reshape([left * shape[k]!, -1]), ranks[k + 1]!, k);
    s.release(rest);
    corners.push(next.core.reshape([left, shape[k]!, -1]));
    rest = next.rest;
  }
  corners.push(rest.reshape([-1, shape[last]!, a]));
  return corners.map((corner, k) => {
    const whole = [ranks[k]!, shape[k]!, ranks[(k + 1) % ranks.length]!];
    if (sizeOf(whole) === corner.size) return corner;
    const random = normal(s, whole, { seed, stream: k, deviation: 1e-2 / Math.sqrt(corner.size) });
    const size = norm(s, corner);
    const core = multiply(s, random, size);
    paste(s, corner, core, [0, 0, 0]);
    s.release(random, size, corner);
    return core;
  });
}
