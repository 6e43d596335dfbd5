import { formatShape, type Scheduler, ShapeError, type Tensor } from "../../gpu/index.js";
import { type Activation, add, addRelu, type Epilogue, map, sum } from "../../ops/index.js";
import { Activated } from "../activated.js";
import { type Counts, type Layer, Parameter, type Pass } from "../layer.js";
import { Linear } from "../layers.js";
import { uniformValues } from "../startValues.js";
import { biasBoundOf, type FactorisedOptions, product } from "./source.js";

/**
 * A dense layer that holds factors in place of its weight. This class has the bias, the activation and the shapes. A subclass
 * contracts the input with its factors, and takes the gradient back through them.
 */
export abstract class FactorisedDense implements Layer {
  abstract readonly name: string;
  readonly bias: Parameter | null;
  readonly activation: Activation;
  readonly #activated: Activated;

  constructor(
    readonly inputs: number,
    readonly outputs: number,
    { bias = true, activation = "none", start = "uniform" }: FactorisedOptions,
  ) {
    this.activation = activation;
    this.#activated = new Activated(activation);
    const random = uniformValues(biasBoundOf(start, inputs));
    this.bias = bias ? new Parameter("bias", [outputs], bias === true ? random : bias) : null;
  }

  /** all parameters but the bias */
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
    return this.#activated.forward(s, training, (epilogue) => this.contract(s, x, training, epilogue));
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    return this.#activated.backward(s, dy, (dz) => {
      if (this.bias) sum(s, dz, { axis: 0, out: this.bias.gradient });
      return this.contractBackward(s, dz, inputGradient);
    });
  }

  /** activation(x·W + b), batch×outputs. Bias and activation come from {@link finish}, or from the last product's epilogue. */
  protected abstract contract(s: Scheduler, x: Tensor, training: boolean, epilogue: Epilogue): Tensor;

  /**
   * Writes the factors' gradients.
   *
   * @param dz the gradient of x·W + b
   * @returns the gradient of x, or null unless `inputGradient`
   */
  protected abstract contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null;

  /** activation(output + b), batch×outputs, of `output` = x·W. Releases `output`, unless there is neither bias nor activation. */
  protected finish(s: Scheduler, output: Tensor, epilogue: Epilogue): Tensor {
    const z = output.reshape([-1, this.outputs]);
    const { bias } = this;
    if (!bias && epilogue === "none") return z;
    const y = bias ? (epilogue === "relu" ? addRelu : add)(s, z, bias.value) : map(s, z, "relu");
    s.release(z);
    return y;
  }

  counts(): Counts {
    const weights = this.factors.reduce((total, { shape }) => total + product(shape), 0);
    return { weights, biases: this.bias ? this.outputs : 0, multiplications: this.multiplications };
  }

  /** multiplications of a forward pass for one sample */
  abstract readonly multiplications: number;

  /** The dense weight that the factors stand for, outputs×inputs. */
  abstract toDense(): Promise<Float32Array>;

  /**
   * A `Linear` with the same outputs, whose weight is put together once. It suits a network that is trained no further: a
   * forward pass of the factorised layer may merge its cores again for every batch.
   */
  async toLinear(): Promise<Linear> {
    const { inputs, outputs, activation } = this;
    const bias = (await this.bias?.read()) ?? false;
    return new Linear(inputs, outputs, { weight: await this.toDense(), bias, activation });
  }
}
