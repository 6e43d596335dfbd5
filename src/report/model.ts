/** A decomposition on the host: what its figures are made of, and what is left of it when components are hidden, ordered and flipped. */
import { products } from "../decompositions/congruence.js";
import type { NumericArray } from "../io/index.js";
import type { HistogramBin } from "../ops/index.js";

/** A dense array in f32, row-major. */
export interface Values {
  shape: readonly number[];
  data: Float32Array;
}

/** Σ_r weights_r a_r ∘ b_r ∘ …; columns have norm 1. */
export interface KruskalModel {
  kind: "kruskal";
  /** [R] */
  weights: Float32Array;
  /** I_n×R, one a mode */
  factors: readonly Values[];
  /**
   * of a PARAFAC2 model, whose factors are A (K×R), B (R×R) and C (J×R): I_k×R of every slice, with orthonormal columns, so that terms have the
   * inner products that those of A, B and C have
   */
  projections?: readonly Values[];
}

/** The evolving factors P_k·B of a PARAFAC2 model, slice below slice: Σ I_k × R. */
export function evolving({ factors, projections = [] }: KruskalModel): Values {
  const b = factors[1]!.data;
  const rank = factors[1]!.shape[1]!;
  const rows = projections.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const data = new Float32Array(rows * rank);
  let at = 0;
  for (const projection of projections)
    for (let i = 0; i < projection.shape[0]!; i++, at += rank)
      for (let r = 0; r < rank; r++)
        for (let q = 0; q < rank; q++) data[at + r]! += projection.data[i * rank + q]! * b[q * rank + r]!;
  return { shape: [rows, rank], data };
}

/** A core times a factor with orthonormal columns in every mode; null stands for the identity. */
export interface TuckerModel {
  kind: "tucker";
  core: Values;
  factors: readonly (Values | null)[];
}

/** A train or ring of cores, r_k×n_k×r_{k+1} each. */
export interface CoresModel {
  kind: "train" | "ring";
  cores: readonly Values[];
}

/** A sum of Tucker models. */
export interface BlocksModel {
  kind: "blocks";
  blocks: readonly TuckerModel[];
}

export type HostModel = KruskalModel | TuckerModel | CoresModel | BlocksModel;

/** The squares of a mode's slices, one number an index. */
export interface SliceSquares {
  /** Σ (X − X̂)² */
  residual: Float32Array;
  /** Σ X² */
  data: Float32Array;
}

/** Inner products of the terms of a Kruskal model. */
export interface TermProducts {
  /** ⟨X, term r⟩, [R] */
  withX: ArrayLike<number>;
  /** ⟨term r, term s⟩, R×R */
  between: ArrayLike<number>;
}

/** A decomposition, and what was measured of it. */
export interface DecompositionData {
  /** what was decomposed: the file, or the example */
  data: string;
  shape: readonly number[];
  /** names of the modes: `mode 0`, or what the file calls them */
  modes: readonly string[];
  /** of each mode, what its indices stand for; null, and left out, where that is not known */
  labels?: readonly (readonly string[] | null)[];
  /** the method and its options, in words */
  method: string;
  options: string;
  model: HostModel;
  /** ‖X − X̂‖ / ‖X‖ after every sweep; empty for a method without sweeps */
  errors: readonly number[];
  relativeError: number;
  /** how the run ended: `converged`, `stopped by hand`, … */
  ending: string;
  seconds: number;
  adapter: string;
  /** ISO date */
  date: string;
  /** numbers that the model stores */
  parameters: number;
  /** relative errors that the starts ended at, best first, and how many ended at the best one's model */
  starts: { errors: readonly number[]; agreeing: number } | null;
  /** ‖X‖²; NaN where entries are missing */
  squaredNorm: number;
  /** of every mode; null where the GPU had no room to measure them */
  slices: readonly SliceSquares[] | null;
  /** how many entries of X − X̂ lie where, from the least to the largest; null as `slices` */
  residuals: readonly HistogramBin[] | null;
  /** of a Kruskal model, where they were measured */
  products: TermProducts | null;
  /** the factor match score with the components that the data were made of, where these are known */
  match: number | null;
  /** a CP model of the same shape to compare with, and what it is called */
  other?: { name: string; model: KruskalModel } | null;
}

