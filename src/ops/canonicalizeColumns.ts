import shader from "../../shaders/canonicalize_columns.wgsl?late";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ columns }) => [columns!]);

/**
 * The columns of `a` (rows×R) in the order that `order` lists ([R], u32), each with the sign that makes its entry of largest magnitude
 * positive. `flips` ([R]) is multiplied by the signs used; with `apply` the columns get those signs instead:
 * the last mode of a Kruskal tensor makes up for what the other modes flipped.
 */
export function canonicalizeColumns(
  s: Scheduler,
  a: Tensor,
  order: Tensor<"u32">,
  flips: Tensor,
  { apply = false, out }: { apply?: boolean; out?: Tensor } = {},
): Tensor {
  assertCall("canonicalizeColumns", s, { a, order, flips });
  const [rows, columns] = a.shape;
  if (a.order !== 2 || order.size !== columns || flips.size !== columns)
    throw new ShapeError(`canonicalizeColumns: ${a}, ${order} and ${flips} need one entry a column`);
  const result = out ?? s.tensor(a.shape, { label: "canonical" });
  s.run(
    kernel.with({ APPLY: apply, WIDTH: Math.min(64, setting(s.engine, "soleWorkgroup")) }),
    { a, order, flips, out: result },
    { rows: rows!, columns },
  );
  return result;
}
