/** A start of CP from singular vectors: in a file that nothing else imports, so that it loads when it is asked for. */
import { Program, type Scheduler, type Tensor } from "../gpu/index.js";
import { fill, signColumns, slice } from "../ops/index.js";
import { Resident, type Source } from "../sources/index.js";
import { Subspace, type SubspaceTask, subspaceOf, vectorsOf } from "./subspace.js";
import { TensorScope } from "./tensorScope.js";

/** the most rows of an unfolding, and entries, of which all singular vectors are found at once: that takes few dispatches, and no readback */
const SMALL = { rows: 48, entries: 2 ** 20 };

/** Leading left singular vectors of an unfolding, as good as a start needs them. */
export async function leadingVectors(
  source: Source,
  task: SubspaceTask,
  signal: AbortSignal | undefined,
): Promise<Subspace> {
  if (source instanceof Resident && source.shape[task.mode]! <= SMALL.rows && source.size <= SMALL.entries)
    return await vectorsOfSmall(source, task);
  // what missing entries are follows from a model, of which there is none yet
  const nothing = { shape: source.shape, full: (s: Scheduler, out: Tensor) => fill(s, out, 0) };
  if (source.refresh) await Program.run(source.engine, (p) => source.refresh!(p, nothing), "known entries");
  return (await subspaceOf(source, task, { sweeps: 12, tolerance: 1e-4, signal })).tensor;
}

async function vectorsOfSmall({ engine, shape, x }: Resident, { mode, rank }: SubspaceTask): Promise<Subspace> {
  using scope = new TensorScope(engine);
  const vectors = scope.allocate([shape[mode]!, rank], `factor ${mode}`);
  const values = scope.allocate([rank], "singular values");
  await engine.run((s) => {
    const all = vectorsOf(s, x, mode);
    slice(s, all.v, [0, 0], vectors.shape, { out: vectors });
    slice(s, all.values, [0], [rank], { out: values });
    signColumns(s, vectors);
  }, "singular vectors");
  return scope.handOut(new Subspace(vectors, values));
}