/** The modes that have components of their own to order, flip and hide: all share theirs in a Kruskal model, each has its own in a Tucker model. */
export interface Turn {
  /** by axis (one for a Kruskal model, one a mode for a Tucker model): the components, in the order on show */
  orders: readonly (readonly number[])[];
  /** by axis and component: whether it is left out */
  hidden: readonly (readonly boolean[])[];
  /** by mode and component: 1 or −1 */
  signs: readonly (readonly number[])[];
}

const list = <T>(length: number, make: (index: number) => T): T[] => Array.from({ length }, (_, index) => make(index));

/** How many components each axis has; empty for models whose parts say nothing by themselves. */
export function axesOf(model: HostModel): number[] {
  if (model.kind === "kruskal") return [model.weights.length];
  return model.kind === "tucker" ? [...model.core.shape] : [];
}

/** Whether the axis has components: a mode that a Tucker model leaves alone has the data's own indices. */
export const hasComponents = (model: HostModel, axis: number): boolean =>
  model.kind === "kruskal" || (model.kind === "tucker" && model.factors[axis] !== null);

/** The axis that a mode's components belong to. */
export const axisOf = (model: HostModel, mode: number): number => (model.kind === "tucker" ? mode : 0);

/** Nothing ordered, flipped or hidden. */
export function unturned(model: HostModel): Turn {
  const counts = axesOf(model);
  const modes = model.kind === "kruskal" ? model.factors.length : counts.length;
  return {
    orders: counts.map((count) => list(count, (r) => r)),
    hidden: counts.map((count) => list(count, () => false)),
    signs: list(modes, (mode) => list(counts[axisOf(model, mode)] ?? 0, () => 1)),
  };
}

const replaced = <T>(values: readonly T[], at: number, value: T): T[] =>
  values.map((other, index) => (index === at ? value : other));

/** With component `r` of an axis hidden, or shown again. */
export const toggled = (turn: Turn, axis: number, r: number): Turn => ({
  ...turn,
  hidden: replaced(turn.hidden, axis, replaced(turn.hidden[axis]!, r, !turn.hidden[axis]![r])),
});

/**
 * With the signs of component `r` turned in these modes. A term of a Kruskal model stays the same where two modes turn; a column of a Tucker
 * model may turn alone, since the core turns with it.
 */
export const flipped = (turn: Turn, r: number, modes: readonly number[]): Turn => ({
  ...turn,
  signs: turn.signs.map((signs, mode) => (modes.includes(mode) ? replaced(signs, r, -signs[r]!) : signs)),
});

/** By size, the largest first, or as they came: of a Kruskal model |weights|, of a Tucker model the norms of the core's slices. */
export function ordered(model: HostModel, turn: Turn, by: "size" | "as computed"): Turn {
  const sizes = sizesOf(model);
  return {
    ...turn,
    orders: turn.orders.map((order, axis) => {
      const places = list(order.length, (r) => r);
      return by === "size" && hasComponents(model, axis)
        ? places.sort((a, b) => sizes[axis]![b]! - sizes[axis]![a]!)
        : places;
    }),
  };
}

/** What every component of every axis weighs. */
export function sizesOf(model: HostModel): number[][] {
  if (model.kind === "kruskal") return [[...model.weights].map(Math.abs)];
  if (model.kind !== "tucker") return [];
  const { shape, data } = model.core;
  const squares = shape.map((extent) => new Float64Array(extent));
  const index = new Array<number>(shape.length).fill(0);
  for (const value of data) {
    for (const [mode, at] of index.entries()) squares[mode]![at]! += value * value;
    advance(index, shape);
  }
  return squares.map((of) => [...of].map(Math.sqrt));
}

/** The next place of a row-major array. */
function advance(index: number[], shape: readonly number[]): void {
  for (let mode = shape.length - 1; mode >= 0; mode--) {
    if (++index[mode]! < shape[mode]!) return;
    index[mode] = 0;
  }
}

function turnedColumns({ shape, data }: Values, order: readonly number[], signs: readonly number[]): Values {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < columns; at++) {
      const r = order[at]!;
      out[row * columns + at] = signs[r]! * data[row * columns + r]!;
    }
  return { shape, data: out };
}

