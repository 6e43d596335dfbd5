import shader from "../../shaders/argmax_rows.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ rows }, { WIDTH }) => grid1d(rows!, WIDTH!));

/** For every row of a matrix the first column in which it is largest: [rows], u32. */
export function argmaxRows(s: Scheduler, x: Tensor, { out }: { out?: Tensor<"u32"> | undefined } = {}): Tensor<"u32"> {
  assertCall("argmaxRows", s, { x });
  const [rows, columns] = x.shape as [number, number];
  if (x.order !== 2) throw new ShapeError(`argmaxRows: ${x}, needs a matrix`);
  if (out) assertShape("argmaxRows", "out", out, [rows]);
  const result = out ?? s.tensor([rows], { dtype: "u32", label: "argmax" });
  s.run(kernel, { x, out: result }, { rows, columns });
  return result;
}
