import shader from "../../shaders/gather_rows.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ rows, columns }, { WIDTH }) => grid1d(rows! * columns!, WIDTH!));

/** Slices of the first mode of `x` by `indices` (u32, [n]): n×I_2×…×I_N. An index beyond the end takes the last slice. */
export function gatherRows(
  s: Scheduler,
  x: Tensor,
  indices: Tensor<"u32">,
  options: { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("gatherRows", s, { x, indices });
  if (indices.dtype !== "u32") throw new ShapeError(`gatherRows: indices are ${indices.dtype}, expected u32`);
  const shape = [indices.size, ...x.shape.slice(1)];
  if (options.out) assertShape("gatherRows", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: `${x.label} rows` });
  const extent = x.shape[0]!;
  const width = x.size / extent;
  const vectors = width % 4 === 0;
  s.run(
    kernel.with({ scalar: vectors ? "vec4f" : "f32" }),
    { x, indices, out },
    { rows: indices.size, columns: vectors ? width / 4 : width, extent },
  );
  return out;
}
