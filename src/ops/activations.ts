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

/** Whether an activation's gradient is computed from its output; otherwise its input is needed. */
export const isFromOutput = (activation: Activation): boolean => activations[activation] <= activations.tanh;
