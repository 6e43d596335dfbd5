/** A start of CP from singular vectors: in a file that nothing else imports, so that it loads when it is asked for. */
import type { Source } from "../sources/index.js";
import { type Subspace, type SubspaceTask, subspaceOf } from "./subspace.js";

/** Leading left singular vectors of an unfolding, as good as a start needs them. */
export async function leadingVectors(
  source: Source,
  task: SubspaceTask,
  signal: AbortSignal | undefined,
): Promise<Subspace> {
  return (await subspaceOf(source, task, { sweeps: 12, tolerance: 1e-4, signal })).tensor;
}
