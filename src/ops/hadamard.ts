import type { Scheduler, Tensor } from "../gpu/index.js";
import { multiply } from "./elementwise.js";
import { assertCall, assertShape } from "./shapes.js";

/** Hadamard product a ∗ b of two tensors of the same shape, which is {@link multiply} without broadcasting. */
export function hadamard(s: Scheduler, a: Tensor, b: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("hadamard", s, { a, b });
  assertShape("hadamard", "the second tensor", b, a.shape);
  return multiply(s, a, b, options);
}
