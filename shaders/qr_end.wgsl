// R (n×n, n = columns) from the panels' work, whose columns are stored as rows of `stride`, and the start values of Q: row k of
// `basis` is the k-th unit vector. Where R's diagonal is negative, row k of R and of basis change their sign. n² written.
#import index
#import power_of_two

const WIDTH: u32 = 64u;

struct Params {
  columns: u32,
  stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> work: array<f32>;
@group(0) @binding(2) var<storage, read> largest: array<f32>;
@group(0) @binding(3) var<storage, read_write> basis: array<f32>;
@group(0) @binding(4) var<storage, read_write> r: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= params.columns * params.stride) { return; }
  let i = e % params.stride;
  let j = e / params.stride;
  let negative = work[min(i, params.columns - 1u) * params.stride + min(i, params.columns - 1u)] < 0.0;
  let sign = select(1.0, -1.0, negative);
  basis[e] = select(0.0, sign, i == j);
  if (i < params.columns) {
    r[i * params.columns + j] = select(0.0, sign * work[e] / scale_of(largest[0]), i <= j);
  }
}
