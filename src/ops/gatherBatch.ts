import shader from "../../shaders/gather_batch.wgsl";
import bytesShader from "../../shaders/gather_batch_bytes.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ rows }) => grid1d(rows!, 1));
const bytesKernel = new Kernel(bytesShader, ({ rows }) => grid1d(rows!, 1));

export interface BatchOptions {
  /** rows of this batch */
  rows: number;
  /** rows from the start of a batch to that of the next, `rows` by default: step k begins at row k·stride of the permuted set */
  stride?: number;
  /** permutes the set, in another order in every epoch; without it batches follow each other in order */
  shuffle?: boolean;
  seed?: number;
  /** [step in the epoch, epoch, …], u32 */
  state: Tensor<"u32">;
}

/** Half the bits of the smallest power of four that holds n. */
export const halfBits = (n: number): number => Math.max(1, Math.ceil(Math.log2(Math.max(n, 2)) / 2));

/**
 * The minibatch of the present step, which `state` holds: rows of `x` (N×…, f32 or bytes that stand for value / 255) and of `labels`
 * ([N], u32), shuffled on the GPU.
 */
export function gatherBatch(
  s: Scheduler,
  x: Tensor<"f32" | "u8">,
  labels: Tensor<"u32">,
  { rows, stride = rows, shuffle = true, seed = 0, state }: BatchOptions,
): { inputs: Tensor; labels: Tensor<"u32"> } {
  assertCall("gatherBatch", s, { x, labels });
  const count = x.shape[0]!;
  if (labels.size !== count || labels.dtype !== "u32")
    throw new ShapeError(`gatherBatch: ${x} with labels ${labels}, needs a u32 label a row`);
  const inputs = s.tensor([rows, ...x.shape.slice(1)], { label: "batch" });
  const batchLabels = s.tensor([rows], { dtype: "u32", label: "batch labels" });
  const columns = x.size / count;
  const aligned = columns % 4 === 0;
  const bytes = x.dtype === "u8";
  const vectors = aligned && !bytes;
  const specialised = bytes
    ? bytesKernel.with({ ALIGNED: aligned })
    : kernel.with({ scalar: vectors ? "vec4f" : "f32" });
  s.run(
    specialised.with({ SHUFFLE: shuffle }),
    { x, labels, state, batch: inputs, batch_labels: batchLabels },
    { count, columns: vectors ? columns / 4 : columns, rows, stride, half_bits: halfBits(count), seed: seed >>> 0 },
  );
  return { inputs, labels: batchLabels };
}
