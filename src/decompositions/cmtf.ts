import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  isList,
  type OptionRules,
  optionRules,
  Program,
  Replay,
  type Scheduler,
  ShapeError,
  shown,
  TenfoldError,
  type Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  accumulate,
  add,
  appendRow,
  canonicalizeColumns,
  copy,
  fill,
  gram,
  hadamard,
  map,
  matmul,
  multiply,
  normalizeColumns,
  safeDivide,
  scale,
  scaleColumns,
  solveCholesky,
} from "../ops/index.js";
import { checkCall, type Difference, type Resident, resident, restoreValues, type Source } from "../sources/index.js";
import { CoupledTensor } from "../tensors/coupled.js";
import { KruskalTensor } from "../tensors/index.js";
import { hadamardProduct, PROXIMAL } from "./cpUpdates.js";
import {
  ConvergenceError,
  converge,
  type Decomposition,
  relativeResidual,
  type StoppingOptions,
  SWEEPS_A_BATCH,
  seedAt,
  stoppingRules,
} from "./iterate.js";
import { withStartFactor } from "./startFactor.js";
import { TensorScope } from "./tensorScope.js";

/** A data set, and what its modes are called: modes of one name are shared. */
export interface CoupledData {
  x: Tensor<DType> | Source;
  /** one name a mode, different ones within a data set */
  modes: readonly string[];
  /** how much the data set counts beside the others, 1 by default */
  weight?: number;
}

export interface CmtfOptions extends StoppingOptions {
  /** R, the number of terms of every model */
  rank: number;
  /**
   * where the first start begins: "random" (the default); "hosvd", singular vectors of the largest data set that has the mode; or factors, I×R
   * and row by row, by the names of the modes
   */
  initialize?: "random" | "hosvd" | Readonly<Record<string, TensorData>>;
  /** starts after the first are random; the best is kept. 1 by default */
  starts?: number;
  seed?: number;
  /** added to the diagonal of the normal equations, in units of its mean: shrinks terms that cancel each other; 0 by default */
  ridge?: number;
}

const rules: OptionRules<CmtfOptions> = {
  rank: { ...optionRules.positive, required: true },
  initialize: {
    needs: '"random", "hosvd" or an object with the factor of every mode',
    is: (value) =>
      value === "random" || value === "hosvd" || (typeof value === "object" && value !== null && !isList(value)),
  },
  starts: optionRules.positive,
  seed: optionRules.seed,
  ridge: optionRules.atLeastZero,
  ...stoppingRules,
};

/** A coupled factorisation and how it was reached. */
export interface CmtfDecomposition extends Decomposition<CoupledTensor> {
  /** ‖X_d − X̂_d‖ / ‖X_d‖ of each data set, from the residuals themselves; `relativeError` is their weighted root mean square */
  relativeErrors: number[];
}

const NAME = "cmtf";
/** numbers of a row of the trace lie this far apart, where views may begin */
const SCALAR = 64;

/**
 * Coupled matrix and tensor factorisation by alternating least squares (Acar, Kolda & Dunlavy 2011, CMTF-ALS): tensors and matrices of any order
 * that share modes get CP models of one rank which share the factors of these modes. Minimised is Σ_d w_d·‖X_d − X̂_d‖²/‖X_d‖²: each data
 * set counts by its weight, whatever its scale.
 *
 * `cmtf(engine, [{ x, modes: ["person", "gene", "time"] }, { x: y, modes: ["person", "drug"] }], { rank })`
 *
 * A mode's factor is solved for by the normal equations of all data sets that have it. Each step goes by the residuals X_d − X̂_d, which are
 * kept beside the data, so that small errors are right; the error never rises but for rounding. Columns have norm 1, and the terms of a data
 * set are weighted: where a term plays no part in a data set, its weight there is small.
 *
 * @throws TenfoldError where data sets do not fit each other, or one is 0 all over
 */
export async function cmtf(
  engine: Engine,
  data: readonly CoupledData[],
  options: CmtfOptions,
): Promise<CmtfDecomposition> {
  const extents = checkData(engine, data);
  const rank: unknown = options?.rank;
  if (typeof rank === "number" && !optionRules.positive.is(rank))
    throw new ShapeError(`${NAME}: rank ${rank}, needs a positive whole number`);
  checkOptions(NAME, options, rules);
  checkStart(options.initialize, extents, options.rank);
  const borrowed: Resident[] = [];
  try {
    const sources: Source[] = [];
    for (const { x } of data) {
      if ("mttkrp" in x) {
        if (x.refresh) throw new TenfoldError(`${NAME}: ${x} changes with the model, take cpALS for it`);
        sources.push(x);
      } else {
        const source = await resident(engine, NAME, x);
        borrowed.push(source);
        sources.push(source);
      }
    }
    const zero = sources.findIndex(({ isZero }) => isZero);
    if (zero >= 0)
      throw new TenfoldError(
        `${NAME}: data set ${zero} (${sources[zero]}) is 0 all over and tells nothing; leave it out`,
      );
    using coupled = new Coupled(engine, data, sources, options);
    return await coupled.run();
  } finally {
    for (const source of borrowed) source[dispose]();
  }
}

