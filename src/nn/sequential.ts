import {
  checkOptions,
  dispose,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  shown,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { Chain } from "./chain.js";
import { type Arena, allocateParameters, type Counts, type Layer, type Parameter, type Pass } from "./layer.js";
import { assertEngine } from "./layerRules.js";
import { Dropout } from "./layers.js";

/** The layers in order, with the layers of a chain in place of the chain. */
export function flatLayers(layers: readonly Layer[]): Layer[] {
  return layers.flatMap((layer) => (layer instanceof Chain ? flatLayers(layer.layers) : [layer]));
}

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

/** @throws TenfoldError naming the first entry that is no layer */
function assertLayers(operation: string, layers: readonly Layer[]): void {
  if (!Array.isArray(layers))
    throw new TenfoldError(`${operation}: layers are ${shown(layers)}, needs a list of layers`);
  for (const [index, layer] of layers.entries()) {
    if (["forward", "backward", "outputShape", "counts"].every((name) => typeof layer?.[name] === "function")) continue;
    const advice = typeof layer === "function" ? `; new ${layer.name || "Layer"}(…) makes one` : "";
    throw new TenfoldError(`${operation}: layers[${index}] is ${shown(layer)}, needs a layer${advice}`);
  }
}

/** A network: layers one after the other, with the values of all parameters in one tensor and the gradients in another. */
export class Sequential {
  private readonly chain: Chain;

  private constructor(
    readonly engine: Engine,
    readonly layers: readonly Layer[],
    /** shape of one sample */
    readonly inputShape: readonly number[],
    private readonly arena: Arena,
  ) {
    this.chain = new Chain("Sequential", layers);
  }

  /**
   * Checks that the layers fit each other and the samples, allocates their parameters, and initialises these from `seed`.
   *
   * @throws ShapeError naming the layer that does not fit, TenfoldError where an argument is unfit
   */
  static async create(engine: Engine, layers: readonly Layer[], options: SequentialOptions): Promise<Sequential> {
    assertEngine("Sequential.create", engine);
    assertLayers("Sequential.create", layers);
    checkOptions("Sequential.create", options, sequentialRules);
    const { inputShape, seed = 0 } = options;
    const chain = new Chain("Sequential", layers);
    chain.outputShape(inputShape);
    flatLayers(layers).forEach((layer, index) => {
      if (layer instanceof Dropout) layer.stream = index;
    });
    return new Sequential(
      engine,
      layers,
      inputShape,
      await allocateParameters(engine, chain.parameters, seed, chain.state),
    );
  }

  get parameters(): readonly Parameter[] {
    return this.chain.parameters;
  }

  /** All parameters in one tensor, with gaps that stay 0. */
  get weights(): Tensor {
    return this.arena.values;
  }

  /** The gradients of all parameters in one tensor, laid out as `weights`. */
  get gradients(): Tensor {
    return this.arena.gradients;
  }

  /** Shape of one sample's output. */
  get outputShape(): number[] {
    return this.chain.outputShape(this.inputShape);
  }

  /** One sample's shape before every layer and after the last. */
  shapes(): number[][] {
    return this.chain.shapes(this.inputShape);
  }

  /** Elements of a sample's largest activation, its input not counted. */
  get widest(): number {
    const sizes = this.shapes().map((shape) => shape.reduce((a, b) => a * b, 1));
    return Math.max(1, ...sizes.slice(1));
  }

  /** Stored numbers of every layer, and its multiplications for one sample. */
  counts(): (Counts & { name: string })[] {
    return this.chain.layerCounts(this.inputShape);
  }

  /** Number of values that training changes, biases included. */
  get parameterCount(): number {
    const { weights, biases } = this.chain.counts(this.inputShape);
    return weights + biases;
  }

  /**
   * Records the network on `x`, batch×sample shape, and returns the outputs. Outside training an activation is freed once the
   * next layer has used it.
   *
   * @throws ShapeError where the samples have another shape
   */
  forward(s: Scheduler, x: Tensor, pass: Pass = { training: false }): Tensor {
    if (formatShape(x.shape.slice(1)) !== formatShape(this.inputShape))
      throw new ShapeError(`Sequential: ${x}, expected samples of shape ${formatShape(this.inputShape)}`);
    return this.chain.forward(s, x, pass);
  }

  /**
   * Records the gradients of all parameters, from the gradient `dy` of the outputs. Frees the activations of the forward pass,
   * and `dy`.
   *
   * @returns the gradient of the inputs; null unless `inputGradient` is true
   */
  backward(s: Scheduler, dy: Tensor, { inputGradient = false }: { inputGradient?: boolean } = {}): Tensor | null {
    return this.chain.backward(s, dy, { inputGradient });
  }

  /** Frees the parameters and their gradients. */
  destroy(): void {
    this.arena.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
