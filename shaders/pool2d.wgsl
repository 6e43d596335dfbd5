// out[p,y,x] = the largest element, or the mean, of the window at (y·sy − py, x·sx − px) of plane p (planes×height×width). Padding
// is never the largest; in means it counts as zeros. One invocation an output; KH·KW reads.
#import index

const WIDTH: u32 = 64u;
const LARGEST: bool = true;

struct Params {
  planes: u32,
  height: u32,
  width: u32,
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_y: u32,
  stride_x: u32,
  pad_y: u32,
  pad_x: u32,
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
  let index = flat_workgroup(group, groups) * WIDTH + lane;
  let area = params.out_height * params.out_width;
  if (index >= params.planes * area) { return; }
  let top = (index % area) / params.out_width * params.stride_y;
  let left = index % params.out_width * params.stride_x;
  let plane = index / area * params.height * params.width;
  // the window's rows and columns in the plane, clamped to its borders
  let first_y = max(top, params.pad_y) - params.pad_y;
  let last_y = min(max(top + params.kernel_height, params.pad_y) - params.pad_y, params.height);
  let first_x = max(left, params.pad_x) - params.pad_x;
  let last_x = min(max(left + params.kernel_width, params.pad_x) - params.pad_x, params.width);
  var result = 0.0;
  if (LARGEST) { result = x[plane + first_y * params.width + first_x]; }
  for (var y = first_y; y < last_y; y++) {
    for (var at = first_x; at < last_x; at++) {
      let value = x[plane + y * params.width + at];
      if (LARGEST) { result = max(result, value); } else { result += value; }
    }
  }
  if (!LARGEST) { result /= f32(params.kernel_height * params.kernel_width); }
  out[index] = result;
}
