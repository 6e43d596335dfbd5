// out[i] = the value of x[i] as f32, rounded to nearest: of 32-bit integers, or of bytes, four a word, the first in the lowest bits.
// size read and written once.
#import index

const WIDTH: u32 = 64u;
// 0 u32, 1 i32, 2 u8
const KIND: u32 = 0u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  switch KIND {
    case 0u: { out[i] = f32(x[i]); }
    case 1u: { out[i] = f32(bitcast<i32>(x[i])); }
    default: { out[i] = f32((x[i / 4u] >> (8u * (i % 4u))) & 255u); }
  }
}
