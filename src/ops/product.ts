import { bytesOf, type DType, type Scheduler, type Tensor } from "../gpu/index.js";
import { type Epilogue, epilogues } from "./activations.js";
import { bitsOf, readingOf } from "./bits.js";
import { isTurned, planMatmul } from "./families/matmul.js";
import { splitSumKernel } from "./families/splitSum.js";
import type { Layout } from "./tiles.js";

/**
 * out[b] = activation(alpha · Σ_o op(A[b, o])·op(B[b, o]) + bias): the form that every product of matrices and every
 * product along a mode takes. Strides count elements; matrices are contiguous and row-major.
 */
export interface Product {
  rows: number;
  columns: number;
  inner: number;
  /** how many matrix products are added up, and the elements from one operand to the next */
  outer?: number;
  outerA?: number;
  outerB?: number;
  /** how many products there are, and the elements from one operand to the next; 0 where all have the same */
  batch?: number;
  batchA?: number;
  batchB?: number;
  /** A is stored inner×rows */
  transposeA?: boolean;
  /** B is stored columns×inner */
  transposeB?: boolean;
  /** one value a column */
  bias?: Tensor | undefined;
  activation?: Epilogue;
  alpha?: number;
  /** cuts sums into runs, which round less than one run; only where `outer` is 1 */
  careful?: boolean;
}

/** Records a product into `out` (batch·rows·columns elements). One operand may be of another dtype than f32. */
export function recordProduct(s: Scheduler, a: Operand, b: Operand, out: Tensor, product: Product): void {
  if (isTurned(s.engine, product.rows, product.columns, layoutsOf(product, a, b)))
    run(s, b, a, out, turn(product), true);
  else run(s, a, b, out, product, false);
}

type Operand = Tensor<DType>;

/** How the operands lie. */
function layoutsOf(product: Product, a: Operand, b: Operand): { a: Layout; b: Layout } {
  const { rows, columns, inner, transposeA = false, transposeB = false } = product;
  const { outerA = 0, outerB = 0, batchA = 0, batchB = 0 } = product;
  return {
    a: {
      acrossOutputs: transposeA,
      extents: [transposeA ? rows : inner, outerA, batchA],
      isPacked: bytesOf(a.dtype) < 4,
    },
    b: {
      acrossOutputs: !transposeB,
      extents: [transposeB ? inner : columns, outerB, batchB],
      isPacked: bytesOf(b.dtype) < 4,
    },
  };
}

/** The transposed product, Cᵀ = op(B)ᵀ·op(A)ᵀ. */
function turn({ transposeA = false, transposeB = false, ...product }: Product): Product {
  const { rows, columns, outerA = 0, outerB = 0, batchA = 0, batchB = 0 } = product;
  return {
    ...product,
    rows: columns,
    columns: rows,
    transposeA: !transposeB,
    transposeB: !transposeA,
    outerA: outerB,
    outerB: outerA,
    batchA: batchB,
    batchB: batchA,
  };
}

function run(s: Scheduler, a: Operand, b: Operand, out: Tensor, product: Product, transposeOut: boolean): void {
  const { rows, columns, inner, outer = 1, batch = 1, bias, activation = "none", alpha = 1 } = product;
  const { transposeA = false, transposeB = false, outerA = 0, outerB = 0, batchA = 0, batchB = 0 } = product;
  // the parts of cut sums are one binding
  const room = Math.floor(s.engine.device.limits.maxStorageBufferBindingSize / out.bytes);
  const sums = { inner, outer, mostRuns: product.careful ? room : undefined };
  const { kernels, split } = planMatmul(s.engine, { rows, columns, batch }, sums, layoutsOf(product, a, b));
  const specialised = kernels.with({
    TRANSPOSE_A: transposeA,
    TRANSPOSE_B: transposeB,
    TRANSPOSE_OUT: transposeOut,
    PACKED_A: a.dtype !== "f32",
    PACKED_B: b.dtype !== "f32",
    ...readingOf(a.dtype === "f32" ? b : a, false),
  });
  const operands = { a: bitsOf(a), b: bitsOf(b) };
  const isUncut = split.count === 1;
  const params = {
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
    alpha: isUncut ? alpha : 1,
  };
  const unused = bias ?? s.tensor([1], { label: "no bias" });
  if (isUncut) {
    const epilogue = { BIAS: Boolean(bias), ACTIVATION: epilogues[activation] };
    s.run(specialised.with(epilogue), { ...operands, bias: unused, out }, params);
  } else {
    const parts = s.tensor([split.count, out.size], { label: "partial sums" });
    s.run(specialised, { ...operands, bias: unused, out: parts }, params);
    sumParts(s, parts, out, { columns: transposeOut ? rows : columns, alpha, bias, activation });
    s.release(parts);
  }
  if (!bias) s.release(unused);
}

/** The sum over the first mode of `parts`, a temporary that is released. */
export function addUp(s: Scheduler, parts: Tensor, out = s.tensor(parts.shape.slice(1))): Tensor {
  sumParts(s, parts, out);
  s.release(parts);
  return out;
}

/** out[e] = activation(alpha · Σ_s parts[s, e] + bias), in a fixed order. */
export function sumParts(
  s: Scheduler,
  parts: Tensor,
  out: Tensor,
  options: { columns?: number; alpha?: number; bias?: Tensor | undefined; activation?: Epilogue } = {},
): void {
  const { columns = 1, alpha = 1, bias, activation = "none" } = options;
  const splits = parts.size / out.size;
  const unused = bias ?? s.tensor([1], { label: "no bias" });
  s.run(
    splitSumKernel(s.engine, splits).with({ BIAS: Boolean(bias), ACTIVATION: epilogues[activation] }),
    { parts, bias: unused, out },
    { size: out.size, columns, splits, alpha },
  );
  if (!bias) s.release(unused);
}
