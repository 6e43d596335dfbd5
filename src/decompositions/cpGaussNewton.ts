import {
  checkOptions,
  type Engine,
  type OptionRules,
  oneOf,
  optionRules,
  Program,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import {
  appendRow,
  copy,
  GAUSS_NEWTON,
  GaussNewtonState,
  matmul,
  mttkrpFromPartial,
  normal,
  normalizeColumns,
  pasteColumns,
  slice,
  uniform,
} from "../ops/index.js";
import { checkCall, type Difference, Resident, type Source, withSource } from "../sources/index.js";
import { KruskalTensor, type TuckerTensor } from "../tensors/index.js";
import { canonicalKruskal, restoreKruskal, splitModes, zeroKruskal } from "./cp.js";
import { hadamardProduct } from "./cpUpdates.js";
import { Held } from "./held.js";
import {
  converge,
  type Decomposition,
  iterate,
  type Method,
  type Scope,
  type StoppingOptions,
  SWEEPS_A_BATCH,
  seedAt,
  stoppingRules,
  type Told,
  type Trace,
} from "./iterate.js";
import { stHosvd } from "./tucker.js";

export interface CpGaussNewtonOptions extends StoppingOptions {
  /** R, the number of rank-one terms */
  rank: number;
  /** how many random starts there are; 4 by default. The best of them is the result */
  starts?: number;
  seed?: number;
  /**
   * `auto`, the default: where the tensor is large beside what the rank needs, the starts run on the core of its HOSVD, and the best of them
   * goes on with the whole tensor. `none`: all starts run on the whole tensor
   */
  compression?: "auto" | "none";
}

const rules: OptionRules<CpGaussNewtonOptions> = {
  rank: { ...optionRules.positive, required: true },
  starts: optionRules.positive,
  seed: optionRules.seed,
  compression: oneOf("auto", "none"),
  ...stoppingRules,
};

/** What the starts of a CP model came to. */
export interface CpStarts {
  /** relative errors that the starts ended at, best first: those on the core, where the tensor was compressed */
  errors: number[];
  /** how many starts found the best one's model: every term with its counterpart at a congruence of 0.99 or more; the best one counts */
  agreeing: number;
}

/** A CP model and how it was reached. */
export interface CpDecomposition extends Decomposition<KruskalTensor> {
  starts: CpStarts;
}

/** entries of X up to which an iteration's evaluation is two dispatches, and entries of all models together up to which they share them */
const SMALL = 2 ** 15;
const MOST_SHARED = 2 ** 20;
/** a core is worth its HOSVD where it has at most this part of X's entries */
const COMPRESSED = 1 / 8;
/** the most iterations of the starts, and of a run, where the caller says nothing */
const ITERATIONS = 500;
/** a step that is to lower ½‖X − X̂‖² by less than this part of ‖X‖² is one that f32 cannot tell */
const NOISE = 1e-14;
const AGREES = 0.99;

/**
 * CP by damped Gauss-Newton (Sorber, Van Barel & De Lathauwer 2013), from several random starts. An iteration reads the tensor three times and
 * goes for all factors at once, so it does not creep where terms are collinear, as alternating least squares does, and ends at the best model from
 * nearly every start. It keeps the difference X − X̂, one more tensor of X's size.
 *
 * `tolerance` (1e-6 by default): converged when the next step is foreseen to lower the relative error by less than this part of it, three
 * iterations on end. `sweeps` are iterations, at most 500 by default.
 *
 * @throws ShapeError where x has fewer than 2 or more than 8 modes
 */
export async function cp(engine: Engine, x: Tensor | Source, options: CpGaussNewtonOptions): Promise<CpDecomposition> {
  checkCall(engine, "cp", x);
  const rank: unknown = options?.rank;
  if (typeof rank === "number" && !optionRules.positive.is(rank))
    throw new ShapeError(`cp: rank ${rank}, needs a positive whole number`);
  checkOptions("cp", options, rules);
  if (x.shape.length < 2 || x.shape.length > 8)
    throw new ShapeError(`cp: ${x} has order ${x.shape.length}, needs 2 to 8`);
  return await withSource(engine, "cp", x, (source) => solve(source, options));
}

async function solve(source: Source, options: CpGaussNewtonOptions): Promise<CpDecomposition> {
  const { rank, starts = 4, seed = 0, sweeps = ITERATIONS, tolerance = 1e-6, onIteration, signal } = options;
  const stopping = { sweeps, tolerance, onIteration, signal, sweepsPerSubmit: options.sweepsPerSubmit ?? 2 };
  const run = (factors: readonly Float32Array[]) => iterateFrom(source, rank, stopping, factors);
  if (source.isZero) return { ...(await run([])), seed, starts: { errors: [0], agreeing: 1 } };
  using held = new Held(source.engine);
  const core = await coreOf(source, options, held);
  const begin = await randomModels(source, core?.tensor ?? null, rank, starts, seed);
  const reduced = core?.tensor.core ?? (source instanceof Resident ? source.tensor("cp") : null);
  const isShared = reduced !== null && reduced.size * starts <= MOST_SHARED && (core !== null || starts > 1);
  if (isShared) {
    const models = await runTogether(source, reduced, core?.loss ?? 0, rank, begin, {
      ...stopping,
      onIteration: undefined,
    });
    const [best] = models.order as [number];
    const factors = core ? await widened(core.tensor, models.factors[best]!, rank) : models.factors[best]!;
    return { ...(await run(factors)), seed: seedAt(seed, best), starts: startsOf(models, rank) };
  }
  // too large to share: one start after the other, on the whole tensor
  const models: Models = { factors: [], errors: [], order: [] };
  let best: CpDecomposition | null = null;
  try {
    for (const [index, factors] of begin.entries()) {
      if (best && signal?.aborted) break;
      const result = await run(factors);
      models.factors.push((await result.tensor.engine.read([...result.tensor.factors])) as Float32Array[]);
      models.errors.push(result.relativeError);
      if (best && best.relativeError <= result.relativeError) result.tensor.destroy();
      else {
        best?.tensor.destroy();
        best = { ...result, seed: seedAt(seed, index), starts: { errors: [], agreeing: 1 } };
      }
    }
  } catch (error) {
    best?.tensor.destroy();
    throw error;
  }
  models.order = [...models.errors.keys()].sort((a, b) => models.errors[a]! - models.errors[b]!);
  const isCut = models.errors.length < starts;
  const ending = isCut ? { aborted: true, converged: false, stalled: false } : {};
  return { ...best!, ...ending, starts: startsOf(models, rank) };
}

/** Gauss-Newton on the whole tensor, from these factors. */
function iterateFrom(
  source: Source,
  rank: number,
  stopping: StoppingOptions,
  factors: readonly Float32Array[],
): Promise<Decomposition<KruskalTensor>> {
  return iterate<KruskalTensor>(source, {
    name: "cp",
    stopping,
    zero: () => zeroKruskal(source.engine, source.shape, rank),
    begin: (scope) => new GaussNewtonMethod(scope, rank, factors),
  });
}

/** Gauss-Newton for one model as a method of `iterate`. */
class GaussNewtonMethod implements Method<KruskalTensor> {
  readonly columns = GAUSS_NEWTON.perModel;
  readonly #state: GaussNewtonState;
  readonly #scope: Scope;
  readonly #difference: Difference | null;
  readonly #differences: Tensor | null;
  /** X̂ of the trial factors, and of those accepted last */
  readonly #trial: KruskalTensor;
  readonly #accepted: KruskalTensor;

  constructor(
    scope: Scope,
    rank: number,
    readonly begin: readonly Float32Array[],
  ) {
    this.#scope = scope;
    const { source, engine, keep, allocate } = scope;
    const isSmall = source instanceof Resident && source.size <= SMALL;
    this.#state = keep(new GaussNewtonState(engine, source.shape, rank, isSmall ? source.shape[0]! : 1));
    this.#difference = isSmall ? null : keep(source.difference());
    this.#differences = isSmall ? allocate([1, ...source.shape], "difference") : null;
    const weights = allocate([rank], "ones");
    engine.write(weights, new Float32Array(rank).fill(1));
    const modelOf = (stacked: Tensor) =>
      new KruskalTensor(
        weights,
        source.shape.map((_, mode) => this.#state.rowsOf(stacked, mode)),
      );
    this.#trial = modelOf(this.#state.trial);
    this.#accepted = modelOf(this.#state.accepted);
  }

  async start(): Promise<undefined> {
    this.#state.reset();
    for (const [mode, factor] of this.begin.entries()) this.#scope.engine.write(this.#trial.factors[mode]!, factor);
  }

  record(p: Program, { rows, counter }: Trace): void {
    const { source } = this.#scope;
    const state = this.#state;
    if (this.#difference) {
      this.#difference.refresh(p, this.#trial);
      this.#difference.squaredNorm(p, { out: state.losses.reshape([1]) });
      recordProducts(p, this.#difference, this.#trial.factors, (mode) => state.rowsOf(state.trialDescent, mode));
    } else state.evaluate(p.s, source.tensor("cp"), this.#differences!);
    state.step(p.s);
    appendRow(p.s, state.scalars, rows, counter);
  }

  errorOf(row: Float32Array): Told {
    return toldOf(row, 0, this.#scope.source.squaredNorm);
  }

  /** Columns are brought to norm 1, and the weights are the products of their norms. */
  async finish(): Promise<KruskalTensor> {
    const { engine } = this.#scope;
    using held = new Held(engine);
    const weights = held.allocate([this.#accepted.rank], "weights");
    const factors = this.#accepted.factors.map((factor, mode) => held.allocate(factor.shape, `factor ${mode}`));
    await engine.run((s) => {
      const norms = this.#accepted.factors.map(
        (factor, mode) => normalizeColumns(s, factor, { out: factors[mode]! }).norms,
      );
      copy(s, hadamardProduct(s, norms).product!, { out: weights });
    }, "CP result");
    return await canonicalKruskal(new KruskalTensor(weights, factors));
  }

  residual(p: Program, tensor: KruskalTensor, out: Tensor): void {
    this.#scope.source.residual(p, tensor, { out });
  }

  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
    return restoreKruskal("cp", tensor, exponent);
  }
}

/** What the numbers of a model tell. */
function toldOf(
  scalars: Float32Array,
  model: number,
  squaredNorm: number,
): Required<Pick<Told, "fromResidual" | "foreseen">> {
  const at = model * GAUSS_NEWTON.perModel;
  const loss = scalars[at + GAUSS_NEWTON.loss]!;
  const promised = scalars[at + GAUSS_NEWTON.promised]!;
  return {
    fromResidual: Math.sqrt((2 * loss) / squaredNorm),
    foreseen: promised < NOISE * squaredNorm ? 0 : promised / (2 * loss),
  };
}

/** Records the MTTKRPs of all modes with the same factors; reads x twice. */
function recordProducts(p: Program, x: Difference, factors: readonly Tensor[], outOf: (mode: number) => Tensor): void {
  const split = splitModes(x.shape);
  for (const [start, stop] of [[0, split] as const, [split, x.order] as const]) {
    const isShared = stop - start > 1 && stop - start < x.order;
    const partial = isShared ? x.partialMttkrp(p, factors, [start, stop]) : null;
    for (let mode = start; mode < stop; mode++) {
      const out = outOf(mode);
      if (partial) mttkrpFromPartial(p.s, partial, factors.slice(start, stop), [start, stop], mode, { out });
      else x.mttkrp(p, factors, mode, { out });
    }
    if (partial) p.s.release(partial);
  }
}

/** CP models that were found from several starts. */
interface Models {
  /** of each start: of each mode, I_n×R */
  factors: Float32Array[][];
  /** relative error of each start */
  errors: number[];
  /** starts by their errors, the best first */
  order: number[];
}

/** Extents of a core that holds a model of this rank, and what noise moves it by. */
const coreRanks = (shape: readonly number[], rank: number): number[] => {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return shape.map((extent) => Math.min(extent, size / extent, Math.ceil(1.5 * rank) + 2));
};

/** The HOSVD of x, and ‖x − x̂‖² of it. */
interface Core {
  tensor: TuckerTensor;
  loss: number;
}

/** The HOSVD of x with a core that is small beside it; null where there is none. */
async function coreOf(source: Source, options: CpGaussNewtonOptions, held: Held): Promise<Core | null> {
  const { rank, seed = 0, compression = "auto", signal } = options;
  const ranks = coreRanks(source.shape, rank);
  const size = ranks.reduce((product, extent) => product * extent, 1);
  if (compression === "none" || size > COMPRESSED * source.size) return null;
  const { tensor, relativeError } = await stHosvd(source.engine, source, {
    ranks,
    seed,
    ...(signal ? { signal } : {}),
  });
  held.keep({ destroy: () => tensor.destroy() });
  signal?.throwIfAborted();
  return { tensor, loss: relativeError ** 2 * source.squaredNorm };
}

/**
 * Random models, of each start and mode: uniform on [0, 1) and normal numbers by turns, as uniform ones suit data of one sign, and others the
 * rest. They are as they would be for x where there is a core, and projected on it. ‖X̂‖ = ‖x‖.
 */
async function randomModels(
  source: Source,
  core: TuckerTensor | null,
  rank: number,
  starts: number,
  seed: number,
): Promise<Float32Array[][]> {
  const { engine, shape } = source;
  using held = new Held(engine);
  const extents = core ? core.core.shape : shape;
  const tensors = extents.map((extent, mode) => held.allocate([extent, starts * rank], `start ${mode}`));
  await engine.run((s) => {
    for (const [mode, extent] of shape.entries()) {
      const factor = s.tensor([extent, starts * rank]);
      for (let start = 0; start < starts; start++) {
        const random = (start % 2 ? normal : uniform)(s, [extent, rank], { seed: seedAt(seed, start), stream: mode });
        pasteColumns(s, random, factor, start * rank);
        s.release(random);
      }
      const basis = core?.factors[mode];
      if (basis) matmul(s, basis, factor, { transposeA: true, out: tensors[mode]! });
      else slice(s, factor, [0, 0], [extent, starts * rank], { out: tensors[mode]! });
      s.release(factor);
    }
  }, "CP starts");
  const values = (await engine.read(tensors)) as Float32Array[];
  const norm = Math.sqrt(source.squaredNorm);
  return Array.from({ length: starts }, (_, start) => {
    const factors = values.map((all, mode) => columnsOf(all, extents[mode]!, starts, rank, start));
    const scale = (norm / (Math.sqrt(squaredNormOf(factors, rank)) || 1)) ** (1 / shape.length);
    return factors.map((factor) => factor.map((value) => value * scale));
  });
}

/** The columns of one model, where those of several stand side by side. */
function columnsOf(values: Float32Array, rows: number, models: number, rank: number, model: number): Float32Array {
  const columns = new Float32Array(rows * rank);
  for (let row = 0; row < rows; row++) {
    const at = (row * models + model) * rank;
    columns.set(values.subarray(at, at + rank), row * rank);
  }
  return columns;
}

/** a_i·b_j of all columns of two factors, R×R. */
function products(a: Float32Array, b: Float32Array, rank: number): Float64Array {
  const sums = new Float64Array(rank * rank);
  for (let row = 0; row < a.length; row += rank)
    for (let i = 0; i < rank; i++) for (let j = 0; j < rank; j++) sums[i * rank + j]! += a[row + i]! * b[row + j]!;
  return sums;
}

/** ‖X̂‖² of a model. */
function squaredNormOf(factors: readonly Float32Array[], rank: number): number {
  const all = new Float64Array(rank * rank).fill(1);
  for (const factor of factors) products(factor, factor, rank).forEach((value, at) => void (all[at]! *= value));
  return Math.max(
    0,
    all.reduce((sum, value) => sum + value, 0),
  );
}

/** Runs all starts at once on `x`, x itself or the core of its HOSVD, until the last of them has converged. */
async function runTogether(
  source: Source,
  x: Tensor,
  /** what x leaves of the source: ‖X − x‖² */
  left: number,
  rank: number,
  begin: readonly (readonly Float32Array[])[],
  stopping: StoppingOptions,
): Promise<Models> {
  const { engine } = x;
  const models = begin.length;
  using held = new Held(engine);
  const state = held.keep(new GaussNewtonState(engine, x.shape, rank, x.shape[0]!, { models }));
  const differences = held.allocate([models, ...x.shape], "differences");
  const rows = held.allocate([SWEEPS_A_BATCH, state.scalars.size], "trace");
  const counter = held.allocate([1], "counter", "u32");
  const stacked = new Float32Array(state.trial.size);
  for (const [model, factors] of begin.entries())
    for (const [mode, factor] of factors.entries())
      for (let at = 0; at < factor.length; at += rank)
        stacked.set(factor.subarray(at, at + rank), ((state.starts[mode]! + at / rank) * models + model) * rank);
  engine.write(state.trial, stacked);
  using program = new Program(engine, "CP starts");
  state.evaluate(program.s, x, differences);
  state.step(program.s);
  appendRow(program.s, state.scalars.reshape([state.scalars.size]), rows, counter);
  const precise = held.keep(await program.compile());
  /** how often running each start foresaw no more than the tolerance */
  const slow = new Int32Array(models);
  const errorOf = (row: Float32Array): Told => {
    const told = Array.from(slow, (_, model) => toldOf(row, model, source.squaredNorm));
    told.forEach(({ foreseen }, model) => {
      slow[model] = foreseen < stopping.tolerance! ? slow[model]! + 1 : 0;
    });
    const best = Math.min(...told.map(({ fromResidual }) => fromResidual));
    return { fromResidual: best, foreseen: slow.every((count) => count >= 3) ? 0 : 1 };
  };
  await converge(
    engine,
    { name: "cp", precise, trace: { rows, counter }, errorOf },
    { ...stopping, sweepsPerSubmit: SWEEPS_A_BATCH },
  );
  const [accepted, scalars] = (await engine.read([state.accepted, state.scalars])) as [Float32Array, Float32Array];
  const errors = begin.map((_, model) => {
    const loss = scalars[model * GAUSS_NEWTON.perModel + GAUSS_NEWTON.loss]!;
    return Math.sqrt((left + 2 * loss) / source.squaredNorm);
  });
  const factors = begin.map((_, model) =>
    x.shape.map((extent, mode) => {
      const first = state.starts[mode]! * models * rank;
      return columnsOf(accepted.subarray(first, first + extent * models * rank), extent, models, rank, model);
    }),
  );
  return { factors, errors, order: [...errors.keys()].sort((a, b) => errors[a]! - errors[b]!) };
}

/** A model of the core as one of x: A_n = U_n·B_n. */
async function widened(core: TuckerTensor, factors: readonly Float32Array[], rank: number): Promise<Float32Array[]> {
  const { engine } = core;
  using held = new Held(engine);
  // a mode that the core has in full has no factor
  const bases = core.factors.map((basis, mode) => basis && { basis, mode }).filter((entry) => entry !== null);
  const wide = bases.map(({ basis, mode }) => held.allocate([basis.shape[0]!, rank], `factor ${mode}`));
  const narrow = bases.map(({ mode }) =>
    held.keep(engine.tensor([core.core.shape[mode]!, rank], factors[mode]!, { label: `core factor ${mode}` })),
  );
  await engine.run((s) => {
    for (const [at, { basis }] of bases.entries()) matmul(s, basis, narrow[at]!, { out: wide[at]! });
  }, "CP of the core");
  const values = (await engine.read(wide)) as Float32Array[];
  return factors.map((factor, mode) => {
    const at = bases.findIndex((entry) => entry.mode === mode);
    return at < 0 ? factor : values[at]!;
  });
}

/** What the starts came to. */
function startsOf({ factors, errors, order }: Models, rank: number): CpStarts {
  const best = factors[order[0]!]!;
  return {
    errors: order.map((start) => errors[start]!),
    agreeing: factors.filter((other) => agree(best, other, rank)).length,
  };
}

/** Whether every term of a model has its counterpart in another: greedily matched, by the product of the cosines of all modes. */
function agree(a: readonly Float32Array[], b: readonly Float32Array[], rank: number): boolean {
  const congruence = new Float64Array(rank * rank).fill(1);
  for (const [mode, factor] of a.entries()) {
    const other = b[mode]!;
    const across = products(factor, other, rank);
    const [first, second] = [products(factor, factor, rank), products(other, other, rank)];
    for (let i = 0; i < rank; i++)
      for (let j = 0; j < rank; j++) {
        const norms = Math.sqrt(first[i * rank + i]! * second[j * rank + j]!);
        congruence[i * rank + j]! *= norms ? across[i * rank + j]! / norms : 0;
      }
  }
  const open = new Set(Array.from({ length: rank }, (_, j) => j));
  for (let i = 0; i < rank; i++) {
    const match = [...open].reduce((found, j) =>
      congruence[i * rank + j]! > congruence[i * rank + found]! ? j : found,
    );
    if (congruence[i * rank + match]! < AGREES) return false;
    open.delete(match);
  }
  return true;
}
