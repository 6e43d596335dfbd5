// out[i, :] = x[indices[i], :]; an index behind the last row takes the last row. `scalar` is vec4<f32> where the length of a row
// is a multiple of four; columns then counts vec4s. rows×columns read and written once.
#import index

const WIDTH: u32 = 64u;
alias scalar = f32;

struct Params {
  rows: u32,
  columns: u32,
  // rows of x
  extent: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<scalar>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.rows * params.columns) { return; }
  let row = min(indices[i / params.columns], params.extent - 1u);
  out[i] = x[row * params.columns + i % params.columns];
}
