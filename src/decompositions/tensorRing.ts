import { type Engine, type Scheduler, ShapeError, sizeOf, TenfoldError, type Tensor } from "../gpu/index.js";
import {
  accumulate,
  appendRow,
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
import { converge, type Decomposition, type StoppingOptions, SWEEPS_A_BATCH } from "./converge.js";
import { squaredNormOf } from "./subspace.js";
import { truncateByError, truncateByRank } from "./tensorTrain.js";

export interface TensorRingOptions {
  /** r_1…r_d, core k being r_k×n_k×r_{k+1}, or one rank for all; each is lowered to what its unfolding has */
  ranks?: number | readonly number[];
  /** instead of ranks: ‖X − X̂‖ ≤ relativeError · ‖X‖ is promised */
  relativeError?: number;
  seed?: number;
}

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
export async function tensorRingSVD(
  engine: Engine,
  x: Tensor,
  { ranks, relativeError, seed = 0 }: TensorRingOptions,
): Promise<TensorRingResult> {
  const { shape } = x;
  const d = shape.length;
  if (d < 2) throw new ShapeError(`tensorRingSVD: ${x} has order ${d}, needs at least 2`);
  if ((ranks === undefined) === (relativeError === undefined))
    throw new TenfoldError("tensorRingSVD: give either ranks or relativeError");
  if (relativeError !== undefined && !(relativeError > 0 && relativeError < 1))
    throw new TenfoldError(`tensorRingSVD: relativeError ${relativeError}, needs a number between 0 and 1`);
  const wanted = ranks === undefined ? null : ringRanks("tensorRingSVD", ranks, x);
  const squaredNorm = await squaredNormOf(engine, x);
  const budget = relativeError === undefined ? 0 : ((0.999 * relativeError) ** 2 * squaredNorm) / (d - 1);
  const cores: Tensor[] = [];
  let rest: Tensor = x;
  try {
    const first = x.reshape([shape[0]!, -1]);
    const most = Math.min(...first.shape);
    const ends = wanted ? sharedWithin(wanted[0]!, wanted[1]!, most) : null;
    const step = ends
      ? await truncateByRank(engine, first, ends[0] * ends[1], seed)
      : await truncateByError(engine, first, budget);
    const [a, b] = ends ?? divided(step.core.shape[1]!);
    const core = engine.tensor([a, shape[0]!, b], null, { label: "core 0" });
    cores.push(core);
    rest = engine.tensor([b, x.size / shape[0]!, a], null, { label: "TR rest" });
    await engine.run((s) => {
      permute(s, step.core.reshape([shape[0]!, a, b]), [1, 0, 2], { out: core });
      permute(s, step.rest.reshape([a, b, -1]), [1, 2, 0], { out: rest });
    }, "TR-SVD");
    step.core.destroy();
    step.rest.destroy();
    for (let k = 1; k < d - 1; k++) {
      const rows = cores.at(-1)!.shape[2]! * shape[k]!;
      const unfolded = rest.reshape([rows, -1]);
      const next = wanted
        ? await truncateByRank(engine, unfolded, wanted[k + 1]!, seed + k)
        : await truncateByError(engine, unfolded, budget);
      rest.destroy();
      rest = next.rest;
      cores.push(next.core.reshape([rows / shape[k]!, shape[k]!, -1]));
    }
    cores.push(rest.reshape([-1, shape[d - 1]!, a]));
  } catch (error) {
    for (const core of cores) core.destroy();
    if (rest.storage !== x.storage) rest.destroy();
    throw error;
  }
  const tensor = new TensorRing(cores);
  return { tensor, relativeError: await residualOf(engine, x, tensor, squaredNorm) };
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

async function residualOf(engine: Engine, x: Tensor, tensor: TensorRing, squaredNorm: number): Promise<number> {
  using residual = engine.tensor([1], null, { label: "residual" });
  await engine.run((s) => void squaredDistance(s, x, tensor.full(s), { out: residual }), "TR residual");
  const squared = (await engine.read(residual))[0]!;
  return squaredNorm ? Math.sqrt(squared / squaredNorm) : 0;
}

export interface TensorRingAlsOptions extends StoppingOptions {
  /** r_1…r_d, or one rank for all; they may exceed what TR-SVD can give */
  ranks: number | readonly number[];
  seed?: number;
  /** of the proximal term, times the mean of the normal matrix's diagonal; 1e-6 by default */
  ridge?: number;
}

/**
 * A tensor ring of given ranks by alternating least squares (TR-ALS, Zhao et al. 2016, algorithm 2): a core after the other
 * is solved for with the others fixed, X₍ₖ₎ ≈ G₍ₖ₎·Qᵀ with Q the chain of the others. Starts from TR-SVD, widened by small
 * random numbers where ranks exceed it. A proximal term keeps the solutions finite, and the error never rises. X is read
 * where it lies; of its size there is one more tensor, the residual.
 */
export async function tensorRingALS(
  engine: Engine,
  x: Tensor,
  { ranks, seed = 0, ridge = 1e-6, ...stopping }: TensorRingAlsOptions,
): Promise<Decomposition<TensorRing>> {
  const { shape } = x;
  const d = shape.length;
  const wanted = ringRanks("tensorRingALS", ranks, x);
  const squaredNorm = await squaredNormOf(engine, x);
  const cores = await startCores(engine, x, wanted, seed);
  const ring = new TensorRing(cores);
  const owned: { destroy(): void }[] = [];
  try {
    const trace = engine.tensor([SWEEPS_A_BATCH, 1], null, { label: "trace" });
    const counter = engine.tensor([1], null, { dtype: "u32", label: "counter" });
    const residual = engine.tensor(shape, null, { label: "residual" });
    owned.push(trace, counter, residual);
    await engine.run((s) => {
      leave(s, x, ring, d - 1, ring.others(s, d - 1), residual);
    }, "TR-ALS start");
    const s = engine.scheduler("TR-ALS sweep");
    for (let k = 0; k < d; k++) updateCore(s, x, ring, k, residual, ridge);
    appendRow(s, sumOfSquares(s, residual), trace, counter);
    const schedule = await s.compile();
    owned.push(schedule);
    const errorOf = (row: Float32Array) => Math.sqrt(Math.max(0, row[0]!) / squaredNorm);
    const convergence = await converge(engine, { schedule, trace, errorOf, name: "tensorRingALS" }, stopping);
    const relativeError = await residualOf(engine, x, ring, squaredNorm);
    return { tensor: ring, relativeError, fits: convergence.errors.map((error) => 1 - error), ...convergence };
  } catch (error) {
    ring.destroy();
    throw error;
  } finally {
    for (const item of owned) item.destroy();
  }
}

/** The cores of TR-SVD, each in the corner of one of the wanted ranks whose other entries are small random numbers. */
async function startCores(engine: Engine, x: Tensor, ranks: readonly number[], seed: number): Promise<Tensor[]> {
  const { tensor } = await tensorRingSVD(engine, x, { ranks, seed });
  const cores = tensor.cores.map((core, k) => {
    const shape = [ranks[k]!, core.shape[1]!, ranks[(k + 1) % ranks.length]!];
    return sizeOf(shape) === core.size ? core : engine.tensor(shape, null, { label: `core ${k}` });
  });
  try {
    await engine.run((s) => {
      cores.forEach((core, k) => {
        const given = tensor.cores[k]!;
        if (core === given) return;
        const random = normal(s, core.shape, { seed, stream: k, deviation: 1e-2 / Math.sqrt(given.size) });
        const size = norm(s, given);
        multiply(s, random, size, { out: core });
        paste(s, given, core, [0, 0, 0]);
        s.release(random, size);
      });
    }, "TR-ALS start");
  } catch (error) {
    for (const core of cores) core.destroy();
    throw error;
  } finally {
    for (const core of tensor.cores) if (!cores.includes(core)) core.destroy();
  }
  return cores;
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
