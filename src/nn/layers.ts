import {
  checkOption,
  checkOptions,
  formatShape,
  type OptionRules,
  optionRules,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import { type Activation, activate, activationGradient, dropout, isFromOutput, matmul, sum } from "../ops/index.js";
import { Activated } from "./activated.js";
import { type BackwardOptions, type Counts, type Layer, Parameter, type Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";
import { type NormalStart, startRecorders } from "./startValues.js";

const NO_WEIGHTS: Counts = { weights: 0, biases: 0, multiplications: 0 };

export interface LinearOptions {
  /** whether the layer has a bias (true by default), or the bias' start values, one an output */
  bias?: boolean | Float32Array;
  /** start values, outputs×inputs; random ones by default */
  weight?: Float32Array | undefined;
  /** applied in the same kernel as the product */
  activation?: Activation;
  /**
   * `uniform` (the default, as in PyTorch): weights and bias uniform on ±1/√inputs. `he`: weights normal with variance
   * 2/inputs (He, Zhang, Ren & Sun 2015), bias 0. Or a normal start with the spreads that it names
   */
  start?: "uniform" | "he" | NormalStart;
}

const linearRules: OptionRules<LinearOptions> = {
  bias: layerRules.bias,
  weight: layerRules.values,
  activation: layerRules.activation,
  start: layerRules.start,
};

/**
 * y = activation(x·Wᵀ + b) with W outputs×inputs, the layout of PyTorch and of safetensors files.
 *
 * @throws TenfoldError where an extent or option is unfit
 */
export class Linear implements Layer {
  readonly name: string;
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly activation: Activation;
  readonly #activated: Activated;
  #input: Tensor | null = null;

  constructor(
    readonly inputs: number,
    readonly outputs: number,
    options: LinearOptions = {},
  ) {
    checkOption("Linear", "inputs", inputs, optionRules.positive);
    checkOption("Linear", "outputs", outputs, optionRules.positive);
    checkOptions("Linear", options, linearRules);
    const { bias = true, weight, activation = "none", start = "uniform" } = options;
    this.name = `Linear ${inputs}→${outputs}`;
    this.activation = activation;
    this.#activated = new Activated(activation);
    const random = startRecorders(inputs, start);
    this.weight = new Parameter("weight", [outputs, inputs], weight ?? random.weight);
    this.bias = bias ? new Parameter("bias", [outputs], bias === true ? random.bias : bias) : null;
  }

  get parameters(): readonly Parameter[] {
    return this.bias ? [this.weight, this.bias] : [this.weight];
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== 1 || input[0] !== this.inputs)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)}, expected ${this.inputs}`);
    return [this.outputs];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    if (training) this.#input = x;
    return this.#activated.forward(s, training, (activation) =>
      matmul(s, x, this.weight.value, { transposeB: true, bias: this.bias?.value, activation }),
    );
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient, weightGradients = true }: BackwardOptions): Tensor | null {
    return this.#activated.backward(s, dy, (dz) => {
      if (weightGradients) {
        matmul(s, dz, this.#input!, { transposeA: true, out: this.weight.gradient });
        if (this.bias) sum(s, dz, { axis: 0, out: this.bias.gradient });
      }
      return inputGradient ? matmul(s, dz, this.weight.value) : null;
    });
  }

  counts(): Counts {
    const weights = this.inputs * this.outputs;
    return { weights, biases: this.bias ? this.outputs : 0, multiplications: weights };
  }
}

export const linearKind = /* @__PURE__ */ layerKind(
  "linear",
  Linear,
  ({ inputs, outputs, bias, activation }) => ({ inputs, outputs, bias: bias !== null, activation }),
  (f) => new Linear(f.count("inputs"), f.count("outputs"), f.output()),
);

/** An activation by itself: of the output of a join, say. Layers with weights have theirs as an option. */
export class Activate implements Layer {
  readonly name: string;
  readonly parameters = [];
  #saved: Tensor | null = null;

  /** @param options.slope the slope of `leakyRelu` below 0, above 0 itself; 0.01 by default */
  constructor(
    readonly activation: Activation,
    private readonly options: { slope?: number } = {},
  ) {
    checkOption("Activate", "activation", activation, layerRules.activation);
    checkOptions("Activate", options, { slope: optionRules.aboveZero });
    this.name = activation === "relu" ? "ReLU" : `Activate ${activation}`;
  }

  /** the slope of `leakyRelu` below 0 */
  get slope(): number {
    return this.options.slope ?? 0.01;
  }

  outputShape(input: readonly number[]): number[] {
    return [...input];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    const { activation, options } = this;
    const y = activate(s, x, activation, options);
    if (training) this.#saved = isFromOutput(activation) ? y : x;
    return y;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const { activation, options } = this;
    return inputGradient ? activationGradient(s, this.#saved!, dy, activation, options) : null;
  }

  counts(): Counts {
    return NO_WEIGHTS;
  }
}

export const activateKind = /* @__PURE__ */ layerKind(
  "activate",
  Activate,
  ({ activation, slope }) => ({ activation, slope }),
  (f) => new Activate(f.activation(), { slope: f.atLeastZero("slope") }),
);

/** max(x, 0), element by element. */
export class ReLU extends Activate {
  constructor() {
    super("relu");
  }
}

export const reluKind = /* @__PURE__ */ layerKind(
  "relu",
  ReLU,
  () => ({}),
  () => new ReLU(),
);

/**
 * Inverted dropout (Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014). In training an element becomes 0 with
 * probability `rate` and is divided by 1 − rate otherwise; outside training it stays as it is.
 *
 * @throws ShapeError unless 0 ≤ rate < 1
 */
export class Dropout implements Layer {
  readonly name: string;
  readonly parameters = [];
  /** number of the stream of random numbers; a network gives every dropout layer another one */
  stream = 0;
  #pass: Pass | null = null;

  constructor(readonly rate: number) {
    if (!(rate >= 0 && rate < 1)) throw new ShapeError(`Dropout: rate ${rate}, needs 0 ≤ rate < 1`);
    this.name = `Dropout ${rate}`;
  }

  outputShape(input: readonly number[]): number[] {
    return [...input];
  }

  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    this.#pass = pass;
    return pass.training && this.rate > 0 ? this.#drop(s, x, pass) : x;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    if (!inputGradient) return null;
    return this.rate > 0 ? this.#drop(s, dy, this.#pass!) : dy;
  }

  #drop(s: Scheduler, x: Tensor, { state, seed = 0 }: Pass): Tensor {
    if (!state) throw new ShapeError(`${this.name}: a training pass needs \`state\`, the tensor that counts the steps`);
    return dropout(s, x, { rate: this.rate, seed, stream: this.stream, state });
  }

  counts(): Counts {
    return NO_WEIGHTS;
  }
}

export const dropoutKind = /* @__PURE__ */ layerKind(
  "dropout",
  Dropout,
  ({ rate }) => ({ rate }),
  (f) => new Dropout(f.rate("rate")),
);

/** Joins the modes of a sample into one mode. The output is a view: nothing is copied. */
export class Flatten implements Layer {
  readonly name = "Flatten";
  readonly parameters = [];
  #shape: readonly number[] = [];

  outputShape(input: readonly number[]): number[] {
    return [input.reduce((a, b) => a * b, 1)];
  }

  forward(_: Scheduler, x: Tensor): Tensor {
    this.#shape = x.shape;
    return x.reshape([x.shape[0]!, -1]);
  }

  backward(_: Scheduler, dy: Tensor): Tensor {
    return dy.reshape(this.#shape);
  }

  counts(): Counts {
    return NO_WEIGHTS;
  }
}

export const flattenKind = /* @__PURE__ */ layerKind(
  "flatten",
  Flatten,
  () => ({}),
  () => new Flatten(),
);
