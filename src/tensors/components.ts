import { formatShape, isList, ShapeError, shown, TenfoldError, type Tensor } from "../gpu/index.js";
import { canonicalizeColumns, columnNorms, copy, fill, matmul, modeProduct, norm } from "../ops/index.js";
import { assign } from "./assignment.js";
import { BlockTermTensor } from "./blockTerm.js";
import { KruskalTensor } from "./kruskal.js";
import { made } from "./made.js";
import { normOf, readRecorded } from "./resultProducts.js";
import { TuckerTensor } from "./tucker.js";

/** What happens to the columns of a factor: column r becomes `scales[r]` times column `order[r]`. */
interface Turn {
  order: ArrayLike<number>;
  scales: ArrayLike<number>;
}

const places = (count: number): number[] => Array.from({ length: count }, (_, r) => r);
const ones = (count: number): number[] => new Array<number>(count).fill(1);

function checkKind(operation: string, x: unknown, kinds: readonly (new (...parts: never[]) => unknown)[]): void {
  if (kinds.some((Kind) => x instanceof Kind)) return;
  throw new TenfoldError(`${operation}: ${shown(x)}, needs a ${kinds.map(({ name }) => name).join(" or a ")}`);
}

/** A Kruskal tensor with these weights, and columns reordered and scaled. */
async function turnedKruskal(
  { engine, factors, rank }: KruskalTensor,
  weights: ArrayLike<number>,
  turns: readonly Turn[],
): Promise<KruskalTensor> {
  using order = engine.tensor([rank], Uint32Array.from(turns[0]!.order), { label: "order" });
  const scales = turns.map(({ scales }) => engine.tensor([rank], Float32Array.from(scales), { label: "scales" }));
  try {
    const lambda = engine.tensor([rank], Float32Array.from(weights), { label: "weights" });
    try {
      const results = await made(
        engine,
        factors.map(({ shape, label }) => [shape, label]),
        (s, out) => {
          factors.forEach((factor, mode) => {
            canonicalizeColumns(s, factor, order, scales[mode]!, { apply: true, out: out[mode]! });
          });
        },
        "terms",
      );
      return new KruskalTensor(lambda, results);
    } catch (error) {
      lambda.destroy();
      throw error;
    }
  } finally {
    for (const tensor of scales) tensor.destroy();
  }
}

/** A Tucker tensor with columns reordered and scaled; slices of the core follow, times `coreScales`. A mode without a factor stays. */
async function turnedTucker(
  { engine, core, factors }: TuckerTensor,
  turns: readonly (Turn & { coreScales: ArrayLike<number> })[],
): Promise<TuckerTensor> {
  const modes = [...factors.keys()].filter((mode) => factors[mode]);
  const helpers: Tensor<"f32" | "u32">[] = [];
  try {
    const byMode = modes.map((mode) => {
      const { order, scales, coreScales } = turns[mode]!;
      const rank = core.shape[mode]!;
      const matrix = new Float32Array(rank * rank);
      for (let r = 0; r < rank; r++) matrix[r * rank + order[r]!] = coreScales[r]!;
      const tensors = {
        order: engine.tensor([rank], Uint32Array.from(order)),
        scales: engine.tensor([rank], Float32Array.from(scales)),
        matrix: engine.tensor([rank, rank], matrix),
      };
      helpers.push(tensors.order, tensors.scales, tensors.matrix);
      return tensors;
    });
    const [newCore, ...results] = await made(
      engine,
      [[core.shape, "core"], ...modes.map((mode) => [factors[mode]!.shape, `factor ${mode}`] as const)],
      (s, [newCore, ...out]) => {
        let turned = core;
        modes.forEach((mode, at) => {
          const { order, scales, matrix } = byMode[at]!;
          canonicalizeColumns(s, factors[mode]!, order, scales, { apply: true, out: out[at]! });
          turned = modeProduct(s, turned, matrix, mode);
        });
        copy(s, turned, { out: newCore! });
      },
      "components",
    );
    return new TuckerTensor(
      newCore!,
      factors.map((_, mode) => (modes.includes(mode) ? results[modes.indexOf(mode)]! : null)),
    );
  } finally {
    for (const tensor of helpers) tensor.destroy();
  }
}

