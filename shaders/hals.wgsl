// Y (rows×R) that lowers ½·tr(Y·V·Yᵀ) − tr(B·Yᵀ) over Y ≥ L, by hierarchical alternating least squares (Cichocki & Phan 2009):
// y_r ← max(l_r, (b_r − Σ_{s≠r} y_s·v_sr) / v_rr), column after column, in up to `passes` passes. V is `normal`, symmetric.
// Of a factor A₀ ≥ 0 (`factor`): Y begins at A₀ and L is 0; or, where STEP, Y is a step, begins at 0, and L is −A₀.
// SHRINK: the least of that plus threshold·Σ|y| (coordinate descent, Friedman et al. 2007); SIGNED: over all Y, negative ones too.
// An invocation takes a row: rows are independent of each other. A row ends when a pass changes it by less than `tolerance` times
// what the first pass changed (Gillis & Glineur 2012). Columns whose v_rr is 0 stay as they are.
// Cost: 2·rows·R² flops a pass. B and A₀ are read once, V from the cache.
#import index

const WIDTH: u32 = 32u;
// a power of two, at least R
const PAD: u32 = 16u;
const STEP: bool = false;
const SHRINK: bool = false;
const SIGNED: bool = false;

struct Params {
  rows: u32,
  rank: u32,
  passes: u32,
  // of squares
  tolerance: f32,
  threshold: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read> normal: array<f32>;
@group(0) @binding(3) var<storage, read> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_workgroup(group, groups) * WIDTH + lane;
  if (row >= params.rows) { return; }
  let n = params.rank;
  let start = row * n;
  var y: array<f32, PAD>;
  for (var r = 0u; r < n; r++) { y[r] = select(factor[start + r], 0.0, STEP); }
  var first = 0.0;
  for (var pass_index = 0u; pass_index < params.passes; pass_index++) {
    var change = 0.0;
    for (var r = 0u; r < n; r++) {
      let pivot = normal[r * n + r];
      if (!(pivot > 1e-37)) { continue; }
      var rest = right[start + r];
      for (var s = 0u; s < n; s++) { rest -= select(y[s], 0.0, s == r) * normal[r * n + s]; }
      var next = max(select(0.0, -factor[start + r], STEP), rest / pivot);
      if (SHRINK) {
        let magnitude = max(select(rest, abs(rest), SIGNED) - params.threshold, 0.0) / pivot;
        next = select(magnitude, -magnitude, SIGNED && rest < 0.0);
      }
      let difference = next - y[r];
      change += difference * difference;
      y[r] = next;
    }
    if (pass_index == 0u) { first = change; }
    if (change <= params.tolerance * first) { break; }
  }
  for (var r = 0u; r < n; r++) { out[start + r] = y[r]; }
}
