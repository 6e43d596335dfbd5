/** Kernels of convolutions on the host, in f64: putting a chain's kernels together, whitening them, solving for the last one. */
import { ShapeError } from "../../gpu/index.js";
import { matrixProduct, solveRows, solveTriangular, type Values } from "./hostMatrices.js";
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

/**
 * The kernel of the one convolution that does what these do one after the other. At most one of them may have more than one tap
 * vertically, and at most one horizontally, because stride and dilation then stay the same.
 */
export function composeKernels([start, ...rest]: readonly DenseKernel[]): DenseKernel {
  const first = start!.groups === 1 ? start! : ungroup(start!);
  return rest.reduce((before, next) => {
    const [h1, w1] = before.size;
    const [h2, w2] = next.size;
    const [height, width] = [h1 + h2 - 1, w1 + w2 - 1];
    const { inputs, weight: dense } = before;
    const out = new Float64Array(next.outputs * inputs * height * width);
    const [into, from] = [next.outputs / next.groups, next.inputs / next.groups];
    for (let o = 0; o < next.outputs; o++) {
      const group = Math.floor(o / into);
      for (let r = 0; r < from; r++)
        for (let y2 = 0; y2 < h2; y2++)
          for (let x2 = 0; x2 < w2; x2++) {
            const factor = next.weight[((o * from + r) * h2 + y2) * w2 + x2]!;
            if (factor === 0) continue;
            for (let s = 0; s < inputs; s++)
              for (let y1 = 0; y1 < h1; y1++)
                for (let x1 = 0; x1 < w1; x1++)
                  out[((o * inputs + s) * height + y1 + y2) * width + x1 + x2]! +=
                    factor * dense[(((group * from + r) * inputs + s) * h1 + y1) * w1 + x1]!;
          }
    }
    return { weight: out, inputs, outputs: next.outputs, groups: 1, size: [height, width] };
  }, first);
}

/** A grouped kernel as one without groups: inputs of other groups get the weight 0. */
function ungroup({ weight, inputs, outputs, groups, size }: DenseKernel): DenseKernel {
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

/** √(E‖(W − Ŵ)·x‖² / E‖W·x‖²) over patches x with this covariance, for the kernel W and each approximation Ŵ of it. */
export async function outputErrors(
  target: DenseKernel,
  approximations: readonly DenseKernel[],
  patches: Values,
  products: Products,
): Promise<number[]> {
  const { weight, outputs } = target;
  const side = weight.length / outputs;
  // W, then every W − Ŵ, as rows of one matrix
  const rows = new Float64Array((1 + approximations.length) * weight.length);
  rows.set(weight);
  for (const [at, { weight: near }] of approximations.entries())
    for (let e = 0, to = (at + 1) * weight.length; e < weight.length; e++, to++) rows[to] = weight[e]! - near[e]!;
  const sizes = [rows.length / side, side, side] as const;
  const image = await products.rows(rows, patches, sizes, { keepB: true });
  const energies = Array.from({ length: 1 + approximations.length }, (_, at) => {
    let energy = 0;
    for (let e = at * weight.length; e < (at + 1) * weight.length; e++) energy += image[e]! * rows[e]!;
    return energy;
  });
  return energies.slice(1).map((energy) => Math.sqrt(Math.max(0, energy) / energies[0]!));
}

/**
 * Σ ‖term‖² of a chain whose last kernel has one tap. A term is the product of the kernel up to one channel before the last one
 * and one weight of the last kernel that reads this channel. For CP these are the rank-one terms, and the sum bounds how far a
 * small change of a factor moves the kernel.
 */
export function termEnergy(parts: readonly DenseKernel[]): number {
  const last = parts.at(-1)!;
  const before = composeKernels(parts.slice(0, -1));
  const lengths = squaredRows(before.weight, last.inputs);
  return sumOfSquares(Float64Array.from(last.weight, (value, e) => value * Math.sqrt(lengths[e % last.inputs]!)));
}

function sumOfSquares(values: Values): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return sum;
}

function squaredRows(values: Values, rows: number): Float64Array {
  const columns = values.length / rows;
  return Float64Array.from({ length: rows }, (_, r) => sumOfSquares(values.subarray(r * columns, (r + 1) * columns)));
}

/**
 * The chain with its last kernel replaced by the least squares solution for the outputs, while the other kernels stay. The last
 * kernel must have no groups.
 *
 * @param target the kernel whose outputs the chain is fitted to
 * @param patches covariance of the patches, from {@link patchCovariance}
 * @param ridge of the normal equations, at most 1e-9 of which is used
 * @param products computes large products on the GPU
 * @param bound most {@link termEnergy} of the result: a ridge on the terms' lengths grows until it is met
 */
export async function refitLast(
  parts: readonly DenseKernel[],
  target: DenseKernel,
  patches: Values,
  ridge: number,
  products: Products,
  bound = Number.POSITIVE_INFINITY,
): Promise<DenseKernel[]> {
  const last = parts.at(-1)!;
  if (parts.length === 1) return [{ ...last, weight: target.weight }];
  const front = composeKernels(parts.slice(0, -1));
  const [height, width] = target.size;
  const [h1, w1] = front.size;
  const [h2, w2] = last.size;
  const side = target.inputs * height * width;
  const features = last.inputs * h2 * w2;
  // one row for each weight of the last kernel: the linear function of a patch that this weight multiplies
  const basis = new Float64Array(features * side);
  for (let r = 0; r < last.inputs; r++)
    for (let y2 = 0; y2 < h2; y2++)
      for (let x2 = 0; x2 < w2; x2++)
        for (let s = 0; s < target.inputs; s++)
          for (let y1 = 0; y1 < h1; y1++)
            for (let x1 = 0; x1 < w1; x1++)
              basis[((r * h2 + y2) * w2 + x2) * side + (s * height + y1 + y2) * width + x1 + x2] =
                front.weight[((r * target.inputs + s) * h1 + y1) * w1 + x1]!;
  // the covariance is symmetric
  const image = await products.rows(basis, patches, [features, side, side], { keepB: true });
  const normals = await products.rows(image, basis, [features, features, side]);
  const wanted = await products.rows(target.weight, image, [target.outputs, features, side]);
  const leastRidge = Math.min(ridge, 1e-9);
  const refit = (weight: Values) => [...parts.slice(0, -1), { ...last, weight }];
  const weight = solveRows(normals, wanted, target.outputs, features, leastRidge);
  // unknowns scaled by the lengths of the basis rows are lengths of terms, and Σ of their squares is the term energy
  const lengths = squaredRows(basis, features).map((square) => Math.sqrt(square) || 1);
  const inLengths = (values: Values, power: number) =>
    values.map((value, e) => value * lengths[e % features]! ** power);
  if (sumOfSquares(inLengths(weight, 1)) <= bound) return refit(weight);
  const scaledWanted = inLengths(wanted, -1);
  const scaledNormals = inLengths(normals, -1).map((value, e) => value / lengths[Math.floor(e / features)]!);
  let [low, high] = [leastRidge, 1e9];
  let terms: Float64Array = new Float64Array(weight.length);
  for (let step = 0; step < 40; step++) {
    const middle = Math.sqrt(low * high);
    const solved = solveRows(scaledNormals, scaledWanted, target.outputs, features, middle);
    if (sumOfSquares(solved) <= bound) [terms, high] = [solved, middle];
    else low = middle;
  }
  return refit(inLengths(terms, -1));
}
