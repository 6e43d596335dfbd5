/** The starts of a CP model by Gauss-Newton: what they begin with, how they run side by side, and how many of them agree. */
import { Program, type Scheduler, type Tensor } from "../gpu/index.js";
import {
  appendRow,
  GAUSS_NEWTON,
  GAUSS_NEWTON_SLOW,
  GaussNewtonState,
  matmul,
  randomModels,
  sharedModels,
} from "../ops/index.js";
import type { Resident, Source } from "../sources/index.js";
import type { TuckerTensor } from "../tensors/index.js";
import { congruences, leastOfPairs, products } from "./congruence.js";
import { converge, type Run, type StoppingOptions, SWEEPS_A_BATCH, seedAt, type Told } from "./iterate.js";
import type { Stages } from "./stages.js";
import { TensorScope } from "./tensorScope.js";

/** What all runs of a model share. */
export interface Task {
  rank: number;
  /** of fixed modes: the factor, columns of norm 1 */
  fixed: ReadonlyMap<number, Float32Array>;
  /** a power of two near ‖x‖: a model is unit·Σ_r a_r ∘ b_r ∘ … */
  unit: number;
  /** where the state is kept, and what it has to agree in */
  saving?: Run<unknown>["saving"];
  /** of the first start */
  seed: number;
  stopping: StoppingOptions & { tolerance: number };
  /** ‖x‖², and the part of ‖x‖ that the core does not see on which the starts run: 0 where they see all of x */
  seen: { squaredNorm: number; missed: number };
  onStarts?: ((progress: StartsProgress) => void) | undefined;
}

/** How far starts are that run before the model of the whole tensor does. */
export interface StartsProgress {
  /** from 1 in each group of starts that run side by side */
  iteration: number;
  /** which starts these are, from 0 */
  starts: readonly number[];
  /** ‖X − X̂‖ / ‖X‖ of each of them */
  relativeErrors: readonly number[];
}

/** A model that a start ended at. */
export interface Model {
  /** which start it was */
  start: number;
  /** of each mode, I_n×R, in units */
  factors: readonly Float32Array[];
  /** ½‖x − x̂‖²/unit² */
  loss: number;
}

/** A model that ran beside others. */
export interface SharedModel extends Model {
  iterations: number;
  converged: boolean;
}

/** a model with a smaller relative error is exact: in f32, X̂ can hardly be told nearer to X */
export const EXACT = 5e-7;
/** a step that is to lower ½‖X − X̂‖² by less than this part of ‖X‖² is one that f32 cannot tell */
const NOISE = 1e-14;
const AGREES = 0.99;
/**
 * starts that trail behind one that has converged have this many times the iterations in which half of all starts have converged, and a few more, to
 * catch up
 */
const PATIENCE = 3;
const GRACE = 20;
/** the least weight of a term that a start has, in units: a term of weight 0 has no gradient, and would stay 0 */
export const LEAST_WEIGHT = 1e-6;
/** of starts on a core, the one that begins with the leading singular vectors of X */
const BY_BASES = 3;

/** A model's relative error, and the part of its squared error that its next step is to take off, from its numbers on the GPU. */
export function toldOf(
  scalars: Float32Array,
  model: number,
  squaredNorm: number,
  unit: number,
): { fromResidual: number; foreseen: number; isOver: boolean } {
  const at = model * GAUSS_NEWTON.perModel;
  const loss = scalars[at + GAUSS_NEWTON.loss]!;
  const promised = scalars[at + GAUSS_NEWTON.promised]!;
  const scaled = squaredNorm / unit ** 2;
  // where several workgroups share the rows of a model, a step's promise is told an iteration late
  const isKnown = promised !== 0 || scalars[at + GAUSS_NEWTON.iterations]! > 1;
  let foreseen = Number.POSITIVE_INFINITY;
  if (isKnown) foreseen = promised < NOISE * scaled ? 0 : promised / (2 * loss);
  const fromResidual = Math.sqrt((2 * loss) / scaled);
  return { fromResidual, foreseen, isOver: fromResidual < EXACT };
}

