import { type Engine, TenfoldError, type Tensor } from "../gpu/index.js";
import { copy, matmul, orthogonalise, slice } from "../ops/index.js";
import { TensorReader } from "../sources/index.js";
import { type LinalgOptions, svd } from "./linalg.js";
import { identityColumns, leadingSubspace, MOST_ITERATED, measuredLoss } from "./subspace.js";

/** C ≈ core·rest: orthonormal columns of C's column space, rows×rank, and their product with C. */
export interface Cut {
  core: Tensor;
  rest: Tensor;
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
  let core: Tensor;
  if (width === most) {
    // nothing is cut: any orthonormal basis of the column space will do
    core =
      rows <= columns
        ? identityColumns(engine, rows, rows, "core")
        : engine.tensor([rows, width], null, { label: "core" });
    if (rows > columns) {
      try {
        await engine.run((s) => {
          const { q, r } = orthogonalise(s, c);
          copy(s, q, { out: core });
          s.release(q, r);
        });
      } catch (error) {
        core.destroy();
        throw error;
      }
    }
  } else if (width > MOST_ITERATED) {
    using factors = await svd(engine, c, { signal });
    return project(engine, await firstColumns(engine, factors.u, width), c);
  } else {
    core = (await leadingSubspace(engine, c, 0, width, { seed, tolerance: 1e-7, sweeps: 60, signal })).vectors;
    // a subspace iteration that is aborted is not finished
    if (signal?.aborted) {
      core.destroy();
      throw signal.reason;
    }
  }
  return project(engine, core, c);
}

/** The same with the smallest rank whose cut singular values stay within `budget` in square. */
export async function truncateByError(
  engine: Engine,
  c: Tensor,
  budget: number,
  squaredNorm: number,
  options: LinalgOptions = {},
): Promise<Cut> {
  using factors = await svd(engine, c, options);
  const values = (await engine.read(factors.values)) as Float32Array;
  const lossOf = (rank: number) => measuredLoss(new TensorReader(c), factors.u, 0, rank);
  const rank = await rankWithin(values, budget, squaredNorm, lossOf);
  return project(engine, await firstColumns(engine, factors.u, rank), c);
}

/** The first columns of a matrix. */
async function firstColumns(engine: Engine, u: Tensor, count: number): Promise<Tensor> {
  const columns = engine.tensor([u.shape[0]!, count], null, { label: "core" });
  try {
    await engine.run((s) => void slice(s, u, [0, 0], columns.shape, { out: columns }), "cut");
    return columns;
  } catch (error) {
    columns.destroy();
    throw error;
  }
}

async function project(engine: Engine, core: Tensor, c: Tensor): Promise<Cut> {
  let rest: Tensor | null = null;
  try {
    const out = engine.tensor([core.shape[1]!, c.shape[1]!], null, { label: "rest" });
    rest = out;
    await engine.run((s) => void matmul(s, core, c, { transposeA: true, out }), "projection");
    return { core, rest };
  } catch (error) {
    core.destroy();
    rest?.destroy();
    throw error;
  }
}

/** Below this part of ‖X‖² the tail of singular values from f32 is mostly rounding, and losses are measured instead. */
const MEASURED = 1e-8;

/**
 * The fewest leading singular values whose others lose at most `budget` in square. Where the budget is small beside ‖X‖², by the loss
 * itself (`measure` tells ‖Y − UUᵀY‖² for a rank), as f32 knows singular values to 1e-7 of the largest only.
 */
export async function rankWithin(
  values: ArrayLike<number>,
  budget: number,
  squaredNorm: number,
  measure: (rank: number) => Promise<number>,
): Promise<number> {
  let rank = values.length;
  let loss = 0;
  while (rank > 1 && loss + values[rank - 1]! ** 2 <= budget) loss += values[--rank]! ** 2;
  if (budget > MEASURED * squaredNorm || budget === 0) return rank;
  let [low, high] = [0, rank];
  // the tail of rounding errors is no less than the loss: fewer may do
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((await measure(middle)) <= budget) high = middle;
    else low = middle;
  }
  return high;
}

/** what cutting may take of a promised error; the rest is for rounding, which is part of it where the promise is small */
const SHARES = [0.998, 0.9, 0.7, 0.4];
/** of a promised error, what a measured one may be */
const KNOWN = 0.999;

/**
 * A result whose measured error is at most `asked`. `attempt` cuts by the error that it is called with. Where rounding alone is more than
 * what was asked, an error says what f32 can promise. A result that misses it because it was aborted gives the signal's reason.
 */
export async function keepPromise<T extends { relativeError: number; destroy(): void }>(
  operation: string,
  asked: number,
  attempt: (relativeError: number) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  // of the last attempt, which cuts nothing, whatever is asked
  let least = 0;
  for (const share of [...SHARES, 0]) {
    const result = await attempt(share * asked);
    // what is measured is known to f32, too
    if (result.relativeError <= KNOWN * asked) return result;
    least = result.relativeError / KNOWN;
    result.destroy();
    signal?.throwIfAborted();
  }
  throw new TenfoldError(
    `${operation}: relativeError ${asked} is less than f32 can promise of this tensor; the least that it can is ${roundedUp(least)}`,
  );
}

/** Three digits, not less than the value. */
const roundedUp = (value: number): string => {
  const unit = 10 ** (Math.floor(Math.log10(value)) - 2);
  return (Math.ceil(value / unit) * unit).toExponential(2);
};
