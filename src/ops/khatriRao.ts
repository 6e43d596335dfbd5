import shader from "../../shaders/khatri_rao.wgsl?late";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }) => grid1d(size!, 64));

/**
 * Khatri-Rao product A ⊙ B of I×R and J×R: (I·J)×R, row i·J + j. This is the order that row-major unfolding asks for, the
 * last mode running fastest: X₍ₙ₎ ≈ Aₙ (A₀ ⊙ … ⊙ A_{N-1} without Aₙ)ᵀ. Kolda & Bader, whose unfoldings run the first mode
 * fastest, write the factors in reverse.
 */
export function khatriRao(s: Scheduler, a: Tensor, b: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("khatriRao", s, { a, b });
  const [rowsA, columns] = a.shape;
  const [rowsB, columnsB] = b.shape;
  if (a.order !== 2 || b.order !== 2 || columns !== columnsB)
    throw new ShapeError(
      `khatriRao: ${formatShape(a.shape)} and ${formatShape(b.shape)}, needs two matrices with as many columns`,
    );
  const shape = [rowsA! * rowsB!, columns!];
  if (options.out) assertShape("khatriRao", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "Khatri-Rao product" });
  s.run(kernel, { a, b, out }, { size: out.size, rows_b: rowsB!, columns: columns! });
  return out;
}
