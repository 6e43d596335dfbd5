/**
 * Layers as chains of smaller ones with the least error of their outputs, in closed form. All fits minimise, over F of low rank,
 *
 *     E|W(x − mean x) − F(z − mean z)|² + r·|F − W|²
 *
 * for patches x of the original network and z of the one that is compressed so far. With A = C_zz + r·I and B = W·C_xz + r·W this is a
 * regression; with A = L·Lᵀ the energy that F explains is a sum of squares of B·L⁻ᵀ. The ridge draws F to W, not to 0, which would
 * shrink the outputs.
 *
 * - lowRank, kernelFirst: reduced-rank regression, from the singular vectors of B·L⁻ᵀ (Denton 2014, whitened as in BALF and SVD-LLM).
 * - vertical, horizontal, pointwiseFirst: the first factor from singular vectors of the unfolded kernel, whitened by the sum of A's
 *   diagonal blocks; the second by least squares given the first, on the full covariance (Jaderberg 2014, scheme 2).
 * - tucker2: the first factor as in pointwiseFirst, the others by reduced-rank regression given the first (Kim 2016).
 *
 * A transposed convolution is the matrix from the channels of one place to all taps of all outputs, and its low rank is pointwiseFirst; the
 * error is that of the taps before they are added up, which is the outputs' where taps do not overlap.
 *
 * The first factor's vectors are ordered, so the leading block of one Cholesky factor holds the answer for every smaller rank.
 *
 * Outputs count as the network makes use of them: with a layer's block G = L·Lᵀ of the Gauss-Newton matrix (`gaussNewton.ts`), all of this is done
 * for Lᵀ·W, and the last factor is multiplied by L⁻ᵀ at the end.
 *
 * Where a layer has few patches, refits hold for these best. So r of each regression is the one of several by which a regression on all parts of
 * the samples but one loses least on that part, all parts in turn. Behind a first factor all of this is done in what it makes of patches.
 */
import {
  choleskyFactor,
  matrixProduct,
  permuteValues,
  solveTriangular,
  symmetricEigenvalues,
  transpose,
  type Values,
} from "../../nn/factorised/hostMatrices.js";
import type { OnnxReplacement, OnnxSite } from "../../onnx/index.js";
import { eigenvectorsOf } from "./eigenvectors.js";
import { type MomentPart, type Moments, widthOf } from "./moments.js";
import type { Products } from "./products.js";
import { blockOf, type Factor, ScaledIdentity, Triangle } from "./triangle.js";
import { wideOf } from "./wide.js";

/** The schemes that layers are compressed by. */
export type FittedScheme = "lowRank" | "kernelFirst" | "pointwiseFirst" | "vertical" | "horizontal" | "tucker2";

/** Taps of a transposed convolution; 0 for others. */
const tapsOf = ({ kind, shape }: OnnxSite): number =>
  kind === "transposedConvolution" ? shape.slice(2).reduce((a, b) => a * b, 1) : 0;

/** What a layer is fitted as: by a scheme, or as it is with other weights. */
export type FitScheme = FittedScheme | "whole";

/** A scheme with ranks. */
export interface FitCandidate {
  scheme: FittedScheme;
  ranks: readonly number[];
  /** entries of the factors */
  weights: number;
  /** of one run of the model; null where the layer's are unknown */
  multiplications: number | null;
  /** milliseconds in the runtime, where they were measured */
  time?: number;
  /** the part of the energy of the layer's centred outputs that is lost, 0 to 1; each output counts as the network makes use of it */
  error: number;
}

/** spatial axes that the factors of a scheme have the kernel's extent along, of a kernel of so many axes */
const AXES: Readonly<Record<FitScheme, (axes: readonly number[]) => (readonly number[])[]>> = {
  lowRank: (axes) => [axes, []],
  kernelFirst: (axes) => [axes, []],
  pointwiseFirst: (axes) => [[], axes],
  vertical: () => [[0], [1]],
  horizontal: () => [[1], [0]],
  tucker2: (axes) => [[], axes, []],
  whole: (axes) => [axes],
};

/** Shapes of the factors, and how often each is applied in a run. */
function stepsOf(site: OnnxSite, scheme: FitScheme, ranks: readonly number[]): { size: number; shape: number[] }[] {
  const [outputs, inputs, ...kernel] = site.shape as [number, number, ...number[]];
  const channels = [inputs, ...ranks, outputs / site.groups];
  const axes = kernel.map((_, axis) => axis);
  return AXES[scheme](axes).map((carried, at) => {
    const taps = kernel.map((extent, axis) => (carried.includes(axis) ? extent : 1));
    const shape = [channels[at + 1]! * site.groups, channels[at]!, ...taps];
    return { shape, size: shape.reduce((a, b) => a * b, 1) };
  });
}

