/**
 * Tensor trains in f64 on the host. Their cores are small beside the tensor, and their algorithms are long chains of factorisations of small
 * matrices, each of which waits for the one before it: a GPU would spend its time on dispatches. In f64, what ranks are cut by is not rounding.
 */
import { multiply, qr, svd, transpose } from "./dense.js";

/** G_k, left×extent×right, row-major. */
export interface HostCore {
  left: number;
  extent: number;
  right: number;
  data: Float64Array;
}

export type HostTrain = readonly HostCore[];

/** The block-diagonal sum of two trains, or of rows and columns at the ends. */
export function add(a: HostTrain, b: HostTrain): HostTrain {
  const last = a.length - 1;
  return a.map((x, k) => {
    const y = b[k]!;
    if (last === 0) return { ...x, data: x.data.map((value, at) => value + y.data[at]!) };
    const left = k === 0 ? 1 : x.left + y.left;
    const right = k === last ? 1 : x.right + y.right;
    const data = new Float64Array(left * x.extent * right);
    for (const [core, row, column] of [
      [x, 0, 0],
      [y, k === 0 ? 0 : x.left, k === last ? 0 : x.right],
    ] as const)
      for (let l = 0; l < core.left; l++)
        for (let i = 0; i < core.extent; i++)
          for (let r = 0; r < core.right; r++)
            data[((l + row) * core.extent + i) * right + r + column]! +=
              core.data[(l * core.extent + i) * core.right + r]!;
    return { left, extent: x.extent, right, data };
  });
}

/** a ∗ b, element by element: the Kronecker products of the cores' slices. */
export const hadamard = (a: HostTrain, b: HostTrain): HostTrain =>
  a.map((x, k) => {
    const y = b[k]!;
    const [left, right] = [x.left * y.left, x.right * y.right];
    const data = new Float64Array(left * x.extent * right);
    for (let l = 0; l < left; l++)
      for (let i = 0; i < x.extent; i++) {
        const fromX = (Math.floor(l / y.left) * x.extent + i) * x.right;
        const fromY = ((l % y.left) * y.extent + i) * y.right;
        const to = (l * x.extent + i) * right;
        for (let p = 0; p < x.right; p++)
          for (let q = 0; q < y.right; q++) data[to + p * y.right + q] = x.data[fromX + p]! * y.data[fromY + q]!;
      }
    return { left, extent: x.extent, right, data };
  });

/** The train times a number, which goes into the core that is listed (the last by default). */
export const scale = (train: HostTrain, factor: number, at = train.length - 1): HostTrain =>
  train.map((core, k) => (k === at ? { ...core, data: core.data.map((value) => value * factor) } : core));

/** ⟨a, b⟩, contracted from the left. */
export function innerProduct(a: HostTrain, b: HostTrain): number {
  let product = new Float64Array([1]);
  a.forEach((x, k) => {
    const y = b[k]!;
    // (left of a)×(left of b) times b's core, then a's core transposed times that
    const half = multiply(product, y.data, x.left, y.left, y.extent * y.right);
    const turned = transpose(x.data, x.left * x.extent, x.right);
    product = multiply(turned, half, x.right, x.left * x.extent, y.right) as Float64Array<ArrayBuffer>;
  });
  return product[0]!;
}

/** Cores 0 to `centre` − 1 become left-orthogonal, those behind it right-orthogonal; the tensor stays (Oseledets 2011, section 3). */
export function orthogonalise(train: HostTrain, centre: number): HostTrain {
  const cores = [...train];
  for (let k = 0; k < centre; k++) {
    const { left, extent, right, data } = cores[k]!;
    const { q, r, rank } = qr(data, left * extent, right);
    cores[k] = { left, extent, right: rank, data: q };
    const next = cores[k + 1]!;
    const moved = multiply(r, next.data, rank, right, next.extent * next.right);
    cores[k + 1] = { ...next, left: rank, data: moved };
  }
  for (let k = cores.length - 1; k > centre; k--) {
    const { left, extent, right, data } = cores[k]!;
    const { q, r, rank } = qr(transpose(data, left, extent * right), extent * right, left);
    cores[k] = { left: rank, extent, right, data: transpose(q, extent * right, rank) };
    const before = cores[k - 1]!;
    const moved = multiply(before.data, transpose(r, rank, left), before.left * before.extent, left, rank);
    cores[k - 1] = { ...before, right: rank, data: moved };
  }
  return cores;
}

/** ‖train‖ by orthogonalisation: right to 1e-15 of the terms, where the root of ⟨a, a⟩ keeps half the digits of a difference. */
export function norm(train: HostTrain): number {
  const { data } = orthogonalise(train, 0)[0]!;
  return lengthOf(data);
}

/** The root of a sum of squares, whatever the magnitudes. */
export function lengthOf(data: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < data.length; i++) largest = Math.max(largest, Math.abs(data[i]!));
  if (largest === 0) return 0;
  let squared = 0;
  for (let i = 0; i < data.length; i++) squared += (data[i]! / largest) ** 2;
  return largest * Math.sqrt(squared);
}

/**
 * TT rounding (Oseledets 2011, algorithm 2): right-orthogonal cores, then truncated SVDs from the left. They may lose `relativeError` of the norm
 * together, and each an equal part of what is left of that. Each keeps at most `ranks[k]` singular values. Singular values of 0 are dropped.
 */
