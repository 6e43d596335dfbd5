import type { Engine, Tensor } from "../gpu/index.js";

/** Columns of the identity, again from the first one after the last: orthonormal as long as they are no more than rows. */
export function identityColumns(engine: Engine, extent: number, rank: number, label: string): Tensor {
  const data = new Float32Array(extent * rank);
  for (let r = 0; r < rank; r++) data[(r % extent) * rank + r] = 1;
  return engine.tensor([extent, rank], data, { label });
}