/** Entries and multiplications of a chain. */
export function costOf(
  fitted: OnnxSite,
  scheme: FittedScheme,
  ranks: readonly number[],
): { weights: number; multiplications: number | null } {
  const site = wideOf(fitted);
  const steps = stepsOf(site, scheme, ranks);
  const weights = steps.reduce((sum, { size }) => sum + size, 0);
  const { multiplications: before, weights: size } = site.counts;
  if (before === null) return { weights, multiplications: null };
  const positions = before / size;
  // all of a transposed convolution is computed at the places of its input
  if (site.kind === "transposedConvolution") return { weights, multiplications: Math.round(weights * positions) };
  const kernel = site.shape.slice(2);
  const [input, output] = [site.inputShape?.slice(2), site.outputShape?.slice(2)];
  const carriers = AXES[scheme](kernel.map((_, axis) => axis));
  let total = 0;
  // a factor is applied at the output's positions along an axis from the factor on that has the kernel there
  let share = kernel.reduce((product, _, axis) => product * ((input?.[axis] ?? 1) / (output?.[axis] ?? 1)), 1);
  for (const [at, { size: entries }] of steps.entries()) {
    for (const axis of carriers[at]!) share *= (output?.[axis] ?? 1) / (input?.[axis] ?? 1);
    total += entries * positions * share;
  }
  return { weights, multiplications: Math.round(total) };
}

/** ridge of the first fits, as a share of the mean variance */
export const RIDGE = 1e-3;
/** Patches for each input of a layer below which they are few: its fits hold for these best. */
const FEW_PATCHES = 12;

/** Whether so many patches are few for a layer. Groups are taken as they are. */
export const hasFew = (site: OnnxSite, patches: number): boolean =>
  site.groups === 1 && patches < FEW_PATCHES * widthOf(site);

/**
 * The ridge of the first fits from so many patches, as a share of the mean variance. Of few patches it stands for what they do not show: fits hold
 * better for others by it, and errors with its part are those of others, so that ranks go where they are needed.
 */
export const firstRidge = (site: OnnxSite, patches: number): number =>
  RIDGE + (hasFew(site, patches) ? widthOf(site) / (2 * patches) : 0);

/** What parts of the samples choose r from, as shares of the mean variance: the ridge that is asked for, and what is larger of these. */
const RIDGES = [0.01, 0.05, 0.25, 1.25] as const;
/** the ridge of what first factors follow from, where parts choose */
const MIDDLING = 0.25;

/** A regression of outputs on s entries that a first factor makes of patches; without one on the patch itself. */
interface Regression {
  /** s×s */
  squares: Float64Array;
  /** outputs×s */
  cross: Float64Array;
}
/** A part of the samples, all about the means of the others. */
interface Split {
  /** means over the others, without the ridge */
  rest: Regression;
  /** sums over the part */
  held: Regression;
}

/** Indices of a patch in the order that the first factor of a scheme mixes. */
interface Unfolding {
  /** n places, each with `columns` entries behind it */
  order: Int32Array;
  /** with the place of the column first: the blocks of A lie together, and so do the rows of a product */
  turned: Int32Array;
  n: number;
  columns: number;
}
/** What patches are seen through: a first factor, limit×n. */
interface View extends Unfolding {
  first: Float64Array;
  limit: number;
}

/** B·L⁻ᵀ of a regression, and L. */
interface Whitened {
  /** the first factor, limit×n; null where the whole patch is regressed */
  first: Float64Array | null;
  limit: number;
  /** entries of the patch that one row of the first factor leaves */
  columns: number;
  lower: Factor;
  /** outputs × (limit·columns) */
  z: Float64Array;
}

export interface FitterOptions {
  /** r as a share of the mean variance */
  ridge: number;
  /** ranks are multiples of this; of layers with fewer than 64 channels of half of it, below 16 of 1 */
  multiple: number;
  /** whether z are other patches than x: the regression's full solution is then not W */
  refit: boolean;
  /** fits that know the means of the inputs and not their covariance, to tell what that brings */
  meansAlone?: boolean;
  /** how much errors of outputs count: a positive matrix of the outputs, without taps; all alike where there is none */
  metric?: Float64Array | undefined;
}

/** Lᵀ and L⁻ᵀ of a positive n×n matrix L·Lᵀ. */
function weighingOf(metric: Float64Array, n: number): { there: Float64Array; back: Float64Array } {
  const lower = choleskyFactor(metric, n, 0);
  const identity = new Float64Array(n * n);
  for (let i = 0; i < n; i++) identity[i * (n + 1)] = 1;
  return { there: transpose(lower, n, n), back: solveTriangular(lower, identity, n, n, true) };
}

/** A square matrix times values, whose rows are outputs, or outputs and their taps. */
async function mixed(products: Products, square: Float64Array, values: Float64Array): Promise<Float64Array> {
  const rows = Math.round(Math.sqrt(square.length));
  return await products.multiply(square, values, { rows, inner: rows, columns: values.length / rows });
}

