import {
  checkOptions,
  dispose,
  type Engine,
  type OptionRules,
  optionRules,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import {
  appendRow,
  copy,
  jacobiSvd,
  map,
  matmul,
  modeProduct,
  normal,
  orthogonalise,
  permute,
  slice,
  squaredDistance,
  sum,
  sumOfSquares,
  symmetricEigen,
  unfoldedProduct,
} from "../ops/index.js";
import {
  type Convergence,
  iterate,
  type Method,
  ROW,
  type Scope,
  type StoppingOptions,
  stoppingRules,
} from "./iterate.js";
import { checkCall, type Prepared } from "./prepare.js";

/** The largest rank whose iteration has so few columns (128) that one workgroup turns them; beyond, a whole SVD is faster. */
export const MOST_ITERATED = 85;

/**
 * Columns carried beyond the rank. Subspace iteration converges like (σ_{p+1}/σ_r)² a step, so a few more columns than
 * asked for save most of the steps where singular values decay slowly (Halko, Martinsson & Tropp 2011, section 4.5).
 */
export function basisColumns(shape: readonly number[], mode: number, rank: number): number {
  const rest = sizeOf(shape) / shape[mode]!;
  return Math.min(shape[mode]!, rest, Math.max(rank + 8, Math.min(Math.ceil(1.5 * rank), 128)));
}

/**
 * Records one step of subspace iteration on X₍ₙ₎X₍ₙ₎ᵀ: `basis` (I_n×p, orthonormal columns, overwritten) turns towards the
 * leading left singular vectors, ordered by Ritz value. Neither the unfolding nor an I_n×I_n matrix is formed. Reads `x` twice.
 */
export function subspaceStep(s: Scheduler, x: Tensor, basis: Tensor, mode: number): void {
  const projected = modeProduct(s, x, basis, mode, { transpose: true });
  const ritz = unfoldedProduct(s, projected, projected, mode);
  const { values, vectors } = symmetricEigen(s, ritz);
  s.release(ritz, values);
  powerStep(s, x, basis, projected, vectors, mode);
  s.release(projected, vectors);
}

/** Records basis ← orthonormal columns of X₍ₙ₎·projected₍ₙ₎ᵀ·vectors. */
function powerStep(s: Scheduler, x: Tensor, basis: Tensor, projected: Tensor, vectors: Tensor, mode: number): void {
  const image = unfoldedProduct(s, x, projected, mode);
  const ordered = matmul(s, image, vectors);
  s.release(image);
  const { q, r } = orthogonalise(s, ordered);
  s.release(ordered, r);
  copy(s, q, { out: basis });
  s.release(q);
}

/** ‖X‖² */
export async function squaredNormOf(engine: Engine, x: Tensor): Promise<number> {
  using result = engine.tensor([1], null, { label: "squared norm" });
  await engine.run((s) => {
    sumOfSquares(s, x, { out: result });
  }, "squared norm");
  return (await engine.read(result))[0]!;
}

/** Records ‖Y − Y ×ₙ UUᵀ‖² ([1]) from the difference itself, for orthonormal columns U. */
export function lostBy(s: Scheduler, y: Tensor, u: Tensor, mode: number, out?: Tensor): Tensor {
  const projected = modeProduct(s, y, u, mode, { transpose: true });
  const back = modeProduct(s, projected, u, mode);
  s.release(projected);
  const lost = squaredDistance(s, y, back, { out });
  s.release(back);
  return lost;
}

/** What a subspace iteration finds: the leading left singular vectors of an unfolding, and its singular values. */
export class Subspace {
  constructor(
    /** I_n×rank, orthonormal columns */
    readonly vectors: Tensor,
    /** [rank], falling */
    readonly values: Tensor,
  ) {}

  destroy(): void {
    this.vectors.destroy();
    this.values.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

export interface SubspaceTask {
  mode: number;
  rank: number;
  seed: number;
  /** what the error is told of: X as earlier modes left it; X itself by default */
  remaining?: Tensor;
  /** ‖X‖² − ‖remaining‖², as lost by earlier modes */
  lost?: number;
  /** false where nobody is told the errors */
  isTold?: boolean;
}

/**
 * Randomised subspace iteration for the mode-n unfolding of `x`, as a method of `iterate`: errors are those of X truncated to the
 * vectors of this mode, and to those of earlier modes before.
 */
export function subspaceMethod(
  { engine, own, given: { x, squaredNorm } }: Scope,
  { mode, rank, seed, remaining = x, lost = 0, isTold = true }: SubspaceTask,
): Method<Subspace> {
  const extent = x.shape[mode]!;
  const columns = basisColumns(x.shape, mode, rank);
  const basis = own([extent, columns], "basis");
  const projected = own(
    x.shape.map((size, k) => (k === mode ? columns : size)),
    "projected tensor",
  );
  const turn = own([columns, columns], "Ritz vectors");
  const ritz = (s: Scheduler): Tensor => {
    modeProduct(s, x, basis, mode, { transpose: true, out: projected });
    const products = unfoldedProduct(s, projected, projected, mode);
    const { values, vectors } = symmetricEigen(s, products);
    copy(s, vectors, { out: turn });
    s.release(products, vectors);
    return values;
  };
  /** basis times the leading Ritz vectors */
  const leading = (s: Scheduler): Tensor => {
    const first = slice(s, turn, [0, 0], [columns, rank]);
    const factor = matmul(s, basis, first);
    s.release(first);
    return factor;
  };
  return {
    columns: ROW.columns,
    hasCheap: true,
    isTold,
    state: [basis, projected, turn],
    async start() {
      await engine.run((s) => {
        const random = normal(s, basis.shape, { seed, stream: mode });
        const { q, r } = orthogonalise(s, random);
        copy(s, q, { out: basis });
        s.release(random, q, r);
        s.release(ritz(s));
      }, "subspace start");
      return undefined;
    },
    record(s, trace, isPrecise) {
      powerStep(s, x, basis, projected, turn, mode);
      const values = ritz(s);
      const told = s.tensor([ROW.columns], { label: "errors" });
      const norms = told.rows(ROW.norms, ROW.norms + 1);
      const factor = isPrecise || remaining !== x ? leading(s) : null;
      if (remaining === x) {
        const kept = slice(s, values, [0], [rank]);
        sum(s, kept, { out: norms });
        s.release(kept);
      } else {
        const seen = modeProduct(s, remaining, factor!, mode, { transpose: true });
        sumOfSquares(s, seen, { out: norms });
        s.release(seen);
      }
      if (isPrecise) lostBy(s, remaining, factor!, mode, told.rows(ROW.residual, ROW.residual + 1));
      if (factor) s.release(factor);
      s.release(values);
      appendRow(s, told, trace.rows, trace.counter);
      s.release(told);
    },
    errorOf: (row, kind) => ({
      fromNorms: Math.sqrt(1 - Math.min(1, row[ROW.norms]! / squaredNorm)),
      ...(kind === "precise" ? { fromResidual: Math.sqrt((lost + row[ROW.residual]!) / squaredNorm) } : {}),
    }),
    async finish() {
      const found = new Subspace(
        engine.tensor([extent, rank], null, { label: `factor ${mode}` }),
        engine.tensor([rank], null, { label: "singular values" }),
      );
      try {
        // a thin SVD of the projected unfolding: no Gram matrix squares its condition number
        await engine.run((s) => {
          const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== mode);
          const tall = permute(s, projected, [...axes, mode]);
          const { u, values, v } = jacobiSvd(s, tall.reshape([-1, columns]));
          s.release(tall, u);
          const rotated = matmul(s, basis, v);
          slice(s, rotated, [0, 0], [extent, rank], { out: found.vectors });
          slice(s, values, [0], [rank], { out: found.values });
          s.release(v, values, rotated);
        }, "leading vectors");
        return found;
      } catch (error) {
        found.destroy();
        throw error;
      }
    },
    residual(s, { vectors }, out) {
      const squared = lostBy(s, remaining, vectors, mode);
      map(s, squared, "identity", { beta: lost, out });
      s.release(squared);
    },
    async restore(found) {
      return found; // vectors have no scale, and nobody is told the values
    },
  };
}

/** Runs a subspace iteration on a tensor that is prepared. */
export const subspaceOf = (engine: Engine, given: Prepared, task: SubspaceTask, stopping: StoppingOptions) =>
  iterate<Subspace>(engine, given, {
    name: "leadingSubspace",
    stopping,
    seed: task.seed,
    zero: () => zeroSubspace(engine, given.x, task),
    begin: (scope) => subspaceMethod(scope, task),
  });

/** Unit columns where any would do: those of the identity, orthonormal up to as many as there are rows. */
export function identityColumns(engine: Engine, extent: number, rank: number, label: string): Tensor {
  const data = new Float32Array(extent * rank);
  for (let r = 0; r < rank; r++) data[(r % extent) * rank + r] = 1;
  return engine.tensor([extent, rank], data, { label });
}

const zeroSubspace = (engine: Engine, x: Tensor, { mode, rank }: { mode: number; rank: number }): Subspace =>
  new Subspace(
    identityColumns(engine, x.shape[mode]!, rank, `factor ${mode}`),
    engine.tensor([rank], new Float32Array(rank)),
  );

export interface SubspaceOptions extends StoppingOptions {
  /** of the random start */
  seed?: number;
}

const rules: OptionRules<SubspaceOptions> = { ...stoppingRules, seed: optionRules.seed };

/** The leading singular vectors of an unfolding, and how they were reached. */
export interface SubspaceResult extends Convergence {
  /** I_n×rank, orthonormal columns by falling singular value */
  vectors: Tensor;
  /** ‖X − X ×ₙ UUᵀ‖ / ‖X‖ of the result, from the residual itself */
  relativeError: number;
  fits: number[];
  seed?: number;
}

/**
 * The `rank` leading left singular vectors of the mode-n unfolding, I_n×rank, by randomised subspace iteration. `errors` of
 * the convergence are ‖X − X ×ₙ UUᵀ‖ / ‖X‖.
 *
 * @throws ShapeError where the mode or the rank is not one of the unfolding's
 */
export async function leadingSubspace(
  engine: Engine,
  x: Tensor,
  mode: number,
  rank: number,
  options: SubspaceOptions = {},
): Promise<SubspaceResult> {
  const name = "leadingSubspace";
  checkCall(engine, name, x);
  checkOptions(name, options, rules);
  if (!(Number.isInteger(mode) && mode >= 0 && mode < x.order))
    throw new ShapeError(`${name}: mode ${mode} of ${x}, needs 0 to ${x.order - 1}`);
  const most = Math.min(x.shape[mode]!, x.size / x.shape[mode]!);
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= most))
    throw new ShapeError(`${name}: rank ${rank} for mode ${mode} of ${x}, needs 1 to ${most}`);
  const { seed = 0, ...stopping } = options;
  const { tensor, ...how } = await iterate<Subspace>(engine, x, {
    name,
    stopping,
    seed,
    zero: () => zeroSubspace(engine, x, { mode, rank }),
    begin: (scope) => subspaceMethod(scope, { mode, rank, seed }),
  });
  tensor.values.destroy();
  return { vectors: tensor.vectors, ...how };
}
