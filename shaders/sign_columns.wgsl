// Fixes the signs of singular vectors: column r of u (rows_u×columns) and of v (rows_v×columns) is multiplied, in place, by the sign
// that makes u's entry of largest magnitude positive. One workgroup a column; u read twice, v once.
#import leading_entry

const WIDTH: u32 = 64u;

struct Params {
  rows_u: u32,
  rows_v: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> u: array<f32>;
@group(0) @binding(2) var<storage, read_write> v: array<f32>;

var<workgroup> largest: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let column = group.x;
  var best = 0.0;
  for (var row = lane; row < params.rows_u; row += WIDTH) {
    let value = u[row * params.columns + column];
    best = leading(best, value);
  }
  largest[lane] = best;
  workgroupBarrier();
  var winner = 0.0;
  for (var i = 0u; i < WIDTH; i++) { winner = leading(winner, largest[i]); }
  if (winner >= 0.0) { return; }
  for (var row = lane; row < params.rows_u; row += WIDTH) {
    u[row * params.columns + column] = -u[row * params.columns + column];
  }
  for (var row = lane; row < params.rows_v; row += WIDTH) {
    v[row * params.columns + column] = -v[row * params.columns + column];
  }
}
