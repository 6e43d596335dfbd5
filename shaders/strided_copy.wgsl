// out[i] = x[offset + Σ_k index_k(i) · stride_k]: transposes, slices, broadcasts and plain copies. Consecutive
// invocations write consecutive elements. size read and written once.
#import index

const WIDTH: u32 = 64u;
// trailing axes of `shape` in use; fewer cost fewer divisions
const AXES: u32 = 8u;

struct Params {
  size: u32,
  offset: u32,
  // 8 axes, of which the last AXES are used
  shape: array<vec4<u32>, 2>,
  stride: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  var rest = i;
  var from_index = params.offset;
  for (var k = 0u; k < AXES; k++) {
    let axis = 7u - k;
    let extent = params.shape[axis / 4u][axis % 4u];
    from_index += (rest % extent) * params.stride[axis / 4u][axis % 4u];
    rest /= extent;
  }
  out[i] = x[from_index];
}
