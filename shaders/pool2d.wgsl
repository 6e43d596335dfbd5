// out[p,y,x] = the largest element, or the mean, of the window at (y·sy − py, x·sx − px) of plane p (planes×height×width). Padding
// is never the largest; in means it counts as zeros. One invocation an output; KH·KW reads.
#import pool2d

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
  let window = window_of(top, left);
  var result = 0.0;
  if (LARGEST) { result = x[plane + window.first_y * params.width + window.first_x]; }
  for (var y = window.first_y; y < window.last_y; y++) {
    for (var at = window.first_x; at < window.last_x; at++) {
      let value = x[plane + y * params.width + at];
      if (LARGEST) { result = max(result, value); } else { result += value; }
    }
  }
  if (!LARGEST) { result /= f32(params.kernel_height * params.kernel_width); }
  out[index] = result;
}
