import shader from "../../shaders/append_row.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

/**
 * Writes `values` into the next row of `trace` (rows×columns, used as a ring) and counts in `counter` ([1], u32), both in
 * GPU memory: what a replayed sweep reports, read by the host a batch late.
 */
export function appendRow(s: Scheduler, values: Tensor, trace: Tensor, counter: Tensor<"u32">): void {
  assertCall("appendRow", s, { values, trace, counter });
  const [rows, columns] = trace.shape;
  if (trace.order !== 2 || values.size !== columns)
    throw new ShapeError(`appendRow: ${values} does not fit the rows of ${trace}`);
  s.run(kernel, { values, trace, counter }, { rows: rows!, columns });
}
