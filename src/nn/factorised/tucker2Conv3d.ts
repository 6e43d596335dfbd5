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
import { Conv3d, type Conv3dOptions, conv3dRules } from "../convolution.js";
import { assertEngine, layerRules } from "../layerRules.js";

export interface Tucker2Conv3dOptions extends Omit<Conv3dOptions, "weight"> {
  /** R₃ of the input channels, R₄ of the output channels */
  ranks: readonly [inputs: number, outputs: number];
  /** start values of the three convolutions; random ones where they are not given */
  weights?: readonly [Float32Array, Float32Array, Float32Array];
}

const { weight: _, ...shapeRules } = conv3dRules;
const tucker2Rules: OptionRules<Tucker2Conv3dOptions> = {
  ...shapeRules,
  start: layerRules.start,
  ranks: required(layerRules.twoRanks),
  weights: layerRules.valueLists,
};

/**
 * A convolution of volumes whose kernel is a Tucker tensor in both channel modes (Kim et al. 2016, for videos as in
 * Rasmussen 2020): 1×1×1 S→R₃, the kernel R₃→R₄, 1×1×1 R₄→T. S·R₃ + D³·R₃·R₄ + T·R₄ weights. Stride, padding and
 * dilation belong to the middle one, bias and activation to the last.
 */
export class Tucker2Conv3d extends Chain {
  readonly method = "tucker2";
  readonly ranks: readonly [inputs: number, outputs: number];
  readonly convolutions: readonly [Conv3d, Conv3d, Conv3d];

  constructor(given: Tucker2Conv3dOptions) {
    checkOptions("Tucker2Conv3d", given, tucker2Rules);
    const { ranks, weights, ...options } = given;
    const { inputs, outputs, kernel, stride, padding, dilation, bias, activation, start = "uniform" } = options;
    const gain = start === "he" ? 2 : 1 / 3;
    const convolutions = [
      new Conv3d({ inputs, outputs: ranks[0], kernel: 1, bias: false, weight: weights?.[0], start: scaled(inputs) }),
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
        start: scaled(ranks[0] * tapsOf(kernel)),
      }),
      new Conv3d({
        ...{ inputs: ranks[1], outputs, kernel: 1, weight: weights?.[2], start: scaled(ranks[1] / gain) },
        ...(bias !== undefined && { bias }),
        ...(activation && { activation }),
      }),
    ] as const;
    super(`Tucker-2 (${ranks.join(", ")}) ${inputs}→${outputs} ${formatShape(convolutions[1].kernel)}`, convolutions);
    this.ranks = ranks;
    this.convolutions = convolutions;
  }

  /** The dense kernel that it stands for, outputs×inputs×depth×height×width. */
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

const tapsOf = (kernel: Conv3dOptions["kernel"]): number =>
  typeof kernel === "number" ? kernel ** 3 : kernel.reduce((a, b) => a * b, 1);

/** a normal start that keeps the variance over so many terms */
const scaled = (terms: number) => ({ deviation: 1 / Math.sqrt(terms) });

/**
 * A trained convolution of volumes by the Tucker decomposition of its kernel along both channel modes (higher-order
 * orthogonal iteration). Full ranks give the layer itself.
 *
 * @throws ShapeError where a rank is not 1 to the channels
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
    // a mode of full rank has no factor: the identity
    const factorOf = async (mode: number, extent: number): Promise<Float32Array> => {
      const factor = tensor.factors[mode];
      if (factor) return (await factor.read()) as Float32Array;
      return Float32Array.from({ length: extent * extent }, (_, e) => (e % (extent + 1) === 0 ? 1 : 0));
    };
    const byInput = await factorOf(1, inputs);
    const first = Float32Array.from(
      { length: r3 * inputs },
      (_, e) => byInput[(e % inputs) * r3 + Math.floor(e / inputs)]!,
    );
    const middle = (await tensor.core.read()) as Float32Array;
    const bias = layer.bias ? await layer.bias.read() : false;
    return new Tucker2Conv3d({
      ...{ inputs, outputs, kernel, stride, padding, dilation, activation, bias, ranks },
      weights: [first, middle, await factorOf(0, outputs)],
    });
  } finally {
    tensor.destroy();
  }
}
