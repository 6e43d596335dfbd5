/** Convolutions, as networks have them. */
import { conv2d } from "../../src/ops/index.js";
import type { Case, Values } from "../case.js";
import type { Goal } from "../goals.js";
import { values } from "../inputs.js";
import * as reference from "../reference.js";

export interface ConvolutionCase {
  batch: number;
  inputs: number;
  outputs: number;
  size: number;
  /** odd; padded so that the size stays */
  kernel: number;
}

export function convolutionCase(
  { batch, inputs, outputs, size, kernel }: ConvolutionCase,
  name: string,
  goals: readonly Goal[] = [],
): Case {
  const x: Values = { shape: [batch, inputs, size, size], seed: 11 };
  const w: Values = { shape: [outputs, inputs, kernel, kernel], seed: 12 };
  const padding = (kernel - 1) / 2;
  const positions = batch * size * size;
  return {
    name,
    shapes: `${batch}×${inputs}×${size}×${size} by ${outputs}×${inputs}×${kernel}×${kernel}`,
    flops: 2 * positions * outputs * inputs * kernel * kernel,
    bytes: 4 * (positions * (inputs + outputs) + outputs * inputs * kernel * kernel),
    work: { op: "conv2d", x, w, padding },
    tolerance: 1e-4,
    choice: "conv2d",
    goals,
    counts: { reads: 1, dispatches: 1, submits: 1, readbacks: 0 },
    run: (s, [input, weight]) => [conv2d(s, input!, weight!, { padding })],
    inputs: () => [values(x), values(w)],
    reference: ([input, weight]) => reference.convolution(input!, weight!, x.shape, w.shape, padding),
  };
}
