/** The scale of very large and very small tensors: in a file that nothing else imports, so that it loads when it is needed. */
import { restoreValues } from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";

/** A model of x as one of X = 2^exponent · x: its weights are made anew. */
export async function restored(
  name: string,
  { engine, weights, factors }: KruskalTensor,
  exponent: number,
): Promise<KruskalTensor> {
  const values = restoreValues(name, "weights", await weights.read(), exponent);
  const scaled = engine.tensor(weights.shape, values, { label: "weights" });
  weights.destroy();
  return new KruskalTensor(scaled, factors);
}
