import { formatShape, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";

/** Throws `mttkrp (mode 1): factor 2 is 30×5, expected 40×5` unless the tensor has this shape. */
export function assertShape(operation: string, what: string, tensor: Tensor, expected: readonly number[]): void {
  if (tensor.order !== expected.length || expected.some((extent, mode) => tensor.shape[mode] !== extent))
    throw new ShapeError(`${operation}: ${what} is ${formatShape(tensor.shape)}, expected ${formatShape(expected)}`);
}

/** Throws unless `mode` is one of the tensor's. */
export function assertMode(operation: string, tensor: Tensor, mode: number): void {
  if (!Number.isInteger(mode) || mode < 0 || mode >= tensor.order)
    throw new ShapeError(
      `${operation}: mode ${mode} of a tensor of shape ${formatShape(tensor.shape)}, needs 0 to ${tensor.order - 1}`,
    );
}

/**
 * A row-major tensor as every mode-n operation sees it: before×extent×after, the modes in front of n and behind it each
 * flattened into one.
 */
export function threeNumbers(shape: readonly number[], mode: number): [before: number, extent: number, after: number] {
  return [sizeOf(shape.slice(0, mode)), shape[mode]!, sizeOf(shape.slice(mode + 1))];
}
