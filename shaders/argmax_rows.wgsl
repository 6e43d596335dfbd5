// out[row] = the first column in which x[row, :] is largest, x rows×columns. One invocation a row; x read once.
#import index

const WIDTH: u32 = 64u;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_workgroup(group, groups) * WIDTH + lane;
  if (row >= params.rows) { return; }
  var best = 0u;
  var largest = x[row * params.columns];
  for (var k = 1u; k < params.columns; k++) {
    let value = x[row * params.columns + k];
    if (value > largest) {
      largest = value;
      best = k;
    }
  }
  out[row] = best;
}
