import { dispose, type Engine, formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { type Arena, allocateParameters, type Counts, type Layer, type Parameter, type Pass } from "./layer.js";
import { Dropout } from "./layers.js";

/** Releases temporaries once each, whatever views of them there are; tensors of others are left alone. */
export function releaseTemporaries(
  s: Scheduler,
  tensors: readonly (Tensor | null)[],
  keep: readonly Tensor[] = [],
): void {
  const kept = new Set(keep.map(({ storage }) => storage));
  for (const tensor of tensors) {
    if (tensor && tensor.storage.owner === "schedule" && tensor.storage.alive && !kept.has(tensor.storage))
      s.release(tensor);
  }
}

/** Layers one after the other, their parameters in one arena. */
export class Sequential {
  /** input of every layer and the output of the last, of the forward pass recorded last in training */
  #activations: Tensor[] = [];

  private constructor(
    readonly engine: Engine,
    readonly layers: readonly Layer[],
    /** shape of one sample */
    readonly inputShape: readonly number[],
    private readonly arena: Arena,
  ) {}

  /**
   * Checks that the layers fit each other and the samples, allocates their parameters and starts them from `seed`.
   *
   * @throws ShapeError naming the layer that does not fit
   */
  static async create(
    engine: Engine,
    layers: readonly Layer[],
    { inputShape, seed = 0 }: { inputShape: readonly number[]; seed?: number },
  ): Promise<Sequential> {
    let shape: readonly number[] = inputShape;
    layers.forEach((layer, index) => {
      try {
        shape = layer.outputShape(shape);
      } catch (error) {
        throw new ShapeError(`Sequential: layer ${index}: ${(error as Error).message}`);
      }
      if (layer instanceof Dropout) layer.stream = index;
    });
    const parameters = layers.flatMap((layer) => layer.parameters);
    return new Sequential(engine, layers, inputShape, await allocateParameters(engine, parameters, seed));
  }

  get parameters(): Parameter[] {
    return this.layers.flatMap((layer) => layer.parameters);
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
    return this.layers.reduce<number[]>((shape, layer) => layer.outputShape(shape), [...this.inputShape]);
  }

  /** Elements of the largest activation of a sample, the input apart. */
  get widest(): number {
    let shape: readonly number[] = this.inputShape;
    return this.layers.reduce((most, layer) => {
      shape = layer.outputShape(shape);
      return Math.max(
        most,
        shape.reduce((a, b) => a * b, 1),
      );
    }, 1);
  }

  /** Stored numbers and multiplications a sample, layer by layer. */
  counts(): (Counts & { name: string })[] {
    let shape: readonly number[] = this.inputShape;
    return this.layers.map((layer) => {
      const counts = layer.counts(shape);
      shape = layer.outputShape(shape);
      return { name: layer.name, ...counts };
    });
  }

  /** Numbers that training changes, biases included. */
  get parameterCount(): number {
    return this.counts().reduce((sum, { weights, biases }) => sum + weights + biases, 0);
  }

  /** Records the network on a batch (batch×sample shape). Outside training, activations are freed as soon as they are used. */
  forward(s: Scheduler, x: Tensor, pass: Pass = { training: false }): Tensor {
    if (formatShape(x.shape.slice(1)) !== formatShape(this.inputShape))
      throw new ShapeError(`Sequential: ${x}, expected samples of shape ${formatShape(this.inputShape)}`);
    const activations = [x];
    this.layers.forEach((layer, index) => {
      const input = activations.at(-1)!;
      const output = s.group(`${index} ${layer.name}`, () => layer.forward(s, input, pass));
      activations.push(output);
      if (!pass.training) releaseTemporaries(s, [input], [x, output]);
    });
    if (pass.training) this.#activations = activations;
    return activations.at(-1)!;
  }

  /**
   * Records the gradients of all parameters from that of the output, and frees the activations of the forward pass.
   * `dy` is freed too.
   */
  backward(s: Scheduler, dy: Tensor, { inputGradient = false }: { inputGradient?: boolean } = {}): Tensor | null {
    let gradient: Tensor | null = dy;
    const firstTrained = this.layers.findIndex((layer) => layer.parameters.length > 0);
    for (let index = this.layers.length - 1; index >= 0 && gradient; index--) {
      const layer = this.layers[index]!;
      const given: Tensor = gradient;
      const wanted = inputGradient || index > firstTrained;
      gradient = s.group(`${index} ${layer.name} backward`, () => layer.backward(s, given, { inputGradient: wanted }));
      const kept = [this.#activations[index]!, ...this.#activations.slice(0, index)];
      if (gradient) kept.push(gradient);
      releaseTemporaries(s, [given, this.#activations[index + 1]!], kept);
      if (!wanted) gradient = null;
    }
    releaseTemporaries(
      s,
      this.#activations.slice(1),
      gradient ? [gradient, this.#activations[0]!] : [this.#activations[0]!],
    );
    this.#activations = [];
    return gradient;
  }

  destroy(): void {
    this.arena.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
