import type { Engine } from "./engine.js";
import type { DType, Tensor } from "./tensor.js";

/** Elements of 32 bits that are copied from a tensor to another, whose buffers are not the same; a host's allows copies. */
export interface Transfer {
  from: Tensor<DType>;
  /** the first element; 0 by default */
  start?: number;
  to: Tensor<DType>;
  /** where it comes to lie; 0 by default */
  at?: number;
  /** elements */
  size: number;
}

/** Copies elements from tensors into others, in order, without a dispatch: all in one submit. */
export function transfer(engine: Engine, parts: readonly Transfer[]): void {
  engine.faults.assertOpen();
  if (!parts.length) return;
  for (const { from, to } of parts) for (const tensor of [from, to]) engine.assertAlive("transfer", tensor);
  engine.faults.guard(`transfer into ${parts[0]!.to}`, [], () => {
    const encoder = engine.encoder("transfer");
    for (const { from, start = 0, to, at = 0, size } of parts)
      encoder.copyBufferToBuffer(from.held, from.offset + 4 * start, to.held, to.offset + 4 * at, 4 * size);
    engine.device.queue.submit([encoder.finish()]);
  });
  engine.counters.submits++;
}
