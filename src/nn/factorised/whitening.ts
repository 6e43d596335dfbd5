import { ShapeError, TenfoldError } from "../../gpu/index.js";
import { choleskyFactor, multiply, permuteValues, solveTriangular, transpose, type Values } from "./hostMatrices.js";

/**
 * Roots L_k with C_k = L_k·L_kᵀ of the covariance that is nearest to ⊗C_k in its partial traces: one a mode of the inputs, so
 * that whitening by them leaves the format of a tensor as it is. One mode has the covariance itself.
 */
export function kroneckerRoots(covariance: Values, modes: readonly number[], ridge: number): Float64Array[] {
  const size = modes.reduce((a, b) => a * b, 1);
  if (covariance.length !== size * size)
    throw new ShapeError(`covariance of ${covariance.length} numbers, needs ${size}×${size}`);
  return modes.map((extent, mode) => {
    const before = modes.slice(0, mode).reduce((a, b) => a * b, 1);
    const after = size / before / extent;
    const own = new Float64Array(extent * extent);
    for (let b = 0; b < before; b++)
      for (let a = 0; a < after; a++)
        for (let i = 0; i < extent; i++)
          for (let j = 0; j < extent; j++)
            own[i * extent + j]! += covariance[((b * extent + i) * after + a) * size + (b * extent + j) * after + a]!;
    let trace = 0;
    for (let i = 0; i < extent; i++) trace += own[i * (extent + 1)]!;
    if (!(trace > 0 && Number.isFinite(trace)))
      throw new TenfoldError(`covariance: its trace is ${trace}, needs a positive number`);
    return choleskyFactor(
      own.map((value) => (value * extent) / trace),
      extent,
      ridge,
    );
  });
}

/** Changes the vectors along one mode, given as rows. */
function along(
  values: Values,
  shape: readonly number[],
  mode: number,
  change: (rows: Float64Array, count: number, extent: number) => Float64Array,
): Float64Array {
  const extent = shape[mode]!;
  const before = shape.slice(0, mode).reduce((a, b) => a * b, 1);
  const after = values.length / before / extent;
  const rows = permuteValues(values, [before, extent, after], [0, 2, 1]);
  return permuteValues(change(rows, before * after, extent), [before, after, extent], [0, 2, 1]);
}

/** X ×ₙ L_nᵀ for every mode that has a root; modes without one stay. */
export function whiten(values: Values, shape: readonly number[], roots: readonly (Values | null)[]): Float64Array {
  let out: Float64Array = Float64Array.from(values);
  roots.forEach((root, mode) => {
    if (root) out = along(out, shape, mode, (rows, count, extent) => multiply(rows, root, count, extent, extent));
  });
  return out;
}

/** The inverse along one mode of a core or factor. */
export const unwhiten = (values: Values, shape: readonly number[], mode: number, root: Values): Float32Array =>
  Float32Array.from(
    along(values, shape, mode, (rows, count, extent) => solveTriangular(root, rows, count, extent, false)),
  );

/** Of dense weights outputs×inputs, the one whose outputs lie nearest to those of `weight`, by the inputs' covariance. */
export async function nearest<T extends { toDense(): Promise<Float32Array> }>(
  weight: Float32Array,
  outputs: number,
  covariance: Values,
  layers: readonly T[],
): Promise<T> {
  const inputs = weight.length / outputs;
  let [best, least] = [layers[0]!, Number.POSITIVE_INFINITY];
  for (const layer of layers) {
    const dense = await layer.toDense();
    const difference = Float64Array.from(weight, (value, e) => value - dense[e]!);
    const image = multiply(difference, covariance, outputs, inputs, inputs);
    const error = image.reduce((sum, value, e) => sum + value * difference[e]!, 0);
    if (error < least) [best, least] = [layer, error];
  }
  return best;
}

/** A dense weight, outputs×inputs, as inputs×outputs. */
export const inputsFirst = (weight: Values, outputs: number): Float64Array =>
  transpose(weight, outputs, weight.length / outputs);
