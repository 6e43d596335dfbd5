import { type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";
import { paste } from "./slice.js";

/** Writes the columns of `a` (rows×c) into `out` (rows×C) from `column` on; the other columns of `out` stay. */
export function pasteColumns(s: Scheduler, a: Tensor, out: Tensor, column = 0): void {
  assertCall("pasteColumns", s, { a, out });
  if (a.order !== 2 || out.order !== 2 || out.shape[0] !== a.shape[0] || column + a.shape[1]! > out.shape[1]!)
    throw new ShapeError(`pasteColumns: ${a} does not fit into ${out} from column ${column}`);
  paste(s, a, out, [0, column]);
}
