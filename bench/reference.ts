/**
 * The cases' results in f64, by plain loops over typed arrays. Where all entries would take too long, only a sample of them is
 * computed: it covers every row and column pattern of the tiles, and all entries of the outputs must be finite.
 */
import { sizeOf } from "../src/gpu/index.js";
import type { Check, Lenet, Network } from "./case.js";
import { sumOfTerms } from "./inputs.js";

/** The most multiplications of a check of entries. */
const BUDGET = 4e7;
/** The most multiplications of a part of a factorisation's check: the product, or the orthogonality of a factor. */
const PART = 1e8;

/**
 * Checks a sample of an output's `size` entries, each of which `entry` computes with `cost` multiplications. The error is the largest
 * difference relative to the largest sampled entry, and infinite where an entry of the output is not finite.
 */
export function entries(size: number, cost: number, entry: (index: number) => number): Check {
  const indices = sample(size, cost, BUDGET);
  const expected = indices.map(entry);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  return ([output]) => {
    if (output?.length !== size || !output.every(Number.isFinite)) return Number.POSITIVE_INFINITY;
    return indices.reduce((most, at, i) => Math.max(most, Math.abs(output[at]! - expected[i]!)), 0) / scale;
  };
}

/** Places of entries, as many as `budget` multiplications allow at `cost` each, but at least 64; all places if it allows them. */
function sample(size: number, cost: number, budget: number): number[] {
  const count = Math.min(size, Math.max(64, Math.floor(budget / cost)));
  // the last entry is always among them, because errors at edges show there first
  const stride = count === size ? 1 : spread(size);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? size - 1 : (i * stride) % size));
}

/** A stride near the golden section of the size, coprime to it: its multiples visit all entries, and every part of a tile alike. */
export function spread(size: number): number {
  const divisor = (a: number, b: number): number => (b ? divisor(b, a % b) : a);
  let stride = Math.max(1, Math.floor(size * 0.6180339887));
  while (divisor(size, stride) > 1) stride++;
  return stride;
}

/** C = A·B, A rows×inner, B inner×columns. */
export function product(a: Float32Array, b: Float32Array, inner: number, columns: number): Check {
  return entries((a.length / inner) * columns, inner, (index) => {
    const [row, column] = [Math.floor(index / columns) * inner, index % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += a[row + k]! * b[k * columns + column]!;
    return sum;
  });
}

/** AᵀA, A rows×columns. */
export function gram(a: Float32Array, columns: number): Check {
  const rows = a.length / columns;
  return entries(columns * columns, rows, (index) => {
    const [i, j] = [Math.floor(index / columns), index % columns];
    let sum = 0;
    for (let k = 0; k < rows; k++) sum += a[k * columns + i]! * a[k * columns + j]!;
    return sum;
  });
}

/** x ×ₙ u, u J×Iₙ. */
export function modeProduct(x: Float32Array, shape: readonly number[], u: Float32Array, mode: number): Check {
  const extent = shape[mode]!;
  const after = sizeOf(shape.slice(mode + 1));
  const columns = u.length / extent;
  return entries((x.length / extent) * columns, extent, (index) => {
    const behind = index % after;
    const j = Math.floor(index / after) % columns;
    const before = Math.floor(index / after / columns);
    let sum = 0;
    for (let i = 0; i < extent; i++) sum += u[j * extent + i]! * x[(before * extent + i) * after + behind]!;
    return sum;
  });
}

/** Strides of a row-major shape. */
const stridesOf = (shape: readonly number[]): number[] => shape.map((_, mode) => sizeOf(shape.slice(mode + 1)));

/** A function that computes the entry at a flat place of an MTTKRP. */
function mttkrpEntry(
  x: Float32Array,
  shape: readonly number[],
  factors: readonly ArrayLike<number>[],
  mode: number,
  rank: number,
) {
  const strides = stridesOf(shape);
  const others = shape.map((_, other) => other).filter((other) => other !== mode);
  const inner = others.pop()!;
  return (index: number): number => {
    const [row, r] = [Math.floor(index / rank), index % rank];
    const visit = (depth: number, at: number, weight: number): number => {
      let sum = 0;
      if (depth === others.length) {
        for (let i = 0; i < shape[inner]!; i++) sum += x[at + i * strides[inner]!]! * factors[inner]![i * rank + r]!;
        return weight * sum;
      }
      const other = others[depth]!;
      for (let i = 0; i < shape[other]!; i++)
        sum += visit(depth + 1, at + i * strides[other]!, weight * factors[other]![i * rank + r]!);
      return sum;
    };
    return visit(0, row * strides[mode]!, 1);
  };
}

/** An MTTKRP of any order: the unfolded x times the Khatri-Rao product of the other modes' factors. */
export function mttkrp(
  x: Float32Array,
  shape: readonly number[],
  factors: readonly Float32Array[],
  mode: number,
): Check {
  const rank = factors[mode]!.length / shape[mode]!;
  const entry = mttkrpEntry(x, shape, factors, mode, rank);
  return entries(shape[mode]! * rank, x.length / shape[mode]!, entry);
}

/** The lower Cholesky factor of a symmetric positive definite n×n matrix. */
export function choleskyFactor(a: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / l[j * n + j]!;
    }
  return l;
}

