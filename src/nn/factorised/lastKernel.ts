/** The last kernel of a chain of convolutions, fitted to the outputs of the convolution that the chain stands for. */
import type { FitMemory } from "./fitMemory.js";
import { composeGrouped, composeKernels, type DenseKernel } from "./hostKernels.js";
import { solveRows, transpose, type Values } from "./hostMatrices.js";
import type { Products } from "./products.js";

/** The convolution whose outputs are wanted. */
export interface Target {
  /** W, without groups */
  kernel: DenseKernel;
  /** C, the covariance of its patches */
  patches: Values;
  /** W·C, outputs×side */
  image: Values;
}

/** @param memory of fits of this kernel with these patches */
export async function targetOf(
  kernel: DenseKernel,
  patches: Values,
  products: Products,
  memory: FitMemory | undefined,
): Promise<Target> {
  const { weight, outputs } = kernel;
  const side = weight.length / outputs;
  // the covariance is symmetric
  const make = () => products.rows(weight, patches, [outputs, side, side], { keepB: true });
  return { kernel, patches, image: await (memory?.of("weight times covariance", make) ?? make()) };
}

/**
 * What the last kernel of a chain multiplies, as linear functions of a patch: one for each weight of an output, named a feature. With F for
 * their matrix, features×side, the chain is Ŵ = last·F.
 */
export class Features {
  /** C·Fᵀ, once an error was asked for */
  #turned: Values | null = null;

  private constructor(
    readonly last: DenseKernel,
    private readonly target: Target,
    private readonly products: Products,
    /** the kernels before the last one as one; it may have groups */
    private readonly front: DenseKernel,
    /** F·C, features×side */
    private readonly image: Values,
  ) {}

  /** @param parts of a chain of two kernels or more, the last of which has no groups */
  static async of(parts: readonly DenseKernel[], target: Target, products: Products): Promise<Features> {
    const last = parts.at(-1)!;
    const front = await composeGrouped(parts.slice(0, -1), products);
    const side = target.kernel.weight.length / target.kernel.outputs;
    const image = await timesColumns(front, last, target, [target.patches, side], products);
    return new Features(last, target, products, front, image);
  }

  get #count(): number {
    const { inputs, size } = this.last;
    return inputs * size[0] * size[1];
  }

  /** E‖(W − Ŵ)·x‖² of the chain with these weights of its last kernel, over patches x. */
  async error(weight: Values): Promise<number> {
    const { target, products, last } = this;
    const { outputs } = last;
    const side = this.image.length / this.#count;
    const near = await composeKernels([this.front, { ...last, weight }], products);
    this.#turned ??= transpose(this.image, this.#count, side);
    const image = await products.rows(weight, this.#turned, [outputs, side, this.#count]);
    let error = 0;
    for (let e = 0; e < image.length; e++)
      error += (target.kernel.weight[e]! - near.weight[e]!) * (target.image[e]! - image[e]!);
    return Math.max(0, error);
  }

  /** Lengths of the rows of F. */
  #lengths(): Float64Array {
    const { front } = this;
    const taps = this.#count / front.outputs;
    const row = front.weight.length / front.outputs;
    const lengths = new Float64Array(this.#count);
    for (let map = 0; map < front.outputs; map++) {
      let sum = 0;
      for (let e = map * row; e < (map + 1) * row; e++) sum += front.weight[e]! ** 2;
      lengths.fill(Math.sqrt(sum), map * taps, (map + 1) * taps);
    }
    return lengths;
  }

  /**
   * Σ ‖term‖² of the chain, where its last kernel has one tap. A term is the product of the kernel up to one channel before the last one
   * and one weight of the last kernel that reads this channel. For CP these are the rank-one terms, and the sum bounds how far a
   * small change of a factor moves the kernel.
   */
  termEnergy(): number {
    const lengths = this.#lengths();
    return sumOfSquares(Float64Array.from(this.last.weight, (value, e) => value * lengths[e % lengths.length]!));
  }

  /**
   * The weights of the last kernel with the least error of the outputs.
   *
   * @param ridge of the normal equations, at most 1e-9 of which is used
   * @param bound most {@link termEnergy} of the result: a ridge on the terms' lengths grows until it is met
   */
  async refit(ridge: number, bound = Number.POSITIVE_INFINITY): Promise<Values> {
    const { target, products, front, last } = this;
    const count = this.#count;
    const { outputs } = last;
    const normals = await timesColumns(front, last, target, [this.image, count], products);
    const turned = await timesColumns(front, last, target, [target.image, outputs], products);
    const wanted = transpose(turned, count, outputs);
    const leastRidge = Math.min(ridge, 1e-9);
    // maps that are 0 for all patches, as those of a kernel of zeros, are as near with any weights
    if (normals.every((value) => value === 0)) return last.weight;
    const weight = solveRows(normals, wanted, outputs, count, leastRidge);
    // unknowns scaled by the lengths of F's rows are lengths of terms, and Σ of their squares is the term energy
    const lengths = this.#lengths().map((length) => length || 1);
    const inLengths = (values: Values, power: number) => values.map((value, e) => value * lengths[e % count]! ** power);
    const energy = sumOfSquares(inLengths(weight, 1));
    if (energy <= bound) return weight;
    const scaledWanted = inLengths(wanted, -1);
    const scaledNormals = inLengths(normals, -1).map((value, e) => value / lengths[Math.floor(e / count)]!);
    const termsOf = (ridge: number) => solveRows(scaledNormals, scaledWanted, outputs, count, ridge);
    return inLengths(withinBound(termsOf, leastRidge, bound), -1);
  }
}

