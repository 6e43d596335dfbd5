import shader from "../../shaders/low_rank_matmul.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { type Epilogue, epilogues } from "./activations.js";
import { setting } from "./adapter.js";
import { assertBias, assertCall, assertShape } from "./shapes.js";

const WIDTH = 64;
const kernel = new Kernel(shader, ({ rows }) => grid1d(Math.ceil(rows! / 4), 1)).with({ WIDTH });

/** The highest rank that the kernel has workgroup memory for. */
export const MOST_LOW_RANK = 128;

/** Whether {@link lowRankMatmul} is faster than two products for x batch×inputs, A rank×inputs and B outputs×rank. */
export function prefersLowRank(x: Tensor, a: Tensor, b: Tensor): boolean {
  const [rank, inputs] = a.shape as [number, number];
  const samples = setting(x.engine, "lowRank");
  // forced by name: for all sizes
  if (samples === Number.POSITIVE_INFINITY) return true;
  const weights = rank * (inputs + b.shape[0]!);
  return (
    x.shape[0]! <= samples && rank <= setting(x.engine, "lowRankRank") && weights <= setting(x.engine, "lowRankWeights")
  );
}

/**
 * activation(x·Aᵀ·Bᵀ + bias) for x batch×inputs, A rank×inputs and B outputs×rank, in one dispatch: the result of two linear
 * layers in turn, without storing that of the first. rank ≤ 128.
 *
 * @throws ShapeError where the extents do not fit
 */
export function lowRankMatmul(
  s: Scheduler,
  x: Tensor,
  a: Tensor,
  b: Tensor,
  options: { bias?: Tensor | undefined; activation?: Epilogue; out?: Tensor | undefined } = {},
): Tensor {
  assertCall("lowRankMatmul", s, { x, a, b });
  const { bias, activation = "none" } = options;
  const product = `${formatShape(x.shape)} times ${formatShape(a.shape)}ᵀ times ${formatShape(b.shape)}ᵀ`;
  if (x.order !== 2 || a.order !== 2 || b.order !== 2)
    throw new ShapeError(`lowRankMatmul: ${product}, needs matrices`);
  const [rows, inputs] = x.shape as [number, number];
  const [outputs, rank] = b.shape as [number, number];
  if (a.shape[0] !== rank || a.shape[1] !== inputs)
    throw new ShapeError(`lowRankMatmul: ${product}, inner extents differ`);
  if (rank > MOST_LOW_RANK) throw new ShapeError(`lowRankMatmul: rank ${rank}, needs at most ${MOST_LOW_RANK}`);
  if (bias) assertBias("lowRankMatmul", bias, outputs);
  if (options.out) assertShape("lowRankMatmul", "out", options.out, [rows, outputs]);
  const out = options.out ?? s.tensor([rows, outputs], { label: "lowRankMatmul" });
  const parts = Math.max(1, Math.min(Math.floor(WIDTH / rank), inputs));
  const share = Math.ceil(inputs / parts);
  const RANK = Math.ceil((rank * parts) / 64) * 64;
  const specialised = kernel.with({ RANK, BIAS: bias !== undefined, ACTIVATION: epilogues[activation] });
  s.run(specialised, { x, a, b, bias: bias ?? b, out }, { rows, inputs, rank, outputs, parts, share });
  return out;
}
