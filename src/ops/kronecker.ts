import shader from "../../shaders/kronecker.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }) => grid1d(size!, 64));

/** Kronecker product A ⊗ B of I×J and K×L: (I·K)×(J·L), row i·K + k, column j·L + l. */
export function kronecker(s: Scheduler, a: Tensor, b: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("kronecker", s, { a, b });
  if (a.order !== 2 || b.order !== 2)
    throw new ShapeError(`kronecker: ${formatShape(a.shape)} and ${formatShape(b.shape)}, needs two matrices`);
  const [rowsA, columnsA] = a.shape as [number, number];
  const [rowsB, columnsB] = b.shape as [number, number];
  const shape = [rowsA * rowsB, columnsA * columnsB];
  if (options.out) assertShape("kronecker", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "Kronecker product" });
  s.run(kernel, { a, b, out }, { size: out.size, columns_a: columnsA, rows_b: rowsB, columns_b: columnsB });
  return out;
}
