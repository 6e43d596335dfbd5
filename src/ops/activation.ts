import shader from "../../shaders/activation.wgsl?late";
import gradientShader from "../../shaders/activation_gradient.wgsl";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

/** Activations by the number that shaders/common/activation.wgsl gives them. */
export const activations = {
  none: 0,
  relu: 1,
  leakyRelu: 2,
  sigmoid: 3,
  tanh: 4,
  silu: 5,
  gelu: 6,
  geluTanh: 7,
  hardSwish: 8,
} as const;

/**
 * What is applied to every output of a layer:
 *
 * | name | f(x) |
 * |---|---|
 * | `relu` | max(x, 0) |
 * | `leakyRelu` | x where x > 0, else 0.01·x |
 * | `sigmoid` | 1 ÷ (1 + e⁻ˣ) |
 * | `tanh` | tanh x |
 * | `silu` | x·sigmoid(x), also called swish |
 * | `gelu` | x·Φ(x) with the normal distribution function Φ, by erf: the default of PyTorch and ONNX |
 * | `geluTanh` | the approximation of gelu by tanh, as GPT-2 has it |
 * | `hardSwish` | x·min(max(x + 3, 0), 6) ÷ 6 |
 */
export type Activation = keyof typeof activations;

/** What kernels of products apply to their outputs themselves. */
export type Epilogue = keyof typeof epilogues;

/** The numbers that shaders/common/activation.wgsl gives them. */
export const epilogues = { none: 0, relu: 1 } as const;

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

/** Whether an activation's gradient is computed from its output; otherwise its input is needed. */
export const isFromOutput = (activation: Activation): boolean => activations[activation] <= activations.tanh;

/**
 * Gradient of an activation's input.
 *
 * @param kept the activation's output for `relu`, `leakyRelu`, `sigmoid` and `tanh`, its input for the others
 * @param dy the gradient of the output
 */
export function activationGradient(
  s: Scheduler,
  kept: Tensor,
  dy: Tensor,
  activation: Activation,
  options: ActivationOptions = {},
): Tensor {
  assertCall("activationGradient", s, { kept, dy });
  assertShape("activationGradient", "dy", dy, kept.shape);
  if (options.out) assertShape("activationGradient", "out", options.out, kept.shape);
  const dx = options.out ?? s.tensor(kept.shape, { label: `${activation} gradient` });
  s.run(gradientKernel.with(constants(activation, options.slope)), { kept, dy, dx }, { size: kept.size });
  return dx;
}
