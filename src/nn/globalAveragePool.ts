import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { averagePool2dGradient, mean } from "../ops/index.js";
import type { Counts, Layer, Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";

/** The mean of every channel over all positions: samples channels×… become channels×1×…, of as many modes. */
export class GlobalAveragePool implements Layer {
  readonly name = "GlobalAveragePool";
  readonly parameters = [];
  #input: Tensor | null = null;

  outputShape(input: readonly number[]): number[] {
    if (input.length < 2)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)}, expected channels×positions…`);
    return input.map((extent, mode) => (mode === 0 ? extent : 1));
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    const sample = this.outputShape(x.shape.slice(1));
    const [batch, channels] = x.shape as [number, number];
    if (training) this.#input = x;
    return mean(s, x.reshape([batch * channels, -1]), { axis: 1 }).reshape([batch, ...sample]);
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    if (!inputGradient) return null;
    const x = this.#input!;
    // one window holds all positions of a channel
    const rows = x.reshape([x.shape[0]! * x.shape[1]!, 1, -1]);
    const kernel = [1, rows.shape[2]!] as const;
    return averagePool2dGradient(s, rows, dy.reshape([rows.shape[0]!, 1, 1]), { kernel }).reshape(x.shape);
  }

  counts(): Counts {
    return { weights: 0, biases: 0, multiplications: 0 };
  }
}

export const globalAveragePoolKind = /* @__PURE__ */ layerKind(
  "globalAveragePool",
  GlobalAveragePool,
  () => ({}),
  () => new GlobalAveragePool(),
);