/** All fits of one layer. */
export class LayerFits {
  /** of the centred outputs, as calibration has them, with the ridge's part */
  readonly energy: number;
  private readonly cache = new Map<string, Whitened>();
  private readonly spectra = new Map<string, { values: Float64Array; vectors: Float64Array }>();
  private readonly width: number;
  private readonly outputs: number;
  private readonly means: Pick<Moments, "count" | "meanX" | "meanZ"> | null;
  private readonly parts: readonly MomentPart[] | null;
  /** by which r the last regression was made, as a share of the mean variance */
  ridgeTaken: number;

  private constructor(
    private readonly products: Products,
    readonly site: OnnxSite,
    /** the weights as they are, and what is fitted: outputs weighed */
    private readonly plain: Float64Array,
    private readonly w: Float64Array,
    /** takes the weights of the outputs off again; null where they have none */
    private readonly inverse: Float64Array | null,
    private readonly bias: Float32Array | null,
    moments: Moments | null,
    /** A and B of the regression; null for an A of I, as the covariance is where inputs are unknown */
    private readonly a: Float64Array | null,
    private readonly b: Float64Array,
    /** the mean variance, and r */
    private readonly variance: number,
    private ridge: number,
    private readonly options: FitterOptions,
  ) {
    this.width = widthOf(site);
    this.outputs = w.length / this.width;
    this.means = moments && { count: moments.count, meanX: moments.meanX, meanZ: moments.meanZ };
    this.parts = moments?.parts ?? null;
    this.ridgeTaken = options.ridge;
    let energy = 1e-300;
    for (let i = 0; i < w.length; i++) energy += b[i]! * w[i]!;
    this.energy = energy;
  }

  /** @param moments null for fits of the weights alone, which leave the bias as it is; its covariance is overwritten */
  static async of(
    products: Products,
    site: OnnxSite,
    moments: Moments | null,
    options: FitterOptions,
  ): Promise<LayerFits> {
    const given = await site.weights();
    const width = widthOf(site);
    const taps = tapsOf(site);
    const plain = taps ? permuteValues(given, [site.shape[0]!, width, taps], [0, 2, 1]) : Float64Array.from(given);
    const weighing = options.metric && weighingOf(options.metric, site.shape[0]!);
    const w = weighing ? await mixed(products, weighing.there, plain) : plain;
    let a: Float64Array | null = null;
    let b: Float64Array = w;
    let [variance, r] = [0, 0];
    if (moments && !options.meansAlone) {
      a = moments.covariance;
      let trace = 0;
      for (let i = 0; i < width; i++) trace += a[i * (width + 1)]!;
      variance = Math.max(trace, 0) / width;
      r = options.ridge * variance + 1e-12;
      b = await products.multiply(w, moments.cross, { rows: w.length / width, inner: width, columns: width });
      for (let i = 0; i < w.length; i++) b[i]! += r * w[i]!;
      for (let i = 0; i < width; i++) a[i * (width + 1)]! += r;
    }
    return new LayerFits(
      products,
      site,
      plain,
      w,
      weighing?.back ?? null,
      await site.bias(),
      moments,
      a,
      b,
      variance,
      r,
      options,
    );
  }

  /** Draws fits to the weights by another ridge, as a share of the mean variance. */
  draw(ridge: number): void {
    const { a, b, w, width, variance } = this;
    const change = ridge * variance + 1e-12 - this.ridge;
    if (!a || change === 0) return;
    for (let i = 0; i < w.length; i++) b[i]! += change * w[i]!;
    for (let i = 0; i < width; i++) a[i * (width + 1)]! += change;
    this.ridge += change;
    this.cache.clear();
    this.spectra.clear();
  }

  /** how many patches the moments are of; null without moments */
  get patches(): number | null {
    return this.means?.count ?? null;
  }

  /** Bytes that all fits of a layer may take, with so many parts of its moments. */
  static bytesOf = (site: OnnxSite, parts = 0): number => (8 * 6 + 8 * parts) * site.groups * widthOf(site) ** 2;

  private get kernel(): readonly number[] {
    return this.site.shape.slice(2);
  }

  /** Schemes that save something for kernels of this kind. */
  private schemes(): FittedScheme[] {
    const { kernel } = this;
    if (this.site.kind === "dense") return ["lowRank"];
    if (this.site.kind === "transposedConvolution") return ["pointwiseFirst"];
    const spatial = kernel.length === 2 && Math.min(...kernel) > 1;
    return ["kernelFirst", "pointwiseFirst", ...(spatial ? (["vertical", "horizontal"] as const) : []), "tucker2"];
  }

  /** Whether a scheme is the low rank of the whole matrix. */
  private whole(scheme: FittedScheme): boolean {
    return scheme === "lowRank" || scheme === "kernelFirst" || this.site.kind === "transposedConvolution";
  }

  private async direct(): Promise<Whitened> {
    let entry = this.cache.get("direct");
    if (!entry) {
      const { width, outputs, a } = this;
      const limit = Math.min(width, outputs);
      const solved = a
        ? await this.regress({ squares: Float64Array.from(a), cross: Float64Array.from(this.b) }, null)
        : { lower: new ScaledIdentity(1), z: this.b };
      entry = { first: null, limit, columns: 1, ...solved };
      this.cache.set("direct", entry);
    }
    return entry;
  }

