import { type Engine, type Scheduler, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";
import {
  add,
  appendRow,
  gram,
  matmul,
  normal,
  permute,
  solveSymmetric,
  squaredDistance,
  subtract,
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
 * random numbers where ranks exceed it. A proximal term keeps the solutions finite, and the error never rises.
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
  const start = (await tensorRingSVD(engine, x, { ranks: wanted, seed })).tensor;
  const cores = shape.map((extent, k) =>
    engine.tensor([wanted[k]!, extent, wanted[(k + 1) % d]!], null, { label: `core ${k}` }),
  );
  const owned: { destroy(): void }[] = [];
  try {
    const given = (await engine.read([...start.cores])) as Float32Array[];
    await engine.run((s) => {
      cores.forEach((core, k) => {
        const scale = Math.sqrt(given[k]!.reduce((sum, value) => sum + value * value, 0) / given[k]!.length);
        normal(s, core.shape, { seed, stream: k, deviation: 1e-2 * scale, out: core });
      });
    }, "TR-ALS start");
    for (const [k, core] of cores.entries()) {
      const values = (await engine.read(core)) as Float32Array;
      embed(given[k]!, start.cores[k]!.shape, values, core.shape);
      engine.write(core, values);
    }
    const trace = engine.tensor([SWEEPS_A_BATCH, 1], null, { label: "trace" });
    const counter = engine.tensor([1], null, { dtype: "u32", label: "counter" });
    owned.push(trace, counter);
    // X with mode k first and the others in the ring's order
    const turned = shape.map((extent) => engine.tensor([extent, x.size / extent], null, { label: "turned X" }));
    owned.push(...turned);
    await engine.run((s) => {
      for (let k = 0; k < d; k++) {
        const before = shape.slice(0, k).reduce((a, b) => a * b, 1);
        permute(s, x.reshape([before, shape[k]!, -1]), [1, 2, 0], { out: turned[k]!.reshape([shape[k]!, -1, before]) });
      }
    }, "TR-ALS unfold");
    const s = engine.scheduler("TR-ALS sweep");
    let residual: Tensor | null = null;
    for (let k = 0; k < d; k++) {
      if (residual) s.release(residual);
      residual = updateCore(s, cores, k, turned[k]!, ridge, k === d - 1);
    }
    appendRow(s, residual!, trace, counter);
    const schedule = await s.compile();
    owned.push(schedule);
    const errorOf = (row: Float32Array) => Math.sqrt(Math.max(0, row[0]!) / squaredNorm);
    const convergence = await converge(engine, { schedule, trace, errorOf, name: "tensorRingALS" }, stopping);
    const tensor = new TensorRing(cores);
    const relativeError = await residualOf(engine, x, tensor, squaredNorm);
    return { tensor, relativeError, fits: convergence.errors.map((error) => 1 - error), ...convergence };
  } catch (error) {
    for (const core of cores) core.destroy();
    throw error;
  } finally {
    start.destroy();
    for (const item of owned) item.destroy();
  }
}

/** Records the update of one core; the last of a sweep gives ‖X − X̂‖². */
function updateCore(
  s: Scheduler,
  cores: readonly Tensor[],
  k: number,
  x: Tensor,
  ridge: number,
  last: boolean,
): Tensor | null {
  const d = cores.length;
  const [left, extent, right] = cores[k]!.shape as [number, number, number];
  // the others in the ring's order, r_{k+1}×N×r_k
  let chain = cores[(k + 1) % d]!;
  for (let step = 2; step < d; step++) {
    const core = cores[(k + step) % d]!;
    const next = matmul(s, chain.reshape([-1, core.shape[0]!]), core.reshape([core.shape[0]!, -1]));
    if (step > 2) s.release(chain);
    chain = next.reshape([right, -1, core.shape[2]!]);
  }
  const q = permute(s, chain.reshape([right, -1, left]), [1, 2, 0]).reshape([-1, left * right]);
  if (d > 2) s.release(chain);
  const unfolded = permute(s, cores[k]!, [1, 0, 2]);
  const old = unfolded.reshape([extent, left * right]);
  const model = matmul(s, old, q, { transposeB: true });
  const difference = subtract(s, x, model);
  const gradient = matmul(s, difference, q);
  s.release(model, difference);
  const normalMatrix = gram(s, q);
  const step = solveSymmetric(s, normalMatrix, gradient, { ridge });
  s.release(gradient, normalMatrix);
  const updated = add(s, old, step);
  s.release(step, unfolded);
  permute(s, updated.reshape([extent, left, right]), [1, 0, 2], { out: cores[k]! });
  let residual: Tensor | null = null;
  if (last) {
    const full = matmul(s, updated, q, { transposeB: true });
    residual = squaredDistance(s, x, full);
    s.release(full);
  }
  s.release(updated, q);
  return residual;
}

/** Writes a smaller array into the corner of a larger one. */
function embed(from: Float32Array, small: readonly number[], into: Float32Array, large: readonly number[]): void {
  const [a, b, c] = small as [number, number, number];
  for (let i = 0; i < a; i++)
    for (let j = 0; j < b; j++)
      for (let k = 0; k < c; k++) into[(i * large[1]! + j) * large[2]! + k] = from[(i * b + j) * c + k]!;
}
