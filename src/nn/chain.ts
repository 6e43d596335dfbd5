import { Graph } from "./graph.js";
import type { Layer } from "./layer.js";
import { layerKind } from "./layerKind.js";

/** Layers one after the other, as one layer. Many factorised layers are chains. */
export class Chain extends Graph {
  constructor(
    name: string,
    readonly layers: readonly Layer[],
  ) {
    super(
      name,
      layers.map((of, index) => ({ of, from: [index] })),
    );
  }
}

export const chainKind = /* @__PURE__ */ layerKind(
  "chain",
  Chain,
  ({ name, layers }, describe) => ({ name, layers: layers.map(describe) }),
  (f) => new Chain(f.text("name"), f.layers("layers")),
);
