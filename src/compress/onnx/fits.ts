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
 * The first factor's vectors are ordered, so the leading block of one Cholesky factor holds the answer for every smaller rank.
 */
import { eigh } from "../../decompositions/index.js";
import type { Engine } from "../../gpu/index.js";
import {
  choleskyFactor,
  matrixProduct,
  rowProducts,
  solveTriangular,
  symmetricEigenvalues,
  symmetricEigenvectors,
  transpose,
} from "../../nn/factorised/hostMatrices.js";
import type { OnnxReplacement, OnnxSite } from "../../onnx/index.js";
import { type Moments, widthOf } from "./moments.js";

/** The schemes that layers are compressed by. */
export type FittedScheme = "lowRank" | "kernelFirst" | "pointwiseFirst" | "vertical" | "horizontal" | "tucker2";

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
  /** the part of the energy of the layer's centred outputs that is lost, 0 to 1 */
  error: number;
}

/** spatial axes that the factors of a scheme have the kernel's extent along, of a kernel of so many axes */
const AXES: Readonly<Record<FittedScheme, (axes: readonly number[]) => (readonly number[])[]>> = {
  lowRank: (axes) => [axes, []],
  kernelFirst: (axes) => [axes, []],
  pointwiseFirst: (axes) => [[], axes],
  vertical: () => [[0], [1]],
  horizontal: () => [[1], [0]],
  tucker2: (axes) => [[], axes, []],
};

/** Shapes of the factors, and how often each is applied in a run. */
function stepsOf(site: OnnxSite, scheme: FittedScheme, ranks: readonly number[]): { size: number; shape: number[] }[] {
  const [outputs, inputs, ...kernel] = site.shape as [number, number, ...number[]];
  const channels = [inputs, ...ranks, outputs];
  const axes = kernel.map((_, axis) => axis);
  return AXES[scheme](axes).map((carried, at) => {
    const taps = kernel.map((extent, axis) => (carried.includes(axis) ? extent : 1));
    const shape = [channels[at + 1]!, channels[at]!, ...taps];
    return { shape, size: shape.reduce((a, b) => a * b, 1) };
  });
}

/** Entries and multiplications of a chain. */
export function costOf(
  site: OnnxSite,
  scheme: FittedScheme,
  ranks: readonly number[],
): { weights: number; multiplications: number | null } {
  const steps = stepsOf(site, scheme, ranks);
  const weights = steps.reduce((sum, { size }) => sum + size, 0);
  const { multiplications: before, weights: size } = site.counts;
  if (before === null) return { weights, multiplications: null };
  const positions = before / size;
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

/** Sides of symmetric matrices up to which eigenvectors are found on the host, where they cost less than the way to the GPU. */
const ON_HOST = 320;

/** Eigenvectors of a symmetric matrix, one a row, and their energies vᵀMv in f64, largest first. */
export async function eigenvectorsOf(
  engine: Engine,
  matrix: Float64Array,
  n: number,
  onHost = ON_HOST,
): Promise<{ values: Float64Array; vectors: Float64Array }> {
  if (n <= onHost) return symmetricEigenvectors(Float64Array.from(matrix), n);
  let largest = 0;
  for (const value of matrix) largest = Math.max(largest, Math.abs(value));
  const scale = largest > 0 ? 2 ** -Math.round(Math.log2(largest)) : 1;
  using a = engine.tensor(
    [n, n],
    Float32Array.from(matrix, (value) => value * scale),
  );
  using factors = await eigh(engine, a);
  const vectors = transpose(await factors.vectors.read(), n, n);
  // eigenvalues of f32 are off by 1e-6 of the largest; the energies of the vectors by the square of that
  const images = rowProducts(vectors, matrix, n, n, n);
  const values = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let j = 0, at = i * n; j < n; j++, at++) values[i]! += vectors[at]! * images[at]!;
  return { values, vectors };
}

/** B·L⁻ᵀ of a regression, and the Cholesky factor. */
interface Whitened {
  /** the first factor, limit×n; null where the whole patch is regressed */
  first: Float64Array | null;
  limit: number;
  /** entries of the patch that one row of the first factor leaves */
  columns: number;
  lower: Float64Array;
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
}

/** All fits of one layer. */
export class LayerFits {
  private readonly a: Float64Array;
  private readonly b: Float64Array;
  private readonly energy: number;
  private readonly cache = new Map<string, Whitened>();
  private readonly spectra = new Map<string, { values: Float64Array; vectors: Float64Array }>();
  private readonly width: number;
  private readonly outputs: number;

