import shader from "../../shaders/paste_columns.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ rows, columns }, { WIDTH }) => grid1d(rows! * columns!, WIDTH!));

/** Writes the columns of `a` (rows×c) into `out` (rows×C) from `column` on; the other columns of `out` stay. */
export function pasteColumns(s: Scheduler, a: Tensor, out: Tensor, column = 0): void {
  assertCall("pasteColumns", s, { a, out });
  const [rows, columns] = a.shape as [number, number];
  const width = out.shape[1]!;
  if (a.order !== 2 || out.order !== 2 || out.shape[0] !== rows || column + columns > width)
    throw new ShapeError(`pasteColumns: ${a} does not fit into ${out} from column ${column}`);
  s.run(kernel, { a, out }, { rows, columns, width, column });
}
