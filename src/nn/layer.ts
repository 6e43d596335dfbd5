import { type Engine, formatShape, type Scheduler, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";

/**
 * A trainable tensor of a layer, and its gradient. A network places all values in one tensor and all gradients in another, so
 * that an optimiser's step is one dispatch.
 */
export class Parameter {
  #tensors: { value: Tensor; gradient: Tensor } | null = null;

  constructor(
    readonly name: string,
    readonly shape: readonly number[],
    /** the start values, or what records them */
    public start: ((s: Scheduler, out: Tensor, seed: number) => void) | Float32Array,
  ) {
    const size = shape.reduce((a, b) => a * b, 1);
    if (start instanceof Float32Array && start.length !== size)
      throw new ShapeError(`${name}: ${start.length} start values, needs ${size} (${formatShape(shape)})`);
  }

  /** @internal Says where the value and the gradient lie. */
  place(value: Tensor, gradient: Tensor): void {
    this.#tensors = { value, gradient };
  }

  get value(): Tensor {
    return this.#placed.value;
  }

  get gradient(): Tensor {
    return this.#placed.gradient;
  }

  /**
   * The values, read back from the GPU. Before the layer belongs to a network, the start values that it was made with.
   *
   * @throws TenfoldError where the layer belongs to no network and its start values are random
   */
  async read(): Promise<Float32Array> {
    if (!this.#tensors && this.start instanceof Float32Array) return this.start.slice();
    return await this.value.read();
  }

  get #placed(): { value: Tensor; gradient: Tensor } {
    if (!this.#tensors)
      throw new TenfoldError(`${this.name}: the layer belongs to no network yet; Sequential.create puts it into one`);
    return this.#tensors;
  }
}

/** What a forward pass is for. */
export interface Pass {
  /** true: dropout drops elements, and layers remember what their backward pass needs */
  training: boolean;
  /** [step in the epoch, epoch, steps so far], u32; needed for training with dropout */
  state?: Tensor<"u32">;
  /** seed of dropout, 0 by default */
  seed?: number;
}

/** Stored numbers and multiplications, as the literature counts them. */
export interface Counts {
  /** stored numbers without the biases */
  weights: number;
  biases: number;
  /** multiplications of a forward pass for one sample */
  multiplications: number;
}

/** What a backward pass is for. */
export interface BackwardOptions {
  /** whether the gradient of the layer's input is wanted */
  inputGradient: boolean;
  /**
   * true by default; false: the parameters' gradients are not wanted, and what they hold afterwards is not defined. Convolutions and `Linear`,
   * where they cost most, leave them out.
   */
  weightGradients?: boolean | undefined;
}

/**
 * A layer of a network. `forward` and `backward` record onto a scheduler. `backward` belongs to the training pass recorded
 * last; it overwrites the parameters' gradients and does not add to them.
 */
export interface Layer {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  /** numbers that training moves without a gradient; they are saved with the parameters */
  readonly state?: readonly Parameter[];
  /**
   * Shape of one sample's output, from the shape of one sample.
   *
   * @throws ShapeError where the sample does not fit
   */
  outputShape(input: readonly number[]): number[];
  /** Outputs batch×… of inputs `x`, batch×…: a temporary of the schedule, or a view of `x`. */
  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor;
  /** Takes the output's gradient and gives the input's, which is null where `inputGradient` is false. */
  backward(s: Scheduler, dy: Tensor, options: BackwardOptions): Tensor | null;
  /** For one sample of this shape. */
  counts(input: readonly number[]): Counts;
}

/** The values of all parameters in one tensor, their gradients in another. Every parameter starts where a binding may start. */
export interface Arena {
  values: Tensor;
  gradients: Tensor;
  destroy(): void;
}

/**
 * Allocates, places and initialises the parameters of layers. The same seed gives the same start values on every adapter.
 *
 * @param state parameters without a gradient, one tensor each
 */
export async function allocateParameters(
  engine: Engine,
  parameters: readonly Parameter[],
  seed: number,
  state: readonly Parameter[] = [],
): Promise<Arena> {
  const step = engine.device.limits.minStorageBufferOffsetAlignment / 4;
  const offsets: number[] = [];
  let end = 0;
  for (const { shape } of parameters) {
    offsets.push(end);
    end += Math.ceil(shape.reduce((a, b) => a * b, 1) / step) * step;
  }
  const values = engine.tensor([Math.max(end, 1)], null, { label: "weights" });
  const gradients = engine.tensor([Math.max(end, 1)], null, { label: "gradients" });
  parameters.forEach((parameter, index) => {
    const size = parameter.shape.reduce((a, b) => a * b, 1);
    const view = (arena: Tensor): Tensor =>
      arena.rows(offsets[index]!, offsets[index]! + size).reshape(parameter.shape);
    parameter.place(view(values), view(gradients));
  });
  const states = state.map((parameter) => {
    const value = engine.tensor(parameter.shape, null, { label: parameter.name });
    parameter.place(value, value);
    return value;
  });
  const all = [...parameters, ...state];
  for (const { start, value } of all) if (start instanceof Float32Array) value.write(start);
  if (all.some(({ start }) => typeof start === "function"))
    await engine.run((s) => {
      all.forEach(({ start, value }, index) => {
        if (typeof start === "function") start(s, value, seed * 1000 + index);
      });
    }, "initialize parameters");
  return {
    values,
    gradients,
    destroy() {
      values.destroy();
      gradients.destroy();
      for (const value of states) value.destroy();
    },
  };
}
