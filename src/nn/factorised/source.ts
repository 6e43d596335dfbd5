import { formatShape, optionRules, required, ShapeError, shown, TenfoldError } from "../../gpu/index.js";
import type { Activation } from "../../ops/index.js";
import type { Fields } from "../layerKind.js";
import { layerRules } from "../layerRules.js";
import { Linear } from "../layers.js";
import type { NormalStart } from "../startValues.js";

/** The numbers of a dense layer. */
export interface DenseWeights {
  inputs: number;
  outputs: number;
  /** outputs×inputs, the layout of `Linear` and of PyTorch */
  weight: Float32Array;
  /** one an output; none by default */
  bias?: Float32Array | null;
  /** none by default */
  activation?: Activation;
}

/** The dense layer that a fit decomposes: a `Linear`, or the numbers of a layer. */
export type DenseSource = Linear | DenseWeights;

/** Options that every factorised layer has. */
export interface FactorisedOptions {
  /** whether the layer has a bias (true by default), or the bias' start values, one an output */
  bias?: boolean | Float32Array;
  /** applied to the outputs after the bias; none by default */
  activation?: Activation;
  /**
   * random start values of a layer that is trained from scratch: the outputs get the variance that those of a dense layer
   * with this start have. `uniform` (the default) is PyTorch's start, `he` suits relu
   */
  start?: "uniform" | "he";
}

/** The rules of {@link FactorisedOptions}. */
export const factorisedRules = {
  bias: layerRules.bias,
  activation: layerRules.activation,
  start: layerRules.factorStart,
};

/** The rules of a layer whose weight is split into modes and held in cores, as a tensor train and a tensor ring are. */
export const coreRules = {
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ranks: required(optionRules.ranks),
  cores: layerRules.valueLists,
};

/** The options of a dense layer whose weight is split into modes, from a file. For kinds. */
export const modesOptions = (f: Fields) => ({
  inputModes: f.counts("inputModes"),
  outputModes: f.counts("outputModes"),
  ranks: f.counts("ranks"),
  ...f.output(),
});

/**
 * The numbers of a dense layer, read back where they lie on the GPU.
 *
 * @throws TenfoldError where the source is no dense layer, ShapeError where its numbers do not fit its extents
 */
export async function denseWeights(source: DenseSource): Promise<Required<DenseWeights>> {
  if (!(source instanceof Linear) && !(source?.weight instanceof Float32Array))
    throw new TenfoldError(`dense weights: given ${shown(source)}, needs a Linear, or { inputs, outputs, weight }`);
  const { inputs, outputs } = source;
  const weight = source instanceof Linear ? await source.weight.read() : source.weight;
  const bias = source instanceof Linear ? ((await source.bias?.read()) ?? null) : (source.bias ?? null);
  if (weight.length !== inputs * outputs)
    throw new ShapeError(`dense weights: ${weight.length} numbers, needs ${formatShape([outputs, inputs])}`);
  if (bias && bias.length !== outputs) throw new ShapeError(`dense bias: ${bias.length} numbers, needs ${outputs}`);
  return { inputs, outputs, weight, bias, activation: source.activation ?? "none" };
}

/** The variance of a dense layer's outputs, divided by the variance of its inputs, where the layer has this start. */
export const gainOf = (start: "uniform" | "he"): number => (start === "he" ? 2 : 1 / 3);

/** The start of a factor that sums `terms` products: its outputs have `gain` times the variance of its inputs. */
export const varianceStart = (terms: number, gain = 1, biasBound = 0): NormalStart => ({
  deviation: Math.sqrt(gain / terms),
  biasBound,
});

/** The bias of a dense layer that sums `terms` products starts uniform on ± this bound. */
export const biasBoundOf = (start: "uniform" | "he", terms: number): number =>
  start === "uniform" ? 1 / Math.sqrt(terms) : 0;

export const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);

/** @throws ShapeError unless `modes` are positive and multiply to `size` */
export function assertModes(what: string, modes: readonly number[], size: number): void {
  if (product(modes) !== size || modes.some((extent) => !(Number.isInteger(extent) && extent > 0)))
    throw new ShapeError(`${what}: modes ${formatShape(modes)} multiply to ${product(modes)}, need ${size}`);
}
