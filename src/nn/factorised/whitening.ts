import { ShapeError, TenfoldError } from "../../gpu/index.js";
import { remembered } from "./fitMemory.js";
import {
  choleskyFactor,
  matrixProduct,
  permuteValues,
  solveTriangular,
  transpose,
  type Values,
} from "./hostMatrices.js";
import type { DataAware } from "./svdLinear.js";

/**
 * Cholesky factors L_k, one a mode of the inputs, of matrices C_k = L_k·L_kᵀ whose Kronecker product stands for the covariance.
 * C_k is the covariance traced over all modes but k, scaled to a mean diagonal of 1. Multiplying mode k by L_k leaves a tensor
 * in its format (train, ring, Tucker), which multiplying all modes at once by a factor of the covariance would not.
 *
 * @param covariance E[x·xᵀ] of the inputs, n×n for modes that multiply to n
 * @param ridge see {@link choleskyFactor}
 * @throws ShapeError where the covariance has another size, TenfoldError where its trace is not positive
 */
export function kroneckerRoots(covariance: Values, modes: readonly number[], ridge: number): Float64Array[] {
  const size = modes.reduce((a, b) => a * b, 1);
  if (covariance.length !== size * size)
    throw new ShapeError(`covariance of ${covariance.length} numbers, needs ${size}×${size}`);
  return modes.map((extent, mode) => {
    const before = modes.slice(0, mode).reduce((a, b) => a * b, 1);
    const after = size / before / extent;
    const traced = new Float64Array(extent * extent);
    for (let b = 0; b < before; b++)
      for (let a = 0; a < after; a++)
        for (let i = 0; i < extent; i++)
          for (let j = 0; j < extent; j++)
            traced[i * extent + j]! +=
              covariance[((b * extent + i) * after + a) * size + (b * extent + j) * after + a]!;
    let trace = 0;
    for (let i = 0; i < extent; i++) trace += traced[i * (extent + 1)]!;
    if (!(trace > 0 && Number.isFinite(trace)))
      throw new TenfoldError(`covariance: its trace is ${trace}, needs a positive number`);
    return choleskyFactor(
      traced.map((value) => (value * extent) / trace),
      extent,
      ridge,
    );
  });
}

/** Applies `change` to the vectors along one mode, as the rows of a count×extent matrix. */
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

/** X ×ₙ L_nᵀ for every mode n with a root L_n; a mode whose root is null stays. */
export function whiten(values: Values, shape: readonly number[], roots: readonly (Values | null)[]): Float64Array {
  let out: Float64Array = Float64Array.from(values);
  roots.forEach((root, mode) => {
    if (root) out = along(out, shape, mode, (rows, count, extent) => matrixProduct(rows, root, count, extent, extent));
  });
  return out;
}

/** Why a fit with a covariance refuses a relative error. */
export const COVARIANCE_OR_ERROR =
  "has a covariance and a relativeError, needs ranks with a covariance, because the relative error is that of the weight";

/** Multiplies the mode of a core or factor by L⁻ᵀ for the root L: undoes {@link whiten} in a decomposition. */
export const unwhiten = (values: Values, shape: readonly number[], mode: number, root: Values): Float32Array =>
  Float32Array.from(
    along(values, shape, mode, (rows, count, extent) => solveTriangular(root, rows, count, extent, false)),
  );

/** The layer whose outputs are nearest to those of `weight` (outputs×inputs): least tr((W − Ŵ)·C·(W − Ŵ)ᵀ) for the covariance C. */
async function nearest<T extends { toDense(): Promise<Float32Array> }>(
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
    const image = matrixProduct(difference, covariance, outputs, inputs, inputs);
    const error = image.reduce((sum, value, e) => sum + value * difference[e]!, 0);
    if (error < least) [best, least] = [layer, error];
  }
  return best;
}

/**
 * A factorised layer fitted to a dense weight. With a covariance there are two fits, of the weight and of the weight whitened
 * along its input modes; the fit whose outputs are nearer to the dense layer's is returned.
 *
 * @param weight outputs×inputs
 * @param name of the fit in the options' memory
 * @param fit fits values inputModes×outputs; `roots` are the whitening roots of the modes, none for the plain fit
 * @param isWhitened which input modes are whitened; all by default
 */
export async function dataAwareFit<T extends { toDense(): Promise<Float32Array> }>(
  { weight, outputs }: { weight: Float32Array; outputs: number },
  inputModes: readonly number[],
  options: DataAware,
  name: string,
  fit: (values: Float64Array, roots: readonly (Float64Array | null)[]) => Promise<T>,
  isWhitened: (mode: number) => boolean = () => true,
): Promise<T> {
  const inputsFirst = transpose(weight, outputs, weight.length / outputs);
  const { covariance, ridge = 1e-4, memory } = options;
  const plain = await remembered(memory, name, options, () => fit(inputsFirst, []));
  if (!covariance) return plain;
  const roots = kroneckerRoots(covariance, inputModes, ridge).map((root, mode) => (isWhitened(mode) ? root : null));
  const whitened = await fit(whiten(inputsFirst, [...inputModes, outputs], roots), roots);
  return nearest(weight, outputs, covariance, [plain, whitened]);
}
