import { formatShape, type Scheduler, ShapeError, type Tensor } from "../../gpu/index.js";
import { type Activation, add, addRelu, fill, map, reluBackward, sum, uniform } from "../../ops/index.js";
import { type Counts, type Layer, Parameter, type Pass } from "../layer.js";
import { Linear } from "../layers.js";
import { biasBoundOf, type FactorisedOptions } from "./source.js";

/**
 * What dense layers have in common whose weight is never formed: bias, activation, shapes. A subclass contracts the input
 * with its factors and takes the gradient back through them.
 */
export abstract class FactorisedDense implements Layer {
  abstract readonly name: string;
  readonly bias: Parameter | null;
  readonly activation: Activation;
  #output: Tensor | null = null;

  constructor(
    readonly inputs: number,
    readonly outputs: number,
    { bias = true, activation = "none", start = "uniform" }: FactorisedOptions,
  ) {
    this.activation = activation;
    const bound = biasBoundOf(start, inputs);
    const initialize = (s: Scheduler, out: Tensor, seed: number): void => {
      if (bound) uniform(s, out.shape, { seed, low: -bound, high: bound, out });
      else fill(s, out, 0);
    };
    this.bias = bias ? new Parameter("bias", [outputs], bias === true ? initialize : bias) : null;
  }

  /** without the bias */
  abstract readonly factors: readonly Parameter[];

  get parameters(): readonly Parameter[] {
    return this.bias ? [...this.factors, this.bias] : this.factors;
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== 1 || input[0] !== this.inputs)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)}, expected ${this.inputs}`);
    return [this.outputs];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    const y = this.contract(s, x, training);
    if (training) this.#output = y;
    return y;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const before = this.activation === "relu" ? reluBackward(s, this.#output!, dy) : dy;
    if (this.bias) sum(s, before, { axis: 0, out: this.bias.gradient });
    const dx = this.contractBackward(s, before, inputGradient);
    if (before !== dy) s.release(before);
    return dx;
  }

  /** activation(x·W + b), batch×outputs, by way of {@link finish} or with the epilogue of a product. */
  protected abstract contract(s: Scheduler, x: Tensor, training: boolean): Tensor;

  /** The factors' gradients, and the input's where it is asked for, from that before the activation. */
  protected abstract contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null;

  /** Adds bias and activation to x·W; frees it where something was to do. */
  protected finish(s: Scheduler, product: Tensor): Tensor {
    const z = product.reshape([-1, this.outputs]);
    const { bias, activation } = this;
    if (!bias && activation === "none") return z;
    const y = bias ? (activation === "relu" ? addRelu : add)(s, z, bias.value) : map(s, z, "relu");
    s.release(z);
    return y;
  }

  counts(): Counts {
    const weights = this.factors.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0);
    return { weights, biases: this.bias ? this.outputs : 0, multiplications: this.multiplications };
  }

  /** for one sample */
  abstract readonly multiplications: number;

  /** The dense weight that it stands for, outputs×inputs. */
  abstract toDense(): Promise<Float32Array>;

  /**
   * A plain dense layer of the same outputs, its weight put together once and for all: for a network that is trained no
   * further, where a forward pass would merge cores for every batch.
   */
  async toLinear(): Promise<Linear> {
    const { inputs, outputs, activation } = this;
    const bias = (await this.bias?.read()) ?? false;
    return new Linear(inputs, outputs, { weight: await this.toDense(), bias, activation });
  }
}
