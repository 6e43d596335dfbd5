import totalShader from "../../shaders/total.wgsl";
import {
  bytesOf,
  type Constants,
  type DType,
  formatShape,
  Kernel,
  type Params,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import { setting } from "./adapter.js";
import { bitsOf, readingOf } from "./bits.js";
import { kruskalKernels, shortestLast } from "./families/kruskal.js";
import { residualKernels, residualParts } from "./families/residual.js";
import { mergeModes } from "./mergeModes.js";
import { assertCall, assertShape } from "./shapes.js";

const total = new Kernel(totalShader, () => [1]);
/** Factors that the kernels bind. */
const MOST_FACTORS = 4;
/** rows that the last two factors have at most where they are merged for the sake of the kernels' tiles */
const MERGED_ROWS = 1024;

/** The Kruskal tensor Σ_r λ_r a_r ∘ b_r ∘ … of factors Iₖ×R and weights [R] (null: ones), written out in full. */
export function kruskalToTensor(
  s: Scheduler,
  weights: Tensor | null,
  factors: readonly Tensor[],
  options: { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("kruskalToTensor", s, { ...(weights && { weights }) }, { factors });
  const shape = shapeOf("kruskalToTensor", weights, factors);
  if (options.out) assertShape("kruskalToTensor", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "Kruskal tensor" });
  recordFull(s, weights, factors, null, out);
  return out;
}

/** A tensor with missing entries, as `markMissing` marks them: these do not count. */
export interface MissingOptions {
  /** the factor of differences of known entries; without it, no entry is missing */
  missing?: { scale: number } | undefined;
}

/**
 * X − X̂ for X̂ = Σ_r λ_r a_r ∘ b_r ∘ …, without storing X̂; `squaredNorm` ([1]) is written where it is asked for, as `kruskalResidual` has it.
 * With `missing`, known entries are `scale` times the difference and the others 0; `squaredNorm` is not scaled. Reads X once.
 */
export function kruskalDifference(
  s: Scheduler,
  x: Tensor<DType>,
  weights: Tensor | null,
  factors: readonly Tensor[],
  options: { out?: Tensor | undefined; squaredNorm?: Tensor | undefined } & MissingOptions = {},
): Tensor {
  assertCall("kruskalDifference", s, weights ? { x, weights } : { x }, { factors });
  const shape = shapeOf("kruskalDifference", weights, factors);
  assertShape("kruskalDifference", "the tensor", x, shape);
  if (options.out) assertShape("kruskalDifference", "out", options.out, shape);
  if (options.squaredNorm) assertShape("kruskalDifference", "squaredNorm", options.squaredNorm, [1]);
  const out = options.out ?? s.tensor(shape, { label: "difference" });
  const { squaredNorm, missing } = options;
  if (!(squaredNorm || missing)) {
    recordFull(s, weights, factors, x, out);
    return out;
  }
  const sum = squaredNorm ?? s.tensor([1], { label: "squared norm" });
  recordSquares(s, weights, factors, x, sum, out, missing);
  if (!squaredNorm) s.release(sum);
  return out;
}

/** Records X̂, or x − X̂. */
function recordFull(
  s: Scheduler,
  weights: Tensor | null,
  factors: readonly Tensor[],
  x: Tensor<DType> | null,
  out: Tensor,
): void {
  const model = bindModel(s, weights, factors);
  s.run(
    kruskalKernels(s.engine, model.middle).with({
      ...model.constants,
      DIFFERENCE: x !== null,
      ...(x && rowsOf(x, model.params.last)),
    }),
    { ...model.bindings, out, x: bitsOf(x ?? model.bindings.last_factor) },
    model.params,
  );
  s.release(...model.temporaries);
}

/**
 * ‖X − X̂‖² ([1]) for X̂ = Σ_r λ_r a_r ∘ b_r ∘ …, with X̂ never stored and X read once. Differences are squared one by one
 * and summed pairwise, so it holds its digits where a fit near 1 cancels ‖X‖² − 2⟨X, X̂⟩ + ‖X̂‖². With `missing`, known entries alone count,
 * each once.
 */
export function kruskalResidual(
  s: Scheduler,
  x: Tensor<DType>,
  weights: Tensor | null,
  factors: readonly Tensor[],
  options: { out?: Tensor | undefined } & MissingOptions = {},
): Tensor {
  assertCall("kruskalResidual", s, { x, ...(weights && { weights }) }, { factors });
  const shape = shapeOf("kruskalResidual", weights, factors);
  assertShape("kruskalResidual", "the tensor", x, shape);
  if (options.out) assertShape("kruskalResidual", "out", options.out, [1]);
  const out = options.out ?? s.tensor([1], { label: "residual" });
  recordSquares(s, weights, factors, x, out, null, options.missing);
  return out;
}

/** Records ‖x − X̂‖², and x − X̂ where there is room for it. */
function recordSquares(
  s: Scheduler,
  weights: Tensor | null,
  factors: readonly Tensor[],
  x: Tensor<DType>,
  out: Tensor,
  difference: Tensor | null,
  missing: MissingOptions["missing"],
): void {
  const model = bindModel(s, weights, factors);
  const constants = {
    ...model.constants,
    STORE: difference !== null,
    HOLES: missing !== undefined,
    ...rowsOf(x, model.params.last),
  };
  const kernel = residualKernels(s.engine, model.middle).with(constants);
  const parts = s.tensor([residualParts(x.size)], { label: "partial residuals" });
  const unused = difference ? [] : [s.tensor([1], { label: "no difference" })];
  const params = { ...model.params, scale: missing?.scale ?? 1 };
  s.run(kernel, { ...model.bindings, x: bitsOf(x), out: parts, difference: difference ?? unused[0]! }, params);
  s.run(total, { parts, out }, { size: parts.size });
  s.release(parts, ...unused, ...model.temporaries);
}

/** How the kernels read X in rows of this length. */
const rowsOf = (x: Tensor<DType>, last: number): Constants => readingOf(x, bytesOf(x.dtype) < 4 && last % 4 === 0);

function shapeOf(operation: string, weights: Tensor | null, factors: readonly Tensor[]): number[] {
  const rank = factors[0]?.shape[1];
  if (rank === undefined) throw new ShapeError(`${operation}: needs at least one factor I×R`);
  factors.forEach((factor, mode) => {
    assertShape(operation, `factor ${mode}`, factor, [factor.shape[0]!, rank]);
  });
  if (weights && weights.size !== rank)
    throw new ShapeError(`${operation}: weights are ${formatShape(weights.shape)}, expected ${rank}`);
  return factors.map((factor) => factor.shape[0]!);
}

/** Bindings and params for shaders/common/kruskal.wgsl: the last two modes, and those before them merged as `outer`. */
function bindModel(s: Scheduler, weights: Tensor | null, all: readonly Tensor[]) {
  const size = all.reduce((product, factor) => product * factor.shape[0]!, 1);
  const shortest = size < setting(s.engine, "mergeFrom") ? 0 : shortestLast(s.engine);
  const { factors, temporaries } = mergeModes(s, all, MOST_FACTORS, shortest, MERGED_ROWS);
  const unused = s.tensor([1], { label: "no factor" });
  const last = factors.at(-1)!;
  const middle = factors.at(-2);
  const before = factors.slice(0, -2);
  const extents = before.map((factor) => factor.shape[0]!);
  const bindings = {
    weights: weights ?? unused,
    outer0: before[0] ?? unused,
    outer1: before[1] ?? unused,
    middle_factor: middle ?? unused,
    last_factor: last,
  };
  const params: Params & { last: number } = {
    rank: last.shape[1]!,
    outer: extents.reduce((product, extent) => product * extent, 1),
    middle: middle?.shape[0] ?? 1,
    last: last.shape[0]!,
    extents: [0, 1].map((index) => extents[index] ?? 1),
    scale: 1,
  };
  const constants = { WEIGHTED: weights !== null, OUTER: before.length, MIDDLE: middle !== undefined };
  return { bindings, params, constants, middle: middle?.shape[0] ?? 1, temporaries: [...temporaries, unused] };
}
