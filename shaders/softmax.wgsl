// out[b, i, a] = exp(x[b, i, a]) / Σ_j exp(x[b, j, a]) for x of before×extent×after, with the row's largest x subtracted first.
// BACKWARD: from y, the softmax (as `x`), and the gradient dy of it: out = y·(dy − Σ_j dy_j·y_j).
// LANES invocations a row (b, a). x (and dy) read three times, BACKWARD twice; out written once.
#import index

const WIDTH: u32 = 64u;
const LANES: u32 = 1u;
const BACKWARD: bool = false;

struct Params {
  before: u32,
  extent: u32,
  after: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

#import rows

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = (flat_workgroup(group, groups) * WIDTH + lane) / LANES;
  // invocations behind the last row take part in the barriers, and write nothing
  let extent = select(0u, params.extent, row < params.before * params.after);
  let base = (row / params.after) * params.extent * params.after + row % params.after;
  let start = lane % LANES;
  if (BACKWARD) {
    var share = 0.0;
    for (var i = start; i < extent; i += LANES) {
      let at = base + i * params.after;
      share += dy[at] * x[at];
    }
    let total = row_sum(lane, share);
    for (var i = start; i < extent; i += LANES) {
      let at = base + i * params.after;
      out[at] = x[at] * (dy[at] - total);
    }
    return;
  }
  var most = -3.4e38;
  for (var i = start; i < extent; i += LANES) { most = max(most, x[base + i * params.after]); }
  let largest = row_maximum(lane, most);
  var share = 0.0;
  for (var i = start; i < extent; i += LANES) { share += exp(x[base + i * params.after] - largest); }
  let total = row_sum(lane, share);
  for (var i = start; i < extent; i += LANES) {
    let at = base + i * params.after;
    out[at] = exp(x[at] - largest) / total;
  }
}