  private constructor(
    private readonly engine: Engine,
    readonly site: OnnxSite,
    private readonly w: Float64Array,
    private readonly bias: Float32Array | null,
    private readonly moments: Moments | null,
    private readonly options: FitterOptions,
  ) {
    const width = widthOf(site);
    this.width = width;
    this.outputs = site.shape[0]!;
    if (moments) {
      const { covariance, cross } = moments;
      let trace = 0;
      for (let i = 0; i < width; i++) trace += covariance[i * (width + 1)]!;
      const r = (options.ridge * Math.max(trace, 0)) / width + 1e-12;
      this.a = Float64Array.from(covariance);
      for (let i = 0; i < width; i++) this.a[i * (width + 1)]! += r;
      this.b = matrixProduct(w, cross, this.outputs, width, width);
      for (let i = 0; i < w.length; i++) this.b[i]! += r * w[i]!;
    } else {
      this.a = new Float64Array(width * width);
      for (let i = 0; i < width; i++) this.a[i * (width + 1)] = 1;
      this.b = w;
    }
    let energy = 1e-300;
    for (let i = 0; i < w.length; i++) energy += this.b[i]! * w[i]!;
    this.energy = energy;
  }

  /** @param moments null for fits of the weights alone, which leave the bias as it is */
  static async of(engine: Engine, site: OnnxSite, moments: Moments | null, options: FitterOptions): Promise<LayerFits> {
    const weights = Float64Array.from(await site.weights());
    return new LayerFits(engine, site, weights, await site.bias(), moments, options);
  }

  /** how many patches the moments are of; null without moments */
  get patches(): number | null {
    return this.moments?.count ?? null;
  }

  /** Bytes that all fits of a layer may take. */
  static bytesOf = (site: OnnxSite): number => 8 * 6 * widthOf(site) ** 2;

  private get kernel(): readonly number[] {
    return this.site.shape.slice(2);
  }

  /** Schemes that save something for kernels of this kind. */
  private schemes(): FittedScheme[] {
    const { kernel } = this;
    if (this.site.kind === "dense") return ["lowRank"];
    const spatial = kernel.length === 2 && Math.min(...kernel) > 1;
    return ["kernelFirst", "pointwiseFirst", ...(spatial ? (["vertical", "horizontal"] as const) : []), "tucker2"];
  }

  private direct(): Whitened {
    let entry = this.cache.get("direct");
    if (!entry) {
      const { width, outputs } = this;
      const lower = choleskyFactor(this.a, width, 1e-10);
      const z = solveTriangular(lower, this.b, outputs, width, true);
      entry = { first: null, limit: Math.min(width, outputs), columns: 1, lower, z };
      this.cache.set("direct", entry);
    }
    return entry;
  }

  /** Indices of a patch in the order that the first factor of a scheme mixes: n places, each with `columns` entries behind it. */
  private unfolding(scheme: FittedScheme): { order: Int32Array; n: number; columns: number } {
    const { width, kernel } = this;
    const inputs = this.site.shape[1]!;
    const [height = 1, across = 1] = kernel;
    const order = Int32Array.from({ length: width }, (_, i) => i);
    if (scheme === "vertical") return { order, n: inputs * height, columns: across };
    if (scheme !== "horizontal") return { order, n: inputs, columns: width / inputs };
    let at = 0;
    for (let i = 0; i < inputs; i++)
      for (let x = 0; x < across; x++) for (let y = 0; y < height; y++) order[at++] = (i * height + y) * across + x;
    return { order, n: inputs * across, columns: height };
  }

