import descentShader from "../../shaders/gauss_newton_descent.wgsl";
import differencesShader from "../../shaders/gauss_newton_differences.wgsl";
import stepShader from "../../shaders/gauss_newton_step.wgsl";
import { type Engine, grid1d, Kernel, type Params, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";
import { soleWorkgroup } from "./variants.js";

const step = new Kernel(stepShader, ({ models }) => [models!]);
const differencesKernel = new Kernel(differencesShader, ({ size, models }, { WIDTH }) =>
  grid1d(size! * models!, WIDTH!),
);
const descentKernel = new Kernel(descentShader, ({ rows, models, rank }, { COLUMNS }) => [
  rows!,
  models!,
  Math.ceil(rank! / COLUMNS!),
]);

/** modes that the kernels take */
export const MOST_GAUSS_NEWTON_MODES = 8;
/** numbers of a model in `scalars`, and R×R matrices a mode in `matrices`: as in shaders/common/gauss_newton.wgsl */
export const PER_MODEL = 8;
const SLOTS = 12;
/** rows of a mode begin at multiples of this, so that a factor may be bound by itself */
const ALIGNED = 64;

/** CP models side by side and all that Gauss-Newton keeps of them. */
export interface GaussNewtonState {
  shape: readonly number[];
  rank: number;
  models: number;
  /** row of the stacked factors where each mode begins */
  starts: readonly number[];
  trial: Tensor;
  trialDescent: Tensor;
  accepted: Tensor;
  descent: Tensor;
  matrices: Tensor;
  scalars: Tensor;
  losses: Tensor;
  parts: Tensor;
}

/** Rows of the stacked factors: where each mode begins, and how many there are in all. */
export function stackRows(shape: readonly number[]): { starts: number[]; rows: number } {
  const starts: number[] = [];
  let rows = 0;
  for (const extent of shape) {
    starts.push(rows);
    rows += Math.ceil(extent / ALIGNED) * ALIGNED;
  }
  return { starts, rows };
}

function paramsOf({ shape, rank, models, starts, losses }: GaussNewtonState): Params {
  const padded = (values: readonly number[]) => Array.from({ length: 8 }, (_, mode) => values[mode] ?? 1);
  return {
    rank,
    models,
    modes: shape.length,
    size: sizeOf(shape),
    rows: shape.reduce((sum, extent) => sum + extent, 0),
    losses: losses.size / models,
    fixed_modes: 0,
    steps: 25,
    chunk: 0,
    chunks: 0,
    extents: padded(shape),
    starts: padded(starts),
  };
}

/** Allocates what Gauss-Newton keeps of so many models of rank R of a tensor of this shape. */
export function gaussNewtonState(
  engine: Engine,
  shape: readonly number[],
  rank: number,
  models: number,
): GaussNewtonState {
  if (shape.length > MOST_GAUSS_NEWTON_MODES)
    throw new ShapeError(`gaussNewton: ${shape.length} modes, needs at most ${MOST_GAUSS_NEWTON_MODES}`);
  const { starts, rows } = stackRows(shape);
  const stacked = (label: string) => engine.tensor([rows, models * rank], null, { label });
  return {
    shape,
    rank,
    models,
    starts,
    trial: stacked("trial factors"),
    trialDescent: stacked("trial descent"),
    accepted: stacked("factors"),
    descent: stacked("descent"),
    matrices: engine.tensor([models, SLOTS, shape.length, rank, rank], null, { label: "small matrices" }),
    scalars: engine.tensor([models, PER_MODEL], null, { label: "Gauss-Newton numbers" }),
    losses: engine.tensor([models, shape[0]!], null, { label: "losses" }),
    parts: engine.tensor([1], null, { label: "parts" }),
  };
}

/**
 * Evaluates the trial factors of all models on X: their losses and directions of descent. `differences` (models×|X|) is written. For small X:
 * two dispatches.
 */
export function evaluateModels(s: Scheduler, x: Tensor, state: GaussNewtonState, differences: Tensor): void {
  assertCall("evaluateModels", s, { x, differences });
  const params = paramsOf(state);
  s.run(differencesKernel, { x, factors: state.trial, differences }, params);
  s.run(
    descentKernel.with({ WIDTH: soleWorkgroup(s.engine, 64), COLUMNS: Math.min(state.rank, 8) }),
    { differences, factors: state.trial, descent: state.trialDescent, losses: state.losses },
    params,
  );
}

/** Accepts or refuses the trial factors of all models and finds the next ones. */
export function gaussNewtonStep(s: Scheduler, state: GaussNewtonState): void {
  assertCall("gaussNewtonStep", s);
  const { losses, trial, trialDescent, accepted, descent, matrices, scalars, parts } = state;
  s.run(
    step.with({ WIDTH: soleWorkgroup(s.engine, 64), SOLE: true }),
    { losses, trial, trial_descent: trialDescent, accepted, descent, matrices, scalars, parts },
    paramsOf(state),
  );
}
