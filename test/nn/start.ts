import type { Engine } from "../../src/gpu/index.js";
import { allocateParameters, type Layer } from "../../src/nn/layer.js";

/** Starts layers that belong to no network, all in one dispatch after the other; what is returned frees them. */
export const startLayers = (engine: Engine, layers: readonly Layer[], seed: number): Promise<{ destroy(): void }> =>
  allocateParameters(
    engine,
    layers.flatMap(({ parameters }) => parameters),
    seed,
  );
