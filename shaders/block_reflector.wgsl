// The triangle T of H_1·H_2·… = I − Vᵀ·T·V for reflections H_k = I − τ_k·v_k·v_kᵀ, v_k being the rows of V (Schreiber & Van
// Loan 1989): T = (diag(1/τ) + the part of V·Vᵀ above its diagonal)⁻¹, a column an invocation. n³/3 flops.

const WIDTH: u32 = 32u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gram: array<f32>;
@group(0) @binding(2) var<storage, read> tau: array<f32>;
@group(0) @binding(3) var<storage, read_write> t: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  for (var column = lane; column < n; column += WIDTH) {
    for (var i = column + 1u; i < n; i++) { t[i * n + column] = 0.0; }
    t[column * n + column] = tau[column];
    for (var above = column; above > 0u; above--) {
      let i = above - 1u;
      var sum = 0.0;
      for (var k = above; k <= column; k++) { sum += gram[i * n + k] * t[k * n + column]; }
      t[i * n + column] = -tau[i] * sum;
    }
  }
}
