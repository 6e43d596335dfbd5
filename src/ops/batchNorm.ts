import shader from "../../shaders/batch_norm.wgsl";
import momentsShader from "../../shaders/batch_norm_moments.wgsl";
import statisticsShader from "../../shaders/batch_norm_statistics.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import { slice } from "./slice.js";

const WIDTH = 64;
const statistics = new Kernel(statisticsShader, ({ channels }) => [channels!]);
const momentsOf = new Kernel(momentsShader, ({ channels }) => [Math.ceil(channels! / WIDTH)]).with({ WIDTH });
const apply = new Kernel(shader, ({ size }) => grid1d(size!, WIDTH)).with({ WIDTH });

export interface BatchNormTensors {
  /** [channels], as `bias` */
  weight: Tensor;
  bias: Tensor;
  /** 2×channels: running means and variances, which training moves */
  running: Tensor;
}

export interface BatchNormOptions {
  training: boolean;
  /** share of the new batch in the running moments, 0.1 by default */
  momentum?: number;
  /** added to variances, 1e-5 by default */
  epsilon?: number;
}

function extentsOf(operation: string, x: Tensor): { batch: number; channels: number; area: number } {
  if (x.order < 2) throw new ShapeError(`${operation}: ${formatShape(x.shape)}, needs batch×channels×…`);
  const [batch, channels, ...rest] = x.shape as [number, number, ...number[]];
  if (channels > 65535) throw new ShapeError(`${operation}: ${channels} channels, needs at most 65535`);
  return { batch, channels, area: rest.reduce((a, b) => a * b, 1) };
}

/**
 * Batch normalisation over batch and positions of every channel of batch×channels×… (Ioffe & Szegedy 2015). In training by
 * the mean and the biased variance of the batch, which also move the running ones; else by the running ones.
 *
 * @returns the result, and [2×channels] means and 1/√(variance + ε), for the backward pass
 */
export function batchNorm(
  s: Scheduler,
  x: Tensor,
  { weight, bias, running }: BatchNormTensors,
  { training, momentum = 0.1, epsilon = 1e-5 }: BatchNormOptions,
): { out: Tensor; moments: Tensor } {
  assertCall("batchNorm", s, { x });
  const { batch, channels, area } = extentsOf("batchNorm", x);
  assertShape("batchNorm", "weight", weight, [channels]);
  assertShape("batchNorm", "bias", bias, [channels]);
  assertShape("batchNorm", "the running moments", running, [2, channels]);
  const moments = s.tensor([2, channels], { label: "batch moments" });
  const sums = s.tensor([2, channels], { label: "batch sums" });
  if (training) s.run(statistics, { x, dy: x, moments: weight, sums }, { batch, channels, area });
  s.run(
    momentsOf.with({ TRAINING: training }),
    { x, sums: training ? sums : weight, running, moments },
    { channels, area, count: batch * area, momentum, epsilon },
  );
  const out = s.tensor(x.shape, { label: "batchNorm" });
  const params = { size: x.size, channels, area, count: batch * area };
  s.run(apply, { x, dy: x, moments, sums: moments, weight, bias, out }, params);
  s.release(sums);
  return { out, moments };
}

/** Gradients of {@link batchNorm} in training: the input's where it is asked for, and those of weight and bias into `out`. */
export function batchNormGradient(
  s: Scheduler,
  x: Tensor,
  dy: Tensor,
  { weight, moments }: { weight: Tensor; moments: Tensor },
  { inputGradient, out }: { inputGradient: boolean; out: { weight: Tensor; bias: Tensor } },
): Tensor | null {
  assertCall("batchNormGradient", s, { x, dy });
  const { batch, channels, area } = extentsOf("batchNormGradient", x);
  assertShape("batchNormGradient", "the gradient", dy, x.shape);
  const sums = s.tensor([2, channels], { label: "batch gradient sums" });
  s.run(statistics.with({ BACKWARD: true }), { x, dy, moments, sums }, { batch, channels, area });
  slice(s, sums, [0, 0], [1, channels], { out: out.bias.reshape([1, channels]) });
  slice(s, sums, [1, 0], [1, channels], { out: out.weight.reshape([1, channels]) });
  let dx: Tensor | null = null;
  if (inputGradient) {
    dx = s.tensor(x.shape, { label: "batchNorm input gradient" });
    const params = { size: x.size, channels, area, count: batch * area };
    s.run(apply.with({ BACKWARD: true }), { x, dy, moments, sums, weight, bias: weight, out: dx }, params);
  }
  s.release(sums);
  return dx;
}