const normsOf = (factors: readonly Tensor[]): Promise<Float32Array[]> =>
  readRecorded(factors[0]!.engine, (s) => factors.map((factor) => columnNorms(s, factor)));

/** Weights and column norms: ‖term r‖ = |λ_r|·Π ‖a_r‖. */
async function sizesOf(x: KruskalTensor): Promise<{ weights: Float32Array; norms: Float32Array[]; sizes: number[] }> {
  const [weights, norms] = [await x.weights.read(), await normsOf(x.factors)];
  const sizes = Array.from(weights, (weight, r) => norms.reduce((size, values) => size * values[r]!, Math.abs(weight)));
  return { weights, norms, sizes };
}

/**
 * A copy whose factors have columns of norm 1, or 0. Of a Kruskal tensor the weights take up the norms, and are not negative (the first
 * factor takes the sign), or one factor does (`into`, a mode; the weights are 1 then), or all of them alike (`into: "all"`). Of a Tucker
 * tensor the core takes them up. The full tensor stays the same.
 *
 * @throws TenfoldError for other kinds: the cores of a train are made orthogonal by `ttOrthogonalise`
 */
export async function normalise<T extends KruskalTensor | TuckerTensor>(
  x: T,
  options: { into?: "weights" | "all" | number } = {},
): Promise<T> {
  checkKind("normalise", x, [KruskalTensor, TuckerTensor]);
  const { into = "weights" } = options;
  const inverse = (norms: ArrayLike<number>) => Array.from(norms, (value) => (value > 0 ? 1 / value : 0));
  if (x instanceof TuckerTensor) {
    if (into !== "weights")
      throw new TenfoldError(`normalise: into is ${shown(into)}, but norms of a Tucker tensor go into its core`);
    const modes = [...x.factors.keys()].filter((mode) => x.factors[mode]);
    const norms = modes.length ? await normsOf(modes.map((mode) => x.factors[mode]!)) : [];
    const turns = x.factors.map((_, mode) => {
      const values = norms[modes.indexOf(mode)] ?? ones(x.ranks[mode]!);
      return { order: places(values.length), scales: inverse(values), coreScales: values };
    });
    return (await turnedTucker(x, turns)) as T;
  }
  const { order, shape } = { order: x.factors.length, shape: x.shape };
  if (into !== "weights" && into !== "all" && !(Number.isInteger(into) && into >= 0 && into < order))
    throw new TenfoldError(
      `normalise: into is ${shown(into)}, needs "weights", "all" or a mode of ${formatShape(shape)}, 0 to ${order - 1}`,
    );
  const { weights, norms, sizes } = await sizesOf(x);
  const turns = norms.map((values, mode): Turn => {
    const scales = inverse(values).map((value, r) => {
      const sign = mode === 0 && weights[r]! < 0 ? -1 : 1;
      const share = into === "all" ? sizes[r]! ** (1 / order) : into === mode ? sizes[r]! : 1;
      return sign * value * share;
    });
    return { order: places(x.rank), scales };
  });
  return (await turnedKruskal(x, into === "weights" ? sizes : ones(x.rank), turns)) as T;
}

/** A list of places, checked: each of 0 to count − 1 once. */
function permutation(operation: string, order: unknown, count: number): number[] {
  const list = isList(order) ? Array.from(order as ArrayLike<number>) : [];
  if (list.length !== count || [...list].sort((a, b) => a - b).some((place, at) => place !== at))
    throw new TenfoldError(`${operation}: order is ${shown(order)}, needs each of 0 to ${count - 1} once`);
  return list;
}

const falling = (sizes: ArrayLike<number>): number[] =>
  places(sizes.length).sort((a, b) => sizes[b]! - sizes[a]! || a - b);

