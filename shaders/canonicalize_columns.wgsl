// out[:, r] = f·a[:, order[r]] with f = ±1, one workgroup a column. Without APPLY f makes the entry of largest magnitude
// positive, and flips[r] is multiplied by f. With APPLY f is flips[r], which undoes the other factors' sign changes, so that the
// sign of a rank-one term stays. rows×columns read twice, written once.
#import leading_entry

const WIDTH: u32 = 64u;
const APPLY: bool = false;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> flips: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

var<workgroup> largest: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let column = group.x;
  let from_column = order[column];
  var best = 0.0;
  for (var row = lane; row < params.rows; row += WIDTH) {
    let value = a[row * params.columns + from_column];
    best = leading(best, value);
  }
  largest[lane] = best;
  workgroupBarrier();
  var winner = 0.0;
  for (var i = 0u; i < WIDTH; i++) { winner = leading(winner, largest[i]); }
  var factor = select(1.0, -1.0, winner < 0.0);
  if (APPLY) { factor = flips[column]; }
  storageBarrier();
  for (var row = lane; row < params.rows; row += WIDTH) {
    out[row * params.columns + column] = factor * a[row * params.columns + from_column];
  }
  if (lane == 0u && !APPLY) { flips[column] *= factor; }
}
