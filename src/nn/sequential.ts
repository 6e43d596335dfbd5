import {
  checkOptions,
  type Engine,
  type OptionRules,
  optionRules,
  required,
  shown,
  TenfoldError,
} from "../gpu/index.js";
import { Chain } from "./chain.js";
import type { Arena, Layer } from "./layer.js";
import { assertEngine } from "./layerRules.js";
import { assertLayer, Network, started } from "./network.js";

export interface SequentialOptions {
  /** shape of one sample, without the batch */
  inputShape: readonly number[];
  /** seed of the start values, 0 by default */
  seed?: number;
}

const sequentialRules: OptionRules<SequentialOptions> = {
  inputShape: required(optionRules.shape),
  seed: optionRules.count,
};

/** A network of layers one after the other. */
export class Sequential extends Network {
  private constructor(engine: Engine, chain: Chain, inputShape: readonly number[], arena: Arena) {
    super(engine, chain, Array.from(chain.layers.keys(), String), inputShape, arena);
  }

  /**
   * Checks that the layers fit each other and the samples, allocates their parameters, and initialises these from `seed`.
   *
   * @throws ShapeError naming the layer that does not fit, TenfoldError where an argument is unfit
   */
  static override async create(
    engine: Engine,
    layers: readonly Layer[],
    options: SequentialOptions,
  ): Promise<Sequential> {
    assertEngine("Sequential.create", engine);
    if (!Array.isArray(layers))
      throw new TenfoldError(`Sequential.create: layers are ${shown(layers)}, needs a list of layers`);
    for (const [index, layer] of layers.entries()) assertLayer(`Sequential.create: layers[${index}]`, layer);
    checkOptions("Sequential.create", options, sequentialRules);
    const chain = new Chain("Sequential", layers);
    const arena = await started("Sequential.create", engine, chain, options);
    return new Sequential(engine, chain, options.inputShape, arena);
  }
}
