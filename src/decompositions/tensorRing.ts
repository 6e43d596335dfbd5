import {
  checkOptions,
  type Engine,
  type OptionRules,
  optionRules,
  type Scheduler,
  ShapeError,
  sizeOf,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import {
  accumulate,
  appendRow,
  copy,
  multiply,
  norm,
  normal,
  paste,
  permute,
  solveSymmetric,
  squaredDistance,
  sumOfSquares,
  threeNumbers,
  unfoldedProduct,
} from "../ops/index.js";
import { TensorRing } from "../tensors/index.js";
import {
  type Decomposition,
  iterate,
  type Method,
  relativeResidual,
  type Scope,
  type StoppingOptions,
  seedAt,
  stoppingRules,
} from "./iterate.js";
import { type LinalgOptions, linalgRules } from "./linalg.js";
import { checkCall, type Prepared, prepare, restore } from "./prepare.js";
import { keepPromise, truncateByError, truncateByRank } from "./truncation.js";

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
 * shared out to the two ends of the first core, then as for a tensor train. By relative error ε every SVD may lose ε/√(d−1)
 * of ‖X‖, which together keeps the promise.
 */
export async function tensorRingSVD(engine: Engine, x: Tensor, options: TensorRingOptions): Promise<TensorRingResult> {
  checkCall(engine, "tensorRingSVD", x);
  checkOptions("tensorRingSVD", options, svdRules);
  const { ranks, relativeError } = options;
  if ((ranks === undefined) === (relativeError === undefined))
    throw new TenfoldError("tensorRingSVD: give either ranks or relativeError");
  const wanted = ranks === undefined ? null : ringRanks("tensorRingSVD", ranks, x);
  assertOrder("tensorRingSVD", x);
  using given = await prepare(engine, "tensorRingSVD", x);
  if (given.isZero) return { tensor: zeroRing(engine, x.shape, wanted ?? x.shape.map(() => 1)), relativeError: 0 };
  const attempt = async (error: number | null) => {
    const ring = await ringBySVD(engine, given, wanted, error, options);
    return { ...ring, destroy: () => ring.tensor.destroy() };
  };
  const found =
    relativeError === undefined ? await attempt(null) : await keepPromise("tensorRingSVD", relativeError, attempt);
  return {
    tensor: await restoreRing(engine, "tensorRingSVD", found.tensor, given.exponent),
    relativeError: found.relativeError,
  };
}

/** TR-SVD of what is prepared. */
async function ringBySVD(
  engine: Engine,
  given: Prepared,
  wanted: readonly number[] | null,
  relativeError: number | null,
  { seed = 0, signal, onProgress }: TensorRingOptions = {},
): Promise<TensorRingResult> {
  const { x, squaredNorm } = given;
  const { shape } = x;
  const d = shape.length;
  const budget = ((relativeError ?? 0) ** 2 * squaredNorm) / (d - 1);
  const cores: Tensor[] = [];
  let rest: Tensor = x;
  try {
    const first = x.reshape([shape[0]!, -1]);
    const most = Math.min(...first.shape);
    const ends = wanted ? sharedWithin(wanted[0]!, wanted[1]!, most) : null;
    const step = ends
      ? await truncateByRank(engine, first, ends[0] * ends[1], seed, signal)
      : await truncateByError(engine, first, budget, squaredNorm, { signal });
    const [a, b] = ends ?? divided(step.core.shape[1]!);
    try {
      const core = engine.tensor([a, shape[0]!, b], null, { label: "core 0" });
      cores.push(core);
      rest = engine.tensor([b, x.size / shape[0]!, a], null, { label: "TR rest" });
      await engine.run((s) => {
        permute(s, step.core.reshape([shape[0]!, a, b]), [1, 0, 2], { out: core });
        permute(s, step.rest.reshape([a, b, -1]), [1, 2, 0], { out: rest });
      }, "TR-SVD");
    } finally {
      step.core.destroy();
      step.rest.destroy();
    }
    onProgress?.(1 / (d - 1));
    for (let k = 1; k < d - 1; k++) {
      signal?.throwIfAborted();
      const rows = cores.at(-1)!.shape[2]! * shape[k]!;
      const unfolded = rest.reshape([rows, -1]);
      const next = wanted
        ? await truncateByRank(engine, unfolded, wanted[k + 1]!, seedAt(seed, k), signal)
        : await truncateByError(engine, unfolded, budget, squaredNorm, { signal });
      rest.destroy();
      rest = next.rest;
      cores.push(next.core.reshape([rows / shape[k]!, shape[k]!, -1]));
      onProgress?.((k + 1) / (d - 1));
    }
    cores.push(rest.reshape([-1, shape[d - 1]!, a]));
  } catch (error) {
    for (const core of cores) core.destroy();
    if (rest.storage !== x.storage) rest.destroy();
    throw error;
  }
  const tensor = new TensorRing(cores);
  try {
    const measure = (s: Scheduler, out: Tensor) => void squaredDistance(s, x, tensor.full(s), { out });
    return { tensor, relativeError: await relativeResidual(engine, given, measure) };
  } catch (error) {
    tensor.destroy();
    throw error;
  }
}

function assertOrder(name: string, x: Tensor): void {
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
  const cores: Tensor[] = [];
  try {
    for (const [k, core] of ring.cores.entries()) {
      const upTo = (count: number) => Math.trunc((exponent * count) / ring.cores.length);
      cores.push(await restore(engine, name, `core ${k}`, core, upTo(k + 1) - upTo(k)));
    }
    return new TensorRing(cores);
  } catch (error) {
    for (const core of [...cores, ...ring.cores]) core.destroy();
    throw error;
  }
}

function ringRanks(name: string, ranks: number | readonly number[], x: Tensor): number[] {
  const d = x.order;
  const wanted = typeof ranks === "number" ? new Array<number>(d).fill(ranks) : [...ranks];
  if (wanted.length !== d || wanted.some((rank) => !Number.isInteger(rank) || rank < 1))
    throw new ShapeError(`${name}: ranks ${wanted.join(", ")} for ${x}, needs ${d} positive whole numbers`);
  return wanted;
}

/** Two ranks lowered, the larger first, until their product is at most `most`. */
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
 * is solved for with the others fixed, X₍ₖ₎ ≈ G₍ₖ₎·Qᵀ with Q the chain of the others. Starts from TR-SVD, widened by small
 * random numbers where ranks exceed it. A proximal term keeps the solutions finite, and the error never rises. X is read
 * where it lies. Beside it a sweep holds the residual, of X's size, and Q, r_k·r_{k+1}/n_k times that: for small extents and
 * large ranks Q is the largest tensor of all.
 */
export async function tensorRingALS(
  engine: Engine,
  x: Tensor,
  options: TensorRingAlsOptions,
): Promise<Decomposition<TensorRing>> {
  checkCall(engine, "tensorRingALS", x);
  checkOptions("tensorRingALS", options, alsRules);
  const { ranks, seed = 0, ridge = 1e-6, ...stopping } = options;
  const wanted = ringRanks("tensorRingALS", ranks, x);
  assertOrder("tensorRingALS", x);
  return await iterate<TensorRing>(engine, x, {
    name: "tensorRingALS",
    stopping,
    seed,
    zero: () => zeroRing(engine, x.shape, wanted),
    begin: (scope) => ringMethod(scope, wanted, seed, ridge, stopping.signal),
  });
}

/** TR-ALS as a method of `iterate`: the cores and the residual, which a sweep carries on. */
async function ringMethod(
  { engine, own, keep, given }: Scope,
  ranks: readonly number[],
  seed: number,
  ridge: number,
  signal: AbortSignal | undefined,
): Promise<Method<TensorRing>> {
  const { x, squaredNorm } = given;
  const ring = keep(await startRing(engine, given, ranks, seed, signal));
  const residual = own(x.shape, "residual");
  const last = x.order - 1;
  await engine.run((s) => leave(s, x, ring, last, ring.others(s, last), residual), "TR-ALS start");
  return {
    columns: 1,
    advice: "a larger ridge",
    record(s, { rows, counter }) {
      for (let k = 0; k <= last; k++) updateCore(s, x, ring, k, residual, ridge);
      const squared = sumOfSquares(s, residual);
      appendRow(s, squared, rows, counter);
      s.release(squared);
    },
    errorOf: (row) => ({ fromResidual: Math.sqrt(row[0]! / squaredNorm) }),
    async finish() {
      const cores = ring.cores.map((core) => engine.tensor(core.shape, null, { label: core.label }));
      const found = new TensorRing(cores);
      try {
        await engine.run((s) => {
          for (const [k, core] of cores.entries()) copy(s, ring.cores[k]!, { out: core });
        }, "TR-ALS result");
      } catch (error) {
        found.destroy();
        throw error;
      }
      return found;
    },
    residual: (s, tensor, out) => void squaredDistance(s, x, tensor.full(s, residual), { out }),
    restore: (tensor, exponent) => restoreRing(engine, "tensorRingALS", tensor, exponent),
  };
}

/** The cores of TR-SVD, each in the corner of one of the wanted ranks whose other entries are small random numbers. */
async function startRing(
  engine: Engine,
  given: Prepared,
  ranks: readonly number[],
  seed: number,
  signal: AbortSignal | undefined,
): Promise<TensorRing> {
  const { tensor } = await ringBySVD(engine, given, ranks, null, { seed, signal });
  const cores = tensor.cores.map((core, k) => {
    const shape = [ranks[k]!, core.shape[1]!, ranks[(k + 1) % ranks.length]!];
    return sizeOf(shape) === core.size ? core : engine.tensor(shape, null, { label: `core ${k}` });
  });
  try {
    await engine.run((s) => {
      cores.forEach((core, k) => {
        const corner = tensor.cores[k]!;
        if (core === corner) return;
        const random = normal(s, core.shape, { seed, stream: k, deviation: 1e-2 / Math.sqrt(corner.size) });
        const size = norm(s, corner);
        multiply(s, random, size, { out: core });
        paste(s, corner, core, [0, 0, 0]);
        s.release(random, size);
      });
    }, "TR-ALS start");
  } catch (error) {
    for (const core of cores) core.destroy();
    throw error;
  } finally {
    for (const core of tensor.cores) if (!cores.includes(core)) core.destroy();
  }
  return new TensorRing(cores);
}

/**
 * Records the update of one core from a residual X − X̂ that is that of the ring, and the residual that is left after it.
 * Both are seen as before×n_k×after.
 */
function updateCore(s: Scheduler, x: Tensor, ring: TensorRing, k: number, residual: Tensor, ridge: number): void {
  const core = ring.cores[k]!;
  const [left, extent, right] = core.shape as [number, number, number];
  const q = ring.others(s, k);
  const gradient = unfoldedProduct(s, residual.reshape(threeNumbers(x.shape, k)), q, 1);
  const normals = unfoldedProduct(s, q, q, 1);
  const step = solveSymmetric(s, normals, gradient, { ridge });
  s.release(gradient, normals);
  const turned = permute(s, step.reshape([extent, left, right]), [1, 0, 2]);
  accumulate(s, turned, core);
  s.release(step, turned);
  leave(s, x, ring, k, q, residual);
}

/** Records residual ← X − X̂ by way of core k; the chain `q` of the others is released. */
function leave(s: Scheduler, x: Tensor, ring: TensorRing, k: number, q: Tensor, residual: Tensor): void {
  ring.close(s, k, q, residual);
  s.release(q);
  accumulate(s, x, residual, { beta: -1 });
}