/** The extent of every mode, by its name. */
function checkData(engine: Engine, data: readonly CoupledData[]): Map<string, number> {
  if (!isList(data) || !data.length)
    throw new TenfoldError(`${NAME}: data are ${shown(data)}, needs a list of data sets { x, modes }`);
  const extents = new Map<string, number>();
  for (const [at, set] of data.entries()) {
    if (typeof set !== "object" || set === null)
      throw new TenfoldError(`${NAME}: data set ${at} is ${shown(set)}, needs { x, modes }`);
    const { x, modes, weight = 1 } = set;
    checkCall(engine, NAME, x);
    if (x.order < 2) throw new ShapeError(`${NAME}: data set ${at} (${x}) has order ${x.order}, needs at least 2`);
    const areNames = isList(modes) && modes.length === x.order && modes.every((mode) => typeof mode === "string");
    if (!areNames || new Set(modes).size !== modes.length)
      throw new ShapeError(
        `${NAME}: modes of data set ${at} are ${shown(modes)}, needs ${x.order} different names for ${x}`,
      );
    if (!optionRules.aboveZero.is(weight))
      throw new TenfoldError(
        `${NAME}: weight of data set ${at} is ${shown(weight)}, needs ${optionRules.aboveZero.needs}`,
      );
    for (const [mode, name] of modes.entries()) {
      const extent = extents.get(name) ?? x.shape[mode]!;
      if (extent !== x.shape[mode])
        throw new ShapeError(
          `${NAME}: mode "${name}" has extent ${x.shape[mode]} in data set ${at} (${x}), and ${extent} before it; needs the same`,
        );
      extents.set(name, extent);
    }
  }
  return extents;
}

function checkStart(initialize: CmtfOptions["initialize"], extents: Map<string, number>, rank: number): void {
  if (typeof initialize !== "object") return;
  const [missing] = [...extents.keys()].filter((name) => initialize[name] === undefined);
  const [unknown] = Object.keys(initialize).filter((name) => !extents.has(name));
  if (missing !== undefined)
    throw new TenfoldError(
      `${NAME}: initialize has no factor of mode "${missing}", needs ${extents.get(missing)}×${rank}`,
    );
  if (unknown !== undefined)
    throw new TenfoldError(
      `${NAME}: initialize has "${unknown}", which no data set has; modes are ${[...extents.keys()].join(", ")}`,
    );
}

interface Part {
  source: Source;
  modes: readonly string[];
  /** w_d / ‖x_d‖² */
  weight: number;
  /** λ_d and the shared factors */
  model: KruskalTensor;
  difference: Difference;
}

/** The tensors of one problem, and its recorded sweep. */
class Coupled extends TensorScope {
  readonly #names: string[];
  readonly #factors = new Map<string, Tensor>();
  readonly #grams = new Map<string, Tensor>();
  readonly #parts: Part[];
  readonly #values: Tensor;
  readonly #totalWeight: number;

  constructor(
    engine: Engine,
    data: readonly CoupledData[],
    sources: readonly Source[],
    readonly options: CmtfOptions,
  ) {
    super(engine);
    const { rank } = options;
    for (const [d, { modes }] of data.entries())
      for (const [mode, name] of modes.entries()) {
        if (this.#factors.has(name)) continue;
        this.#factors.set(name, this.allocate([sources[d]!.shape[mode]!, rank], `factor ${name}`));
        this.#grams.set(name, this.allocate([rank, rank], `gram ${name}`));
      }
    this.#names = [...this.#factors.keys()];
    this.#parts = data.map(({ modes, weight = 1 }, d) => {
      const source = sources[d]!;
      const factors = modes.map((name) => this.#factors.get(name)!);
      return {
        source,
        modes,
        weight: weight / source.squaredNorm,
        model: new KruskalTensor(this.allocate([rank], `weights ${d}`), factors),
        difference: this.keep(source.difference()),
      };
    });
    this.#totalWeight = data.reduce((sum, { weight = 1 }) => sum + weight, 0);
    this.#values = this.allocate([SCALAR * data.length], "squared residuals");
  }

