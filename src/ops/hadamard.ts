import shader from "../../shaders/hadamard.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }) => grid1d(size!, 64));

/** Hadamard (elementwise) product of two tensors of one shape. */
export function hadamard(s: Scheduler, a: Tensor, b: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertShape("hadamard", "the second tensor", b, a.shape);
  if (options.out) assertShape("hadamard", "out", options.out, a.shape);
  const out = options.out ?? s.tensor(a.shape, { label: "hadamard" });
  s.run(kernel, { a, b, out }, { size: a.size });
  return out;
}
