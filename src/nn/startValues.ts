import type { Scheduler, Tensor } from "../gpu/index.js";
import { fill, normal, uniform } from "../ops/index.js";

/** Records the start values of a parameter on `out`. */
export type StartRecorder = (s: Scheduler, out: Tensor, seed: number) => void;

/** Start values with chosen spreads: weights normal around 0, the bias uniform around 0. */
export interface NormalStart {
  /** standard deviation of the weights */
  deviation: number;
  /** the bias is uniform on ±biasBound; 0 by default */
  biasBound?: number;
}

/** Values normal around 0. */
export const normalValues =
  (deviation: number): StartRecorder =>
  (s, out, seed) =>
    void normal(s, out.shape, { seed, deviation, out });

/** Values uniform on ±bound; zeros for a bound of 0. */
export const uniformValues =
  (bound: number): StartRecorder =>
  (s, out, seed) => {
    if (bound) uniform(s, out.shape, { seed, low: -bound, high: bound, out });
    else fill(s, out, 0);
  };

/**
 * Recorders for the weight and the bias of a layer each of whose outputs is a sum of `terms` products.
 *
 * @param start as in `LinearOptions`
 */
export function startRecorders(
  terms: number,
  start: "uniform" | "he" | NormalStart,
): { weight: StartRecorder; bias: StartRecorder } {
  if (start === "uniform") {
    const recorder = uniformValues(1 / Math.sqrt(terms));
    return { weight: recorder, bias: recorder };
  }
  const { deviation, biasBound = 0 } = start === "he" ? { deviation: Math.sqrt(2 / terms) } : start;
  return { weight: normalValues(deviation), bias: uniformValues(biasBound) };
}