/**
 * A copy with its components in another order: by falling norm, or in the order that is listed. Components are the terms of a Kruskal tensor, the
 * blocks of a sum, and the columns of each factor of a Tucker tensor, whose norms are those of the core's slices (one list a mode; null
 * leaves a mode alone). The full tensor stays the same.
 */
export async function arrange(x: KruskalTensor, order?: readonly number[]): Promise<KruskalTensor>;
export async function arrange(x: BlockTermTensor, order?: readonly number[]): Promise<BlockTermTensor>;
export async function arrange(x: TuckerTensor, order?: readonly (readonly number[] | null)[]): Promise<TuckerTensor>;
export async function arrange(
  x: KruskalTensor | TuckerTensor | BlockTermTensor,
  order?: readonly (number | readonly number[] | null)[],
): Promise<KruskalTensor | TuckerTensor | BlockTermTensor> {
  checkKind("arrange", x, [KruskalTensor, TuckerTensor, BlockTermTensor]);
  if (x instanceof KruskalTensor) {
    const { weights, sizes } = await sizesOf(x);
    const list = order === undefined ? falling(sizes) : permutation("arrange", order, x.rank);
    const turn = { order: list, scales: ones(x.rank) };
    return await turnedKruskal(
      x,
      list.map((r) => weights[r]!),
      x.factors.map(() => turn),
    );
  }
  if (x instanceof BlockTermTensor) {
    const norms: number[] = [];
    if (order === undefined) for (const block of x.blocks) norms.push(await normOf(block));
    const list = order === undefined ? falling(norms) : permutation("arrange", order, x.blocks.length);
    const blocks: TuckerTensor[] = [];
    try {
      for (const from of list) blocks.push(await copyTucker(x.blocks[from]!));
      return new BlockTermTensor(blocks);
    } catch (error) {
      for (const block of blocks) block.destroy();
      throw error;
    }
  }
  if (order !== undefined && (!isList(order) || order.length !== x.factors.length))
    throw new TenfoldError(
      `arrange: order is ${shown(order)}, needs a list or null for each of ${x.factors.length} modes`,
    );
  const sliceNorms = await readRecorded(x.engine, (s) =>
    x.ranks.map((rank, mode) => {
      const before = x.ranks.slice(0, mode).reduce((a, b) => a * b, 1);
      // norms over the modes behind, then over those in front
      const behind = norm(s, x.core.reshape([before, rank, -1]), { axis: 2 });
      return norm(s, behind.reshape([before, rank]), { axis: 0 });
    }),
  );
  const turns = x.factors.map((_, mode) => {
    const rank = x.ranks[mode]!;
    const asked = order?.[mode];
    const list =
      order === undefined
        ? falling(sliceNorms[mode]!)
        : asked === null
          ? places(rank)
          : permutation("arrange", asked, rank);
    return { order: list, scales: ones(rank), coreScales: ones(rank) };
  });
  return await turnedTucker(x, turns);
}

const copyTucker = (x: TuckerTensor): Promise<TuckerTensor> => {
  const turns = x.ranks.map((rank) => ({ order: places(rank), scales: ones(rank), coreScales: ones(rank) }));
  return turnedTucker(x, turns);
};

/**
 * A copy with the signs of its columns settled; the full tensor stays the same. Without a reference, a column's entry of largest magnitude is
 * positive, in all factors of a Tucker tensor and in all but the last of a Kruskal tensor (whose last factor makes up for it). With a
 * reference, a Kruskal tensor of the same shape and rank, the two factors' columns point the same way: columns are turned in pairs, and where
 * their number is odd the one that is least like the reference is left.
 *
 * @throws ShapeError where the reference has another shape or rank
 */