/** X = B·A⁻¹ for the rows of B, in place. */
export function solveRows(a: Float64Array, n: number, b: Float64Array): Float64Array {
  const l = choleskyFactor(a, n);
  for (let row = 0; row < b.length; row += n) {
    for (let i = 0; i < n; i++) {
      let sum = b[row + i]!;
      for (let k = 0; k < i; k++) sum -= l[i * n + k]! * b[row + k]!;
      b[row + i] = sum / l[i * n + i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      let sum = b[row + i]!;
      for (let k = i + 1; k < n; k++) sum -= l[k * n + i]! * b[row + k]!;
      b[row + i] = sum / l[i * n + i]!;
    }
  }
  return b;
}

/** All entries of an MTTKRP of a third-order tensor, for sweeps. */
function mttkrp3(
  x: Float32Array,
  shape: readonly number[],
  factors: readonly Float64Array[],
  mode: number,
  rank: number,
) {
  const [I, J, K] = shape as [number, number, number];
  const [a, b, c] = factors as [Float64Array, Float64Array, Float64Array];
  const out = new Float64Array(shape[mode]! * rank);
  const inner = new Float64Array(rank);
  for (let i = 0; i < I; i++)
    for (let j = 0; j < J; j++) {
      const at = (i * J + j) * K;
      if (mode === 2) {
        for (let r = 0; r < rank; r++) inner[r] = a[i * rank + r]! * b[j * rank + r]!;
        for (let k = 0; k < K; k++) {
          const value = x[at + k]!;
          for (let r = 0; r < rank; r++) out[k * rank + r]! += value * inner[r]!;
        }
        continue;
      }
      inner.fill(0);
      for (let k = 0; k < K; k++) {
        const value = x[at + k]!;
        for (let r = 0; r < rank; r++) inner[r]! += value * c[k * rank + r]!;
      }
      const [row, other] = mode === 0 ? [i * rank, b] : [j * rank, a];
      const from = (mode === 0 ? j : i) * rank;
      for (let r = 0; r < rank; r++) out[row + r]! += inner[r]! * other[from + r]!;
    }
  return out;
}

const gramOf = (a: Float64Array, rank: number): Float64Array => {
  const out = new Float64Array(rank * rank);
  for (let row = 0; row < a.length; row += rank)
    for (let i = 0; i < rank; i++) for (let j = 0; j < rank; j++) out[i * rank + j]! += a[row + i]! * a[row + j]!;
  return out;
};

/** ‖X − X̂‖ / ‖X‖ of a CP model, whose weights and factors the outputs are, in f64. */
export function relativeErrorOf(x: Float32Array, shape: readonly number[]): Check {
  let norm = 0;
  for (const value of x) norm += value * value;
  return ([weights, ...factors]) => {
    const model = sumOfTerms(shape, factors, weights!);
    let squared = 0;
    for (const [at, value] of x.entries()) squared += (value - model[at]!) ** 2;
    return Math.sqrt(squared / norm);
  };
}

/**
 * One sweep of CP-ALS over a third-order tensor from the factors `start`. Outputs are λ and the factors, or only the factors. The
 * check compares sampled entries of the models, because the factors' columns may differ in scale and sign.
 */
export function cpSweep(x: Float32Array, shape: readonly number[], start: readonly Float32Array[]): Check {
  const rank = start[0]!.length / shape[0]!;
  const factors: Float64Array[] = start.map((factor) => Float64Array.from(factor));
  for (let mode = 0; mode < 3; mode++) {
    const others = factors.filter((_, other) => other !== mode).map((factor) => gramOf(factor, rank));
    const normal = others[0]!.map((value, index) => value * others[1]![index]!);
    factors[mode] = solveRows(normal, rank, mttkrp3(x, shape, factors, mode, rank));
  }
  const [I, J, K] = shape as [number, number, number];
  const samples = Array.from({ length: 2000 }, (_, i) => (i * 7919 + Math.floor(x.length / 3)) % x.length);
  const model = (weights: ArrayLike<number> | null, [a, b, c]: readonly ArrayLike<number>[]) =>
    samples.map((index) => {
      const k = index % K;
      const j = Math.floor(index / K) % J;
      const i = Math.floor(index / K / J) % I;
      let sum = 0;
      for (let r = 0; r < rank; r++)
        sum += (weights ? weights[r]! : 1) * a![i * rank + r]! * b![j * rank + r]! * c![k * rank + r]!;
      return sum;
    });
  const expected = model(null, factors);
  const scale = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0) / expected.length);
  return (outputs) => {
    const weights = outputs.length === 4 ? outputs[0]! : null;
    const got = model(weights, outputs.slice(-3));
    const squared = got.reduce((sum, value, index) => sum + (value - expected[index]!) ** 2, 0) / got.length;
    return Number.isFinite(squared) ? Math.sqrt(squared) / scale : Number.POSITIVE_INFINITY;
  };
}

