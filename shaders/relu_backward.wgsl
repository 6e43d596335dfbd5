// dx[i] = dy[i] where y[i] > 0, else 0; y is relu's output. By vec4s; size read twice, written once.
#import index

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (4u * i >= params.size) { return; }
  let values = select(vec4<f32>(), dy[i], y[i] > vec4<f32>());
  if (4u * i + 4u <= params.size) {
    dx[i] = values;
  } else {
    // the last vec4 may reach behind dx: the elements there do not change
    for (var k = 0u; 4u * i + k < params.size; k++) { dx[i][k] = values[k]; }
  }
}