export async function fixSigns<T extends KruskalTensor | TuckerTensor>(x: T, reference?: KruskalTensor): Promise<T> {
  checkKind("fixSigns", x, [KruskalTensor, TuckerTensor]);
  if (x instanceof TuckerTensor) {
    if (reference) throw new TenfoldError("fixSigns: a Tucker tensor is compared with no reference");
    const signs = await leadingSigns(x.factors);
    const turns = x.ranks.map((rank, mode) => {
      const scales = signs[mode] ?? ones(rank);
      return { order: places(rank), scales, coreScales: scales };
    });
    return (await turnedTucker(x, turns)) as T;
  }
  const { rank, factors } = x;
  let scales: ArrayLike<number>[];
  if (reference) {
    checkKind("fixSigns", reference, [KruskalTensor]);
    if (reference.rank !== rank || formatShape(reference.shape) !== formatShape(x.shape))
      throw new ShapeError(
        `fixSigns: the reference is ${formatShape(reference.shape)} of rank ${reference.rank}, needs ${formatShape(x.shape)} of rank ${rank}`,
      );
    const cosines = await cosinesOf(x, reference);
    scales = factors.map(() => ones(rank));
    for (let r = 0; r < rank; r++) {
      const values = cosines.map((cosine) => cosine[r * rank + r]!);
      const turned = new Set([...values.keys()].filter((mode) => values[mode]! < 0));
      if (turned.size % 2) {
        // an even number turns: the surest choice but for the mode that tells least
        const least = [...values.keys()].sort((a, b) => Math.abs(values[a]!) - Math.abs(values[b]!))[0]!;
        if (!turned.delete(least)) turned.add(least);
      }
      for (const mode of turned) (scales[mode] as number[])[r] = -1;
    }
  } else {
    const signs = (await leadingSigns(factors)) as Float32Array[];
    const last = factors.length - 1;
    const product = places(rank).map((r) => signs.slice(0, last).reduce((sign, values) => sign * values[r]!, 1));
    scales = signs.map((values, mode) => (mode === last ? product : values));
  }
  const turns = scales.map((values) => ({ order: places(rank), scales: values }));
  return (await turnedKruskal(x, await x.weights.read(), turns)) as T;
}

/** The sign of the entry of largest magnitude of every column; null for a mode without a factor. */
async function leadingSigns(factors: readonly (Tensor | null)[]): Promise<(Float32Array | null)[]> {
  const present = factors.filter((factor) => factor !== null);
  if (!present.length) return factors.map(() => null);
  const { engine } = present[0]!;
  const orders = present.map(({ shape }) => engine.tensor([shape[1]!], Uint32Array.from(places(shape[1]!))));
  try {
    const signs = await readRecorded(engine, (s) =>
      present.map((factor, at) => {
        const flips = s.tensor([factor.shape[1]!], { label: "signs" });
        fill(s, flips, 1);
        canonicalizeColumns(s, factor, orders[at]!, flips);
        return flips;
      }),
    );
    return factors.map((factor) => (factor ? signs[present.indexOf(factor)]! : null));
  } finally {
    for (const order of orders) order.destroy();
  }
}

/** a_iᵀb_j / (‖a_i‖·‖b_j‖) of every mode, R_a×R_b: the products on the GPU, the rest in f64. A column of 0 has the cosine 0. */
export async function cosinesOf(a: KruskalTensor, b: KruskalTensor): Promise<Float64Array[]> {
  const { engine, factors } = a;
  const products = await readRecorded(engine, (s) =>
    factors.map((factor, mode) => matmul(s, factor, b.factors[mode]!, { transposeA: true })),
  );
  const [first, second] = [await normsOf(a.factors), await normsOf(b.factors)];
  return products.map((product, mode) =>
    Float64Array.from(product, (value, at) => {
      const norms = first[mode]![Math.floor(at / b.rank)]! * second[mode]![at % b.rank]!;
      return norms > 0 ? value / norms : 0;
    }),
  );
}

export interface FactorMatchOptions {
  /** whether terms of different norm count as less alike; true by default */
  considerWeights?: boolean;
}

