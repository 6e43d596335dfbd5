// out[i] = x[i], four words an invocation and step. 32 bytes moved a vec4.
#import index

const WIDTH: u32 = 64u;
const EACH: u32 = 4u;

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
  let first = flat_workgroup(group, groups) * WIDTH * EACH + lane;
  for (var each = 0u; each < EACH; each++) {
    let i = first + each * WIDTH;
    if (i < params.vectors) { out[i] = x[i]; }
  }
}
