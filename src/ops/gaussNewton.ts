import descentShader from "../../shaders/gauss_newton_descent.wgsl?late";
import differencesShader from "../../shaders/gauss_newton_differences.wgsl?late";
import gramsShader from "../../shaders/gauss_newton_grams.wgsl?late";
import rowsShader from "../../shaders/gauss_newton_rows.wgsl?late";
import stepShader from "../../shaders/gauss_newton_step.wgsl?late";
import {
  dispose,
  type Engine,
  grid1d,
  Kernel,
  type Params,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const differencesKernel = new Kernel(differencesShader, ({ runs, models }, { WIDTH }) =>
  grid1d(runs! * models!, WIDTH!),
);
const descentKernel = new Kernel(descentShader, ({ rows, models, rank }, { COLUMNS }) => [
  rows!,
  models!,
  Math.ceil(rank! / COLUMNS!),
]);
const stepKernel = new Kernel(stepShader, ({ models }) => [models!]);
const byChunks = ({ chunks, modes, models }: Readonly<Record<string, number>>) => [chunks!, modes!, models!];
const gramsKernel = new Kernel(gramsShader, byChunks);
const rowsKernel = new Kernel(rowsShader, byChunks);

/** modes that the kernels take */
const MOST_MODES = 8;
/** matrices of a mode that the step keeps: SLOTS of shaders/common/gauss_newton.wgsl */
const SLOTS = 12;
/** rows of a mode begin at multiples of this, so that its factor may be bound by itself */
const ALIGNED = 64;
/** most steps of conjugate gradients in an iteration */
const STEPS = 25;
/** chunks that the rows of a longest mode are cut into, and the least rows of one */
const CHUNKS = 64;
const LEAST_ROWS = 64;

/** Numbers of a model in `scalars`: as in shaders/common/gauss_newton.wgsl. */
export const GAUSS_NEWTON = {
  perModel: 8,
  loss: 0,
  promised: 1,
  damping: 2,
  iterations: 4,
  accepted: 5,
  taken: 6,
  slow: 7,
} as const;
/** slow steps on end after which a model has converged: ENOUGH_SLOW of the same file */
export const GAUSS_NEWTON_SLOW = 3;

/** Whether `evaluate` is the way for one model of a tensor of so many entries, and not the ops for large tensors, one after the other. */
export const isSmallForGaussNewton = (engine: Engine, size: number, rank: number): boolean =>
  size * rank <= setting(engine, "gaussNewtonSmall");

/** How many models of a tensor of so many entries may run side by side. */
export const sharedModels = (engine: Engine, size: number, rank: number): number =>
  Math.floor(setting(engine, "gaussNewtonShared") / (size * rank));

export interface GaussNewtonOptions {
  /** models side by side, 1 by default */
  models?: number;
  /** modes whose factors stay as they are */
  fixed?: readonly number[];
  /** a power of two near ‖X‖, 1 by default: X̂ = unit·Σ_r a_r ∘ b_r ∘ …, so that factors are the same at every scale of X */
  unit?: number;
  /**
   * when a model has converged: it stands still from then on, and costs nothing. After three steps on end that are each to take off less than
   * `tolerance` of its squared error, or less than `noise` of ½‖X − X̂‖²/unit²; after one that is to take off less than a thousandth of `tolerance`;
   * or when the loss is below `exact`. By default none ever has
   */
  convergence?: { tolerance: number; noise: number; exact: number };
}

/**
 * CP models of rank R of one tensor, side by side, and all that damped Gauss-Newton keeps of them on the GPU. The factors of all modes are one matrix
 * (rows×models·R): mode n from row `starts[n]` on. Write start factors into `trial`; every iteration evaluates them, and its `step` accepts or
 * refuses them and writes the next.
 */
export class GaussNewtonState {
  readonly models: number;
  readonly starts: readonly number[];
  /** factors to be evaluated next */
  readonly trial: Tensor;
  /** the MTTKRPs of X − X̂ there, with the factors alone, to be written before a step */
  readonly trialDescent: Tensor;
  /** factors that were accepted last, and the MTTKRPs of (X − X̂)/unit there */
  readonly accepted: Tensor;
  readonly descent: Tensor;
  /** models×parts: ‖X − X̂‖² of the trial factors, in parts; to be written before a step */
  readonly losses: Tensor;
  /** models×8: see {@link GAUSS_NEWTON}; losses are in units of unit² */
  readonly scalars: Tensor;
  readonly #matrices: Tensor;
  readonly #parts: Tensor;
  readonly #params: Params;
  readonly #isSole: boolean;

  constructor(
    readonly engine: Engine,
    readonly shape: readonly number[],
    readonly rank: number,
    /** parts of a model's loss */
    lossParts: number,
    { models = 1, fixed = [], unit = 1, convergence }: GaussNewtonOptions = {},
  ) {
    const modes = shape.length;
    if (modes > MOST_MODES) throw new ShapeError(`Gauss-Newton: ${modes} modes, needs at most ${MOST_MODES}`);
    this.models = models;
    const { starts, rows } = stackRows(shape);
    this.starts = starts;
    const stacked = (label: string) => engine.tensor([rows, models * rank], null, { label });
    this.trial = stacked("trial factors");
    this.trialDescent = stacked("trial descent");
    this.accepted = stacked("factors");
    this.descent = stacked("descent");
    this.losses = engine.tensor([models, lossParts], null, { label: "losses" });
    this.scalars = engine.tensor([models, GAUSS_NEWTON.perModel], null, { label: "Gauss-Newton numbers" });
    this.#matrices = engine.tensor([models, SLOTS, modes, rank, rank], null, { label: "small matrices" });
    const extents = shape.reduce((sum, extent) => sum + extent, 0);
    this.#isSole = extents * rank ** 2 <= setting(engine, "gaussNewtonRows");
    const longest = Math.max(...shape);
    const chunk = Math.max(LEAST_ROWS, Math.ceil(longest / CHUNKS));
    const chunks = Math.ceil(longest / chunk);
    const shares = Math.max(1, Math.floor(setting(engine, "soleWorkgroup") / (2 * rank ** 2)));
    const partsSize = this.#isSole ? 1 : 2 * models * modes * chunks * (shares * rank ** 2 + 1);
    this.#parts = engine.tensor([partsSize], null, { label: "parts of chunks" });
    const padded = (values: readonly number[]) => Array.from({ length: MOST_MODES }, (_, mode) => values[mode] ?? 1);
    this.#params = {
      rank,
      models,
      modes,
      size: sizeOf(shape),
      runs: sizeOf(shape.slice(0, -1)),
      rows: extents,
      losses: lossParts,
      fixed_modes: fixed.reduce((bits, mode) => bits | (1 << mode), 0),
      steps: STEPS,
      chunk,
      chunks,
      shares,
      unit,
      inverse_unit: 1 / unit,
      ...(convergence ?? { tolerance: 0, noise: 0, exact: 0 }),
      extents: padded(shape),
      starts: padded(starts),
    };
  }

  /** Rows of a mode in one of the stacked matrices: Iₙ×models·R. */
  rowsOf(stacked: Tensor, mode: number): Tensor {
    const start = this.starts[mode]!;
    return stacked.rows(start, start + this.shape[mode]!);
  }

  /** Forgets what earlier iterations left: the next one begins with the factors in `trial`. */
  reset(): void {
    this.engine.write(this.scalars, new Float32Array(this.scalars.size));
  }

  /**
   * Records the evaluation of the trial factors on a small X, in two dispatches for all models: `losses` (a part for each row of mode 0) and
   * `trialDescent`. `differences` (models×X's shape) is written: X − X̂.
   */
  evaluate(s: Scheduler, x: Tensor, differences: Tensor): void {
    assertCall("Gauss-Newton", s, { x, differences });
    assertShape("Gauss-Newton", "the tensor", x, this.shape);
    assertShape("Gauss-Newton", "differences", differences, [this.models, ...this.shape]);
    const COLUMNS = Math.min(this.rank, 8);
    const WIDTH = Math.min(64, setting(s.engine, "soleWorkgroup"));
    const { trial: factors, trialDescent: descent, losses, scalars } = this;
    s.run(differencesKernel.with({ WIDTH, COLUMNS }), { x, factors, differences, scalars }, this.#params);
    s.run(descentKernel.with({ WIDTH, COLUMNS }), { differences, factors, descent, losses, scalars }, this.#params);
  }

  /** Records the step of an iteration: accepts or refuses the trial factors that were evaluated, and writes the next ones. */
  step(s: Scheduler): void {
    assertCall("Gauss-Newton", s);
    const { losses, trial, trialDescent, accepted, descent, scalars } = this;
    const [matrices, parts, params] = [this.#matrices, this.#parts, this.#params];
    const WIDTH = setting(s.engine, "soleWorkgroup");
    if (!this.#isSole)
      s.run(gramsKernel.with({ WIDTH }), { trial, trial_descent: trialDescent, parts, scalars }, params);
    s.run(
      stepKernel.with({
        WIDTH: Math.min(this.rank > 8 ? 256 : 64, WIDTH),
        SOLE: this.#isSole,
      }),
      { losses, trial, trial_descent: trialDescent, accepted, descent, matrices, scalars, parts },
      params,
    );
    if (!this.#isSole)
      s.run(
        rowsKernel.with({ WIDTH }),
        { trial, trial_descent: trialDescent, accepted, descent, matrices, scalars, parts },
        params,
      );
  }

  /** All that an iteration reads from the one before, and more. */
  get tensors(): readonly Tensor[] {
    const { trial, trialDescent, accepted, descent, losses, scalars } = this;
    return [trial, trialDescent, accepted, descent, losses, scalars, this.#matrices, this.#parts];
  }

  destroy(): void {
    for (const tensor of this.tensors) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

function stackRows(shape: readonly number[]): { starts: number[]; rows: number } {
  const starts: number[] = [];
  let rows = 0;
  for (const extent of shape) {
    starts.push(rows);
    rows += Math.ceil(extent / ALIGNED) * ALIGNED;
  }
  return { starts, rows };
}
