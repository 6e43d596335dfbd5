// out[i] = x[i] for `vectors` vec4s: measures the adapter's bandwidth. A vec4 moves 32 bytes, 16 read and 16 written.
#import index

const WIDTH: u32 = 64u;
// vec4s that an invocation copies
const RUN: u32 = 4u;

struct Params {
  vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = flat_workgroup(group, groups) * WIDTH * RUN + lane;
  for (var step = 0u; step < RUN; step++) {
    let i = first + step * WIDTH;
    if (i < params.vectors) { out[i] = x[i]; }
  }
}