  /** Indices of a patch in the order that the first factor of a scheme mixes: n places, each with `columns` entries behind it. */
  private unfolding(scheme: FittedScheme): Unfolding {
    const { width, kernel } = this;
    const inputs = this.site.shape[1]!;
    const [height = 1, across = 1] = kernel;
    const order = Int32Array.from({ length: width }, (_, i) => i);
    let [n, columns] = [inputs, width / inputs];
    if (scheme === "vertical") [n, columns] = [inputs * height, across];
    if (scheme === "horizontal") {
      [n, columns] = [inputs * across, height];
      let at = 0;
      for (let i = 0; i < inputs; i++)
        for (let x = 0; x < across; x++) for (let y = 0; y < height; y++) order[at++] = (i * height + y) * across + x;
    }
    const turned = Int32Array.from({ length: width }, (_, i) => order[(i % n) * columns + Math.floor(i / n)]!);
    return { order, turned, n, columns };
  }

  /** @param most the largest rank that is asked for */
  private async through(scheme: FittedScheme, most?: number): Promise<Whitened> {
    const key = scheme === "tucker2" ? "pointwiseFirst" : scheme;
    const known = this.cache.get(key);
    if (known && (most === undefined || known.limit >= most)) return known;
    const { width, outputs, products } = this;
    const unfolding = this.unfolding(scheme);
    const { n, columns } = unfolding;
    const a = this.a && turnedMatrix(this.a, unfolding.turned);
    // (outputs·columns) × n
    const full = permuted(await this.guide(), unfolding.turned, outputs);
    const lowerBlock = a
      ? await Triangle.of(products, diagonalSum(a, width, n), n)
      : new ScaledIdentity(Math.sqrt(columns));
    const squares = await products.multiply(full, full, {
      ...{ rows: n, inner: outputs * columns, columns: n, transposeA: true },
    });
    const weighted = await lowerBlock.between(squares);
    const cheaper = Math.floor((outputs * width) / (n + outputs * columns));
    const limit = Math.min(most ?? n, Math.max(1, key === "pointwiseFirst" ? n : Math.min(n, cheaper)));
    const { vectors } = await eigenvectorsOf(products, weighted, n, limit);
    const first = await lowerBlock.solve(vectors, limit, false);
    const view: View = { ...unfolding, first, limit };
    const cross = await this.crossSeen(this.b, view);
    // the rows of the first factor of an A of I are orthogonal, and as long as each other
    const lower = new ScaledIdentity(1 / Math.sqrt(columns));
    const solved = a
      ? await this.regress({ squares: await this.squaresSeen(a, view), cross }, view)
      : { lower, z: await lower.solve(cross) };
    const entry: Whitened = { first, limit, columns, ...solved };
    this.cache.set(key, entry);
    return entry;
  }

  /** An outputs×width matrix as it is seen through a first factor: outputs × (limit·columns). */
  private async crossSeen(b: Float64Array, { turned, n, columns, first, limit }: View): Promise<Float64Array> {
    const { outputs, products } = this;
    const size = limit * columns;
    // (outputs·columns) × limit
    const seen = await products.multiply(permuted(b, turned, outputs), first, {
      ...{ rows: outputs * columns, inner: n, columns: limit, transposeB: true },
    });
    const out = new Float64Array(outputs * size);
    for (let o = 0, at = 0; o < outputs; o++)
      for (let r = 0; r < limit; r++)
        for (let c = 0; c < columns; c++, at++) out[at] = seen[(o * columns + c) * limit + r]!;
    return out;
  }

  /** A turned matrix as it is seen through a first factor, limit·columns on a side. */
  private async squaresSeen(a: Float64Array, { first, limit, n, columns }: View): Promise<Float64Array> {
    const { products, width } = this;
    const size = limit * columns;
    const out = new Float64Array(size * size);
    // the rows of one column's place at a time, up to the block on the diagonal
    for (let c = 0; c < columns; c++) {
      const rows = blockOf(a, width, c * n, (c + 1) * n, 0, (c + 1) * n);
      // (n·places) × limit, which is n × (places·limit)
      const half = await products.multiply(rows, first, {
        ...{ rows: n * (c + 1), inner: n, columns: limit, transposeB: true },
      });
      const both = await products.multiply(first, half, { rows: limit, inner: n, columns: limit * (c + 1) });
      for (let r = 0, at = 0; r < limit; r++)
        for (let d = 0; d <= c; d++)
          for (let q = 0, place = r * columns + c, other = d; q < limit; q++, at++, other += columns)
            out[place * size + other] = out[other * size + place] = both[at]!;
    }
    return out;
  }

  /** B·A⁻¹: the best weights without a limit of rank. */
  private async fullSolution(): Promise<Float64Array> {
    if (!this.options.refit) return this.w;
    const { lower, z } = await this.direct();
    return await lower.solve(z, this.outputs, false);
  }

