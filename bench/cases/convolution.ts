/** Cases of convolutions that networks have. */
import { conv2d, prefersTucker2, tucker2Conv2d } from "../../src/ops/index.js";
import type { Case, Values } from "../case.js";
import type { Goal } from "../goals.js";
import { values } from "../inputs.js";
import * as reference from "../reference.js";

export interface ConvolutionCase {
  batch: number;
  inputs: number;
  outputs: number;
  size: number;
  /** extent of the kernel, odd; x is padded so that the size stays */
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

export interface Tucker2Case extends ConvolutionCase {
  ranks: readonly [number, number];
}

/**
 * A Tucker-2 convolution (Kim et al. 2016): 1×1 to the first rank, k×k to the second rank, 1×1. It takes one dispatch or three, by
 * the layer's rule (`prefersTucker2`).
 */
export function tucker2Case({ batch, inputs, outputs, size, kernel, ranks: [r, t] }: Tucker2Case, name: string): Case {
  const x: Values = { shape: [batch, inputs, size, size], seed: 13 };
  const first: Values = { shape: [r, inputs, 1, 1], seed: 14 };
  const core: Values = { shape: [t, r, kernel, kernel], seed: 15 };
  const last: Values = { shape: [outputs, t, 1, 1], seed: 16 };
  const padding = (kernel - 1) / 2;
  const positions = batch * size * size;
  const weights = r * inputs + t * r * kernel * kernel + outputs * t;
  return {
    name,
    shapes: `${batch}×${inputs}×${size}×${size} by ${r}, ${t}×${r}×${kernel}×${kernel}, ${outputs}`,
    flops: 2 * positions * weights,
    bytes: 4 * (positions * (inputs + outputs) + weights),
    work: { op: "tucker2", x, first, core, last, padding },
    tolerance: 1e-4,
    choice: "tucker2",
    counts: { reads: 1, dispatches: 3, submits: 1, readbacks: 0 },
    run(s, [input, a, b, c]) {
      const chain = { first: a!, core: b!, last: c! };
      if (prefersTucker2(input!, chain, { padding })) return [tucker2Conv2d(s, input!, chain, { padding })];
      return [conv2d(s, conv2d(s, conv2d(s, input!, a!), b!, { padding }), c!)];
    },
    inputs: () => [values(x), values(first), values(core), values(last)],
    reference([input, a, b, c]) {
      // the product of the three kernels, a k×k kernel
      const taps = kernel * kernel;
      const product = new Float64Array(outputs * inputs * taps);
      for (let o = 0; o < outputs; o++)
        for (let i = 0; i < inputs; i++)
          for (let q = 0; q < t; q++)
            for (let p = 0; p < r; p++)
              for (let k = 0; k < taps; k++)
                product[(o * inputs + i) * taps + k]! +=
                  c![o * t + q]! * b![(q * r + p) * taps + k]! * a![p * inputs + i]!;
      return reference.convolution(input!, product, x.shape, [outputs, inputs, kernel, kernel], padding);
    },
  };
}
