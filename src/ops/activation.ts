import shader from "../../shaders/activation.wgsl?late";
import gradientShader from "../../shaders/activation_gradient.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { type Activation, activations } from "./activations.js";
import { assertCall, assertShape } from "./shapes.js";

interface ActivationOptions {
  /** the slope of `leakyRelu` below 0, above 0 itself; 0.01 by default */
  slope?: number | undefined;
  out?: Tensor | undefined;
}

const grid = ({ size }: { size?: number }, { WIDTH }: { WIDTH?: number }) => grid1d(Math.ceil(size! / 4), WIDTH!);
const kernel = new Kernel(shader, grid);
const gradientKernel = new Kernel(gradientShader, grid);

const constants = (activation: Activation, slope?: number) => ({
  ACTIVATION: activations[activation],
  ...(slope !== undefined && activation === "leakyRelu" && { LEAK: slope }),
});

/** The activation of every element of x. Kernels of products apply relu themselves. */
export function activate(s: Scheduler, x: Tensor, activation: Activation, options: ActivationOptions = {}): Tensor {
  assertCall("activate", s, { x });
  if (options.out) assertShape("activate", "out", options.out, x.shape);
  const out = options.out ?? s.tensor(x.shape, { label: activation });
  s.run(kernel.with(constants(activation, options.slope)), { x, out }, { size: x.size });
  return out;
}

/**
 * Gradient of an activation's input.
 *
 * @param saved the activation's output for `relu`, `leakyRelu`, `sigmoid` and `tanh`, its input for the others
 * @param dy the gradient of the output
 */
export function activationGradient(
  s: Scheduler,
  saved: Tensor,
  dy: Tensor,
  activation: Activation,
  options: ActivationOptions = {},
): Tensor {
  assertCall("activationGradient", s, { saved, dy });
  assertShape("activationGradient", "dy", dy, saved.shape);
  if (options.out) assertShape("activationGradient", "out", options.out, saved.shape);
  const dx = options.out ?? s.tensor(saved.shape, { label: `${activation} gradient` });
  s.run(gradientKernel.with(constants(activation, options.slope)), { saved, dy, dx }, { size: saved.size });
  return dx;
}
