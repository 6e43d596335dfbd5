// out[i] = value. `scalar` is vec4<f32> where the length is a multiple of four. size written once.
#import index

const WIDTH: u32 = 64u;
alias scalar = f32;

struct Params {
  size: u32,
  value: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<scalar>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i < params.size) { out[i] = scalar(params.value); }
}
