import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import type { Counts, Layer, Parameter, Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";

/**
 * Releases the schedule's temporaries among these tensors. Several tensors may view the same temporary: it is released once.
 *
 * @param keep tensors whose temporaries stay
 */
export function releaseTemporaries(
  s: Scheduler,
  tensors: readonly (Tensor | null)[],
  keep: readonly Tensor[] = [],
): void {
  const keptStorages = new Set(keep.map(({ storage }) => storage));
  for (const tensor of tensors) {
    if (tensor && tensor.storage.owner === "schedule" && tensor.storage.alive && !keptStorages.has(tensor.storage))
      s.release(tensor);
  }
}

/** Layers one after the other, as one layer. Many factorised layers are chains, and every network has one. */
export class Chain implements Layer {
  /** the input of every layer, then the output of the last layer, of the training pass recorded last */
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

  /**
   * One sample's shape before every layer and after the last.
   *
   * @throws ShapeError naming the layer that does not fit
   */
  shapes(input: readonly number[]): number[][] {
    const shapes = [[...input]];
    this.layers.forEach((layer, index) => {
      try {
        const [before, after] = [shapes[index]!, layer.outputShape(shapes[index]!)];
        if (!after.every((extent) => Number.isSafeInteger(extent) && extent >= 1))
          throw new ShapeError(
            `${layer.name}: samples of shape ${formatShape(before)} would become ${formatShape(after)}, every extent must be a positive whole number; change the options of this layer or of a layer before it`,
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

  /** Writes the gradients of all parameters. Frees the activations of the forward pass, and `dy`. */
  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    let gradient: Tensor | null = dy;
    const activations = this.#activations;
    const firstTrained = this.layers.findIndex((layer) => layer.parameters.length > 0);
    for (let index = this.layers.length - 1; index >= 0 && gradient; index--) {
      const layer = this.layers[index]!;
      const outputGradient: Tensor = gradient;
      // layers before the first one with parameters need no gradient
      const wanted = inputGradient || index > firstTrained;
      gradient = s.group(`${index} ${layer.name} backward`, () =>
        layer.backward(s, outputGradient, { inputGradient: wanted }),
      );
      const stillNeeded = activations.slice(0, index + 1);
      if (gradient) stillNeeded.push(gradient);
      releaseTemporaries(s, [outputGradient, activations[index + 1]!], stillNeeded);
      if (!wanted) gradient = null;
    }
    releaseTemporaries(s, activations.slice(1), gradient ? [gradient, activations[0]!] : [activations[0]!]);
    this.#activations = [];
    return gradient;
  }

  /** The sums over all layers, for a sample of this shape. */
  counts(input: readonly number[]): Counts {
    const total = { weights: 0, biases: 0, multiplications: 0 };
    for (const { weights, biases, multiplications } of this.layerCounts(input)) {
      total.weights += weights;
      total.biases += biases;
      total.multiplications += multiplications;
    }
    return total;
  }

  /** The counts of every layer, for a sample of this shape. */
  layerCounts(input: readonly number[]): (Counts & { name: string })[] {
    const shapes = this.shapes(input);
    return this.layers.map((layer, index) => ({ name: layer.name, ...layer.counts(shapes[index]!) }));
  }
}

export const chainKind = /* @__PURE__ */ layerKind(
  "chain",
  Chain,
  ({ name, layers }, describe) => ({ name, layers: layers.map(describe) }),
  (f) => new Chain(f.text("name"), f.layers("layers")),
);
