import { type Engine, formatShape, type Scheduler, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";

/** A trainable tensor of a layer and its gradient. A network puts both into arenas, so that an optimiser is one dispatch. */
export class Parameter {
  #tensors: { value: Tensor; gradient: Tensor } | null = null;

  constructor(
    readonly name: string,
    readonly shape: readonly number[],
    /** records the start values, or has them */
    public start: ((s: Scheduler, out: Tensor, seed: number) => void) | Float32Array,
  ) {
    const size = shape.reduce((a, b) => a * b, 1);
    if (start instanceof Float32Array && start.length !== size)
      throw new ShapeError(`${name}: ${start.length} start values, needs ${size} (${formatShape(shape)})`);
  }

  /** @internal Gives the parameter its place. */
  place(value: Tensor, gradient: Tensor): void {
    this.#tensors = { value, gradient };
  }

  get value(): Tensor {
    return this.#placed.value;
  }

  get gradient(): Tensor {
    return this.#placed.gradient;
  }

  /** The values as they are: on the GPU, or, before the layer belongs to a network, those it will start from. */
  async read(): Promise<Float32Array> {
    if (!this.#tensors && this.start instanceof Float32Array) return this.start.slice();
    return (await this.value.read()) as Float32Array;
  }

  get #placed(): { value: Tensor; gradient: Tensor } {
    if (!this.#tensors)
      throw new TenfoldError(`${this.name}: the layer belongs to no network yet; see Sequential.create`);
    return this.#tensors;
  }
}

/** What a forward pass is for. */
export interface Pass {
  /** dropout drops, and layers remember what their backward pass needs */
  training: boolean;
  /** [step in the epoch, epoch, steps so far], u32; needed for training with dropout */
  state?: Tensor;
  seed?: number;
}

/** Stored numbers and multiplications, as the literature counts them. */
export interface Counts {
  /** of weights, without biases */
  weights: number;
  biases: number;
  /** for one sample */
  multiplications: number;
}

/**
 * A layer: parameters, forward and backward. Both record onto a scheduler; `backward` follows the `forward` recorded last
 * and writes (does not add to) the parameters' gradients.
 */
export interface Layer {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  /** numbers that training moves without a gradient; they are saved with the parameters */
  readonly state?: readonly Parameter[];
  /** shape of one sample's output; throws where the input does not fit */
  outputShape(input: readonly number[]): number[];
  /** `x` is batch×…; the result is a temporary of the schedule, or a view of `x` */
  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor;
  /** from the output's gradient the input's; null where it is not asked for */
  backward(s: Scheduler, dy: Tensor, options: { inputGradient: boolean }): Tensor | null;
  counts(input: readonly number[]): Counts;
}

/** Parameters placed in two arenas, each parameter at an offset that can be bound on its own. */
export interface Arena {
  values: Tensor;
  gradients: Tensor;
  destroy(): void;
}

/** Allocates, places and initialises the parameters of layers. The same seed gives the same start on every adapter. */
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