/**
 * The first step of damped Gauss-Newton from these factors, by what is left of its normal equations: ‖D − (JᵀJ + λI)·P‖ / ‖D‖ with P from the
 * balanced factors to those tried next, and D the MTTKRPs of X − X̂. Outputs are those tried next, and the numbers of which the third is λ.
 */
export function gaussNewtonStep(x: Float32Array, shape: readonly number[], start: readonly Float32Array[]): Check {
  const rank = start[0]!.length / shape[0]!;
  const size = rank * rank;
  const norms = start.map((factor) => {
    const squares = new Float64Array(rank);
    for (const [at, value] of factor.entries()) squares[at % rank]! += value ** 2;
    return squares.map(Math.sqrt);
  });
  const factors = start.map((factor, mode) =>
    Float64Array.from(factor, (value, at) => {
      const common = norms.reduce((product, norm) => product * norm[at % rank]!, 1) ** (1 / start.length);
      return (value * common) / norms[mode]![at % rank]!;
    }),
  );
  /** AᵀB of two factors */
  const across = (a: Float64Array, b: Float64Array) => {
    const sums = new Float64Array(size);
    for (let row = 0; row < a.length; row += rank)
      for (let e = 0; e < size; e++) sums[e]! += a[row + Math.floor(e / rank)]! * b[row + (e % rank)]!;
    return sums;
  };
  const grams = factors.map((factor) => across(factor, factor));
  /** the Hadamard product of the Gram matrices of all modes but these */
  const without = (...left: number[]) =>
    grams.reduce((all, gram, mode) => (left.includes(mode) ? all : all.map((value, e) => value * gram[e]!)), ones());
  const ones = () => new Float64Array(size).fill(1);
  /** A·V */
  const times = (a: Float64Array, v: Float64Array) =>
    a.map((_, at) => {
      const row = at - (at % rank);
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += a[row + k]! * v[k * rank + (at % rank)]!;
      return sum;
    });
  const descent = factors.map((factor, mode) => {
    const model = times(factor, without(mode));
    return mttkrp3(x, shape, factors, mode, rank).map((value, at) => value - model[at]!);
  });
  const norm = Math.hypot(...descent.map((part) => Math.hypot(...part)));
  return (outputs) => {
    const damping = outputs[3]![2]!;
    const steps = factors.map((factor, mode) => factor.map((value, at) => outputs[mode]![at]! - value));
    const along = factors.map((factor, mode) => across(factor, steps[mode]!));
    const left = factors.map((factor, mode) => {
      const coupled = new Float64Array(size);
      for (const other of factors.keys()) {
        if (other === mode) continue;
        const weights = without(mode, other);
        for (let e = 0; e < size; e++)
          coupled[e]! += weights[e]! * along[other]![(e % rank) * rank + Math.floor(e / rank)]!;
      }
      const [direct, indirect] = [times(steps[mode]!, without(mode)), times(factor, coupled)];
      return Math.hypot(
        ...descent[mode]!.map((value, at) => value - direct[at]! - indirect[at]! - damping * steps[mode]![at]!),
      );
    });
    const error = Math.hypot(...left) / norm;
    return Number.isFinite(error) ? error : Number.POSITIVE_INFINITY;
  };
}

