import type { Engine, Program, Scheduler, Tensor, TensorData } from "../gpu/index.js";
import {
  add,
  alsNormalize,
  alsUpdate,
  fusesAls,
  hadamard,
  scale,
  scaleColumns,
  solveCholesky,
  subtract,
  type UnnormalizedFactor,
} from "../ops/index.js";
import type { Source } from "../sources/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import type { Decomposition, Iteration, Scope, Trace } from "./iterate.js";

/** weight ρ of the proximal term ρ‖A − A₀‖²: it keeps updates defined in f32 where terms are collinear, and vanishes as they converge */
export const PROXIMAL = 1e-6;

/** One mode's part of a sweep, as an update sees it. */
export interface CpStep {
  mode: number;
  /** the mode's MTTKRP M, I_n×R */
  product: Tensor;
  /** V, the Hadamard product of the other modes' Gram matrices, R×R */
  normal: Tensor;
  /** A₀, the factor as it is, columns of norm 1; they are those of the model times `weights`, [R] */
  factor: Tensor;
  weights: Tensor;
  /** ‖x‖² */
  squaredNorm: number;
}

/** Options of CP that speak of X. */
export interface ToldOptions {
  rank: number;
  initialize?: string | readonly TensorData[] | undefined;
  onIteration?: ((iteration: Iteration) => void) | undefined;
}

/**
 * How a factor is made from its MTTKRP: the one thing in which CP by least squares, by non-negative or by otherwise constrained factors
 * differ. A value: whoever writes another one touches no solver.
 */
export interface CpUpdate {
  /** what may help where its numbers are no longer finite: `a larger ridge` */
  readonly advice: string;
  /** modes whose columns must not be multiplied by −1 */
  readonly oneSigned?: ReadonlySet<number>;
  /** modes whose factors are not updated */
  readonly fixed?: ReadonlySet<number>;
  /** where a column becomes zero, the model keeps its direction, with weight 0: the next mode's update may bring the term back */
  readonly keepsDirections?: boolean;
  /** changes the start factor of a mode, I_n×R row-major, to one that the constraint allows */
  prepare?(start: Float32Array, rank: number, mode: number): void;
  /** The update with what it keeps on the GPU for a run: called before `record`. */
  begin?(scope: Scope): CpUpdate;
  /** Solves in a smaller tensor, with an update for that, where some factors are fixed. */
  within?<O extends ToldOptions>(
    source: Source,
    options: O,
    solve: (source: Source, options: O, update: CpUpdate) => Promise<Decomposition<KruskalTensor>>,
  ): Promise<Decomposition<KruskalTensor>>;
  /** whether it lowers something besides ½‖x − x̂‖² */
  readonly hasPenalty?: boolean;
  /** Records twice what the update lowers besides ½‖x − x̂‖², for a model whose columns have norm 1: [1], a temporary. */
  penalty?(s: Scheduler, model: { factors: readonly Tensor[]; weights: Tensor; squaredNorm: number }): Tensor;
  /** Records the mode's new factor, I_n×R, columns of any norm: a temporary. */
  record(p: Program, step: CpStep): Tensor;
  /**
   * Records what is added to A₀·diag(weights) when `product` is the MTTKRP of X − X̂ and not of X, for sweeps near a fit of 1. An update
   * that has no such form goes by X all the way.
   */
  correct?(p: Program, step: Omit<CpStep, "squaredNorm"> & { scaled: Tensor }): Tensor;
  /** the same update for a sweep in one dispatch a mode, where the adapter has a kernel for it */
  fused?(engine: Engine, rank: number): FusedUpdate | null;
}

/** Sweeps near a fit of 1, which write a row of the trace where there is one. */
export interface CorrectingSweeps {
  below: number;
  open(): Promise<{ enter(p: Program): void; record(p: Program, trace: Trace | null): void }>;
}

/** What a sweep of fused updates writes to: the state of CP-ALS. */
export interface CpState {
  factors: readonly Tensor[];
  /** a row a mode, as `alsUpdate` wants them */
  grams: Tensor;
  weights: Tensor;
  /** ‖x‖² */
  squaredNorm: number;
}

/** Updates in few dispatches, which normalise and take Gram matrices themselves. */
export interface FusedUpdate {
  /** whether `values` have a fourth part, which is ‖x − x̂‖² from norms */
  readonly tellsError?: boolean;
  /** Begins a sweep. */
  begin(state: CpState): {
    /** Records a mode's update, into its factor. `product` may be left unsummed. */
    record(p: Program, product: Tensor, mode: number, partialFrom: number | undefined): void;
    /** Records the end of the sweep: `values` are written, and a row of the trace where there is one. */
    finish(p: Program, values: Tensor, trace: Trace | undefined): void;
  };
}

/** A = (M + ρA₀)(V + (ridge + ρ)I)⁻¹ (Kolda & Bader 2009, figure 3.3) with the proximal term ρ. The ridge is in units of V's mean diagonal. */
export function leastSquares(ridge = 0): CpUpdate {
  const options = { ridge: ridge + PROXIMAL };
  return {
    advice: "a larger ridge",
    record({ s }, { product, normal, factor, weights }) {
      const scaled = scaleColumns(s, factor, weights);
      const near = scale(s, scaled, { alpha: PROXIMAL });
      const right = add(s, product, near);
      s.release(scaled, near);
      const solved = solveCholesky(s, normal, right, options);
      s.release(right);
      return solved;
    },
    correct({ s }, { product, normal, scaled }) {
      if (!ridge) return solveCholesky(s, normal, product, options);
      const shrink = scale(s, scaled, { alpha: ridge });
      const gradient = subtract(s, product, shrink);
      const step = solveCholesky(s, normal, gradient, options);
      s.release(shrink, gradient);
      return step;
    },
    fused: (engine, rank) => (fusesAls(engine, rank) ? { begin: (state) => fusedSweep(state, ridge) } : null),
  };
}

function fusedSweep({ factors, grams, weights }: CpState, ridge: number): ReturnType<FusedUpdate["begin"]> {
  let previous: UnnormalizedFactor | undefined;
  return {
    record({ s }, product, mode, partialFrom) {
      // the factor before the partial result's first one was not yet normalised when that was made
      const unscaled = partialFrom ? partialFrom - 1 : undefined;
      const factor = factors[mode]!;
      previous = alsUpdate(s, { product, grams, mode, factor, previous, unscaled, ridge, proximal: PROXIMAL, weights });
    },
    finish({ s }, values, trace) {
      alsNormalize(s, { previous: previous!, grams, weights, values, trace });
    },
  };
}

/** The Hadamard product of some matrices; null of none. What is a temporary is the caller's to release. */
export function hadamardProduct(
  s: Scheduler,
  matrices: readonly Tensor[],
): { product: Tensor | null; isTemporary: boolean } {
  let product: Tensor | null = null;
  matrices.forEach((matrix, index) => {
    const next: Tensor = product ? hadamard(s, product, matrix) : matrix;
    if (product && index > 1) s.release(product);
    product = next;
  });
  return { product, isTemporary: matrices.length > 1 };
}
