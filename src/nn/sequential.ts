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

/** Every layer, those inside chains too, in order. */
export function flatLayers(layers: readonly Layer[]): Layer[] {
  return layers.flatMap((layer) => (layer instanceof Chain ? flatLayers(layer.layers) : [layer]));
}

export interface SequentialOptions {
  /** of one sample */
  inputShape: readonly number[];
  /** of the start values, 0 by default */
  seed?: number;
}

const sequentialRules: OptionRules<SequentialOptions> = {
  inputShape: required(optionRules.shape),
  seed: optionRules.count,
};

/** Throws unless these are layers, by the place of what is none. */
function assertLayers(operation: string, layers: readonly Layer[]): void {
  if (!Array.isArray(layers))
    throw new TenfoldError(`${operation}: layers are ${shown(layers)}, needs a list of layers`);
  for (const [index, layer] of layers.entries()) {
    if (["forward", "backward", "outputShape", "counts"].every((name) => typeof layer?.[name] === "function")) continue;
    const advice = typeof layer === "function" ? `; new ${layer.name || "Layer"}(…) makes one` : "";
    throw new TenfoldError(`${operation}: layers[${index}] is ${shown(layer)}, needs a layer${advice}`);
  }
}

/** Layers one after the other, their parameters in one arena: a network. */
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
   * Checks that the layers fit each other and the samples, allocates their parameters and starts them from `seed`.
   *
   * @throws ShapeError naming the layer that does not fit
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

  /** Their gradients, laid out alike. */
  get gradients(): Tensor {
    return this.arena.gradients;
  }

  get outputShape(): number[] {
    return this.chain.outputShape(this.inputShape);
  }

  /** One sample's shape before every layer and after the last. */
  shapes(): number[][] {
    return this.chain.shapes(this.inputShape);
  }

  /** Elements of the largest activation of a sample, the input apart. */
  get widest(): number {
    const sizes = this.shapes().map((shape) => shape.reduce((a, b) => a * b, 1));
    return Math.max(1, ...sizes.slice(1));
  }

  /** Stored numbers and multiplications a sample, layer by layer. */
  counts(): (Counts & { name: string })[] {
    return this.chain.layerCounts(this.inputShape);
  }

  /** Numbers that training changes, biases included. */
  get parameterCount(): number {
    const { weights, biases } = this.chain.counts(this.inputShape);
    return weights + biases;
  }

  /** Records the network on a batch (batch×sample shape). Outside training, activations are freed as soon as they are used. */
  forward(s: Scheduler, x: Tensor, pass: Pass = { training: false }): Tensor {
    if (formatShape(x.shape.slice(1)) !== formatShape(this.inputShape))
      throw new ShapeError(`Sequential: ${x}, expected samples of shape ${formatShape(this.inputShape)}`);
    return this.chain.forward(s, x, pass);
  }

  /**
   * Records the gradients of all parameters from that of the output, and frees the activations of the forward pass.
   * `dy` is freed too.
   */
  backward(s: Scheduler, dy: Tensor, { inputGradient = false }: { inputGradient?: boolean } = {}): Tensor | null {
    return this.chain.backward(s, dy, { inputGradient });
  }

  destroy(): void {
    this.arena.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
