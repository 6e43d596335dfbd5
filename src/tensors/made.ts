import type { Engine, Scheduler, Tensor } from "../gpu/index.js";

/** New tensors of the caller's, written by what `record` records; freed where that fails. */
export async function made(
  engine: Engine,
  shapes: readonly (readonly [shape: readonly number[], label: string])[],
  record: (s: Scheduler, out: Tensor[]) => void,
  label: string,
): Promise<Tensor[]> {
  const tensors: Tensor[] = [];
  try {
    for (const [shape, name] of shapes) tensors.push(engine.tensor(shape, null, { label: name }));
    await engine.run((s) => record(s, tensors), label);
    return tensors;
  } catch (error) {
    for (const tensor of tensors) tensor.destroy();
    throw error;
  }
}