export function round(train: HostTrain, relativeError: number, ranks?: readonly number[]): HostTrain {
  const cores = [...orthogonalise(train, 0)];
  let allowed = (relativeError * lengthOf(cores[0]!.data)) ** 2;
  for (let k = 0; k < cores.length - 1; k++) {
    const { left, extent, right, data } = cores[k]!;
    const rows = left * extent;
    const { u, values, v } = svd(data, rows, right);
    const width = values.length;
    const budget = Math.sqrt(allowed / (cores.length - 1 - k));
    const rank = Math.min(rankWithin(values, budget), ranks?.[k] ?? width);
    allowed = Math.max(0, allowed - values.slice(rank).reduce((sum, value) => sum + value ** 2, 0));
    const leading = new Float64Array(rows * rank);
    for (let i = 0; i < rows; i++) for (let r = 0; r < rank; r++) leading[i * rank + r] = u[i * width + r]!;
    const rest = new Float64Array(rank * right);
    for (let r = 0; r < rank; r++) for (let j = 0; j < right; j++) rest[r * right + j] = values[r]! * v[j * width + r]!;
    cores[k] = { left, extent, right: rank, data: leading };
    const next = cores[k + 1]!;
    cores[k + 1] = { ...next, left: rank, data: multiply(rest, next.data, rank, right, next.extent * next.right) };
  }
  return cores;
}

/** How many leading singular values there have to be for the others to have at most this norm; 1 at least. */
export function rankWithin(values: ArrayLike<number>, budget: number): number {
  let rank = values.length;
  let squared = 0;
  while (rank > 1) {
    squared += values[rank - 1]! ** 2;
    if (squared > budget * budget) break;
    rank--;
  }
  return rank;
}

/** Entries at `indices`, d numbers each. */
export function entries(train: HostTrain, indices: ArrayLike<number>): Float64Array {
  const d = train.length;
  const out = new Float64Array(indices.length / d);
  for (let at = 0; at < out.length; at++) {
    let row = new Float64Array([1]);
    for (let k = 0; k < d; k++) {
      const { left, extent, right, data } = train[k]!;
      const next = new Float64Array(right);
      const index = indices[at * d + k]!;
      for (let l = 0; l < left; l++) {
        const from = (l * extent + index) * right;
        for (let r = 0; r < right; r++) next[r]! += row[l]! * data[from + r]!;
      }
      row = next;
    }
    out[at] = row[0]!;
  }
  return out;
}

/** The train with mode k multiplied by a matrix, rows×extent; by a vector (rows null), and the mode is gone. */
export function modeProduct(train: HostTrain, u: Float64Array, rows: number | null, mode: number): HostTrain {
  const { left, extent, right, data } = train[mode]!;
  const count = rows ?? 1;
  const product = new Float64Array(left * count * right);
  for (let l = 0; l < left; l++)
    for (let j = 0; j < count; j++)
      for (let i = 0; i < extent; i++) {
        const value = u[j * extent + i]!;
        for (let r = 0; r < right; r++)
          product[(l * count + j) * right + r]! += value * data[(l * extent + i) * right + r]!;
      }
  if (rows !== null) return train.map((core, k) => (k === mode ? { left, extent: rows, right, data: product } : core));
  // the matrix that is left goes into a neighbour
  const cores = [...train];
  cores.splice(mode, 1);
  const to = mode < cores.length ? mode : mode - 1;
  const core = cores[to]!;
  cores[to] =
    to === mode
      ? { ...core, left, data: multiply(product, core.data, left, right, core.extent * core.right) }
      : { ...core, right, data: multiply(core.data, product, core.left * core.extent, left, right) };
  return cores;
}

/** A matrix of trains, cores left×rows×columns×right, times a vector in a train. */
export const matrixProduct = (
  matrix: readonly { left: number; rows: number; columns: number; right: number; data: Float64Array }[],
  vector: HostTrain,
): HostTrain =>
  matrix.map((m, k) => {
    const v = vector[k]!;
    const [left, right] = [m.left * v.left, m.right * v.right];
    const data = new Float64Array(left * m.rows * right);
    for (let a = 0; a < m.left; a++)
      for (let i = 0; i < m.rows; i++)
        for (let j = 0; j < m.columns; j++)
          for (let b = 0; b < m.right; b++) {
            const value = m.data[((a * m.rows + i) * m.columns + j) * m.right + b]!;
            if (value === 0) continue;
            for (let c = 0; c < v.left; c++)
              for (let e = 0; e < v.right; e++)
                data[((a * v.left + c) * m.rows + i) * right + b * v.right + e]! +=
                  value * v.data[(c * v.extent + j) * v.right + e]!;
          }
    return { left, extent: m.rows, right, data };
  });

/** A ring's cores as a train's: each is repeated along the diagonal for every value of the index that closes the ring. */
export function fromRing(ring: HostTrain): HostTrain {
  const closing = ring[0]!.left;
  const last = ring.length - 1;
  return ring.map(({ left, extent, right, data }, k) => {
    const [outLeft, outRight] = [k === 0 ? 1 : closing * left, k === last ? 1 : closing * right];
    const out = new Float64Array(outLeft * extent * outRight);
    for (let c = 0; c < closing; c++)
      for (let l = 0; l < left; l++) {
        if (k === 0 && l !== c) continue;
        for (let i = 0; i < extent; i++)
          for (let r = 0; r < right; r++) {
            if (k === last && r !== c) continue;
            const row = k === 0 ? 0 : c * left + l;
            const column = k === last ? 0 : c * right + r;
            out[(row * extent + i) * outRight + column]! += data[(l * extent + i) * right + r]!;
          }
      }
    return { left: outLeft, extent, right: outRight, data: out };
  });
}