  private async through(scheme: FittedScheme): Promise<Whitened> {
    const key = scheme === "tucker2" ? "pointwiseFirst" : scheme;
    const known = this.cache.get(key);
    if (known) return known;
    const { width, outputs, options } = this;
    const { order, n, columns } = this.unfolding(scheme);
    const a = new Float64Array(width * width);
    for (let i = 0, at = 0; i < width; i++) {
      const from = order[i]! * width;
      for (let j = 0; j < width; j++, at++) a[at] = this.a[from + order[j]!]!;
    }
    const full = options.refit ? this.fullSolution() : this.w;
    // n × (outputs·columns)
    const unfolded = new Float64Array(width * outputs);
    for (let p = 0; p < n; p++)
      for (let o = 0; o < outputs; o++)
        for (let c = 0; c < columns; c++)
          unfolded[(p * outputs + o) * columns + c] = full[o * width + order[p * columns + c]!]!;
    const block = new Float64Array(n * n);
    for (let p = 0; p < n; p++)
      for (let q = 0; q < n; q++) {
        let sum = 0;
        for (let c = 0; c < columns; c++) sum += a[(p * columns + c) * width + q * columns + c]!;
        block[p * n + q] = sum;
      }
    const lowerBlock = choleskyFactor(block, n, 1e-10);
    const turned = transpose(lowerBlock, n, n);
    const squares = rowProducts(unfolded, unfolded, n, n, outputs * columns);
    const weighted = rowProducts(rowProducts(turned, squares, n, n, n), turned, n, n, n);
    const { vectors } = await eigenvectorsOf(this.engine, weighted, n);
    const most = Math.floor((outputs * width) / (n + outputs * columns));
    const limit = Math.max(1, key === "pointwiseFirst" ? n : Math.min(n, most));
    const first = solveTriangular(lowerBlock, vectors.subarray(0, limit * n), limit, n, false);
    const { a: inner, b } = this.project(a, first, limit, n, columns, order);
    const size = limit * columns;
    const lower = choleskyFactor(inner, size, 1e-10);
    const entry: Whitened = { first, limit, columns, lower, z: solveTriangular(lower, b, outputs, size, true) };
    this.cache.set(key, entry);
    return entry;
  }

  /** A and B as they are seen through a first factor. */
  private project(
    a: Float64Array,
    first: Float64Array,
    limit: number,
    n: number,
    columns: number,
    order: Int32Array,
  ): { a: Float64Array; b: Float64Array } {
    const { width, outputs } = this;
    const size = limit * columns;
    const half = matrixProduct(first, a, limit, n, columns * width);
    // (limit, c, n, c') to (limit, c, c', n)
    const rows = new Float64Array(half.length);
    for (let r = 0, at = 0; r < size; r++)
      for (let c = 0; c < columns; c++) for (let q = 0; q < n; q++, at++) rows[at] = half[r * width + q * columns + c]!;
    const products = rowProducts(rows, first, size * columns, limit, n);
    const inner = new Float64Array(size * size);
    for (let r = 0; r < size; r++)
      for (let c = 0; c < columns; c++)
        for (let q = 0; q < limit; q++) inner[r * size + q * columns + c] = products[(r * columns + c) * limit + q]!;
    const bRows = new Float64Array(outputs * width);
    for (let o = 0, at = 0; o < outputs; o++)
      for (let c = 0; c < columns; c++)
        for (let p = 0; p < n; p++, at++) bRows[at] = this.b[o * width + order[p * columns + c]!]!;
    const bProducts = rowProducts(bRows, first, outputs * columns, limit, n);
    const b = new Float64Array(outputs * size);
    for (let o = 0; o < outputs; o++)
      for (let c = 0; c < columns; c++)
        for (let q = 0; q < limit; q++) b[o * size + q * columns + c] = bProducts[(o * columns + c) * limit + q]!;
    return { a: inner, b };
  }

  /** B·A⁻¹: the best weights without a limit of rank. */
  private fullSolution(): Float64Array {
    const { lower, z } = this.direct();
    return solveTriangular(lower, z, this.outputs, this.width, false);
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
      if (scheme === "lowRank" || scheme === "kernelFirst") {
        const { z, limit } = this.direct();
        const energies = cumulated(spectrum(z, outputs, this.width, this.width));
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
      for (const first of thinned) {
        const energies = cumulated(spectrum(z, outputs, first * columns, size));
        for (const rank of this.ranksUpTo(Math.min(outputs, first * columns)))
          put(scheme, [first, rank], energies[rank - 1]!);
      }
    }
    return undominated(out);
  }

  /** The factors and the bias of a scheme with ranks. */
  async fit(scheme: FittedScheme, ranks: readonly number[]): Promise<OnnxReplacement> {
    const { outputs, site, width } = this;
    const rank = ranks.at(-1)!;
    const factors: Float64Array[] = [];
    if (scheme === "lowRank" || scheme === "kernelFirst") {
      const { lower, z } = this.direct();
      factors.push(...(await this.reduced("direct", z, lower, width, rank)));
    } else {
      const { first, lower, z, limit, columns } = await this.through(scheme);
      const [size, k] = [limit * columns, ranks[0]! * columns];
      factors.push(first!.slice(0, ranks[0]! * (width / columns)));
      const head = leading(lower, size, k, k);
      const part = leading(z, size, k, outputs);
      if (scheme === "tucker2") factors.push(...(await this.reduced(`tucker2 ${k}`, part, head, k, rank)));
      else factors.push(solveTriangular(head, part, outputs, k, false));
    }
    const shapes = stepsOf(site, scheme, ranks).map(({ shape }) => shape);
    const rounded = factors.map((data, at) => ({ shape: shapes[at]!, data: Float32Array.from(data) }));
    const bias =
      this.moments &&
      this.corrected(
        scheme,
        ranks,
        rounded.map(({ data }) => data),
      );
    return { site: site.id, scheme, factors: rounded, ...(bias && { bias }) };
  }

