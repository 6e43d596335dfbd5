import { tuckerHOOI } from "../../decompositions/index.js";
import {
  checkOption,
  checkOptions,
  type Engine,
  formatShape,
  instanceOf,
  type OptionRules,
  optionRules,
  required,
  ShapeError,
} from "../../gpu/index.js";
import { Chain } from "../chain.js";
import { Conv3d, type Conv3dOptions, conv3dRules, volumeOptions } from "../convolution.js";
import { layerKind } from "../layerKind.js";
import { assertEngine, layerRules } from "../layerRules.js";
import { transposed, tuckerParts } from "./factorisedConv.js";
import { type FactorisedOptions, gainOf, varianceStart } from "./source.js";

export interface Tucker2Conv3dOptions extends Omit<Conv3dOptions, "weight" | "start"> {
  /** R₃, the rank of the input channels, and R₄, that of the output channels */
  ranks: readonly [inputs: number, outputs: number];
  /** start values of the three convolutions' weights; random ones by default */
  weights?: readonly [Float32Array, Float32Array, Float32Array];
  /** random start values, as in `FactorisedOptions`, but the bias starts at 0 */
  start?: FactorisedOptions["start"];
}

const { weight: _, ...shapeRules } = conv3dRules;
const tucker2Rules: OptionRules<Tucker2Conv3dOptions> = {
  ...shapeRules,
  start: layerRules.factorStart,
  ranks: required(layerRules.twoRanks),
  weights: layerRules.valueLists,
};

/**
 * A convolution of volumes whose kernel is a Tucker tensor in both channel modes (Kim et al. 2016, for videos as in
 * Rasmussen 2020): 1×1×1 S→R₃, D×D×D R₃→R₄, 1×1×1 R₄→T. S·R₃ + D³·R₃·R₄ + T·R₄ weights. The middle convolution has stride,
 * padding and dilation, the last one bias and activation.
 *
 * @throws TenfoldError where an option is unfit
 */
export class Tucker2Conv3d extends Chain {
  readonly method = "tucker2";
  readonly ranks: readonly [inputs: number, outputs: number];
  readonly convolutions: readonly [Conv3d, Conv3d, Conv3d];

  constructor(options: Tucker2Conv3dOptions) {
    checkOptions("Tucker2Conv3d", options, tucker2Rules);
    const { ranks, weights, inputs, outputs, kernel, stride, padding, dilation, bias, activation } = options;
    const gain = gainOf(options.start ?? "uniform");
    const convolutions = [
      new Conv3d({
        inputs,
        outputs: ranks[0],
        kernel: 1,
        bias: false,
        weight: weights?.[0],
        start: varianceStart(inputs),
      }),
      new Conv3d({
        ...{
          inputs: ranks[0],
          outputs: ranks[1],
          kernel,
          stride,
          padding,
          dilation,
          bias: false,
          weight: weights?.[1],
        },
        start: varianceStart(ranks[0] * tapsOf(kernel)),
      }),
      new Conv3d({
        ...{ inputs: ranks[1], outputs, kernel: 1, weight: weights?.[2], start: varianceStart(ranks[1], gain) },
        ...(bias !== undefined && { bias }),
        ...(activation && { activation }),
      }),
    ] as const;
    super(`Tucker-2 (${ranks.join(", ")}) ${inputs}→${outputs} ${formatShape(convolutions[1].kernel)}`, convolutions);
    this.ranks = ranks;
    this.convolutions = convolutions;
  }

  /** The dense kernel that the three stand for, outputs×inputs×depth×height×width. */
  async toDense(): Promise<Float32Array> {
    const [first, middle, last] = (await Promise.all(this.convolutions.map(({ weight }) => weight.read()))) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const [r3, r4] = this.ranks;
    const inputs = this.convolutions[0].inputs;
    const outputs = this.convolutions[2].outputs;
    const taps = middle.length / (r3 * r4);
    const out = new Float32Array(outputs * inputs * taps);
    for (let t = 0; t < outputs; t++)
      for (let s = 0; s < inputs; s++)
        for (let k = 0; k < taps; k++) {
          let sum = 0;
          for (let j = 0; j < r4; j++)
            for (let i = 0; i < r3; i++)
              sum += last[t * r4 + j]! * middle[(j * r3 + i) * taps + k]! * first[i * inputs + s]!;
          out[(t * inputs + s) * taps + k] = sum;
        }
    return out;
  }
}

export const tucker2Conv3dKind = /* @__PURE__ */ layerKind(
  "tucker2Conv3d",
  Tucker2Conv3d,
  ({ ranks, convolutions: [first, middle, last] }) => {
    const { kernel, stride, padding, dilation } = middle;
    const { outputs, bias, activation } = last;
    return {
      ...{ inputs: first.inputs, outputs, kernel, stride, padding, dilation },
      ...{ bias: bias !== null, activation, ranks },
    };
  },
  (f) => new Tucker2Conv3d({ ...volumeOptions(f), ranks: f.pair("ranks") }),
);

const tapsOf = (kernel: Conv3dOptions["kernel"]): number =>
  typeof kernel === "number" ? kernel ** 3 : kernel.reduce((a, b) => a * b, 1);

/**
 * A trained convolution of volumes by the Tucker decomposition of its kernel along both channel modes, by higher-order
 * orthogonal iteration (at most 50 sweeps by default). Full ranks reproduce the layer.
 *
 * @throws ShapeError unless the ranks are 1 to the number of channels, TenfoldError where another argument is unfit
 */
export async function tucker2Conv3d(
  engine: Engine,
  layer: Conv3d,
  fit: { ranks: readonly [inputs: number, outputs: number]; sweeps?: number; seed?: number },
): Promise<Tucker2Conv3d> {
  assertEngine("tucker2Conv3d", engine);
  checkOption("tucker2Conv3d", "the layer", layer, instanceOf(Conv3d, "a Conv3d"));
  const rules = { ranks: required(layerRules.twoRanks), sweeps: optionRules.count, seed: optionRules.count };
  checkOptions("tucker2Conv3d", fit, rules);
  const { ranks, sweeps = 50, seed = 0 } = fit;
  const { inputs, outputs, kernel, stride, padding, dilation, activation } = layer;
  [inputs, outputs].forEach((most, at) => {
    if (!(Number.isInteger(ranks[at]) && ranks[at]! >= 1 && ranks[at]! <= most))
      throw new ShapeError(
        `tucker2Conv3d: ranks ${ranks.join(", ")}, need whole numbers from 1 to ${inputs}, ${outputs}`,
      );
  });
  const [r3, r4] = ranks;
  using x = engine.tensor([outputs, inputs, ...kernel], await layer.weight.read());
  const { tensor } = await tuckerHOOI(engine, x, { ranks: [r4, r3, ...kernel], sweeps, seed });
  try {
    const parts = await tuckerParts(engine, tensor, outputs, inputs);
    const bias = layer.bias ? await layer.bias.read() : false;
    return new Tucker2Conv3d({
      ...{ inputs, outputs, kernel, stride, padding, dilation, activation, bias, ranks },
      weights: [transposed(parts.inputs, r3), parts.core, parts.outputs],
    });
  } finally {
    tensor.destroy();
  }
}
