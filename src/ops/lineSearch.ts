import choiceShader from "../../shaders/line_choice.wgsl?late";
import stepsShader from "../../shaders/line_steps.wgsl?late";
import takeShader from "../../shaders/line_take.wgsl?late";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const grid = ({ size }: Readonly<Record<string, number>>, { WIDTH }: Readonly<Record<string, number>>) =>
  grid1d(size!, WIDTH!);
const steps = new Kernel(stepsShader, grid);
const choice = new Kernel(choiceShader, () => [1]);
const take = new Kernel(takeShader, grid);

/** What the `state` of a line search is before the first step: β, the error of what was taken, which that was, refusals in a row. */
export const LINE_SEARCH_START = [0.8, 3e38, 2, 0] as const;
/** where `state` has the error of what was taken */
export const LINE_SEARCH_ERROR = 1;
/** β grows by the first factor where the further step is taken, and is divided by the second where it is not; its bounds */
const STEP_LENGTHS = { growth: 1.1, shrinkage: 1.5, least: 0.05, most: 1 };

export interface LineSearchSteps {
  /** what the method made of its state */
  fresh: Tensor;
  /** `fresh` has a matrix from here to there whose columns count as many times as the weights ([R]) say */
  scaled: { weights: Tensor; range: readonly [start: number, stop: number] };
  /** elements of `further` from here to there are set to 0 where they are negative */
  clip: readonly [start: number, stop: number];
  /** {@link LINE_SEARCH_START} at first */
  state: Tensor;
  /** has `plain` of the step before; written: `fresh` with its weights */
  plain: Tensor;
  /** written: plain + β·(plain − that of the step before) */
  further: Tensor;
}

/**
 * The two steps between which a line search chooses: what the method made of its state, and one that goes on from there as the last one did. Their
 * errors are the caller's to compute; then come {@link lineSearchChoice} and {@link lineSearchTake}. So no step makes an error larger, and none is lost.
 */
export function lineSearchSteps(s: Scheduler, operands: LineSearchSteps): void {
  assertCall("lineSearchSteps", s);
  const { fresh, scaled, clip, state, plain, further } = operands;
  assertShape("lineSearchSteps", "plain", plain, fresh.shape);
  assertShape("lineSearchSteps", "further", further, fresh.shape);
  assertShape("lineSearchSteps", "state", state, [LINE_SEARCH_START.length]);
  for (const [from, to] of [clip, scaled.range])
    if (!(from >= 0 && to >= from && to <= fresh.size))
      throw new ShapeError(`lineSearchSteps: ${from} to ${to} of ${fresh}`);
  s.run(
    steps,
    { fresh, weights: scaled.weights, state, plain, further },
    {
      size: fresh.size,
      clip_start: clip[0],
      clip_end: clip[1],
      scaled_start: scaled.range[0],
      scaled_end: scaled.range[1],
      rank: scaled.weights.size,
    },
  );
}

/** Chooses the step of the smaller error ([1] each), or none where both errors are larger than the one before; writes it into `state`. */
export function lineSearchChoice(s: Scheduler, errors: { plain: Tensor; further: Tensor }, state: Tensor): void {
  assertCall("lineSearchChoice", s);
  const { plain, further } = errors;
  assertShape("lineSearchChoice", "plain", plain, [1]);
  assertShape("lineSearchChoice", "further", further, [1]);
  assertShape("lineSearchChoice", "state", state, [LINE_SEARCH_START.length]);
  s.run(choice, { plain_error: plain, further_error: further, state }, STEP_LENGTHS);
}

/** Copies what belongs to one of the two steps into `out` where that one was chosen; else `out` stays. */
export function lineSearchTake(s: Scheduler, step: "plain" | "further", x: Tensor, state: Tensor, out: Tensor): void {
  assertCall("lineSearchTake", s, { x, state, out });
  assertShape("lineSearchTake", "out", out, x.shape);
  assertShape("lineSearchTake", "state", state, [LINE_SEARCH_START.length]);
  const isInVectors = x.size % 4 === 0;
  s.run(
    take.with({ scalar: isInVectors ? "vec4f" : "f32" }),
    { x, state, out },
    { size: isInVectors ? x.size / 4 : x.size, choice: step === "plain" ? 0 : 1 },
  );
}
