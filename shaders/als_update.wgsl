// The update of an ALS factor: A = (M + proximal·A₀)·(V + (ridge + proximal)·I)⁻¹ with V the Hadamard product of the other modes' Gram
// matrices (each R×R, at multiples of `stride` in `grams`, the norms behind it), R ≤ PAD, A₀ the factor as it was, its columns at norm 1
// times the model's weights, and ridge and proximal in units of V's mean diagonal. By V + (ridge + proximal)·I = RᵀR, as
// common/cholesky has it: columns that depend on those before them are dropped. M is the sum of `splits` parts. A is not normalised yet: that needs all of it.
// Each workgroup solves `chunk` rows and leaves what they add to AᵀA and to ⟨M, A⟩ in `parts`, R·R + 1 values; the next
// dispatch adds those up, als_normalize or this kernel for the next mode: it normalises the mode before, whose
// norms are still in M (and those of mode `unscaled`, where M is made of a partial result from before that was normalised).
// Every workgroup adds up and factorises for itself. Small matrices are PAD×PAD in workgroup memory, filled up with the
// identity, and PAD is a power of two: no index needs a division.
// flops 2·rows·R·(2·R + R) and R³ a workgroup; one barrier a column.
#import als_parts

const WIDTH: u32 = 256u;
const PAD: u32 = 16u;
const SIZE: u32 = PAD * PAD;
// rows of M at a time
const ROWS: u32 = 256u / PAD;

