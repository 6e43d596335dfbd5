import { Scheduler, type Tensor } from "../gpu/index.js";
import {
  innerProduct as recordInnerProduct,
  modeProduct as recordModeProduct,
  norm as recordNorm,
} from "../ops/index.js";
import type { DecomposedTensor } from "./kinds.js";

/** Records ‖x‖ = √Σ x², over one axis or over everything ([1]): the Frobenius norm. */
export function norm(s: Scheduler, x: Tensor, options?: { axis?: number; out?: Tensor | undefined }): Tensor;
/**
 * ‖x‖ of a decomposed tensor, from its factors and cores: the full tensor is not formed.
 *
 * @throws TenfoldError where it is not a decomposed tensor
 */
export function norm(x: DecomposedTensor): Promise<number>;
export function norm(
  first: Scheduler | DecomposedTensor,
  x?: Tensor,
  options?: { axis?: number; out?: Tensor | undefined },
): Tensor | Promise<number> {
  if (isRecorded(first, x)) return recordNorm(first as Scheduler, x as Tensor, options);
  return import("./resultProducts.js").then(({ normOf }) => normOf(first as DecomposedTensor));
}

/** Records ⟨x, y⟩ = Σ x·y, as a [1] tensor. */
export function innerProduct(s: Scheduler, x: Tensor, y: Tensor, options?: { out?: Tensor | undefined }): Tensor;
/**
 * ⟨x, y⟩ of two tensors of one shape, each of them decomposed, in any form, or dense. From factors and cores where both are of one kind, or
 * one of them is a Kruskal or Tucker tensor or a sum of blocks; only a train or a ring beside another kind is written out in full.
 *
 * @throws ShapeError where the shapes differ
 */
export function innerProduct(x: DecomposedTensor | Tensor, y: DecomposedTensor | Tensor): Promise<number>;
export function innerProduct(
  first: Scheduler | DecomposedTensor | Tensor,
  second: DecomposedTensor | Tensor,
  third?: Tensor,
  options?: { out?: Tensor | undefined },
): Tensor | Promise<number> {
  if (isRecorded(first, third))
    return recordInnerProduct(first as Scheduler, second as Tensor, third as Tensor, options);
  return import("./resultProducts.js").then(({ innerProductOf }) =>
    innerProductOf(first as DecomposedTensor | Tensor, second),
  );
}

/**
 * Records the mode-n product X ×ₙ U (Kolda & Bader 2009, section 2.5): Y[…, j, …] = Σ_i U[j, i] · X[…, i, …]. U is J×Iₙ, or Iₙ×J with
 * `transpose`.
 */
export function modeProduct(
  s: Scheduler,
  x: Tensor,
  u: Tensor,
  mode: number,
  options?: { transpose?: boolean; out?: Tensor | undefined },
): Tensor;
/**
 * A decomposed tensor times a matrix U (J×Iₙ) along a mode, in the same form: only the factor or core of the mode changes. Times a vector
 * ([Iₙ]) the mode is contracted, and the result has one mode less. The result has its own memory.
 *
 * @throws ShapeError where U does not fit the mode, or no mode would be left
 */
export function modeProduct<T extends DecomposedTensor>(x: T, u: Tensor, mode: number): Promise<T>;
export function modeProduct(
  first: Scheduler | DecomposedTensor,
  second: Tensor,
  third: Tensor | number,
  mode?: number,
  options?: { transpose?: boolean; out?: Tensor | undefined },
): Tensor | Promise<DecomposedTensor> {
  if (isRecorded(first, mode)) return recordModeProduct(first as Scheduler, second, third as Tensor, mode!, options);
  return import("./resultProducts.js").then(({ modeProductOf }) =>
    modeProductOf(first as DecomposedTensor, second, third as number),
  );
}

/** Whether a call is one to record. With more arguments than the other form has it is taken for one, and the op says what is wrong. */
const isRecorded = (first: unknown, last: unknown): boolean => first instanceof Scheduler || last !== undefined;
