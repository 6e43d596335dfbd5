import type { Scheduler, Tensor } from "../gpu/index.js";
import { pasteColumns, slice, uniform } from "../ops/index.js";
import type { Source } from "../sources/index.js";

/** singular values of an unfolding below this part of the largest are taken for rounding errors */
const SEEN = 1e-5;

/**
 * Makes a start factor of one mode, and lends it to what `use` records: uniform random, or the leading left singular vectors of the unfolding
 * (random beyond their number). An abort while singular vectors are looked for throws the signal's reason.
 */
export async function withStartFactor(
  source: Source,
  how: "random" | "hosvd",
  { mode, rank, seed, signal }: { mode: number; rank: number; seed: number; signal?: AbortSignal | undefined },
  use: (s: Scheduler, start: Tensor) => void,
): Promise<void> {
  const { engine, shape, size } = source;
  const extent = shape[mode]!;
  const task = { mode, rank: Math.min(rank, extent, size / extent), seed, isTold: false };
  using subspace = how === "hosvd" ? await (await import("./cpHosvd.js")).leadingVectors(source, task, signal) : null;
  if (subspace) signal?.throwIfAborted();
  // vectors beyond the rank of the unfolding are orthogonal to X: their MTTKRP would be 0
  const values = subspace ? await engine.read(subspace.values) : [];
  const count = values.filter((value) => value > SEEN * values[0]!).length;
  await engine.run((s) => {
    const start = uniform(s, [extent, rank], { seed, stream: mode });
    if (subspace) {
      const vectors = slice(s, subspace.vectors, [0, 0], [extent, count]);
      pasteColumns(s, vectors, start);
      s.release(vectors);
    }
    use(s, start);
    s.release(start);
  }, "CP start");
}