struct Params {
  rows: u32,
  rank: u32,
  modes: u32,
  mode: u32,
  stride: u32,
  chunk: u32,
  ridge: f32,
  // pivots at or below this part of their own diagonal element count as zero
  threshold: f32,
  splits: u32,
  previous_rows: u32,
  // how many parts the mode before left; 0 where there is none
  previous_count: u32,
  // a mode whose norms are in M; `modes` for none
  unscaled: u32,
  proximal: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> product: array<f32>;
@group(0) @binding(2) var<storage, read_write> grams: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> parts: array<f32>;
@group(0) @binding(5) var<storage, read_write> previous: array<f32>;
@group(0) @binding(6) var<storage, read> previous_parts: array<f32>;
// of the model as it is, for the first mode of a sweep: later ones have the norms of the mode before
@group(0) @binding(7) var<storage, read> weights: array<f32>;

// V, then RᵀR's rows above the diagonal, then R⁻¹
var<workgroup> upper: array<f32, SIZE>;
// R⁻ᵀ
var<workgroup> lower: array<f32, SIZE>;
// AᵀA of the mode before, then of this one's rows
var<workgroup> own_gram: array<f32, SIZE>;
var<workgroup> diagonal: array<f32, PAD>;
// norms of the mode before's columns, or else the weights, and what M's are multiplied by
var<workgroup> norms: array<f32, PAD>;
var<workgroup> scales: array<f32, PAD>;
// some rows of M, then of A
var<workgroup> rows: array<f32, 256>;
var<workgroup> half_solved: array<f32, 256>;
var<workgroup> inner: array<f32, WIDTH>;

// M at an offset of one part.
fn product_at(offset: u32) -> f32 {
  if (params.splits == 1u) { return product[offset]; }
  let size = params.rows * params.rank;
  var sum = 0.0;
  for (var p = 0u; p < params.splits; p += AHEAD) {
    var taken: array<f32, AHEAD>;
    for (var u = 0u; u < AHEAD; u++) {
      let value = product[min(p + u, params.splits - 1u) * size + offset];
      taken[u] = select(0.0, value, p + u < params.splits);
    }
    for (var u = 0u; u < AHEAD; u++) { sum += taken[u]; }
  }
  return sum;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = params.rank;
  let pending = params.previous_count > 0u;
  let before = (params.mode - 1u) * params.stride;
  if (pending) {
    for (var e = lane; e < SIZE; e += WIDTH) {
      if (max(e / PAD, e % PAD) < n) { own_gram[e] = previous_at(e / PAD * n + e % PAD); }
    }
    workgroupBarrier();
  }
  for (var r = lane; r < n; r += WIDTH) {
    var norm = 1.0;
    if (params.proximal > 0.0) { norm = weights[r]; }
    var scale = 1.0;
    if (pending) {
      norm = sqrt(max(own_gram[r * PAD + r], 0.0));
      scale = divided(1.0, norm);
      if (group.x == 0u) { grams[before + n * n + r] = norm; }
    }
    if (params.unscaled < params.modes) { scale = divided(scale, grams[params.unscaled * params.stride + n * n + r]); }
    norms[r] = norm;
    scales[r] = scale;
  }
  workgroupBarrier();
  for (var e = lane; e < SIZE; e += WIDTH) {
    let i = e / PAD;
    let j = e % PAD;
    let unit = select(0.0, 1.0, i == j);
    var v = unit;
    if (max(i, j) < n) {
      v = 1.0;
      for (var m = 0u; m < params.modes; m++) {
        if (m != params.mode && !(pending && m + 1u == params.mode)) { v *= grams[m * params.stride + i * n + j]; }
      }
      if (pending) {
        let normalised = divided(divided(own_gram[e], norms[i]), norms[j]);
        if (group.x == 0u) { grams[before + i * n + j] = normalised; }
        v *= normalised;
      }
    }
    upper[e] = v;
    lower[e] = unit;
    own_gram[e] = 0.0;
  }
  if (pending) {
    for (var e = group.x * WIDTH + lane; e < params.previous_rows * n; e += groups.x * WIDTH) {
      previous[e] = divided(previous[e], norms[e % n]);
    }
  }
  workgroupBarrier();
  var trace = 0.0;
  for (var i = 0u; i < n; i++) { trace += upper[i * PAD + i]; }
  let proximal = params.proximal * trace / f32(n);
  let ridge = params.ridge * trace / f32(n) + proximal;
  workgroupBarrier();
  for (var i = lane; i < PAD; i += WIDTH) {
    let own = upper[i * PAD + i] + select(0.0, ridge, i < n);
    diagonal[i] = abs(own);
    upper[i * PAD + i] = own;
  }
  workgroupBarrier();
  // row k taken off the rows below it; what is done to V is done to I, which becomes R⁻ᵀ
  for (var k = 0u; k < n; k++) {
    let factor_k = inverse_pivot(k);
    for (var e = (k + 1u) * PAD + lane; e < SIZE; e += WIDTH) {
      let i = e / PAD;
      let j = e % PAD;
      let multiplier = upper[k * PAD + i] * factor_k;
      if (j >= i) { upper[e] -= multiplier * upper[k * PAD + j]; }
      if (j <= k) { lower[e] -= multiplier * lower[k * PAD + j]; }
    }
    workgroupBarrier();
  }
  for (var e = lane; e < SIZE; e += WIDTH) { lower[e] *= sqrt(inverse_pivot(e / PAD)); }
  workgroupBarrier();
  for (var e = lane; e < SIZE; e += WIDTH) { upper[e] = lower[e % PAD * PAD + e / PAD]; }
  let last = min(group.x * params.chunk + params.chunk, params.rows);
  var product_inner = 0.0;
  for (var row = group.x * params.chunk; row < last; row += ROWS) {
    for (var e = lane; e < 256u; e += WIDTH) {
      let r = row + e / PAD;
      let j = e % PAD;
      var value = 0.0;
      if (r < last && j < n) {
        value = scales[j] * product_at(r * n + j);
        if (proximal > 0.0) { value += proximal * norms[j] * factor[r * n + j]; }
      }
      rows[e] = value;
    }
    workgroupBarrier();
    for (var e = lane; e < 256u; e += WIDTH) {
      let start = e / PAD * PAD;
      var sum = 0.0;
      for (var k = 0u; k < PAD; k++) { sum += rows[start + k] * upper[k * PAD + e % PAD]; }
      half_solved[e] = sum;
    }
    workgroupBarrier();
    for (var e = lane; e < 256u; e += WIDTH) {
      let start = e / PAD * PAD;
      var sum = 0.0;
      for (var k = 0u; k < PAD; k++) { sum += half_solved[start + k] * lower[k * PAD + e % PAD]; }
      var own = rows[e];
      rows[e] = sum;
      let r = row + e / PAD;
      let j = e % PAD;
      if (r < last && j < n) {
        if (proximal > 0.0) { own -= proximal * norms[j] * factor[r * n + j]; }
        factor[r * n + j] = sum;
      }
      product_inner += own * sum;
    }
    workgroupBarrier();
    for (var e = lane; e < SIZE; e += WIDTH) {
      var sum = 0.0;
      for (var i = 0u; i < ROWS; i++) { sum += rows[i * PAD + e / PAD] * rows[i * PAD + e % PAD]; }
      own_gram[e] += sum;
    }
    workgroupBarrier();
  }
  let base = group.x * (n * n + 1u);
  for (var e = lane; e < SIZE; e += WIDTH) {
    if (max(e / PAD, e % PAD) < n) { parts[base + e / PAD * n + e % PAD] = own_gram[e]; }
  }
  inner[lane] = product_inner;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { inner[lane] += inner[lane + width]; }
  }
  if (lane == 0u) { parts[base + n * n] = inner[0]; }
}

// 1 ÷ pivot k; 0 where it is not clearly positive.
fn inverse_pivot(k: u32) -> f32 {
  let pivot = upper[k * PAD + k];
  let dependent = !(pivot > params.threshold * diagonal[k]) || diagonal[k] == 0.0;
  return select(1.0 / max(pivot, 1e-37), 0.0, dependent);
}
