/** The scale of very large and very small tensors: in a file that nothing else imports, so that it loads when it is needed. */
import type { Tensor } from "../gpu/index.js";
import { restoreValues } from "../sources/index.js";

/** The weights of x as those of X = 2^exponent · x. */
export async function restoredWeights(name: string, weights: Tensor, exponent: number): Promise<Float32Array> {
  return restoreValues(name, "weights", await weights.read(), exponent);
}
