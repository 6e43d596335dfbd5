import {
  dispose,
  type Engine,
  type Schedule,
  type Scheduler,
  ShapeError,
  TenfoldError,
  type Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  alsNormalize,
  alsUpdate,
  appendRow,
  canonicalizeColumns,
  copy,
  fill,
  fusesAls,
  gram,
  hadamard,
  innerProduct,
  kruskalResidual,
  mttkrp,
  mttkrpFromPartial,
  normalizeColumns,
  partialMttkrp,
  pasteColumns,
  solveSymmetric,
  type UnnormalizedFactor,
  uniform,
} from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { type Convergence, converge, type Decomposition, type StoppingOptions, SWEEPS_A_BATCH } from "./converge.js";
import { leadingSubspace, squaredNormOf } from "./subspace.js";

export interface CpOptions extends StoppingOptions {
  /** R, the number of rank-one terms */
  rank: number;
  /** uniform random factors, or the leading left singular vectors of every unfolding (random beyond their number) */
  initialize?: "random" | "hosvd";
  /** runs this many starts, all but the first of them random, and keeps the best; 1 by default */
  starts?: number;
  seed?: number;
  /** how the R×R normal equations are solved; the pseudo-inverse copes with collinear columns */
  solver?: "cholesky" | "pseudoInverse";
  /** added to the diagonal for Cholesky, times the mean of the diagonal; 1e-7 by default */
  ridge?: number;
}

/** below this relative error the norms of the cheap formula cancel in f32 and the sweep computes the residual itself */
const CANCELLATION = 0.03;
const RIDGE = 1e-7;
/** scalars of a trace row, each at an aligned offset: ⟨X, X̂⟩, ‖X̂‖², ‖X − X̂‖² (negative: not computed) */
const SCALAR = 64;

/**
 * CP by alternating least squares (Carroll & Chang 1970, Harshman 1970; Kolda & Bader 2009, figure 3.3). The sweep is a
 * dimension tree (Phan, Tichavský & Cichocki 2013): it reads a tensor of any order twice. Columns have norm 1, weights
 * fall, and in every factor but the last a column's entry of largest magnitude is positive.
 */
export async function cpALS(engine: Engine, x: Tensor, options: CpOptions): Promise<Decomposition<KruskalTensor>> {
  const { initialize = "random", starts = 1, seed = 0 } = options;
  if (!Number.isInteger(starts) || starts < 1) throw new ShapeError(`cpALS: ${starts} starts, needs at least 1`);
  if (x.engine !== engine) throw new TenfoldError(`cpALS: ${x} belongs to another engine`);
  using solver = await CpSolver.create(x, options);
  let best: Decomposition<KruskalTensor> | null = null;
  for (let start = 0; start < starts && !(start && options.signal?.aborted); start++) {
    await solver.initialize(start ? "random" : initialize, seed + start);
    const result = await solver.solve(options);
    if (best && best.relativeError <= result.relativeError) result.tensor.destroy();
    else {
      best?.tensor.destroy();
      best = result;
    }
  }
  return best!;
}

/**
 * The tensors and the recorded sweep of one CP problem, for those who step it themselves: `initialize`, then replay
 * `sweep` with `engine.submit` or inside a frame of one's own with `sweep.encode`, look at `factors` at any time, `finish`.
 */
export class CpSolver {
  readonly factors: Tensor[] = [];
  /** one sweep over all modes; reads the tensor twice */
  sweep!: Schedule;
  /** the same with the residual itself, a third read of the tensor */
  preciseSweep!: Schedule;
  /** λ of the last sweep, [R] */
  readonly weights: Tensor;
  readonly #owned: Tensor[] = [];
  /** R×R Gram matrices of the factors, each from the beginning of a row, and room for R norms */
  readonly #grams: Tensor;
  readonly #values: Tensor;
  readonly #trace: Tensor;
  readonly #counter: Tensor;

  private constructor(
    readonly x: Tensor,
    readonly squaredNorm: number,
    readonly options: CpOptions,
  ) {
    const own = (shape: readonly number[], label: string, dtype: "f32" | "u32" = "f32"): Tensor => {
      const tensor = x.engine.tensor(shape, null, { dtype, label });
      this.#owned.push(tensor);
      return tensor;
    };
    const { rank } = options;
    x.shape.forEach((extent, mode) => {
      this.factors.push(own([extent, rank], `factor ${mode}`));
    });
    // rows begin where a binding may
    this.#grams = own([x.order, 64 * Math.ceil((rank ** 2 + rank) / 64)], "grams");
    this.weights = own([rank], "weights");
    this.#values = own([3 * SCALAR], "sweep values");
    this.#trace = own([SWEEPS_A_BATCH, 3 * SCALAR], "trace");
    this.#counter = own([1], "counter", "u32");
  }

