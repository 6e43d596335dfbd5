// The end of an ALS sweep. It adds up the parts of AᵀA and ⟨M, A⟩ that als_update wrote for the last mode, divides the columns
// of that mode's factor A (rows×R) by their norms, and writes the norms to `weights` and the normalised Gram matrix to `grams`.
// Zero columns stay zero.
// The error is computed from `values`: values[0] = ⟨M, A⟩; values[step] = ⟨V, AᵀA⟩, the model's squared norm, V the Hadamard
// product of the other modes' Gram matrices; values[step + 1] = Σ_r norms[r]², the squared norms of the terms; and
// values[2·step] = −1, which says that no residual has been computed. With APPEND they become the next row of `trace` as well,
// a ring of `trace_rows` rows of 3·step values.
// Cost: rows·R read and written; every workgroup reads the parts' diagonals, the first one all (R² + 1)·previous_count.
#import als_parts

const WIDTH: u32 = 256u;
const MOST: u32 = 32u;
const APPEND: bool = false;

struct Params {
  rows: u32,
  rank: u32,
  modes: u32,
  mode: u32,
  stride: u32,
  chunk: u32,
  previous_count: u32,
  step: u32,
  trace_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> previous_parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> grams: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> trace: array<f32>;
@group(0) @binding(7) var<storage, read_write> counter: array<u32>;

var<workgroup> scratch: array<f32, WIDTH>;
var<workgroup> norms: array<f32, MOST>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = params.rank;
  let size = n * n;
  // with fewer columns than lanes, a team of lanes adds up each norm
  let team = max(WIDTH / n, 1u);
  for (var start = 0u; start < n; start += WIDTH) {
    let r = start + lane % min(n, WIDTH);
    let share = lane / min(n, WIDTH);
    var sum = 0.0;
    if (share < team && r < n) {
      for (var p = share; p < params.previous_count; p += team) { sum += previous_parts[p * (size + 1u) + r * n + r]; }
    }
    scratch[lane] = sum;
    workgroupBarrier();
    if (lane < min(n, WIDTH) && r < n) {
      for (var other = 1u; other < team; other++) { sum += scratch[other * n + lane]; }
      norms[r] = sqrt(max(sum, 0.0));
    }
    workgroupBarrier();
  }
  let first = group.x * params.chunk;
  let last = min(first + params.chunk, params.rows);
  for (var e = first * n + lane; e < last * n; e += WIDTH) { factor[e] = divided(factor[e], norms[e % n]); }
  if (group.x > 0u) { return; }
  var model = 0.0;
  for (var e = lane; e < size; e += WIDTH) {
    let gram = previous_at(e);
    var v = 1.0;
    for (var m = 0u; m < params.modes; m++) {
      if (m != params.mode) { v *= grams[m * params.stride + e]; }
    }
    model += v * gram;
    grams[params.mode * params.stride + e] = divided(divided(gram, norms[e / n]), norms[e % n]);
  }
  var terms = 0.0;
  for (var r = 0u; r < n; r++) { terms += norms[r] * norms[r]; }
  for (var r = lane; r < n; r += WIDTH) { weights[r] = norms[r]; }
  scratch[lane] = model;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { scratch[lane] += scratch[lane + width]; }
  }
  if (lane == 0u) {
    let product_inner = previous_at(size);
    values[0] = product_inner;
    values[params.step] = scratch[0];
    values[params.step + 1u] = terms;
    values[2u * params.step] = -1.0;
    if (APPEND) {
      let start = counter[0] % params.trace_rows * 3u * params.step;
      trace[start] = product_inner;
      trace[start + params.step] = scratch[0];
      trace[start + params.step + 1u] = terms;
      trace[start + 2u * params.step] = -1.0;
      counter[0] += 1u;
    }
  }
}