/** The same model, with its components in the order and with the signs of the turn. */
export function turned(model: HostModel, turn: Turn): HostModel {
  const isOrdered = turn.orders.every((order) => order.every((r, at) => r === at));
  if (isOrdered && turn.signs.every((signs) => signs.every((sign) => sign === 1))) return model;
  if (model.kind === "kruskal") {
    const order = turn.orders[0]!;
    return {
      ...model,
      weights: Float32Array.from(order, (r) => model.weights[r]!),
      factors: model.factors.map((factor, mode) => turnedColumns(factor, order, turn.signs[mode]!)),
    };
  }
  if (model.kind !== "tucker") return model;
  const { shape, data } = model.core;
  // a mode without a factor is the data's own: it has an order of its own, and is left alone
  const orders = turn.orders.map((order, mode) => (model.factors[mode] ? order : list(order.length, (r) => r)));
  const signs = turn.signs.map((of, mode) => (model.factors[mode] ? of : of.map(() => 1)));
  const core = new Float32Array(data.length);
  const index = new Array<number>(shape.length).fill(0);
  for (let at = 0; at < core.length; at++) {
    let from = 0;
    let sign = 1;
    for (const [mode, place] of index.entries()) {
      const r = orders[mode]![place]!;
      from = from * shape[mode]! + r;
      sign *= signs[mode]![r]!;
    }
    core[at] = sign * data[from]!;
    advance(index, shape);
  }
  return {
    ...model,
    core: { shape, data: core },
    factors: model.factors.map((factor, mode) => factor && turnedColumns(factor, orders[mode]!, signs[mode]!)),
  };
}

/** ⟨term r, term s⟩ of a Kruskal model, R×R. */
export function termProducts({ weights, factors }: KruskalModel): Float64Array {
  const rank = weights.length;
  const out = Float64Array.from(
    { length: rank * rank },
    (_, at) => weights[Math.floor(at / rank)]! * weights[at % rank]!,
  );
  for (const { data } of factors) {
    const gram = products(data, data, rank);
    for (let at = 0; at < out.length; at++) out[at]! *= gram[at]!;
  }
  return out;
}

/**
 * The relative error of the model without its hidden components; null where it cannot be told. It is counted from the error of all of them, so
 * that no digits cancel: ‖E + H‖² = ‖E‖² + 2⟨E, H⟩ + ‖H‖², with H what is hidden.
 */
export function errorWithout(
  data: Pick<DecompositionData, "model" | "relativeError" | "squaredNorm" | "products">,
  hidden: Turn["hidden"],
): number | null {
  const { model, relativeError, squaredNorm } = data;
  if (!hidden.some((axis) => axis.includes(true))) return relativeError;
  if (!(squaredNorm > 0 && Number.isFinite(squaredNorm))) return null;
  const residual = relativeError ** 2 * squaredNorm;
  if (model.kind === "tucker") {
    // columns are orthonormal and the core is X's projection on them, so what is hidden is orthogonal to the rest
    const { shape, data: core } = model.core;
    const index = new Array<number>(shape.length).fill(0);
    let lost = 0;
    for (const value of core) {
      if (index.some((at, mode) => hidden[mode]![at])) lost += value * value;
      advance(index, shape);
    }
    return Math.sqrt((residual + lost) / squaredNorm);
  }
  if (model.kind !== "kruskal" || !data.products) return null;
  const rank = model.weights.length;
  const { withX, between } = data.products;
  let change = 0;
  for (let r = 0; r < rank; r++) {
    if (!hidden[0]![r]) continue;
    let withModel = 0;
    for (let s = 0; s < rank; s++) {
      withModel += between[r * rank + s]!;
      if (hidden[0]![s]) change += between[r * rank + s]!;
    }
    change += 2 * (withX[r]! - withModel);
  }
  return Math.sqrt(Math.max(0, residual + change) / squaredNorm);
}

/** The relative errors of the model without one component of an axis, one by one; null where they cannot be told. */
export function errorsWithoutOne(data: Parameters<typeof errorWithout>[0], axis: number): (number | null)[] {
  const { model, relativeError, squaredNorm } = data;
  if (model.kind === "tucker" && Number.isNaN(squaredNorm)) return [];
  if (model.kind === "tucker")
    return sizesOf(model)[axis]!.map((size) => Math.sqrt(relativeError ** 2 + size ** 2 / squaredNorm));
  if (model.kind !== "kruskal") return [];
  const places = [...model.weights.keys()];
  return places.map((r) => errorWithout(data, [places.map((s) => s === r)]));
}

/** The congruence of every term with every other, R×R, from their inner products: 1 where two are the same but for their size. */
export function termCongruences(between: ArrayLike<number>, order: readonly number[]): Float64Array {
  const rank = order.length;
  return Float64Array.from({ length: rank * rank }, (_, at) => {
    const [r, s] = [order[Math.floor(at / rank)]!, order[at % rank]!];
    const norms = Math.sqrt(between[r * rank + r]! * between[s * rank + s]!);
    return norms ? between[r * rank + s]! / norms : 0;
  });
}