/** ‖X ×₁ A⁽¹⁾ᵀ … ‖² of a third-order tensor and factors with orthonormal columns. */
function projectedEnergy(x: Float32Array, shape: readonly number[], factors: readonly ArrayLike<number>[]): number {
  let current: Float64Array | Float32Array = x;
  let extents = [...shape];
  // the last mode first, because it is contiguous
  for (let mode = shape.length - 1; mode >= 0; mode--) {
    const factor = factors[mode]!;
    const extent = shape[mode]!;
    const rank = factor.length / extent;
    const after = sizeOf(extents.slice(mode + 1));
    const before = sizeOf(extents.slice(0, mode));
    const next = new Float64Array(before * rank * after);
    for (let b = 0; b < before; b++)
      for (let i = 0; i < extent; i++)
        for (let k = 0; k < after; k++) {
          const value = current[(b * extent + i) * after + k]!;
          for (let r = 0; r < rank; r++) next[(b * rank + r) * after + k]! += value * factor[i * rank + r]!;
        }
    extents = extents.map((size, other) => (other === mode ? rank : size));
    current = next;
  }
  let energy = 0;
  for (const value of current) energy += value * value;
  return energy;
}

/** Makes the columns of a orthonormal, in place, by two passes of modified Gram-Schmidt. */
export function orthonormal(a: Float64Array, columns: number): Float64Array {
  const rows = a.length / columns;
  for (let pass = 0; pass < 2; pass++)
    for (let j = 0; j < columns; j++) {
      for (let k = 0; k < j; k++) {
        let dot = 0;
        for (let i = 0; i < rows; i++) dot += a[i * columns + j]! * a[i * columns + k]!;
        for (let i = 0; i < rows; i++) a[i * columns + j]! -= dot * a[i * columns + k]!;
      }
      let square = 0;
      for (let i = 0; i < rows; i++) square += a[i * columns + j]! ** 2;
      for (let i = 0; i < rows; i++) a[i * columns + j]! /= Math.sqrt(square);
    }
  return a;
}

/** The largest sampled entry of |QᵀQ − I|. */
function departure(q: ArrayLike<number>, columns: number): number {
  const rows = q.length / columns;
  let worst = 0;
  for (const index of sample(columns * columns, rows, PART)) {
    const [i, j] = [Math.floor(index / columns), index % columns];
    let sum = i === j ? -1 : 0;
    for (let at = 0; at < q.length; at += columns) sum += q[at + i]! * q[at + j]!;
    worst = Math.max(worst, Math.abs(sum));
  }
  return worst;
}

/**
 * One sweep of HOOI. HOOI maximises the energy ‖X ×₁ A⁽¹⁾ᵀ …‖² of its factors, so the reference is the energy of the subspaces that
 * the tensor was `made` of, which the best factors reach or exceed. The error is the larger of the energy that is missing, relative
 * to the reference, and of the factors' departure from orthonormality.
 */
export function tuckerFactors(
  x: Float32Array,
  shape: readonly number[],
  made: readonly Float32Array[],
  ranks: readonly number[],
): Check {
  const bases = made.map((factor, mode) => orthonormal(Float64Array.from(factor), ranks[mode]!));
  const wanted = projectedEnergy(x, shape, bases);
  return (outputs) => {
    const factors = outputs.slice(-shape.length);
    if (!factors.every((factor) => factor.every(Number.isFinite))) return Number.POSITIVE_INFINITY;
    const loss = factors.map((factor, mode) => departure(factor, ranks[mode]!));
    return Math.max(0, ...loss, 1 - projectedEnergy(x, shape, factors) / wanted);
  };
}

/**
 * An SVD or eigendecomposition: outputs are values [k], u rows×k and v columns×k with A = U·diag(values)·Vᵀ and orthonormal columns;
 * symmetric matrices have no v.
 */
