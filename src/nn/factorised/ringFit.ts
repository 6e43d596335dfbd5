import { tensorRingALS, tensorRingSVD } from "../../decompositions/index.js";
import { type Engine, type OptionRules, optionRules, type Tensor } from "../../gpu/index.js";

/** How a tensor is fitted by a ring: to `ranks`, or up to a `relativeError`. */
export interface RingFit {
  ranks?: number | readonly number[];
  relativeError?: number;
  sweeps?: number;
  seed?: number;
}

/** The rules of {@link RingFit}. */
export const ringFitRules = {
  ranks: optionRules.ranks,
  relativeError: optionRules.share,
  sweeps: optionRules.count,
  seed: optionRules.count,
} satisfies OptionRules<RingFit>;

/**
 * A tensor ring of X, read back. Ranks are fitted by TR-SVD, then alternating least squares from its result, unless `sweeps` is 0;
 * an error is met by TR-SVD, which chooses the ranks for it.
 */
export async function fitRing(
  engine: Engine,
  x: Tensor,
  { ranks, relativeError, sweeps = 30, seed = 0 }: RingFit,
): Promise<{ cores: Float32Array[]; ranks: readonly number[] }> {
  const { tensor } =
    ranks !== undefined && sweeps > 0
      ? await tensorRingALS(engine, x, { ranks, sweeps, seed, tolerance: 1e-5 })
      : await tensorRingSVD(engine, x, {
          seed,
          ...(ranks !== undefined && { ranks }),
          ...(relativeError !== undefined && { relativeError }),
        });
  const cores = await engine.read([...tensor.cores]);
  tensor.destroy();
  return { cores, ranks: tensor.ranks };
}
