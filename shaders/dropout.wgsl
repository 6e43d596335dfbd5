// out[i] = x[i] / (1 − rate) with probability 1 − rate, else 0. The mask is a function of (element, stream, training step), so
// that the backward pass computes it again and nothing is stored. size read and written once.
#import index
#import random

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
  rate: f32,
  stream: u32,
  seed_low: u32,
  seed_high: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [step in the epoch, epoch, steps so far, …]
@group(0) @binding(2) var<storage, read> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let quad = flat_workgroup(group, groups) * WIDTH + lane;
  let start = quad * 4u;
  if (start >= params.size) { return; }
  let bits = random_u32x4(vec4<u32>(quad, params.stream, state[2], 1u), vec2<u32>(params.seed_low, params.seed_high));
  for (var i = 0u; i < 4u && start + i < params.size; i++) {
    out[start + i] = select(0.0, x[start + i] / (1.0 - params.rate), random_unit(bits[i]) >= params.rate);
  }
}