export function spectral(a: ArrayLike<number>, rows: number, columns: number): Check {
  return ([values, u, v = u]) => {
    const k = Math.min(rows, columns);
    if (![values, u, v].every((part) => part?.every(Number.isFinite))) return Number.POSITIVE_INFINITY;
    let worst = 0;
    let scale = 0;
    for (const index of sample(rows * columns, k, PART)) {
      const [i, j] = [Math.floor(index / columns) * k, (index % columns) * k];
      let sum = 0;
      for (let r = 0; r < k; r++) sum += u![i + r]! * values![r]! * v![j + r]!;
      worst = Math.max(worst, Math.abs(sum - a[index]!));
      scale = Math.max(scale, Math.abs(a[index]!));
    }
    return Math.max(worst / scale, departure(u!, k), departure(v!, k));
  };
}

/** A QR factorisation: outputs are q m×n with orthonormal columns and r n×n, upper triangular, with A = Q·R. */
export function qr(a: Float32Array, columns: number): Check {
  return ([q, r]) => {
    if (![q, r].every((part) => part?.every(Number.isFinite))) return Number.POSITIVE_INFINITY;
    let worst = departure(q!, columns);
    let scale = 0;
    for (const index of sample(a.length, columns, PART)) {
      const [i, j] = [Math.floor(index / columns) * columns, index % columns];
      let sum = 0;
      for (let k = 0; k <= j; k++) sum += q![i + k]! * r![k * columns + j]!;
      worst = Math.max(worst, Math.abs(sum - a[index]!));
      scale = Math.max(scale, Math.abs(a[index]!));
    }
    return worst / Math.max(1, scale);
  };
}

/** One step of Adam (β 0.9 and 0.999, ε 1e-8), in place. */
function adam(
  weights: readonly Float64Array[],
  gradients: readonly Float64Array[],
  first: readonly Float64Array[],
  second: readonly Float64Array[],
  step: number,
  rate: number,
): void {
  const [decay1, decay2] = [1 - 0.9 ** (step + 1), 1 - 0.999 ** (step + 1)];
  weights.forEach((values, part) => {
    for (let i = 0; i < values.length; i++) {
      const g = gradients[part]![i]!;
      first[part]![i] = 0.9 * first[part]![i]! + 0.1 * g;
      second[part]![i] = 0.999 * second[part]![i]! + 0.001 * g * g;
      values[i]! -= (rate * (first[part]![i]! / decay1)) / (Math.sqrt(second[part]![i]! / decay2) + 1e-8);
    }
  });
}

/**
 * The mean loss of one epoch of training with Adam (β 0.9 and 0.999, ε 1e-8). A batch's loss is that of the weights before its step.
 */
export function epochLoss(shape: Network, inputs: readonly Float32Array[]): number {
  const { inputs: n, hidden, classes, samples, batch, rate } = shape;
  const [x, labels] = inputs as [Float32Array, Float32Array];
  const weights = inputs.slice(2).map((values) => Float64Array.from(values));
  if (!shape.bias) weights.pop();
  const [w1, b1, w2, b2] = weights as [Float64Array, Float64Array, Float64Array, Float64Array | undefined];
  const gradients = weights.map((values) => new Float64Array(values.length));
  const first = gradients.map((values) => values.slice());
  const second = gradients.map((values) => values.slice());
  const [g1, gb1, g2, gb2] = gradients as [Float64Array, Float64Array, Float64Array, Float64Array | undefined];
  const h = new Float64Array(hidden);
  const z = new Float64Array(classes);
  let loss = 0;
  const steps = samples / batch;
  for (let step = 0; step < steps; step++) {
    for (const gradient of gradients) gradient.fill(0);
    for (let row = step * batch; row < (step + 1) * batch; row++) {
      for (let i = 0; i < hidden; i++) {
        let sum = b1[i]!;
        for (let j = 0; j < n; j++) sum += w1[i * n + j]! * x[row * n + j]!;
        h[i] = Math.max(0, sum);
      }
      let most = Number.NEGATIVE_INFINITY;
      for (let c = 0; c < classes; c++) {
        let sum = b2 ? b2[c]! : 0;
        for (let i = 0; i < hidden; i++) sum += w2[c * hidden + i]! * h[i]!;
        z[c] = sum;
        most = Math.max(most, sum);
      }
      const total = z.reduce((sum, value) => sum + Math.exp(value - most), 0);
      loss += most + Math.log(total) - z[labels[row]!]!;
      for (let c = 0; c < classes; c++) {
        z[c] = (Math.exp(z[c]! - most) / total - (c === labels[row] ? 1 : 0)) / batch;
        if (gb2) gb2[c]! += z[c]!;
        for (let i = 0; i < hidden; i++) g2[c * hidden + i]! += z[c]! * h[i]!;
      }
      for (let i = 0; i < hidden; i++) {
        if (h[i]! <= 0) continue;
        let sum = 0;
        for (let c = 0; c < classes; c++) sum += z[c]! * w2[c * hidden + i]!;
        gb1[i]! += sum;
        for (let j = 0; j < n; j++) g1[i * n + j]! += sum * x[row * n + j]!;
      }
    }
    adam(weights, gradients, first, second, step, rate);
  }
  return loss / samples;
}

