import type { Engine } from "../gpu/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { identityColumns } from "./identityColumns.js";

/** The Kruskal tensor of a tensor of zeros. */
export function zeroKruskal(engine: Engine, shape: readonly number[], rank: number): KruskalTensor {
  const factors = shape.map((extent, mode) => identityColumns(engine, extent, rank, `factor ${mode}`));
  return new KruskalTensor(engine.tensor([rank], new Float32Array(rank), { label: "weights" }), factors);
}
