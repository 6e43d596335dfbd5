/**
 * Weights to integers with the least error of the layer's outputs, E|(W − Ŵ)(x − mean x)|², instead of the least error of each weight.
 * With the covariance L·Lᵀ of the inputs that is the distance of W·L from points of a lattice. Weights are rounded one input after
 * another, and each takes up the error that those before it made (Babai 1986; Frantar 2023, GPTQ, does the same in the other order).
 */
import type { Values } from "../../nn/factorised/hostMatrices.js";
import { type OnnxModel, type OnnxSite, onnxSites, type Rounded, type RoundedRows } from "../../onnx/index.js";
import { roundHalfEven } from "../../onnx/quantise.js";
import { type Moments, widthOf } from "./moments.js";
import type { Products } from "./products.js";
import { Triangle } from "./triangle.js";

/** columns that are rounded before their error goes to all others by one product */
const BLOCK = 128;
/** what is added to the variances, as a share of their mean: at least, and for each input a patch */
const [RIDGE, RIDGE_A_PATCH] = [0.01, 1];

/**
 * Levels for weights: round(w ÷ scale) where the covariance is diagonal.
 *
 * @param weights outputs×width @param scales one an output @param limit the largest level
 * @param covariance width×width, of the inputs, positive
 */
export async function roundedBy(
  products: Products,
  weights: Values,
  scales: ArrayLike<number>,
  limit: number,
  covariance: Float64Array,
): Promise<Int8Array> {
  const outputs = scales.length;
  const width = weights.length / outputs;
  // the last column is rounded first, so it is that of the largest variance
  const order = Int32Array.from({ length: width }, (_, i) => i).sort(
    (a, b) => covariance[a * (width + 1)]! - covariance[b * (width + 1)]! || a - b,
  );
  const turned = new Float64Array(width * width);
  for (let i = 0, at = 0; i < width; i++)
    for (let j = 0; j < width; j++, at++) turned[at] = covariance[order[i]! * width + order[j]!]!;
  const triangle = await Triangle.of(products, turned, width);
  const levels = new Int8Array(weights.length);
  /** of each column: the error that columns behind it leave there */
  const left = new Float64Array(weights.length);
  for (let first = BLOCK * Math.floor((width - 1) / BLOCK); first >= 0; first -= BLOCK) {
    const end = Math.min(first + BLOCK, width);
    const side = end - first;
    const diagonal = triangle.block(first, end, first, end);
    const lost = new Float64Array(outputs * side);
    for (let o = 0; o < outputs; o++) {
      const scale = scales[o]!;
      const errors = left.subarray(o * width + first, o * width + end);
      for (let j = side - 1; j >= 0; j--) {
        const at = o * width + order[first + j]!;
        const wanted = weights[at]! + errors[j]! / diagonal[j * (side + 1)]!;
        const level = Math.max(-limit, Math.min(limit, roundHalfEven(wanted / scale)));
        levels[at] = level;
        const error = weights[at]! - level * scale;
        lost[o * side + j] = error;
        for (let k = 0, from = j * side; k < j; k++, from++) errors[k]! += error * diagonal[from]!;
      }
    }
    if (!first) break;
    const before = triangle.block(first, end, 0, first);
    const more = await products.multiply(lost, before, { rows: outputs, inner: side, columns: first });
    for (let o = 0, from = 0; o < outputs; o++)
      for (let k = 0, at = o * width; k < first; k++, at++, from++) left[at]! += more[from]!;
  }
  return levels;
}

/** Rounds the layers of a model by what their inputs are on samples. */
export class Rounder {
  private readonly wanted = new Map<string, RoundedRows>();
  private readonly done = new Map<string, Rounded>();

  /** @param collect the moments of the inputs of some layers of the model @param memory bytes that they may take at a time */
  constructor(
    private readonly products: Products,
    private readonly collect: (sites: readonly OnnxSite[]) => Promise<ReadonlyMap<string, Moments>>,
    private readonly memory: number,
  ) {}

  /** What `quantiseOnnx` asks of each layer; null before `work` has been through it, and for layers that have no moments. */
  readonly round = (rows: RoundedRows): Rounded | null => {
    const key = `${rows.output} ${rows.limit}`;
    const known = this.done.get(key);
    if (!known) this.wanted.set(key, rows);
    return known ?? null;
  };

  /** Finds what was asked for. */
  async work(model: OnnxModel, mostInputs: number, fixedInputs: boolean): Promise<void> {
    const ids = new Set([...this.wanted.values()].map(({ output }) => output));
    const sites = onnxSites(model, { smallest: 0, join: false, fixedInputs }).sites.filter(
      (site) => ids.has(site.id) && site.groups === 1 && widthOf(site) <= mostInputs,
    );
    for (let at = 0; at < sites.length; ) {
      const group = [sites[at++]!];
      let bytes = BYTES * widthOf(group[0]!) ** 2;
      for (; at < sites.length; at++) {
        bytes += BYTES * widthOf(sites[at]!) ** 2;
        if (bytes > this.memory) break;
        group.push(sites[at]!);
      }
      const moments = await this.collect(group);
      for (const [key, rows] of this.wanted) {
        const of = moments.get(rows.output);
        if (of?.count) this.done.set(key, await this.rounded(rows, of));
      }
    }
    this.wanted.clear();
  }

  private async rounded(rows: RoundedRows, { count, meanX, covariance }: Moments): Promise<Rounded> {
    const { weights, scales, limit, biased } = rows;
    const width = meanX.length;
    const c = Float64Array.from(covariance);
    // where no bias can take up the mean of the errors, it is an error like any other
    if (!biased)
      for (let i = 0, at = 0; i < width; i++) for (let j = 0; j < width; j++, at++) c[at]! += meanX[i]! * meanX[j]!;
    let trace = 0;
    for (let i = 0; i < width; i++) trace += c[i * (width + 1)]!;
    const ridge = (Math.max(RIDGE, (RIDGE_A_PATCH * width) / count) * trace) / width + 1e-30;
    for (let i = 0; i < width; i++) c[i * (width + 1)]! += ridge;
    const levels = await roundedBy(this.products, weights, scales, limit, c);
    const shift = new Float32Array(scales.length);
    if (biased)
      for (let o = 0, at = 0; o < shift.length; o++) {
        let sum = 0;
        for (let i = 0; i < width; i++, at++) sum += (weights[at]! - levels[at]! * scales[o]!) * meanX[i]!;
        shift[o] = sum;
      }
    return { levels, shift };
  }
}

/** for each entry of a covariance: it, a copy, its triangle and parts of that */
const BYTES = 40;
