/** Kernels of convolutions on the host, in f64: putting a chain's kernels together, whitening them. */
import { ShapeError } from "../../gpu/index.js";
import { matrixProduct, rowProducts, solveTriangular, type Values } from "./hostMatrices.js";
import type { Products } from "./products.js";

/** The kernel of one convolution. */
export interface DenseKernel {
  /** outputs×(inputs/groups)×height×width */
  weight: Values;
  inputs: number;
  outputs: number;
  groups: number;
  size: readonly [height: number, width: number];
}

/** A·Bᵀ of an m×k and an n×k matrix, as `rowProducts` and {@link Products.rows} have it. */
type RowProducts = (
  a: Values,
  b: Values,
  sizes: readonly [m: number, n: number, k: number],
) => Promise<Values> | Values;

const onHost: RowProducts = (a, b, [m, n, k]) => rowProducts(a, b, m, n, k);

/**
 * The kernel of the one convolution that does what these do one after the other. At most one of them may have more than one tap
 * vertically, and at most one horizontally, because stride and dilation then stay the same.
 *
 * @param products computes large products on the GPU; all are computed on the host by default
 */
export async function composeKernels(
  [first, ...rest]: readonly DenseKernel[],
  products?: Products,
): Promise<DenseKernel> {
  return ungroup(await composeGrouped([first!, ...rest], products));
}

/** The same, but the result may have groups: those of the first kernel, where the others do not mix them. */
export async function composeGrouped(
  [first, ...rest]: readonly DenseKernel[],
  products?: Products,
): Promise<DenseKernel> {
  const rows: RowProducts = products ? (a, b, sizes) => products.rows(a, b, sizes) : onHost;
  let before = first!;
  for (const next of rest) before = await composePair(before, next, rows);
  return before;
}

/** Two kernels as one, which keeps the groups of the first where each group of the second reads one of them only. */
async function composePair(before: DenseKernel, next: DenseKernel, rows: RowProducts): Promise<DenseKernel> {
  const [h1, w1] = before.size;
  const [h2, w2] = next.size;
  const size = [h1 + h2 - 1, w1 + w2 - 1] as const;
  const places = size[0] * size[1];
  // maps are the channels between the two
  const [makes, reads] = [before.outputs / before.groups, next.inputs / next.groups];
  const [from, into] = [before.inputs / before.groups, next.outputs / next.groups];
  const isGrouped = makes % reads === 0;
  const groups = isGrouped ? before.groups : 1;
  const inputs = before.inputs / groups;
  const out = new Float64Array(next.outputs * inputs * places);
  const [taps1, taps2] = [h1 * w1, h2 * w2];
  for (let map = 0; map < next.inputs; ) {
    const [group1, group2] = [Math.floor(map / makes), Math.floor(map / reads)];
    const end = Math.min((group1 + 1) * makes, (group2 + 1) * reads);
    const count = end - map;
    // (output, tap)×map and (input, tap)×map, of the outputs and the inputs that these maps connect
    const left = new Float64Array(into * taps2 * count);
    for (let o = 0, at = 0; o < into; o++)
      for (let t = 0; t < taps2; t++)
        for (let m = map; m < end; m++, at++)
          left[at] = next.weight[((group2 * into + o) * reads + m - group2 * reads) * taps2 + t]!;
    const right = new Float64Array(from * taps1 * count);
    for (let at = 0; at < from * taps1; at++)
      for (let m = map; m < end; m++) right[at * count + m - map] = before.weight[m * from * taps1 + at]!;
    const product = await rows(left, right, [into * taps2, from * taps1, count]);
    const start = isGrouped ? 0 : group1 * from;
    for (let o = 0, at = 0; o < into; o++)
      for (let y2 = 0; y2 < h2; y2++)
        for (let x2 = 0; x2 < w2; x2++)
          for (let s = 0; s < from; s++)
            for (let y1 = 0; y1 < h1; y1++)
              for (let x1 = 0; x1 < w1; x1++, at++)
                out[((group2 * into + o) * inputs + start + s) * places + (y1 + y2) * size[1] + x1 + x2]! +=
                  product[at]!;
    map = end;
  }
  return { weight: out, inputs: before.inputs, outputs: next.outputs, groups, size };
}

/** A grouped kernel as one without groups: inputs of other groups get the weight 0. */
function ungroup(kernel: DenseKernel): DenseKernel {
  const { weight, inputs, outputs, groups, size } = kernel;
  if (groups === 1) return kernel;
  const [height, width] = size;
  const [into, from, places] = [outputs / groups, inputs / groups, height * width];
  const out = new Float64Array(outputs * inputs * places);
  for (let o = 0; o < outputs; o++)
    for (let s = 0; s < from; s++)
      for (let p = 0; p < places; p++)
        out[(o * inputs + Math.floor(o / into) * from + s) * places + p] = weight[(o * from + s) * places + p]!;
  return { weight: out, inputs, outputs, groups: 1, size };
}

/** W·L along the input channels: the kernel that gives for x' what W gives for x = L·x'. */
export function timesChannels(kernel: DenseKernel, root: Values): DenseKernel {
  return { ...kernel, weight: alongChannels(kernel, (rows, m, n) => matrixProduct(rows, root, m, n, n)) };
}

/** W·L⁻¹ along the input channels. Undoes {@link timesChannels}; in a chain it is applied to the first kernel. */
export function timesChannelsInverse(kernel: DenseKernel, root: Values): DenseKernel {
  return { ...kernel, weight: alongChannels(kernel, (rows, m, n) => solveTriangular(root, rows, m, n, false)) };
}

/** Applies `change` to a kernel as an (outputs·height·width)×inputs matrix. */
function alongChannels(
  { weight, inputs, outputs, size: [height, width] }: DenseKernel,
  change: (rows: Float64Array, m: number, n: number) => Float64Array,
): Float64Array {
  const places = height * width;
  const rows = new Float64Array(weight.length);
  for (let o = 0; o < outputs; o++)
    for (let s = 0; s < inputs; s++)
      for (let p = 0; p < places; p++) rows[(o * places + p) * inputs + s] = weight[(o * inputs + s) * places + p]!;
  const changed = change(rows, outputs * places, inputs);
  const out = new Float64Array(weight.length);
  for (let o = 0; o < outputs; o++)
    for (let s = 0; s < inputs; s++)
      for (let p = 0; p < places; p++) out[(o * inputs + s) * places + p] = changed[(o * places + p) * inputs + s]!;
  return out;
}

/**
 * The covariance of patches, (inputs·places)². A covariance of the channels, inputs², is taken for every place, and different
 * places count as uncorrelated.
 *
 * @throws ShapeError where the covariance has neither size
 */
export function patchCovariance(covariance: Values, inputs: number, places: number): Values {
  const side = inputs * places;
  if (covariance.length === side * side) return covariance;
  if (covariance.length !== inputs * inputs)
    throw new ShapeError(
      `covariance of ${covariance.length} numbers, needs ${inputs}×${inputs} (channels) or ${side}×${side} (patches)`,
    );
  const out = new Float64Array(side * side);
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < inputs; j++)
      for (let p = 0; p < places; p++) out[(i * places + p) * side + j * places + p] = covariance[i * inputs + j]!;
  return out;
}
