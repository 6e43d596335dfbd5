import registerShader from "../../shaders/matmul_register.wgsl";
import { formatShape, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";

const register = new Kernel(registerShader, ({ rows, columns, batch }) => [
  Math.ceil(columns! / 32),
  Math.ceil(rows! / 32),
  batch ?? 1,
]);

export interface MatmulOptions {
  transposeA?: boolean;
  transposeB?: boolean;
  out?: Tensor;
}

/** Matrix product op(A)·op(B). */
export function matmul(s: Scheduler, a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false } = options;
  const [rows, inner] = transposeA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const [innerB, columns] = transposeB ? [b.shape[1]!, b.shape[0]!] : [b.shape[0]!, b.shape[1]!];
  if (inner !== innerB) throw new ShapeError(`matmul: ${formatShape(a.shape)} times ${formatShape(b.shape)}`);
  const out = options.out ?? s.tensor([rows, columns], { label: "matmul" });
  s.run(
    register.with({ TRANSPOSE_A: transposeA, TRANSPOSE_B: transposeB }),
    { a, b, out },
    { rows, columns, inner, stride_a: 0, stride_b: 0, stride_out: 0, alpha: 1 },
  );
  return out;
}
