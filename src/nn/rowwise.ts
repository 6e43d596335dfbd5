import { formatShape, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { Chain } from "./chain.js";
import type { BackwardOptions, Counts, Layer, Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";

/**
 * Layers in a row, applied to every row of a sample by itself: to the last mode, as if all modes before it counted samples. A sample of
 * tokens×features goes through `new Rowwise([new Linear(features, outputs)])` token by token, with the same weights.
 */
export class Rowwise extends Chain {
  #rows: { input: readonly number[]; output: readonly number[] } = { input: [], output: [] };

  constructor(layers: readonly Layer[]) {
    super(`rows: ${layers.map(({ name }) => name).join(", ")}`, layers);
  }

  override outputShape(input: readonly number[]): number[] {
    if (input.length === 0) throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)} have no rows`);
    return [...input.slice(0, -1), ...super.outputShape(input.slice(-1))];
  }

  override forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    const y = super.forward(s, x.reshape([-1, x.shape.at(-1)!]), pass);
    this.#rows = { input: x.shape, output: y.shape };
    return y.reshape([...x.shape.slice(0, -1), ...y.shape.slice(1)]);
  }

  override backward(s: Scheduler, dy: Tensor, options: BackwardOptions & { frees?: boolean }): Tensor | null {
    const { input, output } = this.#rows;
    return super.backward(s, dy.reshape(output), options)?.reshape(input) ?? null;
  }

  /** The weights of the layers, and their multiplications for every row. */
  override counts(input: readonly number[]): Counts {
    const counts = super.counts(input.slice(-1));
    return { ...counts, multiplications: counts.multiplications * sizeOf(input.slice(0, -1)) };
  }
}

export const rowwiseKind = /* @__PURE__ */ layerKind(
  "rowwise",
  Rowwise,
  ({ layers }, describe) => ({ layers: layers.map(describe) }),
  (f) => new Rowwise(f.layers("layers")),
);