/** A picture of each component: the outer product of its columns in two modes, or a column folded into rows. */
export type ImageChoice =
  | { kind: "pair"; modes: readonly [row: number, column: number] }
  | { kind: "fold"; mode: number; rows: number };

/** Images of one size, one after the other. */
export interface Images {
  rows: number;
  columns: number;
  /** what each is of: component of the axis */
  images: Float32Array[];
  axis: number;
}

/** Rows of a matrix averaged in bins, where there are more than `most`. */
export function binned({ shape, data }: Values, most: number): Values {
  const [rows, columns] = shape as [number, number];
  if (rows <= most) return { shape, data };
  const out = new Float32Array(most * columns);
  for (let bin = 0; bin < most; bin++) {
    const [from, to] = [Math.floor((bin * rows) / most), Math.floor(((bin + 1) * rows) / most)];
    for (let row = from; row < to; row++)
      for (let r = 0; r < columns; r++) out[bin * columns + r]! += data[row * columns + r]! / (to - from);
  }
  return { shape: [most, columns], data: out };
}

/** The choices of images that a model has. */
export function imageModes(model: HostModel, shape: readonly number[]): [number, number][] {
  if (model.kind !== "kruskal" && !(model.kind === "tucker" && shape.length === 3)) return [];
  // the second mode of PARAFAC2 is another in every slice
  if (model.kind === "kruskal" && model.projections) return [[0, 2]];
  return shape.flatMap((_, row) => list(shape.length - row - 1, (k): [number, number] => [row, row + 1 + k]));
}

/**
 * The images of the components, as the choice says, coarser than `most` a side where they are larger; null where the model has none. Of a Kruskal
 * model the outer product of two columns. Of a Tucker model of order 3 the core times both factors, one image for each component of the third mode.
 */
export function imagesOf(model: HostModel, choice: ImageChoice, most: number): Images | null {
  if (choice.kind === "fold") {
    const factor = model.kind === "kruskal" || model.kind === "tucker" ? model.factors[choice.mode] : null;
    const extent = factor?.shape[0] ?? 0;
    if (!factor || choice.rows < 1 || extent % choice.rows) return null;
    const [rows, columns] = [choice.rows, extent / choice.rows];
    const rank = factor.shape[1]!;
    return {
      ...coarse(
        rows,
        columns,
        list(rank, (r) => Float32Array.from({ length: extent }, (_, at) => factor.data[at * rank + r]!)),
        most,
      ),
      axis: axisOf(model, choice.mode),
    };
  }
  const [i, j] = choice.modes;
  if (model.kind === "kruskal") {
    const [down, across] = [model.factors[i], model.factors[j]].map((factor) => factor && binned(factor, most));
    if (!down || !across) return null;
    const rank = model.weights.length;
    const [rows, columns] = [down.shape[0]!, across.shape[0]!];
    const images = list(rank, (r) => {
      const image = new Float32Array(rows * columns);
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++)
          image[row * columns + column] = down.data[row * rank + r]! * across.data[column * rank + r]!;
      return image;
    });
    return { rows, columns, images, axis: 0 };
  }
  if (model.kind !== "tucker" || model.core.shape.length !== 3) return null;
  const k = 3 - i - j;
  const [down, across] = [i, j].map((mode) =>
    binned(model.factors[mode] ?? identity(model.core.shape[mode]!), most),
  ) as [Values, Values];
  const { shape, data } = model.core;
  const stride = [shape[1]! * shape[2]!, shape[2]!, 1];
  const [rows, columns] = [down.shape[0]!, across.shape[0]!];
  const [p, q] = [shape[i]!, shape[j]!];
  // a mode without a factor has as many images as indices, of which a few are enough
  const images = list(Math.min(shape[k]!, MOST_IMAGES), (r) => {
    const half = new Float32Array(rows * q);
    for (let row = 0; row < rows; row++)
      for (let a = 0; a < p; a++) {
        const weight = down.data[row * p + a]!;
        for (let b = 0; b < q; b++)
          half[row * q + b]! += weight * data[r * stride[k]! + a * stride[i]! + b * stride[j]!]!;
      }
    const image = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let b = 0; b < q; b++) sum += half[row * q + b]! * across.data[column * q + b]!;
        image[row * columns + column] = sum;
      }
    return image;
  });
  return { rows, columns, images, axis: k };
}

