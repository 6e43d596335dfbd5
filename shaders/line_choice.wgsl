// Which step of a line search is taken: that of the smaller error, none where both make the error larger by more than errors are rounded. One
// invocation. state: β, the least error so far, which it is (0 plain, 1 further, 2 none), how many times in a row none was. β grows where the further
// step is taken, else it shrinks.

// part of an error by which two of the same may differ, as f32 sums are rounded: without it, steps that change less are taken by chance
const ROUNDING: f32 = 0x1p-20;

struct Params {
  growth: f32,
  shrinkage: f32,
  least: f32,
  most: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> plain_error: array<f32>;
@group(0) @binding(2) var<storage, read> further_error: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;

@compute @workgroup_size(1)
fn main() {
  let is_further = further_error[0] < plain_error[0];
  let error = select(plain_error[0], further_error[0], is_further);
  let is_taken = error <= state[1] * (1.0 + ROUNDING);
  if (is_taken && is_further) {
    state[0] = min(params.most, state[0] * params.growth);
  } else {
    state[0] = max(params.least, state[0] / params.shrinkage);
  }
  if (is_taken) {
    state[1] = min(error, state[1]);
    state[2] = select(0.0, 1.0, is_further);
    state[3] = 0.0;
  } else {
    state[2] = 2.0;
    state[3] += 1.0;
  }
}