/** ridges between which one is searched for, as shares of the mean diagonal */
const LEAST_RIDGE = 1e-12;
const MOST_RIDGE = 1e9;
/** a sum of squares from this part of the bound on is near enough to it */
const NEAR = 0.998;

/** What a ridge that is hardly larger than necessary makes of the terms, so that Σ of their squares is at most `bound`. */
function withinBound(termsOf: (ridge: number) => Float64Array, leastRidge: number, bound: number): Float64Array {
  let [low, high] = [Math.log(Math.max(leastRidge, LEAST_RIDGE)), Math.log(MOST_RIDGE)];
  let best: Float64Array | null = null;
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    const terms = termsOf(Math.exp(middle));
    const energy = sumOfSquares(terms);
    if (energy > bound) {
      low = middle;
      continue;
    }
    [best, high] = [terms, middle];
    if (energy >= NEAR * bound) break;
  }
  return best ?? new Float64Array(termsOf(MOST_RIDGE).length);
}

/**
 * F·Mᵀ, features×rows, for the features that the last kernel of a chain reads of `front`. Row (map, y, x) of F has the weights of the map at the
 * columns of the patch that tap (y, x) of the last kernel sees, and zeros elsewhere: only these columns are multiplied.
 *
 * @param m M and the number of its rows, rows×side
 */
async function timesColumns(
  front: DenseKernel,
  last: DenseKernel,
  { kernel: { size }, patches }: Target,
  [m, rows]: readonly [Values, number],
  products: Products,
): Promise<Values> {
  const [height, width] = size;
  const [h1, w1] = front.size;
  const [h2, w2] = last.size;
  const side = front.inputs * height * width;
  const [from, into] = [front.inputs / front.groups, front.outputs / front.groups];
  const columns = new Uint32Array(from * h1 * w1);
  const isAll = columns.length === side;
  const taps = h2 * w2;
  const out = new Float64Array(front.outputs * taps * rows);
  for (let group = 0; group < front.groups; group++) {
    const weights = front.weight.subarray(group * into * columns.length, (group + 1) * into * columns.length);
    for (let tap = 0; tap < taps; tap++) {
      const [y2, x2] = [Math.floor(tap / w2), tap % w2];
      for (let s = 0, at = 0; s < from; s++)
        for (let y1 = 0; y1 < h1; y1++)
          for (let x1 = 0; x1 < w1; x1++, at++) columns[at] = ((group * from + s) * height + y1 + y2) * width + x1 + x2;
      const some = isAll ? m : columnsOf(m, side, columns);
      const sizes = [into, rows, columns.length] as const;
      const product = await products.rows(weights, some, sizes, { keepB: some === patches });
      for (let map = 0; map < into; map++)
        out.set(product.subarray(map * rows, (map + 1) * rows), ((group * into + map) * taps + tap) * rows);
    }
  }
  return out;
}

/** Some columns of a matrix that has `side` of them. */
function columnsOf(values: Values, side: number, columns: Uint32Array): Float64Array {
  const rows = values.length / side;
  const out = new Float64Array(rows * columns.length);
  for (let row = 0, at = 0; row < rows; row++)
    for (let column = 0; column < columns.length; column++, at++) out[at] = values[row * side + columns[column]!]!;
  return out;
}

function sumOfSquares(values: Values): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return sum;
}