  /** What first factors follow from: the full solution, by a middling ridge where parts would choose one by a dozen large Cholesky factors. */
  private async guide(): Promise<Float64Array> {
    const { a, b, width, outputs, products } = this;
    if (!this.options.refit || !this.parts || !a) return await this.fullSolution();
    const guiding = { squares: Float64Array.from(a), cross: Float64Array.from(b) };
    await this.drawn(guiding, null, Math.max(0, MIDDLING * this.variance - this.ridge));
    const lower = await Triangle.of(products, guiding.squares, width);
    return await lower.solve(await lower.solve(guiding.cross, outputs, true), outputs, false);
  }

  /**
   * Solves a regression, by the ridge that parts of the samples choose where there are parts.
   *
   * @param view what patches are seen through; null for a regression on the whole patch
   */
  private async regress(whole: Regression, view: View | null): Promise<Pick<Whitened, "lower" | "z">> {
    const { products, outputs, parts } = this;
    const size = whole.cross.length / outputs;
    if (parts) {
      const ridge = { squares: new Float64Array(size * size), cross: new Float64Array(outputs * size) };
      await this.drawn(ridge, view, this.ridge);
      const larger = RIDGES.map((share) => (share * this.variance) / this.ridge).filter((share) => share > 2);
      const shares = [1, ...larger];
      const lost = shares.map(() => 0);
      // one part at a time, because two matrices of this size are kept of each
      for (const part of parts) {
        const split = await this.splitBy(part, view, whole, ridge);
        for (const [at, share] of shares.entries()) lost[at]! += await this.lostBy(split, ridge, share);
      }
      const share = shares[lost.reduce((best, value, at) => (value < lost[best]! ? at : best), 0)]!;
      this.ridgeTaken = (share * this.ridge) / this.variance;
      for (const key of ["squares", "cross"] as const)
        for (let i = 0; i < whole[key].length; i++) whole[key][i]! += (share - 1) * ridge[key][i]!;
    }
    const lower = await Triangle.of(products, whole.squares, size);
    return { lower, z: await lower.solve(whole.cross, outputs, true) };
  }

  /** Adds r·|F − W|² to what a regression minimises. */
  private async drawn({ squares, cross }: Regression, view: View | null, r: number): Promise<void> {
    const { width, products, w } = this;
    const wanted = view ? await this.crossSeen(w, view) : w;
    for (let i = 0; i < cross.length; i++) cross[i]! += r * wanted[i]!;
    if (!view) {
      for (let i = 0; i < width; i++) squares[i * (width + 1)]! += r;
      return;
    }
    const { first, limit, n, columns } = view;
    const size = limit * columns;
    const lengths = await products.multiply(first, first, { rows: limit, inner: n, columns: limit, transposeB: true });
    for (let p = 0, at = 0; p < limit; p++)
      for (let q = 0; q < limit; q++, at++)
        for (let c = 0; c < columns; c++) squares[(p * columns + c) * size + q * columns + c]! += r * lengths[at]!;
  }

  /** A part of the samples through a first factor, and the regression on all others, without the ridge. */
  private async splitBy(part: MomentPart, view: View | null, whole: Regression, ridge: Regression): Promise<Split> {
    const { width, outputs, products, w, means } = this;
    const { count } = means!;
    const { sumX, sumZ, covariance } = part;
    const others = Math.max(1, count - part.count);
    const crossed = await products.multiply(w, part.cross, { rows: outputs, inner: width, columns: width });
    const sum = view ? seenVector(sumZ, view) : sumZ;
    const wanted = matrixProduct(w, sumX, outputs, width, 1);
    const squares = view
      ? await this.squaresSeen(turnedMatrix(covariance, view.turned), view)
      : Float64Array.from(covariance);
    const cross = view ? await this.crossSeen(crossed, view) : crossed;
    // sums are of differences from the means of all samples: those of the others are what the part's lack
    const mean = sum.map((value) => -value / others);
    const level = wanted.map((value) => -value / others);
    const rest: Regression = { squares: new Float64Array(squares.length), cross: new Float64Array(cross.length) };
    const parted = (key: "squares" | "cross", held: Float64Array, left: Float64Array, leftMean: Float64Array): void => {
      for (let i = 0, at = 0; i < left.length; i++)
        for (let j = 0; j < sum.length; j++, at++) {
          const all = count * (whole[key][at]! - ridge[key][at]!);
          rest[key][at] = (all - held[at]!) / others - leftMean[i]! * mean[j]!;
          held[at]! += leftMean[i]! * (part.count * mean[j]! - sum[j]!) - left[i]! * mean[j]!;
        }
    };
    parted("squares", squares, sum, mean);
    parted("cross", cross, wanted, level);
    return { rest, held: { squares, cross } };
  }

