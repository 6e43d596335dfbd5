// Activations by number, as `activations` in src/ops/matmul.ts lists them.
const ACTIVATION: u32 = 0u;

fn activate(x: f32) -> f32 {
  if (ACTIVATION == 1u) { return max(x, 0.0); }
  return x;
}
