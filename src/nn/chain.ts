import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import type { Counts, Layer, Parameter, Pass } from "./layer.js";

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

/** Layers one after the other, as one layer: what a factorised layer and a whole network are. */
export class Chain implements Layer {
  /** input of every layer and the output of the last, of the forward pass recorded last in training */
  #activations: Tensor[] = [];

  constructor(
    readonly name: string,
    readonly layers: readonly Layer[],
  ) {}

  get parameters(): readonly Parameter[] {
    return this.layers.flatMap((layer) => layer.parameters);
  }

  get state(): readonly Parameter[] {
    return this.layers.flatMap((layer) => layer.state ?? []);
  }

  /** @throws ShapeError naming the layer that does not fit */
  outputShape(input: readonly number[]): number[] {
    return this.shapes(input).at(-1)!;
  }

  /** One sample's shape before every layer and after the last. */
  shapes(input: readonly number[]): number[][] {
    const shapes = [[...input]];
    this.layers.forEach((layer, index) => {
      try {
        const [before, after] = [shapes[index]!, layer.outputShape(shapes[index]!)];
        if (!after.every((extent) => Number.isSafeInteger(extent) && extent >= 1))
          throw new ShapeError(
            `${layer.name}: samples of shape ${formatShape(before)} would become ${formatShape(after)}, every extent must be a positive whole number; change what the layer is made from, or what comes before it`,
          );
        shapes.push(after);
      } catch (error) {
        throw new ShapeError(`${this.name}: layer ${index}: ${(error as Error).message}`);
      }
    });
    return shapes;
  }

  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
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

  /** Frees the activations of the forward pass, and `dy` too. */
  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    let gradient: Tensor | null = dy;
    const activations = this.#activations;
    const firstTrained = this.layers.findIndex((layer) => layer.parameters.length > 0);
    for (let index = this.layers.length - 1; index >= 0 && gradient; index--) {
      const layer = this.layers[index]!;
      const given: Tensor = gradient;
      const wanted = inputGradient || index > firstTrained;
      gradient = s.group(`${index} ${layer.name} backward`, () => layer.backward(s, given, { inputGradient: wanted }));
      const kept = [activations[index]!, ...activations.slice(0, index)];
      if (gradient) kept.push(gradient);
      releaseTemporaries(s, [given, activations[index + 1]!], kept);
      if (!wanted) gradient = null;
    }
    releaseTemporaries(s, activations.slice(1), gradient ? [gradient, activations[0]!] : [activations[0]!]);
    this.#activations = [];
    return gradient;
  }

  /** Of all layers together. */
  counts(input: readonly number[]): Counts {
    const total = { weights: 0, biases: 0, multiplications: 0 };
    for (const { weights, biases, multiplications } of this.layerCounts(input)) {
      total.weights += weights;
      total.biases += biases;
      total.multiplications += multiplications;
    }
    return total;
  }

  /** Layer by layer. */
  layerCounts(input: readonly number[]): (Counts & { name: string })[] {
    const shapes = this.shapes(input);
    return this.layers.map((layer, index) => ({ name: layer.name, ...layer.counts(shapes[index]!) }));
  }
}
