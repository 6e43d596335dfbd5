import { type Engine, TenfoldError, type Tensor } from "../gpu/index.js";
import { copy, matmul, orthogonalise, slice } from "../ops/index.js";
import { TensorReader } from "../sources/index.js";
import { identityColumns } from "./identityColumns.js";
import { isSettled, leadingPairs } from "./leadingPairs.js";
import { type LinalgOptions, svd } from "./linalg.js";
import { MOST_ITERATED, measuredLoss } from "./subspace.js";
import { TensorScope } from "./tensorScope.js";

/** C ≈ core·rest: rows×rank orthonormal columns U, and UᵀC. */
export interface Cut {
  core: Tensor;
  rest: Tensor;
}

/**
 * What truncations one after the other may lose of ‖X‖² together: each has an equal part of what is left, so that what one of them does not lose is
 * there for those after it.
 */
export class Allowance {
  #left: number;
  #steps: number;

  constructor(all: number, steps: number) {
    this.#left = all;
    this.#steps = steps;
  }

  /** what may still be lost */
  get left(): number {
    return Math.max(0, this.#left);
  }

  /** The part of the next truncation. */
  next(): number {
    return this.left / Math.max(1, this.#steps--);
  }

  /** Notes what was lost. */
  spend(lost: number): void {
    this.#left -= lost;
  }
}

/** C ≈ U·(UᵀC) with U the `rank` leading left singular vectors. An abort throws the signal's reason. */
export async function truncateByRank(
  engine: Engine,
  c: Tensor,
  rank: number,
  seed: number,
  signal?: AbortSignal,
): Promise<Cut> {
  const [rows, columns] = c.shape as [number, number];
  const most = Math.min(rows, columns);
  const width = Math.min(rank, most);
  signal?.throwIfAborted();
  if (width === most) return await cutOf(engine, c, await orthonormalBasis(engine, c));
  if (width > MOST_ITERATED) {
    using factors = await svd(engine, c, { signal });
    return await cutOf(engine, c, await firstColumns(engine, factors.u, width));
  }
  const task = { rank: width, seed, unseen: 1, sweeps: 60, signal };
  const pairs = await leadingPairs(engine, c, {
    ...task,
    judge: (told) => (isSettled(told) ? "enough" : "go on"),
  });
  return await cutOf(engine, c, pairs!.takeLeft());
}

/** Orthonormal columns of C's column space, as many as its shorter side: any will do where nothing is cut. */
async function orthonormalBasis(engine: Engine, c: Tensor): Promise<Tensor> {
  const [rows, columns] = c.shape as [number, number];
  if (rows <= columns) return identityColumns(engine, rows, rows, "core");
  using scope = new TensorScope(engine);
  const basis = scope.allocate([rows, columns], "core");
  await engine.run((s) => {
    const { q, r } = orthogonalise(s, c);
    copy(s, q, { out: basis });
    s.release(q, r);
  }, "column space");
  return scope.handOut(basis);
}

/** C ≈ U·(UᵀC) with the smallest rank at which ‖C − U·UᵀC‖² is at most the next part of what is allowed, from which it is taken. */
export async function truncateByError(
  engine: Engine,
  c: Tensor,
  allowance: Allowance,
  squaredNorm: number,
  options: LinalgOptions = {},
): Promise<Cut> {
  using factors = await svd(engine, c, options);
  const values = await engine.read(factors.values);
  const lossOf = (rank: number) => measuredLoss(new TensorReader(c), factors.u, 0, rank);
  const { rank, lost } = await rankWithin(values, allowance.next(), squaredNorm, lossOf);
  allowance.spend(lost);
  return await cutOf(engine, c, await firstColumns(engine, factors.u, rank));
}

/** The first columns of a matrix. */
async function firstColumns(engine: Engine, u: Tensor, count: number): Promise<Tensor> {
  using scope = new TensorScope(engine);
  const columns = scope.allocate([u.shape[0]!, count], "core");
  await engine.run((s) => void slice(s, u, [0, 0], columns.shape, { out: columns }), "cut");
  return scope.handOut(columns);
}

/** The cut with these columns, which are part of it, and freed where it fails. */
async function cutOf(engine: Engine, c: Tensor, core: Tensor): Promise<Cut> {
  using scope = new TensorScope(engine);
  scope.keep(core);
  const rest = scope.allocate([core.shape[1]!, c.shape[1]!], "rest");
  await engine.run((s) => void matmul(s, core, c, { transposeA: true, out: rest }), "projection");
  return scope.handOut({ core, rest });
}

/** Below this part of ‖X‖² the tail of singular values from f32 is mostly rounding, and losses are measured instead. */
const MEASURED = 1e-8;

/**
 * The fewest leading singular values whose others lose at most `budget` in square. Where the budget is small beside ‖X‖², by the loss
 * itself (`measure` tells ‖Y − UUᵀY‖² for a rank), as f32 knows singular values to 1e-7 of the largest only. `lost` is what they lose.
 */
export async function rankWithin(
  values: ArrayLike<number>,
  budget: number,
  squaredNorm: number,
  measure: (rank: number) => Promise<number>,
): Promise<{ rank: number; lost: number }> {
  let rank = values.length;
  let lost = 0;
  while (rank > 1 && lost + values[rank - 1]! ** 2 <= budget) lost += values[--rank]! ** 2;
  if (budget > MEASURED * squaredNorm || budget === 0) return { rank, lost };
  let [low, high] = [0, rank];
  // the sum of squared tail values is at least the loss, so a smaller rank may do
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const loss = await measure(middle);
    if (loss <= budget) [high, lost] = [middle, loss];
    else low = middle;
  }
  return { rank: high, lost };
}

/** parts of a promised error that truncation may take, tried in turn; the rest is for rounding, which matters where the promise is small */
const SHARES = [0.998, 0.9, 0.7, 0.4];
/** a measured error may be at most this part of the promised one, as it is rounded itself */
const KNOWN = 0.999;

/**
 * A result whose measured error is at most `promised`. `attempt` truncates by the error that it is called with.
 *
 * @throws TenfoldError where rounding alone is more than the promise: it says what f32 can promise
 * @throws the signal's reason where a result misses the promise because it was aborted
 */
export async function keepPromise<T extends { relativeError: number; destroy(): void }>(
  operation: string,
  promised: number,
  attempt: (relativeError: number) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  // the error of the last attempt, which truncates nothing
  let least = 0;
  for (const share of [...SHARES, 0]) {
    const result = await attempt(share * promised);
    if (result.relativeError <= KNOWN * promised) return result;
    least = result.relativeError / KNOWN;
    result.destroy();
    signal?.throwIfAborted();
  }
  throw new TenfoldError(
    `${operation}: relativeError ${promised} is less than f32 can promise of this tensor; the least that it can is ${roundedUp(least)}`,
  );
}

/** Three digits, not less than the value. */
const roundedUp = (value: number): string => {
  const unit = 10 ** (Math.floor(Math.log10(value)) - 2);
  return (Math.ceil(value / unit) * unit).toExponential(2);
};
