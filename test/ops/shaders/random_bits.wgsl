// out[4i …] = the words of Philox at counter (i, counter.yzw) under key: its bits as other kernels get them.
#import random

struct Params {
  blocks: u32,
  counter_y: u32,
  counter_z: u32,
  counter_w: u32,
  key_x: u32,
  key_y: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.blocks) { return; }
  let counter = vec4<u32>(id.x, params.counter_y, params.counter_z, params.counter_w);
  out[id.x] = random_u32x4(counter, vec2<u32>(params.key_x, params.key_y));
}
