/** CP of a tensor of zeros: in a file that nothing else imports, so that it loads when there is one. */
import type { Source } from "../sources/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import type { Task } from "./cpStarts.js";
import { zeroKruskal } from "./zeroKruskal.js";

/** The model of a tensor of zeros. */
export function zeroModel({ engine, shape }: Source, { rank, fixed }: Task): KruskalTensor {
  const model = zeroKruskal(engine, shape, rank);
  for (const [mode, factor] of fixed) engine.write(model.factors[mode]!, factor);
  return model;
}
