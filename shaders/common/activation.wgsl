// The activation that kernels of products apply to an output element, by number: 0 none, 1 relu (`activations` in
// src/ops/activations.ts). Others have a kernel of their own.
const ACTIVATION: u32 = 0u;

fn activate(x: f32) -> f32 {
  if (ACTIVATION == 1u) { return max(x, 0.0); }
  return x;
}
