// out[i] = f(x[i]) for an activation f. By vec4s; size read and written once.
#import index
#import activations

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
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
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (4u * i >= params.size) { return; }
  let v = x[i];
  let values = vec4<f32>(activate(v.x), activate(v.y), activate(v.z), activate(v.w));
  if (4u * i + 4u <= params.size) {
    out[i] = values;
  } else {
    // the last vec4 may reach behind out: the elements there do not change
    for (var k = 0u; 4u * i + k < params.size; k++) { out[i][k] = values[k]; }
  }
}
