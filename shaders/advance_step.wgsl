// Moves the training state one step on: state = [step in the epoch, epoch, steps so far, bits of β₁ᵗ, bits of β₂ᵗ].
// The powers are running products, because pow would lose the digits of 1 − β₂ᵗ. Five words read and written.

struct Params {
  steps: u32,
  beta1: f32,
  beta2: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;

@compute @workgroup_size(1)
fn main() {
  state[2] += 1u;
  let next = state[0] + 1u;
  if (next >= params.steps) {
    state[0] = 0u;
    state[1] += 1u;
  } else {
    state[0] = next;
  }
  state[3] = bitcast<u32>(bitcast<f32>(state[3]) * params.beta1);
  state[4] = bitcast<u32>(bitcast<f32>(state[4]) * params.beta2);
}
