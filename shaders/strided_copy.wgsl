// out[i] = x[offset + Σ_k index_k(i)·stride_k]: transposes, slices, broadcasts and plain copies. Neighbouring invocations write
// neighbouring elements. With PASTE the strides are those of out: out[offset + Σ_k index_k(i)·stride_k] = x[i], and the other
// elements of out do not change. `scalar` is vec4<f32> where the innermost axis of both is contiguous and a multiple of four;
// size, offset, extents and strides then count vec4s. size read and written once.
#import index
#import axes

const WIDTH: u32 = 64u;
// trailing axes of `shape` in use; fewer axes take fewer divisions
const AXES: u32 = 8u;
const PASTE: bool = false;
alias scalar = f32;

struct Params {
  size: u32,
  offset: u32,
  // 8 axes, of which the last AXES are used
  shape_high: vec4<u32>,
  shape_low: vec4<u32>,
  stride_high: vec4<u32>,
  stride_low: vec4<u32>,
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
  if (i >= params.size) { return; }
  let stride = Axes(params.stride_high, params.stride_low);
  let at = params.offset + strided_offset(i, AXES, params.shape_high, params.shape_low, stride);
  if (PASTE) { out[at] = x[i]; } else { out[i] = x[at]; }
}
