import type { Engine } from "../../src/gpu/index.js";
import { allocateParameters, type Layer } from "../../src/nn/layer.js";

/** Allocates and initialises the parameters of layers that belong to no network. `destroy` of the result frees them. */
export const startLayers = (engine: Engine, layers: readonly Layer[], seed: number): Promise<{ destroy(): void }> =>
  allocateParameters(
    engine,
    layers.flatMap(({ parameters }) => parameters),
    seed,
  );
