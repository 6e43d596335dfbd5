/** f64 loops for products of matrices and tensors. Tensors are row-major with their shapes. */

type Numbers = ArrayLike<number>;
type Shape = readonly number[];

const sizeOf = (shape: Shape): number => shape.reduce((product, extent) => product * extent, 1);

/** The indices of all elements in row-major order, in one array that is changed for every element. */
function* indicesOf(shape: Shape): Generator<number[]> {
  const index = shape.map(() => 0);
  for (let count = sizeOf(shape); count > 0; count--) {
    yield index;
    for (let mode = shape.length - 1; mode >= 0; mode--) {
      if (++index[mode]! < shape[mode]!) break;
      index[mode] = 0;
    }
  }
}

/** Y[…, j, …] = Σ_i U[j, i] X[…, i, …]; U is J×Iₙ, with transpose Iₙ×J. */
export function modeProduct(x: Numbers, shape: Shape, u: Numbers, size: number, mode: number, transpose = false) {
  const extent = shape[mode]!;
  const after = sizeOf(shape.slice(mode + 1));
  const out = new Float64Array((sizeOf(shape) / extent) * size);
  let element = 0;
  for (const index of indicesOf(shape)) {
    const i = index[mode]!;
    const b = Math.floor(element / (extent * after));
    const a = element % after;
    for (let j = 0; j < size; j++)
      out[(b * size + j) * after + a]! += u[transpose ? i * size + j : j * extent + i]! * x[element]!;
    element++;
  }
  return out;
}

/** P[indices of modes start to stop − 1, r] = Σ X · Π factor[index, r], the sum and the product over the other modes. */
export function partialMttkrp(
  x: Numbers,
  shape: Shape,
  factors: readonly Numbers[],
  rank: number,
  start: number,
  stop: number,
): Float64Array {
  const out = new Float64Array(sizeOf(shape.slice(start, stop)) * rank);
  let element = 0;
  for (const index of indicesOf(shape)) {
    let row = 0;
    for (let mode = start; mode < stop; mode++) row = row * shape[mode]! + index[mode]!;
    for (let r = 0; r < rank; r++) {
      let value = x[element]!;
      for (let mode = 0; mode < shape.length; mode++)
        if (mode < start || mode >= stop) value *= factors[mode]![index[mode]! * rank + r]!;
      out[row * rank + r]! += value;
    }
    element++;
  }
  return out;
}

/** The MTTKRP of one mode, Iₙ×R. */
export const mttkrp = (x: Numbers, shape: Shape, factors: readonly Numbers[], rank: number, mode: number) =>
  partialMttkrp(x, shape, factors, rank, mode, mode + 1);

/** The mode-n unfolding, Iₙ × product of the others in row-major order. */
export function unfold(x: Numbers, shape: Shape, mode: number): Float64Array {
  const columns = sizeOf(shape) / shape[mode]!;
  const out = new Float64Array(sizeOf(shape));
  let element = 0;
  for (const index of indicesOf(shape)) {
    let column = 0;
    for (let other = 0; other < shape.length; other++)
      if (other !== mode) column = column * shape[other]! + index[other]!;
    out[index[mode]! * columns + column] = x[element++]!;
  }
  return out;
}

/** The column-wise Kronecker product, (I·J)×R; row i·J + j is a[i, :]·b[j, :]. */
export function khatriRao(a: Numbers, b: Numbers, columns: number): Float64Array {
  const rowsB = b.length / columns;
  return Float64Array.from({ length: a.length * rowsB }, (_, e) => {
    const row = Math.floor(e / columns);
    return a[Math.floor(row / rowsB) * columns + (e % columns)]! * b[(row % rowsB) * columns + (e % columns)]!;
  });
}

/** The Kronecker product. */
export function kronecker(a: Numbers, columnsA: number, b: Numbers, columnsB: number): Float64Array {
  const rowsB = b.length / columnsB;
  const columns = columnsA * columnsB;
  return Float64Array.from({ length: a.length * b.length }, (_, e) => {
    const [row, column] = [Math.floor(e / columns), e % columns];
    return (
      a[Math.floor(row / rowsB) * columnsA + Math.floor(column / columnsB)]! *
      b[(row % rowsB) * columnsB + (column % columnsB)]!
    );
  });
}

/** Σ_r λ_r a_r ∘ b_r ∘ …, with weights 1 for null. */
export function kruskal(weights: Numbers | null, factors: readonly Numbers[], rank: number): Float64Array {
  const shape = factors.map((factor) => factor.length / rank);
  const out = new Float64Array(sizeOf(shape));
  let element = 0;
  for (const index of indicesOf(shape)) {
    for (let r = 0; r < rank; r++) {
      let value = weights ? weights[r]! : 1;
      for (let mode = 0; mode < shape.length; mode++) value *= factors[mode]![index[mode]! * rank + r]!;
      out[element]! += value;
    }
    element++;
  }
  return out;
}

/** A·Bᵀ of two matrices stored rows×inner. */
export function timesTransposed(a: Numbers, b: Numbers, inner: number): Float64Array {
  const rows = a.length / inner;
  const columns = b.length / inner;
  return Float64Array.from({ length: rows * columns }, (_, e) => {
    const [i, j] = [Math.floor(e / columns), e % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += a[i * inner + k]! * b[j * inner + k]!;
    return sum;
  });
}
