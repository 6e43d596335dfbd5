import {
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import { type Activation, sum } from "../ops/index.js";
import { Activated } from "./activated.js";
import { type BackwardOptions, type Counts, type Layer, Parameter, type Pass } from "./layer.js";
import { layerRules } from "./layerRules.js";
import { type NormalStart, startRecorders } from "./startValues.js";

/** What the options of all convolutions have. */
interface ChannelOptions {
  inputs: number;
  outputs: number;
  groups?: number | undefined;
  bias?: boolean | Float32Array;
  weight?: Float32Array | undefined;
  activation?: Activation;
  start?: "uniform" | "he" | NormalStart;
}

/** Rules of the options that all convolutions have. */
export const convolutionRules: Required<OptionRules<Omit<ChannelOptions, "groups">>> = {
  inputs: required(optionRules.positive),
  outputs: required(optionRules.positive),
  bias: layerRules.bias,
  weight: layerRules.values,
  activation: layerRules.activation,
  start: layerRules.start,
};

/** Rules of the options that convolutions with groups have. */
export const groupedRules = { ...convolutionRules, groups: optionRules.positive };

/** The gradient of a bias: the sums of `dy`, batch×channels×…, over batch and positions. */
export function convolutionBiasGradient(s: Scheduler, dy: Tensor, out: Tensor): void {
  const [batch, channels] = dy.shape as [number, number];
  const planes = sum(s, dy.reshape([batch * channels, -1]), { axis: 1 });
  sum(s, planes.reshape([batch, channels]), { axis: 0, out });
  s.release(planes);
}

/**
 * A convolution with a weight outputs×(inputs/groups)×kernel, or, where it is transposed, inputs×(outputs/groups)×kernel, then bias and activation:
 * what is the same for kernels of one, two and three extents.
 */
export abstract class ConvolutionLayer implements Layer {
  readonly name: string;
  readonly inputs: number;
  readonly outputs: number;
  readonly groups: number;
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly activation: Activation;
  readonly #activated: Activated;
  #input: Tensor | null = null;

  constructor(
    kind: string,
    { inputs, outputs, groups = 1, bias = true, activation = "none", start = "uniform", weight }: ChannelOptions,
    kernel: readonly number[],
    { isTransposed = false } = {},
  ) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.groups = groups;
    this.activation = activation;
    this.#activated = new Activated(activation);
    this.name = `${kind} ${inputs}→${outputs}, ${formatShape(kernel)}${groups > 1 ? `, ${groups} groups` : ""}`;
    if (inputs % groups || outputs % groups)
      throw new ShapeError(`${this.name}: groups must divide ${inputs} inputs and ${outputs} outputs`);
    const [rows, columns] = isTransposed ? [inputs, outputs / groups] : [outputs, inputs / groups];
    const random = startRecorders(columns * sizeOf(kernel), start);
    this.weight = new Parameter("weight", [rows, columns, ...kernel], weight ?? random.weight);
    this.bias = bias ? new Parameter("bias", [outputs], bias === true ? random.bias : bias) : null;
  }

  get parameters(): readonly Parameter[] {
    return this.bias ? [this.weight, this.bias] : [this.weight];
  }

  abstract outputShape(input: readonly number[]): number[];
  abstract forward(s: Scheduler, x: Tensor, pass: Pass): Tensor;
  abstract backward(s: Scheduler, dy: Tensor, options: BackwardOptions): Tensor | null;

  /** Records the product of `x` and its activation; a backward pass that follows has `x` as its input. */
  protected activated(
    s: Scheduler,
    x: Tensor,
    { training }: Pass,
    product: Parameters<Activated["forward"]>[2],
  ): Tensor {
    if (training) this.#input = x;
    return this.#activated.forward(s, training, product);
  }

  /** Records the gradients that are wanted, from that of the product and from the input of the pass before. */
  protected gradients(
    s: Scheduler,
    dy: Tensor,
    { inputGradient, weightGradients = true }: BackwardOptions,
    recordWeight: (dz: Tensor, x: Tensor) => void,
    recordInput: (dz: Tensor, x: Tensor) => Tensor,
  ): Tensor | null {
    return this.#activated.backward(s, dy, (dz) => {
      if (weightGradients) {
        if (this.bias) convolutionBiasGradient(s, dz, this.bias.gradient);
        recordWeight(dz, this.#input!);
      }
      return inputGradient ? recordInput(dz, this.#input!) : null;
    });
  }

  /** Places at which the whole weight is multiplied: those of the output. */
  protected positions(input: readonly number[]): number {
    return sizeOf(this.outputShape(input).slice(1));
  }

  /** The weight's entries, and as many multiplications for each of the positions. */
  counts(input: readonly number[]): Counts {
    const weights = sizeOf(this.weight.shape);
    const multiplications = weights * this.positions(input);
    return { weights, biases: this.bias ? this.outputs : 0, multiplications };
  }
}