/** images of one figure */
export const MOST_IMAGES = 48;

const identity = (extent: number): Values => ({
  shape: [extent, extent],
  data: Float32Array.from({ length: extent * extent }, (_, at) => (Math.floor(at / extent) === at % extent ? 1 : 0)),
});

/** Images averaged in bins, where a side is longer than `most`. */
function coarse(rows: number, columns: number, images: readonly Float32Array[], most: number) {
  const [down, across] = [Math.min(rows, most), Math.min(columns, most)];
  if (down === rows && across === columns) return { rows, columns, images: [...images] };
  return {
    rows: down,
    columns: across,
    images: images.map((image) => {
      const byRow = binned({ shape: [rows, columns], data: image }, down);
      const turnedOver = new Float32Array(down * columns);
      for (let row = 0; row < down; row++)
        for (let column = 0; column < columns; column++)
          turnedOver[column * down + row] = byRow.data[row * columns + column]!;
      const both = binned({ shape: [columns, down], data: turnedOver }, across).data;
      return Float32Array.from(
        { length: down * across },
        (_, at) => both[(at % across) * down + Math.floor(at / across)]!,
      );
    }),
  };
}

/** Bins of the numbers times a factor. */
export const scaledBins = (bins: readonly HistogramBin[], factor: number): HistogramBin[] =>
  bins.map(({ from, to, count }) => ({ from: factor * from, to: factor * to, count }));

/** Leverage of every row of a factor: the diagonal of A(AᵀA)⁻¹Aᵀ (tlviz's outlier plot); null where columns are dependent. */
export function leverages({ shape, data }: Values): Float64Array | null {
  const [rows, rank] = shape as [number, number];
  const inverse = invertedGram(products(data, data, rank), rank);
  if (!inverse) return null;
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let r = 0; r < rank; r++)
      for (let s = 0; s < rank; s++) sum += data[row * rank + r]! * inverse[r * rank + s]! * data[row * rank + s]!;
    return sum;
  });
}

/** By Gauss-Jordan with pivots; null where the matrix is singular in f32. */
function invertedGram(gram: Float64Array, n: number): Float64Array | null {
  const left = gram.slice();
  const right = Float64Array.from({ length: n * n }, (_, at) => (Math.floor(at / n) === at % n ? 1 : 0));
  const largest = Math.max(...list(n, (r) => gram[r * n + r]!));
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++)
      if (Math.abs(left[row * n + column]!) > Math.abs(left[pivot * n + column]!)) pivot = row;
    const size = left[pivot * n + column]!;
    if (!(Math.abs(size) > 1e-7 * largest)) return null;
    for (const matrix of [left, right])
      for (let k = 0; k < n; k++) {
        const value = matrix[pivot * n + k]!;
        matrix[pivot * n + k] = matrix[column * n + k]!;
        matrix[column * n + k] = value / size;
      }
    for (let row = 0; row < n; row++) {
      const times = left[row * n + column]!;
      if (row === column || !times) continue;
      for (const matrix of [left, right])
        for (let k = 0; k < n; k++) matrix[row * n + k]! -= times * matrix[column * n + k]!;
    }
  }
  return right;
}

/** The arrays of a model by the names that they have in a file. */
export function namedArrays(model: HostModel, prefix = ""): [string, NumericArray][] {
  const numbered = (name: string, values: readonly (Values | null)[]): [string, NumericArray][] =>
    values.flatMap((value, at): [string, NumericArray][] => (value ? [[`${prefix}${name}_${at}`, value]] : []));
  switch (model.kind) {
    case "kruskal": {
      const weights: [string, NumericArray] = ["weights", { shape: [model.weights.length], data: model.weights }];
      if (!model.projections) return [weights, ...numbered("factor", model.factors)];
      const named = model.factors.map((factor, at): [string, NumericArray] => ["abc"[at]!, factor]);
      return [weights, ...named, ...numbered("projection", model.projections)];
    }
    case "tucker":
      return [[`${prefix}core`, model.core], ...numbered("factor", model.factors)];
    case "train":
      return numbered("core", model.cores);
    case "ring":
      return numbered("ring_core", model.cores);
    case "blocks":
      return model.blocks.flatMap((block, g) => namedArrays(block, `block_${g}_`));
  }
}