  /** What a part of the samples loses by a regression on the others, with so many times the ridge; less its outputs' energy. */
  private async lostBy({ rest, held }: Split, ridge: Regression, share: number): Promise<number> {
    const { outputs, products } = this;
    const size = rest.cross.length / outputs;
    const sum = (key: "squares" | "cross"): Float64Array =>
      rest[key].map((value, at) => value + share * ridge[key][at]!);
    const lower = await Triangle.of(products, sum("squares"), size);
    const factor = await lower.solve(await lower.solve(sum("cross"), outputs, true), outputs, false);
    const images = await products.multiply(factor, held.squares, { rows: outputs, inner: size, columns: size });
    let lost = 0;
    for (let i = 0; i < factor.length; i++) lost += factor[i]! * (images[i]! - 2 * held.cross[i]!);
    return lost;
  }

  /** Ranks that are tried, up to a limit. */
  private ranksUpTo(limit: number): number[] {
    const [outputs, inputs] = this.site.shape as [number, number];
    const side = Math.min(outputs, inputs);
    const step = side >= 64 ? this.options.multiple : side >= 16 ? Math.max(1, this.options.multiple / 2) : 1;
    return Array.from({ length: Math.floor(limit / step) }, (_, i) => (i + 1) * step);
  }

  /** All schemes and ranks that cost less than the layer, but for those that others beat in weights, multiplications and error. */
  async candidates(): Promise<FitCandidate[]> {
    return undominated(await this.everyCandidate());
  }

  /** All schemes and ranks that cost less than the layer. */
  async everyCandidate(): Promise<FitCandidate[]> {
    const { site, outputs, energy } = this;
    const out: FitCandidate[] = [];
    const put = (scheme: FittedScheme, ranks: readonly number[], explained: number): void => {
      const cost = costOf(site, scheme, ranks);
      const cheaper =
        cost.weights < LEAST_SAVING * site.counts.weights ||
        (cost.multiplications !== null && cost.multiplications < LEAST_SAVING * site.counts.multiplications!);
      if (cheaper) out.push({ scheme, ranks, ...cost, error: Math.min(1, Math.max(0, 1 - explained / energy)) });
    };
    for (const scheme of this.schemes()) {
      if (this.whole(scheme)) {
        const { z, limit } = await this.direct();
        const energies = cumulated(await this.spectrum(z, this.width, this.width));
        for (const rank of this.ranksUpTo(limit)) put(scheme, [rank], energies[rank - 1]!);
        continue;
      }
      const { z, limit, columns } = await this.through(scheme);
      const size = limit * columns;
      if (scheme !== "tucker2") {
        const energies = new Float64Array(size);
        for (let o = 0, at = 0; o < outputs; o++) for (let i = 0; i < size; i++, at++) energies[i]! += z[at]! ** 2;
        const sums = cumulated(energies);
        for (const rank of this.ranksUpTo(limit)) put(scheme, [rank], sums[rank * columns - 1]!);
        continue;
      }
      const firsts = this.ranksUpTo(limit);
      const thinned = firsts.filter((_, i) => i % Math.ceil(firsts.length / MOST_FIRST_RANKS) === 0);
      const spectra = this.spectraOf(z, size);
      for (const first of thinned) {
        const energies = cumulated(await spectra(first * columns));
        for (const rank of this.ranksUpTo(Math.min(outputs, first * columns)))
          put(scheme, [first, rank], energies[rank - 1]!);
      }
    }
    return out;
  }

  /** The matrices of a scheme with ranks, first to last. */
  private async solved(scheme: FitScheme, ranks: readonly number[]): Promise<Float64Array[]> {
    const { outputs, width } = this;
    const rank = ranks.at(-1)!;
    if (scheme === "whole") return [await this.fullSolution()];
    if (this.whole(scheme)) {
      const { lower, z } = await this.direct();
      return await this.reduced("direct", z, lower, width, rank);
    }
    // a refit is asked for one rank
    const most = this.options.refit ? ranks[0]! : undefined;
    const { first, lower, z, limit, columns } = await this.through(scheme, most);
    const k = ranks[0]! * columns;
    const head = first!.slice(0, ranks[0]! * (width / columns));
    const part = blockOf(z, limit * columns, 0, outputs, 0, k);
    if (scheme === "tucker2") return [head, ...(await this.reduced(`tucker2 ${k}`, part, lower, k, rank))];
    return [head, await lower.solve(part, outputs, false, k)];
  }

  /** How much of a candidate's error r·|F − W|² is: the rest is the error on the patches that the moments are of. */
  async ridgePart({ scheme, ranks }: FitCandidate): Promise<number> {
    const { outputs, width, products, w, ridge, energy } = this;
    let factors = await this.solved(scheme, ranks);
    const rank = ranks.at(-1)!;
    if (factors.length === 3) {
      const [head, middle, last] = factors as [Float64Array, Float64Array, Float64Array];
      const inner = { rows: outputs, inner: rank, columns: middle.length / rank };
      factors = [head, await products.multiply(last, middle, inner)];
    }
    const [first, second] = factors as [Float64Array, Float64Array];
    let order: Int32Array | null = null;
    let [n, columns] = [width, 1];
    if (!this.whole(scheme)) ({ turned: order, n, columns } = this.unfolding(scheme));
    const [k] = ranks as [number];
    const rows = columns > 1 ? permuteValues(second, [outputs, k, columns], [0, 2, 1]) : second;
    const product = await products.multiply(rows, first, { rows: outputs * columns, inner: k, columns: n });
    let distance = 0;
    for (let o = 0, at = 0; o < outputs; o++)
      for (let i = 0; i < width; i++, at++) distance += (product[at]! - w[o * width + (order ? order[i]! : i)]!) ** 2;
    return (ridge * distance) / energy;
  }