/** X by the core of its HOSVD, on which starts run. */
export interface Core {
  readonly tensor: TuckerTensor;
  /** ‖X − X̂‖ / ‖X‖ of the HOSVD */
  readonly relativeError: number;
  /** the core as what starts read */
  readonly source: Resident;
  /** A model of the core as one of X, by its factors: A_n = U_n·B_n. */
  widen(factors: readonly Float32Array[], rank: number): Promise<readonly Float32Array[]>;
  /** Puts unit vectors in place of the first columns of a model's factors, those of `modes`: singular vectors of X. */
  leadWithBases(factors: readonly Float32Array[], modes: readonly number[], rank: number): void;
}

/** by default, generalised eigenvalues are looked at for tensors of up to so many entries */
export const GEVD_ENTRIES = 2 ** 18;

/** Factors that a caller has. */
export interface KnownFactors {
  /** to begin with, by mode; null where there are none */
  factors: Float32Array[] | null;
  /** of fixed modes, columns of norm 1 */
  fixed: ReadonlyMap<number, Float32Array>;
}

/** A first start that is not random. */
export interface FirstStart {
  /** of all modes; null where they are found on the GPU */
  factors: readonly Float32Array[] | null;
  /** Records a copy of a factor over the first columns of another. */
  paste(s: Scheduler, factor: Tensor, out: Tensor): void;
  /** Writes what is found on the GPU over the first columns of these factors, those of `modes`. */
  find(x: Source, factors: readonly Tensor[], modes: readonly number[], task: Task): Promise<void>;
  /** Factors with the weights that bring the terms nearest to x. */
  weighted(x: Source, factors: readonly Float32Array[], task: Task): Promise<Float32Array[]>;
}

/**
 * What starts begin with, of each start and mode, in units. All but the first are random: uniform on [0, 1) and normal numbers by turns, as
 * uniform ones suit data of one sign, and others the rest; ‖x̂‖ = ‖x‖. The first may be random, of singular vectors, or of factors of X; its terms
 * have the weights of the least error then. `reduced` is x, or the core of `core`, on whose bases factors of X are projected. Where there is a core,
 * start {@link BY_BASES} is of its bases' first vectors: singular vectors of X that cost nothing.
 *
 * @param from which start is the first of `starts`: an even number. From 4 on all are random
 */
export async function beginModels(
  reduced: Source,
  core: Core | null,
  task: Task,
  { from, starts }: { from: number; starts: number },
  first: FirstStart | null,
): Promise<Float32Array[][]> {
  const { engine, shape } = reduced;
  const { rank, fixed } = task;
  const seed = seedAt(task.seed, from);
  using scope = new TensorScope(engine);
  const stacked = shape.map((extent, mode) => scope.allocate([extent, starts * rank], `start ${mode}`));
  const free = [...shape.keys()].filter((mode) => !fixed.has(mode));
  const wideExtents = shape.map((extent, mode) => core?.tensor.factors[mode]?.shape[0] ?? extent);
  const leading = first?.factors?.map((factor, mode) => scope.keep(engine.tensor([wideExtents[mode]!, rank], factor)));
  await engine.run((s) => {
    for (const mode of free) {
      const basis = core?.tensor.factors[mode];
      const out = stacked[mode]!;
      const extents = [wideExtents[mode]!, rank] as const;
      const factor = randomModels(s, extents, starts, { seed, stream: mode, out: basis ? undefined : out });
      if (leading) first!.paste(s, leading[mode]!, factor);
      if (!basis) continue;
      matmul(s, basis, factor, { transposeA: true, out });
      s.release(factor);
    }
  }, "CP starts");
  await first?.find(reduced, stacked, free, task);
  const values = await engine.read(stacked);
  const models = Array.from({ length: starts }, (_, start) =>
    values.map((all, mode) => fixed.get(mode) ?? columnsOf(all, shape[mode]!, starts, rank, start)),
  );
  if (core && from === 0 && starts > BY_BASES) core.leadWithBases(models[BY_BASES]!, free, rank);
  const begun = models.map((factors) => scaled(reduced, factors, task));
  if (first) begun[0] = await first.weighted(reduced, models[0]!, task);
  return begun;
}

/** What generalised eigenvalues told of a tensor. */
export interface GevdTold {
  /** how many terms they found: fewer than R where the tensor has not the rank for more */
  terms: number;
  /** pairs of complex eigenvalues among them: an exact model has none, and of each pair two terms were guessed */
  complexPairs: number;
}

