import { formatShape, ShapeError, shown, TenfoldError } from "../../gpu/index.js";
import type { Activation } from "../../ops/index.js";
import { layerRules } from "../layerRules.js";
import type { NormalStart } from "../layers.js";
import { Linear } from "../layers.js";

/** A dense layer's numbers: weight outputs×inputs, as `Linear` and PyTorch have it. */
export interface DenseWeights {
  inputs: number;
  outputs: number;
  weight: Float32Array;
  bias?: Float32Array | null;
  activation?: Activation;
}

/** What a dense layer is decomposed from: a `Linear` of a network, or its numbers. */
export type DenseSource = Linear | DenseWeights;

export interface FactorisedOptions {
  bias?: boolean | Float32Array;
  activation?: Activation;
  /**
   * of layers from scratch: outputs have the variance that a dense layer started so has. `uniform` is PyTorch's default,
   * `he` suits relu
   */
  start?: "uniform" | "he";
}

/** The rules of {@link FactorisedOptions}. */
export const factorisedRules = {
  bias: layerRules.bias,
  activation: layerRules.activation,
  start: layerRules.factorStart,
};

/** The numbers of a dense layer, read back where it is a layer. */
export async function denseWeights(source: DenseSource): Promise<Required<DenseWeights>> {
  if (!(source instanceof Linear) && !(source?.weight instanceof Float32Array))
    throw new TenfoldError(`dense weights: given ${shown(source)}, needs a Linear, or { inputs, outputs, weight }`);
  const { inputs, outputs } = source;
  const given = source instanceof Linear ? await source.weight.read() : source.weight;
  const bias = source instanceof Linear ? ((await source.bias?.read()) ?? null) : (source.bias ?? null);
  if (given.length !== inputs * outputs)
    throw new ShapeError(`dense weights: ${given.length} numbers, needs ${formatShape([outputs, inputs])}`);
  if (bias && bias.length !== outputs) throw new ShapeError(`dense bias: ${bias.length} numbers, needs ${outputs}`);
  return { inputs, outputs, weight: given, bias, activation: source.activation ?? "none" };
}

/** Variance of the outputs over that of the inputs, in a dense layer started so. */
export const gainOf = (start: "uniform" | "he"): number => (start === "he" ? 2 : 1 / 3);

/** The start of a factor whose `terms` products are summed, that multiplies the variance by `gain`. */
export const startOf = (terms: number, gain = 1, biasBound = 0): NormalStart => ({
  deviation: Math.sqrt(gain / terms),
  biasBound,
});

/** Half the width of a dense layer's start bias. */
export const biasBoundOf = (start: "uniform" | "he", terms: number): number =>
  start === "uniform" ? 1 / Math.sqrt(terms) : 0;

/** @throws ShapeError unless `modes` multiply to `size` */
export function assertModes(what: string, modes: readonly number[], size: number): void {
  const product = modes.reduce((a, b) => a * b, 1);
  if (product !== size || modes.some((extent) => !(Number.isInteger(extent) && extent > 0)))
    throw new ShapeError(`${what}: modes ${formatShape(modes)} multiply to ${product}, need ${size}`);
}