  /** The factors and the bias of a scheme with ranks; of "whole", which has none, the best weights and the bias. */
  async fit(scheme: FitScheme, ranks: readonly number[]): Promise<OnnxReplacement> {
    const { site } = this;
    const factors = await this.solved(scheme, ranks);
    if (this.inverse) factors.push(await mixed(this.products, this.inverse, factors.pop()!));
    const taps = scheme === "whole" ? 0 : tapsOf(site);
    if (taps) factors[1] = permuteValues(factors[1]!, [site.shape[0]!, taps, ranks[0]!], [0, 2, 1]);
    const shapes = stepsOf(site, scheme, ranks).map(({ shape }) => shape);
    const rounded = factors.map((data, at) => ({ shape: shapes[at]!, data: Float32Array.from(data) }));
    const bias =
      this.means &&
      this.corrected(
        scheme,
        ranks,
        rounded.map(({ data }) => data),
      );
    return { site: site.id, scheme, factors: rounded, ...(bias && { bias }) };
  }

  /** The same factors with the bias that keeps the mean of the outputs for these moments. */
  async rebiased(fit: OnnxReplacement): Promise<OnnxReplacement> {
    const ranks = fit.factors.slice(0, -1).map(({ shape }) => shape[0]!);
    const factors = fit.factors.map(({ data }) => data as Float32Array);
    return { ...fit, bias: this.corrected(fit.scheme as FitScheme, ranks, factors) };
  }

  /** The two factors of the best solution of a rank, of equal norms: rank×k and outputs×rank. */
  private async reduced(
    key: string,
    z: Float64Array,
    lower: Factor,
    k: number,
    rank: number,
  ): Promise<[Float64Array, Float64Array]> {
    const { outputs, products } = this;
    const wide = outputs <= k;
    const { values, vectors } = await this.eigenvectors(key, () => this.square(z, k));
    const head = vectors.subarray(0, rank * (wide ? outputs : k));
    const scales = Array.from({ length: rank }, (_, r) => Math.max(values[r]!, 0) ** 0.25);
    // scale 0: the vector explains nothing, and its factors are 0
    const over = (scale: number): number => (scale > 0 ? 1 / scale : 0);
    const rows = wide ? await products.multiply(head, z, { rows: rank, inner: outputs, columns: k }) : head;
    const first = await lower.solve(rows, rank, false, k);
    const last = wide
      ? transpose(head, rank, outputs)
      : await products.multiply(z, head, { rows: outputs, inner: k, columns: rank, transposeB: true });
    for (let r = 0; r < rank; r++) {
      const [inward, outward] = wide ? [over(scales[r]!), scales[r]!] : [scales[r]!, over(scales[r]!)];
      for (let i = 0; i < k; i++) first[r * k + i]! *= inward;
      for (let o = 0; o < outputs; o++) last[o * rank + r]! *= outward;
    }
    return [first, last];
  }

  /** ZZᵀ or ZᵀZ of an outputs×k matrix, whichever is smaller. */
  private async square(z: Float64Array, k: number): Promise<Float64Array> {
    const { outputs, products } = this;
    return outputs <= k
      ? await products.multiply(z, z, { rows: outputs, inner: k, columns: outputs, transposeB: true })
      : await products.multiply(z, z, { rows: k, inner: outputs, columns: k, transposeA: true });
  }

  /** Squared singular values of the first k columns of an outputs×width matrix, largest first. */
  private async spectrum(z: Float64Array, k: number, width: number): Promise<Float64Array> {
    const square = await this.square(blockOf(z, width, 0, this.outputs, 0, k), k);
    return symmetricEigenvalues(square, Math.min(this.outputs, k)).map((value) => Math.max(value, 0));
  }

  /** Spectra of more and more columns of an outputs×width matrix. */
  private spectraOf(z: Float64Array, width: number): (k: number) => Promise<Float64Array> {
    const { outputs, products } = this;
    // Z·Zᵀ of the first columns
    const sums = new Float64Array(outputs * outputs);
    let summed = 0;
    return async (k) => {
      if (k < outputs) return await this.spectrum(z, k, width);
      const part = blockOf(z, width, 0, outputs, summed, k);
      const more = await products.multiply(part, part, {
        ...{ rows: outputs, inner: k - summed, columns: outputs, transposeB: true },
      });
      for (let e = 0; e < sums.length; e++) sums[e]! += more[e]!;
      summed = k;
      return symmetricEigenvalues(Float64Array.from(sums), outputs).map((value) => Math.max(value, 0));
    };
  }