  /** Checks the options, allocates, and compiles the sweeps. */
  static async create(x: Tensor, options: CpOptions): Promise<CpSolver> {
    const { rank } = options;
    if (x.order < 2) throw new ShapeError(`cpALS: ${x} has order ${x.order}, needs at least 2`);
    if (!Number.isInteger(rank) || rank < 1) throw new ShapeError(`cpALS: rank ${rank}, needs a positive whole number`);
    const solver = new CpSolver(x, await squaredNormOf(x.engine, x), options);
    try {
      const compile = (precise: boolean) => {
        const recording = x.engine.scheduler(precise ? "CP sweep with residual" : "CP sweep");
        solver.#record(recording, precise);
        return recording.compile();
      };
      [solver.sweep, solver.preciseSweep] = await Promise.all([compile(false), compile(true)]);
      return solver;
    } catch (error) {
      solver.destroy();
      throw error;
    }
  }

  get engine(): Engine {
    return this.x.engine;
  }

  /** Writes start factors: uniform random, or singular vectors of the unfoldings. */
  async initialize(how: "random" | "hosvd" = "random", seed = 0): Promise<void> {
    const { engine, x, factors } = this;
    for (let mode = 0; mode < x.order; mode++) {
      const factor = factors[mode]!;
      const extent = x.shape[mode]!;
      const known = Math.min(this.options.rank, extent, x.size / extent);
      const vectors =
        how === "hosvd"
          ? (await leadingSubspace(engine, x, mode, known, { seed, sweeps: 12, tolerance: 1e-4 })).vectors
          : null;
      await engine.run((s) => {
        const start = uniform(s, factor.shape, { seed, stream: mode });
        if (vectors) pasteColumns(s, vectors, start);
        const { out, norms } = normalizeColumns(s, start);
        copy(s, out, { out: factor });
        gram(s, factor, { out: this.#gramOf(mode) });
        s.release(start, out, norms);
      }, "CP start");
      vectors?.destroy();
    }
  }

  /** Starts from these factors instead, I_n×R each, row-major: those of an earlier result, or of a similar tensor. */
  async start(given: readonly TensorData[]): Promise<void> {
    const { engine, factors } = this;
    if (given.length !== factors.length)
      throw new ShapeError(`start: ${given.length} factors for ${this.x}, needs ${factors.length}`);
    factors.forEach((factor, mode) => {
      engine.write(factor, given[mode]!);
    });
    await engine.run((s) => {
      factors.forEach((factor, mode) => {
        gram(s, factor, { out: this.#gramOf(mode) });
      });
    }, "CP start");
  }

  #record(s: Scheduler, precise: boolean): void {
    const { x, factors } = this;
    const fused = this.#isFused;
    const split = splitModes(x.shape);
    let previous: UnnormalizedFactor | undefined;
    for (const [start, stop] of [[0, split] as const, [split, x.order] as const]) {
      const whole = stop - start === x.order;
      const single = stop - start === 1;
      const partial = single || whole ? null : partialMttkrp(s, x, factors, [start, stop]);
      for (let mode = start; mode < stop; mode++) {
        const product = partial
          ? mttkrpFromPartial(s, partial, factors.slice(start, stop), [start, stop], mode, { unsummed: fused })
          : mttkrp(s, x, factors, mode, { unsummed: fused });
        if (fused) {
          // the mode before the partial result's was not normalised when that was made
          const unscaled = partial && start > 0 && mode > start ? start - 1 : undefined;
          const ridge = this.options.ridge ?? RIDGE;
          previous = alsUpdate(s, {
            product,
            grams: this.#grams,
            mode,
            factor: factors[mode]!,
            previous,
            unscaled,
            ridge,
          });
        } else this.#update(s, product, mode);
        s.release(product);
      }
      if (partial) s.release(partial);
    }
    if (previous) {
      const trace = precise ? undefined : { rows: this.#trace, counter: this.#counter };
      alsNormalize(s, { previous, grams: this.#grams, weights: this.weights, values: this.#values, trace });
    }
    if (precise) kruskalResidual(s, x, this.weights, factors, { out: this.#scalar(2) });
    if (precise || !fused) appendRow(s, this.#values, this.#trace, this.#counter);
  }

  #scalar(index: number): Tensor {
    return this.#values.rows(index * SCALAR, index * SCALAR + 1);
  }

  /** whether an update is the one dispatch of `alsUpdate` */
  get #isFused(): boolean {
    const { rank, solver = "cholesky" } = this.options;
    return solver === "cholesky" && fusesAls(this.engine, rank);
  }

  #gramOf(mode: number): Tensor {
    const { rank } = this.options;
    const [modes, stride] = this.#grams.shape as [number, number];
    const start = mode * stride;
    return this.#grams
      .reshape([modes * stride])
      .rows(start, start + rank ** 2)
      .reshape([rank, rank]);
  }

  /** A⁽ⁿ⁾ = M V⁻¹ with V the Hadamard product of the other Gram matrices; then columns to norm 1. */
  #update(s: Scheduler, product: Tensor, mode: number): void {
    const { options, weights } = this;
    const { solver: method = "cholesky", ridge = RIDGE } = options;
    const factor = this.factors[mode]!;
    const last = mode === this.x.order - 1;
    const others = this.factors.flatMap((_, other) => (other === mode ? [] : [this.#gramOf(other)]));
    let normal = others[0]!;
    others.slice(1).forEach((next) => {
      const combined = hadamard(s, normal, next);
      if (normal !== others[0]) s.release(normal);
      normal = combined;
    });
    const solved = solveSymmetric(s, normal, product, method === "cholesky" ? { method, ridge } : { method });
    if (last) {
      const own = gram(s, solved);
      innerProduct(s, product, solved, { out: this.#scalar(0) });
      innerProduct(s, normal, own, { out: this.#scalar(1) });
      s.release(own);
      fill(s, this.#scalar(2), -1);
    }
    if (normal !== others[0]) s.release(normal);
    normalizeColumns(s, solved, { out: factor, norms: weights });
    s.release(solved);
    gram(s, factor, { out: this.#gramOf(mode) });
  }

  readonly #errorOf = (row: Float32Array): number => {
    const [inner, model, residual] = [row[0]!, row[SCALAR]!, row[2 * SCALAR]!];
    if (!(Number.isFinite(inner) && Number.isFinite(model))) return Number.NaN;
    const squared = residual >= 0 ? residual : this.squaredNorm - 2 * inner + model;
    return Math.sqrt(Math.max(0, squared) / this.squaredNorm);
  };

  /** Sweeps from the present factors until the stopping rule is met. */
  async solve(stopping: StoppingOptions = {}): Promise<Decomposition<KruskalTensor>> {
    const precise = { schedule: this.preciseSweep, below: CANCELLATION };
    const sweep = { schedule: this.sweep, trace: this.#trace, errorOf: this.#errorOf, name: "cpALS", precise };
    // rows of the trace are counted from the first of this run
    this.engine.write(this.#counter, [0]);
    return this.finish(await converge(this.engine, sweep, stopping));
  }

  /** Copies the result out in canonical order and signs; only the R weights are looked at by the host. */
  async finish(convergence: Convergence): Promise<Decomposition<KruskalTensor>> {
    const { engine, factors, options } = this;
    const { rank } = options;
    const weights = (await engine.read(this.weights)) as Float32Array;
    const order = Uint32Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]! || a - b);
    const sorted = engine.tensor(
      [rank],
      Float32Array.from(order, (r) => weights[r]!),
      { label: "weights" },
    );
    const results = factors.map((factor, mode) => engine.tensor(factor.shape, null, { label: `factor ${mode}` }));
    const tensor = new KruskalTensor(sorted, results);
    using orderTensor = engine.tensor([rank], order, { label: "order" });
    using residual = engine.tensor([1], null, { label: "residual" });
    try {
      await engine.run((s) => {
        const flips = s.tensor([rank], { label: "flips" });
        fill(s, flips, 1);
        factors.forEach((factor, mode) => {
          const apply = mode === factors.length - 1;
          canonicalizeColumns(s, factor, orderTensor, flips, { apply, out: results[mode]! });
        });
        kruskalResidual(s, this.x, sorted, results, { out: residual });
      }, "CP result");
      const squared = (await engine.read(residual))[0]!;
      const relativeError = Math.sqrt(squared / this.squaredNorm);
      return { tensor, relativeError, fits: convergence.errors.map((error) => 1 - error), ...convergence };
    } catch (error) {
      tensor.destroy();
      throw error;
    }
  }

  destroy(): void {
    this.sweep?.destroy();
    this.preciseSweep?.destroy();
    for (const tensor of this.#owned) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** Where the dimension tree cuts the modes in two: the cut whose larger half is smallest. */
export function splitModes(shape: readonly number[]): number {
  let best = 1;
  let bestSize = Number.POSITIVE_INFINITY;
  for (let cut = 1; cut < shape.length; cut++) {
    const left = shape.slice(0, cut).reduce((product, extent) => product * extent, 1);
    const right = shape.slice(cut).reduce((product, extent) => product * extent, 1);
    const size = Math.max(left, right);
    if (size < bestSize) [best, bestSize] = [cut, size];
  }
  return best;
}
