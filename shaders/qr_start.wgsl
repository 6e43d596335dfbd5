// out[j, i] = A[i, j] (rows×columns), scaled by a power of two to a largest entry near 2^30: the columns of A as rows of `stride`,
// with zeros behind A's last row. A read once.
#import index
#import power_of_two

const WIDTH: u32 = 64u;

struct Params {
  rows: u32,
  columns: u32,
  stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> largest: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= params.columns * params.stride) { return; }
  let i = e % params.stride;
  var value = 0.0;
  if (i < params.rows) { value = a[i * params.columns + e / params.stride] * scale_of(largest[0]); }
  out[e] = value;
}