/** A check of training: the output is the mean loss, or the mean losses of the batches. */
function meanLoss(expected: number): Check {
  return ([losses]) => {
    const got = losses!.reduce((sum, value) => sum + value, 0) / losses!.length;
    return Number.isFinite(got) ? Math.abs(got - expected) / expected : Number.POSITIVE_INFINITY;
  };
}

export const training = (shape: Network, inputs: readonly Float32Array[]): Check => meanLoss(epochLoss(shape, inputs));

/** A layer of a network on one sample. */
interface Stage {
  /** the layer's output */
  out: Float64Array;
  /** gradient of the loss by `out`, which the next layer writes */
  gradient: Float64Array;
  /** computes `out` */
  forward(x: Float64Array): void;
  /** adds to the parameters' gradients, and writes the gradient by x to `dx` */
  backward(x: Float64Array, dx: Float64Array | null): void;
}

function convolutionStage(
  [w, b]: readonly [Float64Array, Float64Array],
  [gw, gb]: readonly [Float64Array, Float64Array],
  [channels, size, outputs, padding]: readonly [number, number, number, number],
): Stage {
  const after = size + 2 * padding - 4;
  const out = new Float64Array(outputs * after * after);
  const gradient = new Float64Array(out.length);
  const everyTap = (visit: (o: number, x: number, w: number) => void): void => {
    for (let o = 0; o < outputs; o++)
      for (let c = 0; c < channels; c++)
        for (let y = 0; y < after; y++)
          for (let x = 0; x < after; x++)
            for (let ky = 0; ky < 5; ky++)
              for (let kx = 0; kx < 5; kx++) {
                const [iy, ix] = [y + ky - padding, x + kx - padding];
                if (iy < 0 || iy >= size || ix < 0 || ix >= size) continue;
                visit((o * after + y) * after + x, (c * size + iy) * size + ix, ((o * channels + c) * 5 + ky) * 5 + kx);
              }
  };
  return {
    out,
    gradient,
    forward(x) {
      for (let at = 0; at < out.length; at++) out[at] = b[Math.floor(at / (after * after))]!;
      everyTap((o, i, k) => (out[o]! += w[k]! * x[i]!));
      for (let at = 0; at < out.length; at++) out[at] = Math.max(0, out[at]!);
    },
    backward(x, dx) {
      for (let at = 0; at < out.length; at++) {
        if (out[at]! <= 0) gradient[at] = 0;
        gb[Math.floor(at / (after * after))]! += gradient[at]!;
      }
      dx?.fill(0);
      everyTap((o, i, k) => {
        gw[k]! += gradient[o]! * x[i]!;
        if (dx) dx[i]! += gradient[o]! * w[k]!;
      });
    },
  };
}

function poolStage(channels: number, size: number): Stage {
  const half = size / 2;
  const out = new Float64Array(channels * half * half);
  const gradient = new Float64Array(out.length);
  const source = new Uint32Array(out.length);
  return {
    out,
    gradient,
    forward(x) {
      for (let at = 0; at < out.length; at++) {
        const [c, y, column] = [Math.floor(at / (half * half)), Math.floor(at / half) % half, at % half];
        out[at] = Number.NEGATIVE_INFINITY;
        for (const [dy, dx] of [
          [0, 0],
          [0, 1],
          [1, 0],
          [1, 1],
        ] as const) {
          const from = (c * size + 2 * y + dy) * size + 2 * column + dx;
          if (x[from]! > out[at]!) [out[at], source[at]] = [x[from]!, from];
        }
      }
    },
    backward(_, dx) {
      dx!.fill(0);
      for (let at = 0; at < out.length; at++) dx![source[at]!]! += gradient[at]!;
    },
  };
}

