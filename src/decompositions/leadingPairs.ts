/** The leading singular vectors of a matrix, in few dispatches and one readback where singular values fall. */
import { dispose, type Engine, Program, Replay, type Scheduler, type Tensor } from "../gpu/index.js";
import {
  accumulate,
  copy,
  gram,
  jacobiSvd,
  matmul,
  normal,
  orthogonalise,
  slice,
  sumOfSquares,
  symmetricEigen,
} from "../ops/index.js";
import { basisColumns } from "./subspace.js";
import { TensorScope } from "./tensorScope.js";

/** What is known after a sweep. */
export interface ToldPairs {
  /** all Ritz values, falling: some more than pairs are asked for, of which the last are too small */
  values: Float32Array;
  /** of each pair: the squared sine of the angle between its left vector and the space of all left vectors before the sweep */
  turned: Float32Array;
  /** sweeps so far, the one that ends a start among them */
  sweeps: number;
}

/** Whether pairs are near enough, or never will be. */
export type Verdict = "enough" | "go on" | "give up";

export interface PairsTask {
  rank: number;
  seed: number;
  /** sweeps before the first that tells anything, at least 1 */
  unseen: number;
  /** the most sweeps */
  sweeps: number;
  signal?: AbortSignal | undefined;
  judge(told: ToldPairs): Verdict;
}

/** Leading singular pairs of a matrix: A·right = left·diag(values). */
export class LeadingPairs {
  constructor(
    /** m×rank, orthonormal columns */
    readonly left: Tensor,
    /** all Ritz values */
    readonly values: Tensor,
    /** n×p, orthonormal columns, and the p×p turn to the right vectors */
    private readonly basis: Tensor,
    private readonly turn: Tensor,
  ) {}

  /** Records the right vectors, n×rank. */
  right(s: Scheduler): Tensor {
    return turned(s, this.basis, this.turn, this.left.shape[1]!);
  }

  /** The left vectors alone, which are the caller's. */
  takeLeft(): Tensor {
    for (const tensor of [this.values, this.basis, this.turn]) tensor.destroy();
    return this.left;
  }

