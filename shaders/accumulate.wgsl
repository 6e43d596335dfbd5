// out[i] = alpha·x[i] + beta·out[i], in place, for `size` elements of type `scalar`: f32, or vec4<f32> where the length is a
// multiple of four. Cost: x and out read once, out written once; 3 flops an f32.
#import index

const WIDTH: u32 = 64u;
alias scalar = f32;

struct Params {
  size: u32,
  alpha: f32,
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read_write> out: array<scalar>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i < params.size) { out[i] = params.alpha * x[i] + params.beta * out[i]; }
}
