import registerShader from "../../shaders/matmul_register.wgsl";
import tiledShader from "../../shaders/matmul_tiled.wgsl";
import splitSumShader from "../../shaders/split_sum.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor, Variants } from "../gpu/index.js";

/** Activations by the number that shaders/common/activation.wgsl gives them. */
export const activations = { none: 0, relu: 1 } as const;
export type Activation = keyof typeof activations;

/**
 * out[b] = activation(alpha · Σ_o op(A[b, o])·op(B[b, o]) + bias): the form that every product of matrices and every
 * product along a mode takes. Strides count elements; matrices are contiguous and row-major.
 */
export interface Product {
  rows: number;
  columns: number;
  inner: number;
  /** how many matrix products are added up, and the elements between them */
  outer?: number;
  outerA?: number;
  outerB?: number;
  /** how many products there are, and the elements between them; 0 shares one matrix */
  batch?: number;
  batchA?: number;
  batchB?: number;
  /** A is stored inner×rows */
  transposeA?: boolean;
  /** B is stored columns×inner */
  transposeB?: boolean;
  /** one value a column */
  bias?: Tensor | undefined;
  activation?: Activation;
  alpha?: number;
}

const tiles = (params: Readonly<Record<string, number>>, tile: number): number =>
  Math.ceil(params.columns! / tile) * Math.ceil(params.rows! / tile) * params.batch! * params.splits!;

const register = new Kernel(registerShader, (params) => grid1d(tiles(params, 4), 64));
const tiled = new Kernel(tiledShader, (params, { TILE }) => grid1d(tiles(params, TILE!), 1));
const splitSum = new Kernel(splitSumShader, ({ size }) => grid1d(size!, 64));

/** The families of matrix products; the fastest on an adapter is found by a probe of n×n×n. */
export const products = new Variants("matmul", { register, tiled }, (s, kernel, size) => {
  const n = 256 * size;
  const [a, b, bias, out] = [[n, n], [n, n], [1], [n, n]].map((shape) => s.tensor(shape)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  s.run(kernel, { a, b, bias, out }, paramsOf({ rows: n, columns: n, inner: n }, { inner: n, outer: 1, count: 1 }));
});

/** How a sum of `outer` times `inner` terms is cut: so much of each a part, `count` parts. */
export interface Split {
  inner: number;
  outer: number;
  count: number;
}

/** Invocations that keep an adapter busy, each with a 4×4 tile. */
const ENOUGH = 8192;
/** the fewest terms worth a part of their own, and the most that one part may add up */
const SHORTEST = 128;
const LONGEST = 8192;

/** Cuts long sums so that there are enough parts to work on at once, and none is long enough to lose digits. */
export function splitSums(outputs: number, inner: number, outer = 1): Split {
  const terms = inner * outer;
  const wanted = Math.max(Math.floor(ENOUGH / Math.ceil(outputs / 16)), Math.ceil(terms / LONGEST));
  const parts = Math.max(1, Math.min(wanted, Math.floor(terms / SHORTEST)));
  if (parts === 1) return { inner, outer, count: 1 };
  const outerParts = Math.min(parts, outer);
  const outerChunk = Math.ceil(outer / outerParts);
  const innerParts = Math.max(1, Math.round(parts / outerParts));
  const innerChunk = Math.ceil(inner / innerParts);
  return {
    inner: innerChunk,
    outer: outerChunk,
    count: Math.ceil(inner / innerChunk) * Math.ceil(outer / outerChunk),
  };
}

function paramsOf(product: Product, split: Split) {
  const { rows, columns, inner, outer = 1, outerA = 0, outerB = 0, batch = 1, batchA = 0, batchB = 0 } = product;
  return {
    rows,
    columns,
    inner,
    outer,
    batch,
    batch_a: batchA,
    batch_b: batchB,
    outer_a: outerA,
    outer_b: outerB,
    inner_chunk: split.inner,
    outer_chunk: split.outer,
    splits: split.count,
    alpha: split.count > 1 ? 1 : (product.alpha ?? 1),
  };
}

/** Records a product into `out` (batch·rows·columns elements). */
export function recordProduct(s: Scheduler, a: Tensor, b: Tensor, out: Tensor, product: Product): void {
  const { rows, columns, inner, outer = 1, batch = 1, transposeA = false, transposeB = false } = product;
  const { bias, activation = "none", alpha = 1 } = product;
  const split = splitSums(batch * rows * columns, inner, outer);
  const epilogue = { BIAS: Boolean(bias), ACTIVATION: activations[activation] };
  const unused = bias ?? s.tensor([1], { label: "no bias" });
  const kernel = products.with({ TRANSPOSE_A: transposeA, TRANSPOSE_B: transposeB });
  if (split.count === 1) {
    s.run(kernel.with(epilogue), { a, b, bias: unused, out }, paramsOf(product, split));
  } else {
    const parts = s.tensor([split.count, out.size], { label: "partial sums" });
    s.run(kernel, { a, b, bias: unused, out: parts }, paramsOf(product, split));
    sumParts(s, parts, out, { columns, alpha, bias, activation });
    s.release(parts);
  }
  if (!bias) s.release(unused);
}

/** out[e] = activation(alpha · Σ_s parts[s, e] + bias), in a fixed order. */
export function sumParts(
  s: Scheduler,
  parts: Tensor,
  out: Tensor,
  options: { columns?: number; alpha?: number; bias?: Tensor | undefined; activation?: Activation } = {},
): void {
  const { columns = 1, alpha = 1, bias, activation = "none" } = options;
  const unused = bias ?? s.tensor([1], { label: "no bias" });
  s.run(
    splitSum.with({ BIAS: Boolean(bias), ACTIVATION: activations[activation] }),
    { parts, bias: unused, out },
    { size: out.size, columns, splits: parts.size / out.size, alpha },
  );
  if (!bias) s.release(unused);
}