/** Factors whose free ones are scaled so that ‖x̂‖ = ‖x‖. */
function scaled(x: Source, factors: readonly Float32Array[], { rank, fixed, unit }: Task): Float32Array[] {
  const norm = Math.sqrt(squaredNormOf(factors, rank)) || 1;
  const scale = (Math.sqrt(x.squaredNorm) / unit / norm) ** (1 / (factors.length - fixed.size));
  return factors.map((factor, mode) => (fixed.has(mode) ? factor : factor.map((value) => value * scale)));
}

/** Columns of norm 1, and what their norms were; columns of zeros stay zero. */
export function normaliseColumns(factor: Float32Array, rank: number): { columns: Float32Array; norms: number[] } {
  const norms = new Array<number>(rank).fill(0);
  for (let at = 0, r = 0; at < factor.length; at++, r = r + 1 === rank ? 0 : r + 1) norms[r]! += factor[at]! ** 2;
  for (let r = 0; r < rank; r++) norms[r] = Math.sqrt(norms[r]!);
  const columns = new Float32Array(factor.length);
  for (let at = 0, r = 0; at < factor.length; at++, r = r + 1 === rank ? 0 : r + 1)
    columns[at] = factor[at]! / (norms[r]! || 1);
  return { columns, norms };
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

/** The Hadamard product of the Gram matrices of all modes: how terms lie to each other. */
export function gramOf(factors: readonly Float32Array[], rank: number): Float64Array {
  const all = new Float64Array(rank * rank).fill(1);
  for (const factor of factors) products(factor, factor, rank).forEach((value, at) => void (all[at]! *= value));
  return all;
}

/** ‖X̂‖² of a model. */
const squaredNormOf = (factors: readonly Float32Array[], rank: number): number =>
  Math.max(
    0,
    gramOf(factors, rank).reduce((sum, value) => sum + value, 0),
  );

/**
 * Runs all starts on `x`, x itself or the core of its HOSVD, as many of them at once as there is room for. A start has R columns or fewer: beside
 * others, one of fewer has columns of zeros, which stay zero. A group runs until its starts have converged, but for those that trail far behind
 * another of their rank; those that have converged stand still.
 * `isCut` where the signal ended it before.
 *
 * @param from which start `begin` begins with
 * @param stages where the state of a group is kept
 */
export async function runTogether(
  x: Tensor,
  task: Task,
  begin: readonly (readonly Float32Array[])[],
  from = 0,
  stages?: Stages,
): Promise<{ models: SharedModel[]; isCut: boolean }> {
  const { signal } = task.stopping;
  const most = sharedModels(x.engine, x.size, task.rank);
  const models: SharedModel[] = [];
  let isCut = false;
  for (let first = 0; first < begin.length && !isCut; first += most) {
    if (first && signal?.aborted) return { models, isCut: true };
    const group = await runGroup(x, task, begin.slice(first, first + most), from + first, stages);
    models.push(...group.models);
    isCut = group.isCut;
  }
  return { models, isCut };
}

async function runGroup(
  x: Tensor,
  { rank, fixed, unit, stopping, seen, onStarts }: Task,
  begin: readonly (readonly Float32Array[])[],
  first: number,
  stages?: Stages,
): Promise<{ models: SharedModel[]; isCut: boolean }> {
  const { engine } = x;
  const models = begin.length;
  const ranks = begin.map((factors) => factors[0]!.length / x.shape[0]!);
  using scope = new TensorScope(engine);
  const half = seen.squaredNorm / unit ** 2 / 2;
  const convergence = { tolerance: stopping.tolerance, noise: 2 * NOISE * half, exact: EXACT ** 2 * half };
  const state = scope.keep(
    new GaussNewtonState(engine, x.shape, rank, x.shape[0]!, { models, unit, fixed: [...fixed.keys()], convergence }),
  );
  const differences = scope.allocate([models, ...x.shape], "differences");
  const rows = scope.allocate([SWEEPS_A_BATCH, state.scalars.size], "trace");
  const counter = scope.allocate([1], "counter", "u32");
  const place = (mode: number, row: number, model: number) => ((state.starts[mode]! + row) * models + model) * rank;
  const stacked = new Float32Array(state.trial.size);
  for (const [model, factors] of begin.entries())
    for (const [mode, factor] of factors.entries())
      for (let row = 0; row < x.shape[mode]!; row++)
        stacked.set(factor.subarray(row * ranks[model]!, (row + 1) * ranks[model]!), place(mode, row, model));
  engine.write(state.trial, stacked);
  const record = ({ s }: Program): void => {
    state.evaluate(s, x, differences);
    state.step(s);
    appendRow(s, state.scalars.reshape([state.scalars.size]), rows, counter);
  };
  const precise = scope.keep(await Program.compiled(engine, record, "CP starts"));
  const starts = begin.map((_, model) => first + model);
  const saving = await stages?.keep(`starts from ${first}`, state.tensors);
  let iteration = saving?.resumed?.told.length ?? 0;
  const errorOf = (row: Float32Array): Told => {
    const told = starts.map((_, model) => toldOf(row, model, seen.squaredNorm, unit));
    iteration++;
    /** by rank: the iteration at which half of the starts had converged, and the least error of those that have */
    const halfEnd = new Map<number, number>();
    const least = new Map<number, number>();
    for (const width of new Set(ranks)) {
      const peers = [...ranks.keys()].filter((model) => ranks[model] === width);
      const ended = peers.filter((model) => hasConverged(row, model));
      // a model that has converged stands still, and its iterations are those until then
      const ends = ended.map((model) => row[model * GAUSS_NEWTON.perModel + GAUSS_NEWTON.iterations]!);
      halfEnd.set(width, ends.sort((a, b) => a - b)[Math.ceil(peers.length / 2) - 1] ?? Number.POSITIVE_INFINITY);
      least.set(width, Math.min(...ended.map((model) => told[model]!.fromResidual)));
    }
    const trails = (model: number): boolean => {
      const width = ranks[model]!;
      const isLate = iteration > PATIENCE * halfEnd.get(width)! + GRACE;
      return isLate && told[model]!.fromResidual > least.get(width)!;
    };
    onStarts?.({
      iteration,
      starts,
      relativeErrors: told.map(({ fromResidual }) => Math.hypot(seen.missed, fromResidual)),
    });
    const best = Math.min(...told.map(({ fromResidual }) => fromResidual));
    const isOver = starts.every((_, model) => hasConverged(row, model) || trails(model));
    const isNear = starts.every((_, model) => isSlow(row, model) || trails(model));
    // the group is slow where all of its starts are
    return { fromResidual: best, foreseen: isNear ? 0 : 1, isOver };
  };
  const sweep = { name: "cp", precise, trace: { rows, counter }, errorOf };
  const { aborted } = await converge(engine, sweep, stopping, undefined, saving);
  const [accepted, scalars] = await engine.read([state.accepted, state.scalars]);
  const ended = starts.map((start, model): SharedModel => {
    const numberOf = (which: number): number => scalars[model * GAUSS_NEWTON.perModel + which]!;
    const width = ranks[model]!;
    return {
      start,
      loss: numberOf(GAUSS_NEWTON.loss),
      iterations: numberOf(GAUSS_NEWTON.iterations),
      converged: hasConverged(scalars, model),
      factors: x.shape.map((extent, mode) => {
        const factor = new Float32Array(extent * width);
        for (let row = 0; row < extent; row++) {
          const at = place(mode, row, model);
          factor.set(accepted.subarray(at, at + width), row * width);
        }
        return factor;
      }),
    };
  });
  return { models: ended, isCut: aborted };
}

const isSlow = (scalars: Float32Array, model: number): boolean =>
  scalars[model * GAUSS_NEWTON.perModel + GAUSS_NEWTON.slow]! > 0;

const hasConverged = (scalars: Float32Array, model: number): boolean =>
  scalars[model * GAUSS_NEWTON.perModel + GAUSS_NEWTON.slow]! >= GAUSS_NEWTON_SLOW;

/** How many models, the first of which is the best, have a counterpart of every term of the best. */
export const agreeing = (models: readonly Model[], rank: number): number =>
  models.filter(({ factors }) => leastOfPairs(congruences(models[0]!.factors, factors, rank), rank) >= AGREES).length;