  private async eigenvectors(key: string, square: () => Promise<Float64Array>) {
    let entry = this.spectra.get(key);
    if (!entry) {
      const matrix = await square();
      entry = await eigenvectorsOf(this.products, matrix, Math.sqrt(matrix.length));
      this.spectra.set(key, entry);
    }
    return entry;
  }

  /** The bias that keeps the mean of the outputs: b + W·mean x − F·mean z, for the factors as they are written. */
  private corrected(scheme: FitScheme, ranks: readonly number[], factors: readonly Float32Array[]): Float32Array {
    const { outputs, width, plain: w, site } = this;
    const { meanX, meanZ } = this.means!;
    const taps = tapsOf(site);
    if (taps) {
      const seen = matrixProduct(factors[0]!, meanZ, ranks[0]!, width, 1);
      const last = permuteValues(factors[1]!, [site.shape[0]!, ranks[0]!, taps], [0, 2, 1]);
      const [wanted, now] = [
        matrixProduct(w, meanX, outputs, width, 1),
        matrixProduct(last, seen, outputs, ranks[0]!, 1),
      ];
      // a place of the output adds up so many of the taps
      const share = site.geometry!.strides.reduce((a, b) => a / b, 1);
      return Float32Array.from({ length: site.shape[0]! }, (_, o) => {
        let change = 0;
        for (let tap = o * taps; tap < (o + 1) * taps; tap++) change += wanted[tap]! - now[tap]!;
        return (this.bias?.[o] ?? 0) + share * change;
      });
    }
    let values: Float64Array;
    if (scheme === "lowRank" || scheme === "kernelFirst" || scheme === "whole")
      values = matrixProduct(factors[0]!, meanZ, factors[0]!.length / width, width, 1);
    else {
      const { order, n, columns } = this.unfolding(scheme);
      const unfolded = Float64Array.from(order, (index) => meanZ[index]!);
      values = matrixProduct(factors[0]!, unfolded, ranks[0]!, n, columns);
    }
    for (const factor of factors.slice(1))
      values = matrixProduct(factor, values, factor.length / values.length, values.length, 1);
    const wanted = matrixProduct(w, meanX, outputs, width, 1);
    return Float32Array.from(wanted, (value, o) => (this.bias?.[o] ?? 0) + value - values[o]!);
  }
}

/** A chain is only tried where it has less than this share of the layer's weights or multiplications. */
const LEAST_SAVING = 0.95;
/** first ranks of Tucker-2 that are tried, each with all second ranks */
const MOST_FIRST_RANKS = 12;

/** A symmetric matrix with its rows and columns in another order. */
function turnedMatrix(a: Values, order: Int32Array): Float64Array {
  const width = order.length;
  const out = new Float64Array(width * width);
  for (let i = 0, at = 0; i < width; i++) {
    const row = a.subarray(order[i]! * width, (order[i]! + 1) * width);
    for (let j = 0; j < width; j++, at++) out[at] = row[order[j]!]!;
  }
  return out;
}

/** The sum of the n×n blocks on a matrix' diagonal. */
function diagonalSum(a: Float64Array, width: number, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let first = 0; first < width; first += n)
    for (let p = 0; p < n; p++) {
      const from = (first + p) * width + first;
      for (let q = 0, at = p * n; q < n; q++, at++) out[at]! += a[from + q]!;
    }
  return out;
}

/** Rows of a matrix with their entries in another order. */
function permuted(values: Float64Array, order: Int32Array, rows: number): Float64Array {
  const width = order.length;
  const out = new Float64Array(values.length);
  for (let row = 0, at = 0; row < rows; row++)
    for (let i = 0; i < width; i++, at++) out[at] = values[row * width + order[i]!]!;
  return out;
}

/** A patch through a first factor. */
function seenVector(patch: Float64Array, { order, n, columns, first, limit }: View): Float64Array {
  const unfolded = Float64Array.from(order, (index) => patch[index]!);
  return matrixProduct(first, unfolded, limit, n, columns);
}

function cumulated(values: Float64Array): Float64Array {
  let sum = 0;
  return values.map((value) => {
    sum += value;
    return sum;
  });
}

/** Candidates that no other one beats in error, weights and multiplications at once. */
export function undominated(candidates: readonly FitCandidate[]): FitCandidate[] {
  const sorted = [...candidates].sort(
    (a, b) => (a.multiplications ?? 0) - (b.multiplications ?? 0) || a.weights - b.weights || a.error - b.error,
  );
  const out: FitCandidate[] = [];
  for (const one of sorted)
    if (!out.some(({ weights, error }) => weights <= one.weights && error <= one.error)) out.push(one);
  return out;
}

/** Shapes of a chain's factors. */
export const factorShapes = (site: OnnxSite, scheme: FittedScheme, ranks: readonly number[]): number[][] =>
  stepsOf(wideOf(site), scheme, ranks).map(({ shape }) => shape);