function denseStage(
  [w, b]: readonly [Float64Array, Float64Array],
  [gw, gb]: readonly [Float64Array, Float64Array],
  relu: boolean,
): Stage {
  const [outputs, inputs] = [b.length, w.length / b.length];
  const out = new Float64Array(outputs);
  const gradient = new Float64Array(outputs);
  return {
    out,
    gradient,
    forward(x) {
      for (let o = 0; o < outputs; o++) {
        let sum = b[o]!;
        for (let i = 0; i < inputs; i++) sum += w[o * inputs + i]! * x[i]!;
        out[o] = relu ? Math.max(0, sum) : sum;
      }
    },
    backward(x, dx) {
      dx!.fill(0);
      for (let o = 0; o < outputs; o++) {
        if (relu && out[o]! <= 0) gradient[o] = 0;
        gb[o]! += gradient[o]!;
        for (let i = 0; i < inputs; i++) {
          gw[o * inputs + i]! += gradient[o]! * x[i]!;
          dx![i]! += gradient[o]! * w[o * inputs + i]!;
        }
      }
    },
  };
}

/** A check of LeNet's mean loss in one epoch, computed as in `epochLoss`. */
export function lenet({ samples, batch, rate }: Lenet, inputs: readonly Float32Array[]): Check {
  const [images, labels] = inputs as [Float32Array, Float32Array];
  const weights = inputs.slice(2).map((values) => Float64Array.from(values));
  const [gradients, first, second] = [0, 1, 2].map(() => weights.map(({ length }) => new Float64Array(length))) as [
    Float64Array[],
    Float64Array[],
    Float64Array[],
  ];
  const at = (layer: number, list: Float64Array[]) => [list[2 * layer]!, list[2 * layer + 1]!] as const;
  const stages = [
    convolutionStage(at(0, weights), at(0, gradients), [1, 28, 6, 2]),
    poolStage(6, 28),
    convolutionStage(at(1, weights), at(1, gradients), [6, 14, 16, 0]),
    poolStage(16, 10),
    denseStage(at(2, weights), at(2, gradients), true),
    denseStage(at(3, weights), at(3, gradients), true),
    denseStage(at(4, weights), at(4, gradients), false),
  ];
  const last = stages.at(-1)!;
  let loss = 0;
  for (let step = 0; step < samples / batch; step++) {
    for (const gradient of gradients) gradient.fill(0);
    for (let row = step * batch; row < (step + 1) * batch; row++) {
      const image = Float64Array.from(images.subarray(row * 784, (row + 1) * 784));
      const inputOf = (stage: number): Float64Array => (stage ? stages[stage - 1]!.out : image);
      stages.forEach((stage, index) => {
        stage.forward(inputOf(index));
      });
      const most = Math.max(...last.out);
      const total = last.out.reduce((sum, value) => sum + Math.exp(value - most), 0);
      loss += most + Math.log(total) - last.out[labels[row]!]!;
      last.out.forEach((value, c) => {
        last.gradient[c] = (Math.exp(value - most) / total - (c === labels[row] ? 1 : 0)) / batch;
      });
      for (let index = stages.length - 1; index >= 0; index--)
        stages[index]!.backward(inputOf(index), index ? stages[index - 1]!.gradient : null);
    }
    adam(weights, gradients, first, second, step, rate);
  }
  return meanLoss(loss / samples);
}

/** A convolution of x N×C×H×W with w O×C×K×K, padded by zeros so that the size stays H×W. */
export function convolution(
  x: Float32Array,
  w: ArrayLike<number>,
  [batch, channels, height, width]: readonly number[],
  [outputs, , kernel]: readonly number[],
  padding: number,
): Check {
  return entries(batch! * outputs! * height! * width!, channels! * kernel! * kernel!, (index) => {
    const [column, row] = [index % width!, Math.floor(index / width!) % height!];
    const [o, n] = [
      Math.floor(index / (width! * height!)) % outputs!,
      Math.floor(index / (width! * height! * outputs!)),
    ];
    let sum = 0;
    for (let c = 0; c < channels!; c++)
      for (let ky = 0; ky < kernel!; ky++)
        for (let kx = 0; kx < kernel!; kx++) {
          const [iy, ix] = [row + ky - padding, column + kx - padding];
          if (iy < 0 || iy >= height! || ix < 0 || ix >= width!) continue;
          sum +=
            x[((n * channels! + c) * height! + iy) * width! + ix]! *
            w[((o * channels! + c) * kernel! + ky) * kernel! + kx]!;
        }
    return sum;
  });
}
