import { formatShape, type Scheduler, ShapeError, type Tensor } from "../../gpu/index.js";
import { copy, matmul, permute } from "../../ops/index.js";
import { Parameter } from "../layer.js";
import { normalValues } from "../startValues.js";
import { matrixProduct, permuteValues, type Values } from "./hostMatrices.js";
import { gainOf, product } from "./source.js";

/**
 * Core k of a layer.
 *
 * @param layer name of the layer, for errors
 * @param cores start values of all cores; undefined for normal ones
 * @param deviation standard deviation of the normal start values
 * @throws ShapeError where the start values do not fit the shape
 */
export function coreParameter(
  layer: string,
  k: number,
  shape: readonly number[],
  cores: readonly Float32Array[] | undefined,
  deviation: number,
): Parameter {
  if (cores && cores[k]?.length !== product(shape))
    throw new ShapeError(`${layer}: core ${k} has ${cores[k]?.length} numbers, needs ${formatShape(shape)}`);
  return new Parameter(`core${k}`, shape, cores?.[k] ?? normalValues(deviation));
}

/** The ranks of a ring of `count` cores, where one number stands for all. @throws ShapeError unless there is one a core */
export function ringRanks(layer: string, ranks: number | readonly number[], count: number): readonly number[] {
  const list = typeof ranks === "number" ? new Array<number>(count).fill(ranks) : ranks;
  if (list.length !== count || list.some((rank) => !(Number.isInteger(rank) && rank >= 1)))
    throw new ShapeError(`${layer}: ranks ${list.join(", ")}, needs ${count} positive whole numbers`);
  return list;
}

/**
 * The cores of a ring, r_k×extent×r_{k+1}. Random ones keep the variance of the layer's inputs, and the last core brings the gain of `start`.
 *
 * @param isSummed whether an output sums over the mode of core k
 * @throws ShapeError where start values do not fit
 */
export const ringCores = (
  layer: string,
  extents: readonly number[],
  ranks: readonly number[],
  { cores, start }: { cores: readonly Float32Array[] | undefined; start: "uniform" | "he" },
  isSummed: (k: number) => boolean,
): Parameter[] =>
  extents.map((extent, k) => {
    const isLast = k === extents.length - 1;
    const deviation = Math.sqrt((isLast ? gainOf(start) : 1) / (ranks[k]! * (isSummed(k) ? extent : 1)));
    return coreParameter(layer, k, [ranks[k]!, extent, ranks[(k + 1) % ranks.length]!], cores, deviation);
  });

/** Ring cores r_k×extent×r_{k+1} viewed as cores r_k×extent×1×r_{k+1}, the form that {@link mergeCores} takes. */
export const asTrainCores = (factors: readonly Parameter[]): Tensor[] =>
  factors.map(({ value }) => {
    const [left, extent, right] = value.shape as [number, number, number];
    return value.reshape([left, extent, 1, right]);
  });

/** Cores merged into one, and what the backward pass of the merging needs. */
export interface Merged {
  /** the merged core, r_0×M×N×r_d */
  full: Tensor;
  /** the products of the first core, the first two, and so on, without the last product; all but the first are temporaries */
  partial: Tensor[];
}

/**
 * Contracts cores r_{k-1}×m_k×n_k×r_k from the left into one, with all row modes before all column modes:
 * r_0×(m_1…m_d)×(n_1…n_d)×r_d.
 *
 * @param keep whether the partial products stay, for {@link mergeBackward}
 */
export function mergeCores(s: Scheduler, cores: readonly Tensor[], keep: boolean): Merged {
  const partial: Tensor[] = [];
  let full = cores[0]!;
  for (const core of cores.slice(1)) {
    const [r0, rows, columns, rank] = full.shape as [number, number, number, number];
    const [, m, n, next] = core.shape as [number, number, number, number];
    const wide = matmul(s, full.reshape([-1, rank]), core.reshape([rank, -1]));
    if (keep) partial.push(full);
    else if (full !== cores[0]) s.release(full);
    full = wide.reshape([r0, rows * m, columns * n, next]);
    if (columns > 1 && m > 1) {
      full = permute(s, wide.reshape([r0 * rows, columns, m, n * next]), [0, 2, 1, 3]).reshape(full.shape);
      s.release(wide);
    }
  }
  return { full, partial };
}

/**
 * Writes the gradients of the cores. Releases `dFull` and the partial products.
 *
 * @param dFull the gradient of the merged core
 */
export function mergeBackward(
  s: Scheduler,
  cores: readonly Tensor[],
  gradients: readonly Tensor[],
  { partial }: Merged,
  dFull: Tensor,
): void {
  let current = dFull;
  for (let k = cores.length - 1; k > 0; k--) {
    const before = partial[k - 1]!;
    const [r0, rows, columns, rank] = before.shape as [number, number, number, number];
    const [, m, n, next] = cores[k]!.shape as [number, number, number, number];
    let wide = current;
    if (columns > 1 && m > 1) {
      wide = permute(s, current.reshape([r0 * rows, m, columns, n * next]), [0, 2, 1, 3]);
      s.release(current);
    }
    const flat = wide.reshape([-1, m * n * next]);
    matmul(s, before.reshape([-1, rank]), flat, { transposeA: true, out: gradients[k]!.reshape([rank, -1]) });
    const core = cores[k]!.reshape([rank, -1]);
    if (k > 1) {
      current = matmul(s, flat, core, { transposeB: true });
      s.release(before);
    } else matmul(s, flat, core, { transposeB: true, out: gradients[0]!.reshape([-1, rank]) });
    s.release(wide);
  }
  if (cores.length === 1) {
    copy(s, current, { out: gradients[0]! });
    s.release(current);
  }
}

/** Multiplications of merging cores of these shapes. */
export function mergeCost(shapes: readonly (readonly number[])[]): number {
  let [size, cost] = [shapes[0]![0]! * shapes[0]![1]! * shapes[0]![2]!, 0];
  for (const [rank, m, n, next] of shapes.slice(1) as [number, number, number, number][]) {
    size *= m * n;
    cost += size * rank * next;
  }
  return cost;
}

/** What {@link mergeCores} computes, on the host in f64. */
export function mergeValues(cores: readonly Values[], shapes: readonly (readonly number[])[]): Float64Array {
  let full: Float64Array = Float64Array.from(cores[0]!);
  let [r0, rows, columns] = shapes[0] as [number, number, number];
  for (const [k, [rank, m, n, next]] of (shapes as [number, number, number, number][]).entries()) {
    if (k === 0) continue;
    const wide = matrixProduct(full, cores[k]!, r0 * rows * columns, rank, m * n * next);
    full = permuteValues(wide, [r0 * rows, columns, m, n * next], [0, 2, 1, 3]);
    [rows, columns] = [rows * m, columns * n];
  }
  return full;
}