  destroy(): void {
    for (const tensor of [this.left, this.values, this.basis, this.turn]) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** Rows of A from which on the first image is turned before QR: columns that are nearly orthogonal take products alone there, which is faster. */
const TURNED = 768;

/** Records an image of random columns turned as their product with Aᵀ is ordered, and releases it. */
function ordered(s: Scheduler, b: Tensor, image: Tensor): Tensor {
  const products = gram(s, b);
  const { values, vectors } = symmetricEigen(s, products);
  const turned = matmul(s, image, vectors);
  s.release(products, values, vectors, image);
  return turned;
}

function turned(s: Scheduler, basis: Tensor, turn: Tensor, rank: number, out?: Tensor): Tensor {
  const first = slice(s, turn, [0, 0], [turn.shape[0]!, rank]);
  const vectors = matmul(s, basis, first, { out });
  s.release(first);
  return vectors;
}

/**
 * The leading singular pairs of a matrix by subspace iteration from a random start (Halko, Martinsson & Tropp 2011, algorithm 4.4): the first sweeps and
 * what they tell are one submit and one readback, and `judge` says whether another sweep follows. A sweep is two products with A. How far it turned the left
 * vectors takes no product more. null where they are given up.
 */
export async function leadingPairs(
  engine: Engine,
  a: Tensor,
  { rank, seed, unseen, sweeps, signal, judge }: PairsTask,
): Promise<LeadingPairs | null> {
  const [m, n] = a.shape as [number, number];
  // a multiple of 8 columns is the fastest
  const columns = Math.min(m, n, 8 * Math.ceil(basisColumns(a.shape, 0, rank) / 8));
  using scope = new TensorScope(engine);
  const left = scope.allocate([m, rank], "left vectors");
  const values = scope.allocate([columns], "singular values");
  const basis = scope.allocate([n, columns], "right basis");
  const turn = scope.allocate([columns, columns], "right turn");
  using own = new TensorScope(engine);
  const q = own.allocate([m, columns], "left basis");
  const missed = own.allocate([rank], "turned");
  const compile = async (label: string, record: (s: Scheduler) => void): Promise<Replay> =>
    own.keep(await Program.compiled(engine, ({ s }) => record(s), `${label} of singular vectors`));
  const start = await compile("start", (s) => {
    let current = normal(s, [m, columns], { seed });
    for (let sweep = 0; sweep < unseen; sweep++) {
      const b = matmul(s, a, current, { transposeA: true });
      let image = matmul(s, a, b);
      if (sweep === 0 && m >= TURNED) image = ordered(s, b, image);
      const next = orthogonalise(s, image);
      s.release(b, image, current, next.r);
      current = next.q;
    }
    copy(s, current, { out: q });
    s.release(current);
  });
  const sweep = await compile("sweep", (s) => {
    const b = matmul(s, a, q, { transposeA: true });
    const right = orthogonalise(s, b);
    const image = matmul(s, a, right.q);
    copy(s, right.q, { out: basis });
    s.release(b, right.r, right.q);
    const next = orthogonalise(s, image);
    const inner = jacobiSvd(s, next.r);
    copy(s, inner.values, { out: values });
    copy(s, inner.v, { out: turn });
    turned(s, next.q, inner.u, rank, left);
    const within = matmul(s, q, left, { transposeA: true });
    const rest = matmul(s, q, within);
    accumulate(s, left, rest, { beta: -1 });
    sumOfSquares(s, rest, { axis: 0, out: missed });
    copy(s, next.q, { out: q });
    s.release(image, next.q, next.r, inner.u, inner.values, inner.v, within, rest);
  });
  for (let done = unseen + 1; ; done++) {
    signal?.throwIfAborted();
    await Replay.runAll(
      done === unseen + 1
        ? [
            [start, 1],
            [sweep, 1],
          ]
        : [[sweep, 1]],
    );
    const [told, turns] = (await engine.read([values, missed])) as [Float32Array, Float32Array];
    const verdict = judge({ values: told, turned: turns, sweeps: done });
    if (verdict === "give up") return null;
    if (verdict === "enough" || done >= sweeps) break;
  }
  signal?.throwIfAborted();
  return scope.handOut(new LeadingPairs(left, values, basis, turn));
}

/** of a relative error, what further sweeps may take off it at most */
const SETTLED = 3e-8;
/** parts of ‖A‖² that rounding hides */
const ROUNDING = 3e-13;

/**
 * By how much a product with A makes smaller what a left or right vector has not found yet, of the last pair most of all: the ratio of the next singular
 * value to its own. The last Ritz value is a little less than that, so twice as much is assumed.
 */
export const shrinkOf = (values: Float32Array, pair: number): number =>
  Math.min(1, (2 * values.at(-1)!) / values[pair - 1]!);

/**
 * Whether another sweep would lower ‖A − UUᵀA‖ / ‖A‖ by less than 3e-8. What a left vector had not found before the last sweep, that sweep has made
 * smaller twice. The error is taken for no larger than the Ritz values beyond the rank say that it is.
 */
export function isSettled({ values, turned }: ToldPairs): boolean {
  const squares = Array.from(values, (value) => value ** 2);
  const sum = (list: readonly number[]): number => list.reduce((total, value) => total + value, 0);
  const all = sum(squares);
  const lost = sum(Array.from(turned, (sine, k) => squares[k]! * sine * shrinkOf(values, k + 1) ** 4));
  const beyond = sum(squares.slice(turned.length));
  const fallen = Math.sqrt(beyond + lost) - Math.sqrt(beyond);
  return !(fallen > SETTLED * Math.sqrt(all) && lost > ROUNDING * all);
}
