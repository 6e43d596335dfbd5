// The update of one factor A (rows×R, R ≤ PAD) of non-negative CP by hierarchical alternating least squares (Cichocki & Phan 2009):
// Y ≥ 0 that lowers ½·tr(Y·V·Yᵀ) − tr(M·Yᵀ), column after column, y_r ← max(0, (m_r − Σ_{s≠r} y_s·v_sr) / v_rr), in up to `passes` passes
// from Y = A₀·diag(weights). M is the mode's MTTKRP, the sum of `splits` parts. V is the Hadamard product of the other modes' Gram
// matrices; mode m's is R×R at m·stride in `grams`. A₀ is `factor`.
// An invocation takes a row: rows are independent of each other. A row ends when a pass changes it by less than `tolerance` times what the
// first pass changed (Gillis & Glineur 2012). Columns whose v_rr is 0 stay as they are.
// Each workgroup takes `chunk` rows, and writes their share of YᵀY and of 2·⟨M, Y⟩ − ⟨Y·V, Y⟩ to `parts`, R·R + 1 values: the second is
// ‖X‖² − ‖X − X̂‖². It is summed as ⟨M, Y⟩ + ⟨M − Y·V, Y⟩, of which the second is near 0 at the optimum.
// Y's row stays in registers: its array has constant indices alone. The column in turn is the first of it, and its new value goes behind the last.
// Cost: 2·rows·R² flops a pass, 2·rows·R² for the share, R²·modes a workgroup.
#import product_parts

const WIDTH: u32 = 32u;
// a multiple of 4, at least R
const PAD: u32 = 16u;

struct Params {
  rows: u32,
  rank: u32,
  modes: u32,
  mode: u32,
  stride: u32,
  chunk: u32,
  splits: u32,
  passes: u32,
  // of squares
  tolerance: f32,
  // 0 where the passes begin at A₀ without the weights
  weighted: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> product: array<f32>;
@group(0) @binding(2) var<storage, read> grams: array<f32>;
@group(0) @binding(3) var<storage, read> factor: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts: array<f32>;

// V without its diagonal, row r beginning with column r, and that
var<workgroup> across: array<f32, PAD * PAD>;
var<workgroup> pivots: array<f32, PAD>;
// a row of M an invocation
var<workgroup> rights: array<f32, PAD * WIDTH>;
var<workgroup> gains: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = params.rank;
  for (var e = lane; e < PAD * PAD; e += WIDTH) {
    let i = e / PAD;
    let j = (i + e % PAD) % PAD;
    var v = 0.0;
    if (max(i, j) < n) {
      v = 1.0;
      for (var m = 0u; m < params.modes; m++) {
        if (m != params.mode) { v *= grams[m * params.stride + i * n + j]; }
      }
    }
    if (i == j) { pivots[i] = v; }
    across[e] = select(v, 0.0, i == j);
  }
  workgroupBarrier();
  let first = group.x * params.chunk;
  let last = min(first + params.chunk, params.rows);
  var gain = 0.0;
  for (var row = first + lane; row < last; row += WIDTH) {
    let start = row * n;
    for (var r = 0u; r < PAD; r++) { rights[r * WIDTH + lane] = 0.0; }
    for (var r = 0u; r < n; r++) {
      rights[r * WIDTH + lane] = product_at(start + r);
      var value = factor[start + r];
      if (params.weighted > 0u) { value *= weights[r]; }
      out[start + r] = value;
    }
    var y: array<f32, PAD>;
    for (var r = 0u; r < PAD; r++) { y[r] = select(0.0, out[start + min(r, n - 1u)], r < n); }
    var beginning = 0.0;
    for (var pass_index = 0u; pass_index < params.passes; pass_index++) {
      var change = 0.0;
      for (var r = 0u; r < PAD; r++) {
        let present = y[0];
        var rest = rights[r * WIDTH + lane];
        for (var s = 1u; s < PAD; s++) { rest -= y[s] * across[r * PAD + s]; }
        let pivot = pivots[r];
        let next = select(present, max(0.0, rest / max(pivot, 1e-37)), pivot > 1e-37);
        change += (next - present) * (next - present);
        for (var s = 1u; s < PAD; s++) { y[s - 1u] = y[s]; }
        y[PAD - 1u] = next;
      }
      if (pass_index == 0u) { beginning = change; }
      if (change <= params.tolerance * beginning) { break; }
    }
    for (var r = 0u; r < PAD; r++) {
      if (r < n) { out[start + r] = y[r]; }
    }
    for (var r = 0u; r < PAD; r++) {
      let right = rights[r * WIDTH + lane];
      let present = y[0];
      var rest = right - present * pivots[r];
      for (var s = 1u; s < PAD; s++) { rest -= y[s] * across[r * PAD + s]; }
      gain += (right + rest) * present;
      for (var s = 1u; s < PAD; s++) { y[s - 1u] = y[s]; }
      y[PAD - 1u] = present;
    }
  }
  gains[lane] = gain;
  storageBarrier();
  workgroupBarrier();
  let base = group.x * (n * n + 1u);
  for (var e = lane; e < n * n; e += WIDTH) {
    var sum = 0.0;
    for (var row = first; row < last; row++) { sum += out[row * n + e / n] * out[row * n + e % n]; }
    parts[base + e] = sum;
  }
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    if (lane < width) { gains[lane] += gains[lane + width]; }
    workgroupBarrier();
  }
  if (lane == 0u) { parts[base + n * n] = gains[0]; }
}