  /** The same factors with the bias that keeps the mean of the outputs for these moments. */
  rebiased(fit: OnnxReplacement): OnnxReplacement {
    const ranks = fit.factors.slice(0, -1).map(({ shape }) => shape[0]!);
    const factors = fit.factors.map(({ data }) => data as Float32Array);
    return { ...fit, bias: this.corrected(fit.scheme as FittedScheme, ranks, factors) };
  }

  /** The two factors of the best solution of a rank, of equal norms: rank×k and outputs×rank. */
  private async reduced(
    key: string,
    z: Float64Array,
    lower: Float64Array,
    k: number,
    rank: number,
  ): Promise<[Float64Array, Float64Array]> {
    const { outputs } = this;
    const wide = outputs <= k;
    const { values, vectors } = await this.eigenvectors(key, () =>
      wide ? rowProducts(z, z, outputs, outputs, k) : gramOf(z, outputs, k),
    );
    const head = vectors.subarray(0, rank * (wide ? outputs : k));
    const scales = Array.from({ length: rank }, (_, r) => Math.max(values[r]!, 0) ** 0.25);
    // scale 0: the vector explains nothing, and its factors are 0
    const over = (scale: number): number => (scale > 0 ? 1 / scale : 0);
    const rows = wide ? matrixProduct(head, z, rank, outputs, k) : head;
    const first = solveTriangular(lower, rows, rank, k, false);
    const last = wide ? transpose(head, rank, outputs) : rowProducts(z, head, outputs, rank, k);
    for (let r = 0; r < rank; r++) {
      const [inward, outward] = wide ? [over(scales[r]!), scales[r]!] : [scales[r]!, over(scales[r]!)];
      for (let i = 0; i < k; i++) first[r * k + i]! *= inward;
      for (let o = 0; o < outputs; o++) last[o * rank + r]! *= outward;
    }
    return [first, last];
  }

  private async eigenvectors(key: string, square: () => Float64Array) {
    let entry = this.spectra.get(key);
    if (!entry) {
      const matrix = square();
      entry = await eigenvectorsOf(this.engine, matrix, Math.sqrt(matrix.length));
      this.spectra.set(key, entry);
    }
    return entry;
  }

  /** The bias that keeps the mean of the outputs: b + W·mean x − F·mean z, for the factors as they are written. */
  private corrected(scheme: FittedScheme, ranks: readonly number[], factors: readonly Float32Array[]): Float32Array {
    const { outputs, width, w } = this;
    const { meanX, meanZ } = this.moments!;
    let values: Float64Array;
    if (scheme === "lowRank" || scheme === "kernelFirst")
      values = matrixProduct(factors[0]!, meanZ, ranks[0]!, width, 1);
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

/** The first `k` columns of the first `rows` rows of a matrix with `width` columns. */
function leading(values: Float64Array, width: number, k: number, rows: number): Float64Array {
  if (k === width) return values.subarray(0, rows * k);
  const out = new Float64Array(rows * k);
  for (let i = 0; i < rows; i++) out.set(values.subarray(i * width, i * width + k), i * k);
  return out;
}

/** ZᵀZ of a rows×k matrix. */
function gramOf(z: Float64Array, rows: number, k: number): Float64Array {
  const turned = transpose(z, rows, k);
  return rowProducts(turned, turned, k, k, rows);
}

/** Squared singular values of the first k columns of a rows×width matrix, largest first. */
function spectrum(z: Float64Array, rows: number, k: number, width: number): Float64Array {
  const part = leading(z, width, k, rows);
  const square = rows <= k ? rowProducts(part, part, rows, rows, k) : gramOf(part, rows, k);
  return symmetricEigenvalues(square, Math.min(rows, k)).map((value) => Math.max(value, 0));
}

function cumulated(values: Float64Array): Float64Array {
  let sum = 0;
  return values.map((value) => {
    sum += value;
    return sum;
  });
}

/** Candidates that no other one beats in error, weights and multiplications at once. */
function undominated(candidates: readonly FitCandidate[]): FitCandidate[] {
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
  stepsOf(site, scheme, ranks).map(({ shape }) => shape);
