/** Kernels of three-dimensional convolutions and of their weights' gradients. */
import shader from "../../../shaders/conv3d.wgsl";
import gradientShader from "../../../shaders/conv3d_weight_gradient.wgsl";
import { type Engine, grid1d, Kernel } from "../../gpu/index.js";
import { setting } from "../adapter.js";

const WIDTH = 64;
/** The kernel of conv3d and of its input gradient. */
export const convolution3dKernel = new Kernel(shader, ({ size }) => grid1d(size!, WIDTH)).with({ WIDTH });
const weightGradient = new Kernel(gradientShader, ({ size, parts }) => grid1d(size! * parts!, WIDTH)).with({ WIDTH });

/** Terms that one invocation adds up before digits are lost, and numbers that all partial sums may take. */
const LONGEST = 4096;
const MOST_SCRATCH = 2 ** 24;

/**
 * The kernel of the gradient of a weight of so many numbers, and how its sums are cut: over `rows` rows of the result, `width`
 * long, into `parts` parts of `share` rows.
 */
export function planWeightGradient3d(
  engine: Engine,
  weights: number,
  rows: number,
  width: number,
): { kernel: Kernel; share: number; parts: number } {
  const enough = setting(engine, "gradientWorkgroups") * WIDTH;
  const wanted = Math.max(enough / weights, (rows * width) / LONGEST);
  const most = Math.max(1, Math.min(rows, Math.floor(MOST_SCRATCH / weights)));
  const share = Math.ceil(rows / Math.min(Math.ceil(wanted), most));
  return { kernel: weightGradient, share, parts: Math.ceil(rows / share) };
}