/** How alike two CP models are, term by term. */
export interface FactorMatch {
  /** from 0 to 1, the mean of `scores` */
  score: number;
  /** of each term of the reference that has a partner, by the reference's places; those without are NaN */
  scores: Float64Array;
  /** of each term of the reference, the place of its partner in x; −1 where x has fewer terms and none is left */
  permutation: Int32Array;
}

/**
 * The factor match score of two Kruskal tensors of one shape (Acar, Dunlavy & Kolda 2011; `score` of the Tensor Toolbox): the terms are paired
 * so that the sum of their scores is largest (by the Hungarian method, not greedily). The score of a pair is Π_n |cos(a⁽ⁿ⁾, b⁽ⁿ⁾)|, times
 * 1 − |λ − μ| / max(λ, μ) with the norms λ and μ of the two terms unless `considerWeights` is false. Of models of different rank the
 * mean is over the pairs of the smaller one.
 *
 * @throws ShapeError where the shapes differ
 */
export async function factorMatchScore(
  x: KruskalTensor,
  reference: KruskalTensor,
  { considerWeights = true }: FactorMatchOptions = {},
): Promise<FactorMatch> {
  checkKind("factorMatchScore", x, [KruskalTensor]);
  checkKind("factorMatchScore", reference, [KruskalTensor]);
  checkShapes("factorMatchScore", x, reference);
  const gains = new Float64Array(reference.rank * x.rank).fill(1);
  for (const cosine of await cosinesOf(reference, x))
    for (const at of gains.keys()) gains[at]! *= Math.abs(cosine[at]!);
  if (considerWeights) {
    const [mine, theirs] = [(await sizesOf(x)).sizes, (await sizesOf(reference)).sizes];
    for (const at of gains.keys()) {
      const [a, b] = [theirs[Math.floor(at / x.rank)]!, mine[at % x.rank]!];
      const most = Math.max(a, b);
      gains[at]! *= most > 0 ? 1 - Math.abs(a - b) / most : 1;
    }
  }
  const permutation = pairs(gains, reference.rank, x.rank);
  const scores = Float64Array.from(permutation, (to, r) => (to < 0 ? Number.NaN : gains[r * x.rank + to]!));
  const paired = scores.filter((value) => !Number.isNaN(value));
  return { score: paired.reduce((sum, value) => sum + value, 0) / paired.length, scores, permutation };
}

/** Of each row its column, −1 where there are fewer columns and none is left for it. */
function pairs(gains: Float64Array, rows: number, columns: number): Int32Array {
  if (rows <= columns) return Int32Array.from(assign(gains, rows, columns));
  const turned = gains.map((_, at) => gains[(at % rows) * columns + Math.floor(at / rows)]!);
  const permutation = new Int32Array(rows).fill(-1);
  assign(turned, columns, rows).forEach((row, column) => {
    permutation[row] = column;
  });
  return permutation;
}

function checkShapes(operation: string, x: KruskalTensor, reference: KruskalTensor): void {
  if (x.engine !== reference.engine)
    throw new TenfoldError(`${operation}: the two tensors belong to different engines`);
  if (formatShape(x.shape) !== formatShape(reference.shape))
    throw new ShapeError(
      `${operation}: a tensor of shape ${formatShape(x.shape)} and a reference of ${formatShape(reference.shape)}, they need the same`,
    );
}

/**
 * A copy with its terms in the order of those of a reference that they are most alike to (as `factorMatchScore` pairs them, without weights).
 * Terms without a partner come last. `fixSigns(x, reference)` then settles the signs.
 *
 * @throws ShapeError where the shapes differ
 */
export async function permuteTo(x: KruskalTensor, reference: KruskalTensor): Promise<KruskalTensor> {
  checkKind("permuteTo", x, [KruskalTensor]);
  checkKind("permuteTo", reference, [KruskalTensor]);
  checkShapes("permuteTo", x, reference);
  const { permutation } = await factorMatchScore(x, reference, { considerWeights: false });
  const first = Array.from(permutation).filter((place) => place >= 0);
  return await arrange(x, [...first, ...places(x.rank).filter((place) => !first.includes(place))]);
}