  async run(): Promise<CmtfDecomposition> {
    const {
      starts = 1,
      seed = 0,
      initialize = "random",
      sweeps,
      tolerance,
      onIteration,
      signal,
      sweepsPerSubmit,
    } = this.options;
    const columns = this.#values.size;
    const trace = {
      rows: this.allocate([SWEEPS_A_BATCH, columns], "trace"),
      counter: this.allocate([1], "counter", "u32"),
    };
    // recorded before the sweep, which reads differences that are known
    const recordStart = (p: Program): void => {
      for (const { model, source, difference } of this.#parts) {
        // the same for each data set in units of its norm; the first steps find the rest
        fill(p.s, model.weights, Math.sqrt(source.squaredNorm));
        difference.refresh(p, model);
      }
    };
    const recordSweep = (p: Program): void => {
      for (const name of this.#names) this.#update(p, name);
      this.#measure(p);
      appendRow(p.s, this.#values, trace.rows, trace.counter);
    };
    // the start first: the sweep reads differences that are known
    const begin = this.keep(await Program.compiled(this.engine, recordStart, "CMTF start"));
    const precise = this.keep(await Program.compiled(this.engine, recordSweep, "CMTF sweep"));
    const errorOf = (row: Float32Array) => ({ fromResidual: this.#joint(this.#parts.map((_, d) => row[SCALAR * d]!)) });
    let best: CmtfDecomposition | null = null;
    let isCut = false;
    let failure: ConvergenceError | null = null;
    try {
      for (let index = 0; index < starts && !isCut; index++) {
        if (index && signal?.aborted) {
          isCut = true;
          break;
        }
        const startSeed = seedAt(seed, index);
        await this.#start(index ? "random" : initialize, startSeed, begin);
        try {
          const convergence = await converge(
            this.engine,
            { name: NAME, precise, trace, errorOf, traits: { advice: "a larger ridge" } },
            { sweeps, tolerance, onIteration, signal, sweepsPerSubmit },
          );
          isCut = convergence.aborted;
          const result = { ...(await this.#result()), ...convergence };
          if (best && best.relativeError <= result.relativeError) result.tensor.destroy();
          else {
            best?.tensor.destroy();
            best = { ...result, fits: convergence.errors.map((error) => 1 - error), seed: startSeed };
          }
        } catch (error) {
          // a start that collapses is not the best one; the others may be good
          if (!(error instanceof ConvergenceError)) throw error;
          failure ??= error;
        }
      }
      if (!best) throw failure;
      return isCut ? { ...best, aborted: true, converged: false, stalled: false } : best;
    } catch (error) {
      best?.tensor.destroy();
      throw error;
    }
  }

  /** √(Σ w_d·e_d² / Σ w_d) of squared residuals. */
  #joint(squared: readonly number[]): number {
    const sum = squared.reduce((total, value, d) => total + this.#parts[d]!.weight * value, 0);
    return Math.sqrt(sum / this.#totalWeight);
  }

  async #start(initialize: NonNullable<CmtfOptions["initialize"]>, seed: number, begin: Replay): Promise<void> {
    const { rank, signal } = this.options;
    for (const [at, name] of this.#names.entries()) {
      const factor = this.#factors.get(name)!;
      const record = (s: Scheduler, start: Tensor): void => {
        const { out, norms } = normalizeColumns(s, start);
        copy(s, out, { out: factor });
        s.release(out, norms);
        gram(s, factor, { out: this.#grams.get(name)! });
      };
      if (typeof initialize === "object") {
        this.engine.write(factor, initialize[name]!);
        await this.engine.run((s) => record(s, factor), "CMTF start");
        continue;
      }
      const parts = this.#parts.filter(({ modes }) => modes.includes(name));
      const { source, modes } = parts.sort((a, b) => b.source.size - a.source.size)[0]!;
      const task = { mode: modes.indexOf(name), rank, seed: seedAt(seed, 7919 * at), signal };
      await withStartFactor(source, initialize, task, record);
    }
    await Replay.runAll([[begin, 1]]);
  }

  /**
   * Records the update of a mode's factor. With B = A·diag(s) and s² = Σ_d ω_d·λ_d², the model of data set d is linear in B, by the other factors
   * and λ_d/s. B takes the step G·(V + (ridge + ρ)I)⁻¹ with G = Σ_d ω_d·MTTKRP(X_d − X̂_d)·diag(λ_d/s) − ridge·B and
   * V = Σ_d ω_d·(λ_d/s)(λ_d/s)ᵀ ∗ ⊛ AᵀA, whose diagonal is 1. Then its columns are brought to norm 1, and the weights follow. A mode of one data
   * set takes no heed of the weights there, so a term whose weight became 0 may come back.
   */
  #update(p: Program, name: string): void {
    const { s } = p;
    const { ridge = 0, rank } = this.options;
    const parts = this.#parts.filter(({ modes }) => modes.includes(name));
    const factor = this.#factors.get(name)!;
    const isShared = parts.length > 1;
    /** s, and λ_d/s */
    let size: Tensor;
    const ratios: Tensor[] = [];
    if (isShared) {
      const squared = s.tensor([rank], { label: "squared weights" });
      fill(s, squared, 0);
      for (const { model, weight } of parts) {
        const term = map(s, model.weights, "square", { alpha: weight });
        accumulate(s, term, squared);
        s.release(term);
      }
      size = map(s, squared, "sqrt");
      s.release(squared);
      for (const { model } of parts) ratios.push(safeDivide(s, model.weights, size));
    } else {
      size = scale(s, parts[0]!.model.weights, { alpha: Math.sqrt(parts[0]!.weight) });
      const ratio = s.tensor([rank], { label: "ratio" });
      fill(s, ratio, 1 / Math.sqrt(parts[0]!.weight));
      ratios.push(ratio);
    }
    const scaled = scaleColumns(s, factor, size);
    s.release(size);
    const gradient = scale(s, scaled, { alpha: -ridge });
    const normal = s.tensor([rank, rank], { label: "normal matrix" });
    fill(s, normal, 0);
    for (const [at, { model, modes, difference, weight }] of parts.entries()) {
      const ratio = ratios[at]!;
      const product = difference.mttkrp(p, model.factors, modes.indexOf(name));
      const weighted = scaleColumns(s, product, ratio);
      accumulate(s, weighted, gradient, { alpha: weight });
      const others = modes.filter((other) => other !== name).map((other) => this.#grams.get(other)!);
      const { product: grams, isTemporary } = hadamardProduct(s, others);
      const row = ratio.reshape([1, rank]);
      const outer = matmul(s, row, row, { transposeA: true });
      const term = hadamard(s, outer, grams!);
      accumulate(s, term, normal, { alpha: weight });
      s.release(product, weighted, outer, term);
      if (isTemporary) s.release(grams!);
    }
    const step = solveCholesky(s, normal, gradient, { ridge: ridge + PROXIMAL });
    const next = add(s, scaled, step);
    const { out, norms } = normalizeColumns(s, next);
    copy(s, out, { out: factor });
    gram(s, factor, { out: this.#grams.get(name)! });
    for (const [at, { model, difference }] of parts.entries()) {
      multiply(s, ratios[at]!, norms, { out: model.weights });
      difference.refresh(p, model);
      s.release(ratios[at]!);
    }
    s.release(scaled, gradient, normal, step, next, out, norms);
  }

  #measure(p: Program): void {
    for (const [d, { difference }] of this.#parts.entries())
      difference.squaredNorm(p, { out: this.#values.rows(SCALAR * d, SCALAR * d + 1) });
  }

  /** The present state as a result of the data as they are: terms fall by their part in all models. */
  async #result(): Promise<{ tensor: CoupledTensor; relativeErrors: number[]; relativeError: number }> {
    const { engine } = this;
    const { rank } = this.options;
    const all = await engine.read(this.#parts.map(({ model }) => model.weights));
    const part = (r: number) => this.#parts.reduce((sum, { weight }, d) => sum + weight * all[d]![r]! ** 2, 0);
    const order = Uint32Array.from(all[0]!.keys()).sort((a, b) => part(b) - part(a) || a - b);
    using scope = new TensorScope(engine);
    const factors = new Map(
      this.#names.map((name) => [name, scope.allocate(this.#factors.get(name)!.shape, `factor ${name}`)]),
    );
    using places = engine.tensor([rank], order, { label: "order" });
    await engine.run((s) => {
      const ones = s.tensor([rank], { label: "ones" });
      fill(s, ones, 1);
      for (const [name, out] of factors)
        canonicalizeColumns(s, this.#factors.get(name)!, places, ones, { apply: true, out });
    }, "CMTF result");
    const relativeErrors: number[] = [];
    const parts: { modes: readonly string[]; weights: Tensor }[] = [];
    for (const [d, { source, modes }] of this.#parts.entries()) {
      const values = Float32Array.from(order, (r) => all[d]![r]!);
      using scaled = engine.tensor([rank], values, { label: "weights" });
      const model = new KruskalTensor(
        scaled,
        modes.map((name) => factors.get(name)!),
      );
      relativeErrors.push(await relativeResidual(source, (p, out) => void source.residual(p, model, { out })));
      const restored = restoreValues(NAME, "weights", values, source.exponent);
      parts.push({ modes, weights: scope.keep(engine.tensor([rank], restored, { label: "weights" })) });
    }
    const squared = relativeErrors.map((error, d) => error ** 2 * this.#parts[d]!.source.squaredNorm);
    return scope.handOut({
      tensor: new CoupledTensor(factors, parts),
      relativeErrors,
      relativeError: this.#joint(squared),
    });
  }
}
